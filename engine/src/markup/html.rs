//! HTML, as browsers read it: nothing is an error, and broken markup is mended.

use html5ever::ParseOpts;
use html5ever::driver::parse_document;
use html5ever::tendril::TendrilSink;
use loadr_config::CssSelector;
use scraper::{ElementRef, Html, HtmlTreeSink};

use super::{MARKUP_DEPTH_MAX, text_of};
use crate::clock::now_ns;

/// The parser is fed so much at a time. Mending markup can take time and memory that grow with the square of it.
const FEED_BYTES: usize = 4096;
/// The longest that parsing may take. Bodies of [`MARKUP_BYTES_MAX`](super::MARKUP_BYTES_MAX) take a fifth of it.
const PARSE_NS_MAX: u64 = 1_000_000_000;
/// The longest that a selector may look for its elements where that can take the square of the body.
const SELECT_NS_MAX: u64 = 100_000_000;

/// Parses a body; the error is for people.
pub(crate) fn parse(body: &[u8]) -> Result<Html, String> {
    let mut rest = text_of(body)?;
    let mut parser = parse_document(
        HtmlTreeSink::new(Html::new_document()),
        ParseOpts::default(),
    );
    let until_ns = now_ns() + PARSE_NS_MAX;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(FEED_BYTES));
        parser.process(piece.into());
        rest = after;
        if !rest.is_empty() && now_ns() > until_ns {
            return Err("the body's HTML takes too long to parse".to_owned());
        }
    }
    let html = parser.finish();
    if depth_of(&html) > MARKUP_DEPTH_MAX {
        return Err(format!(
            "the body's HTML is nested more than {MARKUP_DEPTH_MAX} deep"
        ));
    }
    Ok(html)
}

fn depth_of(html: &Html) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for edge in html.tree.root().traverse() {
        match edge {
            ego_tree::iter::Edge::Open(_) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ego_tree::iter::Edge::Close(_) => depth -= 1,
        }
    }
    deepest
}

/// The elements that a selector chooses, in the order of the document.
pub(crate) struct Elements<'h> {
    found: Vec<ElementRef<'h>>,
}

impl<'h> Elements<'h> {
    /// With `first_only` the search ends at the first.
    pub(crate) fn select(
        html: &'h Html,
        selector: &'h CssSelector,
        first_only: bool,
    ) -> Result<Self, String> {
        let most = if first_only { 1 } else { usize::MAX };
        if !selector.is_costly {
            let found = html.select(&selector.selector).take(most).collect();
            return Ok(Self { found });
        }
        let until_ns = now_ns() + SELECT_NS_MAX;
        let mut found = Vec::new();
        let elements = html.tree.root().descendants().filter_map(ElementRef::wrap);
        for (i, element) in elements.enumerate() {
            if i % 16 == 0 && now_ns() > until_ns {
                return Err("the selector takes too long on this body".to_owned());
            }
            if selector.selector.matches(&element) {
                found.push(element);
                if found.len() == most {
                    break;
                }
            }
        }
        Ok(Self { found })
    }

    /// Each element's attribute or text; an element without the attribute has nothing to give.
    pub(crate) fn values<'v>(
        &'v self,
        attribute: Option<&'v str>,
    ) -> impl Iterator<Item = String> + 'v {
        self.found
            .iter()
            .filter_map(move |element| match attribute {
                Some(attribute) => element.attr(attribute).map(str::to_owned),
                None => Some(element.text().collect()),
            })
    }
}
