//! The head of a response: status, framing, whether the connection lives on (RFC 9112).

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};

use super::redirect::is_redirect;
use crate::error_kind::ErrorKind;

/// How many header fields there is room for without an allocation; the default of what a response may have.
pub(crate) const HEADERS_AT_HAND: usize = 128;
/// The most bytes that a response's head may have.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Room for the header fields of one response.
pub(crate) struct HeaderSpace<'b> {
    /// On the stack, and not initialised beyond what is used.
    few: [MaybeUninit<Header<'b>>; HEADERS_AT_HAND],
    /// Where the plan allows more, and there are more.
    many: Vec<Header<'b>>,
}

#[inline]
pub(crate) fn header_space<'b>() -> HeaderSpace<'b> {
    HeaderSpace {
        few: [const { MaybeUninit::uninit() }; HEADERS_AT_HAND],
        many: Vec::new(),
    }
}

/// What a request and the plan say of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) to_head_request: bool,
    /// The most header fields.
    pub(crate) headers_max: u32,
}

/// How the length of a response's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(u64),
    /// RFC 9112 section 7.1.
    Chunked,
    /// Until the connection is closed.
    UntilClose,
}

/// What is out of the ordinary in a head, as bits: whoever cares for none of them looks at one byte.
pub(crate) mod note {
    /// A redirect with a `Location`.
    pub(crate) const REDIRECT: u8 = 1;
    /// A `Set-Cookie`.
    pub(crate) const COOKIE: u8 = 2;
    /// A `Content-Encoding`.
    pub(crate) const CODED: u8 = 4;
    /// Nothing: every head has it, for whoever must look at each.
    pub(crate) const ANY: u8 = 128;
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length with the empty line.
    pub(crate) len: usize,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// Whether another request may follow on the connection.
    pub(crate) keep_alive: bool,
    /// Of [`note`].
    pub(crate) notes: u8,
}

impl Head {
    /// 1xx: another head follows.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

/// Reads a head from the start of `bytes`: `None` when it is not whole yet. The header fields are left in `space`
/// and returned.
#[inline]
pub(crate) fn parse<'s, 'b>(
    bytes: &'b [u8],
    space: &'s mut HeaderSpace<'b>,
    expected: Expected,
) -> Result<Option<(Head, &'s [Header<'b>])>, ErrorKind> {
    let mut response = httparse::Response::new(&mut []);
    let HeaderSpace { few, many } = space;
    let mut parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, few);
    let headers_max = expected.headers_max as usize;
    if parsed == Err(httparse::Error::TooManyHeaders) && headers_max > HEADERS_AT_HAND {
        // None is shorter than `a:` and its line end.
        many.resize(headers_max.min(bytes.len() / 3 + 1), EMPTY_HEADER);
        response = httparse::Response::new(many);
        parsed = ParserConfig::default().parse_response(&mut response, bytes);
    }
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(ErrorKind::HeaderLimit);
        }
        Err(_) => return Err(ErrorKind::Protocol),
    };
    if len > HEAD_BYTES_MAX {
        return Err(ErrorKind::HeaderLimit);
    }
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(ErrorKind::Protocol);
    };
    let headers: &'s [Header<'b>] = response.headers;
    if headers.len() > headers_max {
        return Err(ErrorKind::HeaderLimit);
    }
    let said = read_fields(headers)?;
    let keep_alive = if version == 0 {
        said.keep_alive && !said.close
    } else {
        !said.close
    };
    let framing = match (expected.to_head_request, status) {
        (true, _) | (_, 100..=199 | 204 | 304) => Framing::Length(0),
        _ => match (said.chunked, said.length) {
            // Both at once is how responses are smuggled (RFC 9112 section 6.3, item 3).
            (true, Some(_)) => return Err(ErrorKind::Protocol),
            (true, None) if version == 0 => return Err(ErrorKind::Protocol),
            (true, None) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        },
    };
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    let notes = note::ANY
        | if is_redirect(status) {
            said.notes
        } else {
            said.notes & !note::REDIRECT
        };
    // A status has three digits, of which the first is its class (RFC 9110 section 15).
    if status < 100 {
        return Err(ErrorKind::Protocol);
    }
    // 101 would hand the connection to another protocol, which was never asked for.
    if status == 101 {
        return Err(ErrorKind::Protocol);
    }
    Ok(Some((
        Head {
            len,
            status,
            framing,
            keep_alive,
            notes,
        },
        headers,
    )))
}

/// How much of `more` belongs to the head that begins with `begun`, and whether that is all of it: it ends with an empty
/// line.
pub(crate) fn rest_of_first(begun: &[u8], more: &[u8]) -> (usize, bool) {
    let mut line_at = 0;
    // What there is of the line that is not over yet, unless it cannot be an empty one.
    let seam = match begun {
        [] | [.., b'\n'] => 0,
        [b'\r'] | [.., b'\n', b'\r'] => 1,
        _ => 2,
    };
    while let Some(len) = memchr::memchr(b'\n', &more[line_at..]) {
        let line = &more[line_at..line_at + len];
        let seam = if line_at == 0 { seam } else { 0 };
        let is_empty = matches!((seam, line), (0, b"" | b"\r") | (1, b""));
        line_at += len + 1;
        if is_empty {
            return (line_at, true);
        }
    }
    (more.len(), false)
}

/// How many bytes of empty lines there are before the head (RFC 9112 section 2.2 has them ignored).
pub(crate) fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match &bytes[at..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return at,
        };
    }
}

/// Whether a field of the head that `bytes` begin with goes on in a further line.
#[cold]
pub(crate) fn is_folded(bytes: &[u8]) -> bool {
    let bytes = &bytes[empty_lines(bytes)..];
    let (len, _) = rest_of_first(&[], bytes);
    unfold(&mut bytes[..len].to_vec())
}

/// Puts spaces in the place of each line end within a field of the head (`obs-fold`, RFC 9112 section 5.2); whether there
/// was one. The first line has nothing to go on.
pub(crate) fn unfold(bytes: &mut [u8]) -> bool {
    let Some(first) = memchr::memchr(b'\n', bytes) else {
        return false;
    };
    let (mut at, mut is_folded) = (first + 1, false);
    while let Some(len) = memchr::memchr(b'\n', &bytes[at..]) {
        let end = at + len;
        if matches!(&bytes[at..end], b"" | b"\r") {
            // The head ends.
            break;
        }
        if matches!(bytes.get(end + 1), Some(b' ' | b'\t')) {
            is_folded = true;
            bytes[end] = b' ';
            if bytes[end - 1] == b'\r' {
                bytes[end - 1] = b' ';
            }
        }
        at = end + 1;
    }
    is_folded
}

#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    notes: u8,
}

#[inline]
fn read_fields(headers: &[Header<'_>]) -> Result<Said, ErrorKind> {
    let mut said = Said::default();
    for header in headers {
        // The length tells the names apart from nearly all others without looking at a byte.
        match header.name.len() {
            14 if is(header.name, b"content-length") => {
                let length = content_length(header.value).ok_or(ErrorKind::Protocol)?;
                if said.length.is_some_and(|before| before != length) {
                    return Err(ErrorKind::Protocol);
                }
                said.length = Some(length);
            }
            17 if is(header.name, b"transfer-encoding") => {
                // A second coding, or any but chunked, was never offered (RFC 9112 section 6.1).
                if said.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ErrorKind::Protocol);
                }
                said.chunked = true;
            }
            10 if is(header.name, b"connection") => {
                for option in header.value.split(|&b| b == b',') {
                    let option = option.trim_ascii();
                    said.close |= option.eq_ignore_ascii_case(b"close");
                    said.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            10 if is(header.name, b"set-cookie") => said.notes |= note::COOKIE,
            8 if is(header.name, b"location") => said.notes |= note::REDIRECT,
            16 if is(header.name, b"content-encoding") => {
                said.notes |= note::CODED;
            }
            _ => {}
        }
    }
    Ok(said)
}

/// Whether a field's name is this one, which is given in lower case and of letters and `-`: without a branch for each byte.
/// Of the characters of a name only a letter's other case becomes it with the bit that is set here.
#[inline]
fn is<const LEN: usize>(name: &str, lower: &[u8; LEN]) -> bool {
    let Ok(name) = <&[u8; LEN]>::try_from(name.as_bytes()) else {
        return false;
    };
    let mut differs = 0;
    for (byte, lower) in name.iter().zip(lower) {
        differs |= (byte | 0x20) ^ lower;
    }
    differs == 0
}

/// `1*DIGIT`, or a list of equal ones (RFC 9110 section 8.6); `None` for anything else and for overflow.
fn content_length(value: &[u8]) -> Option<u64> {
    let mut length = None;
    for part in value.split(|&b| b == b',') {
        let part = part.trim_ascii();
        if part.is_empty() {
            return None;
        }
        let mut number: u64 = 0;
        for &digit in part {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
        }
        if length.is_some_and(|before| before != number) {
            return None;
        }
        length = Some(number);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, ErrorKind> {
        within(text, HEADERS_AT_HAND)
    }

    fn within(text: &str, headers_max: usize) -> Result<Option<Head>, ErrorKind> {
        let expected = Expected {
            to_head_request: false,
            headers_max: headers_max as u32,
        };
        let mut space = header_space();
        let parsed = parse(text.as_bytes(), &mut space, expected)?;
        Ok(parsed.map(|(head, headers)| {
            assert!(headers.len() <= headers_max);
            head
        }))
    }

    #[test]
    fn framing_follows_the_rfc() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\nContent-LENGTH: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                Framing::Chunked,
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                Framing::Length(0),
                true,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                Framing::Length(0),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n",
                Framing::Length(0),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
                Framing::Length(0),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n",
                Framing::Length(0),
                true,
            ),
        ];
        for (text, framing, keep_alive) in cases {
            let head = head(text).unwrap().unwrap();
            assert_eq!(
                (head.framing, head.keep_alive),
                (framing, keep_alive),
                "{text}"
            );
            assert_eq!(head.len, text.len());
        }
    }

    #[test]
    fn ambiguous_and_malformed_heads_are_protocol_errors() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2 200\r\n\r\n",
        ] {
            assert_eq!(head(text), Err(ErrorKind::Protocol), "{text}");
        }
    }

    #[test]
    fn a_head_past_the_limits_is_a_header_limit_error() {
        let with = |fields: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(fields));
        for most in [1, 5, HEADERS_AT_HAND, HEADERS_AT_HAND + 1, 3000] {
            assert!(within(&with(most), most).unwrap().is_some(), "{most}");
            let past = within(&with(most + 1), most);
            assert_eq!(past, Err(ErrorKind::HeaderLimit), "{most}");
        }
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_BYTES_MAX));
        assert_eq!(head(&long), Err(ErrorKind::HeaderLimit));
        assert_eq!(
            head(&format!("{long}\r\n\r\n")),
            Err(ErrorKind::HeaderLimit)
        );
    }

    #[test]
    fn a_head_that_is_cut_anywhere_is_not_whole_yet() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(head(&text[..end]), Ok(None), "{end}");
        }
    }
}
