//! The flat view of a record: every metric as series with a name and tags. For thresholds and results, so off the
//! hot path.

use std::borrow::Cow;
use std::collections::HashMap;

pub use loadr_config::MetricKind as Kind;
use loadr_config::Program;

use super::record::{Record, RequestRecord, add_outcomes, is_failure};
use super::trend::Trend;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// Its name.
    pub name: &'static str,
    /// How its values add up.
    pub kind: Kind,
    /// Whether its amounts are bytes.
    pub is_bytes: bool,
}

const fn metric(name: &'static str, kind: Kind) -> MetricInfo {
    MetricInfo {
        name,
        kind,
        is_bytes: false,
    }
}

/// Every metric there is so far, in the order of the summary.
pub const METRICS: &[MetricInfo] = &[
    metric("checks", Kind::Rate),
    MetricInfo {
        is_bytes: true,
        ..metric("data_received", Kind::Counter)
    },
    MetricInfo {
        is_bytes: true,
        ..metric("data_sent", Kind::Counter)
    },
    metric("dropped_iterations", Kind::Counter),
    metric("generator_cpu", Kind::Gauge),
    metric("generator_lag", Kind::Trend),
    metric("http_cache_hits", Kind::Counter),
    metric("http_req_blocked", Kind::Trend),
    metric("http_req_connecting", Kind::Trend),
    metric("http_req_duration", Kind::Trend),
    metric("http_req_failed", Kind::Rate),
    metric("http_req_receiving", Kind::Trend),
    metric("http_req_response", Kind::Trend),
    metric("http_req_sending", Kind::Trend),
    metric("http_req_tls_handshaking", Kind::Trend),
    metric("http_req_waiting", Kind::Trend),
    metric("http_reqs", Kind::Counter),
    metric("http_stale_retries", Kind::Counter),
    metric("iteration_duration", Kind::Trend),
    metric("iterations", Kind::Counter),
    metric("plugin_calls", Kind::Counter),
    metric("plugin_duration", Kind::Trend),
    metric("plugin_errors", Kind::Counter),
    metric("vus", Kind::Gauge),
    metric("vus_max", Kind::Gauge),
];

/// A series' values.
#[derive(Clone, Debug)]
pub enum Values<'r> {
    /// How much.
    Counter(u64),
    /// How many of how many: passes for checks, failures for `http_req_failed`.
    Rate {
        /// Those that count.
        passes: u64,
        /// All.
        count: u64,
    },
    /// A distribution of durations.
    Trend(&'r Trend),
    /// A figure over time.
    Gauge {
        /// The latest.
        last: f64,
        /// The smallest so far.
        min: f64,
        /// The largest so far.
        max: f64,
    },
}

/// One series: a metric with the tags that tell it from others of the same metric.
#[derive(Clone, Debug)]
pub struct Series<'r> {
    /// One of [`METRICS`].
    pub metric: &'static str,
    /// The engine's tags.
    pub tags: &'r [(&'static str, String)],
    /// The plan's own tags of the step.
    pub plan_tags: &'r [(String, String)],
    /// Its values.
    pub values: Values<'r>,
}

impl Series<'_> {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        let own = self
            .tags
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str());
        own.or_else(|| {
            self.plan_tags
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
        })
    }
}

/// The outcomes of each request step, by its index; steps that no tag tells apart are one.
fn request_series<'r>(
    program: &Program,
    record: &'r Record,
) -> Vec<(usize, Cow<'r, [RequestRecord]>)> {
    let mut series: Vec<(usize, Cow<'r, [RequestRecord]>)> = Vec::new();
    let mut known = HashMap::new();
    for (at, (request, outcomes)) in program.requests.iter().zip(&record.requests).enumerate() {
        if outcomes.is_empty() {
            continue;
        }
        let tags = (
            request.scenario.at(),
            &request.name,
            &request.method,
            &request.group,
            &request.tags,
        );
        let place = *known.entry(tags).or_insert(series.len());
        match series.get_mut(place) {
            Some((_, twins)) => {
                let mut both = std::mem::take(twins).into_owned();
                add_outcomes(&mut both, outcomes);
                *twins = both.into();
            }
            None => series.push((at, outcomes.as_slice().into())),
        }
    }
    series
}

/// Calls `f` for each series of the record that has values. Gauges are not in a record: see the aggregator.
pub(crate) fn for_each_series(program: &Program, record: &Record, mut f: impl FnMut(&Series<'_>)) {
    for (at, outcomes) in request_series(program, record) {
        let request = &program.requests[at];
        let scenario = &program.scenarios[request.scenario.at()].name;
        for r in outcomes.iter().filter(|r| r.count > 0) {
            let mut tags = vec![
                ("method", request.method.clone()),
                ("name", request.name.clone()),
                ("scenario", scenario.clone()),
            ];
            if !request.group.is_empty() {
                tags.push(("group", request.group.clone()));
            }
            if r.outcome.status != 0 {
                tags.push(("status", r.outcome.status.to_string()));
            }
            if let Some(error) = r.outcome.error {
                tags.push(("error_kind", error.as_str().to_owned()));
            }
            let failed = if is_failure(r.outcome) { r.count } else { 0 };
            for (metric, values) in [
                ("data_received", Values::Counter(r.received_bytes)),
                ("data_sent", Values::Counter(r.sent_bytes)),
                ("http_req_blocked", Values::Trend(&r.blocked)),
                ("http_req_connecting", Values::Trend(&r.connecting)),
                ("http_req_duration", Values::Trend(&r.duration)),
                (
                    "http_req_failed",
                    Values::Rate {
                        passes: failed,
                        count: r.count,
                    },
                ),
                ("http_req_receiving", Values::Trend(&r.receiving)),
                (
                    "http_req_response",
                    Values::Trend(r.response.as_ref().unwrap_or(&r.duration)),
                ),
                ("http_req_sending", Values::Trend(&r.sending)),
                ("http_req_tls_handshaking", Values::Trend(&r.tls)),
                ("http_req_waiting", Values::Trend(&r.waiting)),
                ("http_reqs", Values::Counter(r.count)),
            ] {
                if matches!(values, Values::Trend(trend) if trend.count() == 0) {
                    continue;
                }
                f(&Series {
                    metric,
                    tags: &tags,
                    plan_tags: &request.tags,
                    values,
                });
            }
        }
    }
    for (name, r) in program.checks.iter().zip(&record.checks) {
        if r.passes + r.fails > 0 {
            let tags = [("check", name.clone())];
            let values = Values::Rate {
                passes: r.passes,
                count: r.passes + r.fails,
            };
            f(&Series {
                metric: "checks",
                tags: &tags,
                plan_tags: &[],
                values,
            });
        }
    }
    for (plugin, r) in program.plugins.iter().zip(&record.plugins) {
        if r.calls > 0 {
            let tags = [("plugin", plugin.name.clone())];
            for (metric, values) in [
                ("plugin_calls", Values::Counter(r.calls)),
                ("plugin_duration", Values::Trend(&r.duration)),
                ("plugin_errors", Values::Counter(r.errors)),
            ] {
                f(&Series {
                    metric,
                    tags: &tags,
                    plan_tags: &[],
                    values,
                });
            }
        }
    }
    for (scenario, r) in program.scenarios.iter().zip(&record.scenarios) {
        let tags = [("scenario", scenario.name.clone())];
        if scenario.executor.is_open() {
            f(&Series {
                metric: "dropped_iterations",
                tags: &tags,
                plan_tags: &[],
                values: Values::Counter(r.dropped),
            });
        }
        for (metric, count) in [
            ("http_cache_hits", r.cache_hits),
            ("http_stale_retries", r.stale_retries),
        ] {
            if count > 0 {
                f(&Series {
                    metric,
                    tags: &tags,
                    plan_tags: &[],
                    values: Values::Counter(count),
                });
            }
        }
        if r.iterations > 0 {
            for (metric, values) in [
                ("iteration_duration", Values::Trend(&r.iteration_duration)),
                ("iterations", Values::Counter(r.iterations)),
            ] {
                f(&Series {
                    metric,
                    tags: &tags,
                    plan_tags: &[],
                    values,
                });
            }
        }
    }
    if record.lag.count() > 0 {
        let values = Values::Trend(&record.lag);
        f(&Series {
            metric: "generator_lag",
            tags: &[],
            plan_tags: &[],
            values,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Sample;

    #[test]
    fn steps_that_no_tag_tells_apart_are_one_series() {
        let plan = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [\
            { request: { name: a, url: \"http://h/1\" } }, { request: { name: b, url: \"http://h/2\" } },\
            { request: { name: a, url: \"http://h/3\" } } ] } }";
        let compiled = loadr_config::compile(
            plan,
            std::path::Path::new("plan.yaml"),
            &loadr_config::Options::default(),
        );
        let program = compiled.unwrap_or_else(|error| panic!("{error:?}")).program;
        let mut record = Record::new(&program);
        for step in 0..3 {
            let sample = Sample {
                status: 200,
                was_sent: true,
                waiting: 1_000_000,
                ..Sample::default()
            };
            record.request(loadr_config::RequestId(step), &sample);
        }
        let mut counts = Vec::new();
        for_each_series(&program, &record, |series| {
            let name = series.tag("name").unwrap_or_default().to_owned();
            match &series.values {
                Values::Counter(count) if series.metric == "http_reqs" => {
                    counts.push((name, *count));
                }
                Values::Trend(trend) if series.metric == "http_req_waiting" => {
                    counts.push((name, trend.count()));
                }
                _ => {}
            }
        });
        let pair = |name: &str, count| (name.to_owned(), count);
        assert_eq!(
            counts,
            [pair("a", 2), pair("a", 2), pair("b", 1), pair("b", 1)]
        );
    }

    #[test]
    fn every_metric_can_stand_in_a_threshold_with_the_kind_it_has() {
        for metric in METRICS {
            let known = loadr_config::METRICS.contains(&(metric.name, metric.kind));
            assert!(known, "{}", metric.name);
        }
    }
}
