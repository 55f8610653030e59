//! `doctor` on the machine that the tests run on, which can run plans or no test would pass.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::loadr;
use serde_json::Value;

#[test]
fn a_machine_that_can_run_plans_has_no_fault() {
    let output = loadr()
        .args(["doctor", "--json", "--cores", "1"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |check: &str| findings.iter().find(|f| f["check"] == check).unwrap();
    for check in [
        "kernel",
        "io_uring",
        "locked_memory",
        "open_files",
        "time",
        "clock",
        "smt",
        "isolation",
        "load",
    ] {
        assert_ne!(of(check)["level"], "fault", "{}", of(check));
    }
    assert_eq!(of("io_uring")["level"], "good");

    let output = loadr().arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("✓ a ring can be made\n"), "{text}");
}

#[test]
fn a_core_that_may_not_be_used_is_an_error() {
    let output = loadr()
        .args(["doctor", "--cores", "4000-4000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("core 4000")
    );
}
