//! Everything of the language that this version does not do is refused by name, where it is written.
#![allow(clippy::unwrap_used)]

mod support;

use support::{errors, plan_with_request, schema_errors};

/// Asserts that the one error is at this place and says that this is not available and what works instead.
fn refused(plan: &str, place: &str, what: &str) {
    let found = errors(plan);
    let start = format!("{place}: {what} is not available in this version | ");
    assert!(
        found.len() == 1 && found[0].starts_with(&start) && found[0].len() > start.len() + 8,
        "expected only {start:?}, found {found:#?}, in the plan:\n{plan}"
    );
    assert!(
        !schema_errors(plan).is_empty(),
        "an editor offers it, in the plan:\n{plan}"
    );
}

#[test]
fn top_level_keys() {
    for (key, value) in [("js", "{ script: x }"), ("observe", "{}")] {
        let plan = plan_with_request("url: http://h/") + &format!("{key}: {value}\n");
        refused(&plan, &format!("11:1: {key}"), &format!("`{key}`"));
    }
}

#[test]
fn defaults() {
    let plan = |line: &str| {
        format!(
            "defaults:\n  {line}\n{}",
            plan_with_request("url: http://h/")
        )
    };
    for version in ["http2", "http2-prior-knowledge"] {
        let plan = plan(&format!("http: {{ version: {version} }}"));
        refused(
            &plan,
            "2:20: defaults.http.version",
            &format!("`{version}`"),
        );
    }
}

#[test]
fn scripts_of_scenarios() {
    for executor in [
        "constant-vus, duration: 1s",
        "per-vu-iterations, iterations: 1",
    ] {
        let plan = format!(
            "scenarios:\n  s:\n    exec: f\n    executor: {}\n    vus: 1\n    flow: [ {{ request: {{ url: 'http://h' }} }} ]\n",
            executor.replace(", ", "\n    ")
        );
        refused(&plan, "3:5: scenarios.s.exec", "`exec`");
    }
}

#[test]
fn steps() {
    for step in [
        "js: x()",
        "while: { condition: x, steps: [] }",
        "if: { condition: x, then: [] }",
    ] {
        let plan = plan_with_request("url: http://h/") + &format!("      - {step}\n");
        let key = step.split(':').next().unwrap();
        refused(
            &plan,
            &format!("11:9: scenarios.s.flow[1].{key}"),
            &format!("`{key}`"),
        );
    }
}

#[test]
fn request_keys() {
    for line in [
        "ws: {}",
        "grpc: {}",
        "graphql: { query: x }",
        "socket: {}",
        "sse: {}",
        "sql: {}",
    ] {
        let key = line.split(':').next().unwrap();
        refused(
            &plan_with_request(&format!("url: http://h/\n{line}")),
            &format!("11:11: scenarios.s.flow[0].request.{key}"),
            &format!("`{key}`"),
        );
    }
    let request = "scenarios.s.flow[0].request";
    refused(
        &plan_with_request("url: http://h/\nprotocol: grpc"),
        &format!("11:21: {request}.protocol"),
        "`protocol: grpc`",
    );
}

#[test]
fn scripts_as_conditions() {
    for list in ["assert", "checks"] {
        refused(
            &plan_with_request(&format!(
                "url: http://h/\n{list}: [ {{ type: js, expression: x, name: a }} ]"
            )),
            &format!("11:29: scenarios.s.flow[0].request.{list}[0].type"),
            "`type: js`",
        );
    }
}
