//! Looks at one mapping of the document through the table that describes it.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::language::{self, Kind, Table, Union};
use crate::node::{At, Content, Entry, Node, Path, Scalar, object};
use crate::plan::{Pair, Text};
use crate::program::Constant;

/// A scalar, or a mapping.
pub(super) enum TextOr<'a> {
    Text(Text),
    Item(Reader<'a>),
}

/// A mapping, the way to it, and the table that describes it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) path: &'a Path<'a>,
    pub(super) table: &'static Table,
}

impl Reader<'_> {
    pub(super) fn kind(&self, name: &str) -> Option<&'static Kind> {
        let key = self.table.key(name);
        debug_assert!(key.is_some(), "{} has no key {name}", self.table.what);
        key.map(|key| &key.kind)
    }

    /// What the key's list or mapping holds.
    pub(super) fn inner(&self, name: &str) -> Option<&'static Kind> {
        match self.kind(name)? {
            Kind::List(inner)
            | Kind::Some(inner)
            | Kind::Map(inner)
            | Kind::SomeMap(inner)
            | Kind::OneOrMore(inner)
            | Kind::TextOr(inner) => Some(inner),
            Kind::Steps => Some(&language::A_STEP),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<Text> {
        self.kind(name)?;
        let value = self.node.get(name)?;
        let text = language::text(value).ok()?.to_owned();
        Some(Text {
            text,
            at: self.path.key(name).at(value.pos),
        })
    }

    /// A scalar with the type that it has in YAML.
    pub(super) fn constant(&self, name: &str) -> Option<Constant> {
        let text = self.text(name)?.text;
        let is_json = self.node.get(name)?.scalar().is_some_and(Scalar::is_json);
        Some(Constant {
            bytes: text.into_bytes().into(),
            is_json,
        })
    }

    /// Where the value of a key is, if it is there.
    pub(super) fn at(&self, name: &str) -> Option<At> {
        let value = self.node.get(name)?;
        Some(self.path.key(name).at(value.pos))
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.kind(name)?;
        language::flag(self.node.get(name)?).ok()
    }

    pub(super) fn count(&self, name: &str) -> Option<u64> {
        let Some(Kind::Count(least, most)) = self.kind(name) else {
            return None;
        };
        language::count(self.node.get(name)?, *least, *most).ok()
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let Some(Kind::Duration(least, most)) = self.kind(name) else {
            return None;
        };
        language::duration(self.node.get(name)?, *least, *most).ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        let Some(Kind::Number(least, most)) = self.kind(name) else {
            return None;
        };
        language::number(self.node.get(name)?, *least, *most).ok()
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        let Some(Kind::Size(least, most)) = self.kind(name) else {
            return None;
        };
        language::size(self.node.get(name)?, *least, *most).ok()
    }

    pub(super) fn object(&self, name: &str) -> Map<String, Json> {
        self.kind(name);
        self.node
            .get(name)
            .map(|node| object(node.entries()))
            .unwrap_or_default()
    }

    pub(super) fn pairs(&self, name: &str) -> Vec<Pair> {
        let mut pairs = Vec::new();
        self.entries(name, |entry, path| {
            if let Ok(text) = language::text(&entry.value) {
                pairs.push(Pair {
                    name: Text {
                        text: entry.key.clone(),
                        at: path.at(entry.pos),
                    },
                    value: Text {
                        text: text.to_owned(),
                        at: path.at(entry.value.pos),
                    },
                });
            }
        });
        pairs
    }

    pub(super) fn entries(&self, name: &str, mut read: impl FnMut(&Entry, &Path<'_>)) {
        self.kind(name);
        let path = self.path.key(name);
        for entry in self.node.get(name).map(Node::entries).unwrap_or_default() {
            read(entry, &path.key(&entry.key));
        }
    }

    pub(super) fn table(&self, name: &str, read: impl FnOnce(Reader<'_>)) {
        if let (Some(Kind::Table(table)), Some(node)) = (self.kind(name), self.node.get(name)) {
            read(Reader {
                node,
                path: &self.path.key(name),
                table,
            });
        }
    }

    /// The scalars of a list, as they are written.
    pub(super) fn scalars(&self, name: &str) -> Vec<String> {
        self.kind(name);
        let Some(Content::List(items)) = self.node.get(name).map(|node| &node.content) else {
            return Vec::new();
        };
        let texts = items.iter().filter_map(|item| language::text(item).ok());
        texts.map(str::to_owned).collect()
    }

    /// The scalars under a key that takes one or more of them.
    pub(super) fn one_or_more(&self, name: &str) -> Vec<Text> {
        self.kind(name);
        let Some(node) = self.node.get(name) else {
            return Vec::new();
        };
        let path = self.path.key(name);
        let text = |node: &Node, path: &Path<'_>| {
            let text = language::text(node).ok()?.to_owned();
            let at = path.at(node.pos);
            Some(Text { text, at })
        };
        match &node.content {
            Content::List(items) => {
                let items = items.iter().enumerate();
                items
                    .filter_map(|(i, item)| text(item, &path.item(i)))
                    .collect()
            }
            Content::Scalar(_) | Content::Map(_) => text(node, &path).into_iter().collect(),
        }
    }

    /// What is written under a key that takes one or more texts or mappings.
    pub(super) fn texts_or_items(&self, name: &str, mut read: impl FnMut(TextOr<'_>)) {
        let Some(Kind::TextOr(Kind::OneKey(table))) = self.inner(name) else {
            return;
        };
        let Some(node) = self.node.get(name) else {
            return;
        };
        let path = self.path.key(name);
        let mut one = |node: &Node, path: &Path<'_>| {
            if let Ok(text) = language::text(node) {
                read(TextOr::Text(Text {
                    text: text.to_owned(),
                    at: path.at(node.pos),
                }));
            } else if matches!(node.content, Content::Map(_)) {
                read(TextOr::Item(Reader { node, path, table }));
            }
        };
        match &node.content {
            Content::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    one(item, &path.item(i));
                }
            }
            Content::Scalar(_) | Content::Map(_) => one(node, &path),
        }
    }

    /// Each item of a list of mappings, with the table that holds for it.
    pub(super) fn items(&self, name: &str, mut read: impl FnMut(Reader<'_>)) {
        let Some(inner) = self.inner(name) else {
            return;
        };
        let Some(Node {
            content: Content::List(items),
            ..
        }) = self.node.get(name)
        else {
            return;
        };
        let path = self.path.key(name);
        for (i, node) in items.iter().enumerate() {
            let table = match inner {
                Kind::Table(table) | Kind::OneKey(table) => Some(*table),
                Kind::Union(union) => variant(node, union)
                    .map(|(_, table)| table)
                    .or_else(|| form(node, union)),
                _ => None,
            };
            if let Some(table) = table {
                read(Reader {
                    node,
                    path: &path.item(i),
                    table,
                });
            }
        }
    }
}

/// Which form a mapping has: the tag's value and the table.
pub(super) fn variant<'a>(node: &'a Node, union: &Union) -> Option<(&'a str, &'static Table)> {
    let tag = language::text(node.get(union.tag)?).ok()?;
    union
        .variants
        .iter()
        .find(|variant| variant.name == tag)
        .map(|variant| (tag, variant.table))
}

/// The table of a form without the tag.
fn form(node: &Node, union: &Union) -> Option<&'static Table> {
    let form = union
        .forms
        .iter()
        .find(|key| node.get(key.name).is_some())?;
    match form.kind {
        Kind::Table(table) => Some(table),
        _ => None,
    }
}
