//! The plan's fingerprint: SHA-256 over a canonical form of the effective document, so that comments, layout and the
//! order of keys do not count, and everything else does.

use std::fmt::Write as _;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::node::{Content, Node, Typed};

/// The hash in lower-case hexadecimal.
pub(crate) fn plan_hash(document: &Node) -> String {
    let mut canonical = String::new();
    write_node(document, &mut canonical);
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(canonical.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// JSON without spaces, keys sorted by their bytes, numbers as written (`1.10` is sent as it is written where text goes).
fn write_node(node: &Node, out: &mut String) {
    match &node.content {
        Content::Scalar(scalar) => match scalar.typed {
            Typed::Integer(_) | Typed::Float(_) => out.push_str(&scalar.text),
            Typed::Null | Typed::Flag(_) | Typed::Text => {
                let _ = write!(out, "{}", scalar.to_json());
            }
        },
        Content::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_node(item, out);
            }
            out.push(']');
        }
        Content::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.key.cmp(&b.key));
            out.push('{');
            for (i, entry) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Json::String(entry.key.clone()));
                write_node(&entry.value, out);
            }
            out.push('}');
        }
    }
}
