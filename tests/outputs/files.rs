//! Outputs that are files: JSON lines and CSV.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::common::{run_file, run_plan};
use super::{assert_all_taken, close, expected, hostile_plan, outputs};

#[test]
fn files_add_up_to_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let (json, csv) = (folder.path().join("a.json"), folder.path().join("a.csv"));
    let list = format!(
        "  - {{ type: json, path: {} }}\n  - {{ type: csv, path: {} }}",
        json.display(),
        csv.display()
    );
    // Ends in the middle of a second, with a piece too short for the timeline.
    let (_target, plan) = hostile_plan("2100ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_all_taken(&run);
    assert!(run.stdout.contains("OUTPUTS"), "{}", run.stdout);

    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in fs::read_to_string(&json).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] == "Point" {
            let data = &line["data"];
            let sum = sums.entry(line["metric"].as_str().unwrap().to_owned());
            let sum = sum.or_default();
            sum.0 += data
                .get("count")
                .unwrap_or(&data["value"])
                .as_f64()
                .unwrap();
            sum.1 += data["sum"].as_f64().unwrap_or(0.0);
        }
    }
    let mut rows: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let text = fs::read_to_string(&csv).unwrap();
    let mut records = quoted_rows(&text).into_iter();
    let header = records.next().unwrap();
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let (metric, value, count, sum) = (at("metric"), at("value"), at("count"), at("sum"));
    for row in records {
        let number = |at: usize| row[at].parse::<f64>().ok();
        let into = rows.entry(row[metric].clone()).or_default();
        into.0 += number(count).or_else(|| number(value)).unwrap();
        into.1 += number(sum).unwrap_or(0.0);
    }
    for name in [
        "http_reqs",
        "http_req_duration",
        "http_req_waiting",
        "http_req_failed",
        "checks",
        "iterations",
        "iteration_duration",
        "data_sent",
        "data_received",
        "generator_lag",
    ] {
        let wanted = expected(&run, name);
        for (file, found) in [("json", sums[name]), ("csv", rows[name])] {
            assert_eq!(found.0, wanted.0, "{file} {name}");
            let is_trend = sums[name].1 > 0.0;
            assert!(
                !is_trend || close(found.1, wanted.1),
                "{file} {name}: {found:?} {wanted:?}"
            );
        }
    }
    let raw = fs::read_to_string(&json).unwrap();
    assert!(!raw.contains('\u{1b}'));
}

/// RFC 4180, read by other code than wrote it.
fn quoted_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    rows
}

#[test]
fn every_request_has_a_line_where_samples_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let list = format!(
        "  - {{ type: json, path: {}, samples: true }}",
        json.display()
    );
    let (_target, plan) = hostile_plan("1100ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_all_taken(&run);
    let (started, ended) = (
        run.summary["started_ms"].as_f64().unwrap(),
        run.summary["ended_ms"].as_f64().unwrap(),
    );
    let (mut requests, mut missing, mut sum) = (0, 0, 0.0);
    for line in fs::read_to_string(&json).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] == "Request" {
            requests += 1;
            missing += u64::from(line["status"] == 404 && line["name"] == "missing");
            sum += line["duration"].as_f64().unwrap();
            let time = line["time_ms"].as_f64().unwrap();
            // The clock of the run is set by its first second.
            assert!((started - 1e3..=ended + 1e3).contains(&time), "{time}");
        }
    }
    assert_eq!(requests, run.count("http_reqs"));
    assert_eq!(missing, run.requests_with("status", "404"));
    // Each is cut off at a tenth of a microsecond in each of three phases.
    let whole = expected(&run, "http_req_duration").1;
    assert!(
        (whole - sum).abs() <= requests as f64 * 3e-4 + 1e-6,
        "{sum} and not {whole}"
    );
}

#[test]
fn a_disk_that_is_full_in_mid_run_costs_points_and_not_the_summary() {
    let (_target, plan) = hostile_plan("1500ms", "  - { type: json, path: /dev/full }");
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let output = &outputs(&run)[0];
    assert_eq!(output["dropped"], output["points"]);
    assert!(output["error"].as_str().unwrap().contains("No space left"));
    assert!(run.stdout.contains("DROPPED") && run.count("http_reqs") > 0);
}

#[test]
fn an_output_that_leads_to_a_file_is_relative_to_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (_target, plan) = hostile_plan("200ms", "  - { type: json, path: out.jsonl }");
    let path = folder.path().join("plan.yaml");
    fs::write(&path, plan).unwrap();
    let run = run_file(&path, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(Path::new(&folder.path().join("out.jsonl")).exists());
}
