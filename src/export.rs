//! A result file that is either whole or not there: written beside its place and moved into it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file to be written at the end of the run, made sure of at its start.
pub(crate) struct Export {
    path: PathBuf,
    partial: Option<PathBuf>,
    file: File,
}

impl Export {
    /// Opens what will be written, so that a place that cannot be written is known before the run.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let fail = |error| format!("cannot write {}: {error}", path.display());
        // A device or a pipe cannot be replaced; it is written to.
        if path.exists() && !path.is_file() {
            let file = File::options().write(true).open(path).map_err(fail)?;
            return Ok(Self {
                path: path.to_owned(),
                partial: None,
                file,
            });
        }
        let mut name = OsString::from(".");
        name.push(
            path.file_name()
                .ok_or_else(|| format!("{} is no file name", path.display()))?,
        );
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            partial: Some(partial),
            file,
        })
    }

    /// Writes all of it and moves it into place.
    pub(crate) fn write(mut self, bytes: &[u8]) -> Result<(), String> {
        let fail = |path: &Path, error| format!("cannot write {}: {error}", path.display());
        self.file
            .write_all(bytes)
            .map_err(|e| fail(&self.path, e))?;
        if let Some(partial) = &self.partial {
            self.file.sync_all().map_err(|e| fail(&self.path, e))?;
            fs::rename(partial, &self.path).map_err(|e| fail(&self.path, e))?;
        }
        self.partial = None;
        Ok(())
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // A run that did not come to its end leaves nothing behind.
            let _ = fs::remove_file(partial);
        }
    }
}
