//! Work that is global by meaning, handed to shards in blocks from one atomic word: iterations that are counted over the
//! whole run, and slots of a rate that all shards keep together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::slice::Deal;

/// The most iterations, or slots, that a shard takes at once.
const BLOCK_MAX: u64 = 64;
/// A block is at most one part in so many of what is left for each shard, so that none hoards what another could do.
const PARTS: u64 = 4;
/// The most time that a block of slots covers: what a shard may hold back from the others, and how long a burst can be.
const BLOCK_NS_MAX: f64 = 1e6;

/// Iterations of the whole run that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Lease {
    left: AtomicU64,
    shards: u64,
}

impl Lease {
    pub(crate) fn new(iterations: u64, shards: u32) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(iterations),
            shards: shards.max(1).into(),
        })
    }

    /// Up to a block of them; 0 when none is left.
    fn block(&self) -> u64 {
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            let block = (left / (self.shards * PARTS)).clamp(1, BLOCK_MAX).min(left);
            if block == 0 {
                return 0;
            }
            // Nothing else is published with it, so no stronger order is needed.
            match self.left.compare_exchange_weak(
                left,
                left - block,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return block,
                Err(now) => left = now,
            }
        }
    }
}

/// A shard's part of a [`Lease`].
#[derive(Debug)]
pub(crate) struct Leased {
    lease: Arc<Lease>,
    own: u64,
}

impl Leased {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, own: 0 }
    }

    /// Takes one; false when the whole run has none left.
    pub(crate) fn take(&mut self) -> bool {
        if self.own == 0 {
            self.own = self.lease.block();
        }
        let had = self.own > 0;
        self.own -= u64::from(had);
        had
    }
}

/// A rate that all shards keep together: slot `k` of it is at `k / rate`. A segment has its own of all slots, and counts
/// those.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The first own slot that nobody has.
    next: AtomicU64,
    /// Slots of the whole run in a nanosecond.
    per_ns: f64,
    /// Which of them are this process's.
    deal: Deal,
}

impl Pace {
    /// `per_second`, of the whole run, is finite and above zero.
    pub(crate) fn new(per_second: f64, deal: Deal) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(0),
            per_ns: per_second / 1e9,
            deal,
        })
    }

    fn slot_ns(&self, slot: u64) -> u64 {
        (self.deal.nth(slot) as f64 / self.per_ns).ceil() as u64
    }

    /// Takes `block` slots, none of which is older than one slot at `now_ns`: what nobody used is lost. The first of them.
    fn block(&self, now_ns: u64, block: u64) -> u64 {
        let all = ((now_ns as f64 * self.per_ns) as u64).saturating_add(1);
        let current = self.deal.below(all).saturating_sub(1);
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let first = next.max(current);
            match self.next.compare_exchange_weak(
                next,
                first + block,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return first,
                Err(now) => next = now,
            }
        }
    }
}

/// A shard's part of a [`Pace`]. One that could fill the whole rate takes slots in blocks; any other takes single ones, so
/// that no slot passes unused while somebody else waits for one.
#[derive(Debug)]
pub(crate) struct Paced {
    pace: Arc<Pace>,
    next: u64,
    end: u64,
    block: u64,
}

impl Paced {
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        Self {
            pace,
            next: 0,
            end: 0,
            block: 1,
        }
    }

    /// Takes a slot: when it is, perhaps a little before `now_ns`. Times are since the scenario's start.
    pub(crate) fn take(&mut self, now_ns: u64) -> u64 {
        let pace = &self.pace;
        // Whether the slot after the last one has not passed yet: this shard asks as fast as slots come.
        let next_ns = pace.slot_ns(self.next);
        let keeps_up = now_ns <= next_ns;
        if !keeps_up {
            self.block = 1;
            // Slots that have long passed unused are not made up for.
            if next_ns.saturating_add(BLOCK_NS_MAX as u64) < now_ns {
                self.end = self.next;
            }
        }
        if self.next >= self.end {
            let first = pace.block(now_ns, self.block);
            (self.next, self.end) = (first, first + self.block);
            if keeps_up {
                let own_per_ns = pace.per_ns * pace.deal.part();
                let most = ((own_per_ns * BLOCK_NS_MAX) as u64).clamp(1, BLOCK_MAX);
                self.block = (self.block * 2).min(most);
            }
        }
        let slot = self.next;
        self.next += 1;
        pace.slot_ns(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::slice::Slice;
    use super::*;
    use crate::segment::Segment;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn shards_take_exactly_what_there_is_in_whatever_order(
            total in 0_u64..5_000,
            shards in 1_u32..9,
            order in proptest::collection::vec(any::<u8>(), 64),
        ) {
            let lease = Lease::new(total, shards);
            let mut leased: Vec<Leased> = (0..shards).map(|_| Leased::new(Arc::clone(&lease))).collect();
            let mut taken = 0;
            let mut misses = 0;
            for pick in order.iter().cycle() {
                if leased[usize::from(*pick) % shards as usize].take() {
                    taken += 1;
                } else {
                    misses += 1;
                }
                if misses > 0 && leased.iter().all(|l| l.own == 0) {
                    break;
                }
                // A shard that is never picked keeps what it has: count it and stop.
                if taken + misses > 2 * total + 1_000 {
                    break;
                }
            }
            let kept: u64 = leased.iter().map(|l| l.own).sum();
            prop_assert_eq!(taken + kept + lease.left.load(Ordering::Relaxed), total);
        }

        #[test]
        fn shards_together_never_pass_the_rate_and_reach_it_when_they_want_to(
            per_second in 1.0..200_000.0_f64,
            shards in 1_usize..9,
            gaps in proptest::collection::vec(1_u64..2_000_000, 8),
        ) {
            let pace = Pace::new(per_second, Deal::new(Slice::of(None), 1));
            let mut paced: Vec<Paced> = (0..shards).map(|_| Paced::new(Arc::clone(&pace))).collect();
            // Each shard asks again some time after its last slot; the first one at once, all the time.
            let mut asks = vec![0_u64; shards];
            let mut slots = Vec::new();
            while slots.len() < 3_000 {
                let (shard, now_ns) = asks.iter().copied().enumerate().min_by_key(|a| a.1).expect("one at least");
                let slot_ns = paced[shard].take(now_ns);
                let at_ns = slot_ns.max(now_ns);
                slots.push(at_ns);
                asks[shard] = at_ns + if shard == 0 { 0 } else { gaps[shard % gaps.len()] };
            }
            slots.sort_unstable();
            // No window has more than the rate allows and what shards may hold back for a block's time.
            let burst = (shards as f64 + 1.0) * (per_second * BLOCK_NS_MAX * 1e-9).clamp(1.0, BLOCK_MAX as f64) + 2.0;
            for window in [10_usize, 100, 1_000] {
                for w in slots.windows(window + 1) {
                    let most = (w[window] - w[0]) as f64 * per_second / 1e9 + burst;
                    prop_assert!(window as f64 <= most, "{window} in {} ns", w[window] - w[0]);
                }
            }
            let took = *slots.last().expect("not empty") as f64 / 1e9;
            let wanted = slots.len() as f64 / per_second;
            prop_assert!(took <= wanted * 1.1 + 0.003, "{took} s instead of {wanted}");
        }
    }

    #[test]
    fn one_shard_keeps_the_exact_times_and_makes_up_for_no_pause() {
        let mut paced = Paced::new(Pace::new(100.0, Deal::new(Slice::of(None), 1)));
        let times: Vec<u64> = (0..5).map(|_| paced.take(0)).collect();
        assert_eq!(times, [0, 10_000_000, 20_000_000, 30_000_000, 40_000_000]);
        assert_eq!(paced.take(1_000_000_000), 1_000_000_000);
        assert_eq!(paced.take(1_000_000_000), 1_010_000_000);
    }

    #[test]
    fn segments_have_the_slots_of_one_generator_between_them() {
        let paced = |index, of| {
            let slice = Slice::of(Some(Segment { index, of }));
            Paced::new(Pace::new(100.0, Deal::new(slice, 3)))
        };
        // Two segments of three users have two of three slots and one.
        let (mut first, mut second) = (paced(0, 2), paced(1, 2));
        let times = |paced: &mut Paced, n: usize| -> Vec<u64> {
            (0..n).map(|_| paced.take(0) / 1_000_000).collect()
        };
        assert_eq!(times(&mut first, 6), [0, 20, 30, 50, 60, 80]);
        assert_eq!(times(&mut second, 3), [10, 40, 70]);
        // What has passed unused is lost, but for the last one.
        assert_eq!(second.take(1_015_000_000), 1_000_000_000);
        assert_eq!(second.take(1_015_000_000), 1_030_000_000);
    }
}
