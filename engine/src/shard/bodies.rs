//! The body of the response at hand, parsed as what reads it wants: when it is first asked for, once however many ask,
//! and not at all when nobody does.

use std::collections::BTreeMap;
use std::rc::Rc;

use jmespath::{Context, DEFAULT_RUNTIME, Expression, Rcvar, Variable};
use loadr_config::{CssSelector, JmesPathId, JsonPath, Program, RegexId, XPathId};
use scraper::Html;

use crate::json::{Finder, JsonError, Kind, NodeId, Tape, TooLong, decode};
use crate::markup::{self, Document, Elements, Found, XPaths};

/// A shard's own.
pub(crate) struct Bodies {
    /// Whether anything below is of the response at hand.
    is_used: bool,
    tape: Tape,
    json: Option<Result<(), JsonError>>,
    finder: Finder,
    /// The JSON as JMESPath wants it.
    variable: Option<Rcvar>,
    jmes_paths: Vec<Expression<'static>>,
    html: Option<Result<Html, String>>,
    document: Option<Result<Document, String>>,
    xpaths: XPaths,
}

/// Why there is nothing to look at.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The body is not what it would have to be.
    Body(String),
    /// The expression fails on it.
    Expression(String),
}

impl From<TooLong> for Unread {
    fn from(_: TooLong) -> Self {
        Self::Expression("the JSONPath visits too many nodes of this body".to_owned())
    }
}

impl From<&JsonError> for Unread {
    fn from(error: &JsonError) -> Self {
        Self::Body(error.to_string())
    }
}

impl Bodies {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            is_used: false,
            tape: Tape::default(),
            json: None,
            finder: Finder::default(),
            variable: None,
            // The plan's compiler has shown that each compiles.
            jmes_paths: program
                .jmes_paths
                .iter()
                .filter_map(|path| jmespath::compile(path).ok())
                .collect(),
            html: None,
            document: None,
            xpaths: XPaths::new(&program.xpaths),
        }
    }

    /// A new response is at hand.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.is_used {
            self.forget();
        }
    }

    #[cold]
    fn forget(&mut self) {
        self.is_used = false;
        self.json = None;
        self.variable = None;
        self.html = None;
        self.document = None;
    }

    /// The nodes that a JSONPath finds go to `read`, which gives out what it makes of them.
    pub(crate) fn json_path<R>(
        &mut self,
        path: &JsonPath,
        body: &[u8],
        is_match: &dyn Fn(RegexId, &[u8]) -> bool,
        read: impl FnOnce(&Tape, &[NodeId]) -> R,
    ) -> Result<R, Unread> {
        self.parse_json(body)?;
        let nodes = self.finder.find(path, &self.tape, body, is_match)?;
        let read = read(&self.tape, &nodes);
        self.finder.recycle(nodes);
        Ok(read)
    }

    fn parse_json(&mut self, body: &[u8]) -> Result<(), Unread> {
        self.is_used = true;
        let tape = &mut self.tape;
        match self.json.get_or_insert_with(|| tape.parse(body)) {
            Ok(()) => Ok(()),
            Err(error) => Err((&*error).into()),
        }
    }

    /// What a JMESPath comes to is appended to `out`; `None` when that is nothing, else whether it is another JSON value
    /// than text.
    pub(crate) fn jmes_path(
        &mut self,
        path: JmesPathId,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<bool>, Unread> {
        self.parse_json(body)?;
        let tape = &self.tape;
        let variable = self.variable.get_or_insert_with(|| variable(tape, body, 0));
        let Some(expression) = self.jmes_paths.get(path.at()) else {
            return Ok(None);
        };
        let mut context = Context::new(expression.as_str(), &DEFAULT_RUNTIME);
        let found = jmespath::interpret(variable, expression.as_ast(), &mut context)
            .map_err(|error| Unread::Expression(error.to_string()))?;
        match &*found {
            Variable::Null | Variable::Expref(_) => Ok(None),
            Variable::String(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(Some(false))
            }
            other => {
                serde_json::to_writer(out, other)
                    .map_err(|error| Unread::Expression(error.to_string()))?;
                Ok(Some(true))
            }
        }
    }

    /// The values of the elements that a selector chooses go to `read`.
    pub(crate) fn css<R>(
        &mut self,
        (selector, attribute): (&CssSelector, Option<&str>),
        first_only: bool,
        body: &[u8],
        read: impl FnOnce(&mut dyn Iterator<Item = String>) -> R,
    ) -> Result<R, Unread> {
        // Its first element may be without the attribute.
        let first_only = first_only && attribute.is_none();
        let html = self.parse_html(body)?;
        let elements = Elements::select(html, selector, first_only).map_err(Unread::Expression)?;
        Ok(read(&mut elements.values(attribute)))
    }

    fn parse_html(&mut self, body: &[u8]) -> Result<&Html, Unread> {
        self.is_used = true;
        let html = self.html.get_or_insert_with(|| markup::parse_html(body));
        html.as_ref().map_err(|error| Unread::Body(error.clone()))
    }

    /// What an XPath comes to goes to `read`.
    pub(crate) fn xpath<R>(
        &mut self,
        path: XPathId,
        content_type: Option<&[u8]>,
        body: &[u8],
        read: impl FnOnce(&Found, &Document) -> R,
    ) -> Result<R, Unread> {
        if self.document.is_none() {
            let document = if is_html(content_type, body) {
                self.parse_html(body).map(markup::xml_of_html)
            } else {
                markup::parse_xml(body).map_err(Unread::Body)
            };
            self.is_used = true;
            self.document = Some(document.map_err(|unread| match unread {
                Unread::Body(text) | Unread::Expression(text) => text,
            }));
        }
        match &self.document {
            Some(Ok(document)) => {
                let found = self
                    .xpaths
                    .find(path, document)
                    .map_err(Unread::Expression)?;
                Ok(read(&found, document))
            }
            Some(Err(error)) => Err(Unread::Body(error.clone())),
            None => Err(Unread::Body(String::new())),
        }
    }
}

/// What the content type says, or else how the body begins.
fn is_html(content_type: Option<&[u8]>, body: &[u8]) -> bool {
    if let Some(content_type) = content_type {
        let content_type = content_type.to_ascii_lowercase();
        if content_type.starts_with(b"text/html") {
            return true;
        }
        if memchr::memmem::find(&content_type, b"xml").is_some() {
            return false;
        }
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"].iter().any(|start| {
        body.get(..start.len())
            .is_some_and(|b| b.eq_ignore_ascii_case(start))
    })
}

/// The node as JMESPath wants it. Recurses; the parser's limit on depth bounds it.
fn variable(tape: &Tape, body: &[u8], node: NodeId) -> Rcvar {
    let text = |node| {
        let mut text = Vec::new();
        decode(tape.raw(body, node), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    Rc::new(match tape.kind(node) {
        Kind::Null => Variable::Null,
        Kind::True => Variable::Bool(true),
        Kind::False => Variable::Bool(false),
        // A number that no f64 holds is none.
        Kind::Number => {
            serde_json::from_slice(tape.raw(body, node)).map_or(Variable::Null, Variable::Number)
        }
        Kind::Text | Kind::Escaped => Variable::String(text(node)),
        Kind::Array => Variable::Array(
            tape.children(node)
                .map(|child| variable(tape, body, child))
                .collect(),
        ),
        Kind::Object => Variable::Object(
            tape.children(node)
                .map(|key| (text(key), variable(tape, body, key + 1)))
                .collect::<BTreeMap<_, _>>(),
        ),
    })
}
