//! Reads what is done with a response: `extract`, `assert` and `checks` items.

use super::reader::{Reader, TextOr};
use crate::language::{self, Kind};
use crate::node::{At, Content};
use crate::plan::{
    Condition, Extract, ExtractSource, PluginCall, Refine, Test, Transform, ValueCheck, Wants,
};
use crate::program::{Cast, OnFailure, Pick};

fn tag_of<'a>(reader: &Reader<'a>) -> &'a str {
    reader
        .node
        .get("type")
        .and_then(|node| language::text(node).ok())
        .unwrap_or_default()
}

/// Reads an `extract` item.
pub(super) fn extract(reader: &Reader<'_>) -> Option<Extract> {
    if reader.table.key("chain").is_some() {
        return chain(reader);
    }
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
        "jsonpath" => ExtractSource::JsonPath(reader.text("expression")?),
        "xpath" => ExtractSource::XPath(reader.text("expression")?),
        "css" => ExtractSource::Css {
            expression: reader.text("expression")?,
            attribute: reader.text("attribute"),
        },
        _ => return None,
    };
    let pick = match source {
        ExtractSource::Plugin(_) => Pick::First,
        _ => pick(reader),
    };
    Some(Extract {
        name: reader.text("name")?,
        default: reader.constant("default"),
        pick,
        source,
        refine: None,
    })
}

fn pick(reader: &Reader<'_>) -> Pick {
    let index = reader.text("index");
    match index.as_ref().map(|index| index.text.as_str()) {
        Some("last") => Pick::Last,
        Some("random") => Pick::Random,
        Some("all") => Pick::All,
        _ => Pick::First,
    }
}

/// An `extract` item with `chain`.
fn chain(reader: &Reader<'_>) -> Option<Extract> {
    let given: Vec<&'static str> = SOURCES
        .into_iter()
        .filter(|key| reader.node.get(key).is_some())
        .collect();
    let source = match given.as_slice() {
        ["jmespath"] => ExtractSource::JmesPath(reader.text("jmespath")?),
        ["jsonpath"] => ExtractSource::JsonPath(reader.text("jsonpath")?),
        ["regex"] => ExtractSource::Regex {
            expression: reader.text("regex")?,
            group: reader.count("group").map_or(Ok(1), usize::try_from).ok()?,
        },
        ["header"] => ExtractSource::Header(reader.text("header")?),
        ["css"] => ExtractSource::Css {
            expression: reader.text("css")?,
            attribute: reader.text("attribute"),
        },
        ["xpath"] => ExtractSource::XPath(reader.text("xpath")?),
        ["left", "right"] => ExtractSource::Boundary {
            left: reader.text("left")?.text,
            right: reader.text("right")?.text,
        },
        _ => ExtractSource::NotOne(given, reader.path.at(reader.node.pos)),
    };
    let mut transforms = Vec::new();
    reader.texts_or_items("transform", |step| {
        transforms.extend(match step {
            TextOr::Text(word) => Some(Transform::Word(word)),
            TextOr::Item(item) => transform(&item),
        });
    });
    let cast = match reader.text("as").as_ref().map(|cast| cast.text.as_str()) {
        Some("int") => Some(Cast::Int),
        Some("float") => Some(Cast::Float),
        Some("bool") => Some(Cast::Bool),
        Some("string") => Some(Cast::Text),
        _ => None,
    };
    let mut check = None;
    reader.table("check", |reader| {
        check = Some(ValueCheck {
            at: reader.path.at(reader.node.pos),
            equals: reader.text("equals"),
            matches: reader.text("matches"),
            one_of: reader.scalars("one_of"),
            min: reader.number("min"),
            max: reader.number("max"),
            not_empty: reader.flag("not_empty").unwrap_or(false),
            on_failure: on_failure(&reader).map_or(OnFailure::Continue, |(action, _)| action),
        });
    });
    Some(Extract {
        name: reader.text("chain")?,
        default: reader.constant("default"),
        pick: pick(reader),
        source,
        refine: Some(Refine {
            transforms,
            cast,
            check,
        }),
    })
}

/// The keys of a chain that say where its value comes from.
const SOURCES: [&str; 8] = [
    "jmespath", "jsonpath", "regex", "header", "css", "xpath", "left", "right",
];

fn transform(reader: &Reader<'_>) -> Option<Transform> {
    let at = |key: &str| {
        let node = reader.node.get(key)?;
        Some(reader.path.key(key).at(node.pos))
    };
    if let Some(text) = reader.text("append") {
        return Some(Transform::Append(text));
    }
    if let Some(text) = reader.text("prepend") {
        return Some(Transform::Prepend(text));
    }
    if let Some(at) = at("replace") {
        return Some(Transform::Replace(reader.scalars("replace"), at));
    }
    let at = at("substring")?;
    let numbers = reader.scalars("substring");
    let numbers = numbers.iter().filter_map(|text| text.parse().ok());
    Some(Transform::Substring(numbers.collect(), at))
}

fn plugin_call(reader: &Reader<'_>) -> Option<PluginCall> {
    let at = reader.path.at(reader.node.pos);
    Some(PluginCall {
        plugin: reader.text("plugin")?,
        config: reader.object("config"),
        at,
    })
}

/// Reads an `assert` or `checks` item.
pub(super) fn condition(reader: &Reader<'_>) -> Option<Condition> {
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
        "jsonpath" => Test::JsonPath {
            expression: reader.text("expression")?,
            wants: wants(reader),
        },
        "xpath" => Test::XPath {
            expression: reader.text("expression")?,
            wants: wants(reader),
        },
        "duration" => Test::DurationMax(reader.duration("max")?),
        "size" => Test::Size {
            min: reader.size("min"),
            max: reader.size("max"),
            equals: reader.size("equals"),
        },
        "header" => Test::Header {
            header: reader.text("header")?,
            wants: wants(reader),
        },
        _ => return None,
    };
    let at = reader.path.at(reader.node.pos);
    Some(Condition {
        at,
        name: reader.text("name"),
        on_failure: on_failure(reader),
        test,
    })
}

fn wants(reader: &Reader<'_>) -> Wants {
    let has_contains = reader.table.key("contains").is_some();
    Wants {
        exists: reader.flag("exists"),
        equals: reader.text("equals"),
        contains: has_contains.then(|| reader.text("contains")).flatten(),
    }
}

/// With the key's place.
fn on_failure(reader: &Reader<'_>) -> Option<(OnFailure, At)> {
    reader.text("on_failure").and_then(|word| {
        let action = match word.text.as_str() {
            "continue" => OnFailure::Continue,
            "abort_iteration" => OnFailure::AbortIteration,
            "abort_scenario" => OnFailure::AbortScenario,
            "abort_test" => OnFailure::AbortTest,
            _ => return None,
        };
        Some((action, word.at))
    })
}
