//! `loadr-fast report`: summaries read and shown.

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use loadr_engine::Summary;

use crate::export::{Export, check_places};

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast report summary.json -o report.html
  loadr-fast report before.json after.json -o change.html
  loadr-fast report summary.json --format markdown >> \"$GITHUB_STEP_SUMMARY\"
  loadr-fast report summary.json -o results.xml --format junit";

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A file of `--summary-export`, or of `--histograms`.
    #[arg(value_name = "SUMMARY")]
    summary: PathBuf,

    /// Another, which the first is compared with: the change is from the first to this one.
    #[arg(value_name = "OTHER")]
    other: Option<PathBuf>,

    /// Where to. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What as. Default: by the output's extension (.html, .xml, .md), else html.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One file that loads nothing.
    Html,
    /// Thresholds and checks as test cases.
    Junit,
    /// For pull requests and job summaries.
    Markdown,
}

/// Reads, writes; the exit code, or what to tell a person.
pub(crate) fn report(args: &ReportArgs) -> Result<u8, String> {
    let format = args
        .format
        .unwrap_or_else(|| by_extension(args.output.as_deref()));
    let inputs = [Some(&args.summary), args.other.as_ref()];
    let inputs: Vec<(&str, &Path)> = inputs
        .into_iter()
        .flatten()
        .map(|path| ("what is reported on", path.as_path()))
        .collect();
    check_places(&[("--output", args.output.as_deref())], &inputs)?;
    let read =
        |path: &Path| Summary::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let summary = read(&args.summary)?;
    let other = args.other.as_deref().map(read).transpose()?;
    let text = match (format, &other) {
        (Format::Html, None) => loadr_report::html(&summary),
        (Format::Html, Some(other)) => loadr_report::compare_html(&summary, other),
        (Format::Markdown, None) => loadr_report::markdown(&summary),
        (Format::Markdown, Some(other)) => loadr_report::compare_markdown(&summary, other),
        (Format::Junit, None) => loadr_report::junit(&summary),
        (Format::Junit, Some(_)) => {
            return Err(
                "JUnit has no place for two runs: give one summary, or another --format".to_owned(),
            );
        }
    };
    match &args.output {
        Some(path) => Export::open(path)?.write(text.as_bytes())?,
        // A reader that has gone away is no error of the summary.
        None => drop(stdout().write_all(text.as_bytes())),
    }
    Ok(0)
}

fn by_extension(output: Option<&Path>) -> Format {
    let extension = output
        .and_then(Path::extension)
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension {
        "xml" => Format::Junit,
        "md" | "markdown" => Format::Markdown,
        _ => Format::Html,
    }
}
