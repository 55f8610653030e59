//! No input makes the compiler panic, hang or take memory without bound.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use loadr_config::{Piece, Source, parse_duration, parse_size};
use proptest::prelude::*;
use support::{compile, errors, good, plan_with_request};

/// The time that anything here may take even on a busy machine and without optimisation.
const SOON: Duration = Duration::from_secs(20);

fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < SOON, "{what} took {:?}", start.elapsed());
    result
}

#[test]
fn a_yaml_bomb_is_refused_before_it_grows() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let last = i - 1;
        let aliases = vec![format!("*a{last}"); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    let found = soon("the bomb", || errors(&bomb));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("the document grows past 500000 values"),
        "{found:?}"
    );
    let large = format!(
        "a: &a '{}'\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 1000].join(", ")
    );
    let found = soon("the large text", || errors(&large));
    assert!(found[0].contains("64 MiB"), "{found:?}");
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        "[".repeat(1 << 20),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..5000)
            .map(|i| format!("{}a:\n", " ".repeat(i)))
            .collect(),
        "? ".repeat(100_000),
    ] {
        let found = soon("deep nesting", || errors(&text));
        assert_eq!(found.len(), 1, "{found:?}");
    }
    let found = errors(&format!("a: {}{}", "[".repeat(70), "]".repeat(70)));
    assert_eq!(found, ["1:67: nested more than 64 levels deep"]);
}

#[test]
fn wide_documents_are_bounded() {
    let large = |line: &str, n: usize| line.repeat(n);
    for (what, text) in [
        ("items", format!("a: [{}]", large("1,", 1_000_000))),
        ("keys", (0..50_000).map(|i| format!("k{i}: 1\n")).collect()),
        ("one key", format!("{}: 1", "k".repeat(4 << 20))),
        (
            "unknown keys",
            format!(
                "scenarios: {{ s: {{ {} }} }}",
                (0..50_000)
                    .map(|i| format!("k{i}: 1, "))
                    .collect::<String>()
            ),
        ),
        ("comments", large("# x\n", 1 << 20)),
        (
            "anchors",
            (0..50_000).map(|i| format!("k{i}: &a{i} 1\n")).collect(),
        ),
        ("quotes", large("\"", 1 << 20)),
        ("documents", large("---\n", 1 << 20)),
        ("colons", large(": ", 1 << 20)),
        ("tags", large("! ", 1 << 20)),
        ("spaces", large(" ", 4 << 20)),
    ] {
        let found = soon(what, || errors(&text));
        assert!(!found.is_empty() && found.len() <= 201, "{what}");
        assert!(found.iter().all(|line| line.len() < 4000), "{what}");
    }
}

#[test]
fn a_plan_of_many_requests_compiles_soon() {
    let mut plan = String::from(
        "defaults: { http: { base_url: http://h } }\nscenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [\n",
    );
    for i in 0..20_000 {
        plan.push_str(&format!("{{ request: {{ url: '/{i}?${{vu}}', checks: [ {{ type: status, equals: 200 }} ] }} }},\n"));
    }
    plan.push_str("] } }\n");
    assert_eq!(
        soon("the plan", || good(&plan)).program.requests.len(),
        20_000
    );
}

#[test]
fn constants_cannot_multiply_without_bound() {
    let plan = format!(
        "defaults: {{ tags: {{ a: '{}' }} }}\n{}",
        "x".repeat(1 << 20),
        plan_with_request(&format!(
            "url: 'http://h/'\nbody: '{}'",
            "${vars.big}".repeat(100_000)
        ))
    )
    .replace(
        "variables: { shop: 7,",
        &format!("variables: {{ big: '{}',", "y".repeat(1 << 20)),
    );
    let found = soon("the large constant", || errors(&plan));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("the plan's requests come to more than 256 MiB"),
        "{found:?}"
    );
}

#[test]
fn defaults_cannot_multiply_without_bound() {
    let request = "{ request: { url: 'http://h/', assert: [ { type: plugin, plugin: p } ] } },";
    let scenario = format!(
        "{{ executor: constant-vus, vus: 1, duration: 1s, flow: [ {} ] }}",
        request.repeat(2000)
    );
    for defaults in [
        "defaults: { http: { headers: { a: '<x>' } } }\nplugins: [ { name: p } ]",
        "defaults: { tags: { a: '<x>' } }\nplugins: [ { name: p } ]",
        "plugins: [ { name: p, config: { a: '<x>' } } ]",
    ] {
        let defaults = defaults.replace("<x>", &"x".repeat(1 << 20));
        let plan = format!("{defaults}\nscenarios:\n  s: {scenario}\n  t: {scenario}\n");
        let found = soon("the large default", || errors(&plan));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("the plan's requests come to more than 256 MiB"),
            "{found:?}"
        );
    }
    let headers: String = (0..100_000).map(|i| format!("h{i}: a, ")).collect();
    let plan = plan_with_request(&format!("url: http://h/\nheaders: {{ {headers} }}"));
    let found = soon("many headers", || errors(&plan));
    assert!(
        found[0].ends_with("a request has at most 1000 headers"),
        "{found:?}"
    );
}

#[test]
fn a_costly_pattern_is_refused() {
    let found = soon("the pattern", || {
        errors(&plan_with_request(
            "url: http://h/\nchecks: [ { type: body_matches, pattern: '(\\w{1000}){1000}' } ]",
        ))
    });
    assert_eq!(found.len(), 1, "{found:?}");
    let deep = format!(
        "url: http://h/\nchecks: [ {{ type: body_matches, pattern: '{}' }} ]",
        "(".repeat(100_000)
    );
    assert_eq!(
        soon("the deep pattern", || errors(&plan_with_request(&deep))).len(),
        1
    );
}

/// What YAML is made of, so that random text gets past the first token.
fn yaml_ish() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("\n"),
        Just("\n  "),
        Just("\n    "),
        Just(" "),
        Just(": "),
        Just(":"),
        Just("- "),
        Just("? "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("&a "),
        Just("*a "),
        Just("!!str "),
        Just("!t "),
        Just("'"),
        Just("\""),
        Just("|\n "),
        Just(">-\n "),
        Just("#"),
        Just("---\n"),
        Just("...\n"),
        Just("%YAML 1.2\n"),
        Just("<<"),
        Just("\t"),
        Just("\r"),
        Just("\u{feff}"),
        Just("\u{85}"),
        Just("é"),
        Just("\0"),
        Just("\\"),
        Just("${"),
        Just("}"),
        Just("$${"),
        Just("${vu}"),
        Just("~"),
        Just("1"),
        Just("1.5e3"),
        Just(".nan"),
        Just("true"),
        Just("name"),
        Just("scenarios"),
        Just("s"),
        Just("executor: constant-vus"),
        Just("vus: 1"),
        Just("duration: 1s"),
        Just("flow"),
        Just("request"),
        Just("url: http://h/"),
        Just("env"),
        Just("thresholds"),
        Just("plugins"),
    ];
    proptest::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// A sound plan with one piece of it replaced.
fn nearly_a_plan() -> impl Strategy<Value = String> {
    let plan = plan_with_request(
        "url: http://h/${vu}?a\nname: n\nmethod: PUT\nparams: { a: b }\nheaders: { a: 'b${iteration}' }\nbody: { json: { a: '${x}' } }\n\
         extract: [ { type: regex, name: x, expression: '(a)' } ]\nassert: [ { type: status, equals: 200 } ]",
    ) + "thresholds: { 'http_reqs{name:n}': [ 'count>1' ] }\nenv: { e: { name: x } }\n";
    (any::<proptest::sample::Index>(), 0..12_usize, ".{0,8}").prop_map(move |(at, cut, with)| {
        let chars: Vec<char> = plan.chars().collect();
        let at = at.index(chars.len());
        let end = (at + cut).min(chars.len());
        chars[..at]
            .iter()
            .copied()
            .chain(with.chars())
            .chain(chars[end..].iter().copied())
            .collect()
    })
}

/// Every diagnostic must be at a place that exists and be printable on a few lines.
fn sane(text: &str) {
    let lines = text.split(['\n', '\r']).count();
    if let Err(failure) = compile(text) {
        assert!(!failure.diagnostics.is_empty());
        for diagnostic in &failure.diagnostics {
            assert!(diagnostic.line as usize <= lines, "{diagnostic}");
            assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
        }
        let _ = failure.to_string();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_handled(text in "\\PC*|(?s).*") {
        sane(&text);
    }

    #[test]
    fn any_yaml_like_text_is_handled(text in yaml_ish()) {
        sane(&text);
    }

    #[test]
    fn any_slip_in_a_plan_is_handled(text in nearly_a_plan()) {
        sane(&text);
    }

    #[test]
    fn any_duration_and_size_is_handled(text in "[-+.0-9a-zµ ]{0,20}|\\PC*") {
        let _ = (parse_duration(&text), parse_size(&text));
    }

    #[test]
    fn durations_are_read_back(ns in 0..=loadr_config::MAX_DURATION.as_nanos() as u64) {
        let (s, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
        let duration = Duration::from_nanos(ns);
        prop_assert_eq!(parse_duration(&format!("{ns}ns")), Ok(duration));
        prop_assert_eq!(parse_duration(&format!("{s}.{rest:09}")), Ok(duration));
        prop_assert_eq!(parse_duration(&format!("{}h{}m{}s{rest}ns", s / 3600, s / 60 % 60, s % 60)), Ok(duration));
    }

    /// Renders a body and holds it against a rendering by plain replacement.
    #[test]
    fn a_template_renders_what_replacement_renders(
        parts in proptest::collection::vec(prop_oneof![
            "[^$\\p{C}]{0,6}", Just("$".to_owned()), Just("$${".to_owned()), Just("${vu}".to_owned()), Just("${ iteration }".to_owned()),
            Just("${vars.shop}".to_owned()), Just("${env.TOKEN}".to_owned()), Just("${scenario}".to_owned()), Just("}".to_owned()),
        ], 0..12),
    ) {
        let mut expected = String::new();
        let mut rest = parts.concat();
        // A dollar before a placeholder makes it literal: find the first placeholder again and again.
        while let Some(at) = rest.find("${") {
            let after = rest.split_off(at);
            if rest.ends_with('$') {
                rest.pop();
                expected.push_str(&rest);
                expected.push_str("${");
                rest = after[2..].to_owned();
            } else {
                expected.push_str(&rest);
                let end = after.find('}');
                prop_assume!(end.is_some());
                let name = after[2..end.unwrap()].trim();
                let value = match name { "vu" => "3", "iteration" => "14", "vars.shop" => "7", "env.TOKEN" => "t0k", "scenario" => "s", _ => "?" };
                prop_assume!(value != "?");
                expected.push_str(value);
                rest = after[end.unwrap() + 1..].to_owned();
            }
        }
        expected.push_str(&rest);
        let text = serde_json::to_string(&parts.concat()).unwrap();
        let program = good(&plan_with_request(&format!("url: http://h/\nbody: {text}"))).program;
        let mut rendered = Vec::new();
        let pieces = program.requests[0].body.as_ref().map(|body| body.pieces.as_slice()).unwrap_or_default();
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => rendered.extend_from_slice(bytes),
                Piece::Value { source: Source::Vu, .. } => rendered.push(b'3'),
                Piece::Value { source: Source::Iteration, .. } => rendered.extend(b"14"),
                piece => panic!("{piece:?}"),
            }
        }
        prop_assert_eq!(String::from_utf8(rendered).unwrap(), expected);
        let merged = pieces.windows(2).all(|pair| !matches!(pair, [Piece::Literal(_), Piece::Literal(_)]));
        prop_assert!(merged, "adjacent literals are merged");
    }
}
