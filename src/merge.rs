//! `loadr-fast merge`: the files of several runs made into one.

use std::fs;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use loadr_engine::{TextStyle, figures};

use crate::color::When;
use crate::export::{Export, all_written, check_places};
use crate::voice::NOTES;

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast run --histograms results/$(hostname).hlog plan.yaml     # on each machine
  loadr-fast merge results -o summary.json && loadr-fast report summary.json -o report.html
  loadr-fast merge a.hlog b.hlog --histograms both.hlog

Exit codes: as one run with these figures would have had; thresholds are judged on all of them.";

/// What the files are called that a directory is looked through for.
const EXTENSION: &str = "hlog";

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Files that `run --histograms` or `merge --histograms` wrote, and directories of such files (*.hlog).
    #[arg(required = true, value_name = "DIR|FILE")]
    inputs: Vec<PathBuf>,

    /// Write the summary as JSON to this file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write the merged histograms to this file; it can be merged again.
    #[arg(long, value_name = "FILE")]
    histograms: Option<PathBuf>,

    /// Leave out files that cannot be read and do without segments that are not there; the summary names them.
    #[arg(long)]
    allow_missing: bool,

    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

/// Merges; the exit code, or what to tell a person.
pub(crate) fn merge(args: &MergeArgs, color: When) -> Result<u8, String> {
    let mut files = Vec::new();
    for input in &args.inputs {
        if input.is_dir() {
            files.extend(logs_of(input)?);
        } else {
            files.push(input.clone());
        }
    }
    let inputs: Vec<(&str, &Path)> = files
        .iter()
        .map(|file| ("merged", file.as_path()))
        .collect();
    check_places(
        &[
            ("--output", args.output.as_deref()),
            ("--histograms", args.histograms.as_deref()),
        ],
        &inputs,
    )?;
    let output = args.output.as_deref().map(Export::open).transpose()?;
    let histograms = args.histograms.as_deref().map(Export::open).transpose()?;
    let merged = loadr_engine::merge(&files, args.allow_missing).map_err(|error| {
        // Some of it may come from the files.
        let lines: Vec<String> = error.lines().map(figures::inert).collect();
        lines.join("\n")
    })?;
    let missing = merged.summary.merged.iter().flat_map(|from| &from.missing);
    for missing in missing {
        NOTES.line(&format!(
            "warning: not in the summary: {}",
            figures::inert(missing)
        ));
    }
    // Files first: who does not read what is printed costs no file, and one that cannot be written not the other.
    let written = [
        output.map(|output| output.write(merged.summary.to_json().as_bytes())),
        histograms.map(|histograms| histograms.write(merged.histograms.as_bytes())),
    ];
    if !args.quiet {
        let style = TextStyle {
            is_colored: color.is_on(stdout().is_terminal()),
            is_verbose: false,
        };
        let text = loadr_engine::summary_text(&merged.summary, style);
        // A reader that has gone away (`| head`) is no error of the runs.
        let _ = stdout().write_all(text.as_bytes());
    }
    all_written(written)?;
    Ok(merged.summary.exit_code)
}

fn logs_of(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error| format!("cannot read {}: {error}", dir.display());
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            logs.push(path);
        }
    }
    if logs.is_empty() {
        return Err(format!(
            "{} has no file named *.{EXTENSION}: run with --histograms NAME.{EXTENSION}",
            dir.display()
        ));
    }
    logs.sort();
    Ok(logs)
}
