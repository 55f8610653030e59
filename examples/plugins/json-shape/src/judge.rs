//! Holds a body against a shape while it is parsed: no tree of the body is built, what no field asks about is skipped,
//! and parsing ends at the first fault.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::shape::{Field, Shape, Type};

/// The most characters of a text that a fault quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// The first thing that is wrong with the body, if anything.
pub(crate) fn fault(body: &[u8], shape: &Shape) -> Option<String> {
    let mut judge = Judge {
        path: Vec::new(),
        fault: None,
    };
    let mut body = serde_json::Deserializer::from_slice(body);
    let outcome = At {
        judge: &mut judge,
        shape,
    }
    .deserialize(&mut body)
    .and_then(|()| body.end());
    match (judge.fault, outcome) {
        (Some(fault), _) => Some(fault),
        (None, Err(error)) => Some(format!("the body is not JSON: {error}")),
        (None, Ok(())) => None,
    }
}

struct Judge<'s> {
    /// Where in the body we are.
    path: Vec<Step<'s>>,
    fault: Option<String>,
}

enum Step<'s> {
    Field(&'s str),
    Element(usize),
}

impl Judge<'_> {
    /// Notes what is wrong here; the error only ends the parsing.
    fn fail<E: Error>(&mut self, what: impl fmt::Display) -> E {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => text.extend([".", name]),
                Step::Element(index) => text.push_str(&format!("[{index}]")),
            }
        }
        if text.is_empty() {
            text.push_str("the body");
        }
        self.fault = Some(format!("{text}: {what}"));
        E::custom("")
    }
}

/// A value of the body, and what it should look like.
struct At<'j, 's> {
    judge: &'j mut Judge<'s>,
    shape: &'s Shape,
}

/// A value as it was found.
#[derive(Clone, Copy)]
enum Found<'a> {
    Null,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    Array,
    Object,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, body: D) -> Result<(), D::Error> {
        match self.shape {
            // The parser skips without looking into texts and numbers.
            Shape::Type(Type::Any) => body.deserialize_ignored_any(IgnoredAny).map(drop),
            _ => body.deserialize_any(self),
        }
    }
}

impl At<'_, '_> {
    fn hold<E: Error>(self, found: Found<'_>) -> Result<(), E> {
        match self.shape {
            Shape::Type(kind) if found.is(*kind) => Ok(()),
            Shape::Type(kind) => {
                Err(self
                    .judge
                    .fail(format_args!("{}, expected {}", found.noun(), kind.noun())))
            }
            Shape::OneOf(values) if values.iter().any(|value| found.equals(value)) => Ok(()),
            Shape::OneOf(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                let one_of = if values.len() == 1 { "" } else { "one of " };
                Err(self.judge.fail(format_args!(
                    "{found}, expected {one_of}{}",
                    values.join(", ")
                )))
            }
            Shape::Object(_) => Err(self
                .judge
                .fail(format_args!("{}, expected an object", found.noun()))),
            Shape::Each(_) => Err(self
                .judge
                .fail(format_args!("{}, expected an array", found.noun()))),
        }
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.hold(Found::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.hold(Found::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.hold(Found::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.hold(Found::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.hold(Found::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.hold(Found::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Shape::Each(shape) = self.shape else {
            self.hold(Found::Array)?;
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let judge = self.judge;
        for index in 0.. {
            judge.path.push(Step::Element(index));
            if elements.next_element_seed(At { judge, shape })?.is_none() {
                break;
            }
            judge.path.pop();
        }
        judge.path.pop();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Shape::Object(fields) = self.shape else {
            self.hold(Found::Object)?;
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let judge = self.judge;
        let mut seen = vec![false; fields.len()];
        while let Some(index) = entries.next_key_seed(Which(fields))? {
            let Some(index) = index else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &fields[index];
            seen[index] = true;
            judge.path.push(Step::Field(&field.name));
            let at = At {
                judge,
                shape: &field.shape,
            };
            if field.optional {
                entries.next_value_seed(OrNull(at))?;
            } else {
                entries.next_value_seed(at)?;
            }
            judge.path.pop();
        }
        match fields
            .iter()
            .zip(seen)
            .find(|(field, seen)| !seen && !field.optional)
        {
            Some((field, _)) => {
                judge.path.push(Step::Field(&field.name));
                Err(judge.fail("missing"))
            }
            None => Ok(()),
        }
    }
}

/// Which of the fields a key names; the key is not kept.
struct Which<'s>(&'s [Field]);

impl<'de> DeserializeSeed<'de> for Which<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Option<usize>, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Which<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|field| field.name == key))
    }
}

/// The value, or null.
struct OrNull<'j, 's>(At<'j, 's>);

impl<'de> DeserializeSeed<'de> for OrNull<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, body: D) -> Result<(), D::Error> {
        body.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OrNull<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, body: D) -> Result<(), D::Error> {
        self.0.deserialize(body)
    }
}

impl Found<'_> {
    fn is(self, kind: Type) -> bool {
        match self {
            _ if kind == Type::Any => true,
            Self::Null => kind == Type::Null,
            Self::Boolean(_) => kind == Type::Boolean,
            Self::Signed(_) | Self::Unsigned(_) => matches!(kind, Type::Integer | Type::Number),
            // As in JSON Schema: 1.0 is an integer.
            Self::Float(value) => {
                kind == Type::Number || (kind == Type::Integer && value.fract() == 0.0)
            }
            Self::Text(_) => kind == Type::String,
            Self::Array => kind == Type::Array,
            Self::Object => kind == Type::Object,
        }
    }

    fn equals(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean(found) => value.as_bool() == Some(found),
            Self::Signed(found) => {
                value.as_i64() == Some(found) || value.as_f64() == Some(found as f64)
            }
            Self::Unsigned(found) => {
                value.as_u64() == Some(found) || value.as_f64() == Some(found as f64)
            }
            Self::Float(found) => value.as_f64() == Some(found),
            Self::Text(found) => value.as_str() == Some(found),
            Self::Array | Self::Object => false,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Signed(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) => match text.char_indices().nth(QUOTED_CHARS_MAX) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            other => f.write_str(other.noun()),
        }
    }
}
