//! Merges what the shards hand over: the run's totals, its timeline, its gauges. Runs on the housekeeping thread.

mod gauges;
mod second;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use loadr_config::Program;

use self::gauges::Gauges;
pub use self::second::Progress;
pub(crate) use self::second::{Handed, Handover, Passed, Second};
use crate::control::{Control, StopReason};
use crate::metrics::{Record, Samples, Series, for_each_series};
use crate::moment::{Moment, ShardSecond};
use crate::schedule::Slice;
use crate::thresholds;
use crate::timeline::Point;

/// Everything measured so far.
pub(crate) struct Aggregate {
    pub(crate) program: Arc<Program>,
    /// Which of the program's users are this process's.
    slice: Slice,
    pub(crate) total: Record,
    pub(crate) timeline: Vec<Point>,
    /// Whether points have all of their seconds' service times.
    keeps_seconds: bool,
    gauges: Gauges,
    /// The last shard's end, since the start.
    pub(crate) duration_secs: f64,
    start_ns: u64,
    seconds: BTreeMap<u32, Second>,
    /// A piece of a second too short for a point, and the second's number; it is counted with what comes next.
    piece: Option<(u32, Second)>,
    /// The piece that was left when all shards had ended.
    rest: Option<Passed>,
    /// By shard: the last second that it handed over, or that it has ended.
    reached: Vec<u32>,
    /// By shard: the second of its last handover, when it has ended.
    pub(crate) last_seconds: Vec<u32>,
    requests_total: u64,
    failed_total: u64,
    #[cfg(test)]
    last_handovers: usize,
}

/// A shard that has ended holds no second back.
const ENDED: u32 = u32::MAX;
/// A piece of a second shorter than this makes no point on the timeline.
const POINT_NS_MIN: u64 = 200_000_000;

impl Aggregate {
    pub(crate) fn new(program: Arc<Program>, slice: Slice, shards: usize, start_ns: u64) -> Self {
        Self {
            slice,
            total: Record::new(&program),
            timeline: Vec::new(),
            keeps_seconds: false,
            gauges: Gauges::new(shards),
            duration_secs: 0.0,
            start_ns,
            seconds: BTreeMap::new(),
            piece: None,
            rest: None,
            reached: vec![0; shards],
            last_seconds: vec![ENDED; shards],
            requests_total: 0,
            failed_total: 0,
            #[cfg(test)]
            last_handovers: 0,
            program,
        }
    }

    /// Keeps the service times of each second, and not only their percentiles.
    pub(crate) fn keeping_seconds(mut self, keeps: bool) -> Self {
        self.keeps_seconds = keeps;
        self
    }

    /// Takes handovers until every shard has ended, and gives their records back, emptied. `on_moment` is called for
    /// each second that all shards have passed.
    pub(crate) fn collect(
        &mut self,
        inbox: &Receiver<Handover>,
        empties: &[Sender<Box<Record>>],
        control: &Control,
        mut on_moment: impl FnMut(&Moment<'_>),
    ) {
        // Ends when the last shard has dropped its sender.
        while let Ok(mut handover) = inbox.recv() {
            self.take_handover(&handover);
            handover.record.clear();
            let _ = empties[handover.shard as usize].send(handover.record);
            self.show_closed(control, &mut on_moment);
        }
        // One that broke off before it could hand over its last holds nothing back any more.
        for reached in &mut self.reached {
            *reached = ENDED;
        }
        self.show_closed(control, &mut on_moment);
    }

    fn show_closed(&mut self, control: &Control, on_moment: &mut impl FnMut(&Moment<'_>)) {
        for passed in self.close_seconds() {
            on_moment(&passed.moment(self));
            control.passed(&passed.progress);
            self.pass_on(&passed);
            if control.is_judged_elsewhere() {
                continue;
            }
            if let Some(failed) = thresholds::first_to_abort(self) {
                control.stop(StopReason::Threshold(failed));
            }
        }
    }

    fn take_handover(&mut self, handover: &Handover) {
        let shard = handover.shard as usize;
        let mut row = ShardSecond::default();
        row.add(handover);
        let start_ns = self.start_ns;
        let second = self.take(&Handed {
            shard,
            second: handover.second,
            record: &handover.record,
            row: &row,
        });
        if let Some(samples) = &handover.record.samples {
            second.samples.add(samples, start_ns);
        }
        self.reached[shard] = handover.second;
        if let Some(ended_ns) = handover.ended_ns {
            self.reached[shard] = ENDED;
            self.last_seconds[shard] = handover.second;
            #[cfg(test)]
            {
                self.last_handovers += 1;
            }
            let secs = ended_ns.saturating_sub(self.start_ns) as f64 / 1e9;
            self.duration_secs = self.duration_secs.max(secs);
        }
    }

    /// Adds it to the run, and to its second, which is not closed yet.
    pub(crate) fn take(&mut self, handed: &Handed<'_>) -> &mut Second {
        self.total.add(handed.record);
        let (shard, row) = (handed.shard, handed.row);
        self.gauges.set_cpu(shard, row);
        let (program, shards) = (&self.program, self.reached.len());
        let second = self.seconds.entry(handed.second).or_insert_with(|| Second {
            record: Record::new(program),
            shards: vec![ShardSecond::default(); shards],
            samples: Samples::default(),
        });
        second.record.add(handed.record);
        // Shards hand over at slightly different times, and a late one can hand over twice in a second.
        second.shards[shard].add_before(row);
        second
    }

    /// Adds to the run, and to a point of its timeline, what was not there when it was closed.
    pub(crate) fn amend(&mut self, point: usize, wall_ns: u64, record: &Record, vus: u32) {
        self.total.add(record);
        let (requests, failed) = (record.requests_count(), record.failed_count());
        self.requests_total += requests;
        self.failed_total += failed;
        let Some(point) = self.timeline.get_mut(point) else {
            return;
        };
        let secs = wall_ns.max(1) as f64 / 1e9;
        let before = point.requests_per_sec * secs;
        let iterations: u64 = record.scenarios.iter().map(|s| s.iterations).sum();
        let all = before + requests as f64;
        if all > 0.0 {
            point.error_rate = (point.error_rate * before + failed as f64) / all;
        }
        point.requests_per_sec = all / secs;
        point.iterations_per_sec += iterations as f64 / secs;
        point.vus = point.vus.saturating_add(vus);
        point.add_durations(&record.durations());
    }

    /// A second that was shown is one of the timeline.
    pub(crate) fn pass_on(&mut self, passed: &Passed) {
        let point = Point::new(&passed.progress, self.keeps_seconds);
        self.timeline.push(point);
    }

    /// The points of the seconds that every shard has passed. All that is handed over is in one of them, or in the rest:
    /// what watchers add up comes to the totals.
    fn close_seconds(&mut self) -> Vec<Passed> {
        let reached = self.reached.iter().copied().min().unwrap_or(ENDED);
        self.close_until(reached)
    }

    /// The points up to a second; with the largest number there is, all.
    pub(crate) fn close_until(&mut self, reached: u32) -> Vec<Passed> {
        let mut points = Vec::new();
        while let Some(entry) = self.seconds.first_entry().filter(|e| *e.key() <= reached) {
            let (number, mut second) = entry.remove_entry();
            if let Some((_, piece)) = self.piece.take() {
                second.add_before(piece);
            }
            let is_first = self.timeline.is_empty() && points.is_empty();
            let is_short = second.wall_ns() < POINT_NS_MIN;
            // A shard that was held up hands over what it did in it with a later one: till then it would look idle.
            let is_part = second
                .shards
                .iter()
                .zip(&self.last_seconds)
                .any(|(shard, last)| shard.wall_ns == 0 && number <= *last);
            let is_to_be_shown = is_first && second.record.requests_count() > 0;
            if is_part && !self.seconds.is_empty() || is_short && !is_to_be_shown {
                self.piece = Some((number, second));
                continue;
            }
            let is_last = reached == ENDED && self.seconds.is_empty();
            let vus = second.shards.iter().map(|s| s.vus);
            self.gauges.set_vus(vus.fold(0, u32::saturating_add));
            let elapsed_secs = if is_last {
                self.duration_secs
            } else {
                f64::from(number)
            };
            points.push(self.pass(number, second, elapsed_secs));
        }
        if reached == ENDED
            && let Some((number, piece)) = self.piece.take()
        {
            self.rest = Some(self.pass(number, piece, self.duration_secs));
        }
        points
    }

    /// The figures of a second.
    fn pass(&mut self, number: u32, second: Second, elapsed_secs: f64) -> Passed {
        let wall_ns = second.wall_ns();
        let (requests_per_sec, iterations_per_sec) = (
            second.per_sec(|shard| shard.requests),
            second.per_sec(|shard| shard.iterations),
        );
        let Second {
            record,
            shards,
            samples,
        } = second;
        let (requests, failed) = (record.requests_count(), record.failed_count());
        self.requests_total += requests;
        self.failed_total += failed;
        let progress = Progress {
            elapsed_secs,
            requests_per_sec,
            iterations_per_sec,
            vus: shards.iter().map(|s| s.vus).fold(0, u32::saturating_add),
            error_rate: if requests == 0 {
                0.0
            } else {
                failed as f64 / requests as f64
            },
            latency: record.durations(),
            requests_total: self.requests_total,
            failed_total: self.failed_total,
        };
        Passed {
            number,
            wall_ns,
            progress,
            record,
            shards,
            samples,
        }
    }

    /// Whether every shard that was heard of has handed over its last.
    #[cfg(test)]
    pub(crate) fn have_handed_over_last(&self) -> bool {
        self.last_handovers == self.reached.len()
    }

    /// What was measured after the last moment that watchers were shown: it makes no point on the timeline.
    pub(crate) fn rest(&self) -> Option<Moment<'_>> {
        Some(self.rest.as_ref()?.moment(self))
    }

    /// Seconds measured so far; at least a little, so that it can be divided by.
    pub(crate) fn elapsed_secs(&self) -> f64 {
        let last = self.timeline.last().map_or(0.0, |p| p.elapsed_secs);
        self.duration_secs.max(last).max(1e-3)
    }

    /// Calls `f` for every series of the run so far, gauges included.
    pub(crate) fn for_each_series(&self, mut f: impl FnMut(&Series<'_>)) {
        for_each_series(&self.program, &self.total, &mut f);
        self.for_each_gauge(f);
    }

    /// Calls `f` for every gauge.
    pub(crate) fn for_each_gauge(&self, f: impl FnMut(&Series<'_>)) {
        self.gauges.for_each(self.vus_max(), f);
    }

    /// The most virtual users that the plan allows here at once.
    pub(crate) fn vus_max(&self) -> u32 {
        self.program
            .scenarios
            .iter()
            .map(|s| self.slice.share(s.executor.vus_max()))
            .fold(0, u32::saturating_add)
    }

    /// Which of the program's users are this process's.
    pub(crate) fn slice(&self) -> Slice {
        self.slice
    }

    /// Whether this process makes all of the load.
    pub(crate) fn is_whole(&self) -> bool {
        self.slice.is_whole()
    }

    /// The highest share of its core that any shard used over a second.
    pub(crate) fn cpu_max(&self) -> f64 {
        self.gauges.cpu_max()
    }
}
