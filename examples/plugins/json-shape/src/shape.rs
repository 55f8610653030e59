//! What a body should look like, read from the config.

use serde_json::{Map, Value};

/// What a value should look like.
#[derive(Debug)]
pub(crate) enum Shape {
    Type(Type),
    /// One of these, which are no arrays or objects.
    OneOf(Vec<Value>),
    /// An object with at least these fields.
    Object(Vec<Field>),
    /// An array, each element of this shape.
    Each(Box<Shape>),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// It may be absent or null.
    pub(crate) optional: bool,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Any,
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    /// With its article, for a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Reads the config. The error is one sentence.
pub(crate) fn read(config: &str) -> Result<Shape, String> {
    let config: Map<String, Value> = serde_json::from_str(config).map_err(|e| e.to_string())?;
    if let Some(key) = config
        .keys()
        .find(|key| !matches!(key.as_str(), "fields" | "each"))
    {
        return Err(format!(
            "it has an unknown key `{key}`; it takes `fields` or `each`"
        ));
    }
    match (config.get("fields"), config.get("each")) {
        (Some(Value::Object(fields)), None) => object(fields),
        (Some(_), None) => Err("`fields` is no object".into()),
        (None, Some(each)) => Ok(Shape::Each(Box::new(shape(each, "each")?))),
        (Some(_), Some(_)) => {
            Err("it has both `fields` and `each`; a body is an object or an array".into())
        }
        (None, None) => {
            Err("it has neither `fields` (for an object) nor `each` (for an array)".into())
        }
    }
}

fn object(fields: &Map<String, Value>) -> Result<Shape, String> {
    fields
        .iter()
        .map(|(key, value)| field(key, value))
        .collect::<Result<_, _>>()
        .map(Shape::Object)
}

/// `name`, `name?` for one that may be absent, `name[]` for the elements of an array, `name[]?` for both.
fn field(key: &str, value: &Value) -> Result<Field, String> {
    let (mut name, optional) = key
        .strip_suffix('?')
        .map_or((key, false), |name| (name, true));
    let mut shape = shape(value, key)?;
    while let Some(array) = name.strip_suffix("[]") {
        name = array;
        shape = Shape::Each(Box::new(shape));
    }
    Ok(Field {
        name: name.to_owned(),
        optional,
        shape,
    })
}

fn shape(value: &Value, key: &str) -> Result<Shape, String> {
    match value {
        Value::String(name) => Type::parse(name).map(Shape::Type).ok_or_else(|| {
            format!(
                "`{key}` is of the unknown type {name:?}; there are any, null, boolean, integer, number, string, array, \
                 object; for that very text write [{name:?}]"
            )
        }),
        Value::Array(values) if values.is_empty() => Err(format!("`{key}` allows none of nothing")),
        Value::Array(values) if values.iter().any(|v| v.is_array() || v.is_object()) => {
            Err(format!("`{key}` lists an array or object; only texts, numbers, booleans and null can be compared"))
        }
        Value::Array(values) => Ok(Shape::OneOf(values.clone())),
        Value::Object(fields) => object(fields),
        other => Err(format!("`{key}` is {other}; write a type, [values] or {{fields}}")),
    }
}
