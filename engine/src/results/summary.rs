//! The summary, in the shape of its JSON file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::verdict::{Generator, generator};
use crate::control::StopReason;
use crate::metrics::{Kind, METRICS, Record, Trend, Values};
use crate::run::Outcome;
use crate::thresholds::Sum;

/// The version of the file's shape.
const FORMAT: u32 = 1;

/// A run's summary. Trend figures in milliseconds; what does not apply to a kind is null.
#[derive(Clone, Debug, Serialize)]
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
    /// The version of this shape.
    pub format: u32,
    /// What the process exits with.
    pub exit_code: u8,
    /// SHA-256 of the effective plan.
    pub plan_hash: String,
    /// Iterations that `graceful_stop` did not suffice for. Their last requests are in no figure.
    pub iterations_interrupted: u64,
    /// By kind, most frequent first.
    pub errors: Vec<ErrorSummary>,
    /// In the plan's order.
    pub plugins: Vec<PluginSummary>,
    /// How the generator itself fared.
    pub generator: Generator,
    /// In the plan's order; left out where there are none. Whoever feeds them fills it in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputSummary>,
}

/// One metric.
#[derive(Clone, Debug, Serialize)]
pub struct MetricSummary {
    /// Its name.
    pub metric: &'static str,
    /// counter, gauge, rate or trend.
    pub kind: &'static str,
    /// Its figures.
    pub agg: Aggregates,
}

/// A metric's figures. All keys are always there.
#[derive(Clone, Debug, Default, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// At most 256 bytes.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// One threshold.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct SeriesSummary {
    /// Its metric.
    pub metric: &'static str,
    /// counter, gauge, rate or trend.
    pub kind: &'static str,
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
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct ErrorSummary {
    /// The `error_kind`.
    pub kind: &'static str,
    /// How often.
    pub count: u64,
    /// The most frequent text.
    pub example: String,
}

/// One plugin.
#[derive(Clone, Debug, Serialize)]
pub struct PluginSummary {
    /// Its name in the plan.
    pub name: String,
    /// Calls made.
    pub calls: u64,
    /// Calls that trapped or took too long.
    pub errors: u64,
}

/// One output: a file or a receiver that was fed during the run.
#[derive(Clone, Debug, Serialize)]
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
        let mut merged: BTreeMap<&'static str, Sum> = BTreeMap::new();
        let mut series = Vec::new();
        aggregate.for_each_series(|one| {
            merged.entry(one.metric).or_default().add(one);
            let mut sum = Sum::default();
            sum.add(one);
            let (agg, interval_count, interval_sum) = aggregates(&sum, secs);
            let own = one.tags.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
            series.push(SeriesSummary {
                metric: one.metric,
                kind: kind_of(&one.values).name(),
                tags: one.plan_tags.iter().cloned().chain(own).collect(),
                agg,
                interval_count,
                interval_sum,
            });
        });
        let metrics: Vec<MetricSummary> = METRICS
            .iter()
            .filter_map(|info| {
                let sum = merged.get(info.name)?;
                let (agg, ..) = aggregates(sum, secs);
                Some(MetricSummary {
                    metric: info.name,
                    kind: info.kind.name(),
                    agg,
                })
            })
            .collect();
        let thresholds: Vec<ThresholdSummary> = outcome
            .thresholds
            .iter()
            .map(|t| ThresholdSummary {
                metric: t.metric.clone(),
                expression: t.expression.clone(),
                observed: t.observed,
                passed: t.passed,
                abort_on_fail: t.abort_on_fail,
            })
            .collect();
        let thresholds_passed = thresholds.iter().all(|t| t.passed);
        let generator = generator(outcome, &merged);
        let unsound = outcome.is_strict && generator.bottleneck;
        let exit_code = exit_code(outcome.stopped.as_ref(), thresholds_passed, unsound);
        Self {
            name: outcome.program.name.clone(),
            run_id: format!("{:x}-{:x}", outcome.started_ms, std::process::id()),
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
            metrics,
            checks: checks(outcome),
            thresholds,
            thresholds_passed,
            aborted: outcome.stopped.as_ref().map(describe),
            snapshot: Snapshot {
                timestamp_ms: outcome.ended_ms,
                elapsed_secs: aggregate.duration_secs,
                interval_secs: aggregate.duration_secs,
                series,
            },
            timeline: timeline(outcome),
            format: FORMAT,
            exit_code,
            plan_hash: outcome.program.plan_hash.clone(),
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

/// 130 interrupted, 98 the figures are the generator's and `--strict` was given (whatever was judged by them counts for
/// little then), 99 a threshold failed, 1 the plan aborted itself, 0 all held.
fn exit_code(stopped: Option<&StopReason>, thresholds_passed: bool, unsound: bool) -> u8 {
    match stopped {
        Some(StopReason::Interrupted) => 130,
        _ if unsound => 98,
        _ if !thresholds_passed => 99,
        Some(StopReason::Assert(_)) => 1,
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
        StopReason::Watcher(why) => why.clone(),
    }
}

fn kind_of(values: &Values<'_>) -> Kind {
    match values {
        Values::Counter(_) => Kind::Counter,
        Values::Rate { .. } => Kind::Rate,
        Values::Trend(_) => Kind::Trend,
        Values::Gauge { .. } => Kind::Gauge,
    }
}

/// The figures, and for the interval the count and the sum.
fn aggregates(sum: &Sum, secs: f64) -> (Aggregates, u64, f64) {
    let none = Aggregates::default();
    if let Some(trend) = &sum.trend {
        let agg = Aggregates {
            count: Some(trend.count()),
            sum: Some(trend.sum_ms()),
            avg: Some(trend.mean_ms()),
            min: Some(trend.min_ms()),
            max: Some(trend.max_ms()),
            med: Some(trend.percentile_ms(50.0)),
            p90: Some(trend.percentile_ms(90.0)),
            p95: Some(trend.percentile_ms(95.0)),
            p99: Some(trend.percentile_ms(99.0)),
            p999: Some(trend.percentile_ms(99.9)),
            per_second: Some(trend.count() as f64 / secs),
            ..none
        };
        return (agg, trend.count(), trend.sum_ms());
    }
    if let Some((passes, count)) = sum.rate {
        let rate = if count == 0 {
            0.0
        } else {
            passes as f64 / count as f64
        };
        let agg = Aggregates {
            count: Some(count),
            rate: Some(rate),
            ..none
        };
        return (agg, count, passes as f64);
    }
    if let Some(count) = sum.counter {
        let per_second = Some(count as f64 / secs);
        let agg = Aggregates {
            count: Some(count),
            sum: Some(count as f64),
            per_second,
            ..none
        };
        return (agg, count, count as f64);
    }
    let Some((last, min, max)) = sum.gauge else {
        return (none, 0, 0.0);
    };
    (
        Aggregates {
            last: Some(last),
            min: Some(min),
            max: Some(max),
            ..none
        },
        1,
        last,
    )
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
            kind: kind.as_str(),
            count: record.count,
            example: most_frequent(&record.details)
                .into_iter()
                .next()
                .map_or_else(String::new, |d| d.text),
        })
        .collect();
    errors.sort_by(|a, b| b.count.cmp(&a.count).then(a.kind.cmp(b.kind)));
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
    let figure =
        |latency: &Trend, f: &dyn Fn(&Trend) -> f64| (latency.count() > 0).then(|| f(latency));
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
            latency_avg: figure(&p.latency, &Trend::mean_ms),
            latency_p50: figure(&p.latency, &|t| t.percentile_ms(50.0)),
            latency_p95: figure(&p.latency, &|t| t.percentile_ms(95.0)),
            latency_p99: figure(&p.latency, &|t| t.percentile_ms(99.0)),
        })
        .collect()
}
