//! Which runs and segments are merged, and whether they belong together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::NAMES_MAX;
use crate::results::summary::{MergedFrom, Summary};
use crate::segment::Segment;

/// What is in a merge so far.
#[derive(Default)]
pub(super) struct Members {
    pub(super) from: MergedFrom,
    /// By run id: the file that it came from.
    runs: HashMap<String, PathBuf>,
}

impl Members {
    /// Adds what is in a file: a run, or several that were merged.
    pub(super) fn add(&mut self, path: &Path, summary: &Summary) -> Result<(), String> {
        let fail = |what: &str| format!("{}: {what}", path.display());
        let mut merged = summary.merged.clone().unwrap_or_default();
        // Which segments are missing is seen once all are there.
        let known = missing_segments(&merged.segments);
        merged.missing.retain(|line| !known.contains(line));
        let runs = if merged.runs.is_empty() {
            vec![summary.run_id.clone()]
        } else {
            merged.runs
        };
        for run in runs {
            if let Some(other) = self.runs.insert(run.clone(), path.to_owned()) {
                return Err(fail(&format!(
                    "the run {run} is also in {}: each counts once",
                    other.display()
                )));
            }
            self.from.runs.push(run);
        }
        for segment in merged.segments.into_iter().chain(summary.segment) {
            if segment.index >= segment.of {
                return Err(fail(&format!(
                    "there is no segment {} of {}",
                    segment.index, segment.of
                )));
            }
            match self.from.segments.first() {
                Some(known) if known.of != segment.of => {
                    return Err(fail(&format!(
                        "it is one of {} segments, others are of {}",
                        segment.of, known.of
                    )));
                }
                _ if self.from.segments.contains(&segment) => {
                    return Err(fail(&format!(
                        "segment {} of {} is there twice",
                        segment.index, segment.of
                    )));
                }
                _ => self.from.segments.push(segment),
            }
        }
        self.from.missing.extend(merged.missing);
        Ok(())
    }

    /// Names the segments that are not there as missing.
    pub(super) fn miss_segments(&mut self) {
        let missing = missing_segments(&self.from.segments);
        self.from.missing.extend(missing);
    }
}

/// One line for each, and how many more there are.
fn missing_segments(segments: &[Segment]) -> Vec<String> {
    let Some(of) = segments.iter().map(|segment| segment.of).max() else {
        return Vec::new();
    };
    let mut there: Vec<u32> = segments.iter().map(|segment| segment.index).collect();
    there.sort_unstable();
    let is_missing = |index: &u32| there.binary_search(index).is_err();
    let mut missing: Vec<String> = (0..of)
        .filter(is_missing)
        .take(NAMES_MAX + 1)
        .map(|index| format!("segment {index} of {of} is missing"))
        .collect();
    if missing.len() > NAMES_MAX {
        missing.truncate(NAMES_MAX);
        missing.push(format!(
            "and {} more segments are missing",
            of as usize - there.len() - NAMES_MAX
        ));
    }
    missing
}

/// Only runs of one plan are one run.
pub(super) fn check_same(
    (other, first): &(PathBuf, Summary),
    path: &Path,
    summary: &Summary,
) -> Result<(), String> {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    if first.plan_hash == summary.plan_hash {
        return check_parts((other, first), path, summary);
    }
    Err(format!(
        "{} is of another plan than {} (plan hash {} and {}): only runs of one plan, with the same overlays and flags, \
         can be merged",
        path.display(),
        other.display(),
        short(&summary.plan_hash),
        short(&first.plan_hash)
    ))
}

/// Segments are parts of one load only where all that decides it was the same.
fn check_parts(
    (other, first): (&Path, &Summary),
    path: &Path,
    summary: &Summary,
) -> Result<(), String> {
    let (path, other) = (path.display(), other.display());
    match (is_part(first), is_part(summary)) {
        (false, false) => return Ok(()),
        (true, true) => {}
        (is_first, _) => {
            let (part, whole) = if is_first {
                (other, path)
            } else {
                (path, other)
            };
            return Err(format!(
                "{part} is of a segment, and {whole} of a run of the whole plan: only all parts of a load, or whole runs, can \
                 be merged"
            ));
        }
    }
    let version = |s: &Summary| {
        s.environment
            .as_ref()
            .map_or_else(String::new, |environment| environment.version.clone())
    };
    let (mine, theirs) = (version(summary), version(first));
    if mine != theirs {
        return Err(format!(
            "{path} was made by loadr-fast {mine}, and {other} by {theirs}: segments of one run are made by one version"
        ));
    }
    let (mine, theirs) = (summary.generator.seed, first.generator.seed);
    if mine != theirs {
        return Err(format!(
            "{path} is of another run than {other}: their seeds are {mine} and {theirs}, and segments of one run have one"
        ));
    }
    if summary.load_hash != first.load_hash {
        return Err(format!(
            "{path} is of another load than {other}: their plans and seeds are the same, but not the data files, the variables \
             of the environment or the plugins that they used"
        ));
    }
    Ok(())
}

/// Whether it is of a segment, or of several.
pub(super) fn is_part(summary: &Summary) -> bool {
    let merged = summary.merged.as_ref();
    summary.segment.is_some() || merged.is_some_and(|merged| !merged.segments.is_empty())
}
