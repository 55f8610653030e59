//! Handovers in any order, of shards that are on time or late: what is shown of them comes to what was measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;

use loadr_config::{Options, RequestId, ScenarioId};
use proptest::prelude::*;

use super::*;
use crate::metrics::{Sample, Values};

pub(crate) const PLAN: &str = "
scenarios:
  s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/' } }, { request: { url: 'http://h/b' } } ] }
";

/// What a shard does between two handovers: how long it is, and the durations of the requests it finishes.
pub(crate) type Piece = (u64, Vec<u64>);

/// By series: how many values and their sum.
pub(crate) type Sums = BTreeMap<String, (u64, u128)>;

pub(crate) fn add(sums: &mut Sums, series: &Series<'_>) {
    let (count, sum) = match series.values {
        Values::Counter(n) => (n, 0),
        Values::Rate { passes, count } => (count, u128::from(passes)),
        Values::Trend(trend) => (trend.count(), trend.sum_ns()),
        Values::Gauge { .. } => return,
    };
    let key = format!("{} {:?}", series.metric, series.tags);
    let mine = sums.entry(key).or_default();
    *mine = (mine.0 + count, mine.1 + sum);
}

/// Shards hand over as the driver does: when a second of the run is full, as late as they come to it, and at the end.
pub(crate) fn handovers(program: &Program, shard: u32, pieces: &[Piece]) -> Vec<Handover> {
    let mut out = Vec::new();
    let mut now_ns = 0;
    for (i, (wall_ns, requests)) in pieces.iter().enumerate() {
        let is_last = i + 1 == pieces.len();
        // Not before the next full second, but for the last one.
        let due_ns = (now_ns / 1_000_000_000 + 1) * 1_000_000_000;
        let end_ns = if is_last {
            now_ns + wall_ns
        } else {
            due_ns + wall_ns % 1_500_000_000
        };
        let mut record = Box::new(Record::new(program));
        for ns in requests {
            let sample = Sample {
                status: if ns % 7 == 0 { 500 } else { 200 },
                was_sent: true,
                waiting: *ns,
                ..Sample::default()
            };
            record.request(RequestId((ns % 2) as u32), &sample);
            record.iteration(ScenarioId(0), *ns);
            record.lag.record(ns / 3);
        }
        out.push(Handover {
            shard,
            second: (end_ns / 1_000_000_000) as u32 + u32::from(is_last),
            record,
            vus: 1,
            cpu_ns: 0,
            wall_ns: end_ns - now_ns,
            ended_ns: is_last.then_some(end_ns),
        });
        now_ns = end_ns;
    }
    out
}

proptest! {
    /// The law that outputs stand on.
    #[test]
    fn moments_and_the_rest_add_up_to_the_totals(
        shards in proptest::collection::vec(
            proptest::collection::vec(
                (0..2_000_000_000u64, proptest::collection::vec(1..10_000_000_000u64, 0..5)),
                1..6,
            ),
            1..4,
        ),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let options = Options::default();
        let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options).unwrap().program;
        let program = Arc::new(program);
        let mut queues: Vec<_> = shards
            .iter()
            .zip(0..)
            .map(|(pieces, shard)| handovers(&program, shard, pieces).into_iter())
            .collect();
        // Each shard's in order, the shards' among each other in any.
        let (sender, inbox) = channel();
        for pick in order {
            let at = pick.index(queues.len());
            if let Some(handover) = queues[at].next() {
                sender.send(handover).unwrap();
            }
        }
        for handover in queues.into_iter().flatten() {
            sender.send(handover).unwrap();
        }
        drop(sender);
        let empties: Vec<_> = shards.iter().map(|_| channel().0).collect();
        let mut aggregate = Aggregate::new(Arc::clone(&program), Slice::of(None), shards.len(), 0);
        let (mut sums, mut moments) = (Sums::new(), 0);
        aggregate.collect(&inbox, &empties, &Control::new(1), |moment| {
            moments += 1;
            moment.for_each_of_second(|series| add(&mut sums, series));
        });
        if let Some(rest) = aggregate.rest() {
            rest.for_each_of_second(|series| add(&mut sums, series));
        }
        let mut totals = Sums::new();
        aggregate.for_each_series(|series| add(&mut totals, series));
        prop_assert_eq!(sums, totals);
        prop_assert_eq!(moments, aggregate.timeline.len());
        let ends: Vec<f64> = aggregate.timeline.iter().map(|p| p.elapsed_secs).collect();
        prop_assert!(ends.is_sorted(), "{:?}", ends);
    }
}

#[test]
fn the_rate_of_every_point_is_that_of_the_shards_also_when_one_or_all_were_held_up() {
    let options = Options::default();
    let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options)
        .unwrap()
        .program;
    let program = Arc::new(program);
    // Each makes a request in 10 ms, and hands over then (in ms).
    let even: &[u64] = &[1000, 2000, 3000, 4000, 5000, 6000];
    let cases: [[&[u64]; 2]; 4] = [
        [even, even],
        [even, &[1000, 4200, 5000, 6000]],
        // SIGSTOP between the handovers of the second second.
        [&[1000, 2000, 5200, 6000], &[1000, 5200, 6000]],
        [even, &[1000, 2900, 3010, 4990, 5000, 6000]],
    ];
    for shards in cases {
        let (sender, inbox) = channel();
        let mut all: Vec<(u64, u32, u64, bool)> = Vec::new();
        for (shard, ends) in (0..).zip(shards) {
            let begins = [0].into_iter().chain(ends.iter().copied());
            let last = ends.len() - 1;
            all.extend(
                begins
                    .zip(ends)
                    .enumerate()
                    .map(|(i, (begin, end))| (*end, shard, end - begin, i == last)),
            );
        }
        all.sort_unstable();
        for (end_ms, shard, wall_ms, is_last) in all {
            let mut record = Box::new(Record::new(&program));
            for _ in 0..wall_ms / 10 {
                record.request(
                    RequestId(0),
                    &Sample {
                        status: 200,
                        was_sent: true,
                        ..Sample::default()
                    },
                );
            }
            let handover = Handover {
                shard,
                second: (end_ms / 1000) as u32 + u32::from(is_last),
                record,
                vus: 1,
                cpu_ns: 0,
                wall_ns: wall_ms * 1_000_000,
                ended_ns: is_last.then_some(end_ms * 1_000_000),
            };
            sender.send(handover).unwrap();
        }
        drop(sender);
        let empties: Vec<_> = (0..2).map(|_| channel().0).collect();
        let mut aggregate = Aggregate::new(Arc::clone(&program), Slice::of(None), 2, 0);
        aggregate.collect(&inbox, &empties, &Control::new(1), |_| ());
        let rates: Vec<f64> = aggregate
            .timeline
            .iter()
            .map(|p| p.requests_per_sec)
            .collect();
        assert!(
            rates.iter().all(|rate| (rate - 200.0).abs() < 2.0),
            "{shards:?}: {rates:?}"
        );
        assert!(rates.len() >= 3);
    }
}

#[test]
fn a_short_last_piece_makes_no_point_and_is_not_lost() {
    let options = Options::default();
    let program = loadr_config::compile(PLAN, Path::new("plan.yaml"), &options)
        .unwrap()
        .program;
    let program = Arc::new(program);
    let (sender, inbox) = channel();
    for handover in handovers(&program, 0, &[(0, vec![5, 6]), (50_000_000, vec![7])]) {
        sender.send(handover).unwrap();
    }
    drop(sender);
    let mut aggregate = Aggregate::new(program, Slice::of(None), 1, 0);
    aggregate.collect(&inbox, &[channel().0], &Control::new(1), |_| {});
    assert_eq!(aggregate.timeline.len(), 1);
    let rest = aggregate.rest().expect("a piece is left");
    assert_eq!(rest.second.requests_count(), 1);
    assert_eq!(rest.progress().requests_total, 3);
}
