//! The load models against the built-in target: counts are exact on both sides, whatever the speed of the machine.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::{Run, loadr, plan, run_plan, target};
use loadr_target::Target;

/// A plan of one scenario with these keys and one request to `path`.
fn plan_of(target: &Target, keys: &str, path: &str) -> String {
    let keys = keys.split("; ").collect::<Vec<_>>().join("\n    ");
    let base = format!("http://{}", target.address());
    plan(
        &base,
        &keys,
        &format!("      - request: {{ url: {path} }}\n"),
    )
}

/// Runs on so many shards; a count of requests that differs from the target's is a failure.
fn run_on(shards: &str, keys: &str, path: &str, flags: &[&str]) -> Run {
    let target = target();
    let flags = [&["--cores", shards, "--oversubscribe"], flags].concat();
    let run = run_plan(&plan_of(&target, keys, path), &flags);
    assert!(run.summary["format"].is_u64(), "{}", run.stderr);
    run
}

/// Iterations that were due.
fn due(run: &Run) -> u64 {
    let interrupted = run.summary["iterations_interrupted"].as_u64().unwrap();
    run.count("iterations") + run.count("dropped_iterations") + interrupted
}

#[test]
fn arrival_rates_start_exactly_what_is_due_on_any_number_of_shards() {
    for shards in ["1", "2", "5"] {
        for (keys, count) in [
            (
                "executor: constant-arrival-rate; rate: 300; duration: 1s; pre_allocated_vus: 300",
                300,
            ),
            (
                "executor: constant-arrival-rate; rate: 6000; time_unit: 1m; duration: 1s; pre_allocated_vus: 1; max_vus: 100",
                100,
            ),
            (
                "executor: ramping-arrival-rate; stages: [ { duration: 1s, target: 200 }, { duration: 0, target: 50 }, { duration: 1s, target: 50 }, { duration: 500ms, target: 0 } ]; pre_allocated_vus: 200",
                163,
            ),
        ] {
            let target = target();
            let text = plan_of(&target, keys, "/");
            let run = run_plan(&text, &["--cores", shards, "--oversubscribe"]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert_eq!(run.count("iterations"), count, "{keys} on {shards}");
            assert_eq!(run.count("dropped_iterations"), 0);
            assert_eq!((run.failed(), target.requests()), (0, count));
            let (response, service) = (
                run.metric("http_req_response", "avg"),
                run.metric("http_req_duration", "avg"),
            );
            assert!(response >= service, "{response} {service}");
        }
    }
}

#[test]
fn what_is_due_while_all_are_busy_is_dropped_and_said_in_the_first_lines() {
    for (shards, flags, code) in [("1", &[][..], 0), ("2", &["--strict"][..], 98)] {
        let run = run_on(
            shards,
            "executor: constant-arrival-rate; rate: 50; duration: 1s; pre_allocated_vus: 2; max_vus: 5",
            "/delay/3000",
            flags,
        );
        assert_eq!(run.code, code, "{}", run.stderr);
        assert_eq!(
            (run.count("iterations"), run.count("dropped_iterations")),
            (5, 45)
        );
        let generator = &run.summary["generator"];
        assert_eq!(generator["bottleneck"], true);
        assert!(
            generator["reasons"][0]
                .as_str()
                .unwrap()
                .contains("45 of 50"),
            "{generator:#}"
        );
        let first: Vec<&str> = run.stdout.lines().take(3).collect();
        assert!(
            first[1].contains("may have been the bottleneck"),
            "{}",
            run.stdout
        );
        assert!(first[2].contains("45 of 50"), "{}", run.stdout);
    }
}

#[test]
fn fewer_users_than_shards_still_get_every_arrival() {
    let run = run_on(
        "5",
        "executor: constant-arrival-rate; rate: 20; duration: 1s; pre_allocated_vus: 1; max_vus: 2",
        "/",
        &[],
    );
    assert_eq!(due(&run), 20);
    assert!(run.count("iterations") > 0);
}

#[test]
fn the_same_seed_is_the_same_poisson_schedule_on_any_number_of_shards() {
    let keys = "executor: constant-arrival-rate; rate: 200; duration: 1s; arrival: poisson; pre_allocated_vus: 300";
    let count = |shards, seed| due(&run_on(shards, keys, "/", &["--seed", seed]));
    let first = count("1", "7");
    assert_eq!(first, count("3", "7"));
    // Two equal counts of 200 on average are possible, five are not.
    let others = ["8", "9", "10", "11"].map(|seed| count("1", seed));
    assert!(others.iter().any(|n| *n != first), "{first} {others:?}");
}

#[test]
fn shared_iterations_are_exactly_as_many_as_the_plan_says() {
    for shards in ["1", "2", "3"] {
        let target = target();
        let text = plan_of(
            &target,
            "executor: shared-iterations; vus: 7; iterations: 1003",
            "/",
        );
        let run = run_plan(&text, &["--cores", shards, "--oversubscribe"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!((run.count("iterations"), target.requests()), (1003, 1003));
    }
}

#[test]
fn users_that_go_away_are_cancelled_after_their_grace_and_can_come_back() {
    for shards in ["1", "3"] {
        let run = run_on(
            shards,
            "executor: ramping-vus; start_vus: 4; graceful_ramp_down: 100ms; graceful_stop: 100ms; stages: [ { duration: 300ms, target: 4 }, { duration: 0, target: 0 }, { duration: 500ms, target: 0 }, { duration: 0, target: 2 }, { duration: 300ms, target: 2 }, { duration: 0, target: 0 }, { duration: 300ms, target: 0 } ]",
            "/delay/60000",
            &[],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.summary["iterations_interrupted"], 6, "{}", run.stdout);
        assert_eq!(run.metric("vus", "max") as u64, 4);
        assert_eq!(run.metric("vus_max", "max") as u64, 4);
        assert!(run.metric("vus", "max") < 5.0);
    }
}

#[test]
fn a_ramp_of_users_loops_and_ends_with_its_last_stage() {
    let target = target();
    let text = plan_of(
        &target,
        "executor: ramping-vus; stages: [ { duration: 500ms, target: 6 }, { duration: 500ms, target: 1 } ]",
        "/delay/5",
    );
    let run = run_plan(&text, &["--cores", "2", "--oversubscribe"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.metric("vus", "max") <= 6.0);
    assert!(run.count("iterations") > 6);
    assert_eq!(run.count("iterations"), target.requests());
    assert!(run.summary["duration_secs"].as_f64().unwrap() >= 1.0);
}

#[test]
fn limits_on_iterations_and_requests_hold_over_all_shards() {
    for shards in ["1", "3"] {
        for limit in [
            "pacing: { iterations_per_second: 400 }",
            "throttle: { requests_per_second: 400 }",
        ] {
            let keys = format!("executor: shared-iterations; vus: 9; iterations: 200; {limit}");
            let run = run_on(shards, &keys, "/", &[]);
            assert_eq!(run.count("iterations"), 200);
            // The last of 200 is not before 199 / 400 s.
            let secs = run.summary["duration_secs"].as_f64().unwrap();
            assert!(secs >= 0.4975, "{limit} on {shards}: {secs} s");
        }
    }
}

#[test]
fn a_limit_does_not_hold_a_run_past_its_end() {
    let run = run_on(
        "1",
        "executor: constant-vus; vus: 50; duration: 1s; pacing: { iterations_per_second: 2 }",
        "/",
        &[],
    );
    // The first slot is at once, the next half a second later.
    let iterations = run.count("iterations");
    assert!((1..=3).contains(&iterations), "{iterations}");
    assert_eq!(run.summary["iterations_interrupted"], 0);
    let secs = run.summary["duration_secs"].as_f64().unwrap();
    assert!(
        secs < 10.0,
        "users that wait for a slot leave at the end: {secs} s"
    );
}

#[test]
fn a_suspended_process_starts_late_what_was_due_and_says_so() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let (file, summary) = (
        folder.path().join("plan.yaml"),
        folder.path().join("s.json"),
    );
    let text = plan_of(
        &target,
        "executor: constant-arrival-rate; rate: 100; duration: 5s; pre_allocated_vus: 10; max_vus: 500",
        "/",
    );
    std::fs::write(&file, text).unwrap();
    let child = loadr()
        .args(["run", "--summary-export"])
        .arg(&summary)
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    common::wait_until(|| target.requests() >= 50);
    let signal = |name: &str| {
        let status = Command::new("kill").args([name, &pid]).status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    sleep(Duration::from_secs(3));
    signal("-CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&summary).unwrap()).unwrap();
    // Everything that was due was made, however late.
    assert_eq!(target.requests(), 500);
    let generator = &summary["generator"];
    let late = generator["late_iterations"].as_u64().unwrap();
    // All that were due in the pause but for its last 10 ms.
    assert!(late >= 290, "{generator:#}");
    assert!(generator["late_max_ms"].as_f64().unwrap() >= 2_900.0);
    assert_eq!(generator["bottleneck"], true);
    assert!(
        text.contains("began more than 10 ms after they were due"),
        "{text}"
    );
    let max = |metric: &str| {
        let metrics = summary["metrics"].as_array().unwrap();
        let one = metrics.iter().find(|m| m["metric"] == metric).unwrap();
        one["agg"]["p90"].as_f64().unwrap()
    };
    // More than half of all requests waited for up to 3 s, and the service time knows nothing of it.
    assert!(max("http_req_response") > 1_000.0, "{text}");
    assert!(
        max("http_req_response") > max("http_req_duration"),
        "{text}"
    );
}

#[test]
fn only_the_first_request_of_an_iteration_carries_its_delay() {
    let target = target();
    let base = format!("http://{}", target.address());
    let keys = "executor: constant-arrival-rate\n    rate: 50\n    duration: 500ms\n    pre_allocated_vus: 50";
    let flow = "      - request: { url: /delay/1, name: first }\n      - request: { url: /delay/20, name: second }\n";
    let run = run_plan(&plan(&base, keys, flow), &[]);
    assert_eq!((run.count("iterations"), run.count("http_reqs")), (25, 50));
    let series = run.summary["snapshot"]["series"].as_array().unwrap();
    let figure = |metric: &str, name: &str| {
        let one = series
            .iter()
            .find(|s| s["metric"] == metric && s["tags"]["name"] == name);
        one.unwrap()["agg"]["max"].as_f64().unwrap()
    };
    // The second one finds its connection open and is due when the first has ended.
    assert_eq!(
        figure("http_req_response", "second"),
        figure("http_req_duration", "second")
    );
    assert!(figure("http_req_response", "first") > figure("http_req_duration", "first"));
}

#[test]
fn more_users_than_there_may_be_open_files_are_refused_before_the_start() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    let keys = "executor: constant-arrival-rate; rate: 10; duration: 1s; pre_allocated_vus: 1; max_vus: 5000";
    std::fs::write(&file, plan_of(&target, keys, "/")).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 1024; exec \"$0\" run \"$1\""])
        .arg(env!("CARGO_BIN_EXE_loadr-fast"))
        .arg(&file)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("5000 virtual users") && stderr.contains("ulimit -n"),
        "{stderr}"
    );
    assert_eq!(target.requests(), 0);
}

#[test]
fn a_rate_that_the_machine_cannot_make_is_accounted_for_to_the_last_iteration() {
    // A million a second by three users: no machine does that, however fast.
    let keys = "executor: constant-arrival-rate; rate: 1000000; duration: 1s; pre_allocated_vus: 3";
    let run = run_on("1", keys, "/delay/1", &["--strict"]);
    assert_eq!(run.code, 98, "{}", run.stderr);
    assert_eq!(due(&run), 1_000_000);
    assert!(run.count("dropped_iterations") > 900_000);
    let reasons = run.summary["generator"]["reasons"].to_string();
    assert!(reasons.contains("of 1000000 that were due"), "{reasons}");
    assert_eq!(run.summary["generator"]["bottleneck"], true);
}

#[test]
fn a_shard_that_stays_awake_makes_the_same_arrivals_and_does_not_call_itself_busy() {
    let keys = "executor: constant-arrival-rate; rate: 200; duration: 1s; pre_allocated_vus: 200";
    let run = run_on("1", keys, "/", &["--spin", "4ms"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.count("iterations"), 200);
    // It was awake for most of the time, and at work for little of it.
    assert!(run.metric("generator_cpu", "max") < 0.5, "{}", run.stdout);
}
