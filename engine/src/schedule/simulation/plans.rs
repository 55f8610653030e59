//! Random plans of every executor, each run whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use loadr_config::{Arrival, RateStage, UserStage};
use proptest::prelude::*;

use super::super::slice::tests::slices;
use super::super::{Arrivals, Deal, Lease, Leased, RateCurve, Slice, UserCurve, nanos};
use super::{
    Tally, alone, any_shards, closed_shard, ms, open_shard, ramp_shard, service, steered_dues,
};
use crate::segment::Segment;

/// A scenario of any executor, of at most `most` users.
#[derive(Clone, Debug)]
enum Plan {
    ConstantVus {
        ms: u64,
    },
    PerVuIterations {
        each: u64,
    },
    SharedIterations {
        total: u64,
    },
    RampingVus {
        start: u32,
        stages: Vec<(u64, u32)>,
    },
    ArrivalRate {
        start: f64,
        stages: Vec<(u64, f64)>,
        poisson: bool,
    },
    /// Steered by rates, and by numbers of users: when, in milliseconds from the last one.
    Rates {
        orders: Vec<(u64, f64)>,
    },
    Users {
        orders: Vec<(u64, u32)>,
    },
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let length = || prop_oneof![1 => Just(0_u64), 4 => 0_u64..2_000];
    let rate = || prop_oneof![1 => Just(0.0), 4 => 0.0..300.0];
    let users = || prop_oneof![1 => Just(0_u32), 4 => 0_u32..40];
    let list = 1..6_usize;
    prop_oneof![
        (1_u64..3_000).prop_map(|ms| Plan::ConstantVus { ms }),
        (1_u64..50).prop_map(|each| Plan::PerVuIterations { each }),
        (1_u64..2_000).prop_map(|total| Plan::SharedIterations { total }),
        (
            users(),
            proptest::collection::vec((length(), users()), list.clone())
        )
            .prop_map(|(start, stages)| Plan::RampingVus { start, stages }),
        (
            rate(),
            proptest::collection::vec((length(), rate()), list.clone()),
            any::<bool>()
        )
            .prop_map(|(start, stages, poisson)| Plan::ArrivalRate {
                start,
                stages,
                poisson
            }),
        proptest::collection::vec((length(), rate()), list.clone())
            .prop_map(|orders| Plan::Rates { orders }),
        proptest::collection::vec((length(), users()), list)
            .prop_map(|orders| Plan::Users { orders }),
    ]
}

/// Runs a plan; what it did, how many iterations it is about where that is known, and how many users there may be.
fn run_plan(
    plan: &Plan,
    most: u32,
    shards: &[u32],
    seed: u64,
    (service_ns, grace_ns): (u64, u64),
) -> (Tally, Option<u64>, u32) {
    let mut tally = Tally::default();
    let service = |index| service(seed, index, service_ns);
    let closed = |tally: &mut Tally, end_ns: u64, take: &mut dyn FnMut(usize, u32) -> bool| {
        for (at, slice) in slices(shards).into_iter().enumerate() {
            let times = (end_ns, end_ns.saturating_add(grace_ns));
            closed_shard(
                slice.share(most),
                |user| take(at, user),
                times,
                service(slice.number()),
                tally,
            );
        }
    };
    let ramp = |tally: &mut Tally, start: u32, stages: &[UserStage]| {
        for slice in slices(shards) {
            let curve = UserCurve::new(start, stages);
            ramp_shard(curve, slice, grace_ns, service(slice.number()), tally);
        }
    };
    let open = |tally: &mut Tally, curve: &RateCurve, arrival, orders: &[(u64, f64)]| {
        let whole = steered_dues(
            Arrivals::new(curve.clone(), arrival, seed, alone(most)),
            orders,
        );
        for slice in slices(shards) {
            let arrivals = Arrivals::new(curve.clone(), arrival, seed, Deal::new(slice, most));
            let (users, service) = (slice.share(most), service(slice.number()));
            let cancel_ns = curve.end_ns() + grace_ns;
            open_shard(arrivals, orders, users, cancel_ns, service, tally);
        }
        whole.len() as u64
    };
    match plan {
        Plan::ConstantVus { ms: length } => {
            closed(&mut tally, nanos(ms(*length)), &mut |_, _| true);
            (tally, None, most)
        }
        Plan::PerVuIterations { each } => {
            let mut done = HashMap::new();
            closed(&mut tally, u64::MAX, &mut |index, user| {
                let done = done.entry((index, user)).or_insert(0);
                *done += 1;
                *done <= *each
            });
            (tally, Some(each * u64::from(most)), most)
        }
        Plan::SharedIterations { total } => {
            let of = shards.len() as u32;
            // By shard of all segments, in their order.
            let mut leased = Vec::new();
            for (count, index) in shards.iter().zip(0..) {
                let segment = Slice::of(Some(Segment { index, of }));
                let lease = Lease::new(Deal::new(segment, most).below(*total), *count);
                leased.extend((0..*count).map(|_| Leased::new(Arc::clone(&lease))));
            }
            // Shards run one after the other here; a block that one has taken and has no user for is not lost, because a
            // shard without users takes none.
            closed(&mut tally, u64::MAX, &mut |at, _| leased[at].take());
            (tally, Some(*total), most)
        }
        Plan::RampingVus { start, stages } => {
            let most = stages.iter().map(|s| s.1).fold(*start, u32::max);
            let stage = |&(length, target)| UserStage {
                duration: ms(length),
                target,
            };
            let stages: Vec<UserStage> = stages.iter().map(stage).collect();
            ramp(&mut tally, *start, &stages);
            (tally, None, most)
        }
        Plan::ArrivalRate {
            start,
            stages,
            poisson,
        } => {
            let stage = |&(length, target)| RateStage {
                duration: ms(length),
                target,
            };
            let stages: Vec<RateStage> = stages.iter().map(stage).collect();
            let arrival = if *poisson {
                Arrival::Poisson
            } else {
                Arrival::Uniform
            };
            let curve = RateCurve::new(*start, &stages);
            let planned = open(&mut tally, &curve, arrival, &[]);
            (tally, Some(planned), most)
        }
        Plan::Rates { orders } => {
            let mut at_ns = 0;
            let at = |&(after, rate): &(u64, f64)| {
                at_ns += nanos(ms(after));
                (at_ns, rate)
            };
            let orders: Vec<(u64, f64)> = orders.iter().map(at).collect();
            let none = RateStage {
                duration: ms(8_000),
                target: 0.0,
            };
            let curve = RateCurve::new(0.0, &[none]);
            let planned = open(&mut tally, &curve, Arrival::Uniform, &orders);
            (tally, Some(planned), most)
        }
        Plan::Users { orders } => {
            let most = orders.iter().map(|o| o.1).max().unwrap_or(0);
            let stages = |&(after, target): &(u64, u32)| {
                // As long as before, and then a jump.
                let jump = Duration::ZERO;
                (
                    ms(after),
                    UserStage {
                        duration: jump,
                        target,
                    },
                )
            };
            let mut now = 0;
            let mut steps = Vec::new();
            for (length, jump) in orders.iter().map(stages) {
                steps.push(UserStage {
                    duration: length,
                    target: now,
                });
                now = jump.target;
                steps.push(jump);
            }
            steps.push(UserStage {
                duration: ms(500),
                target: now,
            });
            ramp(&mut tally, 0, &steps);
            (tally, None, most)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_plan_of_any_executor_keeps_its_books(
        plan in any_plan(),
        most in 1_u32..40,
        shards in any_shards(),
        seed in any::<u64>(),
        service_ms in 0_u64..1_000,
        grace_ms in 0_u64..500,
    ) {
        let times = (nanos(ms(service_ms)), nanos(ms(grace_ms)));
        let (tally, planned, most) = run_plan(&plan, most, &shards, seed, times);
        prop_assert_eq!(tally.finished, tally.started - tally.cancelled);
        prop_assert!(tally.busy_max <= most, "{} of {}", tally.busy_max, most);
        if let Some(planned) = planned {
            prop_assert_eq!(tally.started + tally.dropped, planned);
        }
    }
}
