//! What is done with a response: what sound extractors, chains and conditions compile to, and what is said of others.
#![allow(clippy::unwrap_used)]

mod support;

use loadr_config::{
    Cast, Condition, ExtractSource, OnFailure, PathFilter, PathSelector, Pick, Program, Transform,
};
use support::{errors, good, plan_with_request, shown};

fn program(keys: &str) -> Program {
    good(&plan_with_request(&format!("url: http://h/\n{keys}"))).program
}

/// Asserts that the request's errors, each without the path before it, are these.
fn check(keys: &str, expected: &[&str]) {
    let found = errors(&plan_with_request(&format!("url: http://h/\n{keys}")));
    let found: Vec<String> = found
        .iter()
        .map(|error| error.replace("scenarios.s.flow[0].request.", ""))
        .collect();
    assert_eq!(found, expected, "{keys}");
}

#[test]
fn extractors_are_compiled() {
    let program = program(
        "extract:\n\
         - { type: jsonpath, name: a, expression: '$.x[0]', index: all }\n\
         - { type: xpath, name: b, expression: '//a/@href', default: none }\n\
         - { type: css, name: c, expression: 'input[name=csrf]', attribute: Value, index: last }\n\
         - { type: jsonpath, name: d, expression: '$.x[0]' }\n\
         - { type: jsonpath, name: e, expression: \"$..y[?match(@.k, 'a.b') && @.n > 1]\" }",
    );
    let extracts = &program.requests[0].extracts;
    assert!(matches!(extracts[0].source, ExtractSource::JsonPath(id) if id.at() == 0));
    assert_eq!(extracts[0].pick, Pick::All);
    assert!(matches!(extracts[1].source, ExtractSource::XPath(id) if id.at() == 0));
    let ExtractSource::Css { attribute, .. } = &extracts[2].source else {
        panic!()
    };
    assert_eq!(attribute.as_deref(), Some("value"));
    assert!(matches!(extracts[3].source, ExtractSource::JsonPath(id) if id.at() == 0));
    assert_eq!(program.json_paths.len(), 2, "the same expression is one");
    assert_eq!(program.xpaths, ["//a/@href"]);
    assert_eq!(program.selectors.len(), 1);
    let last = &program.json_paths[1].segments;
    assert!(last[0].descends);
    let PathSelector::Filter(PathFilter::And(parts)) = &last[1].selectors[0] else {
        panic!("{last:?}")
    };
    assert!(matches!(parts[0], PathFilter::Matches { .. }));
    assert_eq!(program.regexes[0].as_str(), r"\A(?:a[^\n\r]b)\z");
    assert!(program.requests[0].reads_body);
    assert!(
        program.requests[0].reads_headers,
        "XPath asks for the content type"
    );
}

#[test]
fn conditions_are_compiled() {
    let program = program(
        "checks:\n\
         - { type: jsonpath, expression: $.a, equals: 'n-${vu}' }\n\
         - { type: jsonpath, expression: $.a, exists: false }\n\
         - { type: duration, max: 250ms }\n\
         - { type: size, min: 10, max: 1KiB }\n\
         - { type: size, equals: 3 }\n\
         - { type: header, header: X-A, contains: b }\n\
         - { type: xpath, expression: //a, name: has a link }",
    );
    assert_eq!(
        program.checks,
        [
            "jsonpath `$.a` is `n-${vu}`",
            "jsonpath `$.a` does not exist",
            "duration is at most 250ms",
            "size is 10 to 1024",
            "size is 3",
            "header `X-A` contains `b`",
            "has a link"
        ]
    );
    let checks = &program.requests[0].checks;
    let Condition::JsonPath { wants, .. } = &checks[0].condition else {
        panic!()
    };
    assert_eq!(
        shown(wants.equals.as_ref().unwrap(), &program.vars),
        "n-<vu:None>"
    );
    assert!(matches!(
        checks[3].condition,
        Condition::Size { min: 10, max: 1024 }
    ));
    let Condition::Header { name, .. } = &checks[5].condition else {
        panic!()
    };
    assert_eq!(&**name, "x-a");
}

#[test]
fn a_size_or_a_duration_keeps_no_body() {
    let program = program(
        "assert: [ { type: size, max: 9 }, { type: duration, max: 1 }, { type: header, header: a } ]",
    );
    assert!(!program.requests[0].reads_body);
    assert!(program.requests[0].reads_headers);
}

#[test]
fn chains_are_compiled() {
    let program = program(
        "extract:\n\
         - chain: a\n  \
           jmespath: 'items[0].id'\n  \
           transform: [trim, { append: '-${vu}' }, { replace: [x, ''] }, { substring: [1, 2] }, base64_encode]\n  \
           as: int\n  \
           check: { min: 1, max: 9, one_of: [1, 2], not_empty: true, on_failure: abort_iteration }\n  \
           default: 7\n\
         - { chain: b, left: '<', right: '>', transform: lowercase, index: last }\n\
         - { chain: c, css: a, attribute: href }\n\
         - { chain: d, regex: '(a)(b)', group: 2 }",
    );
    let extracts = &program.requests[0].extracts;
    let refine = extracts[0].refine.as_ref().unwrap();
    assert_eq!(refine.transforms.len(), 5);
    assert_eq!(refine.transforms[0], Transform::Trim);
    assert_eq!(
        refine.transforms[3],
        Transform::Substring {
            start: 1,
            len: Some(2)
        }
    );
    assert_eq!(refine.cast, Some(Cast::Int));
    let check = refine.check.as_ref().unwrap();
    assert_eq!(
        (check.min, check.max, check.one_of.len()),
        (Some(1.0), Some(9.0), 2)
    );
    assert_eq!(check.on_failure, OnFailure::AbortIteration);
    let default = extracts[0].default.as_ref().unwrap();
    assert_eq!((&*default.bytes, default.is_json), (b"7".as_slice(), true));
    assert_eq!(extracts[1].pick, Pick::Last);
    assert!(matches!(
        extracts[3].source,
        ExtractSource::Regex { group: 2, .. }
    ));
    assert_eq!(program.jmes_paths, ["items[0].id"]);
}

#[test]
fn expressions_that_do_not_compile_are_told_where_they_are() {
    let extract = |kind: &str, expression: &str| {
        let plan = plan_with_request(&format!(
            "url: http://h/\nextract: [ {{ type: {kind}, name: a, expression: '{expression}' }} ]"
        ));
        let found = errors(&plan);
        assert_eq!(found.len(), 1, "{kind} {expression}: {found:?}");
        let (place, message) = found[0].split_once(": scenarios").unwrap();
        assert_eq!(place, format!("11:{}", 57 + kind.len() - 4), "{}", found[0]);
        message.split_once("expression: ").unwrap().1.to_owned()
    };
    assert_eq!(
        extract("jsonpath", "a.b"),
        "`a.b` is not a JSONPath: it does not begin with `$` | write `$.a.b`"
    );
    assert!(extract("jsonpath", "$.a[").contains("at character 5"));
    assert!(extract("jsonpath", "$[?foo(@.a)]").contains("is not a JSONPath"));
    assert!(extract("jsonpath", "$[?length(@.*) > 1]").contains("may find several nodes"));
    assert!(extract("jsonpath", "$[?match(@.a, @.b)]").contains("a pattern that is not a text"));
    assert!(extract("jsonpath", "$[?match(@.a, \"(\")]").contains("is not a pattern"));
    assert!(extract("jsonpath", "$[9007199254740992]").contains("is not a JSONPath"));
    let deep = "(".repeat(200);
    assert!(extract("jsonpath", &format!("$[?{deep}")).contains("nests brackets more than 8 deep"));
    assert!(extract("xpath", &deep).contains("nests brackets more than 8 deep"));
    let long = format!("$.{}", "a".repeat(2000));
    assert!(extract("jsonpath", &long).contains("longer than 2000 bytes"));
    for bad in ["//", "a[", "//a[foo()", "unknown()", "$x", "p:a"] {
        assert!(extract("xpath", bad).contains("is not an XPath: "), "{bad}");
    }
    for bad in ["a[", ">", "a::before::after", ":nope", "a,"] {
        assert!(
            extract("css", bad).contains("is not a CSS selector: "),
            "{bad}"
        );
    }
    for bad in ["a[", "a..b", "foo(@)", "a || "] {
        let plan = format!("url: http://h/\nextract: [ {{ chain: a, jmespath: '{bad}' }} ]");
        let found = errors(&plan_with_request(&plan));
        assert!(
            found.len() == 1
                && found[0].contains("is not a JMESPath: ")
                && found[0].starts_with("11:44: "),
            "{found:?}"
        );
    }
    let copies = "[@,@,@,@,@,@]|".repeat(8);
    let plan = format!("url: http://h/\nextract: [ {{ chain: a, jmespath: '{copies}@' }} ]");
    let found = errors(&plan_with_request(&plan));
    assert!(found[0].contains("more than 10000 values"), "{found:?}");
}

#[test]
fn chains_that_make_no_sense_are_told() {
    for (keys, expected) in [
        (
            "extract: [ { chain: a } ]",
            "11:22: extract[0]: a chain needs a source | there are `jmespath`, `jsonpath`, `regex`, `header`, `css`, `xpath`, and `left` with `right`",
        ),
        (
            "extract: [ { chain: a, regex: b, header: c } ]",
            "11:22: extract[0]: a chain has one source; this one has `regex`, `header` | make a chain of each",
        ),
        (
            "extract: [ { chain: a, left: b } ]",
            "11:22: extract[0]: `left` alone is no source | `left` and `right` say what stands around the value",
        ),
        (
            "extract: [ { chain: a, header: b, transform: trimm } ]",
            "11:56: extract[0].transform: unknown transform `trimm` | did you mean `trim`?",
        ),
        (
            "extract: [ { chain: a, header: b, transform: [ append ] } ]",
            "11:58: extract[0].transform[0]: unknown transform `append` | write `{ append: … }`: it takes something",
        ),
        (
            "extract: [ { chain: a, header: b, transform: { replace: [x] } } ]",
            "11:67: extract[0].transform.replace: `replace` takes two texts: what is replaced, and by what",
        ),
        (
            "extract: [ { chain: a, header: b, check: {} } ]",
            "11:52: extract[0].check: a chain's `check` needs `equals`, `matches`, `one_of`, `min`, `max` or `not_empty`",
        ),
        (
            "extract: [ { chain: a, header: b, check: { min: 2, max: 1 } } ]",
            "11:52: extract[0].check: `min` is more than `max`: nothing passes",
        ),
        (
            "extract: [ { chain: a, header: b, as: number } ]",
            "11:49: extract[0].as: unknown value `number` | there are `int`, `float`, `bool` and `string`",
        ),
        (
            "extract: [ { chain: a, header: b, nope: 1 } ]",
            "11:44: extract[0].nope: unknown key `nope`",
        ),
        (
            "assert: [ { type: size } ]",
            "11:21: assert[0]: a `size` condition needs `min`, `max` or `equals`",
        ),
        (
            "assert: [ { type: size, min: 2, max: 1 } ]",
            "11:21: assert[0]: `min` is more than `max`: no size is both",
        ),
        (
            "assert: [ { type: jsonpath, expression: $.a, exists: false, equals: 1 } ]",
            "11:21: assert[0]: what must not exist has no value to compare | leave `exists: false` out, or the comparison",
        ),
        (
            "assert: [ { type: duration } ]",
            "11:21: assert[0]: a `duration` condition needs `max` | The longest that the request may have taken",
        ),
        (
            "assert: [ { type: header, header: 'a b' } ]",
            "11:45: assert[0].header: `a b` is not a header name",
        ),
    ] {
        if keys.contains("nope") {
            let found = errors(&plan_with_request(&format!("url: http://h/\n{keys}")));
            assert!(
                found.len() == 1 && found[0].contains("unknown key `nope`"),
                "{found:?}"
            );
            continue;
        }
        check(keys, &[expected]);
    }
}
