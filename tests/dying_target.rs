//! A target that dies in mid-run: counted by kind, the run goes on, reconnects do not spin.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{interrupt, loadr, plan, target, wait_until};
use loadr_target::{Settings, Target};

#[test]
fn a_target_that_dies_is_counted_and_found_again_when_it_is_back() {
    let first = target();
    let address = first.address();
    let base = format!("http://{address}");
    let text = plan(
        &base,
        "executor: constant-vus\n    vus: 10\n    duration: 10m",
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
        .spawn()
        .unwrap();
    wait_until(|| first.requests() > 1000);
    first.stop();
    std::thread::sleep(Duration::from_millis(1500));
    let settings = Settings {
        address,
        ..Settings::loopback()
    };
    let mut second = None;
    wait_until(|| {
        second = Target::start(&settings).ok();
        second.is_some()
    });
    let second = second.unwrap();
    wait_until(|| second.requests() > 1000);
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    let errors = summary["errors"].as_array().unwrap();
    let count = |kind: &str| {
        errors
            .iter()
            .find(|e| e["kind"] == kind)
            .map_or(0, |e| e["count"].as_u64().unwrap())
    };
    // Ten users, each backing off from 1 ms to 1 s: a few tries each in the time, not thousands.
    let refused = count("connect_refused");
    assert!((10..=400).contains(&refused), "{errors:#?}");
    // Whatever was in flight was lost, once for each user at most, and nothing else went wrong.
    let lost = count("reset") + count("closed");
    assert!(lost <= 10, "{errors:#?}");
    let all: u64 = errors.iter().map(|e| e["count"].as_u64().unwrap()).sum();
    assert_eq!(all, refused + lost, "{errors:#?}");
    assert!(
        stdout.contains("connect_refused") && stdout.contains(&address.to_string()),
        "{stdout}"
    );
}
