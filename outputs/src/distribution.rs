//! Distributions as outputs need them: what a second's trend comes to, made in one pass over it, and the sum of such
//! seconds.

use std::collections::BTreeMap;

use loadr_engine::Trend;

/// The upper bounds of fixed buckets, in nanoseconds; a last bucket has the rest. A value at a bound is within it; one
/// up to a thousandth above it may be counted within it as well, because that is how finely a trend tells values apart.
pub(crate) const BOUNDS_NS: [u64; 19] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// The scale of exponential buckets: each is 2^(2^-5) = 1.022 times as wide as the one before.
pub(crate) const SCALE: i32 = 5;

/// A second's values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) sum_ns: u128,
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
    /// In milliseconds, as the summary has them: 50, 90, 95, 99 and 99.9.
    pub(crate) percentiles_ms: [f64; 5],
    /// Values of zero: in no exponential bucket.
    pub(crate) zeros: u64,
    /// By index, ascending: how many are in (2^(i/2^SCALE), 2^((i+1)/2^SCALE)] seconds.
    pub(crate) exponential: Vec<(i32, u64)>,
    /// How many are in each of the fixed buckets.
    pub(crate) fixed: [u64; BOUNDS_NS.len() + 1],
}

const PERCENTS: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];

impl Distribution {
    pub(crate) fn of(trend: &Trend) -> Self {
        let count = trend.count();
        let (min_ns, max_ns) = trend.range_ns();
        let mut made = Self {
            count,
            sum_ns: trend.sum_ns(),
            min_ns,
            max_ns,
            percentiles_ms: [0.0; 5],
            zeros: 0,
            exponential: Vec::new(),
            fixed: [0; BOUNDS_NS.len() + 1],
        };
        let ranks = PERCENTS.map(|percent| Trend::rank(percent, count));
        let (mut seen, mut next_rank, mut bound) = (0, 0, 0);
        trend.for_each_bucket(|low_ns, high_ns, n| {
            seen += n;
            while next_rank < ranks.len() && seen >= ranks[next_rank] {
                let ns = high_ns.clamp(min_ns, max_ns);
                made.percentiles_ms[next_rank] = ns as f64 / 1e6;
                next_rank += 1;
            }
            while bound < BOUNDS_NS.len() && low_ns > BOUNDS_NS[bound] {
                bound += 1;
            }
            made.fixed[bound] += n;
            if high_ns == 0 {
                made.zeros = n;
                return;
            }
            let index = exponential_index((low_ns as f64 + high_ns as f64) / 2e9);
            match made.exponential.last_mut() {
                Some((last, there)) if *last == index => *there += n,
                _ => made.exponential.push((index, n)),
            }
        });
        made
    }

    pub(crate) fn mean_ms(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum_ms() / self.count as f64
        }
    }

    pub(crate) fn sum_ms(&self) -> f64 {
        self.sum_ns as f64 / 1e6
    }

    pub(crate) fn min_ms(&self) -> f64 {
        self.min_ns as f64 / 1e6
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.max_ns as f64 / 1e6
    }
}

/// The index of the exponential bucket of a positive value in seconds.
fn exponential_index(secs: f64) -> i32 {
    (secs.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1
}

/// The values of all seconds so far.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) count: u64,
    pub(crate) sum_ns: u128,
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) zeros: u64,
    pub(crate) exponential: BTreeMap<i32, u64>,
    pub(crate) fixed: [u64; BOUNDS_NS.len() + 1],
}

impl Default for Running {
    fn default() -> Self {
        Self {
            count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            zeros: 0,
            exponential: BTreeMap::new(),
            fixed: [0; BOUNDS_NS.len() + 1],
        }
    }
}

impl Running {
    pub(crate) fn add(&mut self, second: &Distribution) {
        if second.count == 0 {
            return;
        }
        self.count += second.count;
        self.sum_ns += second.sum_ns;
        self.min_ns = self.min_ns.min(second.min_ns);
        self.max_ns = self.max_ns.max(second.max_ns);
        self.zeros += second.zeros;
        for (index, n) in &second.exponential {
            *self.exponential.entry(*index).or_default() += n;
        }
        for (mine, theirs) in self.fixed.iter_mut().zip(second.fixed) {
            *mine += theirs;
        }
    }

    pub(crate) fn sum_secs(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Runs of exponential buckets next to each other: the first index of each and its counts. Gaps that are cheaper to
    /// fill with zeros than to begin a run after are filled.
    pub(crate) fn spans(&self) -> Vec<(i32, Vec<u64>)> {
        const GAP_MAX: i32 = 2;
        let mut spans: Vec<(i32, Vec<u64>)> = Vec::new();
        for (&index, &n) in &self.exponential {
            if let Some((first, counts)) = spans.last_mut() {
                let gap = index - (*first + counts.len() as i32);
                if gap <= GAP_MAX {
                    counts.resize(counts.len() + gap as usize, 0);
                    counts.push(n);
                    continue;
                }
            }
            spans.push((index, vec![n]));
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trend(values: &[u64]) -> Trend {
        let mut trend = Trend::new();
        values.iter().for_each(|ns| trend.record(*ns));
        trend
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = prop_oneof![
            Just(0),
            1..2_000u64,
            1..10_000_000u64,
            1..3_600_000_000_000u64
        ];
        proptest::collection::vec(value, 1..200)
    }

    proptest! {
        #[test]
        fn one_pass_gives_the_figures_that_the_summary_has(values in values()) {
            let trend = trend(&values);
            let made = Distribution::of(&trend);
            for (percent, ms) in PERCENTS.iter().zip(made.percentiles_ms) {
                prop_assert_eq!(ms, trend.percentile_ms(*percent), "p{}", percent);
            }
            prop_assert_eq!(
                (made.count, made.min_ms(), made.max_ms(), made.sum_ms(), made.mean_ms()),
                (trend.count(), trend.min_ms(), trend.max_ms(), trend.sum_ms(), trend.mean_ms())
            );
        }

        #[test]
        fn every_value_is_in_one_bucket_of_each_kind_and_in_the_right_one(values in values()) {
            let made = Distribution::of(&trend(&values));
            prop_assert_eq!(made.fixed.iter().sum::<u64>(), made.count);
            let exponential: u64 = made.exponential.iter().map(|(_, n)| n).sum();
            prop_assert_eq!(exponential + made.zeros, made.count);
            for (at, bound) in BOUNDS_NS.iter().enumerate() {
                let within: u64 = made.fixed[..=at].iter().sum();
                let least = values.iter().filter(|ns| *ns <= bound).count() as u64;
                let most = values.iter().filter(|ns| **ns as f64 <= *bound as f64 * 1.0011).count() as u64;
                // Below a millisecond a trend tells half a microsecond apart.
                let slack = values.iter().filter(|ns| ns.abs_diff(*bound) <= 1024).count() as u64;
                prop_assert!((least..=most + slack).contains(&within), "{within} within {bound}: {least} to {most}");
            }
        }

        #[test]
        fn seconds_add_up_to_the_whole(parts in proptest::collection::vec(values(), 1..5)) {
            let mut running = Running::default();
            parts.iter().for_each(|part| running.add(&Distribution::of(&trend(part))));
            let whole = Distribution::of(&trend(&parts.concat()));
            prop_assert_eq!(running.fixed, whole.fixed);
            prop_assert_eq!((running.count, running.sum_ns, running.zeros), (whole.count, whole.sum_ns, whole.zeros));
            prop_assert_eq!((running.min_ns, running.max_ns), (whole.min_ns, whole.max_ns));
            let exponential: Vec<(i32, u64)> = running.exponential.clone().into_iter().collect();
            prop_assert_eq!(&exponential, &whole.exponential);
            let spans = running.spans().into_iter().flat_map(|(first, counts)| {
                counts.into_iter().enumerate().map(move |(i, n)| (first + i as i32, n))
            });
            prop_assert_eq!(spans.filter(|(_, n)| *n > 0).collect::<Vec<_>>(), exponential);
        }
    }

    #[test]
    fn an_exponential_bucket_holds_what_is_above_its_lower_end_up_to_its_upper_one() {
        let width = f64::from(1 << SCALE);
        for secs in [1e-6, 0.001, 0.25, 1.0, 2.0, 3.7, 3600.0] {
            let index = f64::from(exponential_index(secs));
            let (low, high) = ((index / width).exp2(), ((index + 1.0) / width).exp2());
            assert!(
                low < secs && secs <= high * (1.0 + 1e-12),
                "{secs}: {low} to {high}"
            );
        }
    }

    #[test]
    fn an_empty_trend_is_all_zeros() {
        let made = Distribution::of(&Trend::new());
        assert_eq!(
            (made.count, made.percentiles_ms, made.mean_ms()),
            (0, [0.0; 5], 0.0)
        );
    }
}
