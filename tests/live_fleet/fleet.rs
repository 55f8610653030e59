//! Segments and those who watch them: the real binary, several times at once.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use loadr_target::Target;
use serde_json::Value;

use crate::common::loadr;

/// Processes of one fleet, with their files in one folder.
pub(crate) struct Fleet {
    pub(crate) folder: tempfile::TempDir,
    bus: Vec<String>,
    pub(crate) children: Vec<Option<Child>>,
}

/// What a process left.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The summary file, when there is one.
    pub(crate) summary: Value,
}

impl Left {
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let metrics = self.summary["metrics"].as_array();
        let metrics = metrics.unwrap_or_else(|| panic!("no summary: {}", self.stderr));
        let one = metrics.iter().find(|m| m["metric"] == metric);
        one.and_then(|m| m["agg"]["count"].as_u64()).unwrap_or(0)
    }

    pub(crate) fn notes(&self) -> String {
        self.summary["generator"]["notes"].to_string()
    }
}

/// A plan that sends to the target; `more` is what stands before its scenarios.
pub(crate) fn plan(target: &Target, more: &str, executor: &str) -> String {
    format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}\n{more}\nscenarios:\n  s: {{ {executor}, flow: [ {{ request: {{ \
         url: / }} }} ] }}\n",
        target.address()
    )
}

impl Fleet {
    /// A fleet on a bus, which is spoken to with these flags.
    pub(crate) fn new(bus: &[&str], plan: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plan.yaml"), plan).unwrap();
        Self {
            folder,
            bus: bus.iter().map(|flag| (*flag).to_owned()).collect(),
            children: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A segment, by its number and how many there are.
    pub(crate) fn run(&mut self, segment: &str, flags: &[&str]) -> usize {
        self.run_plan("plan.yaml", segment, flags)
    }

    pub(crate) fn run_plan(&mut self, plan: &str, segment: &str, flags: &[&str]) -> usize {
        let at = self.children.len();
        let mut command = loadr();
        command
            .args([
                "run",
                "--no-tui",
                "--oversubscribe",
                "--cores",
                "1",
                "--segment",
                segment,
            ])
            .args(&self.bus)
            .args(flags)
            .arg("--summary-export")
            .arg(self.path(&format!("{at}.json")))
            .arg("--histograms")
            .arg(self.path(&format!("{at}.hlog")))
            .arg(self.path(plan));
        self.spawn(command)
    }

    /// All segments of a fleet of so many.
    pub(crate) fn run_all(&mut self, of: usize, flags: &[&str]) {
        for index in 0..of {
            self.run(&format!("{index}/{of}"), flags);
        }
    }

    pub(crate) fn watch(&mut self, flags: &[&str]) -> usize {
        let at = self.children.len();
        let mut command = loadr();
        command
            .args(["watch", "--no-tui"])
            .args(&self.bus)
            .args(flags)
            .arg("--summary-export")
            .arg(self.path(&format!("{at}.json")));
        self.spawn(command)
    }

    fn spawn(&mut self, mut command: Command) -> usize {
        let at = self.children.len();
        let file = |name: &str| fs::File::create(self.path(&format!("{at}.{name}"))).unwrap();
        let child = command
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        self.children.push(Some(child));
        at
    }

    pub(crate) fn pid(&self, at: usize) -> u32 {
        self.children[at].as_ref().unwrap().id()
    }

    /// Waits for its end.
    pub(crate) fn left(&mut self, at: usize) -> Left {
        let mut child = self.children[at].take().unwrap();
        let began = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if began.elapsed() > Duration::from_secs(90) {
                child.kill().unwrap();
                panic!("process {at} does not end: {}", self.said(at));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text =
            |name: &str| fs::read_to_string(self.path(&format!("{at}.{name}"))).unwrap_or_default();
        let left = Left {
            code,
            stdout: text("out"),
            stderr: text("err"),
            summary: serde_json::from_str(&text("json")).unwrap_or(Value::Null),
        };
        assert!(!left.stderr.contains("panicked"), "{}", left.stderr);
        left
    }

    /// What it has said so far.
    pub(crate) fn said(&self, at: usize) -> String {
        fs::read_to_string(self.path(&format!("{at}.err"))).unwrap_or_default()
    }

    /// Waits until it says this.
    pub(crate) fn wait_for(&self, at: usize, what: &str) {
        let began = Instant::now();
        while !self.said(at).contains(what) {
            let said = self.said(at);
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "`{what}` is not in: {said}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many seconds of its run have passed.
    pub(crate) fn wait_for_second(&self, at: usize, second: u32) {
        self.wait_for(at, &format!(" {second}s "));
    }

    pub(crate) fn ctl(&self, command: &[&str]) -> Output {
        loadr()
            .arg("ctl")
            .args(&self.bus)
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.ctl(&["--json", "status"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The summary of the segments' files.
    pub(crate) fn merge(&self, segments: &[usize]) -> Value {
        let merged = self.path("merged.json");
        let output = loadr()
            .arg("merge")
            .args(segments.iter().map(|at| self.path(&format!("{at}.hlog"))))
            .arg("-o")
            .arg(&merged)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_str(&fs::read_to_string(merged).unwrap_or_else(|_| panic!("{said}")))
            .unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What counts of a summary's figures: all that is of values, not of time.
pub(crate) fn figures(summary: &Value) -> Vec<(String, Vec<Value>)> {
    let metrics = summary["metrics"].as_array().unwrap();
    let of_values = metrics.iter().filter(|m| m["kind"] != "gauge");
    of_values
        .map(|m| {
            let figure = |name: &str| m["agg"][name].clone();
            let names = [
                "count", "sum", "avg", "min", "max", "med", "p90", "p95", "p99", "p999", "rate",
            ];
            (
                m["metric"].as_str().unwrap().to_owned(),
                names.map(figure).to_vec(),
            )
        })
        .collect()
}
