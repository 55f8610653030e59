//! What nodes are in text.

use super::tape::{Kind, NodeId, Tape};

/// Appends the node for people and templates: a string's text, the JSON of anything else.
pub(crate) fn write_text(tape: &Tape, body: &[u8], node: NodeId, out: &mut Vec<u8>) {
    match tape.kind(node) {
        Kind::Text => out.extend_from_slice(tape.raw(body, node)),
        Kind::Escaped => decode(tape.raw(body, node), out),
        _ => write_compact(tape, body, node, out),
    }
}

/// Appends the node's JSON as it is in the body, without the white space between values: numbers keep every digit.
pub(crate) fn write_compact(tape: &Tape, body: &[u8], node: NodeId, out: &mut Vec<u8>) {
    let raw = tape.raw(body, node);
    match tape.kind(node) {
        Kind::Text | Kind::Escaped => {
            out.push(b'"');
            out.extend_from_slice(raw);
            out.push(b'"');
        }
        Kind::Array | Kind::Object => {
            let (mut in_string, mut escaped) = (false, false);
            for &byte in raw {
                if !in_string && matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                    continue;
                }
                out.push(byte);
                if escaped {
                    escaped = false;
                } else if byte == b'"' {
                    in_string = !in_string;
                } else {
                    escaped = in_string && byte == b'\\';
                }
            }
        }
        Kind::Null | Kind::True | Kind::False | Kind::Number => out.extend_from_slice(raw),
    }
}

/// Appends a string without its escapes. Half of a surrogate pair, which is no character, becomes U+FFFD.
pub(crate) fn decode(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(&escape) = rest.get(at + 1) else {
            return;
        };
        rest = &rest[at + 2..];
        out.push(match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, used) = unicode(rest);
                rest = &rest[used..];
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        });
    }
    out.extend_from_slice(rest);
}

/// The character whose digits begin here, and how many bytes they and, for a pair, the second half are.
fn unicode(rest: &[u8]) -> (char, usize) {
    let unit = |digits: Option<&[u8]>| {
        let digits = std::str::from_utf8(digits?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = unit(rest.get(..4)).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first)
        && rest.get(4..6) == Some(b"\\u")
        && let Some(second @ 0xdc00..0xe000) = unit(rest.get(6..10))
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or('\u{fffd}'), 10);
    }
    (
        char::from_u32(first).unwrap_or('\u{fffd}'),
        rest.len().min(4),
    )
}

/// A number's value; infinite when it is too large for the type.
pub(crate) fn number_of(raw: &[u8]) -> Option<f64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}
