//! Responses as bytes: heads, short bodies, and the generator of long ones.

use std::io::Write;

use crate::orders;
use crate::request::Persist;

/// What `GET /` is answered with: 100 bytes, head and body together.
pub const CANNED_RESPONSE: &[u8; 100] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 35\r\n\
    \r\n\
    the canned response of loadr-target";
/// The body of [`CANNED_RESPONSE`].
const CANNED_BODY: &[u8] = b"the canned response of loadr-target";

/// The alphabet over and over; long enough for the longest piece from any phase of it.
static PATTERN: [u8; PIECE_BYTES + ALPHABET] = {
    let mut pattern = [0; PIECE_BYTES + ALPHABET];
    let mut i = 0;
    while i < pattern.len() {
        pattern[i] = b'a' + (i % ALPHABET) as u8;
        i += 1;
    }
    pattern
};
const ALPHABET: usize = 26;
/// The most bytes that are rendered, and sent, at once.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// The longest chunk of a chunked body; a short body is cut into four.
const CHUNK_BYTES_MAX: u64 = 16 * 1024;
/// Room for a chunk's size line and the line end after it.
const CHUNK_FRAME_BYTES: usize = 32;
/// Room for the last chunk with its trailer.
const LAST_CHUNK_BYTES: usize = 64;

/// What the response to one request has to look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) persist: Persist,
    /// A request of method HEAD: the response has no body.
    pub(crate) is_head: bool,
    /// HTTP/1.0: no chunked body.
    pub(crate) is_old: bool,
}

/// Writes a whole response with the header lines `lines` (each with its line end).
pub(crate) fn write(out: &mut Vec<u8>, form: Form, status: u16, lines: &[u8], body: &[u8]) {
    // RFC 9110, 8.6: 204 has no length.
    let length = (status != 204).then_some(body.len() as u64);
    write_head(out, form.persist, status, lines, length);
    if !form.is_head && has_body(status) {
        out.extend_from_slice(body);
    }
}

/// Writes a response that caches keep.
pub(crate) fn write_cached(out: &mut Vec<u8>, form: Form) {
    let lines = b"Content-Type: text/plain\r\nCache-Control: max-age=600\r\nETag: \"1\"\r\n";
    write(out, form, 200, lines, b"this response may be kept");
}

/// Writes a response's head.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    persist: Persist,
    status: u16,
    lines: &[u8],
    length: Option<u64>,
) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
    out.extend_from_slice(lines);
    match persist {
        Persist::Stay => {}
        Persist::StaySaid => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persist::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
    if let Some(length) = length {
        let _ = write!(out, "Content-Length: {length}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a response of this status can have a body.
fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

pub(crate) fn write_canned(out: &mut Vec<u8>, form: Form) {
    if form.persist == Persist::Stay && !form.is_head {
        out.extend_from_slice(CANNED_RESPONSE);
    } else {
        write(out, form, 200, b"Content-Type: text/plain\r\n", CANNED_BODY);
    }
}

/// A status with its name as the body.
pub(crate) fn write_status(out: &mut Vec<u8>, form: Form, status: u16) {
    let body = if has_body(status) { reason(status) } else { "" };
    let lines: &[u8] = match status {
        300..=303 | 307 | 308 => b"Location: /\r\n",
        _ => b"",
    };
    write(out, form, status, lines, body.as_bytes());
}

pub(crate) fn write_headers(out: &mut Vec<u8>, form: Form) {
    let lines = b"X-Simple: one\r\n\
        x-lower: two\r\n\
        X-UPPER: THREE\r\n\
        X-MiXeD-cAsE: Four\r\n\
        X-Repeated: first\r\n\
        x-repeated: second\r\n\
        X-REPEATED: third\r\n\
        X-Empty:\r\n\
        X-Padded:  \t padded \t \r\n\
        X-Unspaced:close\r\n\
        X-Token: token-0123456789\r\n\
        Set-Cookie: session=abc123; Path=/; HttpOnly\r\n\
        Set-Cookie: theme=dark; Path=/\r\n\
        Content-Type: application/json\r\n";
    write(out, form, 200, lines, b"{\"headers\":true}");
}

/// The page that shows order `number`: about 1 KiB, always of the same length.
pub(crate) fn write_order(out: &mut Vec<u8>, form: Form, number: u64) {
    const BEFORE: &str = concat!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Your order</title>\n",
        "<style>body{font:16px sans-serif;margin:2em auto;max-width:40em}table{border-collapse:collapse}",
        "td,th{border:1px solid #ccc;padding:.3em .8em}</style>\n</head>\n<body>\n<h1>Thank you</h1>\n",
        "<p>Your order has been received and will be confirmed in a moment.</p>\n<!-- order: id=ORDER-",
    );
    const AFTER: &str = concat!(
        "; -->\n<table>\n<tr><th>Item</th><th>Count</th><th>Price</th></tr>\n",
        "<tr><td>Notebook, ruled, 96 pages</td><td>2</td><td>7.80</td></tr>\n",
        "<tr><td>Fountain pen, fine nib</td><td>1</td><td>24.50</td></tr>\n",
        "<tr><td>Ink, blue-black, 50 ml</td><td>1</td><td>9.20</td></tr>\n",
        "<tr><td>Blotting paper, 20 sheets</td><td>1</td><td>3.10</td></tr>\n",
        "<tr><td>Pencil, HB, box of 12</td><td>1</td><td>5.60</td></tr>\n",
        "<tr><td>Shipping</td><td></td><td>3.90</td></tr>\n",
        "<tr><th>Total</th><th></th><th>61.90</th></tr>\n</table>\n",
        "<p>Questions? Write to <a href=\"mailto:orders@example.test\">orders@example.test</a> ",
        "and name the order above.</p>\n</body>\n</html>\n",
    );
    let lines = b"Content-Type: text/html; charset=utf-8\r\n";
    let length = (BEFORE.len() + orders::DIGITS + AFTER.len()) as u64;
    write_head(out, form.persist, 200, lines, Some(length));
    if !form.is_head {
        let _ = write!(out, "{BEFORE}{number}{AFTER}");
    }
}

pub(crate) fn write_confirmation(out: &mut Vec<u8>, form: Form, number: u64) {
    // Braces, quotes and names, and a number of fixed length.
    const LENGTH: u64 = 38 + orders::DIGITS as u64;
    let lines = b"Content-Type: application/json\r\n";
    write_head(out, form.persist, 200, lines, Some(LENGTH));
    if !form.is_head {
        let _ = write!(
            out,
            "{{\"order\":\"ORDER-{number}\",\"state\":\"confirmed\"}}"
        );
    }
}

/// A body of the alphabet over and over that is made as it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Bytes of body made so far, and in all.
    made: u64,
    total: u64,
    /// Bytes of a chunk; 0: the body is not chunked.
    chunk: u64,
    is_done: bool,
}

impl Stream {
    pub(crate) fn plain(total: u64) -> Self {
        Self {
            made: 0,
            total,
            chunk: 0,
            is_done: total == 0,
        }
    }

    pub(crate) fn chunked(total: u64) -> Self {
        Self {
            made: 0,
            total,
            chunk: total.div_ceil(4).clamp(1, CHUNK_BYTES_MAX),
            is_done: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Appends to `out` while it is below [`PIECE_BYTES`].
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>) {
        if self.chunk == 0 {
            let room = PIECE_BYTES.saturating_sub(out.len()) as u64;
            self.content(out, room.min(self.total - self.made));
            self.is_done = self.made == self.total;
            return;
        }
        while !self.is_done {
            let len = self.chunk.min(self.total - self.made);
            let needed = len as usize + CHUNK_FRAME_BYTES + LAST_CHUNK_BYTES;
            if out.len() + needed > PIECE_BYTES {
                return;
            }
            self.write_chunk(out, len);
        }
    }

    fn write_chunk(&mut self, out: &mut Vec<u8>, len: u64) {
        if len == 0 {
            out.extend_from_slice(b"0\r\n");
            if self.total % 2 == 1 {
                let _ = write!(out, "X-Total: {}\r\n", self.total);
            }
            out.extend_from_slice(b"\r\n");
            self.is_done = true;
            return;
        }
        let index = self.made / self.chunk;
        let _ = if index % 2 == 1 {
            write!(out, "{len:X};index={index}\r\n")
        } else {
            write!(out, "{len:x}\r\n")
        };
        self.content(out, len);
        out.extend_from_slice(b"\r\n");
    }

    /// The next `len` bytes of content; at most [`PIECE_BYTES`].
    fn content(&mut self, out: &mut Vec<u8>, len: u64) {
        let phase = (self.made % ALPHABET as u64) as usize;
        out.extend_from_slice(&PATTERN[phase..phase + len as usize]);
        self.made += len;
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        418 => "I'm a Teapot",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        persist: Persist::Stay,
        is_head: false,
        is_old: false,
    };

    #[test]
    fn the_canned_response_is_a_response_whose_length_is_right() {
        let mut rendered = Vec::new();
        write(
            &mut rendered,
            FORM,
            200,
            b"Content-Type: text/plain\r\n",
            CANNED_BODY,
        );
        assert_eq!(rendered, CANNED_RESPONSE);
    }

    #[test]
    fn announced_lengths_are_those_of_the_bodies() {
        for render in [write_order, write_confirmation] {
            let mut out = Vec::new();
            render(&mut out, FORM, 1_234_567_890_123_456);
            let text = String::from_utf8_lossy(&out);
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.ends_with(&format!("Content-Length: {}", body.len())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_stream_gives_all_its_bytes_in_pieces_of_bounded_size() {
        for total in [0, 1, 25, 26, 27, 65_535, 65_536, 65_537, 1 << 20] {
            let mut stream = Stream::plain(total);
            let mut all = Vec::new();
            while !stream.is_done() {
                let mut piece = Vec::new();
                stream.fill(&mut piece);
                assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
                all.extend(piece);
            }
            assert_eq!(all.len() as u64, total);
            assert!(
                all.iter()
                    .enumerate()
                    .all(|(i, &b)| b == b'a' + (i % 26) as u8)
            );
        }
    }
}
