//! Summaries, read and shown: the schema, the page in a browser, JUnit, Markdown, and files that are none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod tools;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

use common::{loadr, target};
use serde_json::{Value, json};
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

fn output(args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = loadr().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn agg<'s>(summary: &'s Value, metric: &str) -> &'s Value {
    let mut metrics = summary["metrics"].as_array().unwrap().iter();
    &metrics.find(|m| m["metric"] == metric).unwrap()["agg"]
}

#[test]
fn the_schema_fits_the_summary_and_nothing_that_differs_in_a_key() {
    let (code, schema, _) = output(&["schema", "--summary"]);
    assert_eq!(code, 0);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors = |value: &Value| -> Vec<String> {
        let error = |error: jsonschema::ValidationError<'_>| {
            format!("{} at {}", error, error.instance_path)
        };
        validator.iter_errors(value).map(error).collect()
    };
    let sound = &run().summary;
    assert_eq!(errors(sound), Vec::<String>::new());

    // Each key of each object, once renamed: then one is missing and one is unknown.
    let mut paths = Vec::new();
    collect_keys(sound, "", &mut paths);
    assert!(paths.len() > 100, "{}", paths.len());
    let is_free = |path: &str| path.contains("/tags/") || path.contains("/distribution/metrics/");
    for path in paths.iter().filter(|path| !is_free(path)) {
        let mut wrong = sound.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let object = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let value = object.remove(key).unwrap();
        object.insert(format!("{key}_"), value);
        assert!(!errors(&wrong).is_empty(), "{path} may be missing");
        let mut wrong = sound.clone();
        *wrong.pointer_mut(path).unwrap() = json!([{ "wrong": true }]);
        assert!(!errors(&wrong).is_empty(), "{path} may be anything");
    }
}

/// JSON pointers of all keys; of a list only those of its first.
fn collect_keys(value: &Value, at: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{at}/{key}");
                collect_keys(value, &path, paths);
                paths.push(path);
            }
        }
        Value::Array(list) => {
            if let Some(first) = list.first() {
                collect_keys(first, &format!("{at}/0"), paths);
            }
        }
        _ => {}
    }
}

#[test]
fn the_page_shows_the_figures_of_the_summary_in_a_browser() {
    let files = run_in(tempfile::tempdir().unwrap(), "shop checkout");
    let page = files.path("report.html");
    let (code, _, stderr) = output(&["report", &files.path("summary.json"), "-o", &page]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let Some(seen) = tools::look(Path::new(&page), "report") else {
        return;
    };
    let s = &files.summary;
    assert_eq!(seen["console"], json!([]), "the console is clean");
    assert_eq!(
        seen["loaded"].as_array().unwrap().len(),
        3,
        "nothing but the page is loaded: {}",
        seen["loaded"]
    );
    assert_eq!(seen["title"], "shop checkout · load test");
    assert_eq!(seen["first"], "news bad", "bad news come first");

    // Tiles, against the summary's own numbers.
    let tile = |id: &str| seen["tiles"][id].as_str().unwrap();
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    assert_eq!(
        digits(tile("requests")),
        agg(s, "http_reqs")["count"].to_string()
    );
    let failed = agg(s, "http_req_failed")["rate"].as_f64().unwrap();
    assert_eq!(tile("failed"), format!("{:.2} %", failed * 100.0));
    for (id, key) in [
        ("p50", "med"),
        ("p95", "p95"),
        ("p99", "p99"),
        ("max", "max"),
    ] {
        near(tile(id), agg(s, "http_req_duration")[key].as_f64().unwrap());
    }
    near(
        tile("response-p99"),
        agg(s, "http_req_response")["p99"].as_f64().unwrap(),
    );

    // The charts at the second point and at the last: every one at the same moment.
    let timeline = s["timeline"].as_array().unwrap();
    for (at, point) in [
        ("atSecond", &timeline[1]),
        ("atLast", &timeline[timeline.len() - 1]),
    ] {
        let shown = |chart: &str, line: usize| -> String {
            let text = seen[at][chart][line + 1].as_str().unwrap();
            text.to_owned()
        };
        for chart in ["rps", "latency", "vus", "errors"] {
            assert!(
                seen[at][chart][0].as_str().unwrap().starts_with("at "),
                "{chart}"
            );
        }
        for (line, key) in [(0, "latency_p50"), (1, "latency_p95"), (2, "latency_p99")] {
            let text = shown("latency", line);
            near(
                text.split_once(' ').unwrap().1,
                point[key].as_f64().unwrap(),
            );
        }
        let rps = shown("rps", 0);
        let rps: f64 = rps
            .trim_start_matches("requests ")
            .trim_end_matches("/s")
            .replace('\u{202f}', "")
            .parse()
            .unwrap();
        assert!(
            (rps / point["rps"].as_f64().unwrap() - 1.0).abs() < 0.01,
            "{rps}"
        );
        assert_eq!(
            shown("vus", 0),
            format!("virtual users {}", point["active_vus"].as_f64().unwrap())
        );
    }
    assert!(
        seen["said"].as_str().unwrap().contains("requests "),
        "{}",
        seen["said"]
    );
    assert_eq!(seen["atNone"]["rps"], json!(["requests ", "iterations "]));
    assert!(
        seen["percentilesAtLast"][0]
            .as_str()
            .unwrap()
            .starts_with("p9")
    );

    // Tables.
    let requests = seen["tables"]["requests"].as_array().unwrap();
    let series = s["snapshot"]["series"].as_array().unwrap();
    let steps: Vec<_> = series
        .iter()
        .filter(|one| one["metric"] == "http_reqs")
        .collect();
    assert_eq!(requests.len(), steps.len() + 1);
    for step in steps {
        let name = format!(
            "{} {}",
            step["tags"]["method"].as_str().unwrap(),
            step["tags"]["name"].as_str().unwrap()
        );
        let row = requests.iter().find(|row| row[0] == name.as_str()).unwrap();
        let count = step["agg"]["count"].to_string();
        let mut cells = row.as_array().unwrap().iter();
        assert!(cells.any(|cell| digits(cell.as_str().unwrap()) == count));
    }
    let p99 = |name: &Value| {
        let row = requests.iter().find(|row| row[0] == *name).unwrap();
        millis(row[row.as_array().unwrap().len() - 3].as_str().unwrap()).unwrap_or(-1.0)
    };
    let sorted = seen["sorted"].as_array().unwrap();
    assert!(sorted.is_sorted_by(|a, b| p99(a) >= p99(b)), "{sorted:?}");
    assert_eq!(seen["ariaSort"], "descending");
    assert_eq!(seen["filtered"], json!([sorted[0]]));
    let thresholds = &seen["tables"]["thresholds"];
    assert_eq!(thresholds[1][1], "✓ held");
    assert_eq!(thresholds[2][1], "✗ failed");
    let errors = seen["tables"]["errors"].as_array().unwrap();
    assert_eq!(errors.len() - 1, s["errors"].as_array().unwrap().len());
    assert_eq!(
        seen["facts"]["Kernel"].as_str().unwrap().split(' ').next(),
        s["environment"]["kernel"].as_str()
    );
    assert_eq!(seen["facts"]["Seed"], "7");

    // For everyone: dark, on a phone, by keyboard.
    assert_eq!(seen["dark"], "rgb(17, 17, 16)");
    assert_eq!(seen["phoneWidth"], 390, "nothing is wider than a phone");
    assert_eq!(
        seen["unnamed"], 0,
        "everything that can be focused has a name"
    );
}

/// `1.50 ms`, `320 µs` or `2.00 s` in milliseconds.
fn millis(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, "ms"));
    let factor = match unit {
        "µs" => 1e-3,
        "s" => 1e3,
        _ => 1.0,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Three significant digits.
fn near(text: &str, ms: f64) {
    let shown = millis(text).unwrap();
    assert!((shown - ms).abs() <= ms * 0.006, "{text} is not {ms} ms");
}

#[test]
fn hostile_names_are_inert_on_the_page() {
    let files = run();
    let page = files.path("hostile.html");
    let summary = files.path("summary.json");
    assert_eq!(
        output(&["report", &summary, &summary, "-o", &files.path("two.html")]).0,
        0
    );
    assert_eq!(output(&["report", &summary, "-o", &page]).0, 0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("<img") && !text.contains('\u{1b}'));
    for (page, name) in [(page, "hostile"), (files.path("two.html"), "hostile-two")] {
        let Some(seen) = tools::look(Path::new(&page), name) else {
            return;
        };
        assert_eq!(
            (&seen["console"], &seen["dialogs"]),
            (&json!([]), &json!(0))
        );
        assert_eq!((&seen["scripts"], &seen["images"]), (&json!(2), &json!(0)));
        let shown = HOSTILE.replace('\u{1b}', "\\u{1b}");
        assert!(
            seen["title"].as_str().unwrap().contains(&shown),
            "{}",
            seen["title"]
        );
        let rows = seen["tables"]["requests"].as_array().unwrap();
        assert!(
            rows.iter().any(|row| row[0] == format!("GET {shown}")),
            "{rows:?}"
        );
    }
}

#[test]
fn two_runs_are_compared_figure_by_figure() {
    let files = run();
    // The second: half the throughput, twice the time.
    let mut other = files.summary.clone();
    for metric in other["metrics"].as_array_mut().unwrap() {
        let (key, factor) = match metric["metric"].as_str().unwrap() {
            "http_req_duration" => ("p99", 2.0),
            "http_reqs" => ("per_second", 0.5),
            _ => continue,
        };
        let figure = metric["agg"][key].as_f64().unwrap();
        metric["agg"][key] = json!(figure * factor);
    }
    other["environment"]["kernel"] = json!("9.9.9");
    fs::write(files.path("other.json"), other.to_string()).unwrap();
    let page = files.path("compare.html");
    let (code, ..) = output(&[
        "report",
        &files.path("summary.json"),
        &files.path("other.json"),
        "-o",
        &page,
    ]);
    assert_eq!(code, 0);
    let (_, markdown, _) = output(&[
        "report",
        &files.path("summary.json"),
        &files.path("other.json"),
        "--format",
        "markdown",
    ]);
    let line = |metric: &str, key: &str| {
        let begin = format!("| `{metric}` | {key} |");
        markdown
            .lines()
            .find(|line| line.starts_with(&begin))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("http_req_duration", "p99").ends_with("| +100.0 % | worse |"),
        "{markdown}"
    );
    assert!(line("http_reqs", "per second").ends_with("| -50.0 % | worse |"));
    assert!(line("http_reqs", "count").ends_with("| = |  |"));
    assert!(markdown.contains("They ran on different kernels."));
    let Some(seen) = tools::look(Path::new(&page), "compare") else {
        return;
    };
    assert_eq!(seen["console"], json!([]));
    let rows = seen["tables"]["figures"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row[0] == "http_req_duration" && row[1] == "p99")
        .unwrap();
    near(
        row[2].as_str().unwrap(),
        agg(&files.summary, "http_req_duration")["p99"]
            .as_f64()
            .unwrap(),
    );
    near(
        row[3].as_str().unwrap(),
        agg(&other, "http_req_duration")["p99"].as_f64().unwrap(),
    );
    assert_eq!(row[4], "+100.0 % worse");
    assert_eq!(seen["phoneWidth"], 390);
    assert_eq!(seen["unnamed"], 0);
    assert_eq!(
        seen["atLast"]["rps"].as_array().unwrap().len(),
        3,
        "a line of each run"
    );
}

#[test]
fn junit_has_a_case_for_each_threshold_and_check() {
    let files = run();
    let xml = fs::read_to_string(files.path("junit.xml")).unwrap();
    let (_, again, _) = output(&["report", &files.path("summary.json"), "--format", "junit"]);
    assert_eq!(xml, again);
    // An XML parser that is not ours.
    let script = "import sys, json, xml.etree.ElementTree as E\n\
        root = E.parse(sys.argv[1]).getroot()\n\
        print(json.dumps([[s.get('name'), c.get('name'), None if c.find('failure') is None else c.find('failure').get('message')]\n\
        for s in root for c in s if c.tag == 'testcase']))";
    let output = std::process::Command::new("python3")
        .args(["-c", script, &files.path("junit.xml")])
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: python3 is missing");
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let cases: Vec<(String, String, Option<String>)> =
        serde_json::from_slice(&output.stdout).unwrap();
    let failed = |suite: &str, name: &str| {
        let case = cases.iter().find(|(s, n, _)| s == suite && n == name);
        case.unwrap_or_else(|| panic!("{name}: {cases:?}"))
            .2
            .clone()
    };
    assert_eq!(failed("thresholds", "http_req_duration: p(95)<5s"), None);
    assert!(
        failed("thresholds", "http_req_duration: p(99)<1ns")
            .unwrap()
            .starts_with("observed ")
    );
    let check = HOSTILE.replace('\u{1b}', "\\u{1b}");
    assert!(failed("checks", &check).unwrap().ends_with(" failed"));
    assert_eq!(failed("run", "the run ended as planned"), None);
}

#[test]
fn markdown_keeps_a_hostile_name_in_one_cell() {
    let (_, text, _) = output(&[
        "report",
        &run().path("summary.json"),
        "--format",
        "markdown",
    ]);
    let check = text
        .lines()
        .find(|line| line.starts_with("| ``<img"))
        .unwrap();
    let cells = check.replace("\\|", "").matches('|').count();
    assert_eq!(cells, 5, "{check}");
    assert!(
        !text.contains('\u{1b}') && text.contains("**❌ 1 of 3 thresholds failed**"),
        "{text}"
    );
}

#[test]
fn the_format_follows_the_name_of_the_output() {
    let files = run();
    for (name, begins) in [
        ("a.html", "<!doctype html>"),
        ("a.xml", "<?xml"),
        ("a.md", "## "),
    ] {
        let path = files.path(name);
        assert_eq!(
            output(&["report", &files.path("run.hlog"), "-o", &path]).0,
            0
        );
        assert!(
            fs::read_to_string(path).unwrap().starts_with(begins),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_summary_is_said_and_nothing_is_written() {
    let files = run();
    let text = fs::read_to_string(files.path("summary.json")).unwrap();
    let cases = [
        (
            "cut.json",
            text[..text.len() / 2].to_owned(),
            "it ends in the middle",
        ),
        (
            "newer.json",
            text.replace("\"format\": 1", "\"format\": 2"),
            "it has format 2",
        ),
        ("other.json", "{\"results\": 3}".to_owned(), "missing field"),
        (
            "wrong.json",
            text.replace("\"duration_secs\": ", "\"duration_secs\": \"x\", \"was\": "),
            "line ",
        ),
        ("empty.json", String::new(), "it ends in the middle"),
        ("deep.json", "[".repeat(1 << 20), "invalid type"),
    ];
    let out = files.path("nothing.html");
    for (name, text, says) in cases {
        fs::write(files.path(name), text).unwrap();
        let (code, stdout, stderr) = output(&["report", &files.path(name), "-o", &out]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{name}");
        assert!(
            stderr.contains(name) && stderr.contains(says),
            "{name}: {stderr}"
        );
    }
    let (code, _, stderr) = output(&["report", "/no/such.json"]);
    assert!(
        code == 1 && stderr.contains("/no/such.json: No such file"),
        "{stderr}"
    );
    assert!(!Path::new(&out).exists());
    let two = files.path("summary.json");
    let (code, _, stderr) = output(&["report", &two, &two, "--format", "junit"]);
    assert!(code == 1 && stderr.contains("JUnit"), "{stderr}");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_the_run() {
    let target = target();
    let url = format!("http://{}/", target.address());
    for flag in ["--summary-export", "--histograms", "--junit"] {
        let (code, stdout, stderr) =
            output(&["run", &url, "-n", "1", flag, "/no/such/folder/file"]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(
            stderr.contains("cannot write /no/such/folder/file"),
            "{stderr}"
        );
    }
    let (code, stdout, stderr) = output(&[
        "run",
        &url,
        "-n",
        "1",
        "--junit",
        "/tmp/x",
        "--histograms",
        "/tmp/x",
    ]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("--histograms and --junit would both write /tmp/x"),
        "{stderr}"
    );
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_file_and_costs_no_other_file() {
    let target = target();
    let url = format!("http://{}/", target.address());
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let (code, stdout, stderr) = output(&[
        "run",
        &url,
        "--cores",
        "1",
        "-n",
        "5",
        "-c",
        "1",
        "--summary-export",
        "/dev/full",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cannot write /dev/full: No space left on device"),
        "{stderr}"
    );
    assert!(stdout.contains("http_reqs"), "the summary is still printed");
    assert!(fs::read_to_string(junit).unwrap().contains("</testsuites>"));

    // A disk of 64 KiB, where the system lets a test have one.
    let script = "mount -t tmpfs -o size=64k none \"$1\" || exit 77\n\
        head -c 56k /dev/zero > \"$1/other\"\n\
        \"$2\" run \"$3\" --cores 1 -n 5 -c 1 --quiet --histograms \"$1/run.hlog\"; echo \"code $?\"; ls -A \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .args([env!("CARGO_BIN_EXE_loadr-fast"), &url])
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) && !output.stdout.is_empty() => output,
        _ => return eprintln!("skipped: no mount of its own"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stdout, "code 1\nother\n", "{stderr}");
    assert!(
        stderr.contains("run.hlog: No space left on device"),
        "{stderr}"
    );
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
