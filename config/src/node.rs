//! The document as a tree in which every key and value knows its place. What lies over it (overlays, reading) works on
//! this and not on text.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::diagnostic::{Diagnostic, shown};
use crate::program::Location;

/// Where a key or value was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    /// From 1; 0 for what a flag of the command line put there.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
    /// Which layer of the effective document it is from.
    pub(crate) layer: Layer,
}

/// The layers of a document, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The plan itself.
    #[default]
    Plan,
    /// The chosen `env` overlay.
    Overlay,
    /// A flag of the command line.
    Flag(&'static str),
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) pos: Pos,
    pub(crate) value: Node,
}

/// A scalar: what YAML takes it for, and its text, because `version: 1.10` is not 1.1 to someone who wants a string.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) typed: Typed,
}

/// The type YAML gives a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Typed {
    Null,
    Flag(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Node {
    /// A string or number that a command-line flag puts into the document.
    pub(crate) fn flag(flag: &'static str, text: String, typed: Typed) -> Self {
        let pos = Pos {
            layer: Layer::Flag(flag),
            ..Pos::default()
        };
        Self {
            pos,
            content: Content::Scalar(Scalar { text, typed }),
        }
    }

    /// The value of `key`, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.typed == Typed::Null)
    }

    /// What it is, for a message: `a list`, `the number 5`.
    pub(crate) fn described(&self) -> String {
        match &self.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
            Content::Scalar(scalar) => match scalar.typed {
                Typed::Null => "nothing".to_owned(),
                Typed::Integer(_) | Typed::Float(_) | Typed::Flag(_) => {
                    format!("`{}`", shown(&scalar.text))
                }
                Typed::Text => format!("the text `{}`", shown(&scalar.text)),
            },
        }
    }

    /// The value as JSON; not-a-number, the infinities and integers beyond 64 bits have no JSON form and become text.
    pub(crate) fn to_json(&self) -> Json {
        match &self.content {
            Content::Scalar(scalar) => scalar.to_json(),
            Content::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => Json::Object(object(entries)),
        }
    }
}

/// The entries of a mapping as a JSON object.
pub(crate) fn object(entries: &[Entry]) -> Map<String, Json> {
    entries
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.to_json()))
        .collect()
}

impl Scalar {
    /// Whether it is a number, a flag or null that is written in YAML as it is in JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.typed != Typed::Text && serde_json::from_str::<Json>(&self.text).is_ok()
    }

    pub(crate) fn to_json(&self) -> Json {
        match self.typed {
            Typed::Null => Json::Null,
            Typed::Flag(flag) => Json::Bool(flag),
            Typed::Integer(i) => i64::try_from(i)
                .map(Json::from)
                .or_else(|_| u64::try_from(i).map(Json::from))
                .unwrap_or_else(|_| Json::String(self.text.clone())),
            Typed::Float(x) => serde_json::Number::from_f64(x)
                .map_or_else(|| Json::String(self.text.clone()), Json::Number),
            Typed::Text => Json::String(self.text.clone()),
        }
    }
}

/// The way to a node, kept on the stack while the tree is walked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    Root,
    /// A way that has been written out already.
    Written(&'a str),
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    pub(crate) fn item(&'a self, index: usize) -> Path<'a> {
        Path::Item(self, index)
    }

    /// The path with a position: what errors and the Program carry.
    pub(crate) fn at(&self, pos: Pos) -> At {
        At {
            path: self.to_string(),
            pos,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Written(path) => f.write_str(path),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => {
                let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                if key.is_empty() || !key.chars().all(plain) {
                    write!(f, "{parent}[\"{}\"]", shown(key))
                } else if matches!(parent, Path::Root) {
                    f.write_str(&shown(key))
                } else {
                    write!(f, "{parent}.{}", shown(key))
                }
            }
        }
    }
}

/// A place in the document: its path and position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) path: String,
    pub(crate) pos: Pos,
}

impl At {
    /// This place as the Program keeps it.
    pub(crate) fn location(&self) -> Location {
        Location {
            path: self.path.clone(),
            line: self.pos.line,
            column: self.pos.column,
        }
    }

    /// Something to say about this place. `overlay` is the name of the overlay in use.
    pub(crate) fn diagnostic(
        &self,
        overlay: Option<&str>,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let path = match self.pos.layer {
            Layer::Plan => self.path.clone(),
            Layer::Overlay => {
                let overlay = overlay.unwrap_or_default();
                format!(
                    "{}.{}",
                    Path::Key(&Path::Key(&Path::Root, "env"), overlay),
                    self.path
                )
            }
            Layer::Flag(flag) => flag.to_owned(),
        };
        Diagnostic {
            path,
            line: self.pos.line,
            column: self.pos.column,
            message,
            help,
        }
    }
}
