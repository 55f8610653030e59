//! An assertion: the status of a response and what its body contains.
//!
//! Configured by `{"status": 200, "must_contain": "order", "max_ms": 500}`. `status` is 200 unless said otherwise, the others
//! are optional. A response passes when its status is that one, its body is not empty and contains the text, and it came in
//! time. The first of these that fails is told.

use std::borrow::Cow;

use serde::Deserialize;

wit_bindgen::generate!({ path: "../../../plugin-host/wit", world: "loadr-assertion-plugin" });

use exports::loadr::plugin::{assertion, meta};

struct OrderCheck;

export!(OrderCheck);

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(default = "ok")]
    status: i64,
    #[serde(borrow)]
    must_contain: Option<Cow<'a, str>>,
    max_ms: Option<f64>,
}

fn ok() -> i64 {
    200
}

impl meta::Guest for OrderCheck {
    fn describe() -> meta::Info {
        meta::Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: "assertion".into(),
            description: env!("CARGO_PKG_DESCRIPTION").into(),
        }
    }
}

impl assertion::Guest for OrderCheck {
    fn check(
        status: i64,
        body: Vec<u8>,
        _headers: Vec<(String, String)>,
        duration_ms: f64,
        config: String,
    ) -> assertion::Verdict {
        let failure = match serde_json::from_str::<Config<'_>>(&config) {
            Ok(config) => judge(&config, status, &body, duration_ms),
            Err(error) => Some(format!("the config cannot be read: {error}")),
        };
        assertion::Verdict {
            pass: failure.is_none(),
            detail: failure.unwrap_or_default(),
        }
    }
}

/// What is wrong with the response, if anything.
fn judge(config: &Config<'_>, status: i64, body: &[u8], duration_ms: f64) -> Option<String> {
    if status != config.status {
        return Some(format!("status {status}, expected {}", config.status));
    }
    if body.is_empty() {
        return Some("the body is empty".into());
    }
    if let Some(text) = &config.must_contain {
        if !contains(body, text.as_bytes()) {
            return Some(format!("the body does not contain {text:?}"));
        }
    }
    match config.max_ms {
        Some(max_ms) if duration_ms > max_ms => Some(format!("slower than {max_ms} ms")),
        _ => None,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return true;
    };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
