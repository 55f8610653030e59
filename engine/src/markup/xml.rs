//! XML, and XPath 1.0 over it. HTML becomes the same kind of document first.

use loadr_config::XPathId;
use scraper::{Html, Node};
use uppsala::{Attribute, NodeId, Parser, QName, XPathEvaluator, XPathValue};

use super::{MARKUP_DEPTH_MAX, text_of};

/// The most bytes that entities may expand to: bombs end here.
const ENTITY_BYTES_MAX: usize = 1 << 20;
/// The most nodes that one evaluation may visit: expressions can take any power of the body.
const XPATH_VISITS_MAX: usize = 20_000_000;

/// A parsed body. It owns its text.
pub(crate) type Document = uppsala::Document<'static>;

/// Parses a body; the error is for people.
pub(crate) fn parse_xml(body: &[u8]) -> Result<Document, String> {
    let text = text_of(body)?;
    let parser = Parser::new()
        .with_max_depth(MARKUP_DEPTH_MAX as u32)
        .with_max_entity_expansion(ENTITY_BYTES_MAX);
    let mut document = parser
        .parse(text)
        .map_err(|error| format!("the body is not XML: {error}"))?
        .into_static();
    document.prepare_xpath();
    Ok(document)
}

/// The same of HTML: elements and attributes are in no namespace, their names lower-cased.
pub(crate) fn xml_of_html(html: &Html) -> Document {
    let mut document = Document::new();
    let mut parents = vec![document.root()];
    for edge in html.tree.root().traverse() {
        let (node, opens) = match edge {
            ego_tree::iter::Edge::Open(node) => (node, true),
            ego_tree::iter::Edge::Close(node) => (node, false),
        };
        if !opens {
            if node.value().is_element() {
                parents.pop();
            }
            continue;
        }
        let made = match node.value() {
            Node::Element(element) => {
                let id = document.create_element(QName::local(element.name().to_owned()));
                if let Some(made) = document.element_mut(id) {
                    made.attributes = element
                        .attrs()
                        .map(|(name, value)| Attribute {
                            name: QName::local(name.to_owned()),
                            value: value.to_owned().into(),
                        })
                        .collect();
                }
                id
            }
            Node::Text(text) => document.create_text(text.to_string()),
            Node::Comment(comment) => document.create_comment(comment.to_string()),
            _ => continue,
        };
        if let Some(parent) = parents.last() {
            document.append_child(*parent, made);
        }
        if node.value().is_element() {
            parents.push(made);
        }
    }
    document.prepare_xpath();
    document
}

/// A shard's own evaluator, with the plan's expressions.
pub(crate) struct XPaths {
    evaluator: XPathEvaluator,
    expressions: Vec<String>,
}

/// What an expression came to.
pub(crate) enum Found {
    /// In the order of the document.
    Nodes(Vec<NodeId>),
    Truth(bool),
    /// A number or text.
    Text(String),
}

impl XPaths {
    pub(crate) fn new(expressions: &[String]) -> Self {
        let evaluator = XPathEvaluator::new().with_max_node_visits(XPATH_VISITS_MAX);
        let expressions = expressions.to_vec();
        // The evaluator keeps what it has compiled once.
        if let Ok(mut document) = Parser::new().parse("<a/>") {
            document.prepare_xpath();
            for expression in &expressions {
                drop(evaluator.evaluate(&document, document.root(), expression));
            }
        }
        Self {
            evaluator,
            expressions,
        }
    }

    /// Evaluates an expression; the error is for people.
    pub(crate) fn find(&self, path: XPathId, document: &Document) -> Result<Found, String> {
        let expression = &self.expressions[path.at()];
        let value = self
            .evaluator
            .evaluate(document, document.root(), expression)
            .map_err(|error| format!("`{expression}`: {error}"))?;
        Ok(match value {
            XPathValue::NodeSet(nodes) => Found::Nodes(nodes),
            XPathValue::Boolean(truth) => Found::Truth(truth),
            value => Found::Text(value.to_string_value(document)),
        })
    }
}

impl Found {
    /// The string value of each node, or the one value.
    pub(crate) fn values<'v>(
        &'v self,
        document: &'v Document,
    ) -> impl Iterator<Item = String> + 'v {
        let (nodes, one): (&[NodeId], _) = match self {
            Self::Nodes(nodes) => (nodes, None),
            Self::Truth(truth) => (&[], Some(truth.to_string())),
            Self::Text(text) => (&[], Some(text.clone())),
        };
        nodes
            .iter()
            .map(|node| XPathValue::NodeSet(vec![*node]).to_string_value(document))
            .chain(one)
    }
}
