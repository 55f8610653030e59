//! A distribution of durations.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::spread::{Exact, Spread};

/// The shortest duration that is told from others, in nanoseconds.
pub(super) const LOWEST_NS: u64 = 1_000;
/// The longest duration, in nanoseconds: one hour. Longer ones count as this.
pub(super) const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits.
pub(super) const DIGITS: u8 = 3;

/// A distribution of durations in nanoseconds: an HDR histogram (1 µs to 1 h, three significant digits) beside the
/// exact sum, minimum and maximum. Merging is exact: the merge of any split of the values equals the whole.
#[derive(Clone, Debug)]
pub struct Trend {
    histogram: Histogram<u64>,
    /// Zeros, counted apart because most phases of most requests are zero.
    zeros: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Trend {
    fn default() -> Self {
        Self::new()
    }
}

impl Trend {
    /// An empty one. Its memory grows with the largest value, from 16 KiB on.
    #[must_use]
    pub fn new() -> Self {
        let mut histogram = Histogram::new_with_bounds(LOWEST_NS, 2 * LOWEST_NS, DIGITS)
            .expect("constant bounds that hdrhistogram accepts");
        histogram.auto(true);
        Self {
            histogram,
            zeros: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if ns == 0 {
            return self.record_zero();
        }
        let ns = ns.min(HIGHEST_NS);
        self.sum_ns += u128::from(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        // Cannot fail: the value is in range and the histogram grows by itself.
        let _ = self.histogram.record(ns);
    }

    /// Counts a duration so many times.
    pub fn record_many(&mut self, ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        let ns = ns.min(HIGHEST_NS);
        self.min_ns = self.min_ns.min(ns);
        if ns == 0 {
            self.zeros += count;
            return;
        }
        self.sum_ns += u128::from(ns) * u128::from(count);
        self.max_ns = self.max_ns.max(ns);
        let _ = self.histogram.record_n(ns, count);
    }

    /// Counts a duration of zero.
    #[inline]
    pub fn record_zero(&mut self) {
        self.zeros += 1;
        self.min_ns = 0;
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        // Cannot fail: both have the same digits, and this one grows by itself.
        let _ = self.histogram.add(&other.histogram);
        self.zeros += other.zeros;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Takes out all of `other`, whose values are all among these. Minimum and maximum are to three significant digits
    /// afterwards.
    pub fn subtract(&mut self, other: &Self) {
        // Cannot fail for values that were added.
        let _ = self.histogram.subtract(&other.histogram);
        self.zeros = self.zeros.saturating_sub(other.zeros);
        self.sum_ns = self.sum_ns.saturating_sub(other.sum_ns);
        let is_empty = self.histogram.is_empty();
        self.max_ns = if is_empty {
            0
        } else {
            self.max_ns.min(self.histogram.max())
        };
        self.min_ns = match (self.zeros, is_empty) {
            (0, true) => u64::MAX,
            (0, false) => self.min_ns.max(self.histogram.min_nz()),
            _ => 0,
        };
    }

    /// How many values are above `ms`, to three significant digits of it.
    #[must_use]
    pub fn count_above_ms(&self, ms: f64) -> u64 {
        let ns = (ms * 1e6).clamp(0.0, HIGHEST_NS as f64) as u64;
        if ns >= self.max_ns || self.histogram.is_empty() {
            return 0;
        }
        self.histogram.len() - self.histogram.count_between(0, ns)
    }

    /// What a histogram alone does not keep.
    pub(crate) fn exact(&self) -> Exact {
        Exact {
            zeros: self.zeros,
            sum_ns: self.sum_ns,
            min_ns: if self.count() == 0 { 0 } else { self.min_ns },
            max_ns: self.max_ns,
        }
    }

    /// HdrHistogram's V2 compressed encoding, the zeros in it; `None` when a count is beyond what it can hold.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut whole = self.histogram.clone();
        whole.record_n(0, self.zeros).ok()?;
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&whole, &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// From what was read from a file.
    pub(crate) fn from_spread(spread: &Spread) -> Self {
        let mut trend = Self::new();
        for (value_ns, count) in spread.values() {
            // Cannot fail: the value is in range and the histogram grows by itself.
            let _ = trend.histogram.record_n(value_ns, count);
        }
        let exact = spread.exact();
        (trend.zeros, trend.sum_ns, trend.max_ns) = (exact.zeros, exact.sum_ns, exact.max_ns);
        if trend.count() > 0 {
            trend.min_ns = exact.min_ns;
        }
        trend
    }

    /// Forgets every value; the memory is kept.
    pub fn clear(&mut self) {
        if self.count() != 0 {
            self.histogram.reset();
        }
        (self.zeros, self.sum_ns, self.min_ns, self.max_ns) = (0, 0, u64::MAX, 0);
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len() + self.zeros
    }

    /// Exact sum, in milliseconds.
    #[must_use]
    pub fn sum_ms(&self) -> f64 {
        self.sum_ns as f64 / 1e6
    }

    /// Exact mean in milliseconds; 0 when empty.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        if self.count() == 0 {
            0.0
        } else {
            self.sum_ms() / self.count() as f64
        }
    }

    /// Exact minimum in milliseconds; 0 when empty.
    #[must_use]
    pub fn min_ms(&self) -> f64 {
        if self.count() == 0 {
            0.0
        } else {
            self.min_ns as f64 / 1e6
        }
    }

    /// Exact maximum in milliseconds; 0 when empty.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.max_ns as f64 / 1e6
    }

    /// Exact sum, in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// Exact minimum and maximum in nanoseconds; zeros when empty.
    #[must_use]
    pub fn range_ns(&self) -> (u64, u64) {
        if self.count() == 0 {
            (0, 0)
        } else {
            (self.min_ns, self.max_ns)
        }
    }

    /// Calls `f` for each bucket that has values, in ascending order: the lowest and the highest value in nanoseconds
    /// that it stands for, and how many it has. Zeros are a bucket of their own.
    pub fn for_each_bucket(&self, mut f: impl FnMut(u64, u64, u64)) {
        if self.zeros > 0 {
            f(0, 0, self.zeros);
        }
        if self.histogram.is_empty() {
            return;
        }
        for bucket in self.histogram.iter_recorded() {
            let high_ns = bucket.value_iterated_to();
            let low_ns = self.histogram.lowest_equivalent(high_ns);
            f(low_ns, high_ns, bucket.count_at_value());
        }
    }

    /// Which of so many values in ascending order, from 1, is the one that `percent` (0 to 100) of them do not exceed.
    #[must_use]
    pub fn rank(percent: f64, count: u64) -> u64 {
        // Rounding must not make 7 % of 100 the eighth.
        let exact = percent * count as f64 / 100.0 * (1.0 - 1e-13);
        (exact.ceil() as u64).clamp(1, count.max(1))
    }

    /// The value in milliseconds that `percent` (0 to 100) of all values do not exceed, to three significant digits and
    /// never outside minimum and maximum; 0 when empty.
    #[must_use]
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return 0.0;
        }
        let rank = Self::rank(percent, count);
        if rank <= self.zeros {
            return 0.0;
        }
        // The middle of the rank: its end can be rounded up into the next one.
        let within = ((rank - self.zeros) as f64 - 0.5) / self.histogram.len() as f64;
        let ns = self
            .histogram
            .value_at_quantile(within)
            .clamp(self.min_ns, self.max_ns);
        ns as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_values() {
        let mut trend = Trend::new();
        for ms in 1..=100u64 {
            trend.record(ms * 1_000_000);
        }
        assert_eq!(
            (trend.count(), trend.min_ms(), trend.max_ms()),
            (100, 1.0, 100.0)
        );
        assert!((trend.mean_ms() - 50.5).abs() < 1e-9);
        for (percent, ms) in [
            (50.0, 50.0),
            (90.0, 90.0),
            (99.0, 99.0),
            (100.0, 100.0),
            (0.0, 1.0),
        ] {
            let got = trend.percentile_ms(percent);
            assert!((got - ms).abs() <= ms * 0.001, "p{percent}: {got}");
        }
    }

    #[test]
    fn an_empty_trend_is_all_zeros() {
        let trend = Trend::new();
        let figures = [
            trend.mean_ms(),
            trend.min_ms(),
            trend.max_ms(),
            trend.percentile_ms(99.0),
        ];
        assert_eq!((trend.count(), figures), (0, [0.0; 4]));
    }

    #[test]
    fn the_merge_of_any_split_equals_the_whole() {
        let values: Vec<u64> = (0..5_000u64)
            .map(|i| (i * i * 7_919) % 90_000_000_000)
            .collect();
        let mut whole = Trend::new();
        let mut parts = vec![Trend::new(); 7];
        for (i, &ns) in values.iter().enumerate() {
            whole.record(ns);
            parts[i % 7].record(ns);
        }
        let mut merged = Trend::new();
        for part in &parts {
            merged.add(part);
        }
        for percent in [0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
            assert_eq!(merged.percentile_ms(percent), whole.percentile_ms(percent));
        }
        let figures = |t: &Trend| (t.count(), t.sum_ms(), t.min_ms(), t.max_ms());
        assert_eq!(figures(&merged), figures(&whole));
        merged.clear();
        assert_eq!(merged.count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn shards_merge_to_what_one_would_have(
            values in proptest::collection::vec((0_u64..5_000_000_000_000, 0_usize..8), 0..400),
            shards in 1_usize..9,
        ) {
            let mut whole = Trend::new();
            let mut parts = vec![Trend::new(); shards];
            for (ns, shard) in &values {
                // As skewed as values are: most of them are short.
                let ns = ns >> (ns % 40);
                whole.record(ns);
                parts[shard % shards].record(ns);
            }
            let mut merged = Trend::new();
            parts.iter().for_each(|part| merged.add(part));
            proptest::prop_assert!(merged.histogram == whole.histogram);
            for tenth in 0..=1000 {
                let percent = f64::from(tenth) / 10.0;
                proptest::prop_assert_eq!(merged.percentile_ms(percent), whole.percentile_ms(percent));
            }
            let exact = |t: &Trend| (t.zeros, t.sum_ns, t.min_ns, t.max_ns);
            proptest::prop_assert_eq!(exact(&merged), exact(&whole));
        }

        #[test]
        fn many_at_once_are_as_many_one_by_one(
            values in proptest::collection::vec((0_u64..5_000_000_000_000, 0_u64..20), 0..50),
        ) {
            let (mut at_once, mut single) = (Trend::new(), Trend::new());
            for (ns, count) in values {
                let ns = ns >> (ns % 40);
                at_once.record_many(ns, count);
                (0..count).for_each(|_| single.record(ns));
            }
            proptest::prop_assert!(at_once.histogram == single.histogram);
            let exact = |t: &Trend| (t.zeros, t.sum_ns, t.min_ns, t.max_ns);
            proptest::prop_assert_eq!(exact(&at_once), exact(&single));
        }
    }

    #[test]
    fn a_percentile_is_that_of_its_rank_whatever_the_number_of_values() {
        for count in 1..200u64 {
            let mut trend = Trend::new();
            (1..=count).for_each(|i| trend.record(i * 1_000_000_000));
            for percent in 1..=100 {
                let rank = (percent * count).div_ceil(100);
                let secs = trend.percentile_ms(percent as f64) / 1e3;
                assert_eq!(secs.round() as u64, rank, "p{percent} of {count}");
            }
        }
    }

    #[test]
    fn buckets_hold_every_value_between_their_ends() {
        let mut trend = Trend::new();
        let values = [0, 0, 1, 999, 1_000_000, 1_000_001, 59_123_456_789, u64::MAX];
        for ns in values {
            trend.record(ns);
        }
        let mut buckets = Vec::new();
        trend.for_each_bucket(|low, high, count| buckets.push((low, high, count)));
        assert_eq!(buckets[0], (0, 0, 2));
        let mut counted = 0;
        for (low, high, count) in buckets {
            let held = values
                .iter()
                .map(|ns| (*ns).min(HIGHEST_NS))
                .filter(|ns| (low..=high).contains(ns) && (*ns > 0 || high == 0));
            assert_eq!(held.count() as u64, count, "{low}..={high}");
            counted += count;
        }
        assert_eq!(counted, trend.count());
        Trend::new().for_each_bucket(|_, _, _| panic!("it is empty"));
    }

    #[test]
    fn what_was_added_can_be_taken_out_and_values_above_a_bound_are_counted() {
        let (mut first, mut second) = (Trend::new(), Trend::new());
        for ms in 1..=100u64 {
            first.record(ms * 1_000_000);
            second.record(ms * 3_000_000);
        }
        second.record(0);
        let mut both = first.clone();
        both.add(&second);
        assert_eq!(
            (both.count_above_ms(150.0), both.count_above_ms(300.0)),
            (50, 0)
        );
        assert_eq!(
            (both.count_above_ms(0.0), both.count_above_ms(1e9)),
            (200, 0)
        );
        both.subtract(&first);
        for percent in [1.0, 50.0, 99.0, 100.0] {
            let (got, wanted) = (both.percentile_ms(percent), second.percentile_ms(percent));
            assert!(
                (got - wanted).abs() <= wanted * 0.002,
                "{percent}: {got} {wanted}"
            );
        }
        assert_eq!(
            (both.count(), both.sum_ms()),
            (second.count(), second.sum_ms())
        );
        both.subtract(&second);
        assert_eq!(
            (both.count(), both.max_ms(), both.count_above_ms(0.0)),
            (0, 0.0, 0)
        );
    }

    #[test]
    fn zeros_and_values_beyond_an_hour_are_counted() {
        let mut trend = Trend::new();
        for _ in 0..9 {
            trend.record(0);
        }
        trend.record(u64::MAX);
        assert_eq!(
            (trend.count(), trend.min_ms(), trend.max_ms()),
            (10, 0.0, 3_600_000.0)
        );
        assert_eq!(
            (trend.percentile_ms(90.0), trend.percentile_ms(91.0)),
            (0.0, 3_600_000.0)
        );
    }
}
