//! Several runs of one plan made into one: every figure as it would be had one generator made all the load. Reads what
//! `--histograms` writes, and writes the same, so that a merge can be merged again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use loadr_config::parse_threshold;

use super::histograms::{LogWriter, RunLog, SeriesKey, read_log};
use super::read::{ReadError, SUMMARY_BYTES_MAX};
use super::summary::{
    CheckSummary, Detail, ErrorSummary, MergedFrom, OutputSummary, Point, SeriesSummary, Snapshot,
    Summary, ThresholdSummary, run_id,
};
use super::totals::Figures;
use super::verdict::{CLOCK_TOLERANCE_MS, Clock, Generator, LAG_SHARE};
use crate::metrics::{Spread, Trend};
use crate::segment::Segment;
use crate::thresholds::{Sum, judge_sum};

/// The most different texts kept for one check.
const DETAILS_MAX: usize = 16;
/// The most reasons that are told; the rest are counted.
const REASONS_MAX: usize = 8;
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
        match read(path) {
            Ok(log) => merge.add(path, log)?,
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    merge.from.missing.extend(problems);
    merge
        .from
        .missing
        .extend(missing_segments(&merge.from.segments));
    if merge.first.is_none() {
        return Err(format!("nothing to merge: {}", list(&merge.from.missing)));
    }
    if !allow_missing && !merge.from.missing.is_empty() {
        return Err(format!(
            "{}\n  A summary of the rest would not be one of the whole: --allow-missing makes one that names what is not in it",
            list(&merge.from.missing)
        ));
    }
    merge.finish()
}

fn read(path: &Path) -> Result<RunLog, ReadError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(ReadError::Io)?;
    file.take(SUMMARY_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    if bytes.len() as u64 > SUMMARY_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    read_log(&bytes)
}

/// Lines, as many as a person reads.
fn list(lines: &[String]) -> String {
    let mut shown: Vec<String> = lines.iter().take(NAMES_MAX).cloned().collect();
    if lines.len() > NAMES_MAX {
        shown.push(format!("and {} more", lines.len() - NAMES_MAX));
    }
    shown.join("\n  ")
}

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

/// One series' values while they are added up.
enum Tally {
    Trend(Spread),
    Counter(u64),
    Rate { passes: u64, count: u64 },
    Gauge { last: f64, min: f64, max: f64 },
}

/// One second of all runs, by when it ended.
#[derive(Default)]
struct Second {
    end_secs: f64,
    rps: f64,
    iterations_ps: f64,
    vus: f64,
    /// Failed requests a second.
    failed_ps: f64,
    /// Latency times requests a second, and these: for the mean.
    latency_sum: f64,
    latency_weight: f64,
    spread: Spread,
}

#[derive(Default)]
struct Merge {
    /// The first run, which the others are compared with and what is the same for all is taken from.
    first: Option<(PathBuf, Summary)>,
    from: MergedFrom,
    /// By run id: the file that it came from.
    runs: HashMap<String, PathBuf>,
    series: BTreeMap<SeriesKey, Tally>,
    /// By second since the first run's start; another may have begun before it.
    seconds: BTreeMap<i64, Second>,
    started_ms: u64,
    ended_ms: u64,
    /// The end of the last run, since 1970.
    end_secs: f64,
    interrupted: u64,
    exit_codes: Vec<u8>,
    aborted: Vec<String>,
    checks: BTreeMap<String, CheckSummary>,
    errors: BTreeMap<String, ErrorSummary>,
    plugins: BTreeMap<String, (u64, u64)>,
    outputs: Vec<OutputSummary>,
    generator: Generator,
    reasons: usize,
    machines_differ: bool,
    notes: Vec<Note>,
    clock: Option<Clock>,
    /// The first and the last of the segments to begin.
    began: Option<(Began, Began)>,
}

/// A note, the file that it is in first, and in how many others it is.
struct Note {
    text: String,
    path: PathBuf,
    more: usize,
}

/// When a segment began, by its machine's clock.
#[derive(Clone)]
struct Began {
    at_ms: u64,
    path: PathBuf,
}

impl Merge {
    fn add(&mut self, path: &Path, log: RunLog) -> Result<(), String> {
        let fail = |what: &str| format!("{}: {what}", path.display());
        let RunLog {
            mut summary,
            series,
            seconds,
        } = log;
        self.check_same(path, &summary)?;
        if is_part(&summary) {
            self.add_start(path, summary.started_ms);
        }
        if let Some(clock) = summary.clock {
            self.add_clock(clock);
        }
        let merged = summary.merged.take().unwrap_or_default();
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
        self.add_series(&mut summary, series)
            .map_err(|what| fail(&what))?;
        let start_ms = self
            .first
            .as_ref()
            .map_or(summary.started_ms, |(_, first)| first.started_ms);
        let offset_secs = (summary.started_ms as f64 - start_ms as f64) / 1e3;
        self.add_seconds(offset_secs, &summary.timeline, &seconds)
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

    /// Only runs of one plan are one run.
    fn check_same(&self, path: &Path, summary: &Summary) -> Result<(), String> {
        let Some((other, first)) = &self.first else {
            return Ok(());
        };
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        if first.plan_hash == summary.plan_hash {
            return self.check_parts(path, summary);
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
    fn check_parts(&self, path: &Path, summary: &Summary) -> Result<(), String> {
        let Some((other, first)) = &self.first else {
            return Ok(());
        };
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

    fn add_start(&mut self, path: &Path, at_ms: u64) {
        let began = Began {
            at_ms,
            path: path.to_owned(),
        };
        match &mut self.began {
            None => self.began = Some((began.clone(), began)),
            Some((first, _)) if at_ms < first.at_ms => *first = began,
            Some((_, last)) if at_ms > last.at_ms => *last = began,
            Some(_) => {}
        }
    }

    fn add_clock(&mut self, clock: Clock) {
        let worst = self.clock.map_or(clock, |known| Clock {
            synchronised: known.synchronised && clock.synchronised,
            error_ms: known.error_ms.max(clock.error_ms),
            error_max_ms: known.error_max_ms.max(clock.error_max_ms),
        });
        self.clock = Some(worst);
    }

    fn add_series(
        &mut self,
        summary: &mut Summary,
        trends: Vec<(SeriesKey, Spread)>,
    ) -> Result<(), String> {
        let mut trends: HashMap<SeriesKey, Spread> = trends.into_iter().collect();
        for one in std::mem::take(&mut summary.snapshot.series) {
            let SeriesSummary {
                metric,
                kind,
                tags,
                agg,
                interval_sum,
                ..
            } = one;
            let count = agg.count.unwrap_or(0);
            let gauge = |value: Option<f64>| value.unwrap_or(0.0);
            let key = (metric.into_owned(), tags);
            let value = match &*kind {
                "trend" => {
                    let spread = trends.remove(&key).filter(|spread| spread.count() == count);
                    Tally::Trend(spread.ok_or_else(|| {
                        format!("`{}` has no histogram of its {count} values", key.0)
                    })?)
                }
                "counter" => Tally::Counter(count),
                "rate" => {
                    // Exact up to 2^53.
                    let passes = interval_sum as u64;
                    if passes > count {
                        return Err(format!("`{}` has more passes than samples", key.0));
                    }
                    Tally::Rate { passes, count }
                }
                "gauge" => Tally::Gauge {
                    last: gauge(agg.last),
                    min: gauge(agg.min),
                    max: gauge(agg.max),
                },
                other => return Err(format!("`{}` is of an unknown kind `{other}`", key.0)),
            };
            self.add_one(key, value)?;
        }
        match trends.into_keys().next() {
            Some((metric, _)) => Err(format!(
                "a histogram of `{metric}` is in no series of its summary"
            )),
            None => Ok(()),
        }
    }

    fn add_one(&mut self, key: SeriesKey, value: Tally) -> Result<(), String> {
        let Some(known) = self.series.get_mut(&key) else {
            self.series.insert(key, value);
            return Ok(());
        };
        let sum = |a: u64, b: u64| {
            a.checked_add(b)
                .ok_or_else(|| format!("`{}` is more than can be counted", key.0))
        };
        match (known, value) {
            (Tally::Trend(mine), Tally::Trend(theirs)) => {
                mine.add(&theirs)
                    .map_err(|what| format!("`{}` has {what}", key.0))?;
            }
            (Tally::Counter(mine), Tally::Counter(theirs)) => *mine = sum(*mine, theirs)?,
            (
                Tally::Rate { passes, count },
                Tally::Rate {
                    passes: p,
                    count: c,
                },
            ) => {
                (*passes, *count) = (sum(*passes, p)?, sum(*count, c)?);
            }
            (
                Tally::Gauge { last, min, max },
                Tally::Gauge {
                    last: l,
                    min: n,
                    max: x,
                },
            ) => {
                // Users of all runs are there together; of anything else the largest is what counts.
                (*last, *min, *max) = if matches!(&*key.0, "vus" | "vus_max") {
                    (*last + l, *min + n, *max + x)
                } else {
                    (last.max(l), min.min(n), max.max(x))
                };
            }
            _ => {
                return Err(format!(
                    "`{}` is of another kind than in the files before",
                    key.0
                ));
            }
        }
        Ok(())
    }

    fn add_seconds(
        &mut self,
        offset_secs: f64,
        timeline: &[Point],
        seconds: &[super::histograms::LogSecond],
    ) -> Result<(), &'static str> {
        // A clock that is a little off does not move a second into the next.
        let offset_secs = if offset_secs.abs() < 1.0 {
            0.0
        } else {
            offset_secs
        };
        let index = |end_secs: f64| (end_secs + offset_secs - 0.01).ceil() as i64;
        for point in timeline {
            let second = self.seconds.entry(index(point.elapsed_secs)).or_default();
            second.end_secs = second.end_secs.max(point.elapsed_secs + offset_secs);
            second.rps += point.rps;
            second.iterations_ps += point.iterations_ps;
            second.vus += point.active_vus;
            second.failed_ps += point.error_rate * point.rps;
            if let Some(latency) = point.latency_avg {
                second.latency_sum += latency * point.rps;
                second.latency_weight += point.rps;
            }
        }
        for one in seconds {
            // One without a point on the timeline is too short to be one.
            if let Some(second) = self.seconds.get_mut(&index(one.end_secs)) {
                second.spread.add(&one.spread)?;
            }
        }
        Ok(())
    }

    fn add_rest(&mut self, path: &Path, summary: &Summary) -> Result<(), &'static str> {
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or("it has more than can be counted");
        self.interrupted = sum(self.interrupted, summary.iterations_interrupted)?;
        self.exit_codes.push(summary.exit_code);
        if let Some(why) = &summary.aborted
            && !self.aborted.contains(why)
        {
            self.aborted.push(why.clone());
        }
        for check in &summary.checks {
            let mine = self
                .checks
                .entry(check.name.clone())
                .or_insert_with(|| CheckSummary {
                    name: check.name.clone(),
                    passes: 0,
                    fails: 0,
                    details: Vec::new(),
                });
            mine.passes = sum(mine.passes, check.passes)?;
            mine.fails = sum(mine.fails, check.fails)?;
            for detail in &check.details {
                let known = mine
                    .details
                    .iter()
                    .position(|known| known.text == detail.text);
                if let Some(known) = known.and_then(|at| mine.details.get_mut(at)) {
                    known.count = sum(known.count, detail.count)?;
                } else if mine.details.len() < DETAILS_MAX {
                    mine.details.push(detail.clone());
                }
            }
        }
        for error in &summary.errors {
            match self.errors.get_mut(&*error.kind) {
                Some(mine) => mine.count = sum(mine.count, error.count)?,
                None => {
                    self.errors.insert(error.kind.to_string(), error.clone());
                }
            }
        }
        for plugin in &summary.plugins {
            let mine = self.plugins.entry(plugin.name.clone()).or_default();
            *mine = (sum(mine.0, plugin.calls)?, sum(mine.1, plugin.errors)?);
        }
        for output in &summary.outputs {
            let known = self
                .outputs
                .iter()
                .position(|known| known.name == output.name);
            match known.and_then(|at| self.outputs.get_mut(at)) {
                Some(mine) => {
                    mine.points = sum(mine.points, output.points)?;
                    mine.dropped = sum(mine.dropped, output.dropped)?;
                    mine.failures = sum(mine.failures, output.failures)?;
                    mine.error = output.error.clone().or(mine.error.take());
                }
                None => self.outputs.push(output.clone()),
            }
        }
        self.add_generator(path, &summary.generator)?;
        if let Some((_, first)) = &self.first {
            self.machines_differ |= first.environment != summary.environment;
        }
        Ok(())
    }

    fn add_generator(&mut self, path: &Path, generator: &Generator) -> Result<(), &'static str> {
        let mine = &mut self.generator;
        if self.first.is_none() {
            mine.seed = generator.seed;
        }
        mine.cores.extend(&generator.cores);
        mine.cpu_max = mine.cpu_max.max(generator.cpu_max);
        mine.late_iterations = mine
            .late_iterations
            .checked_add(generator.late_iterations)
            .ok_or("it has more than can be counted")?;
        mine.late_max_ms = mine.late_max_ms.max(generator.late_max_ms);
        mine.bottleneck |= generator.bottleneck;
        for reason in &generator.reasons {
            self.reasons += 1;
            if mine.reasons.len() < REASONS_MAX {
                mine.reasons.push(format!("{}: {reason}", path.display()));
            }
        }
        for note in &generator.notes {
            if let Some(known) = self.notes.iter_mut().find(|known| known.text == *note) {
                known.more += 1;
            } else if self.notes.len() < REASONS_MAX {
                self.notes.push(Note {
                    text: note.clone(),
                    path: path.to_owned(),
                    more: 0,
                });
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Merged, String> {
        // `merge` has seen that there is one.
        let Some((_, mut summary)) = self.first.take() else {
            return Err("nothing to merge".to_owned());
        };
        let duration_secs = match self.from.runs.len() {
            1 => summary.duration_secs,
            // From the start of the first to the end of the last; the clock in milliseconds, so no finer.
            _ => ((self.end_secs - self.started_ms as f64 / 1e3) * 1e3).round() / 1e3,
        };
        let secs = duration_secs.max(1e-3);
        summary.timeline = timeline(&self.seconds);
        if self.from.runs.len() > 1
            && let Some(Tally::Gauge { min, max, .. }) =
                self.series.get_mut(&("vus".to_owned(), BTreeMap::new()))
        {
            let users = || self.seconds.values().map(|second| second.vus);
            *min = users().fold(*max, f64::min);
            *max = users().fold(0.0, f64::max);
        }
        self.check_totals()?;
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
        for ((metric, tags), tally) in &self.series {
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
        self.judge_generator(figures.totals());
        summary.generator = std::mem::take(&mut self.generator);
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
        self.put_lists(&mut summary);
        summary.outputs = std::mem::take(&mut self.outputs);
        summary.clock = self.clock;
        summary.segment = None;
        summary.merged = Some(std::mem::take(&mut self.from));
        let histograms = self.write_log(&summary);
        Ok(Merged {
            summary,
            histograms,
        })
    }

    fn put_lists(&mut self, summary: &mut Summary) {
        let mut checks = std::mem::take(&mut self.checks);
        let order: Vec<String> = summary
            .checks
            .iter()
            .map(|check| check.name.clone())
            .collect();
        summary.checks = order
            .iter()
            .filter_map(|name| checks.remove(name))
            .collect();
        summary.checks.extend(checks.into_values());
        for check in &mut summary.checks {
            let by_count =
                |a: &Detail, b: &Detail| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text));
            check.details.sort_by(by_count);
        }
        summary.errors = std::mem::take(&mut self.errors).into_values().collect();
        summary
            .errors
            .sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        for plugin in &mut summary.plugins {
            if let Some(sums) = self.plugins.get(&plugin.name) {
                (plugin.calls, plugin.errors) = *sums;
            }
        }
    }

    /// Sums over all series of a metric, which the figures have, fit as well.
    fn check_totals(&self) -> Result<(), String> {
        let mut totals: HashMap<&str, u64> = HashMap::new();
        for ((metric, _), tally) in &self.series {
            let count = match tally {
                Tally::Trend(spread) => spread.count(),
                Tally::Counter(count) | Tally::Rate { count, .. } => *count,
                Tally::Gauge { .. } => continue,
            };
            let total = totals.entry(metric).or_default();
            *total = total
                .checked_add(count)
                .filter(|total| i64::try_from(*total).is_ok())
                .ok_or_else(|| format!("`{metric}` is more than can be counted"))?;
        }
        Ok(())
    }

    fn judge_generator(&mut self, totals: &BTreeMap<std::borrow::Cow<'static, str>, Sum>) {
        let p99 = |metric: &str| {
            let trend = totals.get(metric)?.trend.as_ref()?;
            (trend.count() > 0).then(|| trend.percentile_ms(99.0))
        };
        let mine = &mut self.generator;
        mine.lag_p99_ms = p99("generator_lag");
        if self.reasons > mine.reasons.len() {
            mine.reasons
                .push(format!("and {} more", self.reasons - mine.reasons.len()));
        }
        if let (false, Some(lag), Some(response)) =
            (mine.bottleneck, mine.lag_p99_ms, p99("http_req_response"))
            && lag > response * LAG_SHARE
        {
            mine.bottleneck = true;
            mine.reasons.push(format!(
                "generator lag: over all runs its p99 is {lag:.3} ms, above a tenth of the reported p99 of {response:.3} ms"
            ));
        }
        mine.notes.extend(self.notes.iter().map(|note| {
            let path = note.path.display();
            match note.more {
                0 => format!("{path}: {}", note.text),
                more => format!("{path} and {more} more: {}", note.text),
            }
        }));
        if let Some((first, last)) = &self.began {
            let apart_ms = last.at_ms.saturating_sub(first.at_ms);
            if apart_ms as f64 > CLOCK_TOLERANCE_MS {
                mine.bottleneck = true;
                mine.reasons.push(format!(
                    "the segments did not begin together: {} began {:.3} s after {}, by their clocks, and more than {:.1} s makes \
                     another load than the plan's (`--start-at` starts them together)",
                    last.path.display(),
                    apart_ms as f64 / 1e3,
                    first.path.display(),
                    CLOCK_TOLERANCE_MS / 1e3
                ));
            }
        }
        if self.machines_differ {
            mine.notes.push(
                "the runs are of different machines or versions: `environment` is the first one's"
                    .to_owned(),
            );
        }
    }

    fn write_log(&self, summary: &Summary) -> String {
        let mut log = LogWriter::new(summary);
        for ((metric, tags), tally) in &self.series {
            if let Tally::Trend(spread) = tally {
                log.series(metric, tags.clone(), &Trend::from_spread(spread));
            }
        }
        let mut start = 0.0;
        for (second, point) in self.seconds.values().zip(&summary.timeline) {
            if second.spread.count() > 0 {
                log.second(
                    start,
                    (point.elapsed_secs - start).max(0.0),
                    &Trend::from_spread(&second.spread),
                );
            }
            start = point.elapsed_secs;
        }
        log.finish()
    }
}

impl Tally {
    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        match self {
            Self::Trend(spread) => sum.trend = Some(Trend::from_spread(spread)),
            Self::Counter(count) => sum.counter = Some(*count),
            Self::Rate { passes, count } => sum.rate = Some((*passes, *count)),
            Self::Gauge { last, min, max } => sum.gauge = Some((*last, *min, *max)),
        }
        sum
    }
}

fn timeline(seconds: &BTreeMap<i64, Second>) -> Vec<Point> {
    // A run that began before the first one has seconds below zero.
    let before = seconds
        .keys()
        .next()
        .map_or(0, |first| 1_i64.saturating_sub(*first).max(0)) as f64;
    let share = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    seconds
        .values()
        .map(|second| {
            let latency = (second.spread.count() > 0).then(|| Trend::from_spread(&second.spread));
            let percentile =
                |percent: f64| latency.as_ref().map(|trend| trend.percentile_ms(percent));
            Point {
                elapsed_secs: second.end_secs + before,
                rps: second.rps,
                iterations_ps: second.iterations_ps,
                active_vus: second.vus,
                error_rate: share(second.failed_ps, second.rps),
                latency_avg: (second.latency_weight > 0.0)
                    .then(|| share(second.latency_sum, second.latency_weight)),
                latency_p50: percentile(50.0),
                latency_p95: percentile(95.0),
                latency_p99: percentile(99.0),
            }
        })
        .collect()
}

/// Whether it is of a segment, or of several.
fn is_part(summary: &Summary) -> bool {
    let merged = summary.merged.as_ref();
    summary.segment.is_some() || merged.is_some_and(|merged| !merged.segments.is_empty())
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
