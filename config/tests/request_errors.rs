//! Mistakes inside requests are found, placed on the right line and column, and explained.
#![allow(clippy::unwrap_used)]

mod support;

use support::{errors, plan_with_request};

/// Cases inside a request, whose keys begin on line 10 in column 11.
fn check_request(cases: &[(&str, &[&str])]) {
    for (keys, expected) in cases {
        let plan = plan_with_request(keys);
        assert_eq!(errors(&plan), *expected, "in the plan:\n{plan}");
    }
}

#[test]
fn urls_must_lead_somewhere_known() {
    check_request(&[
        (
            "url: /x",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL `/x` is relative, and there is no base URL | write `http://…`, set `defaults.http.base_url`, or pass `--base-url`",
            ],
        ),
        (
            "url: ws://h/",
            &[
                "10:16: scenarios.s.flow[0].request.url: `ws://` is not available in this version | `http://` and `https://` are",
            ],
        ),
        (
            "url: http://u:p@h/",
            &[
                "10:16: scenarios.s.flow[0].request.url: a user name in the URL is not supported | write an `authorization` header",
            ],
        ),
        (
            "url: http:///x",
            &["10:16: scenarios.s.flow[0].request.url: the URL has no host"],
        ),
        (
            "url: http://h:99999/",
            &[
                "10:16: scenarios.s.flow[0].request.url: the port `99999` is not between 1 and 65535",
            ],
        ),
        (
            "url: 'http://a b/'",
            &["10:16: scenarios.s.flow[0].request.url: `a b` is not a host"],
        ),
        (
            "url: //h/x",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL begins with `//` | write `http://h/x`, or one `/` for a path",
            ],
        ),
        (
            "url: localhost:80/x",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL `localhost:80/x` has no `http://` and does not begin with `/` | write `http://localhost:80/x`, or `/localhost:80/x` when it is a path",
            ],
        ),
        (
            "url: \"http://h/a\\nb\"",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL has the control character `\\n` | a `>` or `|` block ends in a line break: write the URL on one line",
            ],
        ),
        (
            "url: http://h${vu}/",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL's host depends on what is known only in the run | write the host out, or as `${env.NAME}` or `${vars.name}`; end it with `/`",
            ],
        ),
        (
            "url: '${vu}/x'",
            &[
                "10:16: scenarios.s.flow[0].request.url: the URL begins with what is known only in the run | begin with `/` or `http://`: where a request goes must be known before the run",
            ],
        ),
        (
            "url: [a]",
            &["10:16: scenarios.s.flow[0].request.url: expected text, found a list"],
        ),
        (
            "url: ~",
            &["10:16: scenarios.s.flow[0].request.url: expected text, found nothing"],
        ),
    ]);
    let with_base = |base: &str| {
        format!(
            "defaults: {{ http: {{ base_url: {base} }} }}\nscenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1, flow: [ {{ request: {{ url: /x }} }}, {{ request: {{ url: /y }} }} ] }} }}\n"
        )
    };
    for (base, expected) in [
        (
            "h/x",
            "1:31: defaults.http.base_url: the base URL `h/x` does not begin with `http://` | write `http://h/x`",
        ),
        (
            "ftp://h",
            "1:31: defaults.http.base_url: `ftp://` is not available in this version | `http://` and `https://` are",
        ),
        (
            "'http://h/?a'",
            "1:31: defaults.http.base_url: the base URL cannot have a query or a fragment | put them into `url` or `params`",
        ),
        (
            "'http://h/${vu}'",
            "1:31: defaults.http.base_url: the base URL cannot depend on what is known only in the run: `http://h/${vu}` | constants can be used: `${env.NAME}`, `${vars.name}`, `${scenario}`",
        ),
    ] {
        assert_eq!(errors(&with_base(base)), [expected]);
    }
}

#[test]
fn placeholders_must_mean_something() {
    for (placeholder, expected) in [
        (
            "${env.NOPE}",
            "the environment variable `NOPE` is not set | set it before the run: `export NOPE=…`",
        ),
        (
            "${env.TOKN}",
            "the environment variable `TOKN` is not set | did you mean `TOKEN`?",
        ),
        (
            "${vars.shpo}",
            "there is no variable `shpo` | did you mean `shop`?",
        ),
        (
            "${",
            "`${` has no closing `}` | write `$${` for a literal `${`",
        ),
        (
            "${a",
            "`${a` has no closing `}` | write `$${` for a literal `${`",
        ),
        (
            "${}",
            "`${}` names nothing | write `$${` for a literal `${`",
        ),
        (
            "${a b}",
            "`a b` is not a name | a name has letters, digits, `_` and `-`; write `$${` for a literal `${`",
        ),
        (
            "${var.x}",
            "unknown namespace `var` in `${var.x}` | did you mean `vars`?",
        ),
        (
            "${secrets.x}",
            "there is no secret `x` | secrets are listed under `secrets` at the top level",
        ),
        (
            "${data.users.name}",
            "there is no data source `users` | sources are listed under `data` at the top level",
        ),
        (
            "${js: 1 + 1}",
            "`${js: 1 + 1}` is not available in this version | there is no script engine; a plugin computes on responses",
        ),
    ] {
        for (keys, place) in [
            (
                format!("url: 'http://h/{placeholder}'"),
                "10:16: scenarios.s.flow[0].request.url",
            ),
            (
                format!("url: http://h/\nbody: '{placeholder}'"),
                "11:17: scenarios.s.flow[0].request.body",
            ),
            (
                format!("url: http://h/\nname: '{placeholder}'"),
                "11:17: scenarios.s.flow[0].request.name",
            ),
            (
                format!("url: http://h/\nparams: {{ a: '{placeholder}' }}"),
                "11:24: scenarios.s.flow[0].request.params.a",
            ),
            (
                format!("url: http://h/\nheaders: {{ a: '{placeholder}' }}"),
                "11:25: scenarios.s.flow[0].request.headers.a",
            ),
            (
                format!("url: http://h/\nbody: {{ json: [ 'x{placeholder}' ] }}"),
                "11:27: scenarios.s.flow[0].request.body.json[0]",
            ),
            (
                format!("url: http://h/\nbody: {{ form: {{ a: '{placeholder}' }} }}"),
                "11:30: scenarios.s.flow[0].request.body.form.a",
            ),
            (
                format!("url: http://h/\ntags: {{ a: '{placeholder}' }}"),
                "11:22: scenarios.s.flow[0].request.tags.a",
            ),
            (
                format!(
                    "url: http://h/\nassert: [ {{ type: body_contains, value: '{placeholder}' }} ]"
                ),
                "11:51: scenarios.s.flow[0].request.assert[0].value",
            ),
        ] {
            assert_eq!(
                errors(&plan_with_request(&keys)),
                [format!("{place}: {expected}")]
            );
        }
    }
}

#[test]
fn variables_hold_constants() {
    let plan = |variables: &str| {
        format!(
            "variables: {variables}\n{}",
            plan_with_request("url: http://h/")
                .replace("variables: { shop: 7, list: [1, two] }\n", "")
        )
    };
    for (variables, expected) in [
        (
            "{ a: '${env.NOPE}' }",
            "1:17: variables.a: the environment variable `NOPE` is not set | set it before the run: `export NOPE=…`",
        ),
        (
            "{ a: [ x, '${env.NOPE}' ] }",
            "1:22: variables.a[1]: the environment variable `NOPE` is not set | set it before the run: `export NOPE=…`",
        ),
        (
            "{ a: '${vars.b}', b: 1 }",
            "1:17: variables.a: `${vars.b}` cannot be used in `variables` | only `${env.NAME}` can",
        ),
        (
            "{ a: }",
            "1:14: variables.a: the variable `a` has no value | write `\"\"` for an empty text",
        ),
        ("[ a ]", "1:12: variables: expected a mapping, found a list"),
    ] {
        assert_eq!(errors(&plan(variables)), [expected]);
    }
}

#[test]
fn headers_and_methods_must_be_sendable() {
    check_request(&[
        (
            "url: http://h/\nheaders: { 'a b': c }",
            &[
                "11:22: scenarios.s.flow[0].request.headers[\"a b\"]: `a b` is not a header name | letters, digits and `!#$%&'*+-.^_`|~` make one",
            ],
        ),
        (
            "url: http://h/\nheaders: { a: \"b\\r\\nc: d\" }",
            &[
                "11:25: scenarios.s.flow[0].request.headers.a: a header value cannot have the control character `\\r`",
            ],
        ),
        (
            "url: http://h/\nheaders: { a: \"b\\0\" }",
            &[
                "11:25: scenarios.s.flow[0].request.headers.a: a header value cannot have the control character `\\u{0}`",
            ],
        ),
        (
            "url: http://h/\nheaders: { Content-Length: 5 }",
            &[
                "11:22: scenarios.s.flow[0].request.headers.Content-Length: `Content-Length` cannot be set | it is made from the body",
            ],
        ),
        (
            "url: http://h/\nheaders: { transfer-encoding: chunked }",
            &[
                "11:22: scenarios.s.flow[0].request.headers.transfer-encoding: `transfer-encoding` cannot be set | it is made from the body",
            ],
        ),
        (
            "url: http://h/\nheaders: { A: b, a: c }",
            &[
                "11:28: scenarios.s.flow[0].request.headers.a: the header `a` is there twice | names of headers are the same in upper and lower case",
            ],
        ),
        (
            "url: http://h/\nheaders: { host: '' }",
            &["11:28: scenarios.s.flow[0].request.headers.host: `host` is empty"],
        ),
        (
            "url: http://h/\nmethod: 'G ET'",
            &[
                "11:19: scenarios.s.flow[0].request.method: `G ET` is not a method | write one such as `GET` or `POST`",
            ],
        ),
        (
            "url: http://h/\nmethod: connect",
            &[
                "11:19: scenarios.s.flow[0].request.method: `CONNECT` asks for a tunnel, which is not a request | `OPTIONS` or `HEAD` reach the target without reading anything",
            ],
        ),
        (
            "url: http://h/\nmethod: TRACE\nbody: x",
            &[
                "11:19: scenarios.s.flow[0].request.method: `TRACE` cannot have a body | leave `body` out",
            ],
        ),
        (
            "url: http://h/\nbody: { json: .nan }",
            &[
                "11:25: scenarios.s.flow[0].request.body.json: `.nan` has no form in JSON | write it in quotes to send it as text",
            ],
        ),
        (
            "url: http://h/\nbody: { json: 1, form: {} }",
            &[
                "11:28: scenarios.s.flow[0].request.body.form: a body has one key; this one has `json` and `form` | begin a new item with `- `, or check the indentation",
            ],
        ),
        (
            "url: http://h/\ntimeout: 0",
            &["11:20: scenarios.s.flow[0].request.timeout: the duration must be more than zero"],
        ),
        (
            "url: http://h/\ntags: { a: '${vu}' }",
            &[
                "11:22: scenarios.s.flow[0].request.tags.a: a tag's value cannot depend on what is known only in the run: `${vu}` | constants can be used: `${env.NAME}`, `${vars.name}`, `${scenario}`",
            ],
        ),
    ]);
}

#[test]
fn extractors_and_conditions_must_be_able_to_hold() {
    check_request(&[
        (
            "url: http://h/\nextract: [ { type: regex, name: a, expression: 'x' } ]",
            &[
                "11:58: scenarios.s.flow[0].request.extract[0].expression: `x` has no group 1 | put parentheses around what to take, or write `group: 0` for the whole match",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: regex, name: a, expression: '(x)', group: 2 } ]",
            &[
                "11:58: scenarios.s.flow[0].request.extract[0].expression: `(x)` has no group 2 | its groups are 0 to 1",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: regex, name: a, expression: '(' } ]",
            &[
                "11:58: scenarios.s.flow[0].request.extract[0].expression: `(` is not a pattern: unclosed group",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: regex, name: a, expression: '(?=x)' } ]",
            &[
                "11:58: scenarios.s.flow[0].request.extract[0].expression: `(?=x)` is not a pattern: look-around, including look-ahead and look-behind, is not supported | patterns are matched in linear time, which look-around and backreferences do not allow",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: boundary, name: a, left: '', right: x } ]",
            &["11:55: scenarios.s.flow[0].request.extract[0].left: expected some text, found none"],
        ),
        (
            "url: http://h/\nextract: [ { type: header, name: vu, header: x } ]",
            &[
                "11:44: scenarios.s.flow[0].request.extract[0].name: `${vu}` has a meaning of its own, so a variable cannot be called that",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: header, name: a.b, header: x } ]",
            &[
                "11:44: scenarios.s.flow[0].request.extract[0].name: `a.b` is not a variable name | letters, digits, `_` and `-` make one",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: header, name: a, header: 'x y' } ]",
            &["11:55: scenarios.s.flow[0].request.extract[0].header: `x y` is not a header name"],
        ),
        (
            "url: http://h/\nextract: [ { type: regex, name: a, expression: (x), index: second } ]",
            &[
                "11:70: scenarios.s.flow[0].request.extract[0].index: unknown value `second` | there are `first`, `last`, `random` and `all`",
            ],
        ),
        (
            "url: http://h/\nextract: [ { type: plugin, name: a, plugin: jugde } ]",
            &[
                "11:55: scenarios.s.flow[0].request.extract[0].plugin: the plugin `jugde` is not listed under `plugins` | did you mean `judge`?",
            ],
        ),
        (
            "url: http://h/\nchecks: [ { type: plugin, plugin: other } ]",
            &[
                "11:45: scenarios.s.flow[0].request.checks[0].plugin: the plugin `other` is not listed under `plugins` | add `plugins: [ { name: other } ]` at the top level",
            ],
        ),
        (
            "url: http://h/\nassert: [ { type: status } ]",
            &[
                "11:21: scenarios.s.flow[0].request.assert[0]: a `status` condition needs `equals`, `one_of` or `matches`",
            ],
        ),
        (
            "url: http://h/\nassert: [ { type: status, equals: 200, matches: 2.. } ]",
            &[
                "11:21: scenarios.s.flow[0].request.assert[0]: a `status` condition has one of `equals`, `one_of` and `matches` | make a condition of each",
            ],
        ),
        (
            "url: http://h/\nassert: [ { type: status, equals: 99 } ]",
            &[
                "11:45: scenarios.s.flow[0].request.assert[0].equals: `99` is less than 100, the least there is",
            ],
        ),
        (
            "url: http://h/\nassert: [ { type: status, one_of: [] } ]",
            &["11:45: scenarios.s.flow[0].request.assert[0].one_of: the list is empty"],
        ),
        (
            "url: http://h/\nassert: [ { type: status, equals: 200, on_failure: abort } ]",
            &[
                "11:62: scenarios.s.flow[0].request.assert[0].on_failure: unknown value `abort` | there are `continue`, `abort_iteration`, `abort_scenario` and `abort_test`",
            ],
        ),
        (
            "url: http://h/\nassert: { type: status, equals: 200 }",
            &[
                "11:19: scenarios.s.flow[0].request.assert: expected a list, found a mapping | begin each item with `- `",
            ],
        ),
    ]);
}

#[test]
fn a_secret_in_a_url_is_not_repeated() {
    let found = errors(&plan_with_request("url: http://user:hunter2@h/"));
    assert!(!found.concat().contains("hunter2"), "{found:?}");
}
