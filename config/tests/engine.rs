//! `engine`: what it takes, what flags lay over it, and which scenarios are pipelined.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::path::Path;

use loadr_config::{Options, Program};
use support::{errors, good, lines, warnings};

fn plan(engine: &str, scenario: &str, flow: &str) -> String {
    format!(
        "engine: {{ {engine} }}\ndefaults: {{ http: {{ base_url: 'http://h' }} }}\ndata: {{ d: {{ type: inline, rows: [ {{ n: 1 }} ] }} }}\n\
         scenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    duration: 1s\n{scenario}    flow:\n{flow}"
    )
}

const ONE: &str = "      - request: { url: / }\n";

fn program(text: &str) -> Program {
    good(text).program
}

#[test]
fn the_defaults_hold_where_nothing_is_said() {
    for text in [
        plan("", "", ONE),
        plan("max_headers: 128, max_body: 64MiB, pipeline: 1", "", ONE),
    ] {
        let program = program(&text);
        assert_eq!(program.limits.body_bytes_max, 64 << 20);
        assert_eq!(program.limits.headers_max, 128);
        assert_eq!(program.scenarios[0].pipeline, 1);
    }
}

#[test]
fn what_the_plan_says_is_taken_and_flags_replace_it() {
    let text = plan("pipeline: 8, max_body: 1MiB, max_headers: 500", "", ONE);
    let program = program(&text);
    assert_eq!(
        (program.limits.body_bytes_max, program.limits.headers_max),
        (1 << 20, 500)
    );
    assert_eq!(program.scenarios[0].pipeline, 8);
    let options = Options {
        pipeline: Some(3),
        max_body_bytes: Some(77),
        max_headers: Some(9),
        ..Options::default()
    };
    for text in [
        text,
        plan("", "", ONE),
        plan("", "", ONE).replace("engine: {  }\n", ""),
    ] {
        let compiled = loadr_config::compile(&text, Path::new("plan.yaml"), &options).unwrap();
        let program = &compiled.program;
        assert_eq!(
            (program.limits.body_bytes_max, program.limits.headers_max),
            (77, 9)
        );
        assert_eq!(program.scenarios[0].pipeline, 3);
        let printed = compiled.effective_plan();
        assert!(
            printed.contains("pipeline: 3") && printed.contains("max_body: 77"),
            "{printed}"
        );
    }
    let options = Options {
        pipeline: Some(9999),
        ..Options::default()
    };
    let failure = loadr_config::compile(&plan("", "", ONE), Path::new("p"), &options).unwrap_err();
    let line = lines(&failure.diagnostics).join("\n");
    assert!(
        line.contains("--pipeline") && line.contains("more than 1024"),
        "{line}"
    );
}

#[test]
fn wrong_values_and_keys_are_told_with_their_place() {
    for (engine, wanted) in [
        ("pipeline: 0", "1:21: engine.pipeline: `0` is less than 1"),
        (
            "pipeline: 2000",
            "1:21: engine.pipeline: `2000` is more than 1024",
        ),
        ("pipeline: many", "expected a whole number"),
        (
            "max_body: 0",
            "1:21: engine.max_body: the size must be at least 1",
        ),
        ("max_body: 64XB", "engine.max_body"),
        ("max_headers: 99999", "engine.max_headers"),
        ("pipelines: 2", "did you mean `pipeline`?"),
        ("max_bdy: 2", "did you mean `max_body`?"),
    ] {
        let errors = errors(&plan(engine, "", ONE)).join("\n");
        assert!(errors.contains(wanted), "{engine}: {errors}");
    }
}

#[test]
fn a_scenario_in_which_something_waits_for_a_response_is_not_pipelined_and_the_plan_is_told_why() {
    let two = |first: &str, second: &str| {
        format!(
            "      - request: {{ name: a, url: /a{first} }}\n      - request: {{ name: b, url: /b{second} }}\n"
        )
    };
    let extract = ", extract: [ { type: header, name: id, header: x } ]";
    for (scenario, flow, why) in [
        (
            "",
            two(extract, ", headers: { y: \"${id}\" }"),
            "reads `${id}`, which a response sets",
        ),
        ("", two(extract, ", body: \"${id}\""), "reads `${id}`"),
        (
            "",
            two(extract, "")
                + "      - switch: { value: \"${id}\", cases: { x: [ { request: { url: / } } ] } }\n",
            "reads `${id}`",
        ),
        (
            "",
            two("", "") + "      - think_time: { type: constant, duration: 1s }\n",
            "`think_time` begins when a response has come",
        ),
        (
            "    think_time: { type: constant, duration: 1s }\n",
            two("", ""),
            "`think_time`",
        ),
        (
            "",
            two("", "") + "      - retry: { steps: [ { request: { url: / } } ] }\n",
            "`retry`",
        ),
        (
            "",
            two("", "") + "      - parallel: { branches: [ [ { request: { url: / } } ] ] }\n",
            "`parallel`",
        ),
        (
            "",
            two("", "") + "      - rendezvous: { name: r, users: 1 }\n",
            "`rendezvous`",
        ),
        (
            "    pacing: { iterations_per_second: 5 }\n",
            two("", ""),
            "`pacing`",
        ),
        (
            "    throttle: { requests_per_second: 5 }\n",
            two("", ""),
            "`throttle`",
        ),
        (
            "",
            two(
                "",
                ", assert: [ { type: status, equals: 200, on_failure: abort_iteration } ]",
            ),
            "`b` can end its iteration",
        ),
        (
            "",
            two(
                "",
                ", checks: [ { type: body_contains, value: \"${iteration}\" } ]",
            ),
            "a condition or chain of `b` reads a value",
        ),
        (
            "",
            two(
                "",
                ", checks: [ { type: header, header: x, equals: \"${data.d.n}\" } ]",
            ),
            "a condition or chain of `b` reads a value",
        ),
        (
            "",
            two("", "") + "      - request: { name: c, url: \"http://other/\" }\n",
            "`c` goes to another origin",
        ),
    ] {
        let text = plan("pipeline: 4", scenario, &flow);
        let warnings = warnings(&text);
        assert!(
            warnings.len() == 1
                && warnings[0]
                    .starts_with("1:21: engine.pipeline: the scenario `s` is not pipelined: ")
                && warnings[0].contains(why),
            "{why}: {warnings:?}"
        );
        assert_eq!(program(&text).scenarios[0].pipeline, 1);
        // Nobody asked.
        assert!(
            support::warnings(&plan("", scenario, &flow)).is_empty(),
            "{why}"
        );
    }
    let open = plan("pipeline: 4", "", ONE).replace(
        "executor: constant-vus\n    vus: 1\n    duration: 1s",
        "executor: constant-arrival-rate\n    rate: 1\n    duration: 1s\n    pre_allocated_vus: 1",
    );
    assert!(warnings(&open)[0].contains("when they are due"));
    let closing = plan("pipeline: 4", "", ONE).replace(
        "base_url: 'http://h'",
        "base_url: 'http://h', keep_alive: false",
    );
    assert!(warnings(&closing)[0].contains("keep_alive"));
    let caching = closing.replace("keep_alive: false", "cache: true");
    assert!(warnings(&caching)[0].contains("`cache` is on"));
}

#[test]
fn a_flow_in_which_nothing_waits_is_pipelined() {
    let flow = r#"
      - request: { url: "/${vu}/${iteration}/${data.d.n}/${uuid}", extract: [ { type: header, name: id, header: x } ], checks: [ { type: header, header: x, equals: "${vu}" } ] }
      - group: { name: g, steps: [ { request: { url: /g, method: POST, body: x, assert: [ { type: status, equals: 200, on_failure: abort_test } ] } } ] }
      - repeat: { times: 2, counter: n, steps: [ { request: { url: "/${n}" } } ] }
      - foreach: { items: [ a ], var: item, steps: [ { request: { url: "/${item}" } } ] }
      - random: { choices: [ { weight: 1, steps: [ { request: { url: / } } ] } ] }
      - during: { duration: 1ms, steps: [ { request: { url: / } } ] }
      - switch: { value: "${vu}", cases: { "1": [ { request: { url: / } } ] } }
"#;
    let text = plan("pipeline: 4", "", flow);
    assert_eq!(warnings(&text), Vec::<String>::new());
    assert_eq!(program(&text).scenarios[0].pipeline, 4);
}
