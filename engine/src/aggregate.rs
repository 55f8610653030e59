//! Merges what the shards hand over: the run's totals, its timeline, its gauges. Runs on the housekeeping thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use loadr_config::Program;

use crate::control::{Control, StopReason};
use crate::metrics::{Record, Series, Trend, Values, for_each_series};
use crate::moment::{Moment, ShardSecond};
use crate::thresholds;

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
struct Second {
    record: Record,
    wall_ns: u64,
    /// By shard.
    shards: Vec<ShardSecond>,
}

/// A second that every shard has passed.
struct Passed {
    progress: Progress,
    record: Record,
    shards: Vec<ShardSecond>,
}

/// Everything measured so far.
pub(crate) struct Aggregate {
    pub(crate) program: Arc<Program>,
    pub(crate) total: Record,
    pub(crate) timeline: Vec<Progress>,
    pub(crate) vus: Option<Gauge>,
    /// By shard: share of its core in use, over each second.
    pub(crate) cpu: Vec<Option<Gauge>>,
    /// The last shard's end, since the start.
    pub(crate) duration_secs: f64,
    start_ns: u64,
    seconds: BTreeMap<u32, Second>,
    /// By shard: the last second that it handed over, or that it has ended.
    reached: Vec<u32>,
    requests_total: u64,
    failed_total: u64,
}

/// A shard that has ended holds no second back.
const ENDED: u32 = u32::MAX;
/// A last piece of a second shorter than this makes no point on the timeline.
const POINT_NS_MIN: u64 = 200_000_000;
/// A handover shorter than this says nothing about the processor.
const CPU_NS_MIN: u64 = 100_000_000;

impl Aggregate {
    pub(crate) fn new(program: Arc<Program>, shards: usize, start_ns: u64) -> Self {
        Self {
            total: Record::new(&program),
            timeline: Vec::new(),
            vus: None,
            cpu: vec![None; shards],
            duration_secs: 0.0,
            start_ns,
            seconds: BTreeMap::new(),
            reached: vec![0; shards],
            requests_total: 0,
            failed_total: 0,
            program,
        }
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
            self.take(&handover);
            handover.record.clear();
            let _ = empties[handover.shard as usize].send(handover.record);
            for passed in self.close_seconds() {
                on_moment(&Moment {
                    aggregate: self,
                    progress: &passed.progress,
                    second: &passed.record,
                    shards: &passed.shards,
                });
                control.passed(&passed.progress);
                self.timeline.push(passed.progress);
                if let Some(failed) = thresholds::first_to_abort(self) {
                    control.stop(StopReason::Threshold(failed));
                }
            }
        }
    }

    fn take(&mut self, handover: &Handover) {
        self.total.add(&handover.record);
        let (program, shards) = (&self.program, self.reached.len());
        let second = self
            .seconds
            .entry(handover.second)
            .or_insert_with(|| Second {
                record: Record::new(program),
                wall_ns: 0,
                shards: vec![ShardSecond::default(); shards],
            });
        second.record.add(&handover.record);
        second.wall_ns = second.wall_ns.max(handover.wall_ns);
        let shard = handover.shard as usize;
        // Shards hand over at slightly different times, and a late one can hand over twice in a second.
        second.shards[shard].add(handover);
        if handover.wall_ns >= CPU_NS_MIN || self.cpu[shard].is_none() && handover.wall_ns > 0 {
            let share = handover.cpu_ns as f64 / handover.wall_ns as f64;
            Gauge::set(&mut self.cpu[shard], share.min(1.0));
        }
        self.reached[shard] = handover.second;
        if let Some(ended_ns) = handover.ended_ns {
            self.reached[shard] = ENDED;
            let secs = ended_ns.saturating_sub(self.start_ns) as f64 / 1e9;
            self.duration_secs = self.duration_secs.max(secs);
        }
    }

    /// The points of the seconds that every shard has passed.
    fn close_seconds(&mut self) -> Vec<Passed> {
        let passed = self.reached.iter().copied().min().unwrap_or(ENDED);
        let mut points = Vec::new();
        while let Some(entry) = self.seconds.first_entry().filter(|e| *e.key() <= passed) {
            let (
                second,
                Second {
                    record,
                    wall_ns,
                    shards,
                },
            ) = entry.remove_entry();
            let (requests, failed) = (record.requests_count(), record.failed_count());
            self.requests_total += requests;
            self.failed_total += failed;
            if wall_ns < POINT_NS_MIN && !(self.timeline.is_empty() && requests > 0) {
                continue;
            }
            let vus = shards.iter().map(|s| s.vus).fold(0, u32::saturating_add);
            Gauge::set(&mut self.vus, f64::from(vus));
            let secs = (wall_ns.max(1)) as f64 / 1e9;
            let iterations: u64 = record.scenarios.iter().map(|s| s.iterations).sum();
            let progress = Progress {
                elapsed_secs: if passed == ENDED && self.seconds.is_empty() {
                    self.duration_secs
                } else {
                    f64::from(second)
                },
                requests_per_sec: requests as f64 / secs,
                iterations_per_sec: iterations as f64 / secs,
                vus,
                error_rate: if requests == 0 {
                    0.0
                } else {
                    failed as f64 / requests as f64
                },
                latency: record.durations(),
                requests_total: self.requests_total,
                failed_total: self.failed_total,
            };
            points.push(Passed {
                progress,
                record,
                shards,
            });
        }
        points
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

    /// The most virtual users that the plan allows at once.
    pub(crate) fn vus_max(&self) -> u32 {
        self.program
            .scenarios
            .iter()
            .map(|s| s.executor.vus_max())
            .fold(0, u32::saturating_add)
    }

    /// The highest share of its core that any shard used over a second.
    pub(crate) fn cpu_max(&self) -> f64 {
        self.cpu.iter().flatten().map(|g| g.max).fold(0.0, f64::max)
    }
}
