//! The tables of extraction chains: one source, transforms, a check.

use super::response::{INDEX, ON_FAILURE};
use super::{Choice, Kind, Table, key, required, word};

/// An `extract` item with `chain`.
pub(super) static CHAIN: Table = Table {
    what: "a chain",
    groups: &[&[
        required("chain", Kind::Name, "The variable that the value goes to"),
        key("jmespath", Kind::Name, "Source: a JMESPath expression"),
        key("jsonpath", Kind::Name, "Source: a JSONPath (RFC 9535)"),
        key("regex", Kind::Name, "Source: a pattern over the body"),
        key("header", Kind::Name, "Source: a header field"),
        key("css", Kind::Name, "Source: a CSS selector over HTML"),
        key("xpath", Kind::Name, "Source: an XPath 1.0 expression"),
        key("left", Kind::Name, "Source: what stands before the value"),
        key("right", Kind::Name, "With `left`: what stands after it"),
        key(
            "group",
            Kind::Count(0, 1000),
            "With `regex`: the capture group; 1, and 0 is the whole match",
        ),
        key(
            "attribute",
            Kind::Name,
            "With `css`: the attribute that holds the value",
        ),
        INDEX,
        key(
            "transform",
            Kind::OneOrMore(&A_TRANSFORM),
            "What is done to the value, in order",
        ),
        key("as", Kind::Word(CASTS), "What the value must be; string"),
        key(
            "check",
            Kind::Table(&CHECK),
            "What must hold for the value to be taken",
        ),
        key("default", Kind::Text, "The value when nothing matched"),
    ]],
};

const CASTS: &[Choice] = &[word("int"), word("float"), word("bool"), word("string")];

static A_TRANSFORM: Kind = Kind::TextOr(&Kind::OneKey(&TRANSFORM));

/// The transforms that take something. Those that are one word are in [`TRANSFORM_WORDS`].
static TRANSFORM: Table = Table {
    what: "a transform",
    groups: &[&[
        key("append", Kind::Template, "Put after the value"),
        key("prepend", Kind::Template, "Put before the value"),
        key(
            "replace",
            Kind::Some(&Kind::Text),
            "What is replaced wherever it stands, and by what",
        ),
        key(
            "substring",
            Kind::Some(&Kind::Count(0, u32::MAX as u64)),
            "The first character, from 0, and how many; to the end when absent",
        ),
    ]],
};

/// The transforms that take nothing.
pub(crate) const TRANSFORM_WORDS: [&str; 7] = [
    "trim",
    "lowercase",
    "uppercase",
    "url_encode",
    "url_decode",
    "base64_encode",
    "base64_decode",
];

static CHECK: Table = Table {
    what: "a chain's `check`",
    groups: &[&[
        key("equals", Kind::Template, "What the value must be"),
        key("matches", Kind::Name, "A pattern that it must match"),
        key(
            "one_of",
            Kind::Some(&Kind::Text),
            "The values it must be one of",
        ),
        key("min", Kind::Number(f64::MIN, f64::MAX), "The least number"),
        key(
            "max",
            Kind::Number(f64::MIN, f64::MAX),
            "The greatest number",
        ),
        key("not_empty", Kind::Flag, "Whether it must not be empty"),
        ON_FAILURE,
    ]],
};
