//! Bytes with holes, and what is put into the holes in the run.

use std::sync::Arc;

use super::{DataId, VarId};
use crate::secret::Hidden;

/// Bytes with holes. A template that is known before the run has no [`Piece::Value`] and no [`Piece::BodyLength`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Adjacent literals are merged.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// The bytes of each piece, when all of them are known before the run.
    #[must_use]
    pub fn constant(&self) -> Option<Vec<&[u8]>> {
        self.pieces.iter().map(Piece::constant).collect()
    }
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sent as it is.
    Literal(Box<[u8]>),
    /// The same, but not to be shown: a secret, escaped for where it stands.
    Secret(Hidden),
    /// A file's content, read once before the run; every use of the file has the same bytes in memory.
    File(Arc<[u8]>),
    /// A value known only in the run.
    Value {
        /// Where it comes from.
        source: Source,
        /// What must be done to its bytes where it stands.
        escape: Escape,
    },
    /// The decimal length of the request's rendered body; only in a head.
    BodyLength,
}

impl Piece {
    /// Its bytes, when they are known before the run.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        match self {
            Self::Literal(bytes) => Some(bytes),
            Self::Secret(secret) => Some(secret.bytes()),
            Self::File(bytes) => Some(bytes),
            Self::Value { .. } | Self::BodyLength => None,
        }
    }
}

/// A value known only in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A virtual user's variable; rendering fails while it is unset.
    Var(VarId),
    /// `${vu}`: the virtual user's number, from 1, unique over the scenario.
    Vu,
    /// `${iteration}`: the virtual user's iteration, from 0.
    Iteration,
    /// `${data.source.column}`: a cell of the row that the iteration has of the source.
    Data {
        /// Which source.
        source: DataId,
        /// Which of its columns.
        column: u32,
    },
    /// Made afresh each time.
    Made(Made),
}

/// A value that is made afresh each time it is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// `${uuid}`: a random UUID, version 4 (RFC 9562 section 5.4), in lower case.
    Uuid,
    /// `${random.int(a,b)}`: a whole number, each from `least` to `most` as likely.
    Int {
        /// At most `most`.
        least: i64,
        /// Itself included.
        most: i64,
    },
    /// `${random.hex(n)}`: so many lower-case hexadecimal digits.
    Hex(u32),
    /// `${random.alnum(n)}`: so many ASCII letters and digits.
    Alnum(u32),
    /// `${now.unix}`: whole seconds since 1970.
    Unix,
    /// `${now.unix_ms}`: milliseconds since 1970.
    UnixMs,
    /// `${now.iso}`: the time in UTC to the millisecond, such as `2026-01-31T12:00:00.000Z` (RFC 3339).
    Iso,
    /// A fresh `traceparent` of version 00, sampled (W3C Trace Context, section 3.2).
    TraceParent,
    /// `${counter}`: a number from 1 that no other place of the run gets.
    Counter,
}

/// What rendering does to a value's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Nothing: a body.
    None,
    /// A request target: every byte that RFC 3986 does not allow in a URI is percent-encoded;
    /// reserved characters and `%` stay as they are.
    Url,
    /// One name or value of a query or a form: every byte but letters, digits and `-._~` (RFC 3986's
    /// unreserved) is percent-encoded.
    Component,
    /// A header value: CR, LF and NUL make rendering fail (RFC 9110 section 5.5).
    Header,
    /// A string inside JSON: RFC 8259 section 7 escapes, without the quotes.
    Json,
    /// A whole JSON value: a cell that is JSON as it is, text as a string with its quotes.
    JsonValue,
    /// A name in the head of a multipart part: CR, LF and `"` are percent-encoded, as browsers do (WHATWG HTML,
    /// multipart/form-data encoding algorithm; RFC 7578 section 4.2).
    PartName,
}
