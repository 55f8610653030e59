//! A result file that is either whole or not there: written beside its place and moved into it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file to be written at the end of the run, made sure of at its start.
pub(crate) struct Export {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A device, a pipe, or what a descriptor leads to: open, and written to where it is.
    Open(File),
    /// The file is written here and moved to the path.
    Partial(PathBuf),
}

impl Export {
    /// Makes sure that it can be written, so that a place that cannot be is known before the run. Leaves nothing that a
    /// run which is killed would leave behind.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let fail = |error| format!("cannot write {}: {error}", path.display());
        // `/dev/stdout` and its like are links that must not be replaced, even where they lead to a plain file.
        let is_descriptor = path.starts_with("/dev") || path.starts_with("/proc");
        if is_descriptor || path.exists() && !path.is_file() {
            let file = File::options().append(true).open(path).map_err(fail)?;
            return Ok(Self {
                path: path.to_owned(),
                place: Place::Open(file),
            });
        }
        // A link stays one: what it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target
            .file_name()
            .ok_or_else(|| format!("{} is no file name", path.display()))?;
        let mut partial = OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = target.with_file_name(partial);
        File::create(&partial)
            .and_then(|_| fs::remove_file(&partial))
            .map_err(fail)?;
        Ok(Self {
            path: target,
            place: Place::Partial(partial),
        })
    }

    /// Writes all of it and moves it into place.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), String> {
        let written = match self.place {
            Place::Open(mut file) => file.write_all(bytes),
            Place::Partial(partial) => {
                let written = write_and_move(&partial, &self.path, bytes);
                if written.is_err() {
                    let _ = fs::remove_file(&partial);
                }
                written
            }
        };
        written.map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}

fn write_and_move(partial: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(partial, path)
}
