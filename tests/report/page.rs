//! The pages of one run and of two, as a browser shows them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{HOSTILE, output, run, run_in, tools};

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

fn agg<'s>(summary: &'s Value, metric: &str) -> &'s Value {
    let mut metrics = summary["metrics"].as_array().unwrap().iter();
    &metrics.find(|m| m["metric"] == metric).unwrap()["agg"]
}
