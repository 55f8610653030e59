//! Files on their way into the install directory: which are taken, and how they are written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::StoreError;
use crate::load::{self, MANIFEST};

/// The largest readme or licence that is taken, in bytes; a larger one is left.
pub(super) const NOTES_BYTES_MAX: u64 = 1 << 20;

/// Whether a file beside the manifest is for people and comes along.
pub(super) fn is_for_people(name: &str) -> bool {
    const STARTS: [&str; 4] = ["README", "LICENSE", "LICENCE", "NOTICE"];
    let upper = name.to_ascii_uppercase();
    STARTS.iter().any(|start| upper.starts_with(start))
}

/// The text of `entry` as a path without `.` in it; the manifest's own word where it leads out of the package.
pub(super) fn entry_path(manifest: &Path, entry: &str) -> Result<PathBuf, StoreError> {
    if !load::is_inside(entry) {
        return Err(StoreError::refused(
            manifest,
            format!(
                "entry {entry:?} leads out of the package; name a file inside it, such as \"plugin.wasm\""
            ),
        ));
    }
    Ok(Path::new(entry)
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .collect())
}

/// Writes a file of at most `max` bytes, directories included. `source` is what it is called where it comes from.
pub(super) fn write(
    from: &mut dyn Read,
    source: &Path,
    to: &Path,
    max: u64,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::directory(to, "cannot be written", error);
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut file = File::create_new(to).map_err(failed)?;
    let mut chunk = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(StoreError::refused(
                    source,
                    format!("cannot be read: {error}"),
                ));
            }
        };
        total += read as u64;
        if total > max {
            let message = format!("is too large: at most {max} bytes are taken");
            return Err(StoreError::refused(source, message));
        }
        file.write_all(&chunk[..read]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

/// Copies what a package directory must and may have. No link is followed inside it: what a link points to is not what
/// the package's author packed.
pub(super) fn package(source: &Path, to: &Path) -> Result<(), StoreError> {
    let manifest = source.join(MANIFEST);
    regular(source, Path::new(MANIFEST))?;
    let entry = load::package(source).map_err(StoreError::Refused)?.entry;
    let entry = entry_path(&manifest, &entry)?;
    regular(source, &entry)?;
    copy(source, &entry, to, load::COMPONENT_BYTES_MAX)?;
    copy(
        source,
        Path::new(MANIFEST),
        to,
        crate::manifest::MANIFEST_BYTES_MAX,
    )?;
    let unreadable =
        |error: io::Error| StoreError::refused(source, format!("cannot be read: {error}"));
    for file in fs::read_dir(source).map_err(unreadable)? {
        let file = file.map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let name = file.file_name();
        let wanted = meta.is_file()
            && meta.len() <= NOTES_BYTES_MAX
            && name.to_str().is_some_and(is_for_people)
            && Path::new(&name) != entry;
        if wanted {
            copy(source, Path::new(&name), to, NOTES_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// Makes sure that a file is a regular one and that no part of its path is a link.
fn regular(root: &Path, file: &Path) -> Result<(), StoreError> {
    let mut path = root.to_owned();
    for part in file.components() {
        path.push(part);
        let meta = fs::symlink_metadata(&path).map_err(|error| {
            if path == root.join(MANIFEST) && error.kind() == io::ErrorKind::NotFound {
                let message =
                    "is a directory without a plugin.toml; name a package directory or a .wasm file";
                return StoreError::refused(root, message);
            }
            StoreError::refused(&path, format!("cannot be read: {error}"))
        })?;
        if meta.is_symlink() {
            let message =
                "is a symbolic link, which a package may not hold; put the file itself there";
            return Err(StoreError::refused(&path, message));
        }
    }
    if !path.is_file() {
        return Err(StoreError::refused(&path, "is not a regular file"));
    }
    Ok(())
}

fn copy(from: &Path, file: &Path, to: &Path, max: u64) -> Result<(), StoreError> {
    let source = from.join(file);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut open = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(&source)
        .map_err(|error| StoreError::refused(&source, format!("cannot be read: {error}")))?;
    write(&mut open, &source, &to.join(file), max)
}
