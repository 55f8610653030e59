//! The page's HTTP server: a thread that accepts and one for each connection, with a bound on how many there are and on
//! how long each may take. A connection carries one request. There is little to it, so that little of it can be wrong; heads
//! are parsed by the library that the engine's own client uses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadr_engine::cores;
use serde_json::json;

use super::gate::{Gate, Refused};
use super::hub::{Hub, Told};
use super::request::{Request, Unreadable};
use super::steer::{Denied, Steer};

/// Browsers open up to six connections each.
const CONNECTIONS_MAX: usize = 64;
/// The whole request must be there by then.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A reader that takes nothing for so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Enough for what is done here; there may be one for each connection.
const STACK_BYTES: usize = 256 << 10;

const HTML: &str = include_str!("assets/page.html");
const CSS: &str = include_str!("assets/page.css");
const CHARTS: &str = include_str!("assets/charts.js");
const JS: &str = include_str!("assets/page.js");

struct Server {
    hub: Arc<Hub>,
    gate: Gate,
    steer: Steer,
    connections: AtomicUsize,
}

/// Listens, and answers until the process ends; the address with its port.
pub(super) fn start(
    address: SocketAddr,
    hub: Arc<Hub>,
    gate: Gate,
    steer: Steer,
    cores: &[usize],
) -> Result<SocketAddr, String> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot serve the page: the port {} is in use; name another, or write --ui alone for a free one",
            address.port()
        ),
        _ => format!("cannot serve the page at {address}: {error}"),
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    let server = Arc::new(Server {
        hub,
        gate,
        steer,
        connections: AtomicUsize::new(0),
    });
    let cores = cores.to_vec();
    thread::Builder::new()
        .name("page".to_owned())
        .spawn(move || {
            // The threads that it makes inherit where it may run.
            let _aside = cores::stand_aside(&cores);
            accept(&listener, &server);
        })
        .map_err(fail)?;
    Ok(bound)
}

fn accept(listener: &TcpListener, server: &Arc<Server>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            // Too many open files, most likely: the run needs them more.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let _ = stream.set_write_timeout(Some(WRITE_TIME));
        if server.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            let _ = stream.write_all(&plain(503, "too many connections to the page\n"));
            server.connections.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let slot = Slot(Arc::clone(server));
        // A thread that cannot be made drops the connection with its slot.
        let _ = thread::Builder::new()
            .name("page-reader".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || slot.0.serve(stream));
    }
}

/// One of the connections that there may be.
struct Slot(Arc<Server>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Reads until a point in time.
struct Until<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        (&mut &*self.stream).read(into)
    }
}

impl Server {
    /// Answers one request.
    fn serve(&self, mut stream: TcpStream) {
        let mut until = Until {
            stream: &stream,
            end: Instant::now() + REQUEST_TIME,
        };
        let request = match Request::read(&mut until) {
            Ok(request) => request,
            Err(Unreadable::Gone) => return,
            Err(Unreadable::Status(status)) => {
                let _ = stream.write_all(&plain(status, "the request cannot be read\n"));
                return close(&stream);
            }
        };
        let _busy = self.hub.busy();
        let (method, path) = (request.method.as_str(), request.path());
        let answer = match self.gate.admit(&request, method == "POST") {
            Err(Refused(status, why)) => plain(status, &format!("{why}\n")),
            Ok(()) => match (method, path) {
                ("GET", "/") => {
                    self.hub.page_given();
                    page()
                }
                ("GET", "/events") => {
                    // A reader that has gone away is no error of the run.
                    let _ = self.stream(&mut stream);
                    return close(&stream);
                }
                ("GET", "/summary.json") => match self.hub.summary() {
                    Some(summary) => response(200, "application/json", "", summary.as_bytes()),
                    None => plain(404, "the run is not over yet\n"),
                },
                ("POST", "/control") => self.control(&request),
                (_, "/" | "/events" | "/summary.json" | "/control") => {
                    plain(405, "not with this method\n")
                }
                _ => plain(404, "nothing is here: the page is at /\n"),
            },
        };
        let _ = stream.write_all(&answer);
        close(&stream);
    }

    fn control(&self, request: &Request) -> Vec<u8> {
        let is_json = request
            .header("content-type")
            .is_some_and(|kind| kind.split(';').next() == Some("application/json"));
        let (status, said) = if !is_json {
            (415, json!({ "error": "send application/json" }))
        } else {
            match self.steer.obey(&request.body) {
                Ok(()) => (200, json!({ "ok": true })),
                Err(Denied::Unknown(error)) => (400, json!({ "error": error })),
                Err(Denied::NotNow(error)) => (409, json!({ "error": error.to_string() })),
            }
        };
        response(status, "application/json", "", said.to_string().as_bytes())
    }

    /// Tells a reader everything until the end.
    fn stream(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.write_all(&head(200, "text/event-stream", ""))?;
        let (greeting, mut next) = self.hub.greet();
        stream.write_all(greeting.as_bytes())?;
        loop {
            match self.hub.tell(&mut next) {
                Told::Event(event) => stream.write_all(event.as_bytes())?,
                Told::Nothing => stream.write_all(b":\n\n")?,
                Told::End(event) => return stream.write_all(event.as_bytes()),
                Told::TooSlow => return Ok(()),
            }
        }
    }
}

/// Waits for the other side to close, so that what it has sent and nobody read does not cost it the answer.
fn close(stream: &TcpStream) {
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut until = Until {
        stream,
        end: Instant::now() + Duration::from_millis(500),
    };
    let mut rest = [0; 1 << 10];
    while matches!(until.read(&mut rest), Ok(n) if n > 0) {}
}

/// The page with all that it needs in it; a number that nobody can guess says which styles and scripts are its own.
fn page() -> Vec<u8> {
    let mut random = [0u8; 16];
    // Without one there are no scripts, and the browser says why.
    let nonce = match rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => random
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
        _ => String::new(),
    };
    let policy = format!(
        "Content-Security-Policy: default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    );
    let html = HTML
        .replace("{{nonce}}", &nonce)
        .replace("{{css}}", CSS)
        .replace("{{charts}}", CHARTS)
        .replace("{{js}}", JS);
    response(200, "text/html; charset=utf-8", &policy, html.as_bytes())
}

fn plain(status: u16, text: &str) -> Vec<u8> {
    response(status, "text/plain; charset=utf-8", "", text.as_bytes())
}

fn response(status: u16, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = head(
        status,
        kind,
        &format!("Content-Length: {}\r\n{more}", body.len()),
    );
    bytes.extend_from_slice(body);
    bytes
}

fn head(status: u16, kind: &str, more: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n{more}\r\n"
    )
    .into_bytes()
}
