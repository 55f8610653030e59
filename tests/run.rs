//! The main job: a plan is run against the built-in target, and the figures are those of what happened.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{
    examples, interrupt, loadr, plan, repository, run_file, run_plan, target, wait_until,
};

const ITERATIONS: &str = "{ executor: per-vu-iterations, vus: 7, iterations: 100 }";

/// `s:`'s keys, from a flow mapping.
fn executor(keys: &str) -> String {
    keys.trim_matches(['{', '}', ' '])
        .split(", ")
        .collect::<Vec<_>>()
        .join("\n    ")
}

#[test]
fn the_quickstart_runs_as_the_readme_says_with_both_plugins_on_every_iteration() {
    let run = run_file(
        &repository("examples/quickstart.yaml"),
        &["--embedded-target", "--duration", "1s"],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let iterations = run.count("iterations");
    assert!(iterations > 0);
    assert_eq!(run.count("http_reqs"), 2 * iterations);
    assert_eq!(run.count("plugin_calls"), 2 * iterations);
    assert_eq!(run.failed(), 0);
    // The target knows only the numbers that it gave out: each came back in the next request.
    assert_eq!(run.requests_with("name", "look at the order"), iterations);
    let check = &run.summary["checks"][0];
    assert_eq!(
        (check["passes"].as_u64(), check["fails"].as_u64()),
        (Some(iterations), Some(0))
    );
    assert!(
        run.stdout.contains("✓ the order is confirmed"),
        "{}",
        run.stdout
    );
    assert_eq!(run.summary["thresholds_passed"], true);
}

#[test]
fn per_vu_iterations_send_exactly_what_they_say_on_any_number_of_shards() {
    for shards in ["1", "2", "3"] {
        let target = target();
        let base = format!("http://{}", target.address());
        let text = plan(
            &base,
            &executor(ITERATIONS),
            "      - request: { url: / }\n",
        );
        let run = run_plan(&text, &["--cores", shards, "--oversubscribe"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(
            (run.count("http_reqs"), run.count("iterations")),
            (700, 700)
        );
        assert_eq!(run.failed(), 0);
        // One more connection was the probe before the run; it sent nothing.
        assert_eq!(target.requests(), 700);
        assert_eq!(run.metric("data_received", "count") as u64, 700 * 100);
    }
}

#[test]
fn constant_vus_end_on_time_and_both_sides_count_the_same() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: constant-vus, vus: 20, duration: 1h }"),
        "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
    );
    let run = run_plan(
        &text,
        &[
            "--cores",
            "2",
            "--oversubscribe",
            "--duration",
            "1s",
            "--vus",
            "9",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.count("http_reqs"), target.requests());
    assert_eq!(run.metric("vus_max", "max") as u64, 9);
    let secs = run.summary["duration_secs"].as_f64().unwrap();
    assert!((1.0..5.0).contains(&secs), "{secs}");
    assert!(!run.summary["timeline"].as_array().unwrap().is_empty());
}

#[test]
fn bodies_of_every_framing_and_size_are_read_whole() {
    let target = target();
    let base = format!("http://{}", target.address());
    // The target's bodies are the alphabet over and over: the end of each is known.
    let mut flow = String::new();
    for path in ["bytes", "chunked"] {
        for size in [0, 1, 100, 16_383, 16_384, 100_000, 3_000_001] {
            let end = (0..size)
                .skip(usize::max(size, 20) - 20)
                .map(|i| char::from(b'a' + (i % 26) as u8));
            let end: String = end.collect();
            flow += &format!(
                "      - request: {{ url: /{path}/{size}, assert: [{{ type: body_matches, pattern: \"^[a-z]{{0}}(?s:.*){end}$\" }}] }}\n"
            );
        }
    }
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 3, iterations: 4 }"),
        &flow,
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (14 * 12, 0),
        "{:#}",
        run.summary["errors"]
    );
}

#[test]
fn values_are_extracted_by_every_kind_and_sent_in_the_next_request() {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow = r#"
      - request:
          url: /order
          extract:
            - { type: regex, name: by_regex, expression: "id=(ORDER-[0-9]+);" }
            - { type: boundary, name: by_boundary, left: "id=", right: ";" }
            - { type: header, name: by_header, header: Content-Length }
            - { type: regex, name: absent, expression: "(no) such thing", default: fallback }
      - request:
          url: /orders/${by_regex}
          assert: [{ type: status, equals: 200 }, { type: body_contains, value: "${by_boundary}" }]
      - request:
          method: POST
          url: /echo?vu=${vu}&i=${iteration}
          headers: { X-Absent: "${absent}" }
          body: "len=${by_header} id=${by_boundary} ${absent}"
          assert:
            - { type: status, matches: "2.." }
            - { type: body_contains, value: "id=${by_regex} fallback" }
            - { type: body_contains, value: "ORDER-0 ", negate: true }
"#;
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 4, iterations: 25 }"),
        flow,
    );
    let run = run_plan(&text, &["--cores", "2", "--oversubscribe"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (300, 0),
        "{:#}",
        run.summary["errors"]
    );
}

#[test]
fn what_is_not_found_fails_the_request_and_leaves_the_variable_unset() {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow = r#"
      - request: { name: first, url: /, extract: [{ type: boundary, name: x, left: "<<", right: ">>" }] }
      - request: { name: second, url: "/${x}" }
"#;
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 1, iterations: 3 }"),
        flow,
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed(), target.requests()),
        (6, 6, 3)
    );
    assert_eq!(
        (run.errors("extract"), run.errors("unset_variable")),
        (3, 3)
    );
    assert!(
        run.stdout.contains("variable `x` is not set"),
        "{}",
        run.stdout
    );
}

#[test]
fn failed_asserts_fail_the_request_and_failed_checks_do_not() {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow = r#"
      - request:
          url: /status/503
          assert: [{ type: status, one_of: [503, 504] }]
          checks: [{ type: status, equals: 200, name: fine }]
      - request: { url: /, assert: [{ type: body_contains, value: "no such text", name: has text }] }
"#;
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 1, iterations: 5 }"),
        flow,
    );
    let run = run_plan(&text, &["--cores", "1"]);
    // A status of 400 or more is a failure by itself.
    assert_eq!(
        (run.count("http_reqs"), run.failed(), run.errors("assert")),
        (10, 10, 5)
    );
    let check = &run.summary["checks"][0];
    assert_eq!(
        (check["name"].as_str(), check["fails"].as_u64()),
        (Some("fine"), Some(5))
    );
    assert_eq!(check["details"][0]["text"], "status was 503");
    assert_eq!(run.requests_with("status", "503"), 5);
    assert!(run.stdout.contains("has text"), "{}", run.stdout);
}

#[test]
fn a_failed_assert_ends_the_iteration_the_scenario_or_the_run_as_it_asks() {
    for (on_failure, requests, code) in [
        ("abort_iteration", 10, 0),
        ("abort_scenario", 1, 0),
        ("abort_test", 1, 1),
    ] {
        let target = target();
        let base = format!("http://{}", target.address());
        let flow = format!(
            "      - request: {{ url: /, assert: [{{ type: status, equals: 201, on_failure: {on_failure} }}] }}\n\
             \x20     - request: {{ url: /never }}\n"
        );
        let text = plan(
            &base,
            &executor("{ executor: per-vu-iterations, vus: 1, iterations: 10 }"),
            &flow,
        );
        let run = run_plan(&text, &["--cores", "1"]);
        assert_eq!(
            (run.code, run.count("http_reqs")),
            (code, requests),
            "{on_failure} {}",
            run.stderr
        );
    }
}

#[test]
fn a_threshold_that_fails_exits_with_99_and_says_which() {
    let target = target();
    let base = format!("http://{}", target.address());
    let mut text = plan(
        &base,
        &executor(ITERATIONS),
        "      - request: { name: home, url: / }\n",
    );
    text += "thresholds:\n  \"http_reqs{name:home}\": [count<700, count>=700]\n  http_req_duration: [\"p(99)<1h\", \"max>=0\"]\n  \"http_reqs{name:other}\": [count>5]\n";
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(run.code, 99);
    let passed: Vec<bool> = run.summary["thresholds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["passed"].as_bool().unwrap())
        .collect();
    assert_eq!(
        passed,
        [false, true, true, true, true],
        "{:#}",
        run.summary["thresholds"]
    );
    assert!(
        run.stdout.contains("✗ http_reqs{name:home}: count<700"),
        "{}",
        run.stdout
    );
    assert_eq!(
        (&run.summary["thresholds_passed"], &run.summary["exit_code"]),
        (&false.into(), &99.into())
    );
}

#[test]
fn a_slow_answer_is_a_timeout_and_the_next_request_works() {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow =
        "      - request: { url: /delay/5000, timeout: 50ms }\n      - request: { url: / }\n";
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 2, iterations: 2 }"),
        flow,
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed(), run.errors("timeout")),
        (8, 4, 4)
    );
    assert_eq!(run.requests_with("error_kind", "timeout"), 4);
    assert!(run.metric("http_req_duration", "max") >= 50.0);
}

#[test]
fn closed_connections_are_counted_when_a_request_is_lost_and_mended_when_not() {
    let target = target();
    let base = format!("http://{}", target.address());
    let flow = "      - request: { name: closed, url: /close }\n      - request: { name: lost, url: /drop }\n";
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 2, iterations: 20 }"),
        flow,
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed(), run.errors("closed")),
        (80, 40, 40)
    );
    assert_eq!(run.requests_with("status", "200"), 40);
}

#[test]
fn iterations_in_flight_get_their_grace_and_are_cancelled_after_it() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: constant-vus, vus: 2, duration: 200ms, graceful_stop: 5s }"),
        "      - request: { url: /delay/700 }\n",
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!((run.count("http_reqs"), run.count("iterations")), (2, 2));
    let text = text
        .replace("graceful_stop: 5s", "graceful_stop: 100ms")
        .replace("700", "60000");
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(run.code, 0);
    assert!(run.summary["duration_secs"].as_f64().unwrap() < 30.0);
    let metrics = run.summary["metrics"].as_array().unwrap();
    assert!(
        metrics.iter().all(|m| m["metric"] != "http_reqs"),
        "nothing was finished"
    );
    // Nor is what they waited for passed over in silence.
    assert_eq!(run.summary["iterations_interrupted"], 2);
    assert!(
        run.stdout.contains("2 iterations did not end"),
        "{}",
        run.stdout
    );
}

#[test]
fn scenarios_start_at_their_time_and_are_counted_apart() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = format!(
        "defaults: {{ http: {{ base_url: \"{base}\" }} }}\nscenarios:\n  \
         now: {{ executor: per-vu-iterations, vus: 2, iterations: 3, flow: [{{ request: {{ url: / }} }}] }}\n  \
         later: {{ executor: per-vu-iterations, vus: 1, iterations: 4, start_time: 300ms, flow: [{{ request: {{ url: / }} }}] }}\n"
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(
        (
            run.requests_with("scenario", "now"),
            run.requests_with("scenario", "later")
        ),
        (6, 4)
    );
    assert!(run.summary["duration_secs"].as_f64().unwrap() >= 0.3);
}

#[test]
fn one_interrupt_ends_gracefully_with_the_summary_and_130() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: constant-vus, vus: 4, duration: 10m }"),
        "      - request: { url: / }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let (path, summary) = (
        folder.path().join("plan.yaml"),
        folder.path().join("summary.json"),
    );
    std::fs::write(&path, text).unwrap();
    let child = loadr()
        .args(["run", "--cores", "1", "--summary-export"])
        .args([&summary, &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| target.requests() > 100);
    assert!(!summary.exists(), "the file is there before it is whole");
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("Ended early: interrupted") && stdout.contains("http_reqs"),
        "{stdout}"
    );
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!(
        (&summary["aborted"], &summary["exit_code"]),
        (&"interrupted".into(), &130.into())
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing else is left behind"
    );
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: constant-vus, vus: 1, duration: 10m, graceful_stop: 10m }"),
        "      - request: { url: /delay/60000, timeout: 60s }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, text).unwrap();
    let mut child = loadr()
        .args(["run", "--cores", "1"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    interrupt(child.id());
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first one is graceful"
    );
    interrupt(child.id());
    let mut status = None;
    wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
}

#[test]
fn quiet_prints_nothing_when_all_is_well() {
    let run = run_file(
        &repository("examples/quickstart.yaml"),
        &["--embedded-target", "--duration", "300ms", "--quiet"],
    );
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "", "")
    );
}

#[test]
fn every_example_plan_runs_against_the_embedded_target() {
    let plans = examples();
    assert!(plans.len() >= 3);
    // Nothing happens in it until it is told to; it has a test of its own.
    for path in plans.into_iter().filter(|p| !p.ends_with("steered.yaml")) {
        let flags = ["--embedded-target", "--cores", "1", "--duration", "500ms"];
        let run = run_file(&path, &flags);
        let said = || format!("{}: {}{}", path.display(), run.stderr, run.stdout);
        assert_eq!(run.code, 0, "{}", said());
        assert!(run.count("http_reqs") > 0, "{}", said());
    }
}

#[test]
fn an_interrupt_works_when_nobody_reads_standard_error_any_more() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: constant-vus, vus: 4, duration: 10m }"),
        "      - request: { url: / }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, text).unwrap();
    let mut child = loadr()
        .args(["run", "--cores", "1"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| target.requests() > 100);
    // As with `2>&1 | tee log`, where the same Ctrl-C ends tee.
    drop((child.stdout.take(), child.stderr.take()));
    interrupt(child.id());
    let mut status = None;
    wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
}

#[test]
fn a_summary_goes_through_a_link_and_to_standard_output_without_replacing_either() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("real.json"), "old").unwrap();
    std::os::unix::fs::symlink(at("real.json"), at("link.json")).unwrap();
    let quickstart = |export: &std::path::Path, stdout: std::fs::File| {
        let status = loadr()
            .args(["run", "--embedded-target", "--quiet", "--duration", "200ms"])
            .arg("--summary-export")
            .args([export, &repository("examples/quickstart.yaml")])
            .stdout(stdout)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0));
    };
    let is_summary = |name: &str| {
        let text = std::fs::read(at(name)).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["name"] == "quickstart"
    };
    quickstart(
        &at("link.json"),
        std::fs::File::create(at("out.txt")).unwrap(),
    );
    assert!(at("link.json").is_symlink() && is_summary("real.json"));
    // What /dev/stdout leads to: a fault here must not cost the machine that link.
    quickstart(
        std::path::Path::new("/proc/self/fd/1"),
        std::fs::File::create(at("out.json")).unwrap(),
    );
    assert!(is_summary("out.json"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn connections_that_end_all_at_once_are_all_replaced() {
    let target = target();
    let base = format!("http://{}", target.address());
    let text = plan(
        &base,
        &executor("{ executor: per-vu-iterations, vus: 1000, iterations: 5 }"),
        "      - request: { url: /close }\n",
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (5000, 0),
        "{:#}",
        run.summary["errors"]
    );
}
