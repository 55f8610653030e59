//! What each segment makes of a load: users, iterations, rates, and the seed that all have.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::server::Server;
use super::{assert_success, count, merge, run_segments, write};

#[test]
fn a_segment_that_has_nothing_to_do_ends_and_counts_as_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios:
  loop: {{ executor: per-vu-iterations, vus: 1, iterations: 2, flow: [ {{ request: {{ url: '/loop' }} }} ] }}
  due: {{ executor: constant-arrival-rate, rate: 10, duration: 500ms, pre_allocated_vus: 1, flow: [ {{ request: {{ url: '/due' }} }} ] }}
  shared: {{ executor: shared-iterations, vus: 1, iterations: 3, flow: [ {{ request: {{ url: '/shared' }} }} ] }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let histograms = results.join("{segment}.hlog");
    let flags = ["--histograms", histograms.to_str().unwrap()];
    assert_success(&run_segments(&plan, &["1", "2", "1"], &flags, ""));
    let counts = ["loop", "shared"].map(|scenario| server.of(scenario).len());
    assert_eq!(counts, [2, 3]);
    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(count(&all, "http_reqs"), server.len() as u64);
}

#[test]
fn users_of_a_ramp_and_a_paced_scenario_are_split_and_each_is_one_of_a_kind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios:
  ramp:
    executor: ramping-vus
    start_vus: 3
    stages: [ {{ duration: 1s, target: 8 }}, {{ duration: 1s, target: 8 }} ]
    think_time: {{ type: constant, duration: 100ms }}
    flow: [ {{ request: {{ url: '/ramp/${{vu}}' }} }} ]
  paced:
    executor: constant-vus
    vus: 6
    duration: 2s
    pacing: {{ iterations_per_second: 50 }}
    flow: [ {{ request: {{ url: '/paced/${{vu}}' }} }} ]
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    assert_success(&run_segments(&plan, &["1", "2"], &[], ""));
    let users = |scenario: &str| -> BTreeSet<u32> {
        let parts = server.of(scenario).into_iter();
        parts.map(|parts| parts[0].parse().unwrap()).collect()
    };
    assert_eq!(users("ramp"), (1..=8).collect());
    assert_eq!(users("paced"), (1..=6).collect());
    // Never more than the rate, whatever the machine does; a slot at the end may be one too many.
    let paced = server.of("paced").len();
    assert!((6..=101).contains(&paced), "{paced}");
}

#[test]
fn segments_that_were_given_no_seed_draw_one_schedule_and_another_one_in_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: shared-iterations, vus: 2, iterations: 4, flow: [ {{ request: {{ url: '/s/${{uuid}}' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let mut seeds = Vec::new();
    for run in ["a", "b"] {
        let results = folder.path().join(run);
        fs::create_dir(&results).unwrap();
        let named = results.join("{segment}.json");
        let named = named.to_str().unwrap();
        assert_success(&run_segments(
            &plan,
            &["1", "1"],
            &["--summary-export", named],
            run,
        ));
        let seed = |index: u32| -> u64 {
            let text = fs::read(results.join(format!("{index}.json"))).unwrap();
            let summary: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(summary["segment"]["index"].as_u64(), Some(index.into()));
            summary["generator"]["seed"].as_u64().unwrap()
        };
        assert_eq!(seed(0), seed(1));
        seeds.push(seed(0));
    }
    assert_ne!(seeds[0], seeds[1]);
    let drawn: BTreeSet<Vec<String>> = server.of("s").into_iter().collect();
    assert_eq!(drawn.len(), 8);
}
