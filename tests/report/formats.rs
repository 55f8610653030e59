//! What other programs read: the summary by its schema, JUnit XML, Markdown.

use std::fs;

use serde_json::{Value, json};

use super::{HOSTILE, output, run};

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
