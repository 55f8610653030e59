//! Summaries, read and shown: the schema, the page in a browser, JUnit, Markdown, and files that are none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod formats;
mod page;
#[path = "../tools/mod.rs"]
mod tools;

use std::fs;
use std::sync::OnceLock;

use common::{loadr, output, target};
use serde_json::Value;
use tempfile::TempDir;

/// A name that is markup, an escape and a sentence of a script, wherever it is shown.
const HOSTILE: &str =
    "<img src=x onerror=alert(1)>'\"`|</script><script>alert(2)</script>\u{1b}[31m]]>&amp;";

fn plan(base_url: &str, name: &str) -> String {
    let name = serde_json::to_string(name).unwrap();
    format!(
        r#"
name: {name}
defaults: {{ http: {{ base_url: "{base_url}" }} }}
scenarios:
  closed:
    executor: constant-vus
    vus: 3
    duration: 2500ms
    flow:
      - request: {{ name: {name}, url: /delay/2, checks: [ {{ type: status, name: {name}, equals: 201 }} ] }}
      - request: {{ name: missing, url: /status/404 }}
      - request: {{ name: dropped, url: /drop }}
  open:
    executor: constant-arrival-rate
    rate: 50
    duration: 2500ms
    pre_allocated_vus: 5
    flow:
      - request: {{ name: fast, method: POST, url: /echo, body: x }}
thresholds:
  http_req_duration: ["p(95)<5s", "p(99)<1ns"]
  "http_reqs{{name:fast}}": ["count>1"]
"#
    )
}

struct Files {
    folder: TempDir,
    summary: Value,
}

impl Files {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn run_in(folder: TempDir, name: &str) -> Files {
    let target = target();
    let plan = plan(&format!("http://{}", target.address()), name);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("plan.yaml"), plan).unwrap();
    let output = loadr()
        .args(["run", "--cores", "1", "--quiet", "--seed", "7"])
        .arg("--summary-export")
        .arg(path("summary.json"))
        .arg("--junit")
        .arg(path("junit.xml"))
        .arg("--histograms")
        .arg(path("run.hlog"))
        .arg(path("plan.yaml"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(99), "{stderr}");
    let summary = serde_json::from_slice(&fs::read(path("summary.json")).unwrap()).unwrap();
    Files { folder, summary }
}

/// One run for all tests that only look at its files.
fn run() -> &'static Files {
    static RUN: OnceLock<Files> = OnceLock::new();
    RUN.get_or_init(|| run_in(tempfile::tempdir().unwrap(), HOSTILE))
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    let (code, _, stderr) = output(&["man", dir.to_str().unwrap()]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for page in [
        "loadr-fast.1",
        "loadr-fast-run.1",
        "loadr-fast-report.1",
        "loadr-fast-plugin-install.1",
    ] {
        let text = fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let run = fs::read_to_string(dir.join("loadr-fast-run.1")).unwrap();
    assert!(
        run.contains("summary\\-export") && run.contains("Examples:"),
        "{run}"
    );
}
