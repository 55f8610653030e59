//! The install directory: `<dir>/<name>/` for each plugin.
//!
//! | in it | what |
//! |---|---|
//! | `<name>/plugin.toml`, the entry, `README*`, `LICENSE*`, … | the package as it was installed, no more of it than that |
//! | `<name>/.compiled` | its machine code (see the head of `compiled`) |
//! | `<name>/.disabled` | there while the plugin is disabled; a reinstall keeps it |
//! | `.lock` | locked (flock) by whoever changes the directory |
//! | `.incoming-*`, `.removed-*`, `.replaced-*` | an unfinished change; the next one clears it up |
//!
//! A plugin's name starts with no dot, so none of these can be one. Readers take no lock: a plugin comes, goes and changes
//! in one rename ([`change`]), so each look at it finds the old or the new.

mod change;
mod copy;
mod error;
mod install;
mod tarball;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use error::StoreError;

use crate::Plugin;
use crate::compiled::{Cache, Keeping};
use crate::error::LoadError;
use crate::host::Host;
use crate::load;
use crate::manifest::{self, Kind, Reads};
use change::Change;

/// The file that keeps a plugin's machine code.
const COMPILED: &str = ".compiled";

/// The file that disables a plugin.
const DISABLED: &str = ".disabled";

/// How often a plugin is read anew that is replaced while it is read.
const READ_TRIES: usize = 10;

/// The plugins installed in a directory.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    cache: Cache,
}

/// An installed plugin, by its manifest. No guest code runs to make one.
#[derive(Debug, Clone)]
pub struct Installed {
    /// 1 to 64 letters, digits, `-` and `_`; also the directory's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What it calls itself.
    pub kind: Kind,
    /// A sentence for people; may be empty.
    pub description: String,
    /// Whether plans can use it.
    pub enabled: bool,
    /// Where it is.
    pub directory: PathBuf,
    /// The component, relative to the directory.
    pub entry: String,
    /// The component's size.
    pub component_bytes: u64,
    /// What it looks at.
    pub reads: Reads,
    /// The manifest's `[config]`.
    pub config: Map<String, Value>,
}

/// A line of [`Store::list`]: a directory's name, and the plugin in it or what is wrong with it.
#[derive(Debug)]
pub struct Listed {
    /// The directory's name.
    pub name: String,
    /// What is in it.
    pub plugin: Result<Installed, LoadError>,
}

/// What an installation did.
#[derive(Debug)]
pub struct Installation {
    /// The plugin as it is now.
    pub plugin: Installed,
    /// The version that was there before.
    pub replaced: Option<String>,
    /// Why the machine code could not be kept, so that each run has to compile it.
    pub note: Option<String>,
}

impl Store {
    /// The store in this directory, which need not be there until something is installed.
    #[must_use]
    pub fn open(dir: &Path, cache: Cache) -> Self {
        Self {
            dir: dir.to_owned(),
            cache,
        }
    }

    /// `~/.loadr/plugins`, unless `LOADR_PLUGINS_DIR` names another; none where neither variable is set.
    #[must_use]
    pub fn usual_dir() -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        set("LOADR_PLUGINS_DIR")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".loadr/plugins")))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Installs a package directory, a `.tar.gz` of one, or a bare `.wasm` component, for which a manifest is made from
    /// its `describe()`. Everything is checked as [`Host::load`] checks it, and compiled, before anything changes; then
    /// the plugin appears, or replaces the one of its name, in one rename. A disabled plugin stays disabled.
    ///
    /// Of a package, the manifest, the entry, and the readme and licence files beside the manifest are taken.
    ///
    /// # Errors
    ///
    /// What is wrong with the source, or with the directory. What was installed before is as it was.
    pub fn install(&self, host: &Host, source: &Path) -> Result<Installation, StoreError> {
        install::install(self, host, source)
    }

    /// All that is installed, by name.
    ///
    /// # Errors
    ///
    /// Where the directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut names = Vec::new();
        let failed = |error| StoreError::directory(&self.dir, "cannot be read", error);
        match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(entries) => {
                for entry in entries {
                    let Ok(name) = entry.map_err(failed)?.file_name().into_string() else {
                        continue;
                    };
                    if manifest::check_name(&name).is_ok() && self.place(&name).is_dir() {
                        names.push(name);
                    }
                }
            }
        }
        names.sort();
        Ok(names
            .into_iter()
            .map(|name| Listed {
                plugin: read(&self.place(&name), &name),
                name,
            })
            .collect())
    }

    /// One installed plugin.
    ///
    /// # Errors
    ///
    /// It is not installed, or its manifest is no longer what was installed.
    pub fn info(&self, name: &str) -> Result<Installed, StoreError> {
        self.whole(name, |dir| read(dir, name).map_err(StoreError::Refused))
    }

    /// Loads an installed plugin, mapping its machine code where that is ours and fits.
    ///
    /// # Errors
    ///
    /// It is not installed, disabled, or no longer what was installed.
    pub fn load(&self, host: &Host, name: &str) -> Result<Plugin, StoreError> {
        self.whole(name, |dir| {
            if dir.join(DISABLED).exists() {
                return Err(StoreError::Disabled(name.to_owned()));
            }
            let keeping = Keeping::beside(&self.cache, dir.join(COMPILED));
            let plugin = load::load(host.inner(), dir, &keeping).map_err(StoreError::Refused)?;
            same_name(dir, plugin.name(), name).map_err(StoreError::Refused)?;
            Ok(plugin)
        })
    }

    /// Removes a plugin.
    ///
    /// # Errors
    ///
    /// It is not installed, or the directory cannot be changed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.existing(name)?;
        let change = Change::begin(&self.dir)?;
        self.existing(name)?;
        change.remove(name)
    }

    /// Lets plans use a plugin again; false where they could already.
    ///
    /// # Errors
    ///
    /// It is not installed, or the directory cannot be changed.
    pub fn enable(&self, name: &str) -> Result<bool, StoreError> {
        self.existing(name)?;
        let _change = Change::begin(&self.dir)?;
        let dir = self.existing(name)?;
        match fs::remove_file(dir.join(DISABLED)) {
            Ok(()) => change::sync(&dir).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::directory(&dir, "cannot be changed", error)),
        }
    }

    /// Keeps a plugin from being used; false where it was already.
    ///
    /// # Errors
    ///
    /// It is not installed, or the directory cannot be changed.
    pub fn disable(&self, name: &str) -> Result<bool, StoreError> {
        self.existing(name)?;
        let _change = Change::begin(&self.dir)?;
        let dir = self.existing(name)?;
        match fs::File::create_new(dir.join(DISABLED)) {
            Ok(_) => change::sync(&dir).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::directory(&dir, "cannot be changed", error)),
        }
    }

    /// The directory of a plugin, there or not; of one whose replacement was cut short between two renames, the one
    /// put aside.
    fn place(&self, name: &str) -> PathBuf {
        let dir = self.dir.join(name);
        let aside = self.dir.join(format!("{}{name}", change::REPLACED));
        if !dir.exists() && aside.exists() {
            return aside;
        }
        dir
    }

    /// The directory of an installed plugin.
    fn existing(&self, name: &str) -> Result<PathBuf, StoreError> {
        let dir = self.place(name);
        if manifest::check_name(name).is_ok() && dir.is_dir() {
            return Ok(dir);
        }
        let installed = self.list().unwrap_or_default();
        Err(StoreError::NotInstalled {
            name: crate::error::short(name),
            dir: self.dir.clone(),
            installed: installed.into_iter().map(|listed| listed.name).collect(),
        })
    }

    /// Reads a plugin, again if it was replaced meanwhile: half of the old and half of the new is neither.
    fn whole<T>(
        &self,
        name: &str,
        mut read: impl FnMut(&Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let inode = |dir: &Path| fs::metadata(dir).map(|meta| meta.ino()).ok();
        let mut tries = 1;
        loop {
            let dir = self.existing(name)?;
            let before = inode(&dir);
            let found = read(&dir);
            if tries == READ_TRIES || before.is_some() && inode(&dir) == before {
                return found;
            }
            tries += 1;
        }
    }
}

/// What a plugin's directory holds.
fn read(dir: &Path, name: &str) -> Result<Installed, LoadError> {
    let manifest = load::package(dir)?;
    same_name(dir, &manifest.name, name)?;
    let component_bytes = fs::metadata(dir.join(&manifest.entry))
        .map_err(|error| LoadError::new(&dir.join(&manifest.entry), error.to_string()))?
        .len();
    Ok(Installed {
        version: manifest.version,
        kind: manifest.kind,
        description: manifest.description.unwrap_or_default(),
        enabled: !dir.join(DISABLED).exists(),
        directory: dir.to_owned(),
        entry: manifest.entry,
        component_bytes,
        reads: manifest.reads,
        config: manifest.config,
        name: manifest.name,
    })
}

fn same_name(dir: &Path, found: &str, expected: &str) -> Result<(), LoadError> {
    if found == expected {
        return Ok(());
    }
    let message =
        format!("holds a plugin called {found:?}; install that one instead of copying it here");
    Err(LoadError::new(dir, message))
}
