//! `loadr-fast validate`, for people and for programs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;

use common::{examples, loadr, repository};

const WRONG: &str = "scenarios:\n  s:\n    executor: constant-vus\n    vus: 0\n    duration: 1s\n    flow:\n      - request: { urll: http://127.0.0.1:1/ }\n";

fn output(args: &[&str]) -> (i32, String) {
    let output = loadr().arg("validate").args(args).output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn every_mistake_is_shown_with_its_line_and_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    fs::write(&path, WRONG).unwrap();
    let (code, text) = output(&[path.to_str().unwrap()]);
    assert_eq!(code, 1);
    for part in [
        "wrong.yaml:4:10: scenarios.s.vus: `0` is less than 1",
        "  4 |     vus: 0\n    |          ^\n",
        "  7 |       - request: { urll: http://127.0.0.1:1/ }\n    |                    ^\n  help: did you mean `url`?\n",
        "wrong.yaml: 2 errors\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn several_plans_are_one_json_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    fs::write(&path, WRONG).unwrap();
    let quickstart = repository("examples/quickstart.yaml");
    let files = [
        quickstart.to_str().unwrap(),
        path.to_str().unwrap(),
        "/no/such/plan.yaml",
    ];
    let (code, text) = output(&[&["--format", "json"], &files[..]].concat());
    assert_eq!(code, 1);
    let reports: serde_json::Value = serde_json::from_str(&text).unwrap();
    let valid: Vec<_> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["valid"].clone())
        .collect();
    assert_eq!(valid, [true, false, false]);
    let first = &reports[1]["errors"][0];
    assert_eq!(
        (first["line"].as_u64(), first["path"].as_str()),
        (Some(4), Some("scenarios.s.vus"))
    );
}

#[test]
fn every_example_is_sound() {
    for path in examples() {
        let (code, text) = output(&[path.to_str().unwrap()]);
        assert_eq!((code, text), (0, format!("{}: sound\n", path.display())));
    }
}

#[test]
fn a_plugin_that_does_not_fit_is_an_error_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let plugin = repository("examples/plugins/order-check");
    let plan = format!(
        "plugins: [{{ name: p, path: \"{}\" }}]\nscenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    duration: 1s\n    flow:\n      - request: {{ url: \"http://h/\", extract: [{{ type: plugin, name: x, plugin: p }}] }}\n",
        plugin.display()
    );
    fs::write(&path, plan).unwrap();
    let (code, text) = output(&[path.to_str().unwrap()]);
    assert!(code == 1 && text.contains("`p` is no extractor"), "{text}");
}

#[test]
fn every_example_says_what_it_shows_and_how_to_run_it_and_is_in_the_table() {
    let table = fs::read_to_string(repository("examples/README.md")).unwrap();
    let plans: Vec<_> = fs::read_dir(repository("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(plans.len() >= 12, "{}", plans.len());
    for path in &plans {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let comment: String = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .collect();
        let is_run = |command: &str| {
            comment.contains(&format!("{command} --embedded-target examples/{name}"))
        };
        assert!(
            comment.len() > 60 && (is_run("run") || is_run("capacity")),
            "{name}: {comment}"
        );
        assert!(
            table.contains(&format!("[`{name}`]({name})")),
            "{name} is not in the table"
        );
    }
    assert_eq!(
        table.matches("| [`").count(),
        plans.len(),
        "the table names a plan that is not there"
    );
}

#[test]
fn files_of_tls_are_looked_at_where_something_goes_over_it() {
    for (scheme, code) in [("https", 1), ("http", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let plan = folder.path().join("plan.yaml");
        let text = format!(
            "defaults: {{ http: {{ base_url: '{scheme}://127.0.0.1:1', tls: {{ ca_file: none.pem }} }} }}\n\
             scenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1s, flow: [ {{ request: {{ url: / }} }} ] }} }}\n"
        );
        fs::write(&plan, text).unwrap();
        let output = loadr().arg("validate").arg(&plan).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("none.pem"), code == 1, "{said}");
    }
}

#[test]
fn another_base_url_can_be_checked_with() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.yaml");
    let text = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: / } } ] } }\n";
    fs::write(&plan, text).unwrap();
    for (flags, code) in [(&[][..], 1), (&["--base-url", "http://127.0.0.1:1"], 0)] {
        let output = loadr().arg("validate").args(flags).arg(&plan).output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{flags:?}");
    }
}
