//! Every mistake is found, placed on the right line and column, and explained.
#![allow(clippy::unwrap_used)]

mod support;

use support::{compile, errors, options, plan_with_request, warnings};

fn check(cases: &[(&str, &[&str])]) {
    for (plan, expected) in cases {
        let found = errors(plan);
        assert_eq!(found, *expected, "in the plan:\n{plan}");
    }
}

/// Cases inside a request, whose keys begin on line 10 in column 11.
fn check_request(cases: &[(&str, &[&str])]) {
    for (keys, expected) in cases {
        let plan = plan_with_request(keys);
        assert_eq!(errors(&plan), *expected, "in the plan:\n{plan}");
    }
}

#[test]
fn a_document_that_is_no_plan_is_refused() {
    check(&[
        (
            "",
            &["1:1: the plan is empty | a plan needs at least `scenarios:`"],
        ),
        (
            "# nothing\n",
            &["1:1: the plan is empty | a plan needs at least `scenarios:`"],
        ),
        ("- a\n", &["1:1: expected a mapping (a plan), found a list"]),
        (
            "hello",
            &["1:1: expected a mapping (a plan), found the text `hello`"],
        ),
        (
            "name: x",
            &["1:1: a plan needs `scenarios` | What runs: all of them at once"],
        ),
        ("scenarios: {}", &["1:12: scenarios: the mapping is empty"]),
        ("scenarios:\n", &["1:10: scenarios: the mapping is empty"]),
        (
            "a: 1\n---\nb: 2\n",
            &[
                "2:1: a second document | one file is one plan; put the second document in a file of its own",
            ],
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            &["3:1: a: duplicate key `a` | keep one of the two"],
        ),
        (
            "1: x\n",
            &[
                "1:1: 1: the key `1` is not text | write `\"1\"` in quotes",
                "1:1: a plan needs `scenarios` | What runs: all of them at once",
            ],
        ),
        (
            "? [a]\n: b\n",
            &[
                "1:3: a key must be text, not a list or a mapping | a `{` at the start of a value must be in quotes when it is meant as text",
            ],
        ),
        (
            "a: &x { b: 1 }\nc: { <<: *x }\n",
            &[
                "2:6: c[\"<<\"]: merge keys (`<<`) are not supported | write the keys out, or put an alias (`*name`) where a whole value goes",
            ],
        ),
        (
            "a: !!binary x\n",
            &[
                "1:4: a: the tag `tag:yaml.org,2002:!binary` means nothing here | a value that begins with `!` must be in quotes",
            ],
        ),
        (
            "a: !foo x\n",
            &[
                "1:4: a: the tag `!foo` means nothing here | a value that begins with `!` must be in quotes",
            ],
        ),
    ]);
}

#[test]
fn text_that_is_no_yaml_is_placed() {
    for (plan, place) in [
        ("a: [1, 2\nb: 3\n", "2:"),
        ("a: 'x\n", "1:"),
        ("a: b: c\n", "1:"),
        ("a:\n\t- b\n", "2:"),
        ("a: *nothing\n", "1:"),
        ("a: &x [ *x ]\n", "1:"),
        ("a: \"\\q\"\n", "1:"),
        ("%YAML 9.9\n---\na: 1\n", "1:"),
    ] {
        let found = errors(plan);
        assert_eq!(found.len(), 1, "{plan}: {found:?}");
        assert!(found[0].starts_with(place), "{plan}: {found:?}");
    }
    let tab = errors("a:\n\t- b\n");
    assert!(
        tab[0].ends_with("| indent with spaces: YAML takes no tabs there"),
        "{tab:?}"
    );
}

#[test]
fn unknown_keys_are_named_with_what_was_meant() {
    check(&[
        (
            "scenario: {}\n",
            &["1:1: scenario: unknown key `scenario` | did you mean `scenarios`?"],
        ),
        (
            "defaults: { http: { base-url: x } }\nscenarios: { s: { executor: constant-vus, vus: 1, duration: 1, flow: [ { request: { url: 'http://h' } } ] } }\n",
            &["1:21: defaults.http.base-url: unknown key `base-url` | did you mean `base_url`?"],
        ),
    ]);
    check_request(&[
        (
            "urll: http://h/",
            &["10:11: scenarios.s.flow[0].request.urll: unknown key `urll` | did you mean `url`?"],
        ),
        (
            "url: http://h/\nextract: [ { typ: regex, name: a, expression: (x) } ]",
            &[
                "11:24: scenarios.s.flow[0].request.extract[0].typ: unknown key `typ` | did you mean `type`?",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: header, name: a, header: b, group: 1 } ]",
            &[
                "11:58: scenarios.s.flow[0].request.extract[0].group: a `header` extractor has no `group` | `type: regex` has it",
            ],
        ),
        (
            "url: http://h/\nassert: [ { type: body_contain, value: a } ]",
            &[
                "11:29: scenarios.s.flow[0].request.assert[0].type: unknown type `body_contain` | did you mean `body_contains`?",
            ],
        ),
        (
            "url: http://h/\nassert: [ { value: a } ]",
            &[
                "11:21: scenarios.s.flow[0].request.assert[0]: a condition needs `type` | there are `status`, `body_contains`, `body_matches`, `plugin`, `jsonpath`, `xpath`, `duration`, `size` and `header`",
            ],
        ),
        (
            "url: http://h/\nbodyy: x",
            &[
                "11:11: scenarios.s.flow[0].request.bodyy: unknown key `bodyy` | did you mean `body`?",
            ],
        ),
    ]);
}

#[test]
fn scenarios_must_be_able_to_run() {
    let flow = "flow: [ { request: { url: 'http://h' } } ]";
    for (keys, expected) in [
        (
            "executor: constant-vus, vus: 0, duration: 1s",
            vec!["2:37: scenarios.s.vus: `0` is less than 1, the least there is"],
        ),
        (
            "executor: constant-vus, vus: -3, duration: 1s",
            vec!["2:37: scenarios.s.vus: `-3` is less than 1, the least there is"],
        ),
        (
            "executor: constant-vus, vus: 10000001, duration: 1s",
            vec!["2:37: scenarios.s.vus: `10000001` is more than 10000000, the most there is"],
        ),
        (
            "executor: constant-vus, vus: 1.5, duration: 1s",
            vec!["2:37: scenarios.s.vus: expected a whole number, found `1.5`"],
        ),
        (
            "executor: constant-vus, vus: '1', duration: 1s",
            vec!["2:37: scenarios.s.vus: expected a whole number, found the text `1`"],
        ),
        (
            "executor: constant-vus, vus: 1, duration: 0s",
            vec!["2:50: scenarios.s.duration: the duration must be more than zero"],
        ),
        (
            "executor: constant-vus, vus: 1, duration: -1s",
            vec!["2:50: scenarios.s.duration: `-1s` is negative"],
        ),
        (
            "executor: constant-vus, vus: 1, duration: 1y",
            vec![
                "2:50: scenarios.s.duration: `1y` has the unknown unit `y`; there are us, ms, s, m, h and d",
            ],
        ),
        (
            "executor: constant-vus, vus: 1, duration: 400d",
            vec!["2:50: scenarios.s.duration: `400d` is longer than 366 days"],
        ),
        (
            "executor: constant-vus, vus: 1, duration: [1]",
            vec!["2:50: scenarios.s.duration: expected a duration such as `30s`, found a list"],
        ),
        (
            "executor: constant-vus, vus: 1",
            vec![
                "2:6: scenarios.s: a `constant-vus` scenario needs `duration` | How long they loop",
            ],
        ),
        (
            "executor: per-vu-iterations, vus: 1, iterations: 0",
            vec!["2:57: scenarios.s.iterations: `0` is less than 1, the least there is"],
        ),
        (
            "vus: 1, duration: 1s",
            vec![
                "2:6: scenarios.s: a scenario needs `executor` | there are `constant-vus`, `ramping-vus`, `per-vu-iterations`, `shared-iterations`, `constant-arrival-rate`, `ramping-arrival-rate` and `externally-controlled`",
            ],
        ),
        (
            "executor: constant-vu, vus: 1, duration: 1s",
            vec![
                "2:18: scenarios.s.executor: unknown executor `constant-vu` | did you mean `constant-vus`?",
            ],
        ),
        (
            "executor: 5",
            vec![
                "2:18: scenarios.s.executor: unknown executor `5` | there are `constant-vus`, `ramping-vus`, `per-vu-iterations`, `shared-iterations`, `constant-arrival-rate`, `ramping-arrival-rate` and `externally-controlled`",
            ],
        ),
    ] {
        let plan = format!("scenarios:\n  s: {{ {keys}, {flow} }}\n");
        assert_eq!(errors(&plan), expected, "in the plan:\n{plan}");
    }
    check(&[
        (
            "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1, flow: [] } }\n",
            &["1:70: scenarios.s.flow: the list is empty"],
        ),
        (
            "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1 } }\n",
            &[
                "1:17: scenarios.s: a `constant-vus` scenario needs `flow` | The steps of one iteration",
            ],
        ),
        (
            "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1, flow: [ {} ] } }\n",
            &[
                "1:72: scenarios.s.flow[0]: a step needs a key: `request`, `think_time`, `group`, `repeat`, `during`, `foreach`, `random`, `switch`, `retry`, `parallel` and `rendezvous`",
            ],
        ),
        (
            "scenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    duration: 1\n    flow:\n      - request:\n        url: http://h/\n",
            &[
                "7:16: scenarios.s.flow[0].request: a request needs `url` | Absolute, or relative to `defaults.http.base_url`",
                "8:9: scenarios.s.flow[0].url: unknown key `url` | a step has `request`, `think_time`, `group`, `repeat`, `during`, `foreach`, `random`, `switch`, `retry`, `parallel` and `rendezvous`",
            ],
        ),
        (
            "scenarios: [ a ]\n",
            &["1:12: scenarios: expected a mapping, found a list"],
        ),
    ]);
}

#[test]
fn thresholds_and_plugins_are_checked() {
    let plan = |more: &str| {
        let plan = plan_with_request("url: http://h/\nname: home")
            .replace("plugins: [ { name: judge } ]\n", "");
        format!("{plan}{more}\n")
    };
    for (more, expected) in [
        (
            "thresholds: { http_req_durations: [ 'avg<1' ] }",
            "11:15: thresholds.http_req_durations: unknown metric `http_req_durations` | did you mean `http_req_duration`?",
        ),
        (
            "thresholds: { 'vus{a': [ 'avg<1' ] }",
            "11:15: thresholds[\"vus{a\"]: `vus{a` has no closing `}`",
        ),
        (
            "thresholds: { http_req_failed: [ 'p(95)<1' ] }",
            "11:34: thresholds.http_req_failed[0]: `p(95)` does not go with a rate | write something like `rate<0.01`",
        ),
        (
            "thresholds: { http_req_duration: 'p(95)' }",
            "11:34: thresholds.http_req_duration: `p(95)` has no comparison | write something like `p(95)<400ms`",
        ),
        (
            "thresholds: { http_req_duration: [ { treshold: 'avg<1' } ] }",
            "11:38: thresholds.http_req_duration[0].treshold: unknown key `treshold` | did you mean `threshold`?",
        ),
        (
            "thresholds: { http_req_duration: [ { threshold: 'avg<1x' } ] }",
            "11:49: thresholds.http_req_duration[0].threshold: `1x` is not a bound | write milliseconds or a duration: `400`, `1.5s`",
        ),
        (
            "plugins: [ { name: a }, { name: a } ]",
            "11:33: plugins[1].name: the plugin `a` is listed twice",
        ),
        (
            "plugins: [ { path: a } ]",
            "11:12: plugins[0]: a plugin needs `name` | What steps call it",
        ),
        (
            "plugins: [ { name: a, limits: { memory: 1KiB } } ]",
            "11:41: plugins[0].limits.memory: the size must be at least 65536 bytes",
        ),
        (
            "plugins: [ { name: a, limits: { memory: 5GiB } } ]",
            "11:41: plugins[0].limits.memory: the size must be at most 4294967296 bytes",
        ),
        (
            "plugins: [ { name: a, limits: { memory: lots } } ]",
            "11:41: plugins[0].limits.memory: `lots` is not a size such as `64KiB`",
        ),
        (
            "plugins: [ { name: a, limits: { call_timeout: 0 } } ]",
            "11:47: plugins[0].limits.call_timeout: the duration must be more than zero",
        ),
        (
            "plugins: [ { name: a, config: 5 } ]",
            "11:31: plugins[0].config: expected a mapping, found `5`",
        ),
        (
            "plugins: [ { name: a, instance: vus } ]",
            "11:33: plugins[0].instance: unknown value `vus` | did you mean `vu`?",
        ),
    ] {
        assert_eq!(errors(&plan(more)), [expected]);
    }
}

#[test]
fn every_error_is_found_in_one_pass() {
    let plan = "\
nam: x
defaults: { http: { timeout: never, proxy: x } }
scenarios:
  a: { executor: constant-vus, vus: none, duration: 1s, flow: [ { request: { url: 'http://h:0/', headers: { ' ': x } } }, { request: { headers: { a: \"\\n\" } } } ] }
  b: { executor: per-vu-iterations, vus: 1, iterations: 1, flow: [ { wait: 1 }, { request: { url: http://h, method: '?', body: { json: '${js: 1}' } } } ] }
thresholds: { nothing: [ 'a<1' ] }
";
    let failure = compile(plan).unwrap_err();
    let places: Vec<_> = failure
        .diagnostics
        .iter()
        .map(|d| d.path.as_str())
        .collect();
    assert_eq!(
        places,
        [
            "nam",
            "defaults.http.timeout",
            "defaults.http.proxy",
            "scenarios.a.vus",
            "scenarios.a.flow[0].request.url",
            "scenarios.a.flow[0].request.headers[\" \"]",
            "scenarios.a.flow[1].request",
            "scenarios.a.flow[1].request.headers.a",
            "scenarios.b.flow[0].wait",
            "scenarios.b.flow[1].request.method",
            "scenarios.b.flow[1].request.body.json",
            "thresholds.nothing",
        ]
    );
}

#[test]
fn columns_count_characters() {
    check(&[(
        "{ \"é\": 1, \"漢字🎉\": 2 }\n",
        &[
            "1:1: a plan needs `scenarios` | What runs: all of them at once",
            "1:3: é: unknown key `é` | a plan has `name`, `description`, `defaults`, `env`, `variables`, `secrets`, `data`, `metrics`, `scenarios`, `thresholds`, `outputs`, `plugins`, `engine` and `capacity`",
            "1:11: [\"漢字🎉\"]: unknown key `漢字🎉` | a plan has `name`, `description`, `defaults`, `env`, `variables`, `secrets`, `data`, `metrics`, `scenarios`, `thresholds`, `outputs`, `plugins`, `engine` and `capacity`",
        ],
    )]);
}

#[test]
fn a_failure_prints_as_compilers_do() {
    let failure = compile(&plan_with_request("urll: http://h/\nmethod: '?'")).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "/plans/plan.yaml:10:11: scenarios.s.flow[0].request.urll: unknown key `urll`\n  help: did you mean `url`?\n\
         /plans/plan.yaml:11:19: scenarios.s.flow[0].request.method: `?` is not a method\n  help: write one such as `GET` or `POST`"
    );
}

#[test]
fn what_is_odd_but_allowed_is_a_warning() {
    for (keys, expected) in [
        (
            "url: 'http://h/${tokne}'\nextract: [ { type: header, name: token, header: x } ]",
            "10:16: scenarios.s.flow[0].request.url: nothing in this scenario sets `tokne`: every request that needs it will fail | did you mean `token`?",
        ),
        (
            "url: 'http://h/${shop}'",
            "10:16: scenarios.s.flow[0].request.url: nothing in this scenario sets `shop`: every request that needs it will fail | `${vars.shop}` is the constant",
        ),
        (
            "url: 'http://h/a#b'",
            "10:16: scenarios.s.flow[0].request.url: the part of a URL from `#` on is never sent | write `%23` for a literal `#`",
        ),
        (
            "url: http://h/\nchecks: [ { type: status, equals: 200, on_failure: abort_test } ]",
            "11:62: scenarios.s.flow[0].request.checks[0].on_failure: a check is only counted: its `on_failure` does nothing | put it under `assert` to act on it",
        ),
    ] {
        assert_eq!(warnings(&plan_with_request(keys)), [expected]);
    }
    let plan = plan_with_request("url: http://h/\nname: home");
    for (more, expected) in [
        (
            "thresholds: { 'http_reqs{name:hoem}': [ 'count>1' ] }",
            "12:15: thresholds[\"http_reqs{name:hoem}\"]: no name is `hoem`, so this threshold always passes | did you mean `home`?",
        ),
        (
            "thresholds: { 'http_reqs{nam:home}': [ 'count>1' ] }",
            "12:15: thresholds[\"http_reqs{nam:home}\"]: nothing carries the tag `nam`, so this threshold always passes | did you mean `name`?",
        ),
        (
            "thresholds: { http_req_failed: [ 'rate<5' ] }",
            "12:34: thresholds.http_req_failed[0]: a rate goes from 0 to 1, so `rate<5` says nothing | write `0.05` for 5 %",
        ),
        (
            "metrics: { carts: { kind: counter } }",
            "12:12: metrics.carts: nothing here fills metrics of the plan's own: it stays empty | tags on requests split the built-in metrics",
        ),
    ] {
        assert_eq!(warnings(&format!("{plan}{more}\n")), [expected]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = std::env::temp_dir().join(format!("loadr-config-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("plan.yaml");
    let message = |path: &std::path::Path| {
        loadr_config::load(path, &options())
            .unwrap_err()
            .diagnostics[0]
            .message
            .clone()
    };
    assert!(message(&file).starts_with("cannot be read: "));
    assert_eq!(message(&dir), "is a directory, not a file");
    std::fs::write(&file, b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(
        message(&file),
        "is not UTF-8: line 2 has a byte that no UTF-8 text has there"
    );
    std::fs::File::create(&file)
        .unwrap()
        .set_len(loadr_config::MAX_PLAN_BYTES + 1)
        .unwrap();
    assert_eq!(message(&file), "the plan is larger than 16 MiB");
    std::fs::write(&file, plan_with_request("url: http://h/")).unwrap();
    assert_eq!(
        loadr_config::load(&file, &options()).unwrap().program.name,
        "plan"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn cores_are_a_number_or_a_list() {
    let plan = plan_with_request("url: http://h/");
    for (cores, wrong) in [
        ("0", "at least one core is needed"),
        ("4-2", "the range 4-2 is not ascending, or too long"),
        ("1,1", "a core is listed twice"),
        (
            "all",
            "write a number of cores such as 4, or a list such as 2-9,12 (one core: 3-3)",
        ),
    ] {
        let found = errors(&format!("{plan}engine: {{ cores: '{cores}' }}\n"));
        assert_eq!(found, [format!("11:18: engine.cores: {wrong}")]);
    }
    let found = errors(&format!("{plan}engine: {{ core: 2 }}\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("did you mean `cores`?"), "{found:?}");
}

#[test]
fn a_misspelt_executor_hides_no_other_mistake() {
    let rest = "vus: 1, duraton: 5s, flow: [ { request: { url: 'http://h', metod: GET } } ] } }";
    for (executor, first) in [
        (
            "excutor: constant-vus",
            "1:19: scenarios.s.excutor: unknown key `excutor` | did you mean `executor`?",
        ),
        (
            "executor: constant-vu",
            "1:29: scenarios.s.executor: unknown executor `constant-vu` | did you mean `constant-vus`?",
        ),
    ] {
        let plan = format!("scenarios: {{ s: {{ {executor}, {rest}\n");
        let found = errors(&plan);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(found[0], first);
        assert!(found[1].contains("unknown key `duraton`"), "{found:#?}");
        assert!(found[2].contains("unknown key `metod`"), "{found:#?}");
    }
}

#[test]
fn what_a_beginner_writes_is_answered_with_what_to_write() {
    for (flow, expected) in [
        (
            "think_time: 2",
            "expected a mapping (a think time), found `2` | write `{ type: constant, duration: 2s }`",
        ),
        (
            "request: http://h/",
            "expected a mapping (a request), found the text `http://h/` | write `{ url: /path }`",
        ),
    ] {
        let plan = format!(
            "scenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1s, flow: [ {{ {flow} }} ] }} }}\n"
        );
        let found = errors(&plan);
        assert!(
            found.len() == 1 && found[0].ends_with(expected),
            "{found:#?}"
        );
    }
    let plan = "scenarios: { s: { executor: constant-vus, vus: 99999999999999999999999999, duration: 1s, flow: [] } }\n";
    assert_eq!(
        errors(plan),
        ["1:48: the number is too large | no key takes so large a number; in quotes it is text"]
    );
}
