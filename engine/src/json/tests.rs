//! The parser against serde_json, queries against serde_json_path, and hostile bodies.

use loadr_config::JsonPath;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tape::JSON_DEPTH_MAX;
use super::*;

/// A path and its patterns, compiled as a plan's.
fn compiled(path: &str) -> Result<(JsonPath, Vec<regex::bytes::Regex>), String> {
    let path = path.replace('\'', "''");
    let plan = format!(
        "scenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1, flow: [ {{ request: {{ url: 'http://h/', \
         extract: [ {{ type: jsonpath, name: a, expression: '{path}' }} ] }} }} ] }} }}"
    );
    let options = loadr_config::Options::default();
    loadr_config::compile(&plan, std::path::Path::new("p.yaml"), &options)
        .map(|mut compiled| {
            let path = compiled.program.json_paths.remove(0);
            (path, compiled.program.regexes)
        })
        .map_err(|failure| failure.to_string())
}

/// The JSON of each node that the path finds.
fn found(path: &str, body: &str) -> Result<Vec<String>, String> {
    let (path, regexes) = compiled(path)?;
    let mut tape = Tape::default();
    tape.parse(body.as_bytes()).map_err(|e| e.to_string())?;
    let mut finder = Finder::default();
    let is_match = |regex: loadr_config::RegexId, text: &[u8]| regexes[regex.at()].is_match(text);
    let nodes = finder
        .find(&path, &tape, body.as_bytes(), &is_match)
        .map_err(|_| "too long".to_owned())?;
    let text = |node: &NodeId| {
        let mut out = Vec::new();
        write_compact(&tape, body.as_bytes(), *node, &mut out);
        String::from_utf8(out).unwrap()
    };
    Ok(nodes.iter().map(text).collect())
}

/// The same by the reference.
fn expected(path: &str, body: &Value) -> Vec<String> {
    let path = serde_json_path::JsonPath::parse(path).unwrap();
    path.query(body)
        .all()
        .into_iter()
        .map(Value::to_string)
        .collect()
}

/// Sorted, because the reference goes through objects and subtrees in another order, which the RFC leaves open.
fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..12).prop_map(Value::from),
        (-4_i32..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        "[ab\"\\\\é\n😀]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[abcé]{1,2}", inner, 0..5)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

fn any_segment() -> impl Strategy<Value = String> {
    let selector = prop_oneof![
        4 => "[abcé]{1,2}".prop_map(|name| format!("'{name}'")),
        2 => (-3_i64..4).prop_map(|index| index.to_string()),
        1 => Just("*".to_owned()),
        1 => (-4_i64..5, -4_i64..5, -3_i64..4).prop_map(|(a, b, c)| format!("{a}:{b}:{c}")),
        1 => (-4_i64..5).prop_map(|a| format!("::{a}")),
        1 => prop::sample::select(vec![
            "?@.a", "?!@.b", "?@.a==@.b", "?@ > 1", "?@.a <= 'b'", "?length(@) >= 2", "?count(@.*) == 1",
            "?value(@..a) == 1", "?@==null || @.c != true", "?@.a && (@.b || !@.c)", "?match(@, 'a.*')",
            "?search(@.a, '[b-z]')", "?@ == $.a", "?@[0] == @[1]", "?count($..a) > 1",
        ]).prop_map(str::to_owned),
    ];
    (
        any::<bool>(),
        prop::collection::vec(selector, 1..3),
        0..6_u8,
    )
        .prop_map(|(descends, selectors, how)| {
            let dots = if descends && how == 0 { ".." } else { "" };
            format!("{dots}[{}]", selectors.join(", "))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn queries_find_what_the_reference_finds(
        body in any_json(),
        segments in prop::collection::vec(any_segment(), 0..4),
        pretty in any::<bool>(),
    ) {
        let path = format!("${}", segments.concat());
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let found = found(&path, &text.unwrap()).unwrap();
        prop_assert_eq!(sorted(found), sorted(expected(&path, &body)), "{} in {}", path, body);
    }

    #[test]
    fn singular_paths_find_what_the_reference_finds(
        body in any_json(),
        steps in prop::collection::vec(prop_oneof![
            "[abcé]{1,2}".prop_map(|name| format!(".{name}")),
            (-3_i64..3).prop_map(|index| format!("[{index}]")),
        ], 0..4),
    ) {
        let path = format!("${}", steps.concat());
        prop_assert_eq!(found(&path, &body.to_string()).unwrap(), expected(&path, &body));
    }

    #[test]
    fn what_serde_reads_is_read_as_the_same(body in any_json(), spoil in any::<(u16, u8)>(), spoils in any::<bool>()) {
        let mut text = body.to_string().into_bytes();
        if spoils {
            let at = usize::from(spoil.0) % text.len();
            // Mostly something that means something.
            text[at] = b"{}[]\",:\\0-.eu \x01\xff"[usize::from(spoil.1) % 16];
        }
        let mut tape = Tape::default();
        let ours = tape.parse(&text);
        match serde_json::from_slice::<Value>(&text) {
            Ok(value) => {
                prop_assert!(ours.is_ok(), "{:?} {}", ours, String::from_utf8_lossy(&text));
                let mut out = Vec::new();
                write_compact(&tape, &text, 0, &mut out);
                prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), value);
            }
            Err(error) => {
                let text = String::from_utf8_lossy(&text);
                // These are read here: half of a surrogate pair, and numbers that no f64 holds.
                let lenient = ["surrogate", "number out of range", "unexpected end of hex"];
                let lenient = lenient.iter().any(|what| error.to_string().contains(what));
                prop_assert!(ours.is_err() || lenient, "{} {}", error, text);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut tape = Tape::default();
        let ours = tape.parse(&bytes).is_ok();
        prop_assert!(ours || serde_json::from_slice::<Value>(&bytes).is_err());
    }
}

#[test]
fn values_are_as_the_body_has_them() {
    let body = r#"{"n": 12345678901234567890123.50, "e": 1e999, "s": "a\"\u00e9\ud83d\ude00\ud83d!", "o": { "k" : [1 , "x y"] }, "s": 2}"#;
    let text = |path: &str| {
        let (path, _) = compiled(path).unwrap();
        let mut tape = Tape::default();
        tape.parse(body.as_bytes()).unwrap();
        let nodes = Finder::default()
            .find(&path, &tape, body.as_bytes(), &|_, _| false)
            .unwrap();
        let mut out = Vec::new();
        write_text(&tape, body.as_bytes(), *nodes.first()?, &mut out);
        String::from_utf8(out).ok()
    };
    assert_eq!(text("$.n").as_deref(), Some("12345678901234567890123.50"));
    assert_eq!(text("$.e").as_deref(), Some("1e999"));
    assert_eq!(text("$.o").as_deref(), Some(r#"{"k":[1,"x y"]}"#));
    assert_eq!(text("$.o.k[1]").as_deref(), Some("x y"));
    assert_eq!(text("$.s").as_deref(), Some("2"), "of two members the last");
    assert_eq!(text("$['s','n']").as_deref(), Some("2"));
    assert_eq!(text("$.x"), None);
    let (mut tape, mut out) = (Tape::default(), Vec::new());
    let body = br#""a\"\u00e9\ud83d\ude00\ud83d!""#;
    tape.parse(body).unwrap();
    write_text(&tape, body, 0, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "a\"é😀\u{fffd}!");
}

#[test]
fn names_are_found_however_they_are_written() {
    let body = r#"{"a b":1,"caf\u00e9":2,"":3,"q\"":4}"#;
    for (path, value) in [
        ("$['a b']", "1"),
        ("$.café", "2"),
        ("$['caf\\u00e9']", "2"),
        ("$['']", "3"),
        ("$[\"q\\\"\"]", "4"),
    ] {
        assert_eq!(found(path, body).unwrap(), [value], "{path}");
    }
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    for (body, expected) in [
        ("", "the text ends at byte 0"),
        ("{\"a\":", "the text ends at byte 5"),
        ("{a:1}", "expected a key in quotes at byte 1"),
        ("{\"a\" 1}", "expected a colon at byte 5"),
        ("[1 2]", "expected a comma or the end at byte 3"),
        ("[1,]", "expected a value at byte 3"),
        ("{\"a\":1,}", "expected a key in quotes at byte 7"),
        ("1 x", "something after the value at byte 2"),
        ("\"a", "a string without end at byte 0"),
        ("\"a\nb\"", "a control character in a string at byte 2"),
        ("\"\\x\"", "an escape that does not exist at byte 1"),
        ("01", "something after the value at byte 1"),
        ("-", "a number without a digit at byte 1"),
        ("1.e3", "a number without a digit at byte 2"),
        ("<html>", "expected a value at byte 0"),
        ("nul", "expected a value at byte 0"),
    ] {
        let error = Tape::default()
            .parse(body.as_bytes())
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("the body is not JSON: {expected}"), "{body}");
    }
    let error = Tape::default()
        .parse(b"[\"\xff\"]")
        .unwrap_err()
        .to_string();
    assert!(error.contains("no UTF-8 text has at byte 2"), "{error}");
}

#[test]
fn deep_and_large_bodies_are_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let mut tape = Tape::default();
    assert!(tape.parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
    for body in [
        nested(JSON_DEPTH_MAX + 1),
        nested(100_000),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
    ] {
        let error = tape.parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("nested more than 1024 deep"), "{error}");
        assert_eq!(tape.len(), 0);
    }
    let deepest = nested(JSON_DEPTH_MAX);
    assert_eq!(found("$..*", &deepest).unwrap().len(), JSON_DEPTH_MAX - 1);
    let same = format!("[{{\"a\":{deepest},\"b\":{deepest}}}]")
        .replace(&deepest, &nested(JSON_DEPTH_MAX - 2));
    assert_eq!(found("$[?@.a == @.b]", &same).unwrap().len(), 1);
}

#[test]
fn a_query_that_takes_the_square_of_the_body_ends() {
    let body = format!("[{}0]", "0,".repeat(20_000));
    assert_eq!(
        found("$[?count($[*]) > 1]", &body),
        Err("too long".to_owned())
    );
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    assert_eq!(found("$..*..*..*..*", &deep), Err("too long".to_owned()));
    let doubling = "$".to_owned() + &"[0,0]".repeat(200);
    assert_eq!(found(&doubling, &deep), Err("too long".to_owned()));
    // What only looks at each a few times is not held up.
    assert_eq!(found("$[?@ == 0 && @ < 1]", &body).unwrap().len(), 20_001);
}

/// The reference takes `@[-1]` of a list of one for nothing; RFC 9535 section 2.3.3.2 does not.
#[test]
fn an_index_from_the_end_is_compared_as_one_from_the_start() {
    let equal = found("$[?@[0] == @[-1]]", "[[null],[1,2],[3,4,3],[],7]").unwrap();
    assert_eq!(equal, ["[null]", "[3,4,3]", "[]", "7"]);
}
