//! Result files that are either whole or not there: written beside their place and moved into it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use loadr_engine::{Outcome, Summary};

use crate::cli::RunArgs;

/// The files that a run leaves.
pub(crate) struct Exports {
    summary: Option<Export>,
    histograms: Option<Export>,
    junit: Option<Export>,
}

impl Exports {
    /// Makes sure of all of them.
    pub(crate) fn open(args: &RunArgs) -> Result<Self, String> {
        let named = [
            ("--summary-export", &args.summary_export),
            ("--histograms", &args.histograms),
            ("--junit", &args.junit),
        ];
        for (i, (flag, path)) in named.iter().enumerate() {
            let same = named[..i]
                .iter()
                .find(|(_, other)| path.is_some() && other == path);
            if let (Some((other, _)), Some(path)) = (same, path) {
                return Err(format!(
                    "{other} and {flag} would both write {}: give each a file",
                    path.display()
                ));
            }
        }
        let open = |path: &Option<PathBuf>| path.as_deref().map(Export::open).transpose();
        Ok(Self {
            summary: open(&args.summary_export)?,
            histograms: open(&args.histograms)?,
            junit: open(&args.junit)?,
        })
    }

    /// Writes each, also when another cannot be.
    pub(crate) fn write(self, outcome: &Outcome, summary: &Summary) -> Result<(), String> {
        let write = |export: Option<Export>, text: &dyn Fn() -> String| match export {
            Some(export) => export.write(text().as_bytes()).err(),
            None => None,
        };
        let failed: Vec<String> = [
            write(self.summary, &|| summary.to_json()),
            write(self.histograms, &|| {
                loadr_engine::histogram_log(outcome, summary)
            }),
            write(self.junit, &|| loadr_report::junit(summary)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("\n"))
        }
    }
}

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
