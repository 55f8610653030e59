//! Reads `request` steps.

use super::reader::Reader;
use super::response::{condition, extract};
use crate::language::Kind;
use crate::plan::{Body, Part, Request};

/// Reads the mapping under a `request` key.
pub(super) fn read_request(reader: &Reader<'_>) -> Request {
    let mut request = Request {
        at: reader.path.at(reader.node.pos),
        name: reader.text("name"),
        method: reader.text("method"),
        url: reader.text("url"),
        params: reader.pairs("params"),
        headers: reader.pairs("headers"),
        body: body(reader),
        timeout: reader.duration("timeout"),
        follow_redirects: reader.flag("follow_redirects"),
        tags: reader.pairs("tags"),
        extracts: Vec::new(),
        asserts: Vec::new(),
        checks: Vec::new(),
    };
    reader.items("extract", |item| request.extracts.extend(extract(&item)));
    reader.items("assert", |item| request.asserts.extend(condition(&item)));
    reader.items("checks", |item| request.checks.extend(condition(&item)));
    request
}

fn body(reader: &Reader<'_>) -> Option<Body> {
    let node = reader.node.get("body")?;
    if let Some(text) = reader.text("body") {
        return Some(Body::Text(text));
    }
    let Some(Kind::OneKey(table)) = reader.inner("body") else {
        return None;
    };
    let path = reader.path.key("body");
    let inner = Reader {
        node,
        path: &path,
        table,
    };
    if let Some(json) = node.get("json") {
        return Some(Body::Json(json.clone(), path.key("json").at(json.pos)));
    }
    if node.get("form").is_some() {
        return Some(Body::Form(inner.pairs("form")));
    }
    if node.get("multipart").is_some() {
        let mut parts = Vec::new();
        inner.items("multipart", |item| {
            parts.push(Part {
                at: item.path.at(item.node.pos),
                name: item.text("name"),
                value: item.text("value"),
                file: item.text("file"),
                filename: item.text("filename"),
                content_type: item.text("content_type"),
            });
        });
        return Some(Body::Multipart(parts));
    }
    inner.text("file").map(Body::File)
}
