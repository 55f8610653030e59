//! What is done with responses, by the real binary: extractors, conditions, chains, and bodies that are not what they
//! should be.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Run, plan, repository, run_file, run_plan, target};

const ONCE: &str = "executor: per-vu-iterations\n    vus: 1\n    iterations: 1";

/// Runs a flow once against the built-in target, whose `/echo` answers with what it was sent.
fn run(flow: &str) -> Run {
    let target = target();
    let base_url = format!("http://{}", target.address());
    let run = run_plan(&plan(&base_url, ONCE, flow), &["--cores", "1"]);
    target.stop();
    run
}

/// A request that gets `body` back, with more keys.
fn echo(body: &str, keys: &str) -> String {
    let body = body.replace('\'', "''");
    format!("      - request: {{ name: r, method: POST, url: /echo, body: '{body}', {keys} }}\n")
}

#[test]
fn the_examples_take_out_what_they_say() {
    for example in ["login", "scrape", "chains"] {
        let path = repository(&format!("examples/{example}.yaml"));
        let run = run_file(&path, &["--embedded-target", "--duration", "300ms"]);
        assert_eq!(run.code, 0, "{example}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.failed(), 0, "{example}: {:#}", run.summary["errors"]);
        assert!(run.count("http_reqs") > 10, "{example}");
        assert!(
            (run.metric("checks", "rate") - 1.0).abs() < 1e-9,
            "{example}: {}",
            run.stdout
        );
    }
}

#[test]
fn a_body_that_is_not_what_it_should_be_fails_the_request_by_name() {
    for (body, extract, says) in [
        (
            "no json",
            "type: jsonpath, name: a, expression: $.a",
            "the body is not JSON: expected a value at byte 0",
        ),
        (
            "<a>",
            "type: xpath, name: a, expression: //a",
            "the body is not XML: ",
        ),
        (
            "[1,",
            "chain: a, jmespath: a",
            "the body is not JSON: the text ends at byte 3",
        ),
    ] {
        let run = run(&echo(body, &format!("extract: [{{ {extract} }}]")));
        assert_eq!(
            (run.failed(), run.errors("body_parse")),
            (1, 1),
            "{}",
            run.stdout
        );
        let errors = run.summary["errors"].to_string();
        assert!(errors.contains(says), "{errors}");
    }
}

#[test]
fn nothing_found_is_the_default_or_an_error() {
    let run = run(&echo(
        r#"{"b":1}"#,
        "extract: [{ type: jsonpath, name: a, expression: $.a, default: x }, { type: jsonpath, name: b, expression: $.c }]",
    ));
    assert_eq!(
        (run.failed(), run.errors("extract")),
        (1, 1),
        "{}",
        run.stdout
    );
    let errors = run.summary["errors"].to_string();
    assert!(errors.contains("nothing found for `b`"), "{errors}");
}

#[test]
fn failed_conditions_say_what_was_found() {
    let run = run(&echo(
        r#"{"a":"b","n":1.0}"#,
        "assert: [{ type: jsonpath, expression: $.a, equals: c }, { type: size, max: 3 }, { type: header, header: x-none }, \
         { type: jsonpath, expression: $.n, equals: 1 }, { type: size, equals: 17 }, { type: duration, max: 1m }]",
    ));
    assert_eq!(
        (run.failed(), run.errors("assert")),
        (1, 3),
        "{}",
        run.stdout
    );
    // The list has one example of a kind, so each is looked at alone.
    for (condition, said) in [
        (
            "{ type: jsonpath, expression: $.a, equals: c }",
            "jsonpath `$.a` is `c` (found `b`)",
        ),
        (
            "{ type: header, header: x-none }",
            "header `x-none` exists (found nothing)",
        ),
    ] {
        let run = self::run(&echo(
            r#"{"a":"b","n":1.0}"#,
            &format!("assert: [{condition}]"),
        ));
        let errors = run.summary["errors"].to_string();
        assert!(errors.contains(said), "{errors}");
    }
}

#[test]
fn the_check_of_a_chain_fails_the_request_and_aborts_what_it_says() {
    let flow = echo(
        r#"{"n":"12"}"#,
        "extract: [{ chain: n, jsonpath: $.n, as: int, check: { max: 9, on_failure: abort_iteration } }]",
    );
    let run = run(&(flow + "      - request: { name: never, url: / }\n"));
    assert_eq!(
        (run.failed(), run.errors("assert")),
        (1, 1),
        "{}",
        run.stdout
    );
    assert_eq!(run.count("http_reqs"), 1);
    let errors = run.summary["errors"].to_string();
    assert!(errors.contains("`n`: `12` is more than 9"), "{errors}");
}

#[test]
fn the_size_of_a_body_that_nobody_reads_is_known() {
    let run = run(
        "      - request: { url: /bytes/100000, assert: [{ type: size, equals: 100000 }] }\n      \
         - request: { url: /chunked/70000, assert: [{ type: size, min: 70000, max: 70000 }] }\n",
    );
    assert_eq!(
        (run.failed(), run.count("http_reqs")),
        (0, 2),
        "{:#}",
        run.summary["errors"]
    );
}
