//! What is shown of a second: figures and short texts taken from a moment of the run, small enough to be handed to a
//! drawing thread and to every page that is open. Every name in it is inert already.

use loadr_engine::figures::inert;
use loadr_engine::{Aim, Moment, Status, Trend, Values};
use serde::Serialize;

use super::wanted;

/// The kinds of errors and the thresholds that are shown; a plan has seldom more.
const LINES_MAX: usize = 100;

/// A second, and the run so far.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Frame {
    pub(crate) point: Point,
    /// What the schedule still has, at most; nothing when it ends only when it is stopped.
    pub(crate) left_secs: Option<f64>,
    /// 0 to 1.
    pub(crate) share_done: f64,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) iterations: u64,
    pub(crate) iterations_planned: Option<u64>,
    /// In the open model.
    pub(crate) dropped: Option<u64>,
    pub(crate) vus_max: u32,
    pub(crate) errors: Vec<ErrorLine>,
    pub(crate) thresholds: Vec<ThresholdLine>,
}

/// The figures of one second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Its end, since the start.
    pub(crate) at_secs: f64,
    pub(crate) rps: f64,
    pub(crate) iterations_ps: f64,
    /// What the open model asks for.
    pub(crate) iterations_wanted_ps: Option<f64>,
    pub(crate) vus: u32,
    /// What the closed model asks for.
    pub(crate) vus_wanted: Option<u32>,
    /// 0 to 1.
    pub(crate) error_rate: f64,
    /// Service times; nothing when nothing finished.
    pub(crate) latency: Option<Latency>,
    /// In the open model, from when requests were due.
    pub(crate) response: Option<Latency>,
    /// In the order of the run's cores.
    pub(crate) shards: Vec<ShardPoint>,
}

/// A second's distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    fn of(trend: &Trend) -> Option<Self> {
        let p = |percent| trend.percentile_ms(percent);
        (trend.count() > 0).then(|| Self {
            p50: p(50.0),
            p90: p(90.0),
            p95: p(95.0),
            p99: p(99.0),
            max: trend.max_ms(),
        })
    }
}

/// One shard's second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ShardPoint {
    /// Share of its core, 0 to 1.
    pub(crate) cpu: f64,
    pub(crate) lag_p99_ms: f64,
    pub(crate) vus: u32,
}

/// A kind of error so far.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorLine {
    pub(crate) kind: std::borrow::Cow<'static, str>,
    pub(crate) count: u64,
    pub(crate) example: String,
}

/// A threshold as it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ThresholdLine {
    pub(crate) metric: String,
    pub(crate) expression: String,
    pub(crate) observed: Option<f64>,
    pub(crate) passed: bool,
}

impl Frame {
    /// Takes from a moment what is shown of it.
    pub(crate) fn of(moment: &Moment<'_>, status: &Status) -> Self {
        let (p, program) = (moment.progress(), moment.program());
        // A pause holds the plan's clock.
        let plan_secs = p.elapsed_secs - status.paused_secs;
        let aims: Vec<Option<Aim>> = status.scenarios.iter().map(|s| s.aim).collect();
        let is_open = program.scenarios.iter().any(|s| s.executor.is_open());
        let mut response = is_open.then(Trend::new);
        if let Some(response) = &mut response {
            moment.for_each_of_second(|series| {
                if let ("http_req_response", Values::Trend(trend)) = (series.metric, &series.values)
                {
                    response.add(trend);
                }
            });
        }
        let (mut iterations, mut dropped) = (0, 0);
        moment.for_each_so_far(|series| match (series.metric, &series.values) {
            ("iterations", Values::Counter(count)) => iterations += count,
            ("dropped_iterations", Values::Counter(count)) => dropped += count,
            _ => {}
        });
        let iterations_planned = wanted::iterations(program, moment.share());
        let length_secs = wanted::length(program);
        let by_time = length_secs.map_or(0.0, |all| plan_secs / all.max(1e-3));
        let by_count = iterations_planned.map_or(0.0, |all| iterations as f64 / all.max(1) as f64);
        let shards = moment.shards().iter().map(|shard| ShardPoint {
            cpu: shard.cpu(),
            lag_p99_ms: shard.lag.percentile_ms(99.0),
            vus: shard.vus,
        });
        Self {
            point: Point {
                at_secs: p.elapsed_secs,
                rps: p.requests_per_sec,
                iterations_ps: p.iterations_per_sec,
                iterations_wanted_ps: wanted::iterations_per_sec(
                    program,
                    moment.share(),
                    &aims,
                    plan_secs,
                ),
                vus: p.vus,
                vus_wanted: wanted::vus(program, moment.share(), &aims, plan_secs),
                error_rate: p.error_rate,
                latency: Latency::of(&p.latency),
                response: response.as_ref().and_then(Latency::of),
                shards: shards.collect(),
            },
            left_secs: length_secs.map(|all| (all - plan_secs).max(0.0)),
            share_done: by_time.max(by_count).clamp(0.0, 1.0),
            requests: p.requests_total,
            failed: p.failed_total,
            iterations,
            iterations_planned,
            dropped: is_open.then_some(dropped),
            vus_max: moment.vus_max(),
            errors: moment
                .errors()
                .into_iter()
                .take(LINES_MAX)
                .map(|error| ErrorLine {
                    kind: error.kind,
                    count: error.count,
                    example: inert(&error.example),
                })
                .collect(),
            thresholds: moment
                .thresholds()
                .into_iter()
                .take(LINES_MAX)
                .map(|threshold| ThresholdLine {
                    metric: inert(&threshold.metric),
                    expression: inert(&threshold.expression),
                    observed: threshold.observed,
                    passed: threshold.passed,
                })
                .collect(),
        }
    }
}
