//! As much of HTTP/1.1 as one request a connection needs. Everything that is read has a limit in bytes and in time.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::api::Answer;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most header fields.
const FIELDS_MAX: usize = 64;
/// The most bytes of a request's body: one number and a name.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request may take to arrive.
const ARRIVE_TIME_MAX: Duration = Duration::from_secs(5);

/// What is read from and answered on, with a limit in time.
pub(crate) trait Connection: Read + Write {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
    /// Nothing more is written.
    fn end(&self) -> io::Result<()>;
}

impl Connection for std::os::unix::net::UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Connection for std::net::TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without its query.
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Reads one; the error is what to answer, or nothing when nobody is there to read it.
pub(crate) fn read(connection: &mut impl Connection) -> Result<Request, Option<Answer>> {
    let until = Instant::now() + ARRIVE_TIME_MAX;
    let mut bytes = Vec::new();
    let (mut request, length, head_len) = loop {
        if let Some(head) = parse(&bytes)? {
            break head;
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Some(Answer::error(431, "the request's head is too large")));
        }
        read_some(connection, &mut bytes, until)?;
    };
    if length > BODY_BYTES_MAX {
        return Err(Some(Answer::error(413, "the request's body is too large")));
    }
    while bytes.len() < head_len + length {
        read_some(connection, &mut bytes, until)?;
    }
    request.body = bytes[head_len..head_len + length].to_vec();
    Ok(request)
}

fn read_some(
    connection: &mut impl Connection,
    bytes: &mut Vec<u8>,
    until: Instant,
) -> Result<(), Option<Answer>> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || connection.set_timeout(left).is_err() {
        return Err(Some(Answer::error(408, "the request did not come in time")));
    }
    let mut buffer = [0; 2048];
    match connection.read(&mut buffer) {
        Ok(0) => Err(None),
        Ok(len) => {
            bytes.extend_from_slice(&buffer[..len]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Some(Answer::error(408, "the request did not come in time")))
        }
        Err(_) => Err(None),
    }
}

/// A whole head: the request without its body, how long that is, and how long the head.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Option<Answer>> {
    let bad = |why: &str| Some(Answer::error(400, why));
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let head_len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(&format!("this is no HTTP/1.1 request: {error}"))),
    };
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        host: None,
        origin: None,
        body: Vec::new(),
    };
    if let Some(query) = request.path.find('?') {
        request.path.truncate(query);
    }
    let mut length = None;
    for field in parsed.headers.iter() {
        let text = || String::from_utf8_lossy(field.value).trim().to_owned();
        let once = |value: &mut Option<String>| match value.replace(text()) {
            None => Ok(()),
            Some(_) => Err(bad(
                "a header field that there must be one of is there twice",
            )),
        };
        match field.name.to_ascii_lowercase().as_str() {
            "host" => once(&mut request.host)?,
            "origin" => once(&mut request.origin)?,
            "content-length" => once(&mut length)?,
            "transfer-encoding" => {
                return Err(Some(Answer::error(411, "a body needs a Content-Length")));
            }
            _ => {}
        }
    }
    let length = match length {
        None => 0,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .map_err(|_| bad("the Content-Length is no number"))?,
        Some(_) => return Err(bad("the Content-Length is no number")),
    };
    Ok(Some((request, length, head_len)))
}

/// Answers and ends the connection. What the other side still sends is read for so long: closed before, the connection
/// would be reset, and the answer lost with it.
pub(crate) fn write(
    connection: &mut impl Connection,
    answer: &Answer,
    linger: Duration,
) -> io::Result<()> {
    connection.set_timeout(ARRIVE_TIME_MAX)?;
    let Answer { status, body } = answer;
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let length = body.len() + 1;
    // Nothing here is for a cache, or for a browser to guess at.
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(format!("{head}{body}\n").as_bytes())?;
    connection.end()?;
    let until = Instant::now() + linger;
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        connection.set_timeout(left)?;
        if connection.read(&mut buffer)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixStream;

    use super::*;

    fn of(bytes: &[u8]) -> Result<Request, Option<u16>> {
        let (mut there, mut here) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || {
            for part in bytes.chunks(7) {
                // The reader may have had enough.
                if there.write_all(part).is_err() {
                    break;
                }
            }
            drop(there);
        });
        let request = read(&mut here).map_err(|answer| answer.map(|answer| answer.status));
        drop(here);
        writer.join().unwrap();
        request
    }

    #[test]
    fn a_request_is_read_in_whatever_pieces_it_comes() {
        let request = of(b"POST /vus?x=1 HTTP/1.1\r\nHost: a\r\norigin: http://a\r\ncontent-LENGTH: 3\r\n\r\n{ }ignored").unwrap();
        assert_eq!(
            (
                request.method.as_str(),
                request.path.as_str(),
                request.body.as_slice()
            ),
            ("POST", "/vus", &b"{ }"[..])
        );
        assert_eq!(
            (request.host.as_deref(), request.origin.as_deref()),
            (Some("a"), Some("http://a"))
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_bytes_break_it(
            start in proptest::sample::select(vec!["", "GET / HTTP/1.1\r\n", "POST /vus HTTP/1.1\r\nContent-Length: 5\r\n"]),
            pieces in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::collection::vec(proptest::num::u8::ANY, 0..40),
                    proptest::sample::select(vec![
                        b"\r\n".to_vec(), b"\r\n\r\n".to_vec(), b"Host: a".to_vec(), b"Origin:".to_vec(),
                        b"content-length: 18446744073709551615".to_vec(), b"?".to_vec(), b"{}".to_vec(),
                    ]),
                ],
                0..12,
            ),
        ) {
            let mut bytes = start.as_bytes().to_vec();
            bytes.extend(pieces.concat());
            if let Ok(Some((request, _, head_len))) = parse(&bytes) {
                proptest::prop_assert!(head_len <= bytes.len());
                proptest::prop_assert!(!request.path.contains('?'));
            }
        }
    }

    #[test]
    fn what_is_too_large_or_no_request_is_refused() {
        let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
        for (bytes, status) in [
            ("", None),
            ("GET / HTTP/1.1\r\n", None),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}", None),
            ("\u{16}\u{3}\u{1}", Some(400)),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Some(400)),
            ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", Some(400)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Some(400),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some(411),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n",
                Some(413),
            ),
            (&large, Some(431)),
            (&many, Some(400)),
        ] {
            assert_eq!(of(bytes.as_bytes()), Err(status), "{bytes:.60}");
        }
    }
}
