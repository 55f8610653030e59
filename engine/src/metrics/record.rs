//! What a shard has measured since it last handed over: counters and trends by index, nothing by name. The same
//! type, merged, is the whole run's total.

use std::sync::Arc;

use loadr_config::{CheckId, PluginId, Program, RequestId, ScenarioId, Secrets};

use super::samples::Samples;
use super::trend::Trend;
use crate::error_kind::ErrorKind;

/// The most different texts kept for the failures of one check.
const DETAILS_MAX: usize = 16;
/// The most bytes kept of one text.
const DETAIL_BYTES_MAX: usize = 256;

/// One finished request, as it is counted. Durations in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// 0 when no response came.
    pub(crate) status: u16,
    /// Why it failed, if it did.
    pub(crate) error: Option<ErrorKind>,
    /// Whether the request was sent, so that it has durations at all.
    pub(crate) was_sent: bool,
    /// How long after it was due the request was begun.
    pub(crate) late: u64,
    pub(crate) blocked: u64,
    pub(crate) connecting: u64,
    /// Of a request over TLS; 0 when its connection was used before.
    pub(crate) tls: Option<u64>,
    pub(crate) sending: u64,
    pub(crate) waiting: u64,
    pub(crate) receiving: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl Sample {
    /// Whether it counts in `http_req_failed`.
    pub(crate) fn is_failure(&self) -> bool {
        is_failure(Outcome {
            status: self.status,
            error: self.error,
        })
    }
}

/// What tells the series of one request step apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorKind>,
}

/// The requests of one step with one outcome.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) outcome: Outcome,
    pub(crate) count: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) duration: Trend,
    /// In the open model, where a request can be late: from when it was due to its end. In the closed model a request
    /// is due when it can be sent, and `duration` is it.
    pub(crate) response: Option<Trend>,
    pub(crate) blocked: Trend,
    pub(crate) connecting: Trend,
    pub(crate) tls: Trend,
    pub(crate) sending: Trend,
    pub(crate) waiting: Trend,
    pub(crate) receiving: Trend,
}

impl RequestRecord {
    fn new(outcome: Outcome, is_open: bool) -> Self {
        Self {
            outcome,
            response: is_open.then(Trend::new),
            count: 0,
            sent_bytes: 0,
            received_bytes: 0,
            duration: Trend::new(),
            blocked: Trend::new(),
            connecting: Trend::new(),
            tls: Trend::new(),
            sending: Trend::new(),
            waiting: Trend::new(),
            receiving: Trend::new(),
        }
    }

    fn trends(&mut self) -> [&mut Trend; 7] {
        [
            &mut self.duration,
            &mut self.blocked,
            &mut self.connecting,
            &mut self.tls,
            &mut self.sending,
            &mut self.waiting,
            &mut self.receiving,
        ]
    }
}

/// One check's results.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckRecord {
    pub(crate) passes: u64,
    pub(crate) fails: u64,
    /// Texts of failures with their counts, bounded in number and length.
    pub(crate) details: Vec<(String, u64)>,
}

/// One plugin's calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginRecord {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) duration: Trend,
}

/// One scenario's iterations.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScenarioRecord {
    pub(crate) iterations: u64,
    pub(crate) interrupted: u64,
    /// Iterations that came due by an arrival rate.
    pub(crate) due: u64,
    /// Those of them that were due while every allowed user was busy.
    pub(crate) dropped: u64,
    /// Iterations that began a good while after they were due, and the worst delay.
    pub(crate) late: u64,
    pub(crate) late_max_ns: u64,
    /// Requests that a kept response answered: nothing was sent.
    pub(crate) cache_hits: u64,
    /// Requests sent once more because their connection, kept open from before, turned out to be closed.
    pub(crate) stale_retries: u64,
    pub(crate) iteration_duration: Trend,
}

/// One kind of error.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorRecord {
    pub(crate) count: u64,
    /// Texts with their counts, bounded in number and length.
    pub(crate) details: Vec<(String, u64)>,
}

/// Everything measured.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// By [`RequestId`]; each outcome that was seen once.
    pub(crate) requests: Vec<Vec<RequestRecord>>,
    /// By [`RequestId`]: whether its scenario is of the open model.
    is_open: Vec<bool>,
    /// By [`CheckId`].
    pub(crate) checks: Vec<CheckRecord>,
    /// By [`PluginId`].
    pub(crate) plugins: Vec<PluginRecord>,
    /// By [`ScenarioId`].
    pub(crate) scenarios: Vec<ScenarioRecord>,
    /// By kind, in the order in which they were first seen.
    pub(crate) errors: Vec<(ErrorKind, ErrorRecord)>,
    pub(crate) lag: Trend,
    /// Every request by itself, where an output wants them. Not added up: see the aggregator.
    pub(crate) samples: Option<Box<Samples>>,
    /// What is taken out of every text before it is kept: a target may send back what it was sent.
    secrets: Arc<Secrets>,
}

impl Record {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            requests: program.requests.iter().map(|_| Vec::new()).collect(),
            is_open: program
                .requests
                .iter()
                .map(|request| program.scenarios[request.scenario.at()].executor.is_open())
                .collect(),
            checks: vec![CheckRecord::default(); program.checks.len()],
            plugins: vec![PluginRecord::default(); program.plugins.len()],
            scenarios: vec![ScenarioRecord::default(); program.scenarios.len()],
            errors: Vec::new(),
            lag: Trend::new(),
            samples: Samples::wanted(program),
            secrets: Arc::clone(&program.secrets),
        }
    }

    /// Counts a finished request.
    #[inline]
    pub(crate) fn request(&mut self, step: RequestId, sample: &Sample) {
        if let Some(samples) = &mut self.samples {
            samples.push(step, sample);
        }
        let outcome = Outcome {
            status: sample.status,
            error: sample.error,
        };
        let outcomes = &mut self.requests[step.at()];
        let record = match outcomes.iter().position(|r| r.outcome == outcome) {
            Some(at) => &mut outcomes[at],
            None => {
                outcomes.push(RequestRecord::new(outcome, self.is_open[step.at()]));
                outcomes.last_mut().expect("just pushed")
            }
        };
        record.count += 1;
        record.sent_bytes += sample.sent_bytes;
        record.received_bytes += sample.received_bytes;
        record.blocked.record(sample.blocked);
        record.connecting.record(sample.connecting);
        if let Some(tls) = sample.tls {
            record.tls.record(tls);
        }
        if sample.was_sent {
            record.sending.record(sample.sending);
            record.waiting.record(sample.waiting);
            record.receiving.record(sample.receiving);
            let duration = sample.sending + sample.waiting + sample.receiving;
            record.duration.record(duration);
            if let Some(response) = &mut record.response {
                let tls = sample.tls.unwrap_or(0);
                response.record(sample.late + sample.blocked + sample.connecting + tls + duration);
            }
        }
    }

    #[inline]
    pub(crate) fn check(&mut self, check: CheckId, passed: bool, detail: Option<&str>) {
        let record = &mut self.checks[check.at()];
        if passed {
            record.passes += 1;
        } else {
            record.fails += 1;
            if let Some(detail) = detail {
                add_detail(&mut record.details, &self.secrets.redact(detail), 1);
            }
        }
    }

    #[inline]
    pub(crate) fn plugin_call(&mut self, plugin: PluginId, ns: u64, failed: bool) {
        let record = &mut self.plugins[plugin.at()];
        record.calls += 1;
        record.errors += u64::from(failed);
        record.duration.record(ns);
    }

    #[inline]
    pub(crate) fn iteration(&mut self, scenario: ScenarioId, ns: u64) {
        let record = &mut self.scenarios[scenario.at()];
        record.iterations += 1;
        record.iteration_duration.record(ns);
    }

    /// Counts so many events that were acted on one after the other, the last of them so long after they had come. Each
    /// counts as having waited for the end of its quarter: a little too long, never too short.
    #[inline]
    pub(crate) fn lag_of(&mut self, events: u64, last_ns: u64) {
        let parts = events.min(4);
        for part in 0..parts {
            let (from, to) = (events * part / parts, events * (part + 1) / parts);
            self.lag
                .record_many(last_ns * (part + 1) / parts, to - from);
        }
    }

    /// Counts an error and its text.
    pub(crate) fn error(&mut self, kind: ErrorKind, text: impl FnOnce() -> String) {
        let secrets = Arc::clone(&self.secrets);
        let record = self.error_record(kind);
        record.count += 1;
        add_detail(&mut record.details, &secrets.redact(&text()), 1);
    }

    /// Counts errors that nobody was there to count when they came.
    pub(crate) fn errors_of(&mut self, kind: ErrorKind, count: u64, text: &str) {
        let text = self.secrets.redact(text).into_owned();
        let record = self.error_record(kind);
        record.count += count;
        add_detail(&mut record.details, &text, count);
    }

    fn error_record(&mut self, kind: ErrorKind) -> &mut ErrorRecord {
        let at = match self.errors.iter().position(|(k, _)| *k == kind) {
            Some(at) => at,
            None => {
                self.errors.push((kind, ErrorRecord::default()));
                self.errors.len() - 1
            }
        };
        &mut self.errors[at].1
    }

    /// Adds all of `other`, which is of the same program.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.requests.iter_mut().zip(&other.requests) {
            add_outcomes(mine, theirs);
        }
        for (mine, theirs) in self.checks.iter_mut().zip(&other.checks) {
            mine.passes += theirs.passes;
            mine.fails += theirs.fails;
            for (text, count) in &theirs.details {
                add_detail(&mut mine.details, text, *count);
            }
        }
        for (mine, theirs) in self.plugins.iter_mut().zip(&other.plugins) {
            mine.calls += theirs.calls;
            mine.errors += theirs.errors;
            mine.duration.add(&theirs.duration);
        }
        for (mine, theirs) in self.scenarios.iter_mut().zip(&other.scenarios) {
            mine.iterations += theirs.iterations;
            mine.interrupted += theirs.interrupted;
            mine.due += theirs.due;
            mine.dropped += theirs.dropped;
            mine.late += theirs.late;
            mine.late_max_ns = mine.late_max_ns.max(theirs.late_max_ns);
            mine.cache_hits += theirs.cache_hits;
            mine.stale_retries += theirs.stale_retries;
            mine.iteration_duration.add(&theirs.iteration_duration);
        }
        for (kind, theirs) in &other.errors {
            let mine = self.error_record(*kind);
            mine.count += theirs.count;
            for (text, count) in &theirs.details {
                add_detail(&mut mine.details, text, *count);
            }
        }
        self.lag.add(&other.lag);
    }

    /// Forgets every value; the memory is kept, so that a record that goes round allocates nothing.
    pub(crate) fn clear(&mut self) {
        for record in self.requests.iter_mut().flatten() {
            (record.count, record.sent_bytes, record.received_bytes) = (0, 0, 0);
            for trend in record.trends() {
                trend.clear();
            }
            if let Some(response) = &mut record.response {
                response.clear();
            }
        }
        for check in &mut self.checks {
            (check.passes, check.fails) = (0, 0);
            check.details.clear();
        }
        for plugin in &mut self.plugins {
            (plugin.calls, plugin.errors) = (0, 0);
            plugin.duration.clear();
        }
        for scenario in &mut self.scenarios {
            (scenario.iterations, scenario.interrupted) = (0, 0);
            (scenario.due, scenario.dropped) = (0, 0);
            (scenario.late, scenario.late_max_ns) = (0, 0);
            (scenario.cache_hits, scenario.stale_retries) = (0, 0);
            scenario.iteration_duration.clear();
        }
        self.errors.clear();
        self.lag.clear();
        if let Some(samples) = &mut self.samples {
            samples.clear();
        }
    }

    /// Whether a request step is of the open model.
    pub(super) fn is_open(&self, step: usize) -> bool {
        self.is_open[step]
    }

    /// Keeps the text of failures of a check that are counted already.
    pub(super) fn check_detail(&mut self, check: usize, text: &str, count: u64) {
        add_detail(&mut self.checks[check].details, text, count);
    }

    /// Counts errors without a text.
    pub(super) fn count_errors(&mut self, kind: ErrorKind, count: u64) {
        self.error_record(kind).count += count;
    }

    /// Keeps the text of errors that are counted already.
    pub(super) fn error_detail(&mut self, kind: ErrorKind, text: &str, count: u64) {
        add_detail(&mut self.error_record(kind).details, text, count);
    }

    /// Requests finished.
    pub(crate) fn requests_count(&self) -> u64 {
        self.requests.iter().flatten().map(|r| r.count).sum()
    }

    /// Requests that failed.
    pub(crate) fn failed_count(&self) -> u64 {
        self.requests
            .iter()
            .flatten()
            .filter(|r| is_failure(r.outcome))
            .map(|r| r.count)
            .sum()
    }

    /// Service times of all requests.
    pub(crate) fn durations(&self) -> Trend {
        let mut all = Trend::new();
        for record in self.requests.iter().flatten() {
            all.add(&record.duration);
        }
        all
    }
}

/// Adds the outcomes of one step to those of another, or of the same.
pub(super) fn add_outcomes(mine: &mut Vec<RequestRecord>, theirs: &[RequestRecord]) {
    for theirs in theirs.iter().filter(|r| r.count > 0) {
        let at = match mine.iter().position(|r| r.outcome == theirs.outcome) {
            Some(at) => at,
            None => {
                mine.push(RequestRecord::new(
                    theirs.outcome,
                    theirs.response.is_some(),
                ));
                mine.len() - 1
            }
        };
        let mine = &mut mine[at];
        mine.count += theirs.count;
        mine.sent_bytes += theirs.sent_bytes;
        mine.received_bytes += theirs.received_bytes;
        mine.duration.add(&theirs.duration);
        if let (Some(mine), Some(theirs)) = (&mut mine.response, &theirs.response) {
            mine.add(theirs);
        }
        mine.blocked.add(&theirs.blocked);
        mine.connecting.add(&theirs.connecting);
        mine.tls.add(&theirs.tls);
        mine.sending.add(&theirs.sending);
        mine.waiting.add(&theirs.waiting);
        mine.receiving.add(&theirs.receiving);
    }
}

/// `http_req_failed`: a transport error, a status of 400 or more, a failed assert or extraction.
pub(crate) fn is_failure(outcome: Outcome) -> bool {
    outcome.error.is_some() || outcome.status >= 400
}

fn add_detail(details: &mut Vec<(String, u64)>, text: &str, count: u64) {
    let text = cut(text);
    if let Some((_, n)) = details.iter_mut().find(|(t, _)| t == text) {
        *n += count;
    } else if details.len() < DETAILS_MAX {
        details.push((text.to_owned(), count));
    }
}

/// The start of a text, at most [`DETAIL_BYTES_MAX`] bytes.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(DETAIL_BYTES_MAX)]
}
