//! Nodes back to YAML, in block style, so that reading the text gives the same nodes. A text goes without quotes only
//! where every YAML reader takes it for that text.

use crate::node::{Content, Entry, Node, Scalar, Typed};

/// A whole document.
pub(crate) fn print(root: &Node) -> String {
    let mut out = String::new();
    match &root.content {
        Content::Map(entries) if !entries.is_empty() => print_entries(entries, 0, &mut out),
        Content::List(items) if !items.is_empty() => print_items(items, 0, &mut out),
        _ => {
            print_leaf(&root.content, &mut out);
            out.push('\n');
        }
    }
    out
}

/// `key: value` lines; the first one begins where `out` ends.
fn print_entries(entries: &[Entry], indent: usize, out: &mut String) {
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        let mut key = String::new();
        print_text(&entry.key, &mut key);
        // YAML 1.2 section 7.4.2: a longer key needs its mark.
        const SIMPLE_KEY_CHARS: usize = 1000;
        if key.chars().count() > SIMPLE_KEY_CHARS {
            out.push_str("? ");
            key.push('\n');
            key.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&key);
        out.push(':');
        print_value(&entry.value, indent, out);
    }
}

/// What follows a key: on its line, or below it.
fn print_value(node: &Node, indent: usize, out: &mut String) {
    match &node.content {
        Content::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            print_entries(entries, indent + 2, out);
        }
        Content::List(items) if !items.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            print_items(items, indent + 2, out);
        }
        content => {
            out.push(' ');
            print_leaf(content, out);
            // `key: ` with nothing after it.
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
    }
}

/// `- item` lines; the first one begins where `out` ends.
fn print_items(items: &[Node], indent: usize, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match &item.content {
            Content::Map(entries) if !entries.is_empty() => print_entries(entries, indent + 2, out),
            Content::List(items) if !items.is_empty() => print_items(items, indent + 2, out),
            content => {
                print_leaf(content, out);
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
            }
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A scalar, or a collection with nothing in it.
fn print_leaf(content: &Content, out: &mut String) {
    match content {
        Content::List(_) => out.push_str("[]"),
        Content::Map(_) => out.push_str("{}"),
        Content::Scalar(Scalar {
            text,
            typed: Typed::Text,
        }) => print_text(text, out),
        // As it was written: it was plain.
        Content::Scalar(scalar) => out.push_str(&scalar.text),
    }
}

fn print_text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' | '\u{a0}'..='\u{d7ff}' if !matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push(c);
            }
            _ => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push('"');
}

/// Whether the text can stand without quotes, in any YAML version.
fn is_plain(text: &str) -> bool {
    // What is none of YAML's in any place.
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-/.%()<>=+$@~;^".contains(c);
    // What means something only next to white space or in other places.
    let is_inner =
        |c: char| is_safe(c) || matches!(c, '{' | '}' | '?' | '&' | '*' | '|' | '!' | ':');
    let Some(first) = text.chars().next() else {
        return false;
    };
    let is_word = text
        .split(' ')
        .all(|word| !word.is_empty() && word.chars().all(is_inner) && !word.ends_with(':'));
    // `1m30s` and its like: what begins as a number but cannot be one in any version.
    let is_quantity = || {
        const UNITS: [&str; 8] = ["ns", "us", "ms", "s", "m", "h", "KiB", "MiB"];
        let mut rest = text;
        while !rest.is_empty() {
            let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let end = unit
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(unit.len());
            if unit.len() == rest.len() || !UNITS.contains(&&unit[..end]) {
                return false;
            }
            rest = &unit[end..];
        }
        true
    };
    let begins_well = first.is_ascii_alphabetic() || matches!(first, '/' | '$' | '_');
    is_word && (begins_well && !is_reserved(text) || is_quantity())
}

/// What YAML 1.1 or 1.2 takes for something other than text.
fn is_reserved(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan",
    ];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::Report;
    use crate::document;
    use crate::node::Pos;

    fn of(content: Content) -> Node {
        Node {
            pos: Pos::default(),
            content,
        }
    }

    fn text(text: &str) -> Node {
        of(Content::Scalar(Scalar {
            text: text.to_owned(),
            typed: Typed::Text,
        }))
    }

    fn read(text: &str) -> Node {
        let mut report = Report::default();
        match document::read(text, &mut report) {
            Some(node) if !report.has_errors() => node,
            _ => panic!("{}\nin:\n{text}", report.failure(std::path::Path::new("p"))),
        }
    }

    /// The nodes without their places.
    fn bare(node: &Node) -> String {
        match &node.content {
            Content::Scalar(scalar) => format!("{:?}", (&scalar.text, &scalar.typed)),
            Content::List(items) => format!("{:?}", items.iter().map(bare).collect::<Vec<_>>()),
            Content::Map(entries) => {
                let of = |entry: &Entry| (entry.key.clone(), bare(&entry.value));
                format!("map{:?}", entries.iter().map(of).collect::<Vec<_>>())
            }
        }
    }

    fn node() -> impl Strategy<Value = Node> {
        let word = prop_oneof![
            "[a-z]{0,6}",
            "[ -~]{0,12}",
            "\\PC{0,6}",
            any::<String>(),
            Just("yes".to_owned()),
            Just("1e3".to_owned()),
            Just("0x1f".to_owned()),
            Just("12:30:45".to_owned()),
            Just("1_000".to_owned()),
            Just("~".to_owned()),
            Just("a: b".to_owned()),
            Just("a #b".to_owned()),
            Just("30s".to_owned()),
            Just("1m30s500ms".to_owned()),
            Just("http://h:80/a?b={c}&d=${vu}#e".to_owned()),
        ];
        let plain = prop_oneof![
            any::<i64>().prop_map(|i| (i.to_string(), Typed::Integer(i.into()))),
            Just(("1.10".to_owned(), Typed::Float(1.1))),
            Just((".inf".to_owned(), Typed::Float(f64::INFINITY))),
            Just(("1e3".to_owned(), Typed::Float(1000.0))),
            Just(("0x1f".to_owned(), Typed::Integer(31))),
            Just(("true".to_owned(), Typed::Flag(true))),
            Just(("~".to_owned(), Typed::Null)),
            Just(("null".to_owned(), Typed::Null)),
            Just((String::new(), Typed::Null)),
        ];
        let leaf = prop_oneof![
            word.clone().prop_map(|word| text(&word)),
            plain.prop_map(|(text, typed)| of(Content::Scalar(Scalar { text, typed }))),
        ];
        let key = word.prop_map(|mut key| {
            key.truncate(key.floor_char_boundary(1000));
            key
        });
        leaf.prop_recursive(5, 40, 4, move |inner| {
            let map = proptest::collection::btree_map(key.clone(), inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(|items| of(Content::List(items))),
                map.prop_map(|map| {
                    let entry = |(key, value)| Entry {
                        key,
                        pos: Pos::default(),
                        value,
                    };
                    of(Content::Map(map.into_iter().map(entry).collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_what_it_was(node in node()) {
            // A document that is nothing at all is refused.
            let node = of(Content::List(vec![node]));
            prop_assert_eq!(bare(&read(&print(&node))), bare(&node));
        }
    }

    #[test]
    fn the_text_is_what_a_person_would_write() {
        let plan = "\
name: home page
defaults:
  http:
    base_url: http://127.0.0.1:8080/api
scenarios:
  s:
    vus: 5
    duration: 1m
    flow:
      - request:
          url: /a?b=${vu}
          headers: {}
          body: \"{\\\"a\\\": [1, 2]}\\n\"
      - - 1.10
        - \"1.10\"
        - \"yes\"
thresholds:
  http_reqs:
    - count>1
    - p(95)<400
";
        // `1m` reads as text to every reader.
        assert_eq!(print(&read(plan)), plan);
    }

    #[test]
    fn every_example_is_the_same_plan_when_printed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let node = read(&std::fs::read_to_string(&path).unwrap());
                assert_eq!(
                    bare(&read(&print(&node))),
                    bare(&node),
                    "{}",
                    path.display()
                );
                seen += 1;
            }
        }
        assert!(seen >= 5, "{seen}");
    }
}
