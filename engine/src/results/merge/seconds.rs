//! The seconds of all runs, one over the other.

use std::collections::BTreeMap;

use crate::metrics::{Spread, Trend};
use crate::results::histograms::{LogSecond, LogWriter};
use crate::results::summary::Point;

/// One second of all runs, by when it ended.
#[derive(Default)]
struct Second {
    end_secs: f64,
    rps: f64,
    iterations_ps: f64,
    vus: f64,
    /// Failed requests a second.
    failed_ps: f64,
    /// Latency times requests a second, and these: for the mean.
    latency_sum: f64,
    latency_weight: f64,
    spread: Spread,
}

/// By second since the first run's start; another may have begun before it.
#[derive(Default)]
pub(super) struct Seconds(BTreeMap<i64, Second>);

impl Seconds {
    /// Adds those of a run that began so long after the first.
    pub(super) fn add(
        &mut self,
        offset_secs: f64,
        timeline: &[Point],
        seconds: &[LogSecond],
    ) -> Result<(), &'static str> {
        // A clock that is a little off does not move a second into the next.
        let offset_secs = if offset_secs.abs() < 1.0 {
            0.0
        } else {
            offset_secs
        };
        let index = |end_secs: f64| (end_secs + offset_secs - 0.01).ceil() as i64;
        for point in timeline {
            let second = self.0.entry(index(point.elapsed_secs)).or_default();
            second.end_secs = second.end_secs.max(point.elapsed_secs + offset_secs);
            second.rps += point.rps;
            second.iterations_ps += point.iterations_ps;
            second.vus += point.active_vus;
            second.failed_ps += point.error_rate * point.rps;
            if let Some(latency) = point.latency_avg {
                second.latency_sum += latency * point.rps;
                second.latency_weight += point.rps;
            }
        }
        for one in seconds {
            // One without a point on the timeline is too short to be one.
            if let Some(second) = self.0.get_mut(&index(one.end_secs)) {
                second.spread.add(&one.spread)?;
            }
        }
        Ok(())
    }

    /// How many virtual users there were in each.
    pub(super) fn users(&self) -> impl Iterator<Item = f64> + Clone {
        self.0.values().map(|second| second.vus)
    }

    pub(super) fn timeline(&self) -> Vec<Point> {
        let seconds = &self.0;
        // A run that began before the first one has seconds below zero.
        let before = seconds
            .keys()
            .next()
            .map_or(0, |first| 1_i64.saturating_sub(*first).max(0)) as f64;
        let share = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        seconds
            .values()
            .map(|second| {
                let latency =
                    (second.spread.count() > 0).then(|| Trend::from_spread(&second.spread));
                let percentile =
                    |percent: f64| latency.as_ref().map(|trend| trend.percentile_ms(percent));
                Point {
                    elapsed_secs: second.end_secs + before,
                    rps: second.rps,
                    iterations_ps: second.iterations_ps,
                    active_vus: second.vus,
                    error_rate: share(second.failed_ps, second.rps),
                    latency_avg: (second.latency_weight > 0.0)
                        .then(|| share(second.latency_sum, second.latency_weight)),
                    latency_p50: percentile(50.0),
                    latency_p95: percentile(95.0),
                    latency_p99: percentile(99.0),
                }
            })
            .collect()
    }

    /// Writes their histograms; `timeline` is [`Seconds::timeline`].
    pub(super) fn write(&self, timeline: &[Point], log: &mut LogWriter) {
        let mut start = 0.0;
        for (second, point) in self.0.values().zip(timeline) {
            if second.spread.count() > 0 {
                log.second(
                    start,
                    (point.elapsed_secs - start).max(0.0),
                    &Trend::from_spread(&second.spread),
                );
            }
            start = point.elapsed_secs;
        }
    }
}
