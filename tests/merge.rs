//! Histograms and their merge, held against another implementation and against the sums of the parts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use common::{loadr, output, repository, target};
use serde_json::Value;
use tempfile::TempDir;

/// Three runs of one plan, and one of another.
struct Runs {
    folder: TempDir,
    summaries: Vec<Value>,
}

impl Runs {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn runs() -> &'static Runs {
    static RUNS: OnceLock<Runs> = OnceLock::new();
    RUNS.get_or_init(|| {
        let target = target();
        let folder = tempfile::tempdir().unwrap();
        let plan = |path: &str| {
            format!(
                "defaults: {{ http: {{ base_url: \"http://{}\" }} }}\nscenarios:\n  s:\n    executor: constant-vus\n    vus: 2\n    \
                 duration: 1500ms\n    flow:\n      - request: {{ name: \"a, b\", url: {path}, checks: [ {{ type: status, name: c, equals: 200 }} ] }}\n      \
                 - request: {{ name: gone, url: /status/404 }}\n\
                 thresholds: {{ http_reqs: [\"count>10\"], \"http_req_duration{{name:gone}}\": [\"p(99)<1h\"] }}\n",
                target.address()
            )
        };
        let mut summaries = Vec::new();
        for (name, path) in [("a", "/delay/1"), ("b", "/delay/1"), ("c", "/delay/1"), ("other", "/delay/2")] {
            fs::write(folder.path().join("plan.yaml"), plan(path)).unwrap();
            let output = loadr()
                .args(["run", "--quiet", "--seed", "7", "--cores", "1", "--histograms"])
                .arg(folder.path().join(format!("{name}.hlog")))
                .arg("--summary-export")
                .arg(folder.path().join("summary.json"))
                .arg(folder.path().join("plan.yaml"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = fs::read(folder.path().join("summary.json")).unwrap();
            summaries.push(serde_json::from_slice(&text).unwrap());
        }
        Runs { folder, summaries }
    })
}

/// The summary of a merge, and what was said.
fn merged(files: &[&str], out: &str) -> (Value, String) {
    let (code, _, stderr) = output(&[&["merge", "-q", "-o", out], files].concat());
    assert_eq!(code, 0, "{stderr}");
    (
        serde_json::from_slice(&fs::read(out).unwrap()).unwrap(),
        stderr,
    )
}

fn agg<'s>(summary: &'s Value, metric: &str) -> &'s Value {
    let mut metrics = summary["metrics"].as_array().unwrap().iter();
    &metrics.find(|m| m["metric"] == metric).unwrap()["agg"]
}

fn figure(summary: &Value, metric: &str, key: &str) -> f64 {
    agg(summary, metric)[key].as_f64().unwrap()
}

/// A count, and percentiles in nanoseconds.
type Figures = (u64, BTreeMap<String, f64>);

/// What the other implementation says of logs, by tag.
fn read_elsewhere(files: &[&str]) -> Option<BTreeMap<String, Figures>> {
    let python = tools::hdr_python()?;
    let script = repository("tests/tools/read_log.py");
    let said = common::said(Command::new(python).arg(script).args(files));
    let one = |(tag, value): (&String, &Value)| {
        let percentiles = serde_json::from_value(value["percentiles"].clone()).unwrap();
        (tag.clone(), (value["count"].as_u64().unwrap(), percentiles))
    };
    Some(said["tags"].as_object().unwrap().iter().map(one).collect())
}

#[test]
fn another_implementation_reads_the_log_and_finds_the_figures_of_the_summary() {
    let runs = runs();
    let Some(tags) = read_elsewhere(&[&runs.path("a.hlog")]) else {
        return;
    };
    let summary = &runs.summaries[0];
    let series = summary["snapshot"]["series"].as_array().unwrap();
    let mut seen = 0;
    for one in series.iter().filter(|one| one["kind"] == "trend") {
        let tag = |name: &str| one["tags"][name].as_str();
        let metric = one["metric"].as_str().unwrap();
        let (_, (count, percentiles)) = tags
            .iter()
            .find(|(said, _)| {
                let name = tag("name").map(|name| format!("name:{}", name.replace(", ", "%2C%20")));
                said.split('{').next() == Some(metric)
                    && name.is_none_or(|name| said.contains(&name))
            })
            .unwrap_or_else(|| panic!("no {metric} in {:?}", tags.keys()));
        assert_eq!(one["agg"]["count"].as_u64(), Some(*count), "{metric}");
        for (percent, key) in [
            ("50", "med"),
            ("90", "p90"),
            ("95", "p95"),
            ("99", "p99"),
            ("99.9", "p999"),
        ] {
            let ours = one["agg"][key].as_f64().unwrap() * 1e6;
            // Ours never says more than the maximum, or more than 0 of what was 0.
            let theirs = percentiles[percent].min(one["agg"]["max"].as_f64().unwrap() * 1e6);
            assert!(
                (ours - theirs).abs() <= theirs * 0.001 + 512.0,
                "{metric} p{percent}: {ours} {theirs}"
            );
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
    // The seconds are all requests: what a tool sees that asks for no tag.
    let (count, _) = &tags[""];
    assert!(
        *count <= figure(summary, "http_req_duration", "count") as u64 && *count > 0,
        "{count}"
    );
}

#[test]
fn a_merge_has_the_sums_of_its_runs_and_the_percentiles_of_all_values() {
    let runs = runs();
    let files = ["a.hlog", "b.hlog", "c.hlog"].map(|name| runs.path(name));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (all, stderr) = merged(&files, &runs.path("all.json"));
    assert_eq!(stderr, "");
    let parts = &runs.summaries[..3];
    for metric in [
        "http_reqs",
        "http_req_duration",
        "iterations",
        "data_sent",
        "checks",
        "generator_lag",
    ] {
        let sum: f64 = parts.iter().map(|part| figure(part, metric, "count")).sum();
        assert_eq!(figure(&all, metric, "count"), sum, "{metric}");
    }
    let fold = |key: &str, f: fn(f64, f64) -> f64| {
        parts
            .iter()
            .map(|part| figure(part, "http_req_duration", key))
            .reduce(f)
            .unwrap()
    };
    assert_eq!(
        figure(&all, "http_req_duration", "min"),
        fold("min", f64::min)
    );
    assert_eq!(
        figure(&all, "http_req_duration", "max"),
        fold("max", f64::max)
    );
    let sum = fold("sum", |a, b| a + b);
    assert!((figure(&all, "http_req_duration", "sum") - sum).abs() < 1e-6 * sum);
    assert!((figure(&all, "http_req_failed", "rate") - 0.5).abs() < 0.01);
    assert_eq!(
        all["checks"][0]["passes"].as_u64().unwrap(),
        parts
            .iter()
            .map(|part| part["checks"][0]["passes"].as_u64().unwrap())
            .sum::<u64>()
    );
    assert_eq!(all["merged"]["runs"].as_array().unwrap().len(), 3);
    assert_eq!(all["plan_hash"], parts[0]["plan_hash"]);

    // Thresholds are judged on all of it.
    assert_eq!(
        all["thresholds"][0]["observed"].as_f64().unwrap(),
        figure(&all, "http_reqs", "count")
    );
    assert!(all["thresholds_passed"].as_bool().unwrap());

    // Rates are over the time from the first start to the last end.
    let starts = parts
        .iter()
        .map(|part| part["started_ms"].as_u64().unwrap())
        .min()
        .unwrap();
    let ends = parts
        .iter()
        .map(|part| part["ended_ms"].as_u64().unwrap())
        .max()
        .unwrap();
    assert!((all["duration_secs"].as_f64().unwrap() - (ends - starts) as f64 / 1e3).abs() < 0.5);
    assert!(all["timeline"].as_array().unwrap().len() >= 3);

    // The percentiles, against histograms added up elsewhere.
    let Some(tags) = read_elsewhere(&files) else {
        return;
    };
    for (tag, metric, name) in [
        ("a%2C%20b", "http_req_duration", "a, b"),
        ("gone", "http_req_waiting", "gone"),
    ] {
        let series = all["snapshot"]["series"].as_array().unwrap();
        let ours = series
            .iter()
            .find(|one| one["metric"] == metric && one["tags"]["name"] == name)
            .unwrap();
        let (_, (count, theirs)) = tags
            .iter()
            .find(|(said, _)| said.starts_with(&format!("{metric}{{")) && said.contains(tag))
            .unwrap();
        assert_eq!(ours["agg"]["count"].as_u64(), Some(*count));
        for (percent, key) in [
            ("50", "med"),
            ("95", "p95"),
            ("99", "p99"),
            ("99.9", "p999"),
        ] {
            // Ours never says more than the exact maximum.
            let max = ours["agg"]["max"].as_f64().unwrap() * 1e6;
            let (ours, theirs) = (
                ours["agg"][key].as_f64().unwrap() * 1e6,
                theirs[percent].min(max),
            );
            assert!(
                (ours - theirs).abs() <= theirs * 0.001,
                "{metric} p{percent}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn a_merge_can_be_merged_again_and_equals_the_merge_of_all() {
    let runs = runs();
    let [a, b, c, ab] = ["a.hlog", "b.hlog", "c.hlog", "ab.hlog"].map(|name| runs.path(name));
    let (code, ..) = output(&["merge", "-q", "--histograms", &ab, &a, &b]);
    assert_eq!(code, 0);
    let (steps, _) = merged(&[&ab, &c], &runs.path("steps.json"));
    let (once, _) = merged(&[&a, &b, &c], &runs.path("once.json"));
    for key in [
        "metrics",
        "snapshot",
        "distribution",
        "thresholds",
        "checks",
        "errors",
        "duration_secs",
        "merged",
    ] {
        assert_eq!(close(&steps[key]), close(&once[key]), "{key}");
    }
    let (code, text, _) = output(&["merge", &ab, &c]);
    assert!(code == 0 && text.contains("http_req_duration"), "{text}");
    // It is read as any summary is, and fits the schema.
    let (code, html, _) = output(&["report", &runs.path("steps.json")]);
    assert!(code == 0 && html.contains("3 runs"));
    let (_, schema, _) = output(&["schema", "--summary"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(jsonschema::is_valid(&schema, &steps));
    let Some(tags) = read_elsewhere(&[&ab]) else {
        return;
    };
    assert!(tags.len() > 10);
}

/// Numbers to twelve digits: sums of floats depend on their order.
fn close(value: &Value) -> Value {
    match value {
        Value::Number(number) => format!("{:.11e}", number.as_f64().unwrap()).into(),
        Value::Array(list) => list.iter().map(close).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), close(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[test]
fn what_is_not_one_run_is_refused_by_name() {
    let runs = runs();
    let [a, b, other] = ["a.hlog", "b.hlog", "other.hlog"].map(|name| runs.path(name));
    let log = runs.log("a.hlog");
    let write = |name: &str, text: &str| {
        fs::write(runs.path(name), text).unwrap();
        runs.path(name)
    };
    let newer = write(
        "newer.hlog.txt",
        &log.replacen("\"format\":1,", "\"format\":2,", 1),
    );
    let cut = write("cut.hlog.txt", &log[..log.len() / 2]);
    let last = log.lines().last().unwrap();
    let no_end = write(
        "no-end.hlog.txt",
        log.strip_suffix(&format!("{last}\n")).unwrap(),
    );
    let a_line = log
        .lines()
        .find(|line| line.starts_with("Tag=http_req_duration"))
        .unwrap();
    let wrong = write(
        "wrong.hlog.txt",
        &log.replacen(a_line, &a_line.replacen("HIST", "HISS", 1), 1),
    );
    let fewer = write(
        "fewer.hlog.txt",
        &log.replacen("\"zeros\":0,", "\"zeros\":1,", 1),
    );
    let summary = runs.path("summary.json");
    for (files, says) in [
        (
            vec![&a, &other],
            vec!["other.hlog is of another plan than", "a.hlog", "plan hash"],
        ),
        (vec![&a, &a], vec!["is also in", "a.hlog"]),
        (vec![&a, &newer], vec!["newer.hlog.txt", "it has format 2"]),
        (
            vec![&b, &cut],
            vec!["cut.hlog.txt: it ends in the middle", "--allow-missing"],
        ),
        (
            vec![&b, &no_end],
            vec!["no-end.hlog.txt: it ends in the middle"],
        ),
        (
            vec![&b, &wrong],
            vec!["wrong.hlog.txt", "line ", "histogram"],
        ),
        (vec![&b, &fewer], vec!["fewer.hlog.txt", "exact figures"]),
        (
            vec![&summary],
            vec!["summary.json", "only that can be merged exactly"],
        ),
        (
            vec![&"/no/such.hlog".to_owned()],
            vec!["/no/such.hlog: No such file"],
        ),
    ] {
        let files: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
        let (code, stdout, stderr) = output(&[&["merge"], &files[..]].concat());
        assert_eq!((code, stdout.as_str()), (1, ""), "{files:?}");
        for part in says {
            assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
        }
    }
    // What is left out is named, in the summary too.
    let out = runs.path("part.json");
    let (part, stderr) = merged(&["--allow-missing", &b, &cut], &out);
    assert!(
        stderr.contains("warning: not in the summary: ") && stderr.contains("cut.hlog.txt"),
        "{stderr}"
    );
    assert!(
        part["merged"]["missing"][0]
            .as_str()
            .unwrap()
            .contains("cut.hlog.txt")
    );
    let (_, html, _) = output(&["report", &out]);
    assert!(html.contains("Parts of the run are missing"));
}

#[test]
fn segments_that_are_missing_are_named() {
    let runs = runs();
    let as_segment = |name: &str, index: u32, of: u32| -> String {
        let log = runs.log(name);
        // The place of a key is free.
        let text = log.replacen(
            "#[Summary: {",
            &format!("#[Summary: {{\"segment\":{{\"index\":{index},\"of\":{of}}},"),
            1,
        );
        let path = runs.path(&format!("{index}-of-{of}-{name}.part"));
        fs::write(&path, text).unwrap();
        path
    };
    let (first, third) = (as_segment("a.hlog", 0, 3), as_segment("b.hlog", 2, 3));
    let (code, _, stderr) = output(&["merge", &first, &third]);
    assert!(
        code == 1 && stderr.contains("segment 1 of 3 is missing"),
        "{stderr}"
    );
    let (part, _) = merged(
        &["--allow-missing", &first, &third],
        &runs.path("segments.json"),
    );
    assert_eq!(part["merged"]["segments"].as_array().unwrap().len(), 2);
    assert_eq!(part["merged"]["missing"][0], "segment 1 of 3 is missing");
    for (again, says) in [
        (as_segment("c.hlog", 0, 3), "segment 0 of 3 is there twice"),
        (
            as_segment("c.hlog", 1, 4),
            "it is one of 4 segments, others are of 3",
        ),
        (as_segment("c.hlog", 3, 3), "there is no segment 3 of 3"),
    ] {
        let (code, _, stderr) = output(&["merge", &first, &again]);
        assert!(code == 1 && stderr.contains(says), "{stderr}");
    }
    let second = as_segment("c.hlog", 1, 3);
    let (whole, _) = merged(&[&first, &third, &second], &runs.path("whole.json"));
    assert_eq!(whole["merged"]["missing"].as_array().unwrap().len(), 0);

    // What was merged without it is merged with it, in any order.
    let parts = runs.path("parts.hlog");
    let arguments = ["merge", "--allow-missing", &first, &third];
    let (code, _, stderr) = output(&[&arguments[..], &["--histograms", &parts]].concat());
    assert_eq!(code, 0, "{stderr}");
    for files in [[&parts, &second], [&second, &parts]] {
        let files = files.map(String::as_str);
        let (again, _) = merged(&files, &runs.path("again.json"));
        assert_eq!(again["merged"]["missing"].as_array().unwrap().len(), 0);
        let all = again["merged"]["segments"].as_array().unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(again["metrics"], whole["metrics"]);
    }
    let (code, _, stderr) = output(&["merge", "--allow-missing", &parts]);
    assert!(
        code == 0 && stderr.matches("segment 1 of 3 is missing").count() == 1,
        "{stderr}"
    );
}

#[test]
fn counts_that_do_not_fit_are_an_error_and_never_wrap() {
    let runs = runs();
    let log = runs.log("a.hlog");
    let sent = runs.summaries[0]["snapshot"]["series"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["metric"] == "data_sent")
        .unwrap();
    let count = sent["agg"]["count"].as_u64().unwrap();
    let write = |name: &str, run: &str| -> PathBuf {
        let id = runs.summaries[0]["run_id"].as_str().unwrap();
        let text = log
            .replace(
                &format!("\"count\":{count},"),
                "\"count\":9223372036854775807,",
            )
            .replace(id, run);
        let path = runs.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let files = [
        write("x.part", "x"),
        write("y.part", "y"),
        write("z.part", "z"),
    ];
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let (code, _, stderr) = output(&[&["merge"], &files[..]].concat());
    assert!(
        code == 1 && stderr.contains("more than can be counted"),
        "{stderr}"
    );
}

#[test]
fn a_directory_is_merged_by_its_files_names() {
    let runs = runs();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let (code, _, stderr) = output(&["merge", dir]);
    assert!(
        code == 1 && stderr.contains("no file named *.hlog"),
        "{stderr}"
    );
    for name in ["a.hlog", "b.hlog"] {
        fs::copy(runs.path(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "no log").unwrap();
    let (both, _) = merged(&[dir], &runs.path("dir.json"));
    assert_eq!(both["merged"]["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_merge_overwrites_none_of_what_it_reads_and_writes_no_file_twice() {
    let runs = runs();
    let (a, b) = (runs.path("a.hlog"), runs.path("b.hlog"));
    let before = runs.log("a.hlog");
    let linked = runs.path("link-to-a");
    std::os::unix::fs::symlink(&a, &linked).unwrap();
    let roundabout = format!("{}/../{}/a.hlog", runs.folder.path().display(), {
        runs.folder.path().file_name().unwrap().to_str().unwrap()
    });
    for (flag, place) in [("-o", &a), ("--histograms", &linked), ("-o", &roundabout)] {
        let (code, _, stderr) = output(&["merge", "-q", flag, place, &a, &b]);
        assert_eq!(code, 1);
        assert!(stderr.contains("would overwrite"), "{stderr}");
        assert_eq!(runs.log("a.hlog"), before);
    }
    let (x, y) = (runs.path("x.json"), runs.path("./x.json"));
    let (code, _, stderr) = output(&["merge", "-q", "-o", &x, "--histograms", &y, &a, &b]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("--output and --histograms would both write"),
        "{stderr}"
    );
    assert!(!PathBuf::from(&x).exists());
    fs::remove_file(&linked).unwrap();
}

#[test]
fn a_merge_writes_its_files_also_when_one_of_them_or_its_reader_fails() {
    let runs = runs();
    let histograms = runs.path("written.hlog.txt");
    // A full device takes nothing; and nobody reads standard output.
    let mut child = loadr()
        .args(["merge", "-o", "/dev/full", "--histograms", &histograms])
        .args([runs.path("a.hlog"), runs.path("b.hlog")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr.contains("cannot write /dev/full"), "{stderr}");
    assert!(fs::read_to_string(&histograms).unwrap().contains("HISTFAA"));
}
