//! A second of the run: what is handed over of it, while it comes in, and when all shards have passed it.

use super::Aggregate;
use crate::metrics::{Record, Samples, Trend};
use crate::moment::{Moment, ShardSecond};

/// What a shard has measured since its last one.
pub(crate) struct Handover {
    pub(crate) shard: u32,
    /// The second of the run, from 1, that it completes or breaks off.
    pub(crate) second: u32,
    pub(crate) record: Box<Record>,
    /// The most virtual users that were there at once.
    pub(crate) vus: u32,
    /// CPU time of the shard's thread in it.
    pub(crate) cpu_ns: u64,
    /// How long it was.
    pub(crate) wall_ns: u64,
    /// When the shard ended; this one is its last.
    pub(crate) ended_ns: Option<u64>,
}

/// What is added to the run so far: of a shard, or of another process.
pub(crate) struct Handed<'a> {
    pub(crate) shard: usize,
    pub(crate) second: u32,
    pub(crate) record: &'a Record,
    pub(crate) row: &'a ShardSecond,
}

/// A second of the run.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Since the start.
    pub elapsed_secs: f64,
    /// Requests finished in a second of it.
    pub requests_per_sec: f64,
    /// Iterations finished in a second of it.
    pub iterations_per_sec: f64,
    /// Virtual users at its end.
    pub vus: u32,
    /// Share of its requests that failed.
    pub error_rate: f64,
    /// Its service times.
    pub latency: Trend,
    /// Requests finished since the start.
    pub requests_total: u64,
    /// Requests failed since the start.
    pub failed_total: u64,
}

/// One second while its handovers come in.
pub(crate) struct Second {
    pub(super) record: Record,
    /// By shard.
    pub(super) shards: Vec<ShardSecond>,
    /// Every request, where an output wants them.
    pub(super) samples: Samples,
}

impl Second {
    /// Adds what was measured before it.
    pub(super) fn add_before(&mut self, before: Self) {
        self.record.add(&before.record);
        for (mine, theirs) in self.shards.iter_mut().zip(&before.shards) {
            mine.add_before(theirs);
        }
        self.samples.add_before(before.samples);
    }

    pub(super) fn wall_ns(&self) -> u64 {
        self.shards.iter().map(|s| s.wall_ns).max().unwrap_or(0)
    }

    /// So many in a second, of all shards: each makes its own in a time of its own, which is longer than the others' when
    /// it comes to hand over late, and shorter in the second after that. One that has ended makes none in the rest.
    pub(super) fn per_sec(&self, count: impl Fn(&ShardSecond) -> u64) -> f64 {
        let longest_ns = self.wall_ns();
        let rate = |shard: &ShardSecond| {
            let wall_ns = if shard.has_ended {
                longest_ns
            } else {
                shard.wall_ns
            };
            count(shard) as f64 * 1e9 / wall_ns.max(1) as f64
        };
        self.shards.iter().map(rate).sum()
    }
}

/// A second that every shard has passed.
pub(crate) struct Passed {
    /// Of the run, from 1.
    pub(crate) number: u32,
    pub(crate) wall_ns: u64,
    pub(super) progress: Progress,
    pub(super) record: Record,
    pub(super) shards: Vec<ShardSecond>,
    pub(super) samples: Samples,
}

impl Passed {
    pub(crate) fn moment<'a>(&'a self, aggregate: &'a Aggregate) -> Moment<'a> {
        Moment {
            aggregate,
            number: self.number,
            wall_ns: self.wall_ns,
            progress: &self.progress,
            second: &self.record,
            shards: &self.shards,
            samples: &self.samples,
        }
    }
}
