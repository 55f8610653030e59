//! Installing: the source is copied into the install directory under a name with a dot in front, the copy is checked and
//! compiled there, and one rename puts it in place. The copy is what is checked, so the source may change meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use super::change::Change;
use super::error::StoreError;
use super::{COMPILED, DISABLED, Installation, Store, copy, read, tarball};
use crate::Plugin;
use crate::compiled::Keeping;
use crate::error::LoadError;
use crate::host::Host;
use crate::load::{self, COMPONENT_BYTES_MAX, MANIFEST};
use crate::manifest;

/// What a bare component is called in the package made for it.
const BARE_ENTRY: &str = "plugin.wasm";

/// See [`Store::install`].
pub(super) fn install(
    store: &Store,
    host: &Host,
    source: &Path,
) -> Result<Installation, StoreError> {
    attempt(store, host, source).map_err(|error| match error {
        // The place that the copy was in is gone by now, and means nothing to anybody.
        StoreError::Directory { path, error, .. } if is_staged(&path, &store.dir) => {
            StoreError::directory(&store.dir, "cannot be written", error)
        }
        error => error,
    })
}

fn is_staged(path: &Path, dir: &Path) -> bool {
    path.strip_prefix(dir)
        .is_ok_and(|inside| inside.as_os_str().as_encoded_bytes().starts_with(b"."))
}

fn attempt(store: &Store, host: &Host, source: &Path) -> Result<Installation, StoreError> {
    let form = Form::of(source)?;
    let change = Change::begin(&store.dir)?;
    let staging = change.incoming()?;
    let dir = staging.path();
    let keeping = Keeping::only_beside(&store.cache, dir.join(COMPILED));
    let load = |path: &Path| {
        load::load(host.inner(), path, &keeping)
            .map_err(|error| StoreError::Refused(as_the_user_knows_it(&error, dir, source)))
    };
    let plugin = match form {
        Form::Directory => {
            copy::package(source, dir)?;
            load(dir)?
        }
        Form::Tarball(mut file) => {
            tarball::unpack(&mut file, source, dir)?;
            load(dir)?
        }
        Form::Bare(mut file) => {
            let component = dir.join(BARE_ENTRY);
            copy::write(&mut file, source, &component, COMPONENT_BYTES_MAX)?;
            let bare = load(&component)?;
            let text = manifest_of(&bare, source)?;
            let written = dir.join(MANIFEST);
            copy::write(&mut text.as_bytes(), source, &written, u64::MAX)?;
            check_kept(&bare, dir)?;
            // Held against the component like any other manifest; the machine code is there by now.
            load(dir)?
        }
    };
    let note = check_kept(&plugin, dir)?;
    let name = plugin.name().to_owned();
    let before = store.place(&name);
    let replaced = before.is_dir().then(|| {
        read(&before, &name).map_or_else(|_| "unknown".to_owned(), |installed| installed.version)
    });
    if before.join(DISABLED).exists() {
        File::create_new(dir.join(DISABLED))
            .map_err(|error| StoreError::directory(dir, "cannot be written", error))?;
    }
    change.place(staging, &name)?;
    let plugin = read(&store.place(&name), &name).map_err(StoreError::Refused)?;
    Ok(Installation {
        plugin,
        replaced,
        note,
    })
}

/// Machine code that could not be written beside the plugin is a failed installation: the disk is full, most likely. Where
/// there is no secret to mark it by, it is a note.
fn check_kept(plugin: &Plugin, dir: &Path) -> Result<Option<String>, StoreError> {
    let unkept = plugin.origin().unkept.as_ref();
    if let Some(unkept) = unkept.filter(|unkept| unkept.path.starts_with(dir)) {
        let error = unkept.error.raw_os_error().map_or_else(
            || io::Error::other(unkept.error.to_string()),
            io::Error::from_raw_os_error,
        );
        return Err(StoreError::directory(dir, "cannot be written", error));
    }
    Ok(plugin.cache_note())
}

/// What there is to install from.
enum Form {
    Directory,
    Tarball(File),
    Bare(File),
}

impl Form {
    /// Told by the content: names of files mean nothing.
    fn of(source: &Path) -> Result<Self, StoreError> {
        let unreadable = |error| StoreError::refused(source, format!("cannot be read: {error}"));
        let meta = fs::metadata(source).map_err(unreadable)?;
        if meta.is_dir() {
            return Ok(Self::Directory);
        }
        let neither = || {
            StoreError::refused(
                source,
                "is neither a package directory, nor a .tar.gz of one, nor a WebAssembly component",
            )
        };
        if !meta.is_file() {
            return Err(neither());
        }
        let mut head = [0; 4];
        let read = File::open(source)
            .and_then(|file| file.take(4).read(&mut head))
            .map_err(unreadable)?;
        let file = File::open(source).map_err(unreadable)?;
        match &head[..read] {
            head if tarball::is_gzip(head) => Ok(Self::Tarball(file)),
            b"\0asm" => Ok(Self::Bare(file)),
            [] => Err(StoreError::refused(
                source,
                "is empty; build the component again",
            )),
            _ => Err(neither()),
        }
    }
}

/// A message about the copy as one about what was copied.
fn as_the_user_knows_it(error: &LoadError, staging: &Path, source: &Path) -> LoadError {
    let path = match error.path().strip_prefix(staging) {
        Ok(inside) if source.is_file() && inside == Path::new(BARE_ENTRY) => source.to_owned(),
        Ok(inside) if inside.as_os_str().is_empty() => source.to_owned(),
        Ok(inside) => source.join(inside),
        Err(_) => error.path().to_owned(),
    };
    LoadError::new(&path, error.message())
}

/// The manifest of a bare component.
fn manifest_of(plugin: &Plugin, source: &Path) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Package<'a> {
        plugin: Section<'a>,
    }
    #[derive(Serialize)]
    struct Section<'a> {
        name: &'a str,
        version: &'a str,
        kind: &'a str,
        r#type: &'a str,
        entry: &'a str,
        description: &'a str,
    }
    let package = Package {
        plugin: Section {
            name: plugin.name(),
            version: plugin.version(),
            kind: plugin.kind().as_str(),
            r#type: "wasm",
            entry: BARE_ENTRY,
            description: plugin.description(),
        },
    };
    let made = toml::to_string(&package).map_err(|error| error.to_string());
    made.and_then(|text| manifest::parse(&text).map(|_| text))
        .map_err(|message| StoreError::refused(source, format!("describe(): {message}")))
}
