//! What sound plans compile to.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use loadr_config::{
    Aggregation, Comparison, Condition, Executor, ExtractSource, InstancePer, OnFailure, Options,
    Pick, PluginKind, Step,
};
use support::{good, options, plan_with_request, shown};

const AGENT: &str = concat!(
    "user-agent: loadr-fast/",
    env!("CARGO_PKG_VERSION"),
    "\r\naccept: */*\r\naccept-encoding: gzip, deflate, br\r\n"
);

/// The head of the one request that has these keys.
fn head(keys: &str) -> String {
    let program = good(&plan_with_request(keys)).program;
    shown(&program.requests[0].head, &program.vars)
}

fn body(keys: &str) -> Option<String> {
    let program = good(&plan_with_request(keys)).program;
    program.requests[0]
        .body
        .as_ref()
        .map(|body| shown(body, &program.vars))
}

#[test]
fn a_request_is_rendered_before_the_run() {
    assert_eq!(
        head("url: http://h/"),
        format!("GET / HTTP/1.1\r\nhost: h\r\n{AGENT}\r\n")
    );
    assert_eq!(
        head(
            "url: http://[::1]:8080/a\nmethod: delete\nheaders: { X-A: ' 1.10 ', accept: text/html, User-Agent: me, Host: other }"
        ),
        "DELETE /a HTTP/1.1\r\nhost: other\r\naccept-encoding: gzip, deflate, br\r\nx-a: 1.10\r\naccept: text/html\r\nuser-agent: me\r\n\r\n"
    );
    let program = good(&plan_with_request("url: http://h/")).program;
    assert_eq!(
        program.requests[0].head.pieces.len(),
        1,
        "a template without holes is one literal"
    );
}

#[test]
fn targets_are_in_origin_form() {
    for (url, target) in [
        ("http://h", "/"),
        ("http://h?a=1", "/?a=1"),
        ("http://h/?a=1", "/?a=1"),
        ("HTTP://H/A", "/A"),
        ("'http://h/a b'", "/a%20b"),
        ("http://h/é", "/%C3%A9"),
        ("'http://h/a%20b[1]{x}|'", "/a%20b[1]%7Bx%7D%7C"),
        ("http://h//a/../b", "//a/../b"),
        ("'http://h/a#b'", "/a"),
        ("'http://h#b'", "/"),
        (
            "'http://h/${vars.shop}/${vu}?i=${iteration}'",
            "/7/<vu:Url>?i=<iteration:Url>",
        ),
        ("'http://${env.HOST}/$${x}'", "/$%7Bx%7D"),
        ("'http://h/${scenario}/${vars.list}'", "/s/[1,%22two%22]"),
        ("'http://h/?u=http://x'", "/?u=http://x"),
    ] {
        let head = head(&format!("url: {url}"));
        assert_eq!(head.split(' ').nth(1).unwrap(), target, "{url}");
    }
}

#[test]
fn relative_urls_are_joined_to_the_base() {
    for (base, url, authority, target) in [
        ("http://h", "/x", "h", "/x"),
        ("http://h/", "/x", "h", "/x"),
        ("http://h", "x", "h", "/x"),
        ("http://h:8080/api", "/x", "h:8080", "/api/x"),
        ("http://h/api/", "x/y?z", "h", "/api/x/y?z"),
        ("http://h/api", "'?q=1'", "h", "/api?q=1"),
        ("http://h", "'?q=1'", "h", "/?q=1"),
        ("http://h/api/", "''", "h", "/api/"),
        ("http://h", "''", "h", "/"),
        ("http://h/a b", "/x", "h", "/a%20b/x"),
        ("'http://${env.HOST}'", "/x", "env.test", "/x"),
        ("http://h/api", "http://other/x", "other", "/x"),
    ] {
        let plan = format!(
            "defaults: {{ http: {{ base_url: {base} }} }}\n{}",
            plan_with_request(&format!("url: {url}"))
        );
        let program = good(&plan).program;
        let head = shown(&program.requests[0].head, &[]);
        assert_eq!(head.split(' ').nth(1).unwrap(), target, "{base} {url}");
        assert_eq!(program.origins[0].authority, authority, "{base} {url}");
    }
}

#[test]
fn params_are_encoded_into_the_query() {
    let keys = "params: { a: 'b c', 'd&e': '=/é+', n: 1.10, v: '${vu}' }";
    let query = "a=b%20c&d%26e=%3D%2F%C3%A9%2B&n=1.10&v=<vu:Component>";
    for (url, before) in [
        ("http://h/", "/?"),
        ("'http://h/?x=1'", "/?x=1&"),
        ("'http://h/#f'", "/?"),
    ] {
        let head = head(&format!("url: {url}\n{keys}"));
        assert_eq!(head.split(' ').nth(1).unwrap(), format!("{before}{query}"));
    }
}

#[test]
fn bodies_are_framed() {
    for (keys, method, lines, content) in [
        ("", "GET", "", None),
        ("method: POST", "POST", "content-length: 0\r\n", None),
        ("method: HEAD", "HEAD", "", None),
        ("body: abc", "POST", "content-length: 3\r\n", Some("abc")),
        ("body: ''", "POST", "content-length: 0\r\n", None),
        ("body: 5", "POST", "content-length: 1\r\n", Some("5")),
        (
            "method: GET\nbody: é",
            "GET",
            "content-length: 2\r\n",
            Some("é"),
        ),
        (
            "body: 'a${vu}b'",
            "POST",
            "content-length: <length>\r\n",
            Some("a<vu:None>b"),
        ),
        (
            "body: { form: { a b: 'c&d', e: '${vu}' } }",
            "POST",
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: <length>\r\n",
            Some("a%20b=c%26d&e=<vu:Component>"),
        ),
        (
            "headers: { content-type: text/json }\nbody: { json: { b: [1, 1.5, true, null, ~], a: \"x\\ny\\\"\\u0001\" } }",
            "POST",
            "content-type: text/json\r\ncontent-length: 48\r\n",
            Some(r#"{"b":[1,1.5,true,null,null],"a":"x\ny\"\u0001"}"#),
        ),
    ] {
        let keys = format!("url: http://h/\n{keys}");
        let head = head(&keys);
        let lines = if lines.contains("48") {
            lines.replace("48", "47")
        } else {
            lines.to_owned()
        };
        assert!(head.starts_with(&format!("{method} ")), "{keys}: {head}");
        let tail = head.split_once(AGENT).unwrap().1;
        let tail = tail
            .strip_prefix("content-type: text/json\r\n")
            .map_or(tail.to_owned(), |t| {
                format!("content-type: text/json\r\n{t}")
            });
        assert_eq!(tail, format!("{lines}\r\n"), "{keys}");
        assert_eq!(body(&keys).as_deref(), content, "{keys}");
    }
}

#[test]
fn a_json_leaf_that_is_one_placeholder_keeps_its_type() {
    let keys = "url: http://h/
extract:
  - { type: regex, name: all, expression: '(.)', index: all }
  - { type: regex, name: one, expression: '(.)' }
body:
  json: { shop: '${vars.shop}', list: '${vars.list}', token: '${env.TOKEN}', vu: '${vu}', text: 'vu ${vu}',
          all: '${all}', one: '${one}', shops: 'shop ${vars.shop}', raw: '$${vu}', scenario: '${scenario}' }";
    assert_eq!(
        body(keys).unwrap(),
        r#"{"shop":7,"list":[1,"two"],"token":"t0k","vu":<vu:None>,"text":"vu <vu:Json>","all":<all:JsonValue>,"one":<one:JsonValue>,"shops":"shop 7","raw":"${vu}","scenario":"s"}"#
    );
}

#[test]
fn headers_take_placeholders_and_defaults() {
    let plan = format!(
        "defaults: {{ http: {{ timeout: 5s, headers: {{ Accept: a/b, X-Vu: '${{vu}}', X-T: '${{env.TOKEN}}' }} }} }}\n{}",
        plan_with_request("url: http://h/\nheaders: { x-t: own }")
    );
    let program = good(&plan).program;
    let head = shown(&program.requests[0].head, &program.vars);
    assert!(
        head.ends_with("\r\naccept: a/b\r\nx-vu: <vu:Header>\r\nx-t: own\r\n\r\n"),
        "{head}"
    );
    assert_eq!(program.requests[0].timeout, Duration::from_secs(5));
}

#[test]
fn a_whole_plan_compiles() {
    let plan = r#"
name: shop
description: All of it.
defaults:
  http:
    base_url: http://shop.test:8080/api
    version: auto
    keep_alive: true
    follow_redirects: false
    cookies: false
    compression: false
    cache: false
    discard_response_bodies: true
    max_redirects: 3
    hosts: { shop.test: "127.0.0.1", "other.test:81": "[::1]:8080" }
    tracing: false
  tags: { team: web, run: "${env.TOKEN}" }
variables:
  user: ada
plugins:
  - { name: ids, path: ./ids.wasm, config: { left: "<", right: ">" }, limits: { call_timeout: 20ms, memory: 16MiB } }
  - { name: judge, instance: shared, enabled: true }
  - { name: of-user, instance: vu }
  - { name: of-call, instance: call }
scenarios:
  browse:
    executor: constant-vus
    vus: 5
    duration: 1m30s
    start_time: 5s
    graceful_stop: 10s
    tags: { kind: read }
    flow:
      - request:
          name: home ${vars.user} ${vu}
          url: /
          tags: { team: shop }
          follow_redirects: false
          protocol: http
          extract:
            - { type: plugin, name: order, plugin: ids, config: { right: "]" } }
            - { type: regex, name: csrf, expression: 'csrf="([^"]+)"', default: none, index: last }
            - { type: header, name: where, header: Location, index: random }
            - { type: boundary, name: csrf, left: a, right: b, index: all }
          assert:
            - { type: status, equals: 200, on_failure: abort_iteration }
            - { type: status, one_of: [200, 204], name: fine }
            - { type: status, matches: 2.. }
          checks:
            - { type: body_contains, value: "hello ${vars.user}", negate: true }
            - { type: body_matches, pattern: 'csrf="([^"]+)"' }
            - { type: plugin, plugin: judge }
            - { type: status, equals: 200, name: "fine ${scenario}" }
      - request: { url: "/orders/${order}", checks: [ { type: status, equals: 404, name: fine browse } ] }
  once:
    executor: per-vu-iterations
    vus: 2
    iterations: 3
    flow:
      - request: { url: "http://shop.test:8080/ping", name: ping }
      - request: { url: "http://other.test/", timeout: 250ms }
thresholds:
  http_req_duration: [ "p(95)<400ms", { threshold: "avg <= 0.2s", abort_on_fail: true, delay_abort_eval: 10s } ]
  http_req_failed{name:ping,scenario:once}: "rate<0.01"
"#;
    let compiled = good(plan);
    assert_eq!(compiled.warnings, []);
    let program = compiled.program;
    assert_eq!(program.name, "shop");
    assert_eq!(program.plan_hash.len(), 64);
    assert_eq!(program.vars, ["order", "csrf", "where"]);
    let origins: Vec<_> = program
        .origins
        .iter()
        .map(|o| (o.host.as_str(), o.port, o.authority.as_str()))
        .collect();
    assert_eq!(
        origins,
        [
            ("shop.test", 8080, "shop.test:8080"),
            ("other.test", 80, "other.test")
        ]
    );
    assert_eq!(program.regexes.len(), 2, "equal patterns are one regex");

    let [browse, once] = program.scenarios.as_slice() else {
        panic!()
    };
    assert_eq!(
        browse.executor,
        Executor::ConstantVus {
            vus: 5,
            duration: Duration::from_secs(90)
        }
    );
    assert_eq!(
        (browse.start_time, browse.graceful_stop),
        (Duration::from_secs(5), Duration::from_secs(10))
    );
    assert_eq!(browse.tags, [("kind".to_owned(), "read".to_owned())]);
    assert_eq!(
        once.executor,
        Executor::PerVuIterations {
            vus: 2,
            iterations: 3,
            max_duration: Duration::from_secs(600)
        }
    );
    assert_eq!(once.graceful_stop, Duration::from_secs(30));
    let Step::Request(ping) = once.flow[0] else {
        panic!("{:?}", once.flow);
    };
    assert_eq!(program.requests[ping.at()].name, "ping");

    let home = &program.requests[0];
    assert_eq!(home.name, "home ada ${vu}");
    let tags: Vec<_> = home
        .tags
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(tags, [("kind", "read"), ("run", "t0k"), ("team", "shop")]);
    assert!(home.reads_body && home.reads_headers);
    assert_eq!(
        (home.location.line, home.location.path.as_str()),
        (35, "scenarios.browse.flow[0].request")
    );
    let [order, csrf, place, boundary] = home.extracts.as_slice() else {
        panic!()
    };
    let ExtractSource::Plugin(site) = &order.source else {
        panic!()
    };
    let site = &program.call_sites[site.at()];
    assert_eq!(site.kind, PluginKind::Extractor);
    assert_eq!(
        serde_json::to_string(&site.config).unwrap(),
        r#"{"left":"<","right":"]"}"#
    );
    assert!(matches!(csrf.source, ExtractSource::Regex { group: 1, .. }));
    assert_eq!(
        (
            csrf.pick,
            csrf.default.as_ref().map(|d| (&*d.bytes, d.is_json))
        ),
        (Pick::Last, Some((b"none".as_slice(), false)))
    );
    assert!(matches!(&place.source, ExtractSource::Header { name } if &**name == "location"));
    assert_eq!((boundary.var, boundary.pick), (csrf.var, Pick::All));

    let names: Vec<_> = home.asserts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["status is 200", "fine", "status matches `2..`"]);
    assert_eq!(home.asserts[0].on_failure, OnFailure::AbortIteration);
    assert!(
        matches!(&home.asserts[1].condition, Condition::StatusIn(statuses) if *statuses == [200, 204])
    );
    assert_eq!(
        program.checks,
        [
            "body does not contain `hello ${vars.user}`",
            "body matches `csrf=\"([^\"]+)\"`",
            "plugin judge",
            "fine browse"
        ]
    );
    assert_eq!(
        program.requests[1].checks[0].id, home.checks[3].id,
        "one name is one check"
    );
    assert_eq!(program.requests[1].name, "/orders/${order}");
    assert!(!program.requests[1].reads_body && !program.requests[1].reads_headers);
    assert_eq!(program.requests[3].timeout, Duration::from_millis(250));

    let [ids, judge, ..] = program.plugins.as_slice() else {
        panic!()
    };
    assert_eq!(ids.path, Some(PathBuf::from("/plans/./ids.wasm")));
    assert_eq!(
        (ids.call_timeout, ids.memory_bytes),
        (Duration::from_millis(20), 16 << 20)
    );
    assert_eq!(
        (judge.path.as_ref(), judge.call_timeout, judge.memory_bytes),
        (None, Duration::from_millis(50), 64 << 20)
    );
    let per: Vec<_> = program
        .plugins
        .iter()
        .map(|plugin| plugin.instance)
        .collect();
    assert_eq!(
        per,
        [
            InstancePer::Shard,
            InstancePer::Shard,
            InstancePer::Vu,
            InstancePer::Call
        ]
    );

    let [p95, avg, failed] = program.thresholds.as_slice() else {
        panic!()
    };
    assert_eq!(
        (p95.aggregation, p95.comparison, p95.bound),
        (Aggregation::Percentile(95.0), Comparison::Less, 400.0)
    );
    assert_eq!(
        (avg.bound, avg.abort_on_fail, avg.delay_abort_eval),
        (200.0, true, Duration::from_secs(10))
    );
    assert_eq!(
        failed.tags,
        [
            ("name".to_owned(), "ping".to_owned()),
            ("scenario".to_owned(), "once".to_owned())
        ]
    );
}

#[test]
fn what_is_read_is_known_before_the_run() {
    for (keys, reads_body, reads_headers) in [
        ("", false, false),
        ("assert: [ { type: status, equals: 200 } ]", false, false),
        ("checks: [ { type: body_contains, value: x } ]", true, false),
        (
            "checks: [ { type: body_matches, pattern: x } ]",
            true,
            false,
        ),
        ("assert: [ { type: plugin, plugin: judge } ]", true, true),
        (
            "extract: [ { type: header, name: a, header: b } ]",
            false,
            true,
        ),
        (
            "extract: [ { type: boundary, name: a, left: b, right: c } ]",
            true,
            false,
        ),
    ] {
        let program = good(&plan_with_request(&format!("url: http://h/\n{keys}"))).program;
        let request = &program.requests[0];
        assert_eq!(
            (request.reads_body, request.reads_headers),
            (reads_body, reads_headers),
            "{keys}"
        );
    }
}

#[test]
fn the_plan_without_a_name_is_called_like_its_file() {
    let program = good(&plan_with_request("url: http://h/")).program;
    assert_eq!(program.name, "plan");
}

#[test]
fn anchors_and_aliases_are_expanded() {
    let program = good(&plan_with_request(
        "url: &u http://h/\nheaders: &h { a: b }\nbody: { json: { x: *h, u: *u } }",
    ))
    .program;
    assert_eq!(
        shown(program.requests[0].body.as_ref().unwrap(), &[]),
        r#"{"x":{"a":"b"},"u":"http://h/"}"#
    );
}

#[test]
fn the_hash_is_of_what_the_plan_says_and_not_of_how() {
    let hash = |text: &str, options: &Options| {
        loadr_config::compile(text, Path::new("p.yaml"), options)
            .unwrap()
            .program
            .plan_hash
    };
    let plan = "variables: { a: 1, b: 2 }\nscenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/' } } ] } }\n";
    let same = "# the same\nscenarios:\n  s:\n    vus: 1\n    executor: \"constant-vus\"\n    duration: 1s\n    flow:\n      - request:\n          url: http://h/\nvariables:\n  b: 2\n  a: 1\nenv: { other: { name: x } }\n";
    assert_eq!(hash(plan, &options()), hash(same, &options()));
    assert_ne!(
        hash(plan, &options()),
        hash(&plan.replace("a: 1", "a: '1'"), &options())
    );
    assert_ne!(
        hash(plan, &options()),
        hash(&plan.replace("a: 1", "a: 1.0"), &options())
    );
    let more = Options {
        vus: Some(2),
        ..options()
    };
    assert_ne!(hash(plan, &options()), hash(plan, &more));
    assert_eq!(
        hash(plan, &more),
        hash(&plan.replace("vus: 1", "vus: 2"), &options())
    );
}

#[test]
fn how_a_request_is_sent_comes_from_defaults_and_step() {
    let of = |http: &str, keys: &str| {
        let plan = format!(
            "defaults: {{ http: {{ {http} }} }}\n{}",
            plan_with_request(&format!("url: http://h/\n{keys}"))
        );
        let program = good(&plan).program;
        let head = shown(&program.requests[0].head, &[]);
        (program.requests[0].http, head)
    };
    let (http, _) = of("", "");
    assert_eq!(http.redirects, 10);
    assert!(http.keeps_cookies && http.sends_cookies && http.decodes && http.keep_alive);
    let (http, head) = of(
        "max_redirects: 2, cookies: false, compression: false, keep_alive: false",
        "",
    );
    assert_eq!(http.redirects, 2);
    assert!(!http.keeps_cookies && !http.sends_cookies && !http.decodes && !http.keep_alive);
    assert!(head.contains("\r\nconnection: close\r\n") && !head.contains("accept-encoding"));
    assert_eq!(of("follow_redirects: false", "").0.redirects, 0);
    assert_eq!(of("", "follow_redirects: false").0.redirects, 0);
    let (http, head) = of(
        "follow_redirects: false, headers: { cookie: a=b, accept-encoding: zstd }",
        "follow_redirects: true",
    );
    assert_eq!(http.redirects, 10);
    assert!(http.keeps_cookies && !http.sends_cookies);
    assert_eq!(head.matches("accept-encoding").count(), 1);
}

#[test]
fn hosts_lead_elsewhere() {
    let plan = "defaults: { http: { hosts: { A.test: 127.0.0.1, 'a.test:81': '[::1]:9', b.test: 'c.test:7' } } }\n"
        .to_owned()
        + &plan_with_request("url: http://a.test/");
    let program = good(&plan).program;
    for (host, port, to) in [
        ("a.test", 80, ("127.0.0.1", 80)),
        ("a.test", 81, ("::1", 9)),
        ("b.test", 443, ("c.test", 7)),
        ("d.test", 80, ("d.test", 80)),
    ] {
        assert_eq!(program.route(host, port), to, "{host}:{port}");
    }
    assert_eq!(program.origins[0].authority, "a.test");
    let bad = plan.replace("127.0.0.1", "'a b'");
    assert_eq!(
        support::errors(&bad),
        ["1:38: defaults.http.hosts[\"A.test\"]: `a b` is not a host"]
    );
}

#[test]
fn spin_is_a_duration_that_a_flag_replaces() {
    let plan = "engine: { spin: 50us }\nscenarios:\n  s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h' } } ] }\n";
    let spin = |text: &str, spin| {
        let options = Options { spin, ..options() };
        let compiled = loadr_config::compile(text, Path::new("p.yaml"), &options);
        compiled.map(|compiled| compiled.program.engine.spin)
    };
    let us = Duration::from_micros;
    assert_eq!(spin(plan, None).unwrap(), us(50));
    assert_eq!(spin(plan, Some(us(0))).unwrap(), us(0));
    let without = plan.split_once('\n').unwrap().1;
    assert_eq!(spin(without, None).unwrap(), us(0));
    assert_eq!(spin(without, Some(us(20))).unwrap(), us(20));
    for wrong in ["11ms", "soon", "-1us"] {
        let failure = spin(&plan.replace("50us", wrong), None).unwrap_err();
        assert_eq!(failure.diagnostics[0].path, "engine.spin");
    }
    let failure = spin(&plan.replace("spin", "spinn"), None).unwrap_err();
    assert!(
        failure.diagnostics[0]
            .help
            .as_deref()
            .unwrap_or_default()
            .contains("spin")
    );
}
