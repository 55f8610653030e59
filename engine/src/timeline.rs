//! The seconds of a run that are past, as little of each as its summary needs: a run of days has some hundred thousand.

use crate::aggregate::Progress;
use crate::metrics::Trend;
use crate::wire::{Reader, Writer};

/// A second that is past.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Since the start.
    pub(crate) elapsed_secs: f64,
    /// Requests finished in a second of it.
    pub(crate) requests_per_sec: f64,
    /// Iterations finished in a second of it.
    pub(crate) iterations_per_sec: f64,
    /// Virtual users at its end.
    pub(crate) vus: u32,
    /// Share of its requests that failed.
    pub(crate) error_rate: f64,
    /// Requests finished since the start, as far as was known when it was over.
    #[cfg(test)]
    pub(crate) requests_total: u64,
    /// Its service times; `None` when it had none.
    pub(crate) latency: Option<Latency>,
    /// All of them.
    packed: Option<Packed>,
}

/// Service times of a second, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Latency {
    fn of(trend: &Trend) -> Option<Self> {
        (trend.count() > 0).then(|| Self {
            mean_ms: trend.mean_ms(),
            p50_ms: trend.percentile_ms(50.0),
            p95_ms: trend.percentile_ms(95.0),
            p99_ms: trend.percentile_ms(99.0),
        })
    }
}

/// A distribution that is only kept: a few KiB, where one that can be recorded into needs up to some hundred.
#[derive(Clone, Debug)]
struct Packed(Box<[u8]>);

impl Packed {
    fn of(trend: &Trend) -> Self {
        let mut to = Writer::default();
        trend.write(&mut to);
        Self(to.0.into_boxed_slice())
    }

    fn unpack(&self) -> Trend {
        // What was written here is read.
        Trend::read(&mut Reader(&self.0)).unwrap_or_default()
    }
}

impl Point {
    /// With all service times, or only their percentiles.
    pub(crate) fn new(progress: &Progress, keeps_all: bool) -> Self {
        Self {
            elapsed_secs: progress.elapsed_secs,
            requests_per_sec: progress.requests_per_sec,
            iterations_per_sec: progress.iterations_per_sec,
            vus: progress.vus,
            error_rate: progress.error_rate,
            #[cfg(test)]
            requests_total: progress.requests_total,
            latency: Latency::of(&progress.latency),
            packed: keeps_all.then(|| Packed::of(&progress.latency)),
        }
    }

    /// All service times of it, where they were kept and there are any.
    pub(crate) fn durations(&self) -> Option<Trend> {
        let durations = self.packed.as_ref()?.unpack();
        (durations.count() > 0).then_some(durations)
    }

    /// Adds service times. Without all that were there before, percentiles stay as they are.
    pub(crate) fn add_durations(&mut self, more: &Trend) {
        if let Some(packed) = &mut self.packed {
            let mut all = packed.unpack();
            all.add(more);
            self.latency = Latency::of(&all);
            *packed = Packed::of(&all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(durations_ns: &[u64], keeps_all: bool) -> Point {
        let mut latency = Trend::new();
        durations_ns.iter().for_each(|ns| latency.record(*ns));
        let progress = Progress {
            elapsed_secs: 1.0,
            requests_per_sec: durations_ns.len() as f64,
            iterations_per_sec: 0.0,
            vus: 1,
            error_rate: 0.0,
            latency,
            requests_total: durations_ns.len() as u64,
            failed_total: 0,
        };
        Point::new(&progress, keeps_all)
    }

    #[test]
    fn a_packed_second_says_what_the_whole_one_did_and_takes_more() {
        let ns: Vec<u64> = (1..=1000).map(|i| i * 1_000_000).collect();
        let mut kept = point(&ns[..500], true);
        let mut more = Trend::new();
        ns[500..].iter().for_each(|ns| more.record(*ns));
        kept.add_durations(&more);
        let all = kept.durations().expect("they are kept");
        assert_eq!((all.count(), all.max_ms()), (1000, 1000.0));
        let (latency, whole) = (kept.latency.unwrap(), point(&ns, false).latency.unwrap());
        assert_eq!(latency.p50_ms, whole.p50_ms);
        assert_eq!(latency.p99_ms, whole.p99_ms);
        assert!((latency.mean_ms - 500.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_kept_of_a_second_is_small() {
        // From 20 µs to 3 s, as a server that stalls makes them.
        let ns: Vec<u64> = (0..20_000_u64).map(|i| 20_000 + i * i * 7).collect();
        let kept = point(&ns, true).packed.expect("it is kept");
        assert!(kept.0.len() < 24 * 1024, "{} bytes", kept.0.len());
        let plain = point(&ns, false);
        assert!(plain.durations().is_none() && plain.latency.is_some());
        assert!(size_of::<Point>() <= 128, "{}", size_of::<Point>());
        assert!(point(&[], true).durations().is_none() && point(&[], true).latency.is_none());
    }
}
