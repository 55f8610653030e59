//! One segment's seconds, put into order: each once, whatever the bus does to them.

use std::collections::BTreeMap;

use loadr_engine::Summary;

use crate::bus::Parts;

/// The most seconds that wait for one before them, of one segment.
const EARLY_MAX: usize = 256;

/// One segment's seconds, on their way into order.
#[derive(Default)]
pub(super) struct Track {
    pub(super) instance: Option<u64>,
    /// The number of the second that comes next; from 1.
    pub(super) next: u64,
    /// Those that came before it was their turn, with how many seconds before them are in them.
    early: BTreeMap<u64, (u64, Vec<u8>)>,
    pub(super) parts: Parts,
    pub(super) end_parts: Parts,
    /// How many there are, as far as is known.
    pub(super) known: u64,
    /// Since when some are missing, when they were asked for, and how often in vain.
    pub(super) missing_since_ms: Option<u64>,
    pub(super) asked_ms: u64,
    pub(super) asks: u32,
    pub(super) end: Option<(u64, Box<Summary>)>,
    pub(super) is_done: bool,
    pub(super) is_lost: bool,
    pub(super) was_heard: bool,
}

impl Track {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            ..Self::default()
        }
    }

    /// Takes a second that came; those whose turn it is.
    pub(super) fn take(&mut self, number: u64, before: u64, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.known = self.known.max(number);
        // Seconds that were put together are of use only to who has none of them.
        let is_news = number - before >= self.next;
        if !is_news || self.early.len() >= EARLY_MAX && number > self.next {
            return Vec::new();
        }
        self.early.insert(number, (before, bytes));
        self.due()
    }

    pub(super) fn due(&mut self) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        let is_next =
            |next: u64| move |(number, (before, _)): &(&u64, &(u64, _))| **number - before == next;
        while let Some((&number, _)) = self.early.iter().find(is_next(self.next)) {
            due.extend(self.early.remove(&number).map(|(_, bytes)| bytes));
            self.next = number + 1;
        }
        // One by one and put together, some came twice.
        let next = self.next;
        self.early
            .retain(|number, (before, _)| *number - *before >= next);
        if !due.is_empty() {
            (self.asks, self.missing_since_ms) = (0, None);
        }
        due
    }

    /// Gives up what does not come; how many seconds.
    pub(super) fn skip(&mut self) -> u64 {
        let first = self.early.first_key_value();
        let to = first.map_or(self.known + 1, |(number, (before, _))| number - before);
        let skipped = to.saturating_sub(self.next);
        self.next = self.next.max(to);
        (self.asks, self.missing_since_ms) = (0, None);
        skipped
    }

    pub(super) fn is_missing_some(&self) -> bool {
        self.known >= self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_out_of_order_or_twice_is_put_in_order_once() {
        let mut track = Track::new();
        let bytes = |n: u64| vec![n as u8];
        assert_eq!(track.take(2, 0, bytes(2)), Vec::<Vec<u8>>::new());
        assert!(track.is_missing_some());
        assert_eq!(track.take(1, 0, bytes(1)), [bytes(1), bytes(2)]);
        assert!(!track.is_missing_some());
        assert_eq!(track.take(1, 0, bytes(1)), Vec::<Vec<u8>>::new());
        // Put together, and too late for that.
        assert_eq!(track.take(9, 8, bytes(9)), Vec::<Vec<u8>>::new());
        assert_eq!(track.take(5, 0, bytes(5)), Vec::<Vec<u8>>::new());
        assert_eq!(track.skip(), 2);
        assert_eq!(track.due(), [bytes(5)]);

        let mut late = Track::new();
        assert_eq!(late.take(8, 0, bytes(8)), Vec::<Vec<u8>>::new());
        assert_eq!(late.take(7, 6, bytes(7)), [bytes(7), bytes(8)]);
    }

    proptest! {
        /// Whatever the bus does to them, each second is seen at most once and in order, and all of them when each comes.
        #[test]
        fn each_second_is_seen_once(
            came in proptest::collection::vec((1..30_u64, 0..5_u64), 0..120),
        ) {
            let mut track = Track::new();
            let mut seen = Vec::new();
            for (number, before) in came {
                for bytes in track.take(number, before.min(number - 1), number.to_le_bytes().to_vec()) {
                    seen.push(bytes);
                }
            }
            for number in 1..30 {
                seen.extend(track.take(number, 0, u64::to_le_bytes(number).to_vec()));
            }
            let numbers: Vec<u64> = seen.iter().map(|b| u64::from_le_bytes(b[..].try_into().unwrap_or_default())).collect();
            prop_assert!(numbers.is_sorted() && numbers.windows(2).all(|w| w[0] < w[1]), "{:?}", numbers);
            prop_assert_eq!(track.next, 30);
        }
    }
}
