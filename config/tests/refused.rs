//! Everything of the language that this version does not do is refused by name, where it is written.
#![allow(clippy::unwrap_used)]

mod support;

use support::{errors, plan_with_request};

/// Asserts that the one error is at this place and says that this is not available and what works instead.
fn refused(plan: &str, place: &str, what: &str) {
    let found = errors(plan);
    let start = format!("{place}: {what} is not available in this version | ");
    assert!(
        found.len() == 1 && found[0].starts_with(&start) && found[0].len() > start.len() + 8,
        "expected only {start:?}, found {found:#?}, in the plan:\n{plan}"
    );
}

#[test]
fn top_level_keys() {
    for (key, value) in [
        ("secrets", "{ a: { env: A } }"),
        ("data", "{ users: { type: csv, path: a.csv } }"),
        ("metrics", "{ a: { kind: counter } }"),
        ("outputs", "[ { type: json, path: a } ]"),
        ("engine", "{ cores: 2 }"),
        ("js", "{ script: x }"),
        ("observe", "{}"),
    ] {
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
    for (key, value) in [
        ("max_redirects", "3"),
        ("proxy", "http://p:1"),
        ("hosts", "{ a: 127.0.0.1 }"),
        ("tls", "{ insecure_skip_verify: true }"),
    ] {
        let plan = plan(&format!("http: {{ {key}: {value} }}"));
        refused(
            &plan,
            &format!("2:11: defaults.http.{key}"),
            &format!("`{key}`"),
        );
    }
    for (key, value) in [
        ("follow_redirects", "true"),
        ("compression", "true"),
        ("cookies", "true"),
        ("cache", "true"),
        ("discard_response_bodies", "true"),
        ("tracing", "true"),
        ("keep_alive", "false"),
    ] {
        let plan = plan(&format!("http: {{ {key}: {value} }}"));
        let column = 13 + key.len();
        refused(
            &plan,
            &format!("2:{column}: defaults.http.{key}"),
            &format!("`{key}: {value}`"),
        );
    }
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
fn executors() {
    for (executor, keys) in [
        (
            "ramping-vus",
            "start_vus: 1, stages: [ { duration: 1s, target: 5 } ], graceful_ramp_down: 3s",
        ),
        (
            "shared-iterations",
            "vus: 1, iterations: 10, max_duration: 1m",
        ),
        (
            "constant-arrival-rate",
            "rate: 1, time_unit: 1s, duration: 1s, pre_allocated_vus: 1, max_vus: 2, arrival: poisson",
        ),
        (
            "ramping-arrival-rate",
            "start_rate: 1, time_unit: 1s, stages: [], pre_allocated_vus: 1, max_vus: 2",
        ),
        ("externally-controlled", "max_vus: 2, duration: 1s"),
    ] {
        let plan = format!(
            "scenarios:\n  s: {{ executor: {executor}, {keys}, flow: [ {{ request: {{ url: 'http://h' }} }} ] }}\n"
        );
        refused(
            &plan,
            "2:18: scenarios.s.executor",
            &format!("`executor: {executor}`"),
        );
    }
}

#[test]
fn scenario_keys() {
    for (key, value) in [
        ("pacing", "{ iterations_per_second: 1 }"),
        ("throttle", "{ requests_per_second: 1 }"),
        ("exec", "f"),
        ("stages", "[]"),
        ("start_vus", "1"),
        ("graceful_ramp_down", "1s"),
        ("rate", "1"),
        ("start_rate", "1"),
        ("time_unit", "1s"),
        ("pre_allocated_vus", "1"),
        ("max_vus", "1"),
        ("arrival", "uniform"),
    ] {
        for executor in [
            "constant-vus, duration: 1s",
            "per-vu-iterations, iterations: 1",
        ] {
            let plan = format!(
                "scenarios:\n  s:\n    {key}: {value}\n    <executor>\n    vus: 1\n    flow: [ {{ request: {{ url: 'http://h' }} }} ]\n"
            );
            let plan = plan.replace(
                "<executor>",
                &format!("executor: {}", executor.replace(", ", "\n    ")),
            );
            refused(
                &plan,
                &format!("3:5: scenarios.s.{key}"),
                &format!("`{key}`"),
            );
        }
    }
}

#[test]
fn steps() {
    for step in [
        "parallel: { branches: [] }",
        "rendezvous: { name: r, users: 2 }",
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
    for (line, place, what) in [
        (
            "follow_redirects: true",
            "11:29: R.follow_redirects",
            "`follow_redirects: true`",
        ),
        ("protocol: grpc", "11:21: R.protocol", "`protocol: grpc`"),
        ("body: { file: a.txt }", "11:19: R.body.file", "`file`"),
        (
            "body: { multipart: [] }",
            "11:19: R.body.multipart",
            "`multipart`",
        ),
    ] {
        let plan = plan_with_request(&format!("url: http://h/\n{line}"));
        refused(&plan, &place.replace('R', request), what);
    }
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
