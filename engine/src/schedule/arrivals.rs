//! One shard's arrivals of an open model, in order.

use loadr_config::Arrival;

use super::rate::RateCurve;
use super::slice::{Deal, Dealt};
use crate::shard::Rng;

/// Those arrivals of the one global schedule that a [`Deal`] has.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    curve: RateCurve,
    spacing: Spacing,
    /// Their numbers.
    dealt: Dealt,
    due_ns: Option<u64>,
}

#[derive(Clone, Debug)]
enum Spacing {
    /// Arrival `k` is due when `k` have been.
    Uniform,
    /// A Poisson process of rate 1 whose time is the number of arrivals due by the curve. Every shard draws all gaps, at
    /// about 10 ns each, so that the schedule does not depend on how many shards there are.
    Poisson {
        rng: Rng,
        /// Gaps drawn, and their sum.
        drawn: u64,
        at: f64,
    },
}

impl Arrivals {
    /// The same seed gives the same global schedule, whoever it is dealt to.
    pub(crate) fn new(curve: RateCurve, arrival: Arrival, seed: u64, deal: Deal) -> Self {
        let spacing = match arrival {
            Arrival::Uniform => Spacing::Uniform,
            Arrival::Poisson => Spacing::Poisson {
                rng: Rng::new(seed),
                drawn: 0,
                at: 0.0,
            },
        };
        let mut arrivals = Self {
            curve,
            spacing,
            dealt: Dealt::new(deal),
            due_ns: None,
        };
        arrivals.due_ns = arrivals.find();
        arrivals
    }

    /// When the next one is due; `None` when there is none any more.
    #[inline]
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    /// The next one is done with.
    pub(crate) fn advance(&mut self) {
        self.dealt.advance();
        self.due_ns = self.find();
    }

    /// See [`RateCurve::set_from`]: what was due before `at_ns` stays so, the next one may come earlier or later.
    pub(crate) fn set_from(&mut self, at_ns: u64, rate: f64) {
        self.curve.set_from(at_ns, rate);
        self.due_ns = self.find();
    }

    /// None is due any more.
    pub(crate) fn end(&mut self) {
        self.due_ns = None;
    }

    fn find(&mut self) -> Option<u64> {
        let next = self.dealt.next()?;
        match &mut self.spacing {
            Spacing::Uniform => self.curve.due_ns(next as f64),
            Spacing::Poisson { rng, drawn, at } => {
                while *drawn <= next && *at < self.curve.total() {
                    // From just above 0 to 1, so that the logarithm is finite.
                    *at -= (1.0 - rng.unit()).ln();
                    *drawn += 1;
                }
                self.curve.due_ns(*at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loadr_config::RateStage;
    use proptest::prelude::*;

    use super::super::slice::Slice;
    use super::super::slice::tests::slices;
    use super::*;

    /// Of a run of one shard.
    fn alone() -> Deal {
        Deal::new(Slice::of(None), 1)
    }

    pub(super) fn all(mut arrivals: Arrivals) -> Vec<u64> {
        let mut dues = Vec::new();
        while let Some(due_ns) = arrivals.due_ns() {
            dues.push(due_ns);
            arrivals.advance();
        }
        dues
    }

    fn curve(start: f64, stages: &[(u64, f64)]) -> RateCurve {
        let stages: Vec<RateStage> = stages
            .iter()
            .map(|&(ms, target)| RateStage {
                duration: Duration::from_millis(ms),
                target,
            })
            .collect();
        RateCurve::new(start, &stages)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_union_over_shards_is_the_one_schedule(
            start in 0.0..2_000.0,
            stages in proptest::collection::vec((0_u64..3_000, prop_oneof![Just(0.0), 0.0..2_000.0]), 1..6),
            shards in proptest::collection::vec(1_u32..5, 1..6),
            users in 1_u32..60,
            poisson in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Uniform };
            let curve = curve(start, &stages);
            let whole = all(Arrivals::new(curve.clone(), arrival, seed, alone()));
            prop_assert!(whole.is_sorted());
            prop_assert!(whole.last().is_none_or(|last| *last <= curve.end_ns()));
            if !poisson {
                prop_assert_eq!(whole.len() as f64, curve.total().ceil());
            }
            let mut union = vec![None; whole.len()];
            for slice in slices(&shards) {
                let deal = Deal::new(slice, users);
                let part = all(Arrivals::new(curve.clone(), arrival, seed, deal));
                prop_assert_eq!(part.len() as u64, deal.below(whole.len() as u64));
                for (due_ns, own) in part.into_iter().zip(0..) {
                    union[deal.nth(own) as usize] = Some(due_ns);
                }
            }
            let union: Option<Vec<u64>> = union.into_iter().collect();
            prop_assert_eq!(union, Some(whole));
        }
    }

    #[test]
    fn poisson_gaps_are_exponential_with_the_rate_as_mean() {
        let dues = all(Arrivals::new(
            curve(1_000.0, &[(100_000, 1_000.0)]),
            Arrival::Poisson,
            42,
            alone(),
        ));
        // Within four standard deviations (316) of 100,000.
        assert!((98_735..101_265).contains(&dues.len()), "{}", dues.len());
        let gaps: Vec<f64> = dues
            .windows(2)
            .map(|w| (w[1] - w[0]) as f64 / 1e6)
            .collect();
        let share = |above_ms: f64| {
            gaps.iter().filter(|gap| **gap > above_ms).count() as f64 / gaps.len() as f64
        };
        // P(gap > t) is e^-t, in units of the mean gap of 1 ms.
        for t in [0.5_f64, 1.0, 2.0] {
            let off = share(t) - (-t).exp();
            assert!(off.abs() < 0.01, "{t}: {off}");
        }
        let other = all(Arrivals::new(
            curve(1_000.0, &[(1_000, 1_000.0)]),
            Arrival::Poisson,
            43,
            alone(),
        ));
        assert_ne!(
            other[..100],
            dues[..100],
            "another seed is another schedule"
        );
    }
}
