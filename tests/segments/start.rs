//! Starts at an instant.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::common::{interrupt, loadr};
use super::server::Server;
use super::{assert_success, ended, merge, run_segments, spawn, text, write};

/// Seconds since 1970, so far ahead that every process has loaded everything by then.
fn soon(ahead: Duration) -> String {
    let at = SystemTime::now() + ahead;
    format!(
        "{:.3}",
        at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    )
}

#[test]
fn segments_that_are_given_an_instant_begin_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: per-vu-iterations, vus: 2, iterations: 1, flow: [ {{ request: {{ url: '/x' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let histograms = results.join("{segment}.hlog");
    let histograms = histograms.to_str().unwrap();
    // A machine that is busy with other things may take long to load a plan.
    let began = [3, 15, 60].into_iter().find_map(|secs| {
        let start_at = soon(Duration::from_secs(secs));
        let flags = ["--start-at", &start_at, "--histograms", histograms];
        let outputs = run_segments(&plan, &["1", "1"], &flags, "");
        let is_late =
            |output: &Output| text(&output.stderr).contains("everything was ready for it only");
        if outputs.iter().any(is_late) {
            return None;
        }
        assert_success(&outputs);
        Some(start_at)
    });
    let at_ms = began.unwrap().parse::<f64>().unwrap() * 1e3;
    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!((all["started_ms"].as_f64().unwrap() - at_ms).abs() <= 1.0);
    let reasons = all["generator"]["reasons"].to_string();
    assert!(!reasons.contains("did not begin together"), "{reasons}");
    assert!(all["clock"]["error_max_ms"].is_number(), "{}", all["clock"]);
}

#[test]
fn a_run_that_waits_for_its_start_ends_at_once_when_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: constant-vus, vus: 4, duration: 60s, flow: [ {{ request: {{ url: '/x' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let summary = folder.path().join("summary.json");
    let mut command = loadr();
    command
        .args([
            "run",
            "--cores",
            "1",
            "--no-tui",
            "--start-at",
            "+1h",
            "--summary-export",
        ])
        .arg(&summary)
        .arg(&plan);
    let mut child = spawn(&mut command);
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("begins at ") {
        line.clear();
        assert!(
            stderr.read_line(&mut line).unwrap() > 0,
            "it never said when it begins"
        );
    }
    interrupt(child.id());
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(server.len(), 0);
    let summary: Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    assert_eq!(summary["aborted"], "interrupted");
}
