//! Order numbers that a target can recognise as its own without keeping a list: each carries a checksum
//! under a key that is random per start.

use std::hash::{BuildHasher, RandomState};

/// Every number has 16 digits: the page that shows one has a fixed length.
pub(crate) const DIGITS: usize = 16;
/// Added to every number, so that it begins with no zero.
const BASE: u64 = 1_000_000_000_000_000;
const CHECKSUM_BITS: u32 = 20;
/// Sequences stay below 2^32, so a number stays below `BASE` + 2^52: 16 digits.
const SEQUENCE_BITS: u32 = 32;

/// Gives out order numbers. Each thread has a share, so that no two give out the same.
#[derive(Clone)]
pub(crate) struct Orders {
    key: RandomState,
    next: u64,
    step: u64,
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self {
            key: RandomState::new(),
            next: 0,
            step: 1,
        }
    }

    /// The share of thread `index` of `threads`.
    pub(crate) fn share(&self, index: u64, threads: u64) -> Self {
        Self {
            key: self.key.clone(),
            next: index,
            step: threads,
        }
    }

    pub(crate) fn issue(&mut self) -> u64 {
        let sequence = self.next & ((1 << SEQUENCE_BITS) - 1);
        self.next = self.next.wrapping_add(self.step);
        BASE + (sequence << CHECKSUM_BITS | self.checksum(sequence))
    }

    /// Whether a target with this key gave out `number` (but for one guess in a million).
    pub(crate) fn is_issued(&self, number: u64) -> bool {
        let Some(number) = number.checked_sub(BASE) else {
            return false;
        };
        let sequence = number >> CHECKSUM_BITS;
        sequence >> SEQUENCE_BITS == 0
            && number & ((1 << CHECKSUM_BITS) - 1) == self.checksum(sequence)
    }

    fn checksum(&self, sequence: u64) -> u64 {
        self.key.hash_one(sequence) & ((1 << CHECKSUM_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_numbers_are_known_and_others_are_not() {
        let orders = Orders::new();
        let mut a = orders.share(0, 2);
        let mut b = orders.share(1, 2);
        let numbers: Vec<u64> = (0..1000).flat_map(|_| [a.issue(), b.issue()]).collect();
        let mut unique = numbers.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), numbers.len());
        for number in numbers {
            assert_eq!(number.to_string().len(), DIGITS);
            assert!(orders.is_issued(number));
            assert!(!orders.is_issued(number ^ 1));
        }
        assert!(!orders.is_issued(0));
        assert!(!orders.is_issued(u64::MAX));
    }
}
