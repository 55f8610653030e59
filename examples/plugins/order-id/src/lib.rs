//! An extractor: the text between two markers in a response's body.
//!
//! Configured by `{"left": "id=", "right": ";"}`, which are the defaults. The value is what lies between the first `left`
//! and the first `right` after it; there is none where either is missing or the text between is not UTF-8.
//!
//! A configuration is the same text on every call of a step, so it is read once and kept: reading it is half of the time
//! that a call would take.

use std::cell::RefCell;

use memchr::memmem::Finder;
use serde::Deserialize;

wit_bindgen::generate!({ path: "../../../plugin-host/wit", world: "loadr-plugin" });

use exports::loadr::plugin::{extractor, meta};

struct OrderId;

export!(OrderId);

/// The settings as written.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "left")]
    left: String,
    #[serde(default = "right")]
    right: String,
}

/// What is looked for.
struct Markers {
    left: Finder<'static>,
    right: Finder<'static>,
}

fn left() -> String {
    "id=".into()
}

fn right() -> String {
    ";".into()
}

/// The most configurations that are kept: each step that uses the plugin can have its own, and rarely more do.
const KEPT_MAX: usize = 8;

thread_local! {
    /// Configurations as written, with what they say.
    static KEPT: RefCell<Vec<(String, Markers)>> = const { RefCell::new(Vec::new()) };
}

impl meta::Guest for OrderId {
    fn describe() -> meta::Info {
        meta::Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: "extractor".into(),
            description: env!("CARGO_PKG_DESCRIPTION").into(),
        }
    }
}

impl extractor::Guest for OrderId {
    fn extract(body: Vec<u8>, _headers: Vec<(String, String)>, config: String) -> Option<String> {
        KEPT.with_borrow_mut(|kept| {
            let at = match kept.iter().position(|(text, _)| *text == config) {
                Some(at) => at,
                None => keep(kept, config),
            };
            between(&body, &kept[at].1)
        })
    }
}

/// Reads a configuration and keeps it; where it is kept.
fn keep(kept: &mut Vec<(String, Markers)>, text: String) -> usize {
    // A configuration that cannot be read is the plan's mistake. A trap tells it; "nothing found" would hide it.
    let config: Config = serde_json::from_str(&text).unwrap_or_else(|_| std::process::abort());
    let finder = |marker: &str| Finder::new(marker).into_owned();
    let markers = Markers { left: finder(&config.left), right: finder(&config.right) };
    if kept.len() == KEPT_MAX {
        kept.clear();
    }
    kept.push((text, markers));
    kept.len() - 1
}

fn between(body: &[u8], markers: &Markers) -> Option<String> {
    let start = markers.left.find(body)? + markers.left.needle().len();
    let rest = &body[start..];
    let value = &rest[..markers.right.find(rest)?];
    std::str::from_utf8(value).ok().map(str::to_owned)
}
