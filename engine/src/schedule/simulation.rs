//! Whole schedules on a simulated clock: random plans over random numbers of shards, with users that take random times.
//! What must hold for every run is checked for each.

mod plans;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use loadr_config::{Arrival, RateStage, UserStage};
use proptest::prelude::*;

use super::slice::tests::slices;
use super::{
    Arrivals, Deal, Lease, Leased, PlanClock, Pool, RateCurve, Seat, Slice, UserCurve, UserSteps,
    nanos,
};
use crate::segment::Segment;
use crate::shard::Rng;

/// What a run did, over all shards.
#[derive(Debug, Default)]
struct Tally {
    /// What the target saw begin.
    started: u64,
    finished: u64,
    cancelled: u64,
    dropped: u64,
    /// The most users busy at once, added up over the shards.
    busy_max: u32,
}

/// One shard of an open model. Each order (when, and the rate from then on) is obeyed in its turn.
fn open_shard(
    mut arrivals: Arrivals,
    orders: &[(u64, f64)],
    most: u32,
    cancel_ns: u64,
    mut service_ns: impl FnMut() -> u64,
    tally: &mut Tally,
) {
    let mut pool = Pool::new(most);
    let mut ends: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    let mut busy_max = 0;
    let mut orders = orders.iter().peekable();
    loop {
        let due_ns = arrivals.due_ns().unwrap_or(u64::MAX);
        if let Some((at_ns, rate)) = orders.next_if(|order| order.0 <= due_ns) {
            arrivals.set_from(*at_ns, *rate);
            continue;
        }
        if due_ns == u64::MAX {
            break;
        }
        arrivals.advance();
        while let Some(&Reverse((end_ns, user))) = ends.peek().filter(|e| e.0.0 <= due_ns) {
            ends.pop();
            pool.rest(user);
            tally.finished += 1;
            assert!(end_ns <= due_ns);
        }
        match pool.take() {
            Seat::Nobody => tally.dropped += 1,
            Seat::Idle(user) | Seat::New(user) => {
                tally.started += 1;
                ends.push(Reverse((due_ns + service_ns(), user)));
            }
        }
        assert_eq!(pool.busy() as usize, ends.len());
        busy_max = busy_max.max(pool.busy());
    }
    assert!(busy_max <= most, "{busy_max} of {most}");
    tally.busy_max += busy_max;
    for Reverse((end_ns, _)) in ends {
        if end_ns <= cancel_ns {
            tally.finished += 1;
        } else {
            tally.cancelled += 1;
        }
    }
}

/// One shard of a fixed number of users; each begins its next iteration as the last one ends, if `take` has one for it.
fn closed_shard(
    users: u32,
    mut take: impl FnMut(u32) -> bool,
    (end_ns, cancel_ns): (u64, u64),
    mut service_ns: impl FnMut() -> u64,
    tally: &mut Tally,
) {
    let mut free: BinaryHeap<Reverse<(u64, u32)>> = (0..users).map(|u| Reverse((0, u))).collect();
    let mut busy = BinaryHeap::new();
    let mut busy_max = 0;
    while let Some(Reverse((now_ns, user))) = free.pop() {
        while busy
            .peek()
            .is_some_and(|end: &Reverse<u64>| end.0 <= now_ns)
        {
            busy.pop();
        }
        if now_ns >= end_ns || !take(user) {
            continue;
        }
        tally.started += 1;
        let ended_ns = now_ns + service_ns().max(1);
        busy.push(Reverse(ended_ns));
        busy_max = busy_max.max(busy.len() as u32);
        if ended_ns <= cancel_ns {
            tally.finished += 1;
            free.push(Reverse((ended_ns, user)));
        } else {
            tally.cancelled += 1;
        }
    }
    tally.busy_max += busy_max;
}

/// One shard of users that follow a ramp; each begins its next iteration as the last one ends.
fn ramp_shard(
    curve: UserCurve,
    slice: Slice,
    graceful_ns: u64,
    mut service_ns: impl FnMut() -> u64,
    tally: &mut Tally,
) {
    let end_ns = curve.end_ns();
    let (mut wanted, mut steps) = UserSteps::new(curve, slice);
    // By user: when its iteration ends, and since when it is not wanted.
    let mut ends: Vec<Option<u64>> = Vec::new();
    let mut away: Vec<u64> = Vec::new();
    let (mut now_ns, mut busy_max) = (0, 0);
    loop {
        for user in 0..ends.len() {
            let is_late =
                ends[user].is_some_and(|end| end > away[user].saturating_add(graceful_ns));
            let stop_ns = if is_late {
                away[user].saturating_add(graceful_ns)
            } else {
                u64::MAX
            };
            match ends[user] {
                Some(end) if end <= now_ns.min(stop_ns) => {
                    tally.finished += 1;
                    ends[user] = None;
                }
                Some(_) if stop_ns <= now_ns => {
                    tally.cancelled += 1;
                    ends[user] = None;
                }
                _ => {}
            }
        }
        for user in 0..wanted as usize {
            if ends.len() <= user {
                ends.push(None);
                away.push(u64::MAX);
            }
            if ends[user].is_none() && now_ns < end_ns {
                tally.started += 1;
                ends[user] = Some(now_ns + service_ns().max(1));
            }
        }
        let busy = ends.iter().flatten().count() as u32;
        busy_max = busy_max.max(busy);
        let leaving =
            |user: usize| ends[user].map(|end| end.min(away[user].saturating_add(graceful_ns)));
        let next_end = (0..ends.len()).filter_map(leaving).min();
        let next_step = steps.next().map(|step| step.0);
        let Some(next_ns) = next_end.into_iter().chain(next_step).min() else {
            break;
        };
        now_ns = next_ns.max(now_ns);
        while let Some((_, part)) = steps.next().filter(|step| step.0 <= now_ns) {
            steps.advance();
            for user in part..wanted.min(away.len() as u32) {
                away[user as usize] = now_ns;
            }
            for user in wanted..part.min(away.len() as u32) {
                away[user as usize] = u64::MAX;
            }
            wanted = part;
        }
    }
    tally.busy_max += busy_max;
}

/// Of a run of one shard.
fn alone(users: u32) -> Deal {
    Deal::new(Slice::of(None), users)
}

/// Shards of each segment of a run.
fn any_shards() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1_u32..6, 1..6)
}

/// One shard's arrivals, which obeys each order (when, and the rate from then on) in its turn.
fn steered_dues(mut arrivals: Arrivals, orders: &[(u64, f64)]) -> Vec<u64> {
    let mut orders = orders.iter().peekable();
    let mut dues = Vec::new();
    loop {
        let due_ns = arrivals.due_ns().unwrap_or(u64::MAX);
        match orders.next_if(|order| order.0 <= due_ns) {
            Some((at_ns, rate)) => arrivals.set_from(*at_ns, *rate),
            None if due_ns == u64::MAX => return dues,
            None => {
                dues.push(due_ns);
                arrivals.advance();
            }
        }
    }
}

fn service(seed: u64, index: u64, most_ns: u64) -> impl FnMut() -> u64 {
    let mut rng = Rng::new(seed.wrapping_add(index << 32));
    move || rng.below(most_ns + 1)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_arrival_is_started_or_dropped_and_every_start_finished_or_cancelled(
        start in 0.0..500.0,
        stages in proptest::collection::vec((0_u64..4_000, prop_oneof![Just(0.0), 0.0..500.0]), 1..6),
        shards in any_shards(),
        max_vus in 1_u32..60,
        poisson in any::<bool>(),
        seed in any::<u64>(),
        service_ms in 0_u64..1_000,
        graceful_ms in 0_u64..500,
    ) {
        let arrival = if poisson { Arrival::Poisson } else { Arrival::Uniform };
        let stages: Vec<RateStage> = stages
            .iter()
            .map(|&(length, target)| RateStage { duration: ms(length), target })
            .collect();
        let curve = RateCurve::new(start, &stages);
        let mut whole = Arrivals::new(curve.clone(), arrival, seed, alone(max_vus));
        let mut planned = 0;
        while whole.due_ns().is_some() {
            whole.advance();
            planned += 1;
        }
        let mut tally = Tally::default();
        for slice in slices(&shards) {
            let deal = Deal::new(slice, max_vus);
            let (most, index) = (slice.share(max_vus), slice.number());
            prop_assert_eq!(most == 0, deal.is_empty(), "a shard with arrivals has users");
            let arrivals = Arrivals::new(curve.clone(), arrival, seed, deal);
            let cancel_ns = curve.end_ns() + nanos(ms(graceful_ms));
            open_shard(arrivals, &[], most, cancel_ns, service(seed, index, service_ms * 1_000_000), &mut tally);
        }
        prop_assert_eq!(tally.started + tally.dropped, planned);
        prop_assert_eq!(tally.finished, tally.started - tally.cancelled);
        prop_assert!(tally.busy_max <= max_vus);
    }

    #[test]
    fn ramping_users_are_never_more_than_allowed_and_no_iteration_is_lost(
        start in 0_u32..20,
        stages in proptest::collection::vec((0_u64..3_000, 0_u32..40), 1..6),
        shards in any_shards(),
        seed in any::<u64>(),
        service_ms in 1_u64..500,
        graceful_ms in 0_u64..500,
    ) {
        let stages: Vec<UserStage> = stages
            .iter()
            .map(|&(length, target)| UserStage { duration: ms(length), target })
            .collect();
        let most = stages.iter().map(|s| s.target).fold(start, u32::max);
        let mut tally = Tally::default();
        for slice in slices(&shards) {
            let curve = UserCurve::new(start, &stages);
            let service_ns = service(seed, slice.number(), service_ms * 1_000_000);
            ramp_shard(curve, slice, nanos(ms(graceful_ms)), service_ns, &mut tally);
        }
        prop_assert_eq!(tally.finished, tally.started - tally.cancelled);
        prop_assert!(tally.busy_max <= most, "{} of {}", tally.busy_max, most);
    }

    #[test]
    fn a_schedule_that_is_steered_and_paused_is_one_schedule_for_any_number_of_shards(
        start in 0.0..500.0,
        stages in proptest::collection::vec((0_u64..4_000, prop_oneof![Just(0.0), 0.0..500.0]), 1..6),
        // Rates and when they are asked for; pauses: after how long, and for how long.
        orders in proptest::collection::vec((0_u64..6_000, prop_oneof![Just(0.0), 0.0..800.0]), 0..8),
        pauses in proptest::collection::vec((0_u64..3_000, 1_u64..5_000), 0..5),
        shards in any_shards(),
        users in 1_u32..60,
        poisson in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let arrival = if poisson { Arrival::Poisson } else { Arrival::Uniform };
        let stages: Vec<RateStage> = stages
            .iter()
            .map(|&(length, target)| RateStage { duration: ms(length), target })
            .collect();
        let mut orders: Vec<(u64, f64)> = orders.iter().map(|&(at, rate)| (nanos(ms(at)), rate)).collect();
        orders.sort_by_key(|order| order.0);
        let curve = RateCurve::new(start, &stages);
        let steered = |deal| steered_dues(Arrivals::new(curve.clone(), arrival, seed, deal), &orders);
        let whole = steered(alone(users));
        prop_assert!(whole.is_sorted());
        prop_assert!(whole.last().is_none_or(|last| *last <= curve.end_ns()));
        let mut union = vec![None; whole.len()];
        for slice in slices(&shards) {
            let deal = Deal::new(slice, users);
            for (due_ns, own) in steered(deal).into_iter().zip(0..) {
                union[deal.nth(own) as usize] = Some(due_ns);
            }
        }
        let union: Option<Vec<u64>> = union.into_iter().collect();
        prop_assert_eq!(union.as_ref(), Some(&whole));

        // With pauses nothing is lost and nothing is due in one; what was due is due as much later as they were long.
        let mut clock = PlanClock::new();
        let (mut now_ns, mut done, mut late_ns) = (0, 0, 0);
        for (after_ms, for_ms) in pauses {
            now_ns += nanos(ms(after_ms));
            clock.hold(now_ns);
            while let Some(plan_ns) = whole.get(done).filter(|plan_ns| clock.due_ns(**plan_ns) < now_ns) {
                prop_assert_eq!(clock.due_ns(*plan_ns), plan_ns + late_ns);
                done += 1;
            }
            prop_assert!(whole[done..].iter().all(|plan_ns| clock.due_ns(*plan_ns) == u64::MAX));
            now_ns += nanos(ms(for_ms));
            late_ns += nanos(ms(for_ms));
            clock.go(now_ns);
        }
        for plan_ns in &whole[done..] {
            prop_assert_eq!(clock.due_ns(*plan_ns), plan_ns + late_ns);
            prop_assert!(clock.due_ns(*plan_ns) >= now_ns);
        }
    }

    #[test]
    fn a_rate_that_is_asked_for_holds_from_its_moment_on(
        before in 0.0..1_000.0,
        after in 0.0..1_000.0,
        at_ms in 1_u64..9_999,
    ) {
        let stage = RateStage { duration: ms(10_000), target: before };
        let arrivals = Arrivals::new(RateCurve::new(before, &[stage]), Arrival::Uniform, 0, alone(1));
        let at_ns = nanos(ms(at_ms));
        let dues = steered_dues(arrivals, &[(at_ns, after)]);
        let count = |from_ns: u64, to_ns: u64| dues.iter().filter(|due| (from_ns..to_ns).contains(due)).count() as f64;
        let (first_secs, rest_secs) = (at_ms as f64 / 1e3, 10.0 - at_ms as f64 / 1e3);
        prop_assert!((count(0, at_ns) - before * first_secs).abs() <= 1.0 + 1e-6);
        prop_assert!((count(at_ns, u64::MAX) - after * rest_secs).abs() <= 1.0 + 1e-6);
        prop_assert!((dues.len() as f64 - (before * first_secs + after * rest_secs)).abs() <= 1.0 + 1e-6);
    }

    #[test]
    fn shared_iterations_are_exactly_as_many_as_the_plan_says(
        total in 1_u64..3_000,
        users in 1_u32..40,
        shards in any_shards(),
        seed in any::<u64>(),
    ) {
        let of = shards.len() as u32;
        let mut done = 0;
        for (count, index) in shards.into_iter().zip(0..) {
            let segment = Slice::of(Some(Segment { index, of }));
            let deal = Deal::new(segment, users);
            let own = deal.below(total);
            prop_assert!(own == 0 || segment.share(users) > 0, "who has iterations has users for them");
            // The same share for every user, but for one.
            prop_assert!(own <= u64::from(segment.share(users)) * total.div_ceil(users.into()));
            let lease = Lease::new(own, count);
            // Every user of every shard, in the order in which they become free.
            let mut free = BinaryHeap::new();
            let mut leased: Vec<Leased> = (0..count).map(|_| Leased::new(std::sync::Arc::clone(&lease))).collect();
            for user in 0..segment.share(users) {
                free.push(Reverse((0_u64, user)));
            }
            let mut service_ns = service(seed, index.into(), 1_000_000);
            while let Some(Reverse((at_ns, user))) = free.pop() {
                if leased[(user % count) as usize].take() {
                    done += 1;
                    free.push(Reverse((at_ns + service_ns(), user)));
                }
            }
        }
        prop_assert_eq!(done, total);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn up_to_a_thousand_segments_make_between_them_what_one_shard_makes_alone(
        start in 0.0..100.0,
        stages in proptest::collection::vec((0_u64..3_000, 0.0..100.0, 0_u32..300), 1..5),
        poisson in any::<bool>(),
        of in 1_u32..1_001,
        most_shards in 1_u32..65,
        users in 1_u32..1_500,
        seed in any::<u64>(),
    ) {
        // Machines of different sizes.
        let mut rng = Rng::new(seed);
        let shards: Vec<u32> = (0..of).map(|_| 1 + rng.below(most_shards.into()) as u32).collect();
        let slices = slices(&shards);

        let arrival = if poisson { Arrival::Poisson } else { Arrival::Uniform };
        let rates = |&(length, target, _): &(u64, f64, u32)| RateStage { duration: ms(length), target };
        let curve = RateCurve::new(start, &stages.iter().map(rates).collect::<Vec<_>>());
        let dues = |deal| steered_dues(Arrivals::new(curve.clone(), arrival, seed, deal), &[]);
        let whole = dues(alone(users));
        let mut union = vec![None; whole.len()];
        for deal in slices.iter().map(|slice| Deal::new(*slice, users)).filter(|deal| !deal.is_empty()) {
            for (due_ns, own) in dues(deal).into_iter().zip(0..) {
                let known = union[deal.nth(own) as usize].replace(due_ns);
                prop_assert_eq!(known, None, "an arrival is one segment's alone");
            }
        }
        prop_assert_eq!(union.into_iter().collect::<Option<Vec<u64>>>(), Some(whole));

        let targets = |&(length, _, target): &(u64, f64, u32)| UserStage { duration: ms(length), target };
        let ramp = UserCurve::new(start as u32, &stages.iter().map(targets).collect::<Vec<_>>());
        let (mut now, mut changes) = (0, Vec::new());
        for slice in slices.iter().filter(|slice| slice.user(0) < 400) {
            let (part, mut steps) = UserSteps::new(ramp.clone(), *slice);
            now += part;
            let mut before = part;
            while let Some((at_ns, part)) = steps.next() {
                changes.push((at_ns, i64::from(part) - i64::from(before)));
                before = part;
                steps.advance();
            }
        }
        prop_assert_eq!(now, start as u32);
        changes.sort_unstable();
        let mut now = i64::from(now);
        for (at, (at_ns, by)) in changes.iter().enumerate() {
            now += by;
            if changes.get(at + 1).is_none_or(|next| next.0 > *at_ns) {
                prop_assert_eq!(now, i64::from(ramp.total_at(*at_ns)));
            }
        }
    }
}

#[test]
fn an_hour_of_a_thousand_a_second_is_a_moment() {
    let stage = RateStage {
        duration: Duration::from_secs(3600),
        target: 1_000.0,
    };
    let curve = RateCurve::new(1_000.0, &[stage]);
    let mut tally = Tally::default();
    for slice in slices(&[4]) {
        let deal = Deal::new(slice, 40);
        let arrivals = Arrivals::new(curve.clone(), Arrival::Uniform, 0, deal);
        open_shard(
            arrivals,
            &[],
            10,
            curve.end_ns(),
            service(1, slice.number(), 5_000_000),
            &mut tally,
        );
    }
    assert_eq!(tally.started + tally.dropped, 3_600_000);
}
