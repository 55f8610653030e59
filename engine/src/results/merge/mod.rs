//! Several runs of one plan made into one: every figure as it would be had one generator made all the load. Reads what
//! `--histograms` writes, and writes the same, so that a merge can be merged again.

mod generators;
mod lists;
mod members;
mod seconds;
mod tallies;

use std::path::{Path, PathBuf};

use loadr_config::parse_threshold;

use self::generators::Generators;
use self::lists::Lists;
use self::members::{Members, check_same, is_part};
use self::seconds::Seconds;
use self::tallies::Tallies;
use super::histograms::{LogWriter, RunLog, read_log};
use super::read::read_bounded;
use super::summary::{Snapshot, Summary, ThresholdSummary, run_id};
use super::totals::Figures;
use crate::thresholds::{Sum, judge_sum};

/// The most files, segments and runs that are named; the rest are counted.
const NAMES_MAX: usize = 20;

/// Runs merged.
pub struct Merged {
    /// In the shape of any run's.
    pub summary: Summary,
    /// In the shape of any run's `--histograms`.
    pub histograms: String,
}

/// Merges the files that `--histograms` wrote. With `allow_missing` what cannot be read, and segments that are not there,
/// are left out and named in the summary; else they are an error.
///
/// # Errors
/// What is wrong, with the files' names.
pub fn merge(files: &[PathBuf], allow_missing: bool) -> Result<Merged, String> {
    let mut merge = Merge::default();
    let mut problems = Vec::new();
    for path in files {
        match read_bounded(path).and_then(|bytes| read_log(&bytes)) {
            Ok(log) => merge.add(path, log)?,
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    merge.members.from.missing.extend(problems);
    merge.members.miss_segments();
    let missing = &merge.members.from.missing;
    if merge.first.is_none() {
        return Err(format!("nothing to merge: {}", list(missing)));
    }
    if !allow_missing && !missing.is_empty() {
        return Err(format!(
            "{}\n  A summary of the rest would not be one of the whole: --allow-missing makes one that names what is not in it",
            list(missing)
        ));
    }
    merge.finish()
}

/// Lines, as many as a person reads.
fn list(lines: &[String]) -> String {
    let mut shown: Vec<String> = lines.iter().take(NAMES_MAX).cloned().collect();
    if lines.len() > NAMES_MAX {
        shown.push(format!("and {} more", lines.len() - NAMES_MAX));
    }
    shown.join("\n  ")
}

#[derive(Default)]
struct Merge {
    /// The first run, which the others are compared with and what is the same for all is taken from.
    first: Option<(PathBuf, Summary)>,
    members: Members,
    series: Tallies,
    seconds: Seconds,
    started_ms: u64,
    ended_ms: u64,
    /// The end of the last run, since 1970.
    end_secs: f64,
    interrupted: u64,
    exit_codes: Vec<u8>,
    aborted: Vec<String>,
    lists: Lists,
    generators: Generators,
}

impl Merge {
    fn add(&mut self, path: &Path, log: RunLog) -> Result<(), String> {
        let fail = |what: &str| format!("{}: {what}", path.display());
        let RunLog {
            mut summary,
            series,
            seconds,
        } = log;
        if let Some(first) = &self.first {
            check_same(first, path, &summary)?;
        }
        if is_part(&summary) {
            self.generators.add_start(path, summary.started_ms);
        }
        self.members.add(path, &summary)?;
        self.series
            .add(&mut summary, series)
            .map_err(|what| fail(&what))?;
        let start_ms = self
            .first
            .as_ref()
            .map_or(summary.started_ms, |(_, first)| first.started_ms);
        let offset_secs = (summary.started_ms as f64 - start_ms as f64) / 1e3;
        self.seconds
            .add(offset_secs, &summary.timeline, &seconds)
            .map_err(fail)?;
        self.add_rest(path, &summary).map_err(fail)?;
        let end_secs = summary.started_ms as f64 / 1e3 + summary.duration_secs;
        self.end_secs = self.end_secs.max(end_secs);
        if self.first.is_none() {
            (self.started_ms, self.ended_ms) = (summary.started_ms, summary.ended_ms);
            // Only what is the same for all is used of it.
            summary.snapshot.series = Vec::new();
            summary.timeline = Vec::new();
            self.first = Some((path.to_owned(), summary));
        } else {
            self.started_ms = self.started_ms.min(summary.started_ms);
            self.ended_ms = self.ended_ms.max(summary.ended_ms);
        }
        Ok(())
    }

    fn add_rest(&mut self, path: &Path, summary: &Summary) -> Result<(), &'static str> {
        self.interrupted = sum(self.interrupted, summary.iterations_interrupted)?;
        self.exit_codes.push(summary.exit_code);
        if let Some(why) = &summary.aborted
            && !self.aborted.contains(why)
        {
            self.aborted.push(why.clone());
        }
        self.lists.add(summary)?;
        let first = self.first.as_ref().map(|(_, first)| first);
        self.generators.add(path, summary, first)
    }

    fn finish(mut self) -> Result<Merged, String> {
        // `merge` has seen that there is one.
        let Some((_, mut summary)) = self.first.take() else {
            return Err("nothing to merge".to_owned());
        };
        let duration_secs = match self.members.from.runs.len() {
            1 => summary.duration_secs,
            // From the start of the first to the end of the last; the clock in milliseconds, so no finer.
            _ => ((self.end_secs - self.started_ms as f64 / 1e3) * 1e3).round() / 1e3,
        };
        let secs = duration_secs.max(1e-3);
        summary.timeline = self.seconds.timeline();
        if self.members.from.runs.len() > 1 {
            self.series.set_users(self.seconds.users());
        }
        self.series.check_totals()?;
        let mut figures = Figures::new(secs);
        // The thresholds of the first are those of all: the plans are the same.
        let thresholds = std::mem::take(&mut summary.thresholds);
        let mut judged = Vec::new();
        for threshold in &thresholds {
            let parsed =
                parse_threshold(&threshold.metric, &threshold.expression).map_err(|what| {
                    format!(
                        "the threshold `{}: {}`: {what}",
                        threshold.metric, threshold.expression
                    )
                })?;
            judged.push((parsed, Sum::default()));
        }
        // Each trend is spread out once, for all that is made of it, and then let go.
        for ((metric, tags), tally) in self.series.iter() {
            let sum = tally.sum();
            for (threshold, seen) in &mut judged {
                let has = |(key, value): &(String, String)| tags.get(key) == Some(value);
                if threshold.metric == *metric && threshold.tags.iter().all(has) {
                    seen.merge(&sum);
                }
            }
            figures.add(metric.clone().into(), tags.clone(), &sum);
        }
        summary.thresholds = judged
            .iter()
            .zip(&thresholds)
            .map(|((threshold, sum), before)| ThresholdSummary {
                metric: before.metric.clone(),
                abort_on_fail: before.abort_on_fail,
                ..ThresholdSummary::from(&judge_sum(threshold, sum, secs))
            })
            .collect();
        summary.thresholds_passed = summary.thresholds.iter().all(|threshold| threshold.passed);
        summary.clock = self.generators.clock();
        summary.generator = self.generators.finish(figures.totals());
        summary.metrics = figures.metrics();
        summary.distribution = figures.distribution();
        summary.run_id = run_id(self.started_ms);
        (summary.started_ms, summary.ended_ms) = (self.started_ms, self.ended_ms);
        summary.duration_secs = duration_secs;
        summary.snapshot = Snapshot {
            timestamp_ms: self.ended_ms,
            elapsed_secs: duration_secs,
            interval_secs: duration_secs,
            series: figures.into_series(),
        };
        summary.exit_code = exit_code(&self.exit_codes, summary.thresholds_passed);
        summary.aborted = (!self.aborted.is_empty()).then(|| self.aborted.join("; "));
        summary.iterations_interrupted = self.interrupted;
        self.lists.put(&mut summary);
        summary.segment = None;
        summary.merged = Some(self.members.from);
        let mut log = LogWriter::new(&summary);
        self.series.write(&mut log);
        self.seconds.write(&summary.timeline, &mut log);
        Ok(Merged {
            summary,
            histograms: log.finish(),
        })
    }
}

/// What one run with these figures would have exited with; thresholds are judged on all of them.
fn exit_code(codes: &[u8], thresholds_passed: bool) -> u8 {
    match () {
        () if codes.contains(&130) => 130,
        () if codes.contains(&98) => 98,
        () if !thresholds_passed => 99,
        () if codes.contains(&1) => 1,
        () => 0,
    }
}

/// Of one run or of all.
fn sum(a: u64, b: u64) -> Result<u64, &'static str> {
    a.checked_add(b).ok_or("it has more than can be counted")
}
