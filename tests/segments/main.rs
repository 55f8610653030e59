//! One plan made by several real processes: what a server gets of all of them is what the plan says, and one summary of
//! them is that of one run.
#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap or expect is a failed test"
)]

#[path = "../common/mod.rs"]
mod common;
mod counted;
mod parts;
mod refused;
mod server;
mod split;
mod start;
#[path = "../tools/mod.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::loadr;
use serde_json::Value;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a plan in as many segments as there are numbers of cores, all at once.
fn run_segments(plan: &Path, cores: &[&str], flags: &[&str], launch: &str) -> Vec<Output> {
    let of = cores.len();
    let children: Vec<Child> = (0..of)
        .map(|index| {
            let mut command = loadr();
            command
                .args(["run", "--quiet", "--oversubscribe", "--cores", cores[index]])
                .args(["--segment", &format!("{index}/{of}")])
                .args(flags)
                .arg(plan)
                .env("LOADR_LAUNCH", launch);
            spawn(&mut command)
        })
        .collect();
    children.into_iter().map(ended).collect()
}

fn assert_success(outputs: &[Output]) {
    for output in outputs {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

/// Merges a folder; the exit code, what was said, and the summary.
fn merge(folder: &Path, flags: &[&str]) -> (i32, String, Value) {
    let out = folder.join("merged.json");
    let _ = fs::remove_file(&out);
    let output = loadr()
        .args(["merge", "--quiet"])
        .args(flags)
        .arg("-o")
        .arg(&out)
        .arg(folder)
        .output()
        .unwrap();
    let summary = fs::read(&out).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
    (output.status.code().unwrap(), text(&output.stderr), summary)
}

/// A figure of a summary's counter.
fn count(summary: &Value, metric: &str) -> u64 {
    let metrics = summary["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|one| one["metric"] == metric);
    found.unwrap()["agg"]["count"].as_u64().unwrap()
}
