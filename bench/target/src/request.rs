//! A request's head: parsed, with its limits, into what the rest needs to know.

use httparse::Status;

use crate::body::Framing;

/// The longest head (request line and headers) that is taken, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest body that is taken or given, in bytes.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// The most header lines.
const HEADERS_MAX: usize = 128;

/// Why a request is refused; the connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    /// A transfer coding other than chunked.
    UnknownCoding,
}

impl Refusal {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::HeadTooLarge => 431,
            Self::BodyTooLarge => 413,
            Self::UnknownCoding => 501,
        }
    }
}

/// What becomes of the connection after the answer, and so which `Connection` header it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persist {
    /// HTTP/1.1's default: it stays, and no header says so.
    Stay,
    /// It stays because an HTTP/1.0 client asked; a header says so.
    StaySaid,
    Close,
}

pub(crate) struct Head<'a> {
    /// How many bytes it has, the empty line included.
    pub(crate) len: usize,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// HTTP/1.0, which knows no chunked body.
    pub(crate) is_old: bool,
    pub(crate) persist: Persist,
    pub(crate) framing: Framing,
    /// `Expect: 100-continue`.
    pub(crate) expects: bool,
}

impl<'a> Head<'a> {
    /// The head at the beginning of `bytes`, or `None` when it is not all there.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let len = match request.parse(bytes) {
            Ok(Status::Complete(len)) if len <= HEAD_BYTES_MAX => len,
            Ok(Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
            Err(_) => return Err(Refusal::Malformed),
        };
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(Refusal::Malformed);
        };
        let mut head = Self {
            len,
            method,
            target,
            is_old: version == 0,
            persist: Persist::Stay,
            framing: Framing::Length(0),
            expects: false,
        };
        head.read_headers(request.headers)?;
        Ok(Some(head))
    }

    fn read_headers(&mut self, headers: &[httparse::Header<'_>]) -> Result<(), Refusal> {
        let (mut hosts, mut length, mut chunked) = (0, None, false);
        let (mut close, mut keep) = (false, false);
        for header in headers {
            let (name, value) = (header.name, header.value.trim_ascii());
            if name.eq_ignore_ascii_case("host") {
                hosts += 1;
            } else if name.eq_ignore_ascii_case("content-length") {
                let this = number(value).ok_or(Refusal::Malformed)?;
                if length.is_some_and(|other| other != this) {
                    return Err(Refusal::Malformed);
                }
                length = Some(this);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::UnknownCoding);
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if name.eq_ignore_ascii_case("expect") {
                self.expects = value.eq_ignore_ascii_case(b"100-continue");
            }
        }
        // RFC 9112, 3.2: exactly one Host in HTTP/1.1. 6.3: a length beside a coding is not to be trusted.
        if hosts > 1
            || (hosts == 0 && !self.is_old)
            || (chunked && (length.is_some() || self.is_old))
        {
            return Err(Refusal::Malformed);
        }
        self.persist = match (close, self.is_old) {
            (false, false) => Persist::Stay,
            (false, true) if keep => Persist::StaySaid,
            (true, _) | (false, true) => Persist::Close,
        };
        self.framing = match length {
            _ if chunked => Framing::Chunked,
            Some(length) if length > BODY_BYTES_MAX => return Err(Refusal::BodyTooLarge),
            Some(length) => Framing::Length(length),
            None => Framing::Length(0),
        };
        Ok(())
    }
}

/// A number of nothing but decimal digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(head: &str) -> Refusal {
        match Head::parse(head.as_bytes()) {
            Err(refusal) => refusal,
            Ok(_) => panic!("taken: {head}"),
        }
    }

    #[test]
    fn a_head_says_how_long_it_is_and_what_follows() {
        let bytes = b"POST /a HTTP/1.1\r\nhost: x\r\nContent-LENGTH:  12 \r\n\r\nbody";
        let head = Head::parse(bytes).unwrap().unwrap();
        assert_eq!(
            (head.len, head.method, head.target),
            (bytes.len() - 4, "POST", "/a")
        );
        assert_eq!(head.framing, Framing::Length(12));
        assert_eq!(head.persist, Persist::Stay);
    }

    #[test]
    fn a_prefix_of_a_head_asks_for_more() {
        let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
        for len in 0..bytes.len() {
            assert!(Head::parse(&bytes[..len]).unwrap().is_none());
        }
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        let persist = |head: &str| Head::parse(head.as_bytes()).unwrap().unwrap().persist;
        assert_eq!(persist("GET / HTTP/1.0\r\n\r\n"), Persist::Close);
        assert_eq!(
            persist("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
            Persist::StaySaid
        );
        assert_eq!(
            persist("GET / HTTP/1.1\r\nHost: x\r\nConnection: te, Close\r\n\r\n"),
            Persist::Close
        );
    }

    #[test]
    fn what_is_ambiguous_or_too_large_is_refused() {
        let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Refusal::Malformed);
        assert_eq!(refusal(&with("Host: y")), Refusal::Malformed);
        assert_eq!(refusal(&with("Content-Length: -1")), Refusal::Malformed);
        assert_eq!(
            refusal(&with("Content-Length: 1\r\nContent-Length: 2")),
            Refusal::Malformed
        );
        assert_eq!(
            refusal(&with("Content-Length: 1\r\nTransfer-Encoding: chunked")),
            Refusal::Malformed
        );
        assert_eq!(
            refusal(&with("Transfer-Encoding: gzip")),
            Refusal::UnknownCoding
        );
        assert_eq!(
            refusal(&with("Content-Length: 99999999999")),
            Refusal::BodyTooLarge
        );
        assert_eq!(
            refusal(&with(&"A: b\r\n".repeat(200))),
            Refusal::HeadTooLarge
        );
        assert_eq!(
            refusal(&with(&format!("A: {}", "b".repeat(HEAD_BYTES_MAX)))),
            Refusal::HeadTooLarge
        );
    }
}
