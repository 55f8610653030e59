//! Reads `request` steps.

use super::reader::Reader;
use crate::language::{self, Kind};
use crate::node::Content;
use crate::plan::{Body, Condition, Extract, ExtractSource, Part, PluginCall, Request, Test};
use crate::program::{OnFailure, Pick};

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

fn tag_of<'a>(reader: &Reader<'a>) -> &'a str {
    reader
        .node
        .get("type")
        .and_then(|node| language::text(node).ok())
        .unwrap_or_default()
}

fn extract(reader: &Reader<'_>) -> Option<Extract> {
    let source = match tag_of(reader) {
        "regex" => ExtractSource::Regex {
            expression: reader.text("expression")?,
            group: reader.count("group").map_or(Ok(1), usize::try_from).ok()?,
        },
        "header" => ExtractSource::Header(reader.text("header")?),
        "boundary" => ExtractSource::Boundary {
            left: reader.text("left")?.text,
            right: reader.text("right")?.text,
        },
        "plugin" => ExtractSource::Plugin(plugin_call(reader)?),
        _ => return None,
    };
    let pick = match source {
        ExtractSource::Plugin(_) => Pick::First,
        _ => match reader
            .text("index")
            .as_ref()
            .map(|index| index.text.as_str())
        {
            Some("last") => Pick::Last,
            Some("random") => Pick::Random,
            Some("all") => Pick::All,
            _ => Pick::First,
        },
    };
    let default = reader.text("default").map(|default| default.text);
    Some(Extract {
        name: reader.text("name")?,
        default,
        pick,
        source,
    })
}

fn plugin_call(reader: &Reader<'_>) -> Option<PluginCall> {
    let at = reader.path.at(reader.node.pos);
    Some(PluginCall {
        plugin: reader.text("plugin")?,
        config: reader.object("config"),
        at,
    })
}

fn condition(reader: &Reader<'_>) -> Option<Condition> {
    let test = match tag_of(reader) {
        "status" => {
            let code = |n: u64| u16::try_from(n).ok();
            let mut one_of = None;
            if let (Some(Kind::Count(least, most)), Some(Content::List(items))) = (
                reader.inner("one_of"),
                reader.node.get("one_of").map(|node| &node.content),
            ) {
                let read = |item| language::count(item, *least, *most).ok().and_then(code);
                one_of = Some(items.iter().filter_map(read).collect());
            }
            let equals = reader.count("equals").and_then(code);
            // A value that could not be read is not a missing one.
            if equals.is_none() && reader.node.get("equals").is_some()
                || one_of.is_none() && reader.node.get("one_of").is_some()
            {
                return None;
            }
            Test::Status {
                equals,
                one_of,
                matches: reader.text("matches"),
            }
        }
        "body_contains" => Test::BodyContains {
            value: reader.text("value")?,
            negate: reader.flag("negate").unwrap_or(false),
        },
        "body_matches" => Test::BodyMatches {
            pattern: reader.text("pattern")?,
            negate: reader.flag("negate").unwrap_or(false),
        },
        "plugin" => Test::Plugin(plugin_call(reader)?),
        _ => return None,
    };
    let on_failure = reader.text("on_failure").and_then(|word| {
        let action = match word.text.as_str() {
            "continue" => OnFailure::Continue,
            "abort_iteration" => OnFailure::AbortIteration,
            "abort_scenario" => OnFailure::AbortScenario,
            "abort_test" => OnFailure::AbortTest,
            _ => return None,
        };
        Some((action, word.at))
    });
    let at = reader.path.at(reader.node.pos);
    Some(Condition {
        at,
        name: reader.text("name"),
        on_failure,
        test,
    })
}
