//! The expressions that read a body: checked and compiled before the run, each text once.

mod json_path;

use std::collections::HashMap;

use jmespath::ast::Ast;
use scraper::Selector;
use uppsala::{Parser, XPathEvaluator};

use super::Compiler;
use crate::diagnostic::shown;
use crate::node::At;
use crate::plan::Text;
use crate::program::{CssSelector, JmesPathId, JsonPath, JsonPathId, SelectorId, XPathId};

/// The longest expression, in bytes. What one compiles to grows with it.
const MAX_EXPRESSION_BYTES: usize = 2000;
/// The deepest that brackets may be nested in one: parsers recurse, and some try several ways at each.
const MAX_EXPRESSION_DEPTH: usize = 8;
/// The most different expressions of one language.
const MAX_EXPRESSIONS: usize = 1000;
/// The most values that the lists and mappings which a JMESPath makes may multiply one value into.
const MAX_JMESPATH_COPIES: usize = 10_000;

/// Compiled expressions of one language, each text once.
#[derive(Debug)]
pub(super) struct Expressions<T> {
    pub(super) list: Vec<T>,
    /// `None`: it does not compile, which has been reported.
    ids: HashMap<String, Option<u32>>,
}

impl<T> Default for Expressions<T> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            ids: HashMap::new(),
        }
    }
}

/// What is wrong with an expression, and what to do.
type Wrong = (String, Option<String>);

impl Compiler<'_> {
    pub(super) fn json_path(&mut self, path: &Text) -> Option<JsonPathId> {
        if let Some(id) = self.json_paths.ids.get(&path.text) {
            return id.map(JsonPathId);
        }
        let compiled = match self.bounded("JSONPath", path) {
            Some(()) => self.compile_json_path(path),
            None => None,
        };
        add(&mut self.json_paths, path, compiled).map(JsonPathId)
    }

    fn compile_json_path(&mut self, path: &Text) -> Option<JsonPath> {
        if self.is_full("JSONPaths", self.json_paths.list.len(), &path.at) {
            return None;
        }
        let parsed = json_path::parse(&path.text);
        let compiled = parsed.and_then(|query| {
            json_path::Lower {
                regex: &mut |pattern| self.regex(pattern, &path.at),
            }
            .query(&query.segments)
        });
        match compiled {
            Ok(segments) => Some(JsonPath { segments }),
            // A pattern in it, which has been reported.
            Err((message, _)) if message.is_empty() => None,
            Err(wrong) => self.wrong("a JSONPath", path, wrong),
        }
    }

    pub(super) fn jmes_path(&mut self, path: &Text) -> Option<JmesPathId> {
        if let Some(id) = self.jmes_paths.ids.get(&path.text) {
            return id.map(JmesPathId);
        }
        let full = self.is_full("JMESPaths", self.jmes_paths.list.len(), &path.at);
        let compiled = match self.bounded("JMESPath", path).filter(|()| !full) {
            Some(()) => match check_jmes_path(&path.text) {
                Ok(()) => Some(path.text.clone()),
                Err(wrong) => self.wrong("a JMESPath", path, wrong),
            },
            None => None,
        };
        add(&mut self.jmes_paths, path, compiled).map(JmesPathId)
    }

    pub(super) fn xpath(&mut self, path: &Text) -> Option<XPathId> {
        if let Some(id) = self.xpaths.ids.get(&path.text) {
            return id.map(XPathId);
        }
        let full = self.is_full("XPaths", self.xpaths.list.len(), &path.at);
        let compiled = match self.bounded("XPath", path).filter(|()| !full) {
            Some(()) => match check_xpath(&path.text) {
                Ok(()) => Some(path.text.clone()),
                Err(wrong) => self.wrong("an XPath", path, wrong),
            },
            None => None,
        };
        add(&mut self.xpaths, path, compiled).map(XPathId)
    }

    pub(super) fn selector(&mut self, selector: &Text) -> Option<SelectorId> {
        if let Some(id) = self.selectors.ids.get(&selector.text) {
            return id.map(SelectorId);
        }
        let full = self.is_full("CSS selectors", self.selectors.list.len(), &selector.at);
        let compiled = match self.bounded("CSS selector", selector).filter(|()| !full) {
            Some(()) => match Selector::parse(&selector.text) {
                Ok(compiled) => Some(CssSelector {
                    selector: compiled,
                    is_costly: selector.text.replace("~=", "").contains('~')
                        || selector.text.to_ascii_lowercase().contains(":has("),
                }),
                Err(error) => {
                    let wrong = (error.to_string(), None);
                    self.wrong("a CSS selector", selector, wrong)
                }
            },
            None => None,
        };
        add(&mut self.selectors, selector, compiled).map(SelectorId)
    }

    /// Whether an expression's length and depth are within the limits.
    fn bounded(&mut self, what: &str, expression: &Text) -> Option<()> {
        let message = if expression.text.len() > MAX_EXPRESSION_BYTES {
            format!("the {what} is longer than {MAX_EXPRESSION_BYTES} bytes")
        } else if depth(&expression.text) > MAX_EXPRESSION_DEPTH {
            format!("the {what} nests brackets more than {MAX_EXPRESSION_DEPTH} deep")
        } else {
            return Some(());
        };
        let help = "take a larger part of the body, and the rest in a plugin".to_owned();
        self.report.error(&expression.at, message, Some(help));
        None
    }

    fn is_full(&mut self, what: &str, count: usize, at: &At) -> bool {
        if count < MAX_EXPRESSIONS {
            return false;
        }
        let message = format!("a plan has at most {MAX_EXPRESSIONS} {what}");
        self.report.error(at, message, None);
        true
    }

    fn wrong<T>(&mut self, what: &str, expression: &Text, (reason, help): Wrong) -> Option<T> {
        let message = format!(
            "`{}` is not {what}: {}",
            shown(&expression.text),
            shown(&reason)
        );
        self.report.error(&expression.at, message, help);
        None
    }
}

fn add<T>(expressions: &mut Expressions<T>, text: &Text, compiled: Option<T>) -> Option<u32> {
    let id = compiled.and_then(|compiled| {
        let id = super::index(expressions.list.len());
        expressions.list.push(compiled);
        id
    });
    expressions.ids.insert(text.text.clone(), id);
    id
}

/// How deep brackets are nested outside of quotes.
fn depth(expression: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = expression.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' | b'"' | b'`' => {
                // To the end of the text.
                while let Some(inner) = bytes.next().filter(|inner| *inner != byte) {
                    if inner == b'\\' {
                        bytes.next();
                    }
                }
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn check_xpath(path: &str) -> Result<(), Wrong> {
    if let Some(prefix) = prefix(path) {
        let help = "write `*[local-name()='name']`: a plan binds no prefixes to namespaces";
        let reason = format!("there is no prefix `{}:`", shown(prefix));
        return Err((reason, Some(help.to_owned())));
    }
    // There is no compiling without evaluating. On a document with next to nothing in it that is soon done.
    let mut document = Parser::new()
        .parse("<a/>")
        .map_err(|error| (error.to_string(), None))?;
    document.prepare_xpath();
    match XPathEvaluator::new().evaluate(&document, document.root(), path) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let reason = text
                .split_once(": ")
                .map_or(text.as_str(), |(_, rest)| rest);
            let help = reason.to_ascii_lowercase().contains("prefix").then(|| {
                "write `*[local-name()='name']`: a plan binds no prefixes to namespaces".to_owned()
            });
            Err((reason.to_owned(), help))
        }
    }
}

/// The first namespace prefix in an XPath, outside of quotes: a name with a single colon after it.
fn prefix(path: &str) -> Option<&str> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut chars = path.char_indices();
    while let Some((at, c)) = chars.next() {
        if matches!(c, '\'' | '"') {
            chars.find(|(_, inner)| *inner == c);
        }
        if c == ':' {
            let (before, after) = (path.get(..at)?, path.get(at + 1..)?);
            let name = before.get(before.trim_end_matches(is_name).len()..)?;
            if !name.is_empty() && !after.starts_with(':') {
                return Some(name);
            }
        }
    }
    None
}

fn check_jmes_path(path: &str) -> Result<(), Wrong> {
    let compiled = jmespath::compile(path).map_err(|error| {
        let reason = match &error.reason {
            jmespath::ErrorReason::Parse(reason) => reason.clone(),
            jmespath::ErrorReason::Runtime(reason) => reason.to_string(),
        };
        (
            format!("{reason} at character {}", error.column.saturating_add(1)),
            None,
        )
    })?;
    let mut copies = 1;
    walk(compiled.as_ast(), &mut copies)?;
    if copies > MAX_JMESPATH_COPIES {
        let reason =
            format!("its lists and mappings come to more than {MAX_JMESPATH_COPIES} values");
        return Err((reason, Some("make fewer of them".to_owned())));
    }
    Ok(())
}

/// Looks for functions that do not exist, and multiplies what each list or mapping holds.
fn walk(ast: &Ast, copies: &mut usize) -> Result<(), Wrong> {
    match ast {
        Ast::Identity { .. }
        | Ast::Field { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => Ok(()),
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => {
            walk(lhs, copies)?;
            walk(rhs, copies)
        }
        Ast::Condition {
            predicate, then, ..
        } => {
            walk(predicate, copies)?;
            walk(then, copies)
        }
        Ast::Expref { ast, .. } => walk(ast, copies),
        Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => {
            walk(node, copies)
        }
        Ast::MultiList { elements, .. } => {
            *copies = copies.saturating_mul(elements.len());
            elements
                .iter()
                .try_for_each(|element| walk(element, copies))
        }
        Ast::MultiHash { elements, .. } => {
            *copies = copies.saturating_mul(elements.len());
            elements
                .iter()
                .try_for_each(|element| walk(&element.value, copies))
        }
        Ast::Function { name, args, .. } => {
            if jmespath::DEFAULT_RUNTIME.get_function(name).is_none() {
                return Err((format!("there is no function `{}()`", shown(name)), None));
            }
            args.iter().try_for_each(|arg| walk(arg, copies))
        }
    }
}
