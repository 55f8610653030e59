//! A request to the page, read with a bound on its size and on the time that it may take.

use std::io::Read;

/// The most that a head may have: browsers send well under a tenth of it.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// The most that a body may have: one small JSON object.
pub(super) const BODY_BYTES_MAX: usize = 1 << 10;

/// A whole request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why a request cannot be read: the status to answer with, or nothing to answer to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Gone,
    Status(u16),
}

impl Request {
    /// Reads one. The reader must give up by itself after a while.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, Unreadable> {
        let mut bytes = Vec::with_capacity(2 << 10);
        let (mut request, length) = loop {
            if let Some(parsed) = Self::parse_head(&bytes)? {
                break parsed;
            }
            if bytes.len() >= HEAD_BYTES_MAX {
                return Err(Unreadable::Status(431));
            }
            read_more(from, &mut bytes)?;
        };
        let of_body = request.body_length()?;
        while bytes.len() < length + of_body {
            read_more(from, &mut bytes)?;
        }
        request.body = bytes[length..length + of_body].to_vec();
        Ok(request)
    }

    /// The request without its body and how long its head is, when that is whole.
    fn parse_head(bytes: &[u8]) -> Result<Option<(Self, usize)>, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::Status(431)),
            Err(_) => return Err(Unreadable::Status(400)),
        };
        let mut fields = Vec::with_capacity(head.headers.len());
        for header in head.headers.iter() {
            let Ok(value) = str::from_utf8(header.value) else {
                return Err(Unreadable::Status(400));
            };
            fields.push((header.name.to_ascii_lowercase(), value.to_owned()));
        }
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            headers: fields,
            body: Vec::new(),
        };
        // Two of one of these are read differently by different readers.
        for name in ["host", "origin", "authorization", "content-length"] {
            if request.headers.iter().filter(|(n, _)| n == name).count() > 1 {
                return Err(Unreadable::Status(400));
            }
        }
        Ok(Some((request, length)))
    }

    fn body_length(&self) -> Result<usize, Unreadable> {
        if self.header("transfer-encoding").is_some() {
            return Err(Unreadable::Status(411));
        }
        let Some(value) = self.header("content-length") else {
            return Ok(0);
        };
        let is_number = value.bytes().all(|b| b.is_ascii_digit());
        match value.parse::<usize>() {
            Ok(length) if is_number && length <= BODY_BYTES_MAX => Ok(length),
            _ if is_number && !value.is_empty() => Err(Unreadable::Status(413)),
            _ => Err(Unreadable::Status(400)),
        }
    }

    /// The value of a header, by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(value)
    }

    /// What comes before `?`.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, as it stands there.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

fn read_more(from: &mut impl Read, bytes: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut some = [0; 2 << 10];
    match from.read(&mut some) {
        Ok(0) | Err(_) => Err(Unreadable::Gone),
        Ok(n) => {
            bytes.extend_from_slice(&some[..n]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Request, Unreadable> {
        Request::read(&mut text.as_bytes())
    }

    #[test]
    fn a_request_is_read_with_its_body() {
        let request = read(
            "POST /control?token=a&b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcrest",
        )
        .unwrap();
        assert_eq!(
            (request.method.as_str(), request.path()),
            ("POST", "/control")
        );
        assert_eq!((request.query("b"), request.query("c")), (Some("c"), None));
        assert_eq!(
            (request.header("host"), &request.body[..]),
            (Some("x"), &b"abc"[..])
        );
    }

    #[test]
    fn what_is_too_large_doubtful_or_no_request_is_refused() {
        let long = format!(
            "GET / HTTP/1.1\r\nA: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX + 1)
        );
        let cases = [
            (long.as_str(), Unreadable::Status(431)),
            (&many, Unreadable::Status(431)),
            ("nonsense\r\n\r\n", Unreadable::Status(400)),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                Unreadable::Status(400),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1025\r\n\r\n",
                Unreadable::Status(413),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Unreadable::Status(413),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
                Unreadable::Status(400),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
                Unreadable::Status(400),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Unreadable::Status(411),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
                Unreadable::Gone,
            ),
            ("GET / HTTP/1.1\r\nHos", Unreadable::Gone),
            ("", Unreadable::Gone),
        ];
        for (text, why) in cases {
            assert_eq!(read(text).unwrap_err(), why, "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Request::read(&mut &bytes[..]);
            let mut framed = b"POST /control HTTP/1.1\r\n".to_vec();
            framed.extend(bytes);
            let _ = Request::read(&mut &framed[..]);
        }
    }
}
