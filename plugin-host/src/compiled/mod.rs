//! Machine code kept between runs, so that a plugin is compiled once and mapped from then on.
//!
//! A kept file is native code: whoever can write one that is accepted has all the privileges of this process. The rules:
//!
//! - A file is accepted only with a keyed BLAKE3 code under a secret of 32 random bytes that this user's loadr-fast made
//!   and only this user can read (`secret` in the cache directory, mode 0600). So a file that came with a repository, an
//!   archive or another user's directory is foreign and is compiled again, however well it is made.
//! - The code covers the key: the component's hash, the wasmtime version, the engine's settings, the processor's
//!   features. A stale file is another key's.
//! - The file must belong to this user or root and be writable by nobody else, and what is checked and what is mapped
//!   are the same open file. What this user or root does to it afterwards is outside the boundary: both can do as they
//!   like with this process anyway.
//! - Trouble with the cache is never trouble with the plugin: it is compiled, and a note says why.
//!
//! [`file`] knows the format and holds the `unsafe`, [`secret`] the secret.

#[expect(unsafe_code, reason = "mapping machine code; see the rules above")]
mod file;
mod secret;

use std::fs::{self, DirBuilder};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Plugin;
use crate::batch;
use crate::error::LoadError;
use crate::host::Host;
use secret::Secret;

/// The most that the cache directory holds, in bytes, before the files used least recently go. A compiled Python plugin
/// has some 40 MB.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// How old a file must be that a killed process left behind before it is cleared away.
const LEFT_BEHIND_AGE: Duration = Duration::from_secs(3600);

/// What compiled code depends on, hashed.
type Key = [u8; 32];

/// The directory in which this user's compiled plugins are kept, and with it the secret by which they are known.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: Option<PathBuf>,
}

impl Cache {
    /// The user's: `$XDG_CACHE_HOME/loadr-fast`, else `~/.cache/loadr-fast`; none where the environment names neither.
    #[must_use]
    pub fn of_user() -> Self {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let dir = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|dir| dir.join("loadr-fast"));
        Self { dir }
    }

    /// One in this directory, which is made when something is first kept.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
        }
    }

    /// None: everything is compiled each time.
    #[must_use]
    pub fn none() -> Self {
        Self { dir: None }
    }

    /// Loads a plugin as [`Host::load`] does, but maps its machine code where it was kept, and keeps it where it was not.
    ///
    /// # Errors
    ///
    /// As [`Host::load`]. A cache that cannot be read or written is no error: see [`Plugin::cache_note`].
    pub fn load(&self, host: &Host, path: &Path) -> Result<Plugin, LoadError> {
        crate::load::load(host.inner(), path, &Keeping::cache(self))
    }

    fn compiled_dir(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("compiled"))
    }
}

/// Where the machine code of one plugin is looked for and kept.
pub(crate) struct Keeping<'a> {
    cache: &'a Cache,
    /// The file beside an installed plugin, which goes before the cache.
    beside: Option<PathBuf>,
    /// The cache will not do instead.
    beside_only: bool,
}

/// A component ready to be linked, and how it came to be.
pub(crate) struct Code {
    pub(crate) component: Component,
    pub(crate) origin: Origin,
}

/// How a plugin's machine code came to be.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// Compiled just now, rather than mapped.
    pub(crate) was_compiled: bool,
    /// What it could not be kept in.
    pub(crate) unkept: Option<Unkept>,
}

/// A file or directory that machine code could not be kept in, and the system's reason.
#[derive(Debug)]
pub(crate) struct Unkept {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl Unkept {
    fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            error,
        }
    }
}

impl<'a> Keeping<'a> {
    /// In the cache.
    pub(crate) fn cache(cache: &'a Cache) -> Self {
        Self {
            cache,
            beside: None,
            beside_only: false,
        }
    }

    /// In a file of its own and, where that cannot be written or is not ours, in the cache.
    pub(crate) fn beside(cache: &'a Cache, file: PathBuf) -> Self {
        Self {
            cache,
            beside: Some(file),
            beside_only: false,
        }
    }

    /// In a file of its own and nowhere else.
    pub(crate) fn only_beside(cache: &'a Cache, file: PathBuf) -> Self {
        Self {
            beside_only: true,
            ..Self::beside(cache, file)
        }
    }

    /// The component of these bytes, mapped or else compiled.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Code> {
        let Some(dir) = &self.cache.dir else {
            return compile(engine, bytes, None);
        };
        let secret = match Secret::of(dir) {
            Ok(secret) => secret,
            Err(unkept) => return compile(engine, bytes, Some(unkept)),
        };
        let key = key(engine, bytes);
        let cached = self
            .cache
            .compiled_dir()
            .filter(|_| !self.beside_only)
            .map(|dir| dir.join(blake3::Hash::from_bytes(key).to_hex().as_str()));
        let places: Vec<&PathBuf> = self.beside.iter().chain(&cached).collect();
        for place in &places {
            if let Some(component) = file::map(engine, place, &secret, &key) {
                return Ok(Code {
                    component,
                    origin: Origin::default(),
                });
            }
        }
        let mut code = compile(engine, bytes, None)?;
        code.origin.unkept = self.keep(&code.component, &places, &secret, &key).err();
        Ok(code)
    }

    /// Writes the code to the first place that takes it; if none does, the first one's reason.
    fn keep(
        &self,
        component: &Component,
        places: &[&PathBuf],
        secret: &Secret,
        key: &Key,
    ) -> Result<(), Unkept> {
        let mut first = None;
        let code = component.serialize().map_err(|error| {
            Unkept::new(
                Path::new("machine code"),
                io::Error::other(error.to_string()),
            )
        })?;
        for place in places {
            let beside = self.beside.as_ref() == Some(*place);
            let made = match place.parent() {
                Some(dir) if !beside => make_private(dir),
                _ => Ok(()),
            };
            match made.and_then(|()| file::keep(&code, place, secret, key)) {
                Ok(()) => {
                    if let Some(dir) = self.cache.compiled_dir().filter(|_| !beside) {
                        prune(&dir, CACHE_BYTES_MAX);
                    }
                    return Ok(());
                }
                Err(error) => {
                    first.get_or_insert(Unkept::new(place, error));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// Compiles the component, with our code beside its own where that is possible.
fn compile(engine: &Engine, bytes: &[u8], unkept: Option<Unkept>) -> wasmtime::Result<Code> {
    let batched = batch::add(bytes).and_then(|bytes| Component::from_binary(engine, &bytes).ok());
    Ok(Code {
        component: match batched {
            Some(component) => component,
            // As it is: it works the same, or the message is about the file as it is.
            None => Component::from_binary(engine, bytes)?,
        },
        origin: Origin {
            was_compiled: true,
            unkept,
        },
    })
}

/// Makes a directory that nobody else can look into.
fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Everything that machine code depends on. The engine's part covers the wasmtime version, its settings, the target and
/// the processor's features that it uses.
fn key(engine: &Engine, component: &[u8]) -> Key {
    struct Feed(blake3::Hasher);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0 // Never asked for: the whole hash is taken.
        }
    }
    let mut feed = Feed(blake3::Hasher::new_derive_key(
        "loadr-fast 2026 key of a compiled component",
    ));
    engine.precompile_compatibility_hash().hash(&mut feed);
    // What is put beside the component is compiled with it.
    feed.0.update(&batch::FINGERPRINT.to_le_bytes());
    feed.0.update(blake3::hash(component).as_bytes());
    feed.0.finalize().into()
}

/// Removes the files used least recently until at most `max` bytes are left, and what killed processes left behind.
/// Whatever cannot be removed stays: another process may be at the same work.
fn prune(dir: &Path, max: u64) {
    let now = SystemTime::now();
    let mut kept = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let Ok(used) = meta.modified() else { continue };
        let partial = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !partial {
            kept.push((used, meta.len(), entry.path()));
        } else if now
            .duration_since(used)
            .is_ok_and(|age| age > LEFT_BEHIND_AGE)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in &kept {
        if total <= max {
            break;
        }
        let _ = fs::remove_file(path);
        total -= len;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_files_used_least_recently_go_first() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age_s) in [
            ("old", 300),
            ("older", 400),
            ("new", 1),
            (".left", 7200),
            (".live", 2),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let when = SystemTime::now() - Duration::from_secs(age_s);
            let file = fs::File::open(&path).unwrap();
            file.set_modified(when).unwrap();
        }
        prune(dir.path(), 250);
        let left = |name: &str| dir.path().join(name).exists();
        assert!(left("old") && left("new") && left(".live"));
        assert!(!left("older") && !left(".left"));
    }
}
