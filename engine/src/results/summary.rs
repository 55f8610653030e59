//! The summary, in the shape of its JSON file. `summary.schema.json` describes the same, and a test holds the two
//! together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::environment::Environment;
use super::totals::Figures;
use super::verdict::{Clock, Generator, generator};
use crate::control::StopReason;
use crate::metrics::Record;
use crate::run::Outcome;
use crate::segment::Segment;
use crate::thresholds::{Sum, ThresholdResult};

/// The version of the file's shape.
pub(super) const FORMAT: u32 = 1;

/// A run's summary. Trend figures in milliseconds; what does not apply to a kind is null.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The plan's name.
    pub name: String,
    /// Unique to the run.
    pub run_id: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
    /// From the common start of all shards to the end of the last.
    pub duration_secs: f64,
    /// In the plan's order.
    pub scenarios: Vec<String>,
    /// Each metric once, merged over all tags.
    pub metrics: Vec<MetricSummary>,
    /// Each check once.
    pub checks: Vec<CheckSummary>,
    /// In the plan's order.
    pub thresholds: Vec<ThresholdSummary>,
    /// Whether every threshold held.
    pub thresholds_passed: bool,
    /// Why the run ended early, if it did.
    pub aborted: Option<String>,
    /// Each metric by tag set.
    pub snapshot: Snapshot,
    /// About one point a second.
    pub timeline: Vec<Point>,
    // What follows is not in loadr's file, which is read as well.
    /// The version of this shape; 0 in a file that says none.
    #[serde(default)]
    pub format: u32,
    /// What the process exits with.
    #[serde(default)]
    pub exit_code: u8,
    /// SHA-256 of the effective plan.
    #[serde(default)]
    pub plan_hash: String,
    /// SHA-256 of all that decides the load: the plan, what it reads, its plugins, the seed. The same for all segments of a
    /// run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub load_hash: String,
    /// Iterations that `graceful_stop` did not suffice for. Their last requests are in no figure.
    #[serde(default)]
    pub iterations_interrupted: u64,
    /// By kind, most frequent first.
    #[serde(default)]
    pub errors: Vec<ErrorSummary>,
    /// In the plan's order.
    #[serde(default)]
    pub plugins: Vec<PluginSummary>,
    /// How the generator itself fared.
    #[serde(default)]
    pub generator: Generator,
    /// In the plan's order; left out where there are none. Whoever feeds them fills it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputSummary>,
    /// What it ran on.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// How well the machine's clock was kept, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The percentile curve of each trend.
    #[serde(default)]
    pub distribution: Distribution,
    /// Which part of a larger run this is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// What it was merged from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergedFrom>,
}

/// What a merged summary was made from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MergedFrom {
    /// The runs' ids.
    pub runs: Vec<String>,
    /// The segments that are in it, and of how many; none where the runs were no segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// What should be in it and is not: segments, files that could not be read.
    pub missing: Vec<String>,
}

/// One metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Its name.
    pub metric: Cow<'static, str>,
    /// counter, gauge, rate or trend.
    pub kind: Cow<'static, str>,
    /// Its figures.
    pub agg: Aggregates,
}

/// A metric's figures. All keys are always there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names say it; figures in milliseconds")]
pub struct Aggregates {
    pub count: Option<u64>,
    pub sum: Option<f64>,
    pub avg: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub med: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub rate: Option<f64>,
    pub last: Option<f64>,
    pub per_second: Option<f64>,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckSummary {
    /// Its name.
    pub name: String,
    /// How often it held.
    pub passes: u64,
    /// How often it did not.
    pub fails: u64,
    /// The most frequent texts of failures.
    pub details: Vec<Detail>,
}

/// A text and how often it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    /// At most 256 bytes.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// One threshold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThresholdSummary {
    /// With its selectors.
    pub metric: String,
    /// As in the plan.
    pub expression: String,
    /// `null` without samples.
    pub observed: Option<f64>,
    /// Whether it held.
    pub passed: bool,
    /// Whether its failure ends the run.
    pub abort_on_fail: bool,
}

/// All series at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Since the start.
    pub elapsed_secs: f64,
    /// What the interval figures cover: here the whole run.
    pub interval_secs: f64,
    /// The series.
    pub series: Vec<SeriesSummary>,
}

/// One series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeriesSummary {
    /// Its metric.
    pub metric: Cow<'static, str>,
    /// counter, gauge, rate or trend.
    pub kind: Cow<'static, str>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its figures.
    pub agg: Aggregates,
    /// Samples in the interval.
    pub interval_count: u64,
    /// Their sum.
    pub interval_sum: f64,
}

/// A second of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it; figures in milliseconds")]
pub struct Point {
    pub elapsed_secs: f64,
    pub rps: f64,
    pub iterations_ps: f64,
    pub active_vus: f64,
    pub error_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_avg: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<f64>,
}

/// One kind of error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorSummary {
    /// The `error_kind`.
    pub kind: Cow<'static, str>,
    /// How often.
    pub count: u64,
    /// The most frequent text.
    pub example: String,
}

/// One plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginSummary {
    /// Its name in the plan.
    pub name: String,
    /// Calls made.
    pub calls: u64,
    /// Calls that trapped or took too long.
    pub errors: u64,
}

/// One output: a file or a receiver that was fed during the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutputSummary {
    /// Its type and where it leads, without secrets.
    pub name: String,
    /// Figures that it was given: one for each series and second.
    pub points: u64,
    /// Those of them that it did not take.
    pub dropped: u64,
    /// Deliveries that failed.
    pub failures: u64,
    /// Why, the last time.
    pub error: Option<String>,
}

impl Summary {
    /// Sums an outcome up.
    #[must_use]
    pub fn new(outcome: &Outcome) -> Self {
        let aggregate = &outcome.aggregate;
        let secs = aggregate.elapsed_secs();
        let mut figures = Figures::new(secs);
        aggregate.for_each_series(|one| {
            let mut sum = Sum::default();
            sum.add(one);
            let own = one.tags.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
            let tags = one.plan_tags.iter().cloned().chain(own).collect();
            figures.add(one.metric.into(), tags, &sum);
        });
        let thresholds: Vec<ThresholdSummary> = outcome
            .thresholds
            .iter()
            .map(ThresholdSummary::from)
            .collect();
        let thresholds_passed = thresholds.iter().all(|t| t.passed);
        let generator = generator(outcome, figures.totals());
        let unsound = outcome.is_strict && generator.bottleneck;
        // A part is not what the plan's thresholds are about: counts and rates of it are smaller than those of all.
        let is_part = outcome.segment.is_some_and(Segment::is_part);
        let exit_code = exit_code(
            outcome.stopped.as_ref(),
            thresholds_passed || is_part,
            unsound,
        );
        Self {
            name: outcome.program.name.clone(),
            run_id: run_id(outcome.started_ms),
            started_ms: outcome.started_ms,
            ended_ms: outcome.ended_ms,
            duration_secs: aggregate.duration_secs,
            scenarios: outcome
                .program
                .scenarios
                .iter()
                .map(|s| s.name.clone())
                .collect(),
            generator,
            outputs: Vec::new(),
            environment: Some(Environment::here()),
            distribution: figures.distribution(),
            clock: outcome.clock,
            segment: outcome.segment,
            merged: None,
            metrics: figures.metrics(),
            checks: checks(outcome),
            thresholds,
            thresholds_passed,
            aborted: outcome.stopped.as_ref().map(describe),
            snapshot: Snapshot {
                timestamp_ms: outcome.ended_ms,
                elapsed_secs: aggregate.duration_secs,
                interval_secs: aggregate.duration_secs,
                series: figures.into_series(),
            },
            timeline: timeline(outcome),
            format: FORMAT,
            exit_code,
            plan_hash: outcome.program.plan_hash.clone(),
            load_hash: outcome.load_hash.clone(),
            iterations_interrupted: aggregate
                .total
                .scenarios
                .iter()
                .map(|s| s.interrupted)
                .sum(),
            errors: errors(&aggregate.total),
            plugins: outcome
                .program
                .plugins
                .iter()
                .zip(&aggregate.total.plugins)
                .map(|(plugin, record)| PluginSummary {
                    name: plugin.name.clone(),
                    calls: record.calls,
                    errors: record.errors,
                })
                .collect(),
        }
    }

    /// The summary file: indented JSON, ending with a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Cannot fail: strings are keys everywhere, and serde_json writes what is no number as null.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// The figures of a metric, if it has any.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Aggregates> {
        self.metrics
            .iter()
            .find(|m| m.metric == name)
            .map(|m| &m.agg)
    }
}

/// 1 a shard broke off, 130 interrupted, 98 the figures are the generator's and `--strict` was given (whatever was judged by them counts for
/// little then), 99 a threshold failed, 1 the plan aborted itself, 0 all held.
fn exit_code(stopped: Option<&StopReason>, thresholds_passed: bool, unsound: bool) -> u8 {
    match stopped {
        Some(StopReason::Broken(_)) => 1,
        Some(StopReason::Interrupted) => 130,
        _ if unsound => 98,
        _ if !thresholds_passed => 99,
        Some(StopReason::Assert(_) | StopReason::Lost(_)) => 1,
        Some(StopReason::Threshold(_)) => 99,
        Some(StopReason::Steered | StopReason::Watcher(_)) | None => 0,
    }
}

fn describe(reason: &StopReason) -> String {
    match reason {
        StopReason::Interrupted => "interrupted".to_owned(),
        StopReason::Steered => "stopped by whoever steered it".to_owned(),
        StopReason::Assert(name) => format!("the assert `{name}` failed (on_failure: abort_test)"),
        StopReason::Threshold(name) => format!("the threshold `{name}` failed (abort_on_fail)"),
        StopReason::Watcher(why) | StopReason::Lost(why) | StopReason::Broken(why) => why.clone(),
    }
}

/// Unique, also among processes with the same id that began in the same millisecond, as in containers.
pub(super) fn run_id(started_ms: u64) -> String {
    use std::hash::{BuildHasher, Hasher};
    // Its keys are random, once a process.
    let random = std::hash::RandomState::new().build_hasher().finish() as u32;
    format!("{started_ms:x}-{:x}-{random:08x}", std::process::id())
}

impl From<&ThresholdResult> for ThresholdSummary {
    fn from(t: &ThresholdResult) -> Self {
        Self {
            metric: t.metric.clone(),
            expression: t.expression.clone(),
            observed: t.observed,
            passed: t.passed,
            abort_on_fail: t.abort_on_fail,
        }
    }
}

fn checks(outcome: &Outcome) -> Vec<CheckSummary> {
    let records = &outcome.aggregate.total.checks;
    outcome
        .program
        .checks
        .iter()
        .zip(records)
        .map(|(name, record)| CheckSummary {
            name: name.clone(),
            passes: record.passes,
            fails: record.fails,
            details: most_frequent(&record.details),
        })
        .collect()
}

/// The kinds of errors of a record, most frequent first.
pub(crate) fn errors(record: &Record) -> Vec<ErrorSummary> {
    let mut errors: Vec<ErrorSummary> = record
        .errors
        .iter()
        .map(|(kind, record)| ErrorSummary {
            kind: kind.as_str().into(),
            count: record.count,
            example: most_frequent(&record.details)
                .into_iter()
                .next()
                .map_or_else(String::new, |d| d.text),
        })
        .collect();
    errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    errors
}

fn most_frequent(details: &[(String, u64)]) -> Vec<Detail> {
    let mut details: Vec<Detail> = details
        .iter()
        .map(|(text, count)| Detail {
            text: text.clone(),
            count: *count,
        })
        .collect();
    details.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    details
}

fn timeline(outcome: &Outcome) -> Vec<Point> {
    outcome
        .aggregate
        .timeline
        .iter()
        .map(|p| Point {
            elapsed_secs: p.elapsed_secs,
            rps: p.requests_per_sec,
            iterations_ps: p.iterations_per_sec,
            active_vus: f64::from(p.vus),
            error_rate: p.error_rate,
            latency_avg: p.latency.map(|l| l.mean_ms),
            latency_p50: p.latency.map(|l| l.p50_ms),
            latency_p95: p.latency.map(|l| l.p95_ms),
            latency_p99: p.latency.map(|l| l.p99_ms),
        })
        .collect()
}
