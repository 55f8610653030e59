//! The JSON Schema of plans against the plans there are. That every sound plan of the other tests fits it is seen to
//! where they compile one, in `support`.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use serde_json::Value as Json;
use support::{errors, plan_with_request, schema_errors};

fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut plans: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    plans.sort();
    assert!(plans.len() >= 5, "the examples are where they were");
    plans
}

#[test]
fn every_example_fits() {
    for (path, text) in examples() {
        assert_eq!(schema_errors(&text), Vec::<String>::new(), "{path}");
    }
}

/// Every definition, and within it every property.
fn properties(schema: &Json) -> Vec<(String, &Json)> {
    let definitions = schema["$defs"].as_object().unwrap();
    definitions
        .iter()
        .flat_map(|(name, definition)| {
            let properties = definition["properties"].as_object();
            let properties = properties.into_iter().flatten();
            properties.map(move |(key, property)| (format!("{name}.{key}"), property))
        })
        .collect()
}

#[test]
fn it_describes_every_key_and_its_defaults_fit() {
    let schema = loadr_config::schema();
    let all = properties(&schema);
    assert!(all.len() > 100, "{}", all.len());
    let mut defaults = 0;
    for (name, property) in all {
        let is_tag = property.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(
            is_tag || property["description"].is_string(),
            "{name} has no description"
        );
        let Some(default) = property.get("default") else {
            continue;
        };
        defaults += 1;
        let mut alone = property.clone();
        alone["$defs"] = schema["$defs"].clone();
        assert!(
            jsonschema::is_valid(&alone, default),
            "{name}: {default} is not what it takes"
        );
    }
    assert!(defaults >= 15, "{defaults}");
}

#[test]
fn it_is_a_schema() {
    let schema = loadr_config::schema();
    jsonschema::meta::validate(&schema).unwrap();
    let names: Vec<_> = schema["$defs"].as_object().unwrap().keys().collect();
    for name in [
        "request",
        "step",
        "constant-vus-scenario",
        "plan-in-overlay",
    ] {
        assert!(names.iter().any(|n| *n == name), "no {name} in {names:?}");
    }
    assert!(!names.iter().any(|n| n.ends_with('-')), "{names:?}");
}

#[test]
fn shapes_that_are_wrong_do_not_fit_and_are_errors() {
    let request = |keys: &str| plan_with_request(&format!("url: http://h/\n{keys}"));
    for plan in [
        "name: x\n".to_owned(),
        "scenarios: {}\n".to_owned(),
        request("urll: x"),
        request("timeout: never"),
        request("timeout: 0"),
        request("headers: [a]"),
        request("body: { json: 1, form: { a: b } }"),
        request("extract: [ { type: regexp, name: a, expression: b } ]"),
        request("extract: [ { type: regex, name: a } ]"),
        request("checks: [ { type: status, equals: 20 } ]"),
        request("checks: [ { type: status, value: x } ]"),
        request("assert: [ { type: status, equals: 200, on_failure: stop } ]"),
        request("") + "plugin: []\n",
        request("") + "      - think_time: 5s\n",
        request("") + "      - think_time: { type: uniform, min: 1s }\n",
        request("") + "      - { repeat: { times: 2, steps: [] } }\n",
        request("") + "      - { group: { name: a, steps: [ { requests: { url: / } } ] } }\n",
        request("") + "env: { a: { scenarios: { s: { vus: 0 } } } }\n",
        request("") + "env: { a: { defaults: { http: { time_out: 1s } } } }\n",
        request("") + "env: { a: { env: {} } }\n",
        request("").replace("vus: 1", "vus: many"),
        request("").replace("duration: 1s", "durations: 1s"),
    ] {
        assert!(!errors(&plan).is_empty(), "it compiles:\n{plan}");
        assert!(!schema_errors(&plan).is_empty(), "it fits:\n{plan}");
    }
}

#[test]
fn an_overlay_needs_nothing_and_may_leave_the_executor_out() {
    for overlay in [
        "{}",
        "{ scenarios: { s: { vus: 5, duration: 3s } } }",
        "{ scenarios: { s: { executor: per-vu-iterations, iterations: 3 } } }",
        "{ defaults: { http: { headers: { a: b } } }, thresholds: { http_reqs: count>1 } }",
    ] {
        let plan = plan_with_request("url: http://h/") + &format!("env: {{ a: {overlay} }}\n");
        assert_eq!(errors(&plan), Vec::<String>::new(), "{plan}");
        assert_eq!(schema_errors(&plan), Vec::<String>::new(), "{plan}");
    }
}
