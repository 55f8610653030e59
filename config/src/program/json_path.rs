//! A compiled JSONPath query (RFC 9535).

use super::RegexId;

/// The segments of a query from its root.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    /// In order; none: the root itself.
    pub segments: Vec<PathSegment>,
}

/// What one segment of a query does with each node it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSegment {
    /// `..`: the selectors apply to the node and to everything in it.
    pub descends: bool,
    /// Applied in order; at least one.
    pub selectors: Vec<PathSelector>,
}

/// Chooses children of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum PathSelector {
    /// A member of an object.
    Name(Box<str>),
    /// An element of an array; below zero from its end.
    Index(i64),
    /// Every child.
    Wildcard,
    /// Elements of an array.
    Slice {
        /// From here; below zero from the end.
        start: Option<i64>,
        /// To here, exclusive; below zero from the end.
        end: Option<i64>,
        /// Every so many; below zero backwards, and 0 chooses nothing.
        step: i64,
    },
    /// The children for which it holds.
    Filter(PathFilter),
}

/// A logical expression about one child.
#[derive(Clone, Debug, PartialEq)]
pub enum PathFilter {
    /// One of them holds.
    Or(Vec<PathFilter>),
    /// All of them hold.
    And(Vec<PathFilter>),
    /// It does not hold.
    Not(Box<PathFilter>),
    /// The query finds something.
    Exists(PathQuery),
    /// The comparison is true.
    Compare {
        /// On the left of the operator.
        left: PathValue,
        /// How they are compared.
        operator: PathOperator,
        /// On the right of the operator.
        right: PathValue,
    },
    /// `search()` or `match()`: the value is a string that matches. `match()` is a pattern with both ends anchored.
    Matches {
        /// What is matched.
        value: PathValue,
        /// The pattern.
        regex: RegexId,
    },
}

/// A query inside a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct PathQuery {
    /// `$`; else `@`, the child that the filter is about.
    pub from_root: bool,
    /// As in [`JsonPath`].
    pub segments: Vec<PathSegment>,
}

/// What can be compared: a value, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum PathValue {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Box<str>),
    /// `value()`, and a query that finds at most one node: the value of the node when there is exactly one.
    Query(PathQuery),
    /// `length()`: characters of a string, elements of an array, members of an object.
    Length(Box<PathValue>),
    /// `count()`: how many nodes there are.
    Count(PathQuery),
}

/// RFC 9535 section 2.3.5.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOperator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}
