//! A request, read with a limit on its bytes and on its time.

use std::io;
use std::time::{Duration, Instant};

use crate::connection::Connection;

/// The most header fields.
const HEADERS_MAX: usize = 64;
/// Fields of which two are read differently by different readers.
const ONCE: [&str; 4] = ["host", "origin", "authorization", "content-length"];

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of its head.
    pub head_bytes: usize,
    /// The most bytes of its body.
    pub body_bytes: usize,
    /// How long it may take to arrive.
    pub time: Duration,
}

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// As it was sent.
    pub method: String,
    target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// As many bytes as its length says.
    pub body: Vec<u8>,
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Nobody is there to be answered.
    Gone,
    /// What to answer: a status, and why.
    Refused(u16, &'static str),
}

const LATE: Unreadable = Unreadable::Refused(408, "the request did not come in time");

impl Request {
    /// Reads one.
    ///
    /// # Errors
    /// When it is too large, too slow, doubtful, or none.
    pub fn read(from: &mut impl Connection, limits: &Limits) -> Result<Self, Unreadable> {
        let until = Instant::now() + limits.time;
        let mut bytes = Vec::with_capacity(2 << 10);
        let (mut request, head_len) = loop {
            if let Some(parsed) = Self::parse_head(&bytes)? {
                break parsed;
            }
            if bytes.len() >= limits.head_bytes {
                return Err(Unreadable::Refused(431, "the request's head is too large"));
            }
            read_some(from, &mut bytes, until)?;
        };
        let length = request.body_length(limits)?;
        while bytes.len() < head_len + length {
            read_some(from, &mut bytes, until)?;
        }
        request.body = bytes[head_len..head_len + length].to_vec();
        Ok(request)
    }

    /// The request without its body and how long its head is, when that is whole.
    fn parse_head(bytes: &[u8]) -> Result<Option<(Self, usize)>, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Unreadable::Refused(
                    431,
                    "the request has too many header fields",
                ));
            }
            Err(_) => return Err(Unreadable::Refused(400, "this is no HTTP/1.1 request")),
        };
        let mut fields = Vec::with_capacity(head.headers.len());
        for header in head.headers.iter() {
            let Ok(value) = str::from_utf8(header.value) else {
                return Err(Unreadable::Refused(400, "a header field is not UTF-8"));
            };
            fields.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let is_twice = |name: &&str| fields.iter().filter(|(known, _)| known == name).count() > 1;
        if ONCE.iter().any(is_twice) {
            return Err(Unreadable::Refused(
                400,
                "a header field that there must be one of is there twice",
            ));
        }
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            headers: fields,
            body: Vec::new(),
        };
        Ok(Some((request, length)))
    }

    fn body_length(&self, limits: &Limits) -> Result<usize, Unreadable> {
        if self.header("transfer-encoding").is_some() {
            return Err(Unreadable::Refused(411, "a body needs a Content-Length"));
        }
        let Some(digits) = self.header("content-length") else {
            return Ok(0);
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Unreadable::Refused(400, "the Content-Length is no number"));
        }
        match digits.parse() {
            Ok(length) if length <= limits.body_bytes => Ok(length),
            _ => Err(Unreadable::Refused(413, "the request's body is too large")),
        }
    }

    /// The value of a header field, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(value)
    }

    /// Every value of a header field that there may be several of.
    pub fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let named = self.headers.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// What comes before `?`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, as it stands there.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

fn read_some(
    from: &mut impl Connection,
    bytes: &mut Vec<u8>,
    until: Instant,
) -> Result<(), Unreadable> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || from.set_timeout(left).is_err() {
        return Err(LATE);
    }
    let mut some = [0; 2 << 10];
    match from.read(&mut some) {
        Ok(0) => Err(Unreadable::Gone),
        Ok(len) => {
            bytes.extend_from_slice(&some[..len]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(LATE),
        Err(_) => Err(Unreadable::Gone),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        head_bytes: 8 << 10,
        body_bytes: 1 << 10,
        time: Duration::from_secs(5),
    };

    /// What is read of pieces, after which nothing comes.
    fn of(pieces: &[&[u8]]) -> Result<Request, Unreadable> {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let writer = std::thread::spawn(move || {
            for piece in pieces {
                // Who has refused it reads no more.
                let _ = there.write_all(&piece);
            }
        });
        let read = Request::read(&mut here, &LIMITS);
        drop(here);
        writer.join().unwrap();
        read
    }

    #[test]
    fn a_request_is_read_in_whatever_pieces_it_comes() {
        let whole = b"POST /control?token=a&b=c HTTP/1.1\r\nHost: x\r\nOrigin:  http://x \r\nContent-Length: 3\r\n\r\nabcrest";
        for cut in 0..whole.len() {
            let request = of(&[&whole[..cut], &whole[cut..]]).unwrap();
            assert_eq!(
                (request.method.as_str(), request.path()),
                ("POST", "/control")
            );
            assert_eq!((request.query("b"), request.query("c")), (Some("c"), None));
            assert_eq!(
                (
                    request.header("host"),
                    request.header("origin"),
                    &request.body[..]
                ),
                (Some("x"), Some("http://x"), &b"abc"[..])
            );
        }
    }

    #[test]
    fn what_is_too_large_doubtful_or_no_request_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20_000));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX + 1)
        );
        for (text, status) in [
            ("", None),
            ("GET / HTTP/1.1\r\n", None),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", None),
            (long.as_str(), Some(431)),
            (&many, Some(431)),
            ("nonsense\r\n\r\n", Some(400)),
            ("\u{16}\u{3}\u{1}", Some(400)),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Some(400)),
            (
                "GET / HTTP/1.1\r\nAuthorization: a\r\nauthorization: b\r\n\r\n",
                Some(400),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                Some(400),
            ),
            ("POST / HTTP/1.1\r\nContent-Length: 1025\r\n\r\n", Some(413)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Some(413),
            ),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", Some(400)),
            ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\na", Some(400)),
            ("POST / HTTP/1.1\r\nContent-Length: \r\n\r\n", Some(400)),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some(411),
            ),
        ] {
            let said = match of(&[text.as_bytes()]).unwrap_err() {
                Unreadable::Gone => None,
                Unreadable::Refused(status, _) => Some(status),
            };
            assert_eq!(said, status, "{text:.60}");
        }
        assert_eq!(
            of(&[b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"]).unwrap_err(),
            Unreadable::Refused(400, "a header field is not UTF-8")
        );
    }

    #[test]
    fn one_that_does_not_come_is_not_waited_for() {
        let (mut here, _there) = UnixStream::pair().unwrap();
        let limits = Limits {
            time: Duration::from_millis(50),
            ..LIMITS
        };
        assert_eq!(Request::read(&mut here, &limits).unwrap_err(), LATE);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = of(&[&bytes]);
            let _ = of(&[b"POST /control HTTP/1.1\r\n", &bytes]);
        }
    }
}
