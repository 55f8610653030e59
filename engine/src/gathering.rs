//! Several processes' seconds added up as one run's: what somebody who watches a fleet does with what its segments say. The
//! same aggregate as a run's own, fed with segments' seconds where a run has its shards' handovers.

use std::sync::Arc;

use loadr_config::Program;

use crate::aggregate::{Aggregate, Handed};
use crate::control::StopReason;
use crate::metrics::Record;
use crate::moment::{Moment, ShardSecond};
use crate::run::Outcome;
use crate::schedule::Slice;
use crate::steer::Steps;
use crate::thresholds;
use crate::wire::{Reader, Writer};

/// How many seconds a segment may be behind the others before they are shown without it. What it says later is added where
/// it belongs.
const BEHIND_MAX: u32 = 4;
/// No run is longer: a century.
const SECONDS_MAX: u32 = 3_200_000_000;
/// No second is longer, and no sum of them.
const NS_MAX: u64 = 3_200_000_000_000_000_000;

/// A second of one process, or several of them added up.
pub struct Delta {
    second: u32,
    wall_ns: u64,
    vus: u32,
    /// Of the shard that used most of its core.
    cpu_ns: u64,
    cpu_wall_ns: u64,
    record: Record,
}

impl Moment<'_> {
    /// The second as bytes, for another process to add to those of others.
    #[must_use]
    pub fn delta(&self) -> Vec<u8> {
        let busiest = self
            .shards()
            .iter()
            .max_by(|a, b| a.cpu().total_cmp(&b.cpu()));
        let mut to = Writer::default();
        to.number(u64::from(self.number));
        to.number(self.wall_ns);
        to.number(u64::from(self.progress().vus));
        to.number(busiest.map_or(0, |shard| shard.cpu_ns));
        to.number(busiest.map_or(0, |shard| shard.wall_ns));
        self.second.write(&mut to);
        to.0
    }
}

impl Delta {
    /// Reads what [`Moment::delta`] or [`Delta::write`] made of a run of this program. It may come from anywhere.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(program: &Program, bytes: &[u8]) -> Result<Self, &'static str> {
        let mut from = Reader(bytes);
        let second = from.small()?;
        let [wall_ns, vus, cpu_ns, cpu_wall_ns] = [
            from.number()?,
            from.number()?,
            from.number()?,
            from.number()?,
        ];
        if second > SECONDS_MAX || wall_ns > NS_MAX || cpu_ns > NS_MAX || cpu_wall_ns > NS_MAX {
            return Err("a second that cannot be");
        }
        let vus = u32::try_from(vus).map_err(|_| "more virtual users than there can be")?;
        let record = Record::read(program, &mut from)?;
        from.end()?;
        Ok(Self {
            second,
            wall_ns,
            vus,
            cpu_ns,
            cpu_wall_ns,
            record,
        })
    }

    /// As bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.number(u64::from(self.second));
        for number in [
            self.wall_ns,
            u64::from(self.vus),
            self.cpu_ns,
            self.cpu_wall_ns,
        ] {
            to.number(number);
        }
        self.record.write(&mut to);
        to.0
    }

    /// Adds what comes after it.
    pub fn add_later(&mut self, later: &Self) {
        self.second = self.second.max(later.second);
        self.wall_ns = self.wall_ns.saturating_add(later.wall_ns);
        self.vus = self.vus.max(later.vus);
        self.cpu_ns = self.cpu_ns.saturating_add(later.cpu_ns);
        self.cpu_wall_ns = self.cpu_wall_ns.saturating_add(later.cpu_wall_ns);
        self.record.add(&later.record);
    }
}

/// A segment, as far as it is known.
#[derive(Clone, Copy, Default)]
struct Reach {
    /// The last second of it that is here.
    second: u32,
    /// Nothing more comes.
    is_over: bool,
}

/// A fleet's figures while they come in.
pub struct Gathering {
    aggregate: Aggregate,
    reach: Vec<Reach>,
    /// The number and length of each point of the timeline.
    points: Vec<(u32, u64)>,
}

/// What is known of a fleet's run beside its figures.
#[derive(Clone, Debug, Default)]
pub struct GatheredRun {
    /// What random choices came from.
    pub seed: u64,
    /// See [`crate::segment::load_hash`].
    pub load_hash: String,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
    /// Why it ended early, if it did.
    pub stopped: Option<StopReason>,
}

impl Gathering {
    /// Of so many segments of a program.
    #[must_use]
    pub fn new(program: Arc<Program>, segments: u32) -> Self {
        let count = segments as usize;
        Self {
            // What comes late belongs to a point that is there.
            aggregate: Aggregate::new(program, Slice::of(None), count, 0).keeping_seconds(true),
            reach: vec![Reach::default(); count],
            points: Vec::new(),
        }
    }

    /// Takes a second of a segment. Each is taken once: whoever calls sees to that.
    pub fn take(&mut self, segment: u32, delta: &Delta) {
        let Some(reach) = self.reach.get_mut(segment as usize) else {
            return;
        };
        reach.second = reach.second.max(delta.second);
        let shown = self.points.last().map_or(0, |(number, _)| *number);
        if delta.second <= shown {
            return self.amend(delta);
        }
        let scenarios = delta.record.scenarios.iter();
        // The busiest of its cores, over all of the second.
        let share = delta.cpu_ns as f64 / delta.cpu_wall_ns.max(1) as f64;
        let row = ShardSecond {
            vus: delta.vus,
            cpu_ns: (share.min(1.0) * delta.wall_ns as f64) as u64,
            wall_ns: delta.wall_ns,
            lag: delta.record.lag.clone(),
            requests: delta.record.requests_count(),
            iterations: scenarios.fold(0, |sum, s| sum.saturating_add(s.iterations)),
            has_ended: false,
        };
        self.aggregate.take(&Handed {
            shard: segment as usize,
            second: delta.second,
            record: &delta.record,
            row: &row,
        });
    }

    /// Adds a second to a point that was shown without it.
    fn amend(&mut self, delta: &Delta) {
        let at = self
            .points
            .partition_point(|(number, _)| *number < delta.second);
        let wall_ns = self.points.get(at).map_or(1, |(_, wall_ns)| *wall_ns);
        self.aggregate.amend(at, wall_ns, &delta.record, delta.vus);
    }

    /// A segment has ended so long after the start, and all its seconds are here.
    pub fn ended(&mut self, segment: u32, duration_secs: f64) {
        if let Some(reach) = self.reach.get_mut(segment as usize) {
            reach.is_over = true;
            if duration_secs.is_finite() {
                let most = self.aggregate.duration_secs.max(duration_secs);
                self.aggregate.duration_secs = most;
            }
        }
    }

    /// Nothing more comes of a segment: it holds back no second. One that is lost may come back.
    pub fn is_lost(&mut self, segment: u32, is_lost: bool) {
        if let Some(reach) = self.reach.get_mut(segment as usize) {
            reach.is_over = is_lost;
        }
    }

    /// Calls `on_moment` for each second that every segment has passed, or enough of them; whether a threshold has failed
    /// that ends the run: which.
    pub fn show(&mut self, mut on_moment: impl FnMut(&Moment<'_>)) -> Option<String> {
        let going = || self.reach.iter().filter(|reach| !reach.is_over);
        let reached = match going().map(|reach| reach.second).min() {
            None => u32::MAX,
            Some(slowest) => {
                let fastest = going().map(|reach| reach.second).max().unwrap_or(slowest);
                slowest.max(fastest.saturating_sub(BEHIND_MAX))
            }
        };
        // A segment that is not waited for holds no second back.
        for (last, reach) in self.aggregate.last_seconds.iter_mut().zip(&self.reach) {
            let is_awaited = !reach.is_over && reach.second >= reached;
            *last = if is_awaited { u32::MAX } else { reach.second };
        }
        let mut failed = None;
        for passed in self.aggregate.close_until(reached) {
            self.points.push((passed.number, passed.wall_ns));
            on_moment(&passed.moment(&self.aggregate));
            self.aggregate.pass_on(&passed);
            failed = failed.or_else(|| thresholds::first_to_abort(&self.aggregate));
        }
        failed
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(mut self, run: GatheredRun) -> Outcome {
        for reach in &mut self.reach {
            reach.is_over = true;
        }
        let _ = self.show(|_| {});
        let last = self.aggregate.timeline.last();
        let last_secs = last.map_or(0.0, |point| point.elapsed_secs);
        if self.aggregate.duration_secs == 0.0 {
            self.aggregate.duration_secs = last_secs;
        }
        let program = Arc::clone(&self.aggregate.program);
        let thresholds = thresholds::judge_all(&program, &self.aggregate);
        Outcome {
            program,
            cores: Vec::new(),
            seed: run.seed,
            is_strict: false,
            segment: None,
            load_hash: run.load_hash,
            clock: None,
            is_timed: false,
            aggregate: self.aggregate,
            thresholds,
            stopped: run.stopped,
            steps: Steps::default(),
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use loadr_config::Options;
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::tests::{PLAN, Piece, Sums, add, handovers};
    use crate::control::Control;

    fn program() -> Arc<Program> {
        let plan = loadr_config::compile(PLAN, Path::new("plan.yaml"), &Options::default());
        Arc::new(plan.unwrap().program)
    }

    /// What a segment says of its run, and the sums of all that it measured.
    fn segment(
        program: &Arc<Program>,
        shards: &[Vec<Piece>],
        sums: &mut Sums,
    ) -> (Vec<Vec<u8>>, f64) {
        let (sender, inbox) = channel();
        for (pieces, shard) in shards.iter().zip(0..) {
            for handover in handovers(program, shard, pieces) {
                sender.send(handover).unwrap();
            }
        }
        drop(sender);
        let empties: Vec<_> = shards.iter().map(|_| channel().0).collect();
        let mut aggregate = Aggregate::new(Arc::clone(program), Slice::of(None), shards.len(), 0);
        let mut said = Vec::new();
        aggregate.collect(&inbox, &empties, &Control::new(1), |moment| {
            said.push(moment.delta());
        });
        said.extend(aggregate.rest().map(|rest| rest.delta()));
        aggregate.for_each_series(|series| add(sums, series));
        (said, aggregate.duration_secs)
    }

    fn totals(outcome: &Outcome) -> Sums {
        let mut sums = Sums::new();
        outcome.for_each_series(|series| add(&mut sums, series));
        sums
    }

    proptest! {
        /// Whatever the order in which segments are heard, and whatever is put together on the way, all of it is there.
        #[test]
        fn what_segments_say_adds_up_to_what_they_measured(
            segments in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::collection::vec(
                        (0..2_000_000_000u64, proptest::collection::vec(1..10_000_000_000u64, 0..4)),
                        1..7,
                    ),
                    1..3,
                ),
                1..4,
            ),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 40),
            put_together in 0..3_usize,
        ) {
            let program = program();
            let mut wanted = Sums::new();
            let said: Vec<_> = segments.iter().map(|shards| segment(&program, shards, &mut wanted)).collect();
            let mut gathering = Gathering::new(Arc::clone(&program), segments.len() as u32);
            let mut queues: Vec<_> = said
                .iter()
                .map(|(deltas, _)| {
                    let mut deltas: Vec<Delta> = deltas.iter().map(|d| Delta::read(&program, d).unwrap()).collect();
                    // What a segment kept no longer one by one.
                    for _ in 0..put_together.min(deltas.len() - 1) {
                        let later = deltas.remove(1);
                        deltas[0].add_later(&later);
                        deltas[0] = Delta::read(&program, &deltas[0].write()).unwrap();
                    }
                    deltas.into_iter().collect::<std::collections::VecDeque<_>>()
                })
                .collect();
            let mut shown = 0;
            for pick in order {
                let at = pick.index(queues.len());
                match queues[at].pop_front() {
                    Some(delta) => gathering.take(at as u32, &delta),
                    None => gathering.ended(at as u32, said[at].1),
                }
                gathering.show(|_| shown += 1);
            }
            for (at, queue) in queues.into_iter().enumerate() {
                for delta in queue {
                    gathering.take(at as u32, &delta);
                }
                gathering.ended(at as u32, said[at].1);
            }
            gathering.show(|_| shown += 1);
            let outcome = gathering.finish(GatheredRun::default());
            prop_assert_eq!(totals(&outcome), wanted);
            let requests: u64 = segments.iter().flatten().flatten().map(|(_, r)| r.len() as u64).sum();
            let rest = outcome.rest().map(|rest| rest.progress().requests_total);
            let last = outcome.aggregate.timeline.last().map(|p| p.requests_total);
            // Points that were amended keep the total that they were shown with.
            prop_assert!(rest.or(last).unwrap_or(0) <= requests);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let program = program();
            let _ = Delta::read(&program, &bytes);
        }
    }

    #[test]
    fn a_segment_that_is_far_behind_is_not_waited_for_and_is_added_later() {
        let program = program();
        let pieces: Vec<Piece> = (0..10).map(|_| (0, vec![1_000_000; 10])).collect();
        let mut sums = Sums::new();
        let (deltas, secs) = segment(&program, &[pieces], &mut sums);
        let deltas: Vec<Delta> = deltas
            .iter()
            .map(|d| Delta::read(&program, d).unwrap())
            .collect();
        let mut gathering = Gathering::new(Arc::clone(&program), 2);
        let mut shown = 0;
        for delta in &deltas {
            gathering.take(0, delta);
            gathering.show(|_| shown += 1);
        }
        assert_eq!(shown, deltas.len() - BEHIND_MAX as usize);
        for delta in &deltas {
            gathering.take(1, delta);
        }
        gathering.ended(0, secs);
        gathering.ended(1, secs);
        gathering.show(|_| {});
        let outcome = gathering.finish(GatheredRun::default());
        let timeline = &outcome.aggregate.timeline;
        // The last piece has no length, and makes no point.
        assert_eq!(timeline.len(), deltas.len() - 1);
        let per_second = |p: &crate::timeline::Point| p.requests_per_sec.round() as u64;
        assert!(timeline.iter().all(|p| per_second(p) == 20), "{timeline:?}");
        assert_eq!(outcome.aggregate.total.requests_count(), 200);
    }
}
