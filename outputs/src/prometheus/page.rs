//! The endpoint that is scraped: `GET /metrics` over HTTP/1.1, one answer a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loadr_config::Histograms;

use super::exposition::{protobuf, text};
use crate::second::Second;
use crate::tally::Tally;
use crate::totals::Totals;
use crate::worker::Sink;

/// The most bytes of a request.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// The most header fields of a request.
const HEADERS_MAX: usize = 64;
/// How long one request may take to come, and its answer to go.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(3);
/// The most connections at once; more are closed at once.
const CONNECTIONS_MAX: usize = 16;

/// The housekeeping thread's view of the endpoint.
pub(crate) struct Page {
    address: SocketAddr,
    linger: Duration,
    shared: Arc<Shared>,
}

/// What scrapes are answered from.
struct Shared {
    totals: Mutex<Totals>,
    histograms: Histograms,
    /// Whether there was a scrape at all.
    was_scraped: AtomicBool,
    /// Whether the totals are the run's last.
    is_final: AtomicBool,
    /// Whether those were scraped.
    is_done: AtomicBool,
    connections: AtomicUsize,
}

/// The output's thread's end: takes in seconds.
pub(crate) struct Scraped {
    shared: Arc<Shared>,
}

impl Page {
    /// Listens; what is scraped before the first second is empty.
    pub(crate) fn open(
        listen: &str,
        histograms: Histograms,
        linger: Duration,
    ) -> Result<(Self, Scraped), String> {
        let fail = |error: io::Error| format!("cannot listen at {listen}: {error}");
        let listener = TcpListener::bind(listen).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let shared = Arc::new(Shared {
            totals: Mutex::default(),
            histograms,
            was_scraped: AtomicBool::new(false),
            is_final: AtomicBool::new(false),
            is_done: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let own = Arc::clone(&shared);
        // It ends with the process: a scrape may come as long as that is there.
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                for stream in listener.incoming() {
                    match stream {
                        Ok(stream) => answer(stream, &own),
                        // Out of descriptors, say: not at once again.
                        Err(_) => thread::sleep(Duration::from_millis(50)),
                    }
                }
            })
            .map_err(fail)?;
        let scraped = Scraped {
            shared: Arc::clone(&shared),
        };
        let page = Self {
            address,
            linger,
            shared,
        };
        Ok((page, scraped))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn linger(&self) -> Duration {
        self.linger
    }

    /// Whether somebody scrapes and has not seen the end yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.shared.was_scraped.load(Ordering::Acquire)
            && self.shared.is_final.load(Ordering::Acquire)
            && !self.shared.is_done.load(Ordering::Acquire)
    }
}

impl Sink for Scraped {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        let mut totals = self
            .shared
            .totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for second in seconds {
            totals.add(second);
            tally.delivered(second.points.len());
        }
    }

    fn finish(&mut self, _tally: &Tally) {
        self.shared.is_final.store(true, Ordering::Release);
    }
}

/// Answers on a thread of its own, so that one slow client holds up no other.
fn answer(stream: TcpStream, shared: &Arc<Shared>) {
    if shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
        shared.connections.fetch_sub(1, Ordering::AcqRel);
        return;
    }
    let own = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            // A client that is gone is no error of ours.
            let _ = exchange(&stream, &own);
            own.connections.fetch_sub(1, Ordering::AcqRel);
        });
    if spawned.is_err() {
        shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn exchange(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let deadline = Instant::now() + EXCHANGE_TIMEOUT;
    stream.set_write_timeout(Some(EXCHANGE_TIMEOUT))?;
    let mut bytes = Vec::new();
    let request = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || bytes.len() >= REQUEST_BYTES_MAX {
            return respond(stream, "431 Request Header Fields Too Large", "", b"");
        }
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece)?;
        if n == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..n]);
        match Request::parse(&bytes) {
            Ok(Some(request)) => break request,
            Ok(None) => {}
            Err(()) => return respond(stream, "400 Bad Request", "", b""),
        }
    };
    if request.method != "GET" && request.method != "HEAD" {
        return respond(stream, "405 Method Not Allowed", "text/plain", b"GET it\n");
    }
    if request.path.split('?').next() != Some("/metrics") {
        return respond(
            stream,
            "404 Not Found",
            "text/plain",
            b"metrics are at /metrics\n",
        );
    }
    // Before the totals are read: what is read after it is final if this is.
    let is_final = shared.is_final.load(Ordering::Acquire);
    let (kind, body) = {
        let totals = shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.histograms == Histograms::Native && request.takes_protobuf {
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                protobuf(&totals),
            )
        } else {
            (
                "text/plain; version=0.0.4; charset=utf-8",
                text(&totals).into_bytes(),
            )
        }
    };
    let body = if request.method == "HEAD" {
        Vec::new()
    } else {
        body
    };
    respond(stream, "200 OK", kind, &body)?;
    shared.was_scraped.store(true, Ordering::Release);
    if is_final {
        shared.is_done.store(true, Ordering::Release);
    }
    Ok(())
}

fn respond(mut stream: &TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    takes_protobuf: bool,
}

impl Request {
    /// `None`: there is more to come.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ()> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(()),
        }
        let takes_protobuf = request.headers.iter().any(|header| {
            let value = String::from_utf8_lossy(header.value);
            header.name.eq_ignore_ascii_case("accept")
                && value.contains("application/vnd.google.protobuf")
                && value.contains("io.prometheus.client.MetricFamily")
        });
        Ok(Some(Self {
            method: request.method.unwrap_or_default().to_owned(),
            path: request.path.unwrap_or_default().to_owned(),
            takes_protobuf,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::second::Value;
    use crate::second::tests::{key, second};

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer, where the request was not read to its end.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn the_page_answers_what_is_asked_for_and_refuses_the_rest() {
        let (page, mut scraped) =
            Page::open("127.0.0.1:0", Histograms::Native, Duration::from_secs(1)).unwrap();
        let reqs = key(0, "http_reqs", &[]);
        let tally = Tally::default();
        scraped.deliver(
            &[Arc::new(second(5, &[(&reqs, Value::Counter(3))]))],
            &tally,
        );
        let at = page.address();
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\0\r\n\r\n", "400"),
        ] {
            let answer = ask(at, request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {answer}"
            );
        }
        let endless = format!("GET /metrics HTTP/1.1\r\nA: {}", "x".repeat(20_000));
        assert!(ask(at, &endless).contains("431"));
        let accept = "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";
        let answer = ask(at, &format!("GET /metrics HTTP/1.1\r\n{accept}\r\n"));
        assert!(
            answer.contains("content-type: application/vnd.google.protobuf"),
            "{answer}"
        );
        assert!(!page.is_awaited(), "the run is not over");
        scraped.finish(&tally);
        assert!(page.is_awaited());
        assert!(ask(at, "GET /metrics HTTP/1.1\r\n\r\n").ends_with("loadr_http_reqs_total 3\n"));
        let began = Instant::now();
        while page.is_awaited() {
            assert!(began.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Page::open(&address, Histograms::Classic, Duration::ZERO)
            .err()
            .unwrap();
        assert!(
            error.contains(&address) && error.contains("in use"),
            "{error}"
        );
    }
}
