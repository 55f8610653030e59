//! Result files that are either whole or not there: written beside their place and moved into it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
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
        let written = named.map(|(flag, path)| (flag, path.as_deref()));
        let plan = args.plan.as_deref().map(|plan| ("the plan", plan));
        check_places(&written, plan.as_slice())?;
        // `merge` wants a folder of such files: it need not be made by hand.
        if let Some(folder) = args.histograms.as_deref().and_then(Path::parent) {
            let _ = fs::create_dir(folder);
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
        let write = |export: Option<Export>, text: &dyn Fn() -> String| {
            export.map(|export| export.write(text().as_bytes()))
        };
        all_written([
            write(self.summary, &|| summary.to_json()),
            write(self.histograms, &|| {
                loadr_engine::histogram_log(outcome, summary)
            }),
            write(self.junit, &|| loadr_report::junit(summary)),
        ])
    }
}

/// What came of several files, each of which was tried.
pub(crate) fn all_written(
    files: impl IntoIterator<Item = Option<Result<(), String>>>,
) -> Result<(), String> {
    let failed: Vec<String> = files
        .into_iter()
        .flatten()
        .filter_map(Result::err)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

/// Where a path leads to, however it is written.
#[derive(PartialEq, Eq)]
enum Leads {
    /// A file that is there: its device and number.
    To(u64, u64),
    /// To where there is nothing yet.
    Nowhere(PathBuf),
}

impl Leads {
    fn of(path: &Path) -> Self {
        if let Ok(file) = fs::metadata(path) {
            return Self::To(file.dev(), file.ino());
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).unwrap_or_default();
        Self::Nowhere(folder.join(path.file_name().unwrap_or_default()))
    }
}

/// Makes sure that no two of the files that a command writes are one file, and that none is one that it reads. Each comes with
/// what names it: a flag, or what it is.
pub(crate) fn check_places(
    written: &[(&str, Option<&Path>)],
    read: &[(&str, &Path)],
) -> Result<(), String> {
    let written = written
        .iter()
        .filter_map(|(name, path)| path.map(|path| (*name, path, Leads::of(path))));
    let read: Vec<(&str, Leads)> = read
        .iter()
        .map(|(name, path)| (*name, Leads::of(path)))
        .collect();
    let mut before: Vec<(&str, Leads)> = Vec::new();
    for (name, path, leads) in written {
        // What is written there is lost in any case.
        if path == Path::new("/dev/null") {
            continue;
        }
        if let Some((other, _)) = before.iter().find(|(_, other)| *other == leads) {
            return Err(format!(
                "{other} and {name} would both write {}: give each a file",
                path.display()
            ));
        }
        if let Some((input, _)) = read.iter().find(|(_, input)| *input == leads) {
            return Err(format!(
                "{name} would overwrite {}, which is {input}: name another file",
                path.display()
            ));
        }
        before.push((name, leads));
    }
    Ok(())
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
