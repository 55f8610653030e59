//! What is done with a response: extractors, conditions, chains.

use std::time::Duration;

use super::{
    CallSiteId, CheckId, JmesPathId, JsonPathId, RegexId, SelectorId, Template, VarId, XPathId,
};

/// Takes a value out of a response into a variable.
#[derive(Debug)]
pub struct Extract {
    /// Where the value goes.
    pub var: VarId,
    /// How it is found.
    pub source: ExtractSource,
    /// Which match is taken.
    pub pick: Pick,
    /// The value when nothing matched; without one the request is marked failed.
    pub default: Option<Constant>,
    /// What a chain does with the value; `None` for a plain extractor.
    pub refine: Option<Box<Refine>>,
}

/// A value known before the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The text, or JSON's.
    pub bytes: Box<[u8]>,
    /// Whether it is a JSON value other than text.
    pub is_json: bool,
}

/// How a value is found.
#[derive(Debug)]
pub enum ExtractSource {
    /// A plugin's answer; `pick` does not apply.
    Plugin(CallSiteId),
    /// A capture group over the body.
    Regex {
        /// The pattern.
        regex: RegexId,
        /// The group; it exists in the pattern (checked at compilation).
        group: usize,
    },
    /// A header field's value.
    Header {
        /// Lower case.
        name: Box<str>,
    },
    /// The body's bytes between two markers.
    Boundary {
        /// Not empty.
        left: Box<[u8]>,
        /// Not empty.
        right: Box<[u8]>,
    },
    /// A node of a JSON body: a string's text, the JSON of anything else.
    JsonPath(JsonPathId),
    /// The result over a JSON body; `null` is nothing, and `pick` does not apply.
    JmesPath(JmesPathId),
    /// The string value of a node of an XML or HTML body.
    XPath(XPathId),
    /// An element of an HTML body.
    Css {
        /// Which elements.
        selector: SelectorId,
        /// The attribute that holds the value; `None`: the element's text.
        attribute: Option<Box<str>>,
    },
}

impl ExtractSource {
    /// Whether it reads the response's body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        !matches!(self, Self::Header { .. })
    }

    /// Whether it reads header fields. XPath does: the content type says whether the body is HTML.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::Plugin(_) | Self::XPath(_))
    }
}

/// Which of several matches is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pick {
    /// The first one.
    #[default]
    First,
    /// The last one.
    Last,
    /// Any, with equal chance.
    Random,
    /// All of them, as a JSON array: of strings (bytes that are not UTF-8 become U+FFFD), or of the values as they are
    /// for a JSONPath.
    All,
}

/// What a chain does with the value it found.
#[derive(Debug)]
pub struct Refine {
    /// In order.
    pub transforms: Vec<Transform>,
    /// What the value must be, after the transforms.
    pub cast: Option<Cast>,
    /// What must hold for it then.
    pub check: Option<ValueCheck>,
}

impl Refine {
    /// Whether the value is a JSON value other than text in the end, when it was found as one or not.
    #[must_use]
    pub fn is_json(&self, was_json: bool) -> bool {
        match self.cast {
            Some(Cast::Text) => false,
            Some(Cast::Int | Cast::Float | Cast::Bool) => true,
            None => was_json && self.transforms.is_empty(),
        }
    }
}

/// A step of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// White space goes from both ends.
    Trim,
    /// Unicode's lower case.
    Lowercase,
    /// Unicode's upper case.
    Uppercase,
    /// Every byte but RFC 3986's unreserved is percent-encoded.
    UrlEncode,
    /// The opposite; `+` stays. A `%` without two digits makes the chain fail.
    UrlDecode,
    /// RFC 4648 section 4, with padding.
    Base64Encode,
    /// The opposite; section 5's alphabet and missing padding will do. Anything else makes the chain fail.
    Base64Decode,
    /// Text after it.
    Append(Template),
    /// Text before it.
    Prepend(Template),
    /// Wherever `from` stands, `to`.
    Replace {
        /// Not empty.
        from: Box<str>,
        /// May be empty.
        to: Box<str>,
    },
    /// Some of its characters.
    Substring {
        /// From 0.
        start: usize,
        /// `None`: to the end.
        len: Option<usize>,
    },
}

/// What a chain's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// A whole number; `7.0` becomes `7`.
    Int,
    /// A number that is finite.
    Float,
    /// `true` or `false`; `1`, `0`, `yes` and `no` become these.
    Bool,
    /// Anything.
    Text,
}

/// What must hold for a chain's value. When it does not the variable stays unset and the request is marked failed.
#[derive(Debug)]
pub struct ValueCheck {
    /// The value is this.
    pub equals: Option<Template>,
    /// The value matches.
    pub matches: Option<RegexId>,
    /// The value is one of these; empty: any.
    pub one_of: Vec<Box<[u8]>>,
    /// The value is a number that is not less.
    pub min: Option<f64>,
    /// The value is a number that is not more.
    pub max: Option<f64>,
    /// The value is not empty.
    pub not_empty: bool,
    /// What else happens.
    pub on_failure: OnFailure,
}

/// A condition that must hold.
#[derive(Debug)]
pub struct Assert {
    /// For the error list: the condition's `name`, else a description such as `status is 200`.
    pub name: String,
    /// What must hold.
    pub condition: Condition,
    /// What else happens when it does not.
    pub on_failure: OnFailure,
}

/// A condition that is counted.
#[derive(Debug)]
pub struct Check {
    /// Its `checks` series.
    pub id: CheckId,
    /// What is counted.
    pub condition: Condition,
}

/// A statement about a response.
#[derive(Debug)]
pub enum Condition {
    /// The status code is one of these.
    StatusIn(Vec<u16>),
    /// The status code, as three digits, matches.
    StatusMatches(RegexId),
    /// The body has these bytes.
    BodyContains {
        /// What is looked for.
        value: Template,
        /// True: it must not be there.
        negate: bool,
    },
    /// The body matches.
    BodyMatches {
        /// The pattern.
        regex: RegexId,
        /// True: it must not match.
        negate: bool,
    },
    /// A plugin's verdict.
    Plugin(CallSiteId),
    /// The first node of a JSON body that the path finds. Numbers are equal when their values are.
    JsonPath {
        /// The query.
        path: JsonPathId,
        /// What it must find.
        wants: Wants,
    },
    /// The first node of an XML or HTML body that the path finds, or the value that it computes.
    XPath {
        /// The expression.
        path: XPathId,
        /// What it must find. A boolean is there when it is true.
        wants: Wants,
    },
    /// The request took at most so long: `http_req_duration`.
    DurationMax(Duration),
    /// The body has so many bytes.
    Size {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// A header field with this name; `equals` and `contains` hold for any one of several.
    Header {
        /// Lower case.
        name: Box<str>,
        /// What it must be.
        wants: Wants,
    },
}

impl Condition {
    /// Whether it reads the response's body; its size alone is known without.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        match self {
            Self::BodyContains { .. }
            | Self::BodyMatches { .. }
            | Self::Plugin(_)
            | Self::JsonPath { .. }
            | Self::XPath { .. } => true,
            Self::StatusIn(_)
            | Self::StatusMatches(_)
            | Self::DurationMax(_)
            | Self::Size { .. }
            | Self::Header { .. } => false,
        }
    }

    /// Whether it reads header fields.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        matches!(
            self,
            Self::Plugin(_) | Self::XPath { .. } | Self::Header { .. }
        )
    }
}

/// What must be found.
#[derive(Debug)]
pub struct Wants {
    /// False: nothing must be found; the others are `None` then.
    pub exists: bool,
    /// What was found is this.
    pub equals: Option<Template>,
    /// What was found has this in it.
    pub contains: Option<Template>,
}

/// What a failed assert does beyond marking its request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nothing.
    #[default]
    Continue,
    /// The virtual user goes on with its next iteration.
    AbortIteration,
    /// The scenario starts no new iteration, on any shard.
    AbortScenario,
    /// The whole run ends gracefully.
    AbortTest,
}
