//! Runs the real binary and reads what it says.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part; a failed unwrap is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use loadr_target::{Settings, Target};
use serde_json::Value;

/// The binary under test.
pub fn loadr() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadr-fast"));
    command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// Its exit code and what it prints.
pub fn output(args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = loadr().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The built-in target, in this process.
pub fn target() -> Target {
    Target::start(&Settings::loopback()).unwrap()
}

/// A finished run.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The summary file, when there is one.
    pub summary: Value,
}

impl Run {
    fn new(output: &Output, summary: &Path) -> Self {
        let summary = std::fs::read_to_string(summary)
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        let run = Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
            summary,
        };
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        run
    }

    /// A figure of a metric.
    pub fn metric(&self, metric: &str, figure: &str) -> f64 {
        let metrics = self.summary["metrics"]
            .as_array()
            .unwrap_or_else(|| panic!("no summary: {}", self.stderr));
        metrics
            .iter()
            .find(|m| m["metric"] == metric)
            .and_then(|m| m["agg"][figure].as_f64())
            .unwrap_or_else(|| panic!("no {metric} {figure} in {:#}", self.summary["metrics"]))
    }

    pub fn count(&self, metric: &str) -> u64 {
        self.metric(metric, "count") as u64
    }

    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        (self.metric("http_req_failed", "rate") * self.metric("http_req_failed", "count")).round()
            as u64
    }

    /// How often an error of this kind came.
    pub fn errors(&self, kind: &str) -> u64 {
        let errors = self.summary["errors"].as_array().unwrap();
        errors
            .iter()
            .find(|e| e["kind"] == kind)
            .map_or(0, |e| e["count"].as_u64().unwrap())
    }

    /// Requests with this tag.
    pub fn requests_with(&self, tag: &str, value: &str) -> u64 {
        let series = self.summary["snapshot"]["series"].as_array().unwrap();
        series
            .iter()
            .filter(|s| s["metric"] == "http_reqs" && s["tags"][tag] == value)
            .map(|s| s["agg"]["count"].as_u64().unwrap())
            .sum()
    }
}

/// Runs a plan given as text; the flags come before it.
pub fn run_plan(plan: &str, flags: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, plan).unwrap();
    run_file(&path, flags)
}

/// Runs a plan.
pub fn run_file(path: &Path, flags: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.json");
    let output = loadr()
        .arg("run")
        .args(flags)
        .arg("--summary-export")
        .arg(&summary)
        .arg(path)
        .output()
        .unwrap();
    Run::new(&output, &summary)
}

/// A plan that sends `flow` (the lines under `flow:`, indented by six) to `base_url`.
pub fn plan(base_url: &str, executor: &str, flow: &str) -> String {
    format!(
        "defaults: {{ http: {{ base_url: \"{base_url}\" }} }}\n\
         scenarios:\n  s:\n    {executor}\n    flow:\n{flow}"
    )
}

/// What a program that succeeds says, as JSON.
pub fn said(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until `done`, at most ten seconds.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it did not happen in ten seconds"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The example plans that need nothing built first. Those of the other guests are run by `guests.rs`.
pub fn examples() -> Vec<PathBuf> {
    let built_first = ["header-policy.yaml", "json-path.yaml", "query-value.yaml"];
    let mut plans: Vec<PathBuf> = std::fs::read_dir(repository("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .filter(|path| !built_first.iter().any(|name| path.ends_with(name)))
        .collect();
    plans.sort();
    plans
}

/// Ctrl-C.
pub fn interrupt(pid: u32) {
    let status = Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
