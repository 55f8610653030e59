//! The `capacity` block, and what a probe leaves of a plan.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use loadr_config::{Arrival, Executor, Options, ProbeLoad};
use support::{errors, good, options};

const SCENARIOS: &str = "\
scenarios:
  buy: { executor: constant-vus, vus: 3, duration: 9s, pacing: { iterations_per_second: 5 }, start_time: 7s, tags: { team: a }, flow: [ { request: { url: 'http://h/a' } } ] }
  look: { executor: constant-arrival-rate, rate: 3, duration: 9s, pre_allocated_vus: 5, max_vus: 5000, arrival: poisson, flow: [ { request: { url: 'http://h/b' } } ] }
thresholds: { http_req_failed: [ { threshold: 'rate<0.5', abort_on_fail: true } ] }
";

#[test]
fn the_block_says_what_the_flags_say() {
    let block = "capacity: { slo: ['p(99)<50ms', 'http_req_failed<0.01'], min_rate: 90/m, max_rate: 5000, precision: 5%, \
                 step_duration: 5s, confirm: 30, target: 1500/s, growth: 0.03, scenario: buy }\n";
    let capacity = good(&format!("{block}{SCENARIOS}")).capacity.unwrap();
    assert_eq!(capacity.slos.len(), 2);
    assert_eq!(capacity.slos[0].text, "http_req_response: p(99)<50ms");
    assert_eq!(
        (capacity.min_rate, capacity.max_rate),
        (Some(1.5), Some(5000.0))
    );
    assert_eq!(
        (capacity.precision, capacity.growth),
        (Some(0.05), Some(0.03))
    );
    assert_eq!(capacity.step_duration, Some(Duration::from_secs(5)));
    assert_eq!(capacity.confirm, Some(Duration::from_secs(30)));
    assert_eq!(
        (capacity.target, capacity.scenario.as_deref()),
        (Some(1500.0), Some("buy"))
    );
    let one = good(&format!("capacity: {{ slo: 'med<2ms' }}\n{SCENARIOS}"));
    assert_eq!(one.capacity.unwrap().slos[0].bound, Some((2.0, 50.0)));
    assert_eq!(good(SCENARIOS).capacity, None);
}

#[test]
fn mistakes_are_where_they_are_with_what_was_meant() {
    for (block, wanted) in [
        (
            "{ slos: ['p(99)<1s'] }",
            "1:13: capacity.slos: unknown key `slos`; did you mean `slo`?",
        ),
        (
            "{ slo: ['p(99)<1s', 'p(99)>2s'] }",
            "1:31: capacity.slo[1]:",
        ),
        ("{ slo: 'avg<1s' }", "a mean hides how many wait"),
        (
            "{ slo: 'p(99)<1s', min_rate: 9/d }",
            "1:40: capacity.min_rate:",
        ),
        (
            "{ slo: 'p(99)<1s', min_rate: 9, max_rate: 5 }",
            "`max_rate` is below `min_rate`",
        ),
        ("{ slo: 'p(99)<1s', precision: 70% }", "capacity.precision:"),
        ("{ slo: 'p(99)<1s', confirm: 1500ms }", "whole seconds"),
        (
            "{ slo: 'p(99)<1s', scenario: bui }",
            "there is no scenario `bui`",
        ),
        ("[]", "capacity"),
    ] {
        let found = errors(&format!("capacity: {block}\n{SCENARIOS}"));
        let parts: Vec<&str> = wanted.split("; ").collect();
        assert!(
            found.iter().any(|error| parts
                .iter()
                .all(|part| error.contains(part.trim_end_matches('?')))),
            "{block}: {found:#?}"
        );
    }
}

#[test]
fn a_probe_leaves_one_flow_at_a_rate_and_nothing_that_ends_it_early_or_holds_it_back() {
    let probe = |scenario: &str, max_vus| {
        let options = Options {
            probe: Some(ProbeLoad {
                scenario: scenario.to_owned(),
                rate: 12.5,
                duration: Duration::from_secs(3),
                max_vus,
                drain: Duration::from_secs(10),
            }),
            ..options()
        };
        let text = format!("capacity: {{ slo: 'p(99)<1s', scenario: buy }}\n{SCENARIOS}");
        loadr_config::compile(&text, Path::new("plan.yaml"), &options).unwrap()
    };
    let buy = probe("buy", 70).program;
    assert_eq!(
        (
            buy.scenarios.len(),
            buy.requests.len(),
            buy.thresholds.len()
        ),
        (1, 1, 0)
    );
    let scenario = &buy.scenarios[0];
    assert_eq!(
        (scenario.pacing, scenario.start_time),
        (None, Duration::ZERO)
    );
    assert_eq!(scenario.graceful_stop, Duration::from_secs(10));
    assert_eq!(scenario.tags, [("team".to_owned(), "a".to_owned())]);
    let Executor::ArrivalRate {
        start_rate,
        stages,
        arrival,
        max_vus,
        ..
    } = &scenario.executor
    else {
        panic!("{:?}", scenario.executor);
    };
    assert!((start_rate - 12.5).abs() < 1e-12);
    assert_eq!(
        (stages[0].duration, *max_vus, *arrival),
        (Duration::from_secs(3), 70, Arrival::Uniform)
    );
    // What the plan allows and how its arrivals come is kept.
    let look = probe("look", 70);
    assert!(matches!(
        look.program.scenarios[0].executor,
        Executor::ArrivalRate {
            arrival: Arrival::Poisson,
            max_vus: 5000,
            ..
        }
    ));
    assert!(look.warnings.is_empty(), "{:?}", look.warnings);
}
