//! What a probe is judged by, added up from the engine's series.

use loadr_capacity::{Latency, Share};
use loadr_config::SloRule;
use loadr_engine::{Series, Trend, Values};

/// Errors that say that nobody answered.
const UNANSWERED: [&str; 8] = [
    "connect_refused",
    "connect_timeout",
    "connect_failed",
    "reset",
    "closed",
    "timeout",
    "tls",
    "proxy",
];

/// Sums over series: of a second, or of a run so far.
#[derive(Clone, Default)]
pub(super) struct Sums {
    /// By objective.
    pub(super) shares: Vec<Share>,
    pub(super) response: Trend,
    pub(super) service_ms: f64,
    pub(super) iterations: u64,
    pub(super) iteration_ms: f64,
    pub(super) requests: u64,
    pub(super) dropped: u64,
    /// Requests that got an answer of any status, and those that got none.
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    pub(super) lag: Trend,
}

impl Sums {
    pub(super) fn new(rules: &[SloRule]) -> Self {
        Self {
            shares: vec![Share::default(); rules.len()],
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, series: &Series<'_>, rules: &[SloRule]) {
        for (rule, share) in rules.iter().zip(&mut self.shares) {
            let carries = |(tag, value): &(String, String)| series.tag(tag) == Some(value);
            if rule.metric == series.metric && rule.tags.iter().all(carries) {
                *share += share_of(series, rule);
            }
        }
        match (series.metric, &series.values) {
            ("http_req_response", Values::Trend(trend)) => self.response.add(trend),
            ("http_req_duration", Values::Trend(trend)) => self.service_ms += trend.sum_ms(),
            ("iteration_duration", Values::Trend(trend)) => self.iteration_ms += trend.sum_ms(),
            ("generator_lag", Values::Trend(trend)) => self.lag.add(trend),
            ("iterations", Values::Counter(count)) => self.iterations += count,
            ("dropped_iterations", Values::Counter(count)) => self.dropped += count,
            ("http_reqs", Values::Counter(count)) => {
                self.requests += count;
                if series.tag("status").is_some() {
                    self.answered += count;
                } else if series
                    .tag("error_kind")
                    .is_some_and(|kind| UNANSWERED.contains(&kind))
                {
                    self.unanswered += count;
                }
            }
            _ => {}
        }
    }

    /// What came after `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (share, before) in self.shares.iter_mut().zip(&before.shares) {
            share.bad = share.bad.saturating_sub(before.bad);
            share.of = share.of.saturating_sub(before.of);
        }
        self.response.subtract(&before.response);
        self.lag.subtract(&before.lag);
        self.service_ms -= before.service_ms;
        self.iteration_ms -= before.iteration_ms;
        for (sum, before) in [
            (&mut self.iterations, before.iterations),
            (&mut self.requests, before.requests),
            (&mut self.dropped, before.dropped),
            (&mut self.answered, before.answered),
            (&mut self.unanswered, before.unanswered),
        ] {
            *sum = sum.saturating_sub(before);
        }
        self
    }

    /// The mean time of an iteration from when it was due to its end, in seconds.
    pub(super) fn iteration_secs(&self) -> f64 {
        if self.iterations == 0 {
            return 0.0;
        }
        let late_ms = (self.response.sum_ms() - self.service_ms).max(0.0);
        (self.iteration_ms + late_ms) / self.iterations as f64 / 1e3
    }

    pub(super) fn requests_per_iteration(&self) -> f64 {
        if self.iterations == 0 {
            1.0
        } else {
            self.requests as f64 / self.iterations as f64
        }
    }

    pub(super) fn latency(&self) -> Latency {
        let trend = &self.response;
        Latency {
            mean: trend.mean_ms(),
            p50: trend.percentile_ms(50.0),
            p90: trend.percentile_ms(90.0),
            p95: trend.percentile_ms(95.0),
            p99: trend.percentile_ms(99.0),
            p999: trend.percentile_ms(99.9),
            max: trend.max_ms(),
        }
    }
}

fn share_of(series: &Series<'_>, rule: &SloRule) -> Share {
    match (&series.values, rule.bound) {
        (Values::Trend(trend), Some((bound_ms, _))) => Share {
            bad: trend.count_above_ms(bound_ms),
            of: trend.count(),
        },
        (Values::Rate { passes, count }, None) => Share {
            // Passes of `http_req_failed` are failures.
            bad: if rule.metric == "checks" {
                count - passes
            } else {
                *passes
            },
            of: *count,
        },
        _ => Share::default(),
    }
}
