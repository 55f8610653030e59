//! Thresholds that end a run, against the built-in target: when, and by which series.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Run, plan, run_plan, target};

/// A minute of requests, a slow and a fast one in turn, with these thresholds.
fn run_with(thresholds: &str, shards: &str) -> Run {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow = "      - request: { name: slow, url: /delay/30 }\n      - request: { name: fast, url: / }\n";
    let keys = "executor: constant-vus\n    vus: 4\n    duration: 60s\n    graceful_stop: 5s";
    let text = plan(&base, keys, flow) + &format!("thresholds: {{ {thresholds} }}\n");
    run_plan(&text, &["--cores", shards, "--oversubscribe"])
}

fn secs(run: &Run) -> f64 {
    run.summary["duration_secs"].as_f64().unwrap()
}

#[test]
fn one_that_fails_ends_the_run_after_the_second_that_shows_it() {
    for shards in ["1", "3"] {
        let run = run_with(
            "http_req_duration: [ 'max<1h', { threshold: 'p(99)<20ms', abort_on_fail: true } ]",
            shards,
        );
        assert_eq!(run.code, 99, "{}", run.stderr);
        assert!((1.0..30.0).contains(&secs(&run)), "{}", secs(&run));
        let aborted = run.summary["aborted"].as_str().unwrap();
        assert!(aborted.contains("p(99)<20ms"), "{aborted}");
        // Gracefully: what was in flight has ended.
        assert_eq!(run.summary["iterations_interrupted"], 0);
        assert!(run.stdout.contains("Ended early"), "{}", run.stdout);
    }
}

#[test]
fn one_that_is_to_be_judged_later_ends_the_run_no_sooner() {
    let run = run_with(
        "http_req_duration: [ { threshold: 'p(99)<20ms', abort_on_fail: true, delay_abort_eval: 3s } ]",
        "2",
    );
    assert_eq!(run.code, 99);
    assert!((3.0..30.0).contains(&secs(&run)), "{}", secs(&run));
}

#[test]
fn only_the_series_that_the_tags_select_are_judged() {
    // The slow request breaks its own threshold; the fast one's series and an absent one's have nothing to do with it.
    let run = run_with(
        "'http_req_duration{name:absent}': [ { threshold: 'p(99)<1us', abort_on_fail: true } ], \
         'http_req_duration{scenario:s,name:slow}': [ { threshold: 'min<5ms', abort_on_fail: true } ]",
        "2",
    );
    assert_eq!(run.code, 99);
    let aborted = run.summary["aborted"].as_str().unwrap();
    assert!(
        aborted.contains("name:slow") && aborted.contains("min<5ms"),
        "{aborted}"
    );
    let observed = &run.summary["thresholds"][0];
    assert!(
        observed["observed"].is_null() && observed["passed"] == true,
        "{observed:#}"
    );
    let observed = run.summary["thresholds"][1]["observed"].as_f64().unwrap();
    assert!(observed >= 30.0, "{observed}");
}

#[test]
fn one_that_does_not_end_the_run_is_judged_at_the_end_alone() {
    let target = target();
    let base = format!("http://{}", target.address());
    let keys = "executor: per-vu-iterations\n    vus: 2\n    iterations: 60";
    let text = plan(&base, keys, "      - request: { url: /delay/30 }\n")
        + "thresholds: { http_req_duration: [ 'p(50)<20ms' ], http_reqs: [ { threshold: 'count>=120', abort_on_fail: false } ] }\n";
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!((run.code, run.count("iterations")), (99, 120));
    assert!(run.summary["aborted"].is_null());
    assert_eq!(run.summary["thresholds"][1]["passed"], true);
}
