//! What [`Escape`] does to bytes: to constants when a plan is compiled, and by the engine to values that are known only in
//! the run.

use crate::program::Escape;

impl Escape {
    /// Whether a value known only in the run may stand there at all: in a header, without CR, LF and NUL (RFC 9110 section
    /// 5.5).
    #[must_use]
    pub fn allows(self, bytes: &[u8]) -> bool {
        self != Escape::Header || !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
    }

    /// Appends `bytes`, which are text, to `out` as they must stand there. A header value comes out as it is: ask
    /// [`Escape::allows`] before.
    pub fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Escape::None | Escape::Header => out.extend_from_slice(bytes),
            Escape::Url => percent_encode(bytes, out, |b| {
                is_unreserved(b) || is_reserved(b) || b == b'%'
            }),
            Escape::Component => percent_encode(bytes, out, is_unreserved),
            Escape::Json => json_string(bytes, out),
            Escape::JsonValue => {
                out.push(b'"');
                json_string(bytes, out);
                out.push(b'"');
            }
            Escape::PartName => {
                percent_encode(bytes, out, |b| !matches!(b, b'\r' | b'\n' | b'"'));
            }
        }
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 2.2, but for `#`, which would cut a request target off.
fn is_reserved(b: u8) -> bool {
    matches!(
        b,
        b':' | b'/'
            | b'?'
            | b'['
            | b']'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
    )
}

fn percent_encode(bytes: &[u8], out: &mut Vec<u8>, keep: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in bytes {
        if keep(b) {
            out.push(b);
        } else {
            out.extend([b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

/// RFC 8259 section 7: what must be escaped, and nothing else.
fn json_string(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &b in bytes {
        match b {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
            _ => out.push(b),
        }
    }
}

/// Why `text` cannot be in a header value (RFC 9110 section 5.5), if it cannot.
pub(crate) fn header_value_error(text: &str) -> Option<String> {
    let bad = text
        .chars()
        .find(|c| (c.is_ascii_control() && *c != '\t') || *c == '\u{7f}')?;
    Some(format!(
        "a header value cannot have the control character `{}`",
        bad.escape_default()
    ))
}

/// Whether `text` is a token (RFC 9110 section 5.6.2): a method or a header name.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
