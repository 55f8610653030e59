//! What the tables of all formats are made from.

use std::collections::BTreeMap;

use loadr_engine::{Aggregates, METRICS, SeriesSummary, Summary};

use crate::show;

/// The requests of one step with one outcome.
pub(crate) struct Request<'s> {
    pub(crate) tags: &'s BTreeMap<String, String>,
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    /// Service times; none when nothing was sent.
    pub(crate) duration: Option<&'s Aggregates>,
}

impl<'s> Request<'s> {
    pub(crate) fn tag(&self, name: &str) -> &'s str {
        self.tags.get(name).map_or("", String::as_str)
    }

    /// The status, and why it failed if it did.
    pub(crate) fn outcome(&self) -> String {
        match (self.tag("status"), self.tag("error_kind")) {
            (status, "") => status.to_owned(),
            ("", error) => error.to_owned(),
            (status, error) => format!("{status} {error}"),
        }
    }

    pub(crate) fn failed(&self) -> bool {
        !self.tag("error_kind").is_empty() || self.tag("status").starts_with(['4', '5'])
    }

    /// Tags that are not in columns of their own.
    pub(crate) fn other_tags(&self) -> String {
        let own = ["name", "method", "status", "error_kind", "scenario"];
        let others = self
            .tags
            .iter()
            .filter(|(key, _)| !own.contains(&key.as_str()));
        others
            .map(|(key, value)| format!("{key}: {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// In the order of the file.
pub(crate) fn requests(summary: &Summary) -> Vec<Request<'_>> {
    let series = |metric: &'static str| {
        let all = summary.snapshot.series.iter();
        all.filter(move |one: &&SeriesSummary| one.metric == metric)
    };
    let durations: BTreeMap<_, _> = series("http_req_duration")
        .map(|one| (&one.tags, &one.agg))
        .collect();
    let request = |one: &'_ SeriesSummary| {
        (
            one.agg.count.unwrap_or(0),
            one.agg.per_second.unwrap_or(0.0),
        )
    };
    series("http_reqs")
        .map(|one| {
            let (count, per_second) = request(one);
            Request {
                duration: durations.get(&one.tags).copied(),
                tags: &one.tags,
                count,
                per_second,
            }
        })
        .collect()
}

/// Failed and all.
pub(crate) fn failed(summary: &Summary) -> (u64, u64) {
    let agg = summary.metric("http_req_failed");
    let count = agg.and_then(|agg| agg.count).unwrap_or(0);
    let rate = agg.and_then(|agg| agg.rate).unwrap_or(0.0);
    ((rate * count as f64).round() as u64, count)
}

/// A metric's figure with its unit.
pub(crate) fn figure(metric: &str, kind: &str, key: &str, value: f64) -> String {
    let is_bytes = METRICS
        .iter()
        .any(|info| info.name == metric && info.is_bytes);
    match (kind, key) {
        (_, "per_second") if is_bytes => format!("{}/s", show::bytes(value)),
        (_, "per_second") => format!("{}/s", show::rate(value)),
        ("trend" | "rate", "count") => show::count(value as u64),
        ("trend", _) => show::duration(value),
        ("rate", "rate") => show::percent(value),
        ("counter", _) if is_bytes => show::bytes(value),
        ("counter", _) => show::count(value as u64),
        _ if metric == "generator_cpu" => show::percent(value),
        _ if value.fract() == 0.0 && value.abs() < 1e15 => show::count(value.abs() as u64),
        _ => show::rate(value),
    }
}

/// The figures of a kind, in columns' order.
pub(crate) fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "trend" => &[
            "count", "avg", "min", "med", "p90", "p95", "p99", "p999", "max",
        ],
        "counter" => &["count", "per_second"],
        "rate" => &["count", "rate"],
        _ => &["last", "min", "max"],
    }
}

/// What a figure is called.
pub(crate) fn key_name(key: &str) -> &str {
    match key {
        "med" => "p50",
        "p999" => "p99.9",
        "per_second" => "per second",
        "last" => "at the end",
        key => key,
    }
}

/// A figure by its key.
pub(crate) fn value(agg: &Aggregates, key: &str) -> Option<f64> {
    let whole = |n: Option<u64>| n.map(|n| n as f64);
    match key {
        "count" => whole(agg.count),
        "sum" => agg.sum,
        "avg" => agg.avg,
        "min" => agg.min,
        "max" => agg.max,
        "med" => agg.med,
        "p90" => agg.p90,
        "p95" => agg.p95,
        "p99" => agg.p99,
        "p999" => agg.p999,
        "rate" => agg.rate,
        "last" => agg.last,
        "per_second" => agg.per_second,
        _ => None,
    }
}

/// The threshold's figure as it was seen.
pub(crate) fn observed(observed: Option<f64>) -> String {
    observed.map_or_else(|| "no samples".to_owned(), |value| format!("{value:.3}"))
}

/// What stands above everything else because it is bad, in the order in which it matters.
pub(crate) fn bad_news(s: &Summary) -> Vec<(String, Vec<String>)> {
    let mut news = Vec::new();
    if s.generator.bottleneck {
        news.push(("The generator may have been the bottleneck: these figures may be its own, not the target's".to_owned(), s.generator.reasons.clone()));
    }
    if let Some(why) = &s.aborted {
        news.push(("The run ended early".to_owned(), vec![why.clone()]));
    }
    if let Some(merged) = s
        .merged
        .as_ref()
        .filter(|merged| !merged.missing.is_empty())
    {
        news.push((
            "Parts of the run are missing".to_owned(),
            merged.missing.clone(),
        ));
    }
    let failed: Vec<_> = s.thresholds.iter().filter(|t| !t.passed).collect();
    if !failed.is_empty() {
        let line = |t: &&loadr_engine::ThresholdSummary| {
            format!(
                "{}: {} (observed {})",
                t.metric,
                t.expression,
                observed(t.observed)
            )
        };
        news.push((
            format!(
                "{} of {} thresholds failed",
                failed.len(),
                s.thresholds.len()
            ),
            failed.iter().map(line).collect(),
        ));
    }
    news
}

/// What should be known beside the figures and is no fault.
pub(crate) fn notes(s: &Summary) -> Vec<String> {
    let mut notes = s.generator.notes.clone();
    if s.iterations_interrupted > 0 {
        notes.push(format!(
            "{} iterations did not end within `graceful_stop` and were cancelled: what they waited for is in no figure",
            s.iterations_interrupted
        ));
    }
    if s.generator.late_iterations > 0 {
        notes.push(format!(
            "{} iterations began more than 10 ms after they were due, the latest {}: http_req_response has it, \
             http_req_duration has not",
            s.generator.late_iterations,
            show::duration(s.generator.late_max_ms)
        ));
    }
    notes
}
