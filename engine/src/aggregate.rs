//! Merges what the shards hand over: the run's totals, its timeline, its gauges. Runs on the housekeeping thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use loadr_config::Program;

use crate::control::{Control, StopReason};
use crate::metrics::{Record, Samples, Series, Trend, Values, for_each_series};
use crate::moment::{Moment, ShardSecond};
use crate::schedule::Slice;
use crate::thresholds;
use crate::timeline::Point;

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

/// A gauge over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gauge {
    pub(crate) last: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Gauge {
    fn set(gauge: &mut Option<Self>, value: f64) {
        *gauge = Some(match *gauge {
            None => Self {
                last: value,
                min: value,
                max: value,
            },
            Some(g) => Self {
                last: value,
                min: g.min.min(value),
                max: g.max.max(value),
            },
        });
    }
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
    record: Record,
    /// By shard.
    shards: Vec<ShardSecond>,
    /// Every request, where an output wants them.
    samples: Samples,
}

/// A second that every shard has passed.
pub(crate) struct Passed {
    /// Of the run, from 1.
    pub(crate) number: u32,
    pub(crate) wall_ns: u64,
    progress: Progress,
    record: Record,
    shards: Vec<ShardSecond>,
    samples: Samples,
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

/// What is added to the run so far: of a shard, or of another process.
pub(crate) struct Handed<'a> {
    pub(crate) shard: usize,
    pub(crate) second: u32,
    pub(crate) record: &'a Record,
    pub(crate) row: &'a ShardSecond,
}

impl Second {
    /// Adds what was measured before it.
    fn add_before(&mut self, before: Self) {
        self.record.add(&before.record);
        for (mine, theirs) in self.shards.iter_mut().zip(&before.shards) {
            mine.add_before(theirs);
        }
        self.samples.add_before(before.samples);
    }

    fn wall_ns(&self) -> u64 {
        self.shards.iter().map(|s| s.wall_ns).max().unwrap_or(0)
    }

    /// So many in a second, of all shards: each makes its own in a time of its own, which is longer than the others' when
    /// it comes to hand over late, and shorter in the second after that. One that has ended makes none in the rest.
    fn per_sec(&self, count: impl Fn(&ShardSecond) -> u64) -> f64 {
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

/// Everything measured so far.
pub(crate) struct Aggregate {
    pub(crate) program: Arc<Program>,
    /// Which of the program's users are this process's.
    slice: Slice,
    pub(crate) total: Record,
    pub(crate) timeline: Vec<Point>,
    /// Whether points have all of their seconds' service times.
    keeps_seconds: bool,
    pub(crate) vus: Option<Gauge>,
    /// By shard: share of its core in use, over each second.
    pub(crate) cpu: Vec<Option<Gauge>>,
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
/// A handover shorter than this says nothing about the processor.
const CPU_NS_MIN: u64 = 100_000_000;

impl Aggregate {
    pub(crate) fn new(program: Arc<Program>, slice: Slice, shards: usize, start_ns: u64) -> Self {
        Self {
            slice,
            total: Record::new(&program),
            timeline: Vec::new(),
            keeps_seconds: false,
            vus: None,
            cpu: vec![None; shards],
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
        if row.wall_ns >= CPU_NS_MIN || self.cpu[shard].is_none() && row.wall_ns > 0 {
            Gauge::set(&mut self.cpu[shard], row.cpu());
        }
        let (program, shards) = (&self.program, self.cpu.len());
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
            Gauge::set(&mut self.vus, f64::from(vus.fold(0, u32::saturating_add)));
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
    pub(crate) fn for_each_gauge(&self, mut f: impl FnMut(&Series<'_>)) {
        let gauge =
            |metric, g: Gauge, tags: &[(&'static str, String)], f: &mut dyn FnMut(&Series<'_>)| {
                let values = Values::Gauge {
                    last: g.last,
                    min: g.min,
                    max: g.max,
                };
                f(&Series {
                    metric,
                    tags,
                    plan_tags: &[],
                    values,
                });
            };
        for (shard, cpu) in self.cpu.iter().enumerate() {
            if let Some(cpu) = cpu {
                gauge(
                    "generator_cpu",
                    *cpu,
                    &[("shard", shard.to_string())],
                    &mut f,
                );
            }
        }
        if let Some(vus) = self.vus {
            gauge("vus", vus, &[], &mut f);
        }
        let most = f64::from(self.vus_max());
        gauge(
            "vus_max",
            Gauge {
                last: most,
                min: most,
                max: most,
            },
            &[],
            &mut f,
        );
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
        self.cpu.iter().flatten().map(|g| g.max).fold(0.0, f64::max)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::mpsc::channel;

    use loadr_config::{Options, RequestId, ScenarioId};
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Sample;

    pub(crate) const PLAN: &str = "
scenarios:
  s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/' } }, { request: { url: 'http://h/b' } } ] }
";

    /// What a shard does between two handovers: how long it is, and the durations of the requests it finishes.
    pub(crate) type Piece = (u64, Vec<u64>);

    /// By series: how many values and their sum.
    pub(crate) type Sums = BTreeMap<String, (u64, u128)>;

    pub(crate) fn add(sums: &mut Sums, series: &Series<'_>) {
        let (count, sum) = match series.values {
            Values::Counter(n) => (n, 0),
            Values::Rate { passes, count } => (count, u128::from(passes)),
            Values::Trend(trend) => (trend.count(), trend.sum_ns()),
            Values::Gauge { .. } => return,
        };
        let key = format!("{} {:?}", series.metric, series.tags);
        let mine = sums.entry(key).or_default();
        *mine = (mine.0 + count, mine.1 + sum);
    }

    /// Shards hand over as the driver does: when a second of the run is full, as late as they come to it, and at the end.
    pub(crate) fn handovers(program: &Program, shard: u32, pieces: &[Piece]) -> Vec<Handover> {
        let mut out = Vec::new();
        let mut now_ns = 0;
        for (i, (wall_ns, requests)) in pieces.iter().enumerate() {
            let is_last = i + 1 == pieces.len();
            // Not before the next full second, but for the last one.
            let due_ns = (now_ns / 1_000_000_000 + 1) * 1_000_000_000;
            let end_ns = if is_last {
                now_ns + wall_ns
            } else {
                due_ns + wall_ns % 1_500_000_000
            };
            let mut record = Box::new(Record::new(program));
            for ns in requests {
                let sample = Sample {
                    status: if ns % 7 == 0 { 500 } else { 200 },
                    was_sent: true,
                    waiting: *ns,
                    ..Sample::default()
                };
                record.request(RequestId((ns % 2) as u32), &sample);
                record.iteration(ScenarioId(0), *ns);
                record.lag.record(ns / 3);
            }
            out.push(Handover {
                shard,
                second: (end_ns / 1_000_000_000) as u32 + u32::from(is_last),
                record,
                vus: 1,
                cpu_ns: 0,
                wall_ns: end_ns - now_ns,
                ended_ns: is_last.then_some(end_ns),
            });
            now_ns = end_ns;
        }
        out
    }

    proptest! {
        /// The law that outputs stand on.
        #[test]
        fn moments_and_the_rest_add_up_to_the_totals(
            shards in proptest::collection::vec(
                proptest::collection::vec(
                    (0..2_000_000_000u64, proptest::collection::vec(1..10_000_000_000u64, 0..5)),
                    1..6,
                ),
                1..4,
            ),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 24),
        ) {
            let options = Options::default();
            let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options).unwrap().program;
            let program = Arc::new(program);
            let mut queues: Vec<_> = shards
                .iter()
                .zip(0..)
                .map(|(pieces, shard)| handovers(&program, shard, pieces).into_iter())
                .collect();
            // Each shard's in order, the shards' among each other in any.
            let (sender, inbox) = channel();
            for pick in order {
                let at = pick.index(queues.len());
                if let Some(handover) = queues[at].next() {
                    sender.send(handover).unwrap();
                }
            }
            for handover in queues.into_iter().flatten() {
                sender.send(handover).unwrap();
            }
            drop(sender);
            let empties: Vec<_> = shards.iter().map(|_| channel().0).collect();
            let mut aggregate = Aggregate::new(Arc::clone(&program), Slice::of(None), shards.len(), 0);
            let (mut sums, mut moments) = (Sums::new(), 0);
            aggregate.collect(&inbox, &empties, &Control::new(1), |moment| {
                moments += 1;
                moment.for_each_of_second(|series| add(&mut sums, series));
            });
            if let Some(rest) = aggregate.rest() {
                rest.for_each_of_second(|series| add(&mut sums, series));
            }
            let mut totals = Sums::new();
            aggregate.for_each_series(|series| add(&mut totals, series));
            prop_assert_eq!(sums, totals);
            prop_assert_eq!(moments, aggregate.timeline.len());
            let ends: Vec<f64> = aggregate.timeline.iter().map(|p| p.elapsed_secs).collect();
            prop_assert!(ends.is_sorted(), "{:?}", ends);
        }
    }

    #[test]
    fn the_rate_of_every_point_is_that_of_the_shards_also_when_one_or_all_were_held_up() {
        let options = Options::default();
        let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options)
            .unwrap()
            .program;
        let program = Arc::new(program);
        // Each makes a request in 10 ms, and hands over then (in ms).
        let even: &[u64] = &[1000, 2000, 3000, 4000, 5000, 6000];
        let cases: [[&[u64]; 2]; 4] = [
            [even, even],
            [even, &[1000, 4200, 5000, 6000]],
            // SIGSTOP between the handovers of the second second.
            [&[1000, 2000, 5200, 6000], &[1000, 5200, 6000]],
            [even, &[1000, 2900, 3010, 4990, 5000, 6000]],
        ];
        for shards in cases {
            let (sender, inbox) = channel();
            let mut all: Vec<(u64, u32, u64, bool)> = Vec::new();
            for (shard, ends) in (0..).zip(shards) {
                let begins = [0].into_iter().chain(ends.iter().copied());
                let last = ends.len() - 1;
                all.extend(
                    begins
                        .zip(ends)
                        .enumerate()
                        .map(|(i, (begin, end))| (*end, shard, end - begin, i == last)),
                );
            }
            all.sort_unstable();
            for (end_ms, shard, wall_ms, is_last) in all {
                let mut record = Box::new(Record::new(&program));
                for _ in 0..wall_ms / 10 {
                    record.request(
                        RequestId(0),
                        &Sample {
                            status: 200,
                            was_sent: true,
                            ..Sample::default()
                        },
                    );
                }
                let handover = Handover {
                    shard,
                    second: (end_ms / 1000) as u32 + u32::from(is_last),
                    record,
                    vus: 1,
                    cpu_ns: 0,
                    wall_ns: wall_ms * 1_000_000,
                    ended_ns: is_last.then_some(end_ms * 1_000_000),
                };
                sender.send(handover).unwrap();
            }
            drop(sender);
            let empties: Vec<_> = (0..2).map(|_| channel().0).collect();
            let mut aggregate = Aggregate::new(Arc::clone(&program), Slice::of(None), 2, 0);
            aggregate.collect(&inbox, &empties, &Control::new(1), |_| ());
            let rates: Vec<f64> = aggregate
                .timeline
                .iter()
                .map(|p| p.requests_per_sec)
                .collect();
            assert!(
                rates.iter().all(|rate| (rate - 200.0).abs() < 2.0),
                "{shards:?}: {rates:?}"
            );
            assert!(rates.len() >= 3);
        }
    }

    #[test]
    fn a_short_last_piece_makes_no_point_and_is_not_lost() {
        let options = Options::default();
        let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options)
            .unwrap()
            .program;
        let program = Arc::new(program);
        let (sender, inbox) = channel();
        for handover in handovers(&program, 0, &[(0, vec![5, 6]), (50_000_000, vec![7])]) {
            sender.send(handover).unwrap();
        }
        drop(sender);
        let mut aggregate = Aggregate::new(program, Slice::of(None), 1, 0);
        aggregate.collect(&inbox, &[channel().0], &Control::new(1), |_| {});
        assert_eq!(aggregate.timeline.len(), 1);
        let rest = aggregate.rest().expect("a piece is left");
        assert_eq!(rest.second.requests_count(), 1);
        assert_eq!(rest.progress().requests_total, 3);
    }
}
