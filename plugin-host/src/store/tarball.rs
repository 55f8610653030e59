//! A package as a `.tar.gz`. Every entry is looked at and refused for what a package has no use for, before the few files
//! that are taken are written; nothing else of it touches the disk.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::copy;
use super::error::StoreError;
use crate::load::{COMPONENT_BYTES_MAX, MANIFEST};
use crate::manifest::{self, MANIFEST_BYTES_MAX};

/// The most entries of an archive.
const ENTRIES_MAX: usize = 1000;

/// The most that an archive may unpack to, in bytes, its headers included: a component and what comes with it.
const UNPACKED_BYTES_MAX: u64 = COMPONENT_BYTES_MAX + (16 << 20);

/// The longest path in an archive, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Whether bytes begin as gzip does.
pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// Writes what is taken of the archive into `to`.
pub(super) fn unpack(file: &mut File, source: &Path, to: &Path) -> Result<(), StoreError> {
    let mut files = Vec::new();
    let mut manifests = Vec::new();
    walk(file, source, &mut |path, entry| {
        if path == MANIFEST
            || path.ends_with(&format!("/{MANIFEST}")) && path.matches('/').count() == 1
        {
            let mut text = String::new();
            let read = entry.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text);
            manifests.push((path.to_owned(), text, read));
        }
        files.push(path.to_owned());
        Ok(())
    })?;
    no_file_in_a_file(&files, source)?;
    let top = top(&files, source)?;
    let name = source.join(&top).join(MANIFEST);
    let Some((_, text, read)) = manifests
        .iter()
        .find(|(path, ..)| *path == format!("{top}{MANIFEST}"))
    else {
        return Err(StoreError::refused(&name, "cannot be read"));
    };
    if let Err(error) = read {
        return Err(StoreError::refused(
            &name,
            format!("cannot be read: {error}"),
        ));
    }
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        let message =
            format!("is too large for a manifest: at most {MANIFEST_BYTES_MAX} bytes are read");
        return Err(StoreError::refused(&name, message));
    }
    let manifest = manifest::parse(text).map_err(|message| StoreError::refused(&name, message))?;
    let entry = copy::entry_path(&name, &manifest.entry)?;
    let mut found = false;
    walk(file, source, &mut |path, read| {
        let Some(path) = path.strip_prefix(&top) else {
            return Ok(());
        };
        let max = if Path::new(path) == entry {
            found = true;
            COMPONENT_BYTES_MAX
        } else if path == MANIFEST {
            MANIFEST_BYTES_MAX
        } else if !path.contains('/') && copy::is_for_people(path) {
            copy::NOTES_BYTES_MAX
        } else {
            return Ok(());
        };
        copy::write(read, &source.join(path), &to.join(path), max)
    })?;
    if !found {
        let message = format!("entry {:?} is not in the archive", manifest.entry);
        return Err(StoreError::refused(&name, message));
    }
    Ok(())
}

/// What comes before the package's own paths: nothing, or the one folder that all of it is in.
fn top(files: &[String], source: &Path) -> Result<String, StoreError> {
    if files.iter().any(|path| path == MANIFEST) {
        return Ok(String::new());
    }
    // What the tools of some systems add beside the folder has a dot in front.
    let mut tops = files
        .iter()
        .filter(|path| !path.starts_with('.'))
        .map(|path| path.split_once('/').map(|(top, _)| top));
    if let Some(Some(first)) = tops.next()
        && tops.all(|top| top == Some(first))
        && files.contains(&format!("{first}/{MANIFEST}"))
    {
        return Ok(format!("{first}/"));
    }
    let message = "has no plugin.toml, neither at its top nor in the one folder it holds; make it with \
                   `tar -czf plugin.tar.gz -C PACKAGE .`";
    Err(StoreError::refused(source, message))
}

fn no_file_in_a_file(files: &[String], source: &Path) -> Result<(), StoreError> {
    let all: HashSet<&str> = files.iter().map(String::as_str).collect();
    for path in files {
        if let Some((at, _)) = path
            .match_indices('/')
            .find(|(at, _)| all.contains(&path[..*at]))
        {
            let message = format!("holds {:?} both as a file and as a folder", &path[..at]);
            return Err(StoreError::refused(source, message));
        }
    }
    Ok(())
}

/// Calls `visit` with each regular file and its path, and refuses the archive for all that is not a file or a folder in
/// a plain place.
fn walk(
    file: &mut File,
    source: &Path,
    visit: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let refused = |message: String| StoreError::refused(source, message);
    let too_large = Cell::new(false);
    let unreadable = |error: io::Error| {
        if too_large.get() {
            return refused(format!(
                "unpacks to more than {} MiB; a package holds one component and its manifest",
                UNPACKED_BYTES_MAX >> 20
            ));
        }
        let why = crate::error::short(&error.to_string());
        refused(format!(
            "is not a whole .tar.gz: {why}; make it or copy it again"
        ))
    };
    file.rewind().map_err(unreadable)?;
    let mut archive = Archive::new(Metered {
        inner: MultiGzDecoder::new(BufReader::new(file)),
        left: UNPACKED_BYTES_MAX,
        too_large: &too_large,
    });
    let mut seen = HashSet::new();
    for (index, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        let mut entry = entry.map_err(unreadable)?;
        if index == ENTRIES_MAX {
            return Err(refused(format!(
                "holds more than {ENTRIES_MAX} files; a package holds one component and its manifest"
            )));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let path = plain(&entry.path_bytes()).map_err(refused)?;
        match kind {
            EntryType::Directory => continue,
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink | EntryType::Link => {
                return Err(refused(format!(
                    "holds a link, {path:?}, which a package may not; pack the file itself (tar -h)"
                )));
            }
            _ => {
                return Err(refused(format!(
                    "holds {path:?}, which is neither a file nor a folder"
                )));
            }
        }
        if path.is_empty() {
            return Err(refused("holds a file without a name".into()));
        }
        if !seen.insert(path.clone()) {
            return Err(refused(format!("holds {path:?} twice")));
        }
        visit(&path, &mut entry).map_err(|error| {
            if too_large.get() {
                unreadable(io::Error::other(""))
            } else {
                error
            }
        })?;
    }
    // The end too: a checksum is there.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    Ok(())
}

/// A path of the archive as the package sees it, or what is wrong with it.
fn plain(path: &[u8]) -> Result<String, String> {
    let shown = || crate::error::short(&String::from_utf8_lossy(path));
    if path.len() > PATH_BYTES_MAX {
        return Err(format!(
            "holds a path longer than {PATH_BYTES_MAX} bytes: {:?}",
            shown()
        ));
    }
    let text = std::str::from_utf8(path)
        .map_err(|_| format!("holds a path that is not UTF-8: {:?}", shown()))?;
    if text.starts_with('/') {
        return Err(format!(
            "holds the absolute path {:?}; paths must be inside the package",
            shown()
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!(
            "holds a path with control characters: {:?}",
            shown()
        ));
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(format!("holds a path that leads out of it: {:?}", shown()));
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Reads on until too much has come out.
struct Metered<'a, R> {
    inner: R,
    left: u64,
    too_large: &'a Cell<bool>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.too_large.set(true);
                return Err(io::Error::other("too large"));
            }
        }
        Ok(read)
    }
}
