//! The honesty rule: whether the figures may be the generator's instead of the target's, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;

use loadr_config::Executor;
use loadr_ring::clock::Discipline;
use serde::{Deserialize, Serialize};

use crate::control::StopReason;
use crate::error_kind::ErrorKind;
use crate::run::Outcome;
use crate::steer::Steps;
use crate::thresholds::Sum;

/// The share of a core from which on a shard counts as busy.
pub const BUSY: f64 = 0.95;
/// The share of the reported 99th percentile from which on the generator's lag is too much of it.
pub const LAG_SHARE: f64 = 0.1;
/// Response times that are so many times the service times, and so many milliseconds more, are explained.
const GAP_FACTOR: f64 = 1.5;
const GAP_MS: f64 = 1.0;

/// Segments of a run begin within so many milliseconds of each other: a tenth of the seconds in which results are told.
pub(super) const CLOCK_TOLERANCE_MS: f64 = 100.0;

/// How well the machine's clock was kept when the run began, as far as the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Whether somebody keeps it by a better one.
    pub synchronised: bool,
    /// How far off it was, as estimated by whoever keeps it.
    pub error_ms: f64,
    /// How far off it could be at most.
    pub error_max_ms: f64,
}

impl Clock {
    /// This machine's, now; `None` where a sandbox forbids to ask.
    pub(crate) fn now() -> Option<Self> {
        let discipline = Discipline::now().ok()?;
        Some(Self {
            synchronised: discipline.is_synchronised,
            error_ms: discipline.error_us as f64 / 1e3,
            error_max_ms: discipline.error_max_us as f64 / 1e3,
        })
    }
}

/// The generator's health.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// The shards' processors.
    pub cores: Vec<usize>,
    /// 99th percentile of the generator's lag; `null` when it had nothing to do.
    pub lag_p99_ms: Option<f64>,
    /// The highest share of its core that a shard used over a second.
    pub cpu_max: f64,
    /// Whether the generator may have been what limited the figures.
    pub bottleneck: bool,
    /// Why, for people.
    pub reasons: Vec<String>,
    /// Iterations that began more than 10 ms after they were due.
    pub late_iterations: u64,
    /// How late the latest of all iterations began.
    pub late_max_ms: f64,
    /// What repeats every random choice of the run: `--seed`.
    pub seed: u64,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
}

/// What is known of the generator. `merged` has each metric over all its series.
pub(super) fn generator(outcome: &Outcome, merged: &BTreeMap<Cow<'static, str>, Sum>) -> Generator {
    let p99 = |metric| {
        let trend = merged
            .get(metric)
            .and_then(|sum: &Sum| sum.trend.as_ref())?;
        (trend.count() > 0).then(|| trend.percentile_ms(99.0))
    };
    let program = &outcome.program;
    let records = &outcome.aggregate.total.scenarios;
    // One that is steered may never have had a rate.
    let due: u64 = records.iter().map(|r| r.due).sum();
    let is_open = program.scenarios.iter().any(|s| match s.executor {
        Executor::ExternallyControlled { .. } => due > 0,
        _ => s.executor.is_open(),
    });
    // In the closed model the two are the same.
    let (lag, response, service) = (
        p99("generator_lag"),
        p99("http_req_response"),
        p99("http_req_duration"),
    );
    let cpu_max = outcome.aggregate.cpu_max();
    let dropped: u64 = records.iter().map(|r| r.dropped).sum();
    let late: u64 = records.iter().map(|r| r.late).sum();
    let late_max_ms = records.iter().map(|r| r.late_max_ns).max().unwrap_or(0) as f64 / 1e6;
    let mut reasons = Vec::new();
    let mut notes = Vec::new();
    if let Some(StopReason::Broken(why)) = &outcome.stopped {
        reasons.push(why.clone());
    }
    if dropped > 0 {
        reasons.push(format!(
            "dropped iterations: {dropped} of {due} that were due found every virtual user busy and `max_vus` reached, \
             and were not made"
        ));
    }
    if let (Some(lag), Some(response)) = (lag, response)
        && lag > response * LAG_SHARE
    {
        reasons.push(format!(
            "generator lag: 1 % of what arrived or was due waited {lag:.3} ms or longer for the generator, above a \
             tenth of the reported p99 of {response:.3} ms"
        ));
    }
    let errors = outcome.aggregate.total.errors.iter();
    let ran_out: u64 = errors
        .filter(|(kind, _)| ErrorKind::OF_GENERATOR.contains(kind))
        .map(|(_, record)| record.count)
        .sum();
    if ran_out > 0 {
        reasons.push(format!(
            "{ran_out} requests failed because this machine had no more ports, descriptors or memory for them (ERRORS)"
        ));
    }
    if cpu_max > BUSY {
        let busy = format!("a shard's core was {:.0} % busy", cpu_max * 100.0);
        if is_open {
            reasons.push(format!("{busy}: it may not have kept up with the schedule"));
        } else {
            notes.push(format!(
                "{busy}: the throughput found is the generator's, not the target's"
            ));
        }
    }
    if let (Some(response), Some(service)) = (response, service)
        && is_open
        && response > service * GAP_FACTOR
        && response > service + GAP_MS
    {
        notes.push(format!(
            "p99 is {response:.1} ms from when requests were due and {service:.1} ms from when they were sent: between \
             the two they waited for a connection or for the generator, and a user would have felt the first"
        ));
    }
    notes.extend(steered(&outcome.steps));
    if outcome.is_timed {
        let (reason, note) = outcome.clock.map_or((None, None), judge_clock);
        reasons.extend(reason);
        notes.extend(note);
    }
    Generator {
        cores: outcome.cores.clone(),
        lag_p99_ms: lag,
        cpu_max,
        bottleneck: !reasons.is_empty(),
        reasons,
        late_iterations: late,
        late_max_ms,
        seed: outcome.seed,
        notes,
    }
}

/// What is wrong with the machine's clock for a run that began by it: a reason for doubt, and what is not known.
fn judge_clock(clock: Clock) -> (Option<String>, Option<String>) {
    if !clock.synchronised {
        let note = "the kernel says that this machine's clock is not synchronised: by how much the run began before or after \
                    others that were given the same instant is not known";
        return (None, Some(note.to_owned()));
    }
    let reason = (clock.error_ms > CLOCK_TOLERANCE_MS).then(|| {
        format!(
            "this machine's clock is off by about {:.0} ms, above the {CLOCK_TOLERANCE_MS:.0} ms within which segments are to \
             begin: the load of all together was not the plan's while some had begun and others had not",
            clock.error_ms
        )
    });
    (reason, None)
}

/// What was done to the run by hand: its figures are of all that, not of the plan alone.
fn steered(steps: &Steps) -> Option<String> {
    let times = |n: u64| {
        if n == 1 {
            "once".to_owned()
        } else {
            format!("{n} times")
        }
    };
    let mut done = Vec::new();
    if steps.orders > 0 {
        let set = times(steps.orders as u64);
        done.push(format!("the load was set {set} while it ran"));
    }
    if steps.pauses > 0 {
        let (paused, secs) = (times(steps.pauses.into()), steps.paused_secs);
        done.push(format!(
            "it was paused {paused}, for {secs:.1} s in all, which rates per second of the whole run include"
        ));
    }
    (!done.is_empty()).then(|| format!("steered: {}", done.join("; ")))
}
