//! Who makes what of a run, over all processes and cores, without a word between them.
//!
//! User `u` of a scenario (from 0) belongs to segment `u mod N` of `N`, and there to shard `(u div N) mod S` of the `S` that
//! this segment has: a [`Slice`], one arithmetic progression. Whatever else a run counts, arrival, iteration, row or slot
//! `k`, belongs to user `k mod V` of the `V` users there are, and so to that user's segment and shard: a [`Deal`]. Who has
//! more users gets as much more, and who has none gets nothing that would then not be done.

use crate::segment::Segment;

/// A segment's users, or those of one of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    first: u64,
    step: u64,
}

impl Slice {
    /// All of a segment's; of a run that has none, all there are.
    pub(crate) fn of(segment: Option<Segment>) -> Self {
        let (index, of) = segment.map_or((0, 1), |segment| (segment.index, segment.of));
        Self {
            first: index.into(),
            step: u64::from(of).max(1),
        }
    }

    /// Those of shard `index` (below `count`) of the segment whose slice this is.
    pub(crate) fn shard(self, index: u32, count: u32) -> Self {
        Self {
            first: self.first + self.step * u64::from(index),
            step: self.step * u64::from(count).max(1),
        }
    }

    /// Whether it is all there is.
    pub(crate) fn is_whole(self) -> bool {
        self.step == 1
    }

    /// How many of the first `total` users are in it. Slices of one run differ by one at most within a segment and between
    /// segments, and add up to the total: the method of largest remainder for equal shares, ties to the lower index.
    #[inline]
    pub(crate) fn share(self, total: u32) -> u32 {
        // At most `total`.
        self.below(total.into()) as u32
    }

    fn below(self, total: u64) -> u64 {
        total.saturating_sub(self.first).div_ceil(self.step)
    }

    /// The number, over the whole run and from 0, of the `own`th user in it.
    pub(crate) fn user(self, own: u32) -> u64 {
        self.first + self.step * u64::from(own)
    }

    /// A number that no other slice of its kind in the run has: the shard's, over all segments.
    pub(crate) fn number(self) -> u64 {
        self.first
    }
}

/// What of everything that is dealt to `users` users belongs to those of a [`Slice`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deal {
    slice: Slice,
    users: u64,
    own: u64,
}

impl Deal {
    pub(crate) fn new(slice: Slice, users: u32) -> Self {
        let users = u64::from(users.max(1));
        Self {
            slice,
            users,
            own: slice.below(users),
        }
    }

    /// Whether nothing at all belongs to it: it has no user.
    pub(crate) fn is_empty(&self) -> bool {
        self.own == 0
    }

    /// How many of the first `total` things belong to it. Over all slices they add up to the total.
    pub(crate) fn below(&self, total: u64) -> u64 {
        if self.is_all() {
            return total;
        }
        // No more than `total`.
        total / self.users * self.own + self.slice.below(total % self.users)
    }

    /// The number, over the whole run, of its `own`th thing; past all numbers where it has none.
    #[inline]
    pub(crate) fn nth(&self, own: u64) -> u64 {
        if self.is_all() {
            return own;
        }
        if self.own == 0 {
            return u64::MAX;
        }
        let round = (own / self.own).saturating_mul(self.users);
        round.saturating_add(self.slice.first + self.slice.step * (own % self.own))
    }

    fn is_all(&self) -> bool {
        self.own == self.users
    }

    /// Which part of all it is.
    pub(crate) fn part(&self) -> f64 {
        self.own as f64 / self.users as f64
    }
}

/// The things of a [`Deal`] in order.
#[derive(Clone, Debug)]
pub(crate) struct Dealt {
    deal: Deal,
    /// How many things came before this round of all users, and which of its own users is next.
    round: u64,
    turn: u64,
}

impl Dealt {
    pub(crate) fn new(deal: Deal) -> Self {
        Self {
            deal,
            round: 0,
            turn: 0,
        }
    }

    /// The number of the next one, where there is any.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        let slice = self.deal.slice;
        (self.turn < self.deal.own).then(|| self.round + slice.first + slice.step * self.turn)
    }

    /// The next one is done with.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.turn += 1;
        if self.turn >= self.deal.own && self.deal.own > 0 {
            self.turn = 0;
            self.round += self.deal.users;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every shard of a run whose segments have so many each.
    pub(in crate::schedule) fn slices(shards: &[u32]) -> Vec<Slice> {
        let of = shards.len() as u32;
        let segments = shards.iter().zip(0..);
        segments
            .flat_map(|(count, index)| {
                let segment = Slice::of(Some(Segment { index, of }));
                (0..*count).map(move |shard| segment.shard(shard, *count))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn every_user_and_every_thing_belongs_to_one_shard_of_one_segment(
            shards in proptest::collection::vec(1_u32..65, 1..40),
            users in 1_u32..3_000,
            things in 0_u64..5_000,
        ) {
            let slices = slices(&shards);
            let mut seen = vec![0; users as usize];
            let mut dealt = vec![0; things as usize];
            for slice in &slices {
                let own = slice.share(users);
                for user in 0..own {
                    seen[slice.user(user) as usize] += 1;
                }
                prop_assert!(slice.user(own) >= u64::from(users));
                let deal = Deal::new(*slice, users);
                prop_assert_eq!(deal.is_empty(), own == 0, "who has users has things, and nobody else");
                let mut one_by_one = Dealt::new(deal);
                for own in 0..deal.below(things) {
                    prop_assert_eq!(one_by_one.next(), Some(deal.nth(own)));
                    one_by_one.advance();
                    dealt[deal.nth(own) as usize] += 1;
                }
                prop_assert!(one_by_one.next().is_none_or(|next| next >= things));
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
            prop_assert!(dealt.iter().all(|times| *times == 1));
            let mut numbers: Vec<u64> = slices.iter().map(|slice| slice.number()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), slices.len());
        }

        #[test]
        fn parts_differ_by_one_at_most_between_segments_and_within_each(
            of in 1_u32..1_001,
            count in 1_u32..65,
            total in 0_u32..100_000,
        ) {
            let segment = |index| Slice::of(Some(Segment { index, of }));
            let parts: Vec<u32> = (0..of).map(|index| segment(index).share(total)).collect();
            prop_assert_eq!(parts.iter().sum::<u32>(), total);
            prop_assert!(parts.is_sorted_by(|a, b| a >= b) && parts[0] - parts[parts.len() - 1] <= 1);
            let within: Vec<u32> = (0..count).map(|shard| segment(of - 1).shard(shard, count).share(total)).collect();
            prop_assert_eq!(within.iter().sum::<u32>(), parts[parts.len() - 1]);
            prop_assert!(within[0] - within[within.len() - 1] <= 1);
        }
    }
}
