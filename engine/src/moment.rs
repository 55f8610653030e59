//! What a run shows of itself once a second, for those who watch it: screens, outputs, control. Made on the housekeeping
//! thread from what shards have handed over, and borrowed from it, so that nothing is copied for a watcher who asks for
//! little.

use loadr_config::Program;

use crate::aggregate::{Aggregate, Handover, Progress};
use crate::metrics::{Record, RequestSample, Samples, Series, Trend, for_each_series};
use crate::results::{self, ErrorSummary};
use crate::schedule::{Deal, Slice};
use crate::thresholds::{self, ThresholdResult};

/// A second of a run that every shard has passed, and the run so far.
pub struct Moment<'a> {
    pub(crate) aggregate: &'a Aggregate,
    /// Of the run, from 1.
    pub(crate) number: u32,
    /// How long it was.
    pub(crate) wall_ns: u64,
    pub(crate) progress: &'a Progress,
    pub(crate) second: &'a Record,
    pub(crate) shards: &'a [ShardSecond],
    pub(crate) samples: &'a Samples,
}

/// One shard in one second.
#[derive(Clone, Debug, Default)]
pub struct ShardSecond {
    /// The most virtual users that were there at once.
    pub vus: u32,
    /// CPU time of its thread.
    pub cpu_ns: u64,
    /// How long the second was to it.
    pub wall_ns: u64,
    /// Generator lag.
    pub lag: Trend,
    pub(crate) requests: u64,
    pub(crate) iterations: u64,
    /// Whether it ended in it.
    pub(crate) has_ended: bool,
}

impl ShardSecond {
    pub(crate) fn add(&mut self, handover: &Handover) {
        self.vus = self.vus.max(handover.vus);
        self.cpu_ns += handover.cpu_ns;
        self.wall_ns += handover.wall_ns;
        self.lag.add(&handover.record.lag);
        self.requests += handover.record.requests_count();
        let scenarios = handover.record.scenarios.iter();
        self.iterations += scenarios.map(|s| s.iterations).sum::<u64>();
        self.has_ended |= handover.ended_ns.is_some();
    }

    /// Adds what was measured before it.
    pub(crate) fn add_before(&mut self, before: &Self) {
        self.vus = self.vus.max(before.vus);
        self.cpu_ns += before.cpu_ns;
        self.wall_ns += before.wall_ns;
        self.lag.add(&before.lag);
        self.requests += before.requests;
        self.iterations += before.iterations;
        self.has_ended |= before.has_ended;
    }

    /// The share of its core that it used, 0 to 1.
    #[must_use]
    pub fn cpu(&self) -> f64 {
        if self.wall_ns == 0 {
            return 0.0;
        }
        (self.cpu_ns as f64 / self.wall_ns as f64).min(1.0)
    }
}

impl Moment<'_> {
    /// The second's figures.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        self.progress
    }

    /// What is being run.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.aggregate.program
    }

    /// In the order of the run's cores.
    #[must_use]
    pub fn shards(&self) -> &[ShardSecond] {
        self.shards
    }

    /// Calls `f` for each series of this second that has values, gauges included.
    pub fn for_each_of_second(&self, mut f: impl FnMut(&Series<'_>)) {
        for_each_series(self.program(), self.second, &mut f);
        self.aggregate.for_each_gauge(f);
    }

    /// Every request of this second, where an output of the plan wants them, and how many more there were than are kept.
    #[must_use]
    pub fn samples(&self) -> (&[RequestSample], u64) {
        (&self.samples.lines, self.samples.dropped)
    }

    /// Calls `f` for each series of the run so far, gauges included.
    pub fn for_each_so_far(&self, f: impl FnMut(&Series<'_>)) {
        self.aggregate.for_each_series(f);
    }

    /// The kinds of errors so far, most frequent first.
    #[must_use]
    pub fn errors(&self) -> Vec<ErrorSummary> {
        results::errors(&self.aggregate.total)
    }

    /// The thresholds as they stand, in the plan's order. Merges the series that each is about.
    #[must_use]
    pub fn thresholds(&self) -> Vec<ThresholdResult> {
        thresholds::judge_all(self.program(), self.aggregate)
    }

    /// What of the plan's load this process makes.
    #[must_use]
    pub fn share(&self) -> Share {
        Share(self.aggregate.slice())
    }

    /// The most virtual users that the plan allows here at once.
    #[must_use]
    pub fn vus_max(&self) -> u32 {
        self.aggregate.vus_max()
    }
}

/// What of a plan's load a process makes: all of it, or a segment's part.
#[derive(Clone, Copy, Debug)]
pub struct Share(Slice);

impl Share {
    /// All of it.
    #[must_use]
    pub fn whole() -> Self {
        Self(Slice::of(None))
    }

    /// How many of a scenario's users, when it has `all`.
    #[must_use]
    pub fn users(self, all: u32) -> u32 {
        self.0.share(all)
    }

    /// How many of the iterations of a scenario that has at most so many users.
    #[must_use]
    pub fn iterations(self, vus_max: u32, all: u64) -> u64 {
        Deal::new(self.0, vus_max).below(all)
    }

    /// The part of the rate of a scenario that has at most so many users.
    #[must_use]
    pub fn of_rate(self, vus_max: u32) -> f64 {
        Deal::new(self.0, vus_max).part()
    }
}
