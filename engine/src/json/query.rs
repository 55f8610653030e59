//! JSONPath (RFC 9535) over a parsed body. Objects' members come in the order of the text; of members with the same name
//! the last counts where one is asked for by its name.

use loadr_config::{
    JsonPath, PathFilter, PathOperator, PathQuery, PathSegment, PathSelector, PathValue, RegexId,
};

use super::tape::{Kind, NodeId, Tape};
use super::text::{decode, number_of};

/// Nodes that a query may visit whatever the body's size.
const VISITS_MIN: usize = 1_000_000;
/// Nodes that a query may visit for each node of the body: enough for what looks at every node a few times, too few for
/// what looks at every node once for each other.
const VISITS_PER_NODE: usize = 32;

/// A query visited more nodes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Memory for queries, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    lists: Vec<Vec<NodeId>>,
}

/// A body that a query runs on.
struct Run<'r> {
    tape: &'r Tape,
    body: &'r [u8],
    is_match: &'r dyn Fn(RegexId, &[u8]) -> bool,
    lists: &'r mut Vec<Vec<NodeId>>,
    visits_left: usize,
}

impl Finder {
    /// The nodes that the query finds, in order. Give them back with [`Finder::recycle`].
    pub(crate) fn find(
        &mut self,
        path: &JsonPath,
        tape: &Tape,
        body: &[u8],
        is_match: &dyn Fn(RegexId, &[u8]) -> bool,
    ) -> Result<Vec<NodeId>, TooLong> {
        Run {
            tape,
            body,
            is_match,
            lists: &mut self.lists,
            visits_left: VISITS_MIN.saturating_add(tape.len().saturating_mul(VISITS_PER_NODE)),
        }
        .query(&path.segments, 0)
    }

    pub(crate) fn recycle(&mut self, mut nodes: Vec<NodeId>) {
        nodes.clear();
        self.lists.push(nodes);
    }
}

/// What a comparison is about.
enum Value<'r> {
    Nothing,
    Null,
    Bool(bool),
    Number(f64),
    Text(std::borrow::Cow<'r, [u8]>),
    /// An array or object.
    Node(NodeId),
}

impl<'r> Run<'r> {
    fn visit(&mut self) -> Result<(), TooLong> {
        self.visits_left = self.visits_left.checked_sub(1).ok_or(TooLong)?;
        Ok(())
    }

    fn query(&mut self, segments: &[PathSegment], from: NodeId) -> Result<Vec<NodeId>, TooLong> {
        let mut nodes = self.lists.pop().unwrap_or_default();
        nodes.push(from);
        for segment in segments {
            // The plainest segments of all, in place.
            if let ([node], false, [selector]) = (
                nodes.as_mut_slice(),
                segment.descends,
                segment.selectors.as_slice(),
            ) && let Some(found) = match selector {
                PathSelector::Name(name) => Some(self.member(*node, name)?),
                PathSelector::Index(index) => Some(self.element(*node, *index)?),
                _ => None,
            } {
                match found {
                    Some(found) => *node = found,
                    None => nodes.clear(),
                }
                continue;
            }
            let mut found = self.lists.pop().unwrap_or_default();
            for &node in &nodes {
                if segment.descends {
                    // A subtree is a run of nodes, its root first; keys in it have no children.
                    let mut at = node;
                    while at < self.tape.next(node) {
                        self.visit()?;
                        if matches!(self.tape.kind(at), Kind::Array | Kind::Object) {
                            self.select(&segment.selectors, at, &mut found)?;
                        }
                        at += 1;
                    }
                } else {
                    self.select(&segment.selectors, node, &mut found)?;
                }
            }
            nodes.clear();
            self.lists.push(std::mem::replace(&mut nodes, found));
        }
        Ok(nodes)
    }

    fn select(
        &mut self,
        selectors: &[PathSelector],
        node: NodeId,
        found: &mut Vec<NodeId>,
    ) -> Result<(), TooLong> {
        let (tape, is_array) = (self.tape, self.tape.kind(node) == Kind::Array);
        // The value of what `children` gives.
        let value = |child: NodeId| child + NodeId::from(!is_array);
        for selector in selectors {
            match selector {
                PathSelector::Name(name) => found.extend(self.member(node, name)?),
                PathSelector::Index(index) => found.extend(self.element(node, *index)?),
                PathSelector::Wildcard => {
                    for child in tape.children(node) {
                        self.visit()?;
                        found.push(value(child));
                    }
                }
                PathSelector::Slice { start, end, step } if is_array => {
                    self.slice(node, (*start, *end, *step), found)?;
                }
                PathSelector::Slice { .. } => {}
                PathSelector::Filter(filter) => {
                    for child in tape.children(node) {
                        self.visit()?;
                        if self.holds(filter, value(child))? {
                            found.push(value(child));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, node: NodeId, name: &str) -> Result<Option<NodeId>, TooLong> {
        if self.tape.kind(node) != Kind::Object {
            return Ok(None);
        }
        let mut found = None;
        for key in self.tape.children(node) {
            self.visit()?;
            let raw = self.tape.raw(self.body, key);
            let is_it = match self.tape.kind(key) {
                Kind::Text => raw == name.as_bytes(),
                // Escapes only make a text longer.
                _ => {
                    raw.len() > name.len() && {
                        let mut text = Vec::new();
                        decode(raw, &mut text);
                        text == name.as_bytes()
                    }
                }
            };
            if is_it {
                found = Some(key + 1);
            }
        }
        Ok(found)
    }

    fn element(&mut self, node: NodeId, index: i64) -> Result<Option<NodeId>, TooLong> {
        if self.tape.kind(node) != Kind::Array {
            return Ok(None);
        }
        let index = if index < 0 {
            let mut len = 0_i64;
            for _ in self.tape.children(node) {
                self.visit()?;
                len += 1;
            }
            len + index
        } else {
            index
        };
        let Ok(index) = usize::try_from(index) else {
            return Ok(None);
        };
        for (i, child) in self.tape.children(node).enumerate() {
            self.visit()?;
            if i == index {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// RFC 9535 section 2.3.4.2.2.
    fn slice(
        &mut self,
        node: NodeId,
        (start, end, step): (Option<i64>, Option<i64>, i64),
        found: &mut Vec<NodeId>,
    ) -> Result<(), TooLong> {
        let mut children = self.lists.pop().unwrap_or_default();
        for child in self.tape.children(node) {
            self.visit()?;
            children.push(child);
        }
        let len = children.len() as i64;
        let normal = |index: i64| {
            if index >= 0 {
                index
            } else {
                len.saturating_add(index)
            }
        };
        if step > 0 {
            let lower = normal(start.unwrap_or(0)).clamp(0, len);
            let upper = normal(end.unwrap_or(len)).clamp(0, len);
            let mut at = lower;
            while at < upper {
                found.push(children[at as usize]);
                at = at.saturating_add(step);
            }
        } else if step < 0 {
            let upper = normal(start.unwrap_or(len - 1)).clamp(-1, len - 1);
            let lower = end.map_or(-1, normal).clamp(-1, len - 1);
            let mut at = upper;
            while at > lower {
                found.push(children[at as usize]);
                at = at.saturating_add(step);
            }
        }
        children.clear();
        self.lists.push(children);
        Ok(())
    }

    fn holds(&mut self, filter: &PathFilter, current: NodeId) -> Result<bool, TooLong> {
        Ok(match filter {
            PathFilter::Or(filters) => {
                for filter in filters {
                    if self.holds(filter, current)? {
                        return Ok(true);
                    }
                }
                false
            }
            PathFilter::And(filters) => {
                for filter in filters {
                    if !self.holds(filter, current)? {
                        return Ok(false);
                    }
                }
                true
            }
            PathFilter::Not(filter) => !self.holds(filter, current)?,
            PathFilter::Exists(query) => self.count(query, current)? > 0,
            PathFilter::Matches { value, regex } => match self.value(value, current)? {
                Value::Text(text) => (self.is_match)(*regex, &text),
                _ => false,
            },
            PathFilter::Compare {
                left,
                operator,
                right,
            } => {
                let (left, right) = (self.value(left, current)?, self.value(right, current)?);
                match operator {
                    PathOperator::Equal => self.equal(&left, &right)?,
                    PathOperator::NotEqual => !self.equal(&left, &right)?,
                    PathOperator::Less => less(&left, &right),
                    PathOperator::Greater => less(&right, &left),
                    PathOperator::LessOrEqual => {
                        less(&left, &right) || self.equal(&left, &right)?
                    }
                    PathOperator::GreaterOrEqual => {
                        less(&right, &left) || self.equal(&left, &right)?
                    }
                }
            }
        })
    }

    fn nodes(&mut self, query: &PathQuery, current: NodeId) -> Result<Vec<NodeId>, TooLong> {
        self.query(&query.segments, if query.from_root { 0 } else { current })
    }

    fn count(&mut self, query: &PathQuery, current: NodeId) -> Result<usize, TooLong> {
        let mut nodes = self.nodes(query, current)?;
        let count = nodes.len();
        nodes.clear();
        self.lists.push(nodes);
        Ok(count)
    }

    fn value<'v>(&mut self, value: &'v PathValue, current: NodeId) -> Result<Value<'v>, TooLong>
    where
        'r: 'v,
    {
        Ok(match value {
            PathValue::Null => Value::Null,
            PathValue::Bool(flag) => Value::Bool(*flag),
            PathValue::Number(number) => Value::Number(*number),
            PathValue::Text(text) => Value::Text(text.as_bytes().into()),
            PathValue::Query(query) => {
                let mut nodes = self.nodes(query, current)?;
                let value = match nodes.as_slice() {
                    [node] => self.value_of(*node),
                    _ => Value::Nothing,
                };
                nodes.clear();
                self.lists.push(nodes);
                value
            }
            PathValue::Count(query) => Value::Number(self.count(query, current)? as f64),
            PathValue::Length(value) => match self.value(value, current)? {
                // The body is UTF-8: characters are the bytes that continue none.
                Value::Text(text) => {
                    let characters = text.iter().filter(|&&byte| byte & 0xc0 != 0x80);
                    Value::Number(characters.count() as f64)
                }
                Value::Node(node) => {
                    let mut len = 0_usize;
                    for _ in self.tape.children(node) {
                        self.visit()?;
                        len += 1;
                    }
                    Value::Number(len as f64)
                }
                _ => Value::Nothing,
            },
        })
    }

    fn value_of(&self, node: NodeId) -> Value<'r> {
        let raw = self.tape.raw(self.body, node);
        match self.tape.kind(node) {
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Number => number_of(raw).map_or(Value::Nothing, Value::Number),
            Kind::Text => Value::Text(raw.into()),
            Kind::Escaped => {
                let mut text = Vec::new();
                decode(raw, &mut text);
                Value::Text(text.into())
            }
            Kind::Array | Kind::Object => Value::Node(node),
        }
    }

    fn equal(&mut self, left: &Value<'_>, right: &Value<'_>) -> Result<bool, TooLong> {
        Ok(match (left, right) {
            (Value::Nothing, Value::Nothing) | (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Node(a), Value::Node(b)) => self.equal_nodes(*a, *b)?,
            _ => false,
        })
    }

    /// Recurses; the parser's limit on depth bounds it.
    fn equal_nodes(&mut self, a: NodeId, b: NodeId) -> Result<bool, TooLong> {
        self.visit()?;
        let (tape, body) = (self.tape, self.body);
        match (tape.kind(a), tape.kind(b)) {
            (Kind::Array, Kind::Array) => {
                let (mut left, mut right) = (tape.children(a), tape.children(b));
                loop {
                    match (left.next(), right.next()) {
                        (None, None) => return Ok(true),
                        (Some(a), Some(b)) if self.equal_nodes(a, b)? => {}
                        _ => return Ok(false),
                    }
                }
            }
            (Kind::Object, Kind::Object) => {
                if tape.children(a).count() != tape.children(b).count() {
                    return Ok(false);
                }
                for key in tape.children(a) {
                    let mut name = Vec::new();
                    match tape.kind(key) {
                        Kind::Text => name.extend_from_slice(tape.raw(body, key)),
                        _ => decode(tape.raw(body, key), &mut name),
                    }
                    let name = String::from_utf8_lossy(&name);
                    let Some(other) = self.member(b, &name)? else {
                        return Ok(false);
                    };
                    if !self.equal_nodes(key + 1, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Kind::Array | Kind::Object, _) | (_, Kind::Array | Kind::Object) => Ok(false),
            _ => {
                let (left, right) = (self.value_of(a), self.value_of(b));
                self.equal(&left, &right)
            }
        }
    }
}

fn less(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a < b,
        // UTF-8 sorts as its characters do.
        (Value::Text(a), Value::Text(b)) => a < b,
        _ => false,
    }
}
