//! The parser: bytes to nodes in the order of the text, each of which knows where its subtree ends. RFC 8259, without
//! recursion, so that depth costs memory and no stack.

/// The deepest that arrays and objects may be nested.
pub(crate) const JSON_DEPTH_MAX: usize = 1024;
/// Nodes beyond this are given back, so that one large body does not stay for the whole run.
const KEPT_NODES_MAX: usize = 64 * 1024;

/// Indexes a [`Tape`].
pub(crate) type NodeId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    /// Without escapes.
    Text,
    /// With escapes.
    Escaped,
    /// Its elements follow it.
    Array,
    /// Its members follow it: a key, its value, and so on.
    Object,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Where its text begins; a string's is without the quotes.
    start: u32,
    /// Where its text ends.
    end: u32,
    /// The node after its subtree.
    next: NodeId,
    kind: Kind,
}

/// Why a body is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    what: &'static str,
    at: usize,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the body is not JSON: {} at byte {}", self.what, self.at)
    }
}

/// A parsed body. The body itself is needed to read it.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    nodes: Vec<Node>,
    /// The arrays and objects that are open.
    open: Vec<NodeId>,
}

impl Tape {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn kind(&self, node: NodeId) -> Kind {
        self.nodes[node as usize].kind
    }

    /// The node's text; a string's is without quotes and has its escapes.
    pub(crate) fn raw<'b>(&self, body: &'b [u8], node: NodeId) -> &'b [u8] {
        let node = &self.nodes[node as usize];
        &body[node.start as usize..node.end as usize]
    }

    /// The node after the subtree of this one.
    pub(crate) fn next(&self, node: NodeId) -> NodeId {
        self.nodes[node as usize].next
    }

    /// The elements of an array, or the keys of an object; of anything else none.
    pub(crate) fn children(&self, node: NodeId) -> Children<'_> {
        let end = match self.kind(node) {
            Kind::Array | Kind::Object => self.next(node),
            _ => node + 1,
        };
        Children {
            tape: self,
            at: node + 1,
            end,
            // From a key to the next one, over its value.
            step: 1 + usize::from(self.kind(node) == Kind::Object),
        }
    }

    /// Reads a whole body. On an error nothing of it is kept.
    pub(crate) fn parse(&mut self, body: &[u8]) -> Result<(), JsonError> {
        self.nodes.clear();
        self.open.clear();
        if self.nodes.capacity() > KEPT_NODES_MAX {
            self.nodes = Vec::new();
        }
        let read = self.read(body);
        if read.is_err() {
            self.nodes.clear();
        }
        read
    }

    fn read(&mut self, body: &[u8]) -> Result<(), JsonError> {
        if u32::try_from(body.len()).is_err() {
            return Err(wrong("more than 4 GiB", 0));
        }
        if let Err(error) = std::str::from_utf8(body) {
            return Err(wrong("a byte that no UTF-8 text has", error.valid_up_to()));
        }
        // RFC 8259 section 8.1: a parser may pass over a byte order mark.
        let start = if body.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        let mut at = space(body, start);
        loop {
            // A value is due.
            at = match body.get(at) {
                Some(b'{') => {
                    self.begin(Kind::Object, at)?;
                    at = space(body, at + 1);
                    if body.get(at) == Some(&b'}') {
                        self.end(at + 1);
                        at + 1
                    } else {
                        at = self.key(body, at)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.begin(Kind::Array, at)?;
                    at = space(body, at + 1);
                    if body.get(at) != Some(&b']') {
                        continue;
                    }
                    self.end(at + 1);
                    at + 1
                }
                Some(b'"') => self.string(body, at)?,
                Some(b't') => self.word(body, at, b"true", Kind::True)?,
                Some(b'f') => self.word(body, at, b"false", Kind::False)?,
                Some(b'n') => self.word(body, at, b"null", Kind::Null)?,
                Some(b'-' | b'0'..=b'9') => {
                    let end = number(body, at)?;
                    self.push(Kind::Number, at, end);
                    end
                }
                Some(_) => return Err(wrong("expected a value", at)),
                None => return Err(wrong("the text ends", at)),
            };
            // A value has ended: so may what it is in.
            loop {
                at = space(body, at);
                let Some(open) = self.open.last().copied() else {
                    return if at == body.len() {
                        Ok(())
                    } else {
                        Err(wrong("something after the value", at))
                    };
                };
                let is_object = self.kind(open) == Kind::Object;
                match body.get(at) {
                    Some(b',') => {
                        at = space(body, at + 1);
                        if is_object {
                            at = self.key(body, at)?;
                        }
                        break;
                    }
                    Some(b'}') if is_object => self.end(at + 1),
                    Some(b']') if !is_object => self.end(at + 1),
                    Some(_) => return Err(wrong("expected a comma or the end", at)),
                    None => return Err(wrong("the text ends", at)),
                }
                at += 1;
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node {
            start: start as u32,
            end: end as u32,
            next,
            kind,
        });
    }

    fn begin(&mut self, kind: Kind, at: usize) -> Result<(), JsonError> {
        if self.open.len() == JSON_DEPTH_MAX {
            return Err(wrong("nested more than 1024 deep", at));
        }
        self.open.push(self.nodes.len() as u32);
        self.push(kind, at, at);
        Ok(())
    }

    fn end(&mut self, end: usize) {
        let next = self.nodes.len() as u32;
        if let Some(node) = self.open.pop() {
            let node = &mut self.nodes[node as usize];
            node.end = end as u32;
            node.next = next;
        }
    }

    /// A member's key, and its colon; where its value begins.
    fn key(&mut self, body: &[u8], at: usize) -> Result<usize, JsonError> {
        if body.get(at) != Some(&b'"') {
            return Err(wrong("expected a key in quotes", at));
        }
        let at = space(body, self.string(body, at)?);
        if body.get(at) != Some(&b':') {
            return Err(wrong("expected a colon", at));
        }
        Ok(space(body, at + 1))
    }

    fn word(
        &mut self,
        body: &[u8],
        at: usize,
        word: &[u8],
        kind: Kind,
    ) -> Result<usize, JsonError> {
        if !body[at..].starts_with(word) {
            return Err(wrong("expected a value", at));
        }
        let end = at + word.len();
        self.push(kind, at, end);
        Ok(end)
    }

    /// The string whose opening quote is at `at`.
    fn string(&mut self, body: &[u8], at: usize) -> Result<usize, JsonError> {
        let start = at + 1;
        let mut at = start;
        let mut kind = Kind::Text;
        loop {
            at = plain(body, at);
            match body.get(at) {
                Some(b'"') => {
                    self.push(kind, start, at);
                    return Ok(at + 1);
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    at = match body.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                        Some(b'u') if is_hex(body.get(at + 2..at + 6)) => at + 6,
                        _ => return Err(wrong("an escape that does not exist", at)),
                    };
                }
                Some(_) => return Err(wrong("a control character in a string", at)),
                None => return Err(wrong("a string without end", start - 1)),
            }
        }
    }
}

pub(crate) struct Children<'t> {
    tape: &'t Tape,
    at: NodeId,
    end: NodeId,
    step: usize,
}

impl Iterator for Children<'_> {
    type Item = NodeId;

    #[inline]
    fn next(&mut self) -> Option<NodeId> {
        if self.at >= self.end {
            return None;
        }
        let child = self.at;
        // A key has no subtree: the node after it is its value.
        self.at = self.tape.next(child + self.step as NodeId - 1);
        Some(child)
    }
}

fn wrong(what: &'static str, at: usize) -> JsonError {
    JsonError { what, at }
}

/// Past the white space at `at`.
#[inline]
fn space(body: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = body.get(at) {
        at += 1;
    }
    at
}

/// Past what a string is mostly made of: to its quote, an escape or a control character. Eight bytes at a time.
#[inline]
fn plain(body: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of the lowest byte that is zero, at least.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(chunk) = body.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zero(word ^ (ONES * u64::from(b'"')));
        let escapes = zero(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | escapes | controls;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = body.get(at)
        && byte >= 0x20
        && byte != b'"'
        && byte != b'\\'
    {
        at += 1;
    }
    at
}

fn is_hex(digits: Option<&[u8]>) -> bool {
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Past the number at `at`.
fn number(body: &[u8], start: usize) -> Result<usize, JsonError> {
    let digits = |from: usize| {
        let mut at = from;
        while body.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == from {
            Err(wrong("a number without a digit", at))
        } else {
            Ok(at)
        }
    };
    let mut at = start + usize::from(body.get(start) == Some(&b'-'));
    at = if body.get(at) == Some(&b'0') {
        at + 1
    } else {
        digits(at)?
    };
    if body.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = body.get(at) {
        let sign = matches!(body.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(sign))?;
    }
    Ok(at)
}
