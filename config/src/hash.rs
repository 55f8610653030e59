//! The plan's fingerprint: SHA-256 over a canonical form of the effective document, so that comments, layout and the
//! order of keys do not count, and everything else does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::node::{Content, Node, Typed};

/// The hash in lower-case hexadecimal.
pub(crate) fn plan_hash(document: &Node) -> String {
    let mut canonical = String::new();
    write_node(document, &mut canonical);
    hex(&Sha256::digest(canonical.as_bytes()))
}

/// SHA-256 over parts, each told apart from the next, in lower-case hexadecimal.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What a plan is given from outside of it: files and variables of the environment. Secrets are none of it: they may
/// differ from machine to machine, and nothing that is made of them is written anywhere.
#[derive(Debug, Default)]
pub(crate) struct Inputs(BTreeMap<(&'static str, String), String>);

impl Inputs {
    /// The plan uses a variable of the environment.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        let key = ("env", name.to_owned());
        self.0
            .entry(key)
            .or_insert_with(|| fingerprint([value.as_bytes()]));
    }

    /// The plan uses a file, which it calls `name`.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) {
        let key = ("file", name.to_owned());
        self.0.entry(key).or_insert_with(|| fingerprint([content]));
    }

    /// The fingerprint of all.
    pub(crate) fn hash(&self) -> String {
        let parts = self.0.iter();
        fingerprint(
            parts.flat_map(|((kind, name), hash)| {
                [kind.as_bytes(), name.as_bytes(), hash.as_bytes()]
            }),
        )
    }
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
