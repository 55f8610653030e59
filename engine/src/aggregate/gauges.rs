//! The gauges of a run: its virtual users, and the share of its core that each shard uses.

use crate::metrics::{Series, Values};
use crate::moment::ShardSecond;

/// A handover shorter than this says nothing about the processor.
const CPU_NS_MIN: u64 = 100_000_000;

/// A gauge over time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Gauge {
    last: f64,
    min: f64,
    max: f64,
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

/// All gauges, over the seconds so far.
pub(super) struct Gauges {
    vus: Option<Gauge>,
    /// By shard: share of its core in use, over each second.
    cpu: Vec<Option<Gauge>>,
}

impl Gauges {
    /// Of so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self {
            vus: None,
            cpu: vec![None; shards],
        }
    }

    pub(super) fn set_vus(&mut self, vus: u32) {
        Gauge::set(&mut self.vus, f64::from(vus));
    }

    pub(super) fn set_cpu(&mut self, shard: usize, row: &ShardSecond) {
        if row.wall_ns >= CPU_NS_MIN || self.cpu[shard].is_none() && row.wall_ns > 0 {
            Gauge::set(&mut self.cpu[shard], row.cpu());
        }
    }

    /// The highest share of its core that any shard used over a second.
    pub(super) fn cpu_max(&self) -> f64 {
        self.cpu.iter().flatten().map(|g| g.max).fold(0.0, f64::max)
    }

    /// Calls `f` for each; `vus_max` is the most virtual users that the plan allows here at once.
    pub(super) fn for_each(&self, vus_max: u32, mut f: impl FnMut(&Series<'_>)) {
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
        let most = f64::from(vus_max);
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
}
