//! An extractor: the text between two markers in a response's body.
//!
//! Configured by `{"left": "id=", "right": ";"}`, which are the defaults. The value is what lies between the first `left`
//! and the first `right` after it; there is none where either is missing or the text between is not UTF-8.

use std::borrow::Cow;

use serde::Deserialize;

wit_bindgen::generate!({ path: "../../../plugin-host/wit", world: "loadr-plugin" });

use exports::loadr::plugin::{extractor, meta};

struct OrderId;

export!(OrderId);

/// The settings. Borrowed from the text they are read from, so a call allocates only for what is escaped.
#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow, default = "left")]
    left: Cow<'a, str>,
    #[serde(borrow, default = "right")]
    right: Cow<'a, str>,
}

fn left() -> Cow<'static, str> {
    Cow::Borrowed("id=")
}

fn right() -> Cow<'static, str> {
    Cow::Borrowed(";")
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
        // A configuration that cannot be read is the plan's mistake. A trap tells it; "nothing found" would hide it.
        let config: Config<'_> =
            serde_json::from_str(&config).unwrap_or_else(|_| std::process::abort());
        between(&body, config.left.as_bytes(), config.right.as_bytes())
    }
}

fn between(body: &[u8], left: &[u8], right: &[u8]) -> Option<String> {
    let start = find(body, left)? + left.len();
    let rest = &body[start..];
    let value = &rest[..find(rest, right)?];
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// Where `needle` begins in `haystack`. An empty needle is found at once.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let Some((first, rest)) = needle.split_first() else {
        return Some(0);
    };
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
        let after = from + at + 1;
        if haystack[after..].starts_with(rest) {
            return Some(after - 1);
        }
        from = after;
    }
    None
}
