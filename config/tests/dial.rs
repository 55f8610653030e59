//! How connections are made: `proxy`, `connect_timeout`, `dns`, `engine.source_ips`; and `cache` and `tracing`.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use loadr_config::{Made, Options, Piece, Source};
use support::{errors, good, plan_with_request, warnings};

fn plan(http: &str) -> String {
    let request = plan_with_request("url: http://h/a");
    format!("defaults:\n  http: {{ {http} }}\n{request}")
}

#[test]
fn a_proxy_is_an_authority_with_credentials_that_nothing_shows() {
    let text = "secrets: { pw: { env: TOKEN } }\n".to_owned()
        + &plan("proxy: 'http://${env.HOST}:${secrets.pw}@[::1]:3128'");
    let program = good(&text).program;
    let proxy = program.proxy.as_ref().unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("::1", 3128));
    assert_eq!(proxy.authority, "[::1]:3128");
    // base64 of `env.test:t0k`
    let value = proxy.authorization.as_ref().unwrap().bytes();
    assert_eq!(value, b"Basic ZW52LnRlc3Q6dDBr");
    let shown = format!("{program:?}");
    assert!(
        !shown.contains("ZW52LnRlc3Q6dDBr") && !shown.contains("t0k"),
        "{shown}"
    );
    let sent_back = "got Basic ZW52LnRlc3Q6dDBr, t0k";
    assert_eq!(program.secrets.redact(sent_back), "got Basic ***, ***");

    // A password that is written out is none the less a password.
    let program = good(&plan("proxy: http://me:p%40ss@P.test:80/")).program;
    let proxy = program.proxy.as_ref().unwrap();
    assert_eq!(proxy.authority, "p.test:80");
    assert_eq!(program.secrets.redact("a p@ss, a p%40ss"), "a ***, a ***");
    let program = good(&plan("proxy: http://p.test:80")).program;
    assert_eq!(program.proxy.unwrap().authorization, None);
    assert!(good(&plan("timeout: 1s")).program.proxy.is_none());
}

#[test]
fn what_is_no_proxy_is_said_and_no_password_is_repeated() {
    for (proxy, message) in [
        ("p.test:80", "the proxy does not begin with `http://`"),
        ("''", "the proxy does not begin with `http://`"),
        (
            "https://u:geheim@p.test:80",
            "a proxy is not reached by `https://` here",
        ),
        (
            "socks5://p.test:80",
            "a proxy is not reached by `socks5://` here",
        ),
        ("http://p.test", "the proxy has no port"),
        ("http://u:geheim@p.test", "the proxy has no port"),
        ("'http://[::1]'", "the proxy has no port"),
        ("http://p.test:80/x", "a proxy has no path"),
        ("http://p.test:x", "`x` is not a port"),
        (
            "http://u:%zz@p.test:80",
            "the proxy's user or password has a `%` without two digits",
        ),
        (
            "http://u%3Ax:geheim@p.test:80",
            "the proxy's user name has a colon",
        ),
        (
            "'http://p${vu}.test:80'",
            "the proxy depends on what is known only in the run",
        ),
    ] {
        let found = errors(&plan(&format!("proxy: {proxy}")));
        let start = format!("2:18: defaults.http.proxy: {message}");
        assert!(
            found.len() == 1 && found[0].starts_with(&start) && !found[0].contains("geheim"),
            "{proxy}: {found:#?}"
        );
    }
    let secret = "secrets: { pw: { env: TOKEN } }\n".to_owned()
        + &plan("proxy: 'http://u@${secrets.pw}:80'");
    let found = errors(&secret);
    assert!(
        found.len() == 1 && found[0].contains("cannot be a secret"),
        "{found:#?}"
    );
}

#[test]
fn a_route_of_another_host_does_nothing_beside_a_proxy() {
    let found = warnings(&plan(
        "proxy: http://p.test:80, hosts: { h: 10.0.0.1, p.test: 10.0.0.2 }",
    ));
    assert!(
        found.len() == 1 && found[0].contains("`h` is for the proxy to resolve"),
        "{found:#?}"
    );
}

#[test]
fn source_ips_are_a_text_or_a_list_and_a_flag_goes_before_them() {
    let with = |value: &str| {
        plan_with_request("url: http://h/") + &format!("engine: {{ source_ips: {value} }}\n")
    };
    let list = |text: &str| -> Vec<String> {
        let program = good(text).program;
        program
            .engine
            .source_ips
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(list(&with("127.0.0.2")), ["127.0.0.2"]);
    assert_eq!(
        list(&with("'127.0.0.2, fd00::1'")),
        ["127.0.0.2", "fd00::1"]
    );
    assert_eq!(
        list(&with("[10.0.0.0/30, 10.0.0.1]")),
        ["10.0.0.1", "10.0.0.2"]
    );
    let options = Options {
        source_ips: vec!["::1".to_owned(), "10.0.0.9".to_owned()],
        ..Options::default()
    };
    let path = std::path::Path::new("plan.yaml");
    let compiled = loadr_config::compile(&with("10.0.0.1"), path, &options).unwrap();
    assert_eq!(compiled.program.engine.source_ips.len(), 2);
    assert!(compiled.effective_plan().contains("::1,10.0.0.9"));

    let found = errors(&with("[10.0.0.1, 10.0.0.256]"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with(
            "11:34: engine.source_ips[1]: `10.0.0.256` is not an IP address or a CIDR | "
        ),
        "{found:#?}"
    );
    let found = errors(&with("10.0.0.0/8"));
    assert!(found[0].contains("more than 65536 addresses"), "{found:#?}");
    let found = errors(&(plan_with_request("url: http://h/") + "engine: { source_ip: x }\n"));
    assert!(
        found[0].contains("did you mean `source_ips`?"),
        "{found:#?}"
    );
}

#[test]
fn times_of_connections_and_names() {
    let program = good(&plan("connect_timeout: 250ms, dns: { ttl: 30s }")).program;
    assert_eq!(program.connect_timeout, Some(Duration::from_millis(250)));
    assert_eq!(program.dns_ttl, Some(Duration::from_secs(30)));
    let program = good(&plan("timeout: 1s")).program;
    assert_eq!((program.connect_timeout, program.dns_ttl), (None, None));
    for (http, message) in [
        (
            "connect_timeout: 0",
            "2:28: defaults.http.connect_timeout: the duration must be more than zero",
        ),
        (
            "dns: { ttl: 1ms }",
            "2:23: defaults.http.dns.ttl: the duration must be at least 100ms",
        ),
        (
            "dns: { tll: 1s }",
            "2:18: defaults.http.dns.tll: unknown key `tll` | did you mean `ttl`?",
        ),
        ("dns: 1s", "2:16: defaults.http.dns: "),
    ] {
        let found = errors(&plan(http));
        assert!(
            found.iter().any(|f| f.starts_with(message)),
            "{http}: {found:#?}"
        );
    }
}

#[test]
fn tracing_adds_a_made_field_unless_the_request_sets_it() {
    let makes = |text: &str| {
        let program = good(text).program;
        let request = &program.requests[0];
        let made = Source::Made(Made::TraceParent);
        let pieces = &request.head.pieces;
        let has = pieces
            .iter()
            .any(|p| matches!(p, Piece::Value { source, .. } if *source == made));
        assert_eq!(has, request.http.traces);
        has
    };
    assert!(makes(&plan("tracing: true")));
    assert!(!makes(&plan("tracing: false")));
    assert!(!makes(&plan("tracing: true, headers: { TraceParent: x }")));
}

#[test]
fn caching_is_off_unless_the_plan_turns_it_on() {
    assert!(good(&plan("cache: true")).program.requests[0].http.caches);
    assert!(!good(&plan("timeout: 1s")).program.requests[0].http.caches);
    let found = errors(&plan("cache: 3"));
    assert!(
        found[0].contains("defaults.http.cache: expected `true` or `false`"),
        "{found:#?}"
    );
}

#[test]
fn the_effective_plan_has_no_password_of_a_proxy_that_is_spelled_out() {
    let text =
        "env:\n  other: { defaults: { http: { proxy: 'http://me:second-word@q.test:81' } } }\n"
            .to_owned()
            + &plan("proxy: 'http://me:open-word@p.test:80'");
    let compiled = good(&text);
    let printed = compiled.effective_plan();
    assert!(
        !printed.contains("open-word") && !printed.contains("second-word"),
        "{printed}"
    );
    assert!(printed.contains("http://me:***@p.test:80"), "{printed}");
    let proxy = compiled.program.proxy.as_ref().unwrap();
    assert!(proxy.authorization.is_some());
}
