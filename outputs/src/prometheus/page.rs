//! The endpoint that is scraped: `GET /metrics` over HTTP/1.1, one answer a connection.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use loadr_config::Histograms;
use loadr_http::{Door, Limits, Request, Unreadable, answer, close, send};

use super::exposition::{protobuf, text};
use crate::second::Second;
use crate::tally::Tally;
use crate::totals::Totals;
use crate::worker::Sink;

const TEXT: &str = "text/plain";
const DOOR: Door = Door {
    name: "output",
    connections_max: 16,
    refusal: (TEXT, "too many connections\n"),
};
/// A scrape has no body; what has one is told that it must not.
const LIMITS: Limits = Limits {
    head_bytes: 8 << 10,
    body_bytes: 8 << 10,
    time: Duration::from_secs(3),
};
/// How long is waited for an answered client to close.
const LINGER: Duration = Duration::from_millis(500);

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
        });
        let own = Arc::clone(&shared);
        // It ends with the process: a scrape may come as long as that is there.
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let accept = || listener.accept().map(|(stream, _)| stream);
                DOOR.take(accept, || false, move |stream| exchange(stream, &own));
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

/// Answers a connection; a client that is gone is no error of ours.
fn exchange(mut stream: TcpStream, shared: &Shared) {
    let request = match Request::read(&mut stream, &LIMITS) {
        Ok(request) => request,
        Err(Unreadable::Gone) => return,
        Err(Unreadable::Refused(status, why)) => {
            return reply(&mut stream, &answer(status, TEXT, "", why.as_bytes()));
        }
    };
    let is_head = request.method == "HEAD";
    if request.method != "GET" && !is_head {
        return reply(&mut stream, &answer(405, TEXT, "", b"GET it\n"));
    }
    if request.path() != "/metrics" {
        let text = b"metrics are at /metrics\n";
        return reply(&mut stream, &answer(404, TEXT, "", text));
    }
    // Before the totals are read: what is read after it is final if this is.
    let is_final = shared.is_final.load(Ordering::Acquire);
    let (kind, body) = {
        let totals = shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.histograms == Histograms::Native && takes_protobuf(&request) {
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
    let body = if is_head { &[][..] } else { &body };
    if send(&mut stream, &answer(200, kind, "", body)).is_ok() {
        shared.was_scraped.store(true, Ordering::Release);
        if is_final {
            shared.is_done.store(true, Ordering::Release);
        }
        close(&mut stream, LINGER);
    }
}

fn reply(stream: &mut TcpStream, bytes: &[u8]) {
    if send(stream, bytes).is_ok() {
        close(stream, LINGER);
    }
}

fn takes_protobuf(request: &Request) -> bool {
    request.all("accept").any(|value| {
        value.contains("application/vnd.google.protobuf")
            && value.contains("io.prometheus.client.MetricFamily")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

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
            answer.contains("Content-Type: application/vnd.google.protobuf"),
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
