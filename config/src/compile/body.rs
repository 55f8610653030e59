//! A request's content.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::Compiler;
use super::builder::Builder;
use super::scope::Lone;
use super::target::query;
use crate::diagnostic::shown;
use crate::node::{Content, Node, Path, Typed};
use crate::plan::{Body, Text};
use crate::program::{Escape, Piece, Template};

impl Compiler<'_> {
    /// The template and the content type that goes with it. `None` when something in it is wrong.
    pub(super) fn body(&mut self, body: &Body) -> Option<(Template, Option<Cow<'static, str>>)> {
        let mut out = Builder::default();
        let content_type: Option<Cow<'static, str>> = match body {
            Body::Text(text) => {
                out.fragments(&self.fold(text)?, Escape::None);
                None
            }
            Body::Json(node, at) => {
                self.json(node, &Path::Written(&at.path), &mut out)?;
                Some("application/json".into())
            }
            Body::Form(pairs) => {
                query(&self.fold_pairs(pairs), b"", &mut out);
                Some("application/x-www-form-urlencoded".into())
            }
            Body::File(path) => {
                out.file(self.content(path)?);
                None
            }
            Body::Multipart(parts) => {
                let boundary = self.multipart(parts, &mut out)?;
                Some(format!("multipart/form-data; boundary={boundary}").into())
            }
        };
        Some((out.finish(), content_type))
    }

    /// Writes a JSON value without spaces. Goes on after an error, so that all are found.
    fn json(&mut self, node: &Node, path: &Path<'_>, out: &mut Builder) -> Option<()> {
        let mut sound = Some(());
        match &node.content {
            Content::Scalar(scalar) if scalar.typed == Typed::Text => {
                let text = Text {
                    text: scalar.text.clone(),
                    at: path.at(node.pos),
                };
                match self.lone_json(&text)? {
                    Lone::Constant(json) => out.bytes(json.to_string().as_bytes()),
                    Lone::Raw(source) => {
                        out.piece(Piece::Value {
                            source,
                            escape: Escape::None,
                        });
                    }
                    Lone::Typed(source) => {
                        out.piece(Piece::Value {
                            source,
                            escape: Escape::JsonValue,
                        });
                    }
                    Lone::No => {
                        let fragments = self.fold(&text)?;
                        out.bytes(b"\"");
                        out.fragments(&fragments, Escape::Json);
                        out.bytes(b"\"");
                    }
                }
            }
            Content::Scalar(scalar) => match scalar.to_json() {
                Json::String(text) => {
                    let message = format!("`{}` has no form in JSON", shown(&text));
                    let help = "write it in quotes to send it as text".to_owned();
                    self.report.error(&path.at(node.pos), message, Some(help));
                    sound = None;
                }
                json => out.bytes(json.to_string().as_bytes()),
            },
            Content::List(items) => {
                out.bytes(b"[");
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.bytes(b",");
                    }
                    sound = self.json(item, &path.item(i), out).and(sound);
                }
                out.bytes(b"]");
            }
            Content::Map(entries) => {
                out.bytes(b"{");
                for (i, entry) in entries.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    out.bytes(format!("{comma}{}:", Json::from(entry.key.as_str())).as_bytes());
                    sound = self
                        .json(&entry.value, &path.key(&entry.key), out)
                        .and(sound);
                }
                out.bytes(b"}");
            }
        }
        sound
    }
}
