//! Outputs: what they say against what the summary says, and receivers that are missing, slow or full.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod receivers;
mod scrapes;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::{Run, plan, run_plan, target};
use serde_json::Value;

/// A plan with hostile names that runs for about `secs` and makes some errors.
fn hostile_plan(secs: &str, outputs: &str) -> (loadr_target::Target, String) {
    let target = target();
    let flow = "      - request: { name: \"a\\\"b\\\\c,d=e {f}\\n<script>\", url: /, tags: { team: \"x|y\", le: z }, checks: [ { type: status, equals: 200 } ] }\n      - request: { name: missing, url: /status/404 }\n      - think_time: { type: constant, duration: 2ms }\n";
    let text = plan(
        &format!("http://{}", target.address()),
        &format!("executor: constant-vus\n    vus: 2\n    duration: {secs}"),
        flow,
    );
    (target, format!("{text}outputs:\n{outputs}\n"))
}

/// The counters, and counts and sums of distributions, of the summary by metric.
fn expected(run: &Run, metric: &str) -> (f64, f64) {
    let metrics = run.summary["metrics"].as_array().unwrap();
    let agg = &metrics.iter().find(|m| m["metric"] == metric).unwrap()["agg"];
    (
        agg["count"].as_f64().unwrap(),
        agg["sum"].as_f64().unwrap_or(0.0),
    )
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn outputs(run: &Run) -> &Vec<Value> {
    run.summary["outputs"]
        .as_array()
        .unwrap_or_else(|| panic!("no outputs: {}", run.stderr))
}

fn assert_all_taken(run: &Run) {
    for output in outputs(run) {
        assert_eq!(output["dropped"], 0, "{output}");
        assert!(output["points"].as_u64().unwrap() > 0, "{output}");
        assert_eq!(output["error"], Value::Null, "{output}");
    }
}

#[test]
fn flags_add_outputs_to_those_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.json"), folder.path().join("2.csv"));
    let (_target, plan) = hostile_plan(
        "200ms",
        &format!("  - {{ type: json, path: {} }}", one.display()),
    );
    let flag = format!("csv={}", two.display());
    let run = run_plan(&plan, &["--output", &flag]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(outputs(&run).len(), 2);
    assert!(one.exists() && two.exists());
    let run = run_plan(
        &plan,
        &["--output", "jsn=x", "-o", "otlp=nowhere", "-o", "csv"],
    );
    assert_eq!(run.code, 1);
    for part in [
        "unknown type `jsn`",
        "did you mean `json`",
        "`nowhere`: it is no URL",
        "`csv` is not a kind and a target",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_opened_is_known_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let list = format!(
        "  - {{ type: json, path: missing/folder/a.json }}\n  - {{ type: csv, path: /dev/full }}\n  - {{ type: prometheus, listen: '{address}' }}\n  - {{ type: otlp, url: 'https://127.0.0.1:9', ca_file: none.pem }}"
    );
    let (target, plan) = hostile_plan("60s", &list);
    let began = Instant::now();
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 1);
    for part in [
        "outputs[0]",
        "missing/folder/a.json: No such file",
        "/dev/full: No space left",
        &format!("cannot listen at {address}: Address already in use"),
        "none.pem: No such file",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "it ran");
    drop(target);
}
