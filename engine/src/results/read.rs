//! Reads summary files: ours, and loadr's of the same shape. They may come from anywhere, so everything is checked here
//! and nothing later has to.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::histograms;
use super::summary::{FORMAT, Summary};

/// The most bytes of a summary file that are read.
pub const SUMMARY_BYTES_MAX: u64 = 256 << 20;
/// The most points of a timeline: a second each for more than a month.
const POINTS_MAX: usize = 3_000_000;

/// Why a summary cannot be used. Says what the file is taken for and what to do.
#[derive(Debug)]
pub enum ReadError {
    /// The file cannot be read.
    Io(io::Error),
    /// It is larger than [`SUMMARY_BYTES_MAX`].
    TooLarge,
    /// It ends in the middle.
    Truncated,
    /// It is of another version of the format.
    Version(u64),
    /// It is something else, or damaged.
    Wrong(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooLarge => write!(
                f,
                "larger than {} MiB, so no summary",
                SUMMARY_BYTES_MAX >> 20
            ),
            Self::Truncated => {
                f.write_str("it ends in the middle: it was cut off while it was written or copied")
            }
            Self::Version(format) => write!(
                f,
                "it has format {format}, and this version of loadr-fast reads format {FORMAT}: use the version that wrote it"
            ),
            Self::Wrong(what) => write!(
                f,
                "no summary as `run --summary-export` or `--histograms` writes it: {what}"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// All of a file, unless it has more than [`SUMMARY_BYTES_MAX`].
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(ReadError::Io)?;
    file.take(SUMMARY_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    if bytes.len() as u64 > SUMMARY_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    Ok(bytes)
}

/// Only what says whose file it is.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    format: Option<u64>,
}

impl Summary {
    /// Reads the file of `--summary-export`, or the summary in one of `--histograms`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let bytes = read_bounded(path)?;
        match histograms::embedded_summary(&bytes) {
            Some(json) => Self::from_json(json?),
            None => Self::from_json(&bytes),
        }
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        // First, so that a file of another version is not taken for a damaged one.
        let probe: Probe = serde_json::from_slice(bytes).map_err(|error| wrong(&error, bytes))?;
        if let Some(format) = probe.format.filter(|format| *format != u64::from(FORMAT)) {
            return Err(ReadError::Version(format));
        }
        let summary: Self = serde_json::from_slice(bytes).map_err(|error| wrong(&error, bytes))?;
        summary
            .check()
            .map_err(|what| ReadError::Wrong(what.to_owned()))?;
        Ok(summary)
    }

    /// What the types alone do not say.
    fn check(&self) -> Result<(), &'static str> {
        let points = self.distribution.percentiles.len();
        if self
            .distribution
            .metrics
            .values()
            .any(|values| values.len() != points)
        {
            return Err("`distribution` has a curve of another length than its percentiles");
        }
        let percentiles = &self.distribution.percentiles;
        if !percentiles.is_sorted() || percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) {
            return Err("the percentiles of `distribution` do not ascend from 0 to 100");
        }
        if self.timeline.len() > POINTS_MAX {
            return Err("`timeline` is longer than a month of seconds");
        }
        if self.duration_secs < 0.0 {
            return Err("`duration_secs` is negative");
        }
        Ok(())
    }
}

fn wrong(error: &serde_json::Error, bytes: &[u8]) -> ReadError {
    let mut lines = bytes.rsplit(|byte| *byte == b'\n');
    let last = lines.next().map_or(0, <[u8]>::len);
    let is_at_end = error.line() == lines.count() + 1 && error.column() >= last;
    // A number or a word that is cut off is a wrong one to the parser. What follows a whole summary is no cut.
    let is_cut = error.is_syntax() && is_at_end && !error.to_string().starts_with("trailing");
    if error.is_eof() || is_cut {
        return ReadError::Truncated;
    }
    let mut what = error.to_string();
    // It may quote what the file says, which can be long.
    what.truncate(what.floor_char_boundary(300));
    ReadError::Wrong(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADR: &str = r#"{ "name": "n", "run_id": "r", "started_ms": 0, "ended_ms": 1000, "duration_secs": 1.0,
        "scenarios": ["s"], "metrics": [ { "metric": "http_req_duration", "kind": "trend", "agg": { "count": 1, "avg": 0.3 } },
        { "metric": "their_own", "kind": "gauge", "agg": {} } ], "checks": [], "thresholds": [], "thresholds_passed": true,
        "aborted": null, "snapshot": { "timestamp_ms": 0, "elapsed_secs": 1.0, "interval_secs": 1.0, "series": [] },
        "timeline": [ { "elapsed_secs": 1.0, "rps": 1.0, "iterations_ps": 1.0, "active_vus": 1.0, "error_rate": 0.0 } ],
        "another_key": [1] }"#;

    #[test]
    fn a_file_without_our_keys_is_read() {
        let summary = Summary::from_json(LOADR.as_bytes()).unwrap();
        assert_eq!((summary.format, summary.metrics.len()), (0, 2));
        assert_eq!(
            summary.metric("http_req_duration").and_then(|agg| agg.avg),
            Some(0.3)
        );
        assert!(summary.environment.is_none() && summary.timeline[0].latency_p99.is_none());
    }

    #[test]
    fn every_truncation_is_called_one() {
        for end in 0..LOADR.len() {
            match Summary::from_json(&LOADR.as_bytes()[..end]) {
                Err(ReadError::Truncated) => {}
                other => panic!("{end}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_summary_is_said_with_its_place() {
        let deep = "[".repeat(100_000);
        let cases = [
            ("[]", "invalid length 0"),
            ("nothing", "line 1 column"),
            ("{}", "missing field `name`"),
            (&LOADR.replace("\"count\": 1", "\"count\": -1"), "-1"),
            (
                &LOADR.replace("\"duration_secs\": 1.0", "\"duration_secs\": -1.0"),
                "negative",
            ),
            (&LOADR.replace("0.3", "1e999"), "out of range"),
            (
                &LOADR.replace(
                    "\"another_key\": [1]",
                    "\"distribution\": { \"percentiles\": [0], \"metrics\": { \"a\": [] } }",
                ),
                "length",
            ),
            (
                &LOADR.replace("\"another_key\": [1]", "\"format\": 2"),
                "format 2",
            ),
            (
                &LOADR.replace("\"another_key\": [1]", "\"format\": \"x\""),
                "invalid type",
            ),
            (deep.as_str(), "invalid type"),
        ];
        for (text, says) in cases {
            let error = Summary::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        assert!(matches!(
            Summary::from_json(b"\xff\xfe"),
            Err(ReadError::Wrong(_))
        ));
    }
}
