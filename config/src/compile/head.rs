//! A request's head: `defaults.http.headers` and the step's own, checked and put in order. RFC 9110 section 5, RFC 9112
//! section 5.

use std::borrow::Cow;

use super::Compiler;
use super::builder::{Builder, Fragment};
use crate::diagnostic::shown;
use crate::escape::{header_value_error, is_token};
use crate::plan::Pair;
use crate::program::{Escape, Http, Made, Piece, Source, Template};

/// Header fields, names in lower case, each once.
pub(super) type Headers = Vec<(String, Vec<Fragment>)>;

/// The most header fields of a request; servers take about a hundred.
const MAX_HEADERS: usize = 1000;

/// What this program says it is.
const USER_AGENT: &str = concat!("loadr-fast/", env!("CARGO_PKG_VERSION"));

/// The codings that are asked for.
const CODINGS: &str = "gzip, deflate, br";

/// What a request's content needs in its head.
pub(super) struct Content<'a> {
    pub(super) body: Option<&'a Template>,
    /// Unless the plan sets one.
    pub(super) content_type: Option<Cow<'static, str>>,
    /// Whether a request without content says so (RFC 9110 section 8.6).
    pub(super) expects_content: bool,
}

impl Compiler<'_> {
    /// Checks and folds header fields.
    pub(super) fn headers(&mut self, pairs: &[Pair]) -> Headers {
        let mut headers = Headers::new();
        if let Some(pair) = pairs.get(MAX_HEADERS) {
            let message = format!("a request has at most {MAX_HEADERS} headers");
            self.report.error(&pair.name.at, message, None);
            return headers;
        }
        for pair in pairs {
            let name = pair.name.text.to_ascii_lowercase();
            let value = self.fold(&pair.value);
            if !is_token(&name) {
                let message = format!("`{}` is not a header name", shown(&pair.name.text));
                let help = "letters, digits and `!#$%&'*+-.^_`|~` make one".to_owned();
                self.report.error(&pair.name.at, message, Some(help));
                continue;
            }
            if matches!(name.as_str(), "content-length" | "transfer-encoding") {
                let message = format!("`{}` cannot be set", shown(&pair.name.text));
                let help = "it is made from the body".to_owned();
                self.report.error(&pair.name.at, message, Some(help));
                continue;
            }
            if headers.iter().any(|(known, _)| *known == name) {
                let message = format!("the header `{name}` is there twice");
                let help = "names of headers are the same in upper and lower case".to_owned();
                self.report.error(&pair.name.at, message, Some(help));
                continue;
            }
            let Some(mut value) = value else { continue };
            trim(&mut value);
            if let Some(message) = value.iter().find_map(value_error) {
                self.report.error(&pair.value.at, message, None);
                continue;
            }
            if name == "host" && value.is_empty() {
                self.report
                    .error(&pair.value.at, "`host` is empty".to_owned(), None);
                continue;
            }
            headers.push((name, value));
        }
        headers
    }
}

/// `own` over `defaults`.
pub(super) fn overlay(defaults: &Headers, own: Headers) -> Headers {
    let mut headers = defaults.clone();
    for (name, value) in own {
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => headers.push((name, value)),
        }
    }
    headers
}

/// Writes everything after the request target.
pub(super) fn finish(
    mut head: Builder,
    authority: &str,
    headers: &Headers,
    content: &Content<'_>,
    http: &Http,
) -> Template {
    let set = |name: &str| headers.iter().find(|(known, _)| known == name);
    head.bytes(b" HTTP/1.1\r\nhost: ");
    // First, as RFC 9110 section 7.2 wants it.
    match set("host") {
        Some((_, value)) => head.fragments(value, Escape::Header),
        None => head.bytes(authority.as_bytes()),
    }
    head.bytes(b"\r\n");
    for (name, default) in [("user-agent", USER_AGENT), ("accept", "*/*")] {
        if set(name).is_none() {
            line(&mut head, name, default);
        }
    }
    if http.decodes && set("accept-encoding").is_none() {
        line(&mut head, "accept-encoding", CODINGS);
    }
    if http.traces {
        head.bytes(b"traceparent: ");
        head.piece(Piece::Value {
            source: Source::Made(Made::TraceParent),
            escape: Escape::None,
        });
        head.bytes(b"\r\n");
    }
    if !http.keep_alive && set("connection").is_none() {
        line(&mut head, "connection", "close");
    }
    for (name, value) in headers.iter().filter(|(name, _)| name != "host") {
        head.bytes(name.as_bytes());
        head.bytes(b": ");
        head.fragments(value, Escape::Header);
        head.bytes(b"\r\n");
    }
    if let Some(content_type) = &content.content_type
        && set("content-type").is_none()
    {
        line(&mut head, "content-type", content_type);
    }
    match content.body.map(Template::constant) {
        Some(Some(parts)) => {
            let len: usize = parts.iter().map(|part| part.len()).sum();
            line(&mut head, "content-length", &len.to_string());
        }
        Some(None) => {
            head.bytes(b"content-length: ");
            head.piece(Piece::BodyLength);
            head.bytes(b"\r\n");
        }
        None if content.expects_content => line(&mut head, "content-length", "0"),
        None => {}
    }
    head.bytes(b"\r\n");
    head.finish()
}

fn line(head: &mut Builder, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.bytes(part.as_bytes());
    }
}

/// Why a part of a value cannot be in a header; nothing of a secret is in it.
pub(super) fn value_error(fragment: &Fragment) -> Option<String> {
    match fragment {
        Fragment::Text(text) => header_value_error(text),
        Fragment::Secret(secret) => header_value_error(secret).map(|_| {
            "the secret has a control character, which a header value cannot have".to_owned()
        }),
        Fragment::Value(_) => None,
    }
}

/// White space around a value is not part of it.
fn trim(value: &mut Vec<Fragment>) {
    let blank = [' ', '\t'];
    if let Some(Fragment::Text(text)) = value.first_mut() {
        *text = text.trim_start_matches(blank).to_owned();
    }
    if let Some(Fragment::Text(text)) = value.last_mut() {
        text.truncate(text.trim_end_matches(blank).len());
    }
    value.retain(|fragment| !matches!(fragment, Fragment::Text(text) if text.is_empty()));
}
