//! A trend at rest: only the slots that are not empty. It is what files of histograms are read into and merged in; they
//! may come from anywhere, so everything is checked here. Writing is hdrhistogram's; reading is not, because it trusts
//! the file with the size of its memory, and would spread thousands of histograms out that are mostly empty.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::trend::{DIGITS, HIGHEST_NS, LOWEST_NS, Trend};

/// The encoding's first words, as HdrHistogram has them.
const COOKIE: u32 = 0x1c84_9313;
const COOKIE_COMPRESSED: u32 = 0x1c84_9314;
const HEADER_BYTES: usize = 40;
/// Below this power of two nanoseconds are not told apart: the largest that is not above [`LOWEST_NS`].
const UNIT_BITS: u32 = LOWEST_NS.ilog2();
/// A slot's share of its value is at most 1 in 2^10, which is three significant digits.
const HALF_BITS: u32 = 10;
/// No value is in this slot or above.
const SLOTS: u32 = slot(HIGHEST_NS) + 1;
/// More than any encoding of so many slots has.
const DECODED_BYTES_MAX: u64 = HEADER_BYTES as u64 + 9 * SLOTS as u64;
/// What the encoding can hold in one slot, and so what is counted at most.
const COUNT_MAX: u64 = i64::MAX as u64;

/// What a histogram alone does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact {
    /// Values that are zero.
    pub(crate) zeros: u64,
    /// Of all values.
    pub(crate) sum_ns: u128,
    /// 0 without values.
    pub(crate) min_ns: u64,
    /// 0 without values.
    pub(crate) max_ns: u64,
}

/// Counts by slot, ascending, none of them 0, beside the exact figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    slots: Vec<(u32, u64)>,
    count: u64,
    exact: Exact,
}

/// The slot of a value.
const fn slot(value_ns: u64) -> u32 {
    let mask = ((2 << HALF_BITS) - 1) << UNIT_BITS;
    let bucket = 63 - HALF_BITS - UNIT_BITS - (value_ns | mask).leading_zeros();
    let within = (value_ns >> (bucket + UNIT_BITS)) as u32;
    ((bucket + 1) << HALF_BITS) + within - (1 << HALF_BITS)
}

/// The smallest value of a slot.
const fn lowest_ns(slot: u32) -> u64 {
    let within = slot & ((1 << HALF_BITS) - 1);
    match slot >> HALF_BITS {
        0 => (within as u64) << UNIT_BITS,
        bucket => ((within + (1 << HALF_BITS)) as u64) << (bucket - 1 + UNIT_BITS),
    }
}

impl Spread {
    /// The slots of a trend, as [`Spread::of_slots`] takes them: its zeros are in the first.
    pub(crate) fn slots_of(trend: &Trend) -> Vec<(u32, u64)> {
        let mut slots: Vec<(u32, u64)> = Vec::new();
        trend.for_each_bucket(|low_ns, _, count| {
            let slot = slot(low_ns);
            match slots.last_mut() {
                Some((last, sum)) if *last == slot => *sum += count,
                _ => slots.push((slot, count)),
            }
        });
        slots
    }

    /// From slots in ascending order.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn of_slots(slots: Vec<(u32, u64)>) -> Result<Self, &'static str> {
        let mut spread = Self::default();
        let mut next = 0;
        for &(slot, count) in &slots {
            if slot < next || slot >= SLOTS || count == 0 {
                return Err("a distribution with slots that cannot be");
            }
            next = slot + 1;
            spread.count = add(spread.count, count)?;
        }
        spread.slots = slots;
        Ok(spread)
    }

    /// Reads a V2 compressed histogram of this project's range.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if word(bytes, 0) != Some(COOKIE_COMPRESSED) {
            return Err("no V2 compressed histogram");
        }
        let compressed = bytes.get(8..).unwrap_or_default();
        if word(bytes, 4).and_then(|len| usize::try_from(len).ok()) != Some(compressed.len()) {
            return Err("a histogram of another length than it says");
        }
        let mut plain = Vec::new();
        ZlibDecoder::new(compressed)
            .take(DECODED_BYTES_MAX + 1)
            .read_to_end(&mut plain)
            .map_err(|_| "a histogram that cannot be decompressed")?;
        let payload = plain
            .get(HEADER_BYTES..)
            .ok_or("a histogram without a head")?;
        let is_ours = word(&plain, 0) == Some(COOKIE)
            && word(&plain, 8) == Some(0)
            && word(&plain, 12) == Some(u32::from(DIGITS))
            && plain.get(16..24) == Some(LOWEST_NS.to_be_bytes().as_slice())
            && plain.get(32..40) == Some(1f64.to_be_bytes().as_slice());
        if !is_ours {
            return Err("a histogram of another range or precision");
        }
        if word(&plain, 4).and_then(|len| usize::try_from(len).ok()) != Some(payload.len()) {
            return Err("a histogram of another length than it says");
        }
        Self::of_payload(payload)
    }

    /// Counts as zig-zag variable-length integers; a negative one skips as many slots.
    fn of_payload(mut payload: &[u8]) -> Result<Self, &'static str> {
        let mut spread = Self::default();
        let mut at: u64 = 0;
        while !payload.is_empty() {
            let number = varint(&mut payload).ok_or("a histogram that ends in a number")?;
            let half = number >> 1;
            if number & 1 == 1 {
                at = at.saturating_add(half + 1);
                continue;
            }
            if half > 0 {
                let slot = u32::try_from(at).ok().filter(|slot| *slot < SLOTS);
                let slot = slot.ok_or("a histogram with values above an hour")?;
                spread.slots.push((slot, half));
                spread.count = add(spread.count, half)?;
            }
            at = at.saturating_add(1);
        }
        if let (Some((first, _)), Some((last, _))) = (spread.slots.first(), spread.slots.last()) {
            spread.exact.min_ns = lowest_ns(*first);
            spread.exact.max_ns = (lowest_ns(*last + 1) - 1).min(HIGHEST_NS);
        }
        Ok(spread)
    }

    /// Sets the exact figures, which must go with the counts.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) fn with_exact(mut self, exact: Exact) -> Result<Self, &'static str> {
        const WRONG: &str = "exact figures that do not go with the histogram";
        let slots_of = |spread: &Self| Some((spread.slots.first()?.0, spread.slots.last()?.0));
        match slots_of(&self) {
            None if exact == Exact::default() => {}
            Some((first, last))
                if exact.max_ns <= HIGHEST_NS
                    && slot(exact.min_ns) == first
                    && slot(exact.max_ns) == last
                    && (exact.zeros == 0 || exact.min_ns == 0) => {}
            _ => return Err(WRONG),
        }
        let (count, nonzero) = (u128::from(self.count), self.count.checked_sub(exact.zeros));
        let least = u128::from(exact.min_ns) * count;
        let most = u128::from(exact.max_ns) * u128::from(nonzero.ok_or(WRONG)?);
        if exact.sum_ns < least || exact.sum_ns > most {
            return Err(WRONG);
        }
        if exact.zeros > 0 {
            let (_, smallest) = self.slots.first_mut().ok_or(WRONG)?;
            *smallest = smallest.checked_sub(exact.zeros).ok_or(WRONG)?;
            self.slots.retain(|(_, count)| *count > 0);
        }
        self.exact = exact;
        Ok(self)
    }

    /// Sets the exact maximum alone, if it goes with the counts.
    pub(crate) fn with_max_ns(mut self, max_ns: u64) -> Self {
        if self
            .slots
            .last()
            .is_some_and(|(last, _)| slot(max_ns.min(HIGHEST_NS)) == *last)
        {
            self.exact.max_ns = max_ns.min(HIGHEST_NS);
        }
        self
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    /// When there are more values than can be counted.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), &'static str> {
        if other.count == 0 {
            return Ok(());
        }
        let (mine, theirs) = (self.exact, other.exact);
        self.exact = Exact {
            zeros: add(mine.zeros, theirs.zeros)?,
            sum_ns: mine.sum_ns.saturating_add(theirs.sum_ns),
            min_ns: if self.count == 0 {
                theirs.min_ns
            } else {
                mine.min_ns.min(theirs.min_ns)
            },
            max_ns: mine.max_ns.max(theirs.max_ns),
        };
        // No slot overflows where the sum of all does not.
        self.count = add(self.count, other.count)?;
        let known = self.slots.len();
        let mut at = 0;
        for &(slot, count) in &other.slots {
            at += self.slots[at..known].partition_point(|(mine, _)| *mine < slot);
            match self.slots[..known].get_mut(at) {
                Some((mine, total)) if *mine == slot => *total += count,
                _ => self.slots.push((slot, count)),
            }
        }
        if self.slots.len() > known {
            self.slots.sort_unstable_by_key(|(slot, _)| *slot);
        }
        Ok(())
    }

    /// How many values.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn exact(&self) -> Exact {
        self.exact
    }

    /// A value of each slot that is not empty, in nanoseconds, with its count; without the zeros.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.slots
            .iter()
            .map(|(slot, count)| (lowest_ns(*slot), *count))
    }
}

fn add(a: u64, b: u64) -> Result<u64, &'static str> {
    a.checked_add(b)
        .filter(|sum| *sum <= COUNT_MAX)
        .ok_or("more values than can be counted")
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

/// Seven bits a byte, the lowest first, all eight of a ninth.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for i in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = if i < 8 { byte & 0x7f } else { byte };
        value |= u64::from(bits) << (7 * i);
        if i < 8 && byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trend(values: &[u64]) -> Trend {
        let mut trend = Trend::new();
        values.iter().for_each(|ns| trend.record(*ns));
        trend
    }

    fn spread(trend: &Trend) -> Spread {
        let decoded = Spread::decode(&trend.encode().unwrap()).unwrap();
        decoded.with_exact(trend.exact()).unwrap()
    }

    fn figures(trend: &Trend) -> Vec<u64> {
        let percents = [0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0];
        let figures = percents.map(|p| trend.percentile_ms(p)).into_iter();
        let exact = [
            trend.sum_ms(),
            trend.min_ms(),
            trend.max_ms(),
            trend.count() as f64,
        ];
        figures.chain(exact).map(f64::to_bits).collect()
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let ns = prop_oneof![Just(0), 1..2_000u64, 0..5_000_000u64, any::<u64>()];
        proptest::collection::vec(ns, 0..200)
    }

    proptest! {
        #[test]
        fn what_hdrhistogram_writes_is_read_as_it_was(values in durations()) {
            let whole = trend(&values);
            let read = spread(&whole);
            prop_assert_eq!(read.count(), whole.count());
            prop_assert_eq!(figures(&Trend::from_spread(&read)), figures(&whole));
        }

        #[test]
        fn the_merge_of_parts_equals_the_whole(a in durations(), b in durations(), c in durations()) {
            let mut merged = Spread::default();
            for part in [&a, &b, &c] {
                merged.add(&spread(&trend(part))).unwrap();
            }
            let whole = trend(&[a, b, c].concat());
            prop_assert_eq!(figures(&Trend::from_spread(&merged)), figures(&whole));
            prop_assert_eq!(merged, spread(&whole));
        }

        #[test]
        fn no_bytes_are_too_hostile(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..300usize, values in durations()) {
            let _ = Spread::decode(&bytes);
            let _ = Spread::of_payload(&bytes);
            let mut sound = trend(&values).encode().unwrap();
            let at = cut % sound.len();
            if let Some(byte) = bytes.pop() {
                sound[at] ^= byte;
            }
            let _ = Spread::decode(&sound);
            sound.truncate(at);
            prop_assert!(Spread::decode(&sound).is_err());
        }
    }

    #[test]
    fn slots_are_those_of_hdrhistogram() {
        for value in [
            0,
            1,
            511,
            512,
            1_000,
            1_048_575,
            1_048_576,
            1 << 30,
            999_999_999_999,
            HIGHEST_NS,
        ] {
            assert!(
                lowest_ns(slot(value)) <= value && value < lowest_ns(slot(value) + 1),
                "{value}"
            );
        }
        assert_eq!((slot(0), slot(512), lowest_ns(1)), (0, 1, 512));
    }

    #[test]
    fn more_than_can_be_counted_is_refused_and_not_wrapped() {
        let mut payload = vec![0xff; 9];
        payload[0] = 0xfe;
        let most = Spread::of_payload(&payload).unwrap();
        assert_eq!(most.count(), COUNT_MAX);
        assert!(most.clone().add(&most).is_err());
        assert!(Spread::of_payload(&[payload.clone(), payload].concat()).is_err());
    }

    #[test]
    fn exact_figures_that_do_not_fit_are_refused() {
        let trend = trend(&[0, 5_000_000, 7_000_000]);
        let sound = trend.exact();
        let decoded = Spread::decode(&trend.encode().unwrap()).unwrap();
        assert!(decoded.clone().with_exact(sound).is_ok());
        for exact in [
            Exact { zeros: 2, ..sound },
            Exact { zeros: 4, ..sound },
            Exact {
                min_ns: 5_000_000,
                ..sound
            },
            Exact {
                max_ns: 9_000_000,
                ..sound
            },
            Exact {
                max_ns: u64::MAX,
                ..sound
            },
            Exact {
                sum_ns: 0,
                max_ns: 0,
                ..sound
            },
            Exact {
                sum_ns: u128::MAX,
                ..sound
            },
        ] {
            assert!(decoded.clone().with_exact(exact).is_err(), "{exact:?}");
        }
    }
}
