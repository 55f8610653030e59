//! The tables as a JSON Schema (2020-12), for editors: what may stand where, what it is for, and its default. It says
//! of a plan's shape what `check` says; names that must exist, and sums that must fit, are left to the compiler. Keys
//! that are not available are not in it.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::{A_STEP, Key, Kind, PLAN, Status, Table, Union, Variant};
use crate::units::{parse_duration, parse_size};

/// The schema of a plan.
pub(crate) fn schema() -> Json {
    let mut schema = Schema::default();
    let root = schema.table(&PLAN, false);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "loadr-fast plan",
        "description": "A load test: what is sent, how much of it, and what must hold",
        "$ref": root["$ref"],
        "$defs": schema.definitions,
    })
}

/// What has a definition of its own: a table or union, whole or as a part of an overlay.
type Of = (usize, bool);

#[derive(Default)]
struct Schema {
    definitions: Map<String, Json>,
    names: HashMap<Of, String>,
}

impl Schema {
    /// A reference to the definition of `of`, made by `make` when there is none yet.
    fn define(&mut self, of: Of, what: &str, make: impl FnOnce(&mut Self) -> Json) -> Json {
        if let Some(name) = self.names.get(&of) {
            return reference(name);
        }
        let mut name = definition_name(what);
        if of.1 {
            name.push_str("-in-overlay");
        }
        while self.definitions.contains_key(&name) {
            name.push('-');
        }
        // It holds the place: steps have steps in them.
        self.definitions.insert(name.clone(), Json::Null);
        self.names.insert(of, name.clone());
        let made = make(self);
        let reference = reference(&name);
        self.definitions.insert(name, made);
        reference
    }

    /// `partial`: in an overlay, where nothing is required.
    fn value(&mut self, kind: &'static Kind, partial: bool) -> Json {
        let mapping =
            |inner: Json| json!({ "type": ["object", "null"], "additionalProperties": inner });
        match kind {
            Kind::Any | Kind::Opaque => json!({}),
            Kind::Text | Kind::Template => scalar(),
            Kind::Name => json!({ "type": ["string", "number", "boolean"], "pattern": "\\S" }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Number(least, most) => {
                json!({ "type": "number", "minimum": least, "maximum": most })
            }
            Kind::Count(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Kind::Duration(least, most) => {
                let bound = if least.is_zero() {
                    "minimum"
                } else {
                    "exclusiveMinimum"
                };
                json!({
                    "type": ["string", "number"],
                    "pattern": DURATION,
                    bound: 0,
                    "maximum": most.as_secs_f64(),
                })
            }
            Kind::Size(least, most) => json!({
                "type": ["string", "integer"],
                "pattern": SIZE,
                "minimum": least,
                "maximum": most,
            }),
            Kind::Word(choices) => {
                let ready = choices.iter().filter(|choice| is_there(choice.status));
                json!({ "enum": ready.map(|choice| choice.name).collect::<Vec<_>>() })
            }
            Kind::Object => json!({ "type": ["object", "null"] }),
            Kind::Map(inner) => mapping(self.value(inner, partial)),
            Kind::SomeMap(inner) if partial => mapping(self.value(inner, partial)),
            Kind::SomeMap(inner) => {
                let inner = self.value(inner, partial);
                json!({ "type": "object", "minProperties": 1, "additionalProperties": inner })
            }
            Kind::List(inner) => json!({ "type": "array", "items": self.value(inner, partial) }),
            Kind::Some(inner) => {
                json!({ "type": "array", "minItems": 1, "items": self.value(inner, partial) })
            }
            Kind::Steps => {
                json!({ "type": "array", "minItems": 1, "items": self.value(&A_STEP, partial) })
            }
            Kind::OneOrMore(inner) => {
                let inner = self.value(inner, partial);
                json!({ "anyOf": [ inner, { "type": "array", "items": inner } ] })
            }
            Kind::TextOr(inner) => {
                json!({ "anyOf": [ scalar(), self.value(inner, partial) ] })
            }
            Kind::Table(table) => self.table(table, partial),
            Kind::OneKey(table) => self.one_key(table, partial),
            Kind::Union(union) => self.union(union, partial),
            Kind::Overlay => self.table(&PLAN, true),
        }
    }

    fn table(&mut self, table: &'static Table, partial: bool) -> Json {
        self.define((address(table), partial), table.what, |schema| {
            schema.mapping(table, partial, None)
        })
    }

    /// A mapping with the table's keys; `tag` is one more, or what a key of that name is.
    fn mapping(&mut self, table: &'static Table, partial: bool, tag: Option<&Union>) -> Json {
        let mut properties = Map::new();
        if let Some(union) = tag {
            properties.insert(union.tag.to_owned(), json!({}));
        }
        self.properties(table.keys(), partial, &mut properties);
        let required: Vec<&str> = table
            .keys()
            .filter(|key| key.required && !partial)
            .map(|key| key.name)
            .collect();
        if required.is_empty() {
            return json!({
                "type": ["object", "null"],
                "properties": properties,
                "additionalProperties": false,
            });
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    fn properties(
        &mut self,
        keys: impl Iterator<Item = &'static Key>,
        partial: bool,
        out: &mut Map<String, Json>,
    ) {
        for key in keys.filter(|key| is_there(key.status)) {
            // Overlays do not hold overlays.
            if !(partial && matches!(key.kind, Kind::Map(Kind::Overlay))) {
                let property = self.property(key, partial);
                out.insert(key.name.to_owned(), property);
            }
        }
    }

    fn property(&mut self, key: &'static Key, partial: bool) -> Json {
        let mut property = match key.status {
            Status::Only(values, _) => match key.kind {
                Kind::Flag => {
                    json!({ "enum": values.iter().map(|v| *v == "true").collect::<Vec<_>>() })
                }
                _ => json!({ "enum": values }),
            },
            Status::Ready | Status::NotYet(_) => self.value(&key.kind, partial),
        };
        let (description, default) = described(key);
        property["description"] = description.into();
        if let Some(default) = default {
            property["default"] = default;
        }
        property
    }

    fn one_key(&mut self, table: &'static Table, partial: bool) -> Json {
        self.define((address(table), partial), table.what, |schema| {
            let mut properties = Map::new();
            schema.properties(table.keys(), partial, &mut properties);
            json!({
                "type": "object",
                "properties": properties,
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            })
        })
    }

    fn union(&mut self, union: &'static Union, partial: bool) -> Json {
        self.define((address(union), partial), union.what, |schema| {
            let ready = || union.variants.iter().filter(|variant| is_there(variant.status));
            let names: Vec<&str> = ready().map(|variant| variant.name).collect();
            let tagged = |name: &str| json!({ "properties": { union.tag: { "const": name } }, "required": [union.tag] });
            let mut cases: Vec<Json> = ready()
                .map(|variant| {
                    let then = schema.variant(union, variant, partial);
                    json!({ "if": tagged(variant.name), "then": then })
                })
                .collect();
            let untagged = json!({ "not": { "required": [union.tag] } });
            for form in union.forms.iter().filter(|form| is_there(form.status)) {
                let then = schema.value(&form.kind, partial);
                cases.push(json!({ "if": { "allOf": [untagged, { "required": [form.name] }] }, "then": then }));
            }
            let mut made = json!({
                "type": if partial { json!(["object", "null"]) } else { json!("object") },
                "properties": { union.tag: { "enum": names, "description": "Which form it has" } },
            });
            let forms: Vec<Json> = union
                .forms
                .iter()
                .filter(|form| is_there(form.status))
                .map(|form| json!({ "required": [form.name] }))
                .collect();
            if partial {
                // The tag may be in what the overlay is laid over: any form's key will do.
                let mut properties = Map::from_iter([(union.tag.to_owned(), json!({}))]);
                for variant in union.variants.iter().rev() {
                    for key in variant.table.keys() {
                        properties.remove(key.name);
                        schema.properties(std::iter::once(key), true, &mut properties);
                    }
                }
                schema.properties(union.forms.iter(), true, &mut properties);
                let any = json!({ "properties": properties, "additionalProperties": false });
                cases.push(json!({ "if": untagged, "then": any }));
            } else if forms.is_empty() {
                made["required"] = json!([union.tag]);
            } else {
                let mut any = vec![json!({ "required": [union.tag] })];
                any.extend(forms);
                made["anyOf"] = any.into();
            }
            made["allOf"] = cases.into();
            made
        })
    }

    fn variant(&mut self, union: &'static Union, variant: &'static Variant, partial: bool) -> Json {
        self.define((address(variant), partial), variant.table.what, |schema| {
            let mut made = schema.mapping(variant.table, partial, Some(union));
            if union.lenient {
                let others = union.variants.iter().filter(|other| is_there(other.status));
                for key in others.flat_map(|other| other.table.keys()) {
                    if is_there(key.status) && variant.table.key(key.name).is_none() {
                        made["properties"][key.name] = json!({
                            "description": format!("Does nothing in {}", variant.table.what),
                            "deprecated": true,
                        });
                    }
                }
            }
            made
        })
    }
}

/// As `units` reads it, but for the order of the units.
const DURATION: &str = r"^\s*((\d+\.?\d*|\.\d+)|((\d+\.?\d*|\.\d+)(d|h|m|s|ms|us|µs|ns))+)\s*$";
/// As `units` reads it.
const SIZE: &str = r"^\s*(\d+\.?\d*|\.\d+)\s*([bB]([yY][tT][eE][sS])?|[kKmMgG]([iI]?[bB])?)?\s*$";

fn scalar() -> Json {
    json!({ "type": ["string", "number", "boolean"] })
}

fn is_there(status: Status) -> bool {
    !matches!(status, Status::NotYet(_))
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// Statics have one address each.
fn address<T>(of: &'static T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// ``a `constant-vus` scenario`` is `constant-vus-scenario`.
fn definition_name(what: &str) -> String {
    let bare = what.strip_prefix("an ").or_else(|| what.strip_prefix("a "));
    bare.unwrap_or(what)
        .replace('`', "")
        .replace(['.', ' '], "-")
}

/// A key's description and its default. The default is the one word after the last `; ` of its sentence, where that
/// is something the key takes.
fn described(key: &Key) -> (&'static str, Option<Json>) {
    let whole = (key.doc, None);
    let Some((description, default)) = key.doc.rsplit_once("; ") else {
        return whole;
    };
    let default = default.trim_matches('`');
    let typed = match key.kind {
        Kind::Flag | Kind::Number(..) | Kind::Count(..) => serde_json::from_str(default).ok(),
        Kind::Duration(..) => parse_duration(default).ok().map(|_| default.into()),
        Kind::Size(..) => parse_size(default).ok().map(|_| default.into()),
        Kind::Word(choices) => choices
            .iter()
            .any(|choice| choice.name == default)
            .then(|| default.into()),
        Kind::Text | Kind::Template | Kind::Name if !default.contains(' ') => Some(default.into()),
        _ => None,
    };
    match typed {
        Some(typed) => (description, Some(typed)),
        None => whole,
    }
}
