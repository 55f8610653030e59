//! YAML text to a tree of [`Node`]s.
//!
//! Two readers go over the text: `saphyr-parser` gives events with positions and is where hostile input is stopped
//! (depth, aliases, duplicate keys, several documents), then `serde_yaml` gives the values. The tree is made from both in
//! step; where they disagree the document is refused, because a plan that two readers read differently says nothing
//! certain. Nothing here knows what a plan is.

mod scan;

use serde_yaml::Value;

use crate::diagnostic::{Report, shown};
use crate::node::{At, Content, Entry, Node, Path, Pos, Scalar, Typed};

/// The deepest nesting. A plan needs about a dozen levels.
const MAX_DEPTH: usize = 64;
/// The most keys and values of a document, aliases expanded.
const MAX_NODES: usize = 500_000;
/// The most text in scalars, aliases expanded.
const MAX_SCALAR_BYTES: usize = 64 << 20;
/// The longest key.
const MAX_KEY_BYTES: usize = 1024;

/// Reads one document, or reports why not.
pub(crate) fn read(text: &str, report: &mut Report) -> Option<Node> {
    // Both readers take a byte order mark for part of the first key in some positions.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((index, bad)) = text.chars().enumerate().find(|(_, c)| !is_printable(*c)) {
        let at = At {
            path: String::new(),
            pos: position_of(text, index),
        };
        let message = format!(
            "YAML does not allow the character `{}`",
            bad.escape_unicode()
        );
        let help = "between double quotes it can be written as `\\x..` or `\\u....`".to_owned();
        report.error(&at, message, Some(help));
        return None;
    }
    let root = scan::scan(text, report)?;
    if report.has_errors() {
        return None;
    }
    let value = match serde_yaml::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => {
            // Its line is of YAML 1.1, which has more line breaks than editors show: its index is safe.
            let pos = position_of(text, error.location().map_or(0, |at| at.index()));
            let message = strip_location(&error.to_string());
            let is_too_large = message.contains("` as u128") || message.contains("` as i128");
            let (message, help) = if is_too_large {
                let help = "no key takes so large a number; in quotes it is text".to_owned();
                ("the number is too large".to_owned(), Some(help))
            } else {
                (format!("not valid YAML: {message}"), None)
            };
            report.error(
                &At {
                    path: String::new(),
                    pos,
                },
                message,
                help,
            );
            return None;
        }
    };
    join(root, &value, &Path::Root, report)
}

/// The second reader puts its own line and column at the end of its messages.
fn strip_location(message: &str) -> String {
    let cut = message.find(" at line ").unwrap_or(message.len());
    shown(&message[..cut])
}

/// YAML 1.2 section 5.1.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

/// The line and column of a character.
fn position_of(text: &str, index: usize) -> Pos {
    let mut pos = Pos {
        line: 1,
        column: 1,
        ..Pos::default()
    };
    let mut last = ' ';
    for c in text.chars().take(index) {
        match c {
            '\n' if last == '\r' => {}
            '\n' | '\r' => (pos.line, pos.column) = (pos.line.saturating_add(1), 1),
            _ => pos.column = pos.column.saturating_add(1),
        }
        last = c;
    }
    pos
}

/// Gives the scanned tree the second reader's types. `None`, with an error, where the two disagree.
fn join(mut node: Node, value: &Value, path: &Path<'_>, report: &mut Report) -> Option<Node> {
    node.content = match (node.content, value) {
        (Content::Scalar(scalar), value) => match typed(&scalar, value) {
            Some(typed) => Content::Scalar(Scalar { typed, ..scalar }),
            None => return disagree(path, node.pos, report),
        },
        (Content::List(items), Value::Sequence(values)) if items.len() == values.len() => {
            let joined = items
                .into_iter()
                .zip(values)
                .enumerate()
                .map(|(i, (item, value))| join(item, value, &path.item(i), report));
            Content::List(joined.collect::<Option<_>>()?)
        }
        (Content::Map(entries), Value::Mapping(values)) if entries.len() == values.len() => {
            let mut joined = Vec::with_capacity(entries.len());
            for (entry, (key, value)) in entries.into_iter().zip(values) {
                let path = path.key(&entry.key);
                match key {
                    Value::String(key) if *key == entry.key => {}
                    Value::Null | Value::Bool(_) | Value::Number(_) => {
                        let help = format!("write `\"{}\"` in quotes", shown(&entry.key));
                        let message = format!("the key `{}` is not text", shown(&entry.key));
                        report.error(&path.at(entry.pos), message, Some(help));
                        continue;
                    }
                    _ => return disagree(&path, entry.pos, report),
                }
                let value = join(entry.value, value, &path, report)?;
                joined.push(Entry {
                    key: entry.key,
                    pos: entry.pos,
                    value,
                });
            }
            Content::Map(joined)
        }
        _ => return disagree(path, node.pos, report),
    };
    Some(node)
}

fn typed(scalar: &Scalar, value: &Value) -> Option<Typed> {
    match value {
        Value::Null => Some(Typed::Null),
        Value::Bool(flag) => Some(Typed::Flag(*flag)),
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .map(Typed::Integer)
            .or_else(|| number.as_f64().map(Typed::Float)),
        Value::String(text) => (*text == scalar.text).then_some(Typed::Text),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn disagree(path: &Path<'_>, pos: Pos, report: &mut Report) -> Option<Node> {
    let help = "write it more simply: quotes around the text, no blank lines or comments inside it";
    let message = "YAML 1.1 and 1.2 readers read this differently".to_owned();
    report.error(&path.at(pos), message, Some(help.to_owned()));
    None
}
