//! What can go wrong in the install directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// Why the store could not do what was asked. Nothing it held before is lost with any of these.
#[derive(Debug)]
pub enum StoreError {
    /// There is no plugin of this name.
    NotInstalled {
        /// The name as it was asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// The names there are, sorted.
        installed: Vec<String>,
    },
    /// The plugin is installed and disabled.
    Disabled(String),
    /// The plugin, or the file to install one from, will not do.
    Refused(LoadError),
    /// The directory cannot be read or changed.
    Directory {
        /// The directory or a file in it.
        path: PathBuf,
        /// What could not be done.
        what: String,
        /// The system's reason.
        error: io::Error,
    },
    /// Somebody else is changing the directory and does not come to an end.
    Busy(PathBuf),
}

impl StoreError {
    pub(super) fn directory(path: &Path, what: &str, error: io::Error) -> Self {
        Self::Directory {
            path: path.to_owned(),
            what: what.to_owned(),
            error,
        }
    }

    pub(super) fn refused(path: &Path, message: impl Into<String>) -> Self {
        Self::Refused(LoadError::new(path, message))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { name, dir, .. } => {
                let dir = dir.display();
                write!(f, "no plugin called {name:?} is installed in {dir}")
            }
            Self::Disabled(name) => write!(
                f,
                "plugin {name:?} is disabled; `loadr-fast plugin enable {name}` enables it"
            ),
            Self::Refused(error) => error.fmt(f),
            Self::Directory { path, what, error } => {
                write!(f, "{} {what}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => f.write_str(
                        "; nothing was changed; free some space, or choose another place with --plugins-dir",
                    ),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                        f.write_str("; nothing was changed; choose another place with --plugins-dir")
                    }
                    _ => f.write_str("; nothing was changed"),
                }
            }
            Self::Busy(dir) => write!(
                f,
                "{}: another loadr-fast has been changing the plugins here for {} s; nothing was changed; try again \
                 when it is done",
                dir.display(),
                super::change::LOCK_WAIT.as_secs()
            ),
        }
    }
}

impl std::error::Error for StoreError {}
