//! What is asked of a system, and what it answers.

use serde::{Deserialize, Serialize};

/// A system that can be loaded.
pub trait System {
    /// Starts `ask.rate` iterations a second for the warm-up and the judged time, waits until nothing is in flight (for a
    /// bounded time), and says what came of those that ended after the warm-up.
    ///
    /// `watch` is told the [`Share`]s of each judged second, by objective. When it answers `false` the probe is to end
    /// there, and what it has measured so far is its result.
    ///
    /// # Errors
    /// [`Fault`], when there is no result.
    fn probe(
        &mut self,
        ask: &Ask,
        watch: &mut dyn FnMut(&[Share]) -> bool,
    ) -> Result<Measured, Fault>;
}

/// Why a probe has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The target cannot be reached; a sentence.
    Unreachable(String),
    /// A person ended it.
    Interrupted,
    /// It cannot be made here; a sentence.
    Machine(String),
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The rate doubles until an objective breaks.
    Double,
    /// The bracket is halved.
    CloseIn,
    /// The boundary is estimated from both of its sides.
    Repeat,
    /// The rate found is held for longer.
    Confirm,
}

/// One probe to be made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// From 1.
    pub number: u32,
    /// What it is for.
    pub phase: Phase,
    /// Iterations started each second.
    pub rate: f64,
    /// Seconds that are not judged.
    pub warm_up_secs: u32,
    /// Seconds that are.
    pub judged_secs: u32,
}

impl Ask {
    /// Whether it asks for the same, but for the last digits that a rate loses on its way through a file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let rate = other.rate;
        Self { rate, ..*self } == *other && (self.rate / rate - 1.0).abs() < 1e-9
    }
}

/// So many bad ones of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Those that are not as the objective wants them.
    pub bad: u64,
    /// All.
    pub of: u64,
}

impl Share {
    /// 0 to 1; 0 of nothing.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.of == 0 {
            return 0.0;
        }
        self.bad as f64 / self.of as f64
    }
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.bad += other.bad;
        self.of += other.of;
    }
}

/// Response times from the due moment, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What came of a probe. Everything is about what ended after the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// By objective: those whose iteration was dropped or cut off are bad.
    pub shares: Vec<Share>,
    /// Judged seconds that were made.
    pub secs: f64,
    /// Iterations that ended.
    pub iterations: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Iterations that were due and not made.
    pub dropped: u64,
    /// Iterations that the drain cut off.
    pub cut_off: u64,
    /// Iterations that ended, a second, over the judged time without the drain.
    pub throughput: f64,
    /// Of requests.
    pub latency: Latency,
    /// Iterations in flight on average: throughput times the mean time from due to end (Little's law).
    pub concurrency: f64,
    /// The same, counted: those due less those ended at the end of each second. `None` where arrivals are random and
    /// nobody counted.
    pub concurrency_counted: Option<f64>,
    /// Why the generator may have been the bottleneck; empty when it was not.
    pub generator: Vec<String>,
    /// Requests that the generator may have made fail: those that it made when the next was due already, those that nothing
    /// answered in time, and those that this machine had nothing left for.
    #[serde(default)]
    pub spoilt: u64,
    /// What failed and how often, most frequent first.
    pub errors: Vec<(String, u64)>,
    /// Whether in the last judged second anything was answered at all, be it by an error.
    pub is_answering: bool,
}
