//! What is at the page's addresses, and how it is given out: the page, the seconds as they pass, the summary, control.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use loadr_engine::cores;
use loadr_http::{Door, Limits, Request, Unreadable, close, send};
use serde_json::json;

use super::gate::{Gate, Refused};
use super::hub::{Hub, Told};
use super::steer::{Denied, Steer};

const TEXT: &str = "text/plain; charset=utf-8";
const DOOR: Door = Door {
    name: "page-reader",
    // Browsers open up to six each.
    connections_max: 64,
    refusal: (TEXT, "too many connections to the page\n"),
};
/// A head of a browser's has well under a tenth of this; a body is one small JSON object.
pub(super) const LIMITS: Limits = Limits {
    head_bytes: 16 << 10,
    body_bytes: 1 << 10,
    time: Duration::from_secs(5),
};
/// A reader that takes nothing for so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// How long is waited for an answered browser to close.
const LINGER: Duration = Duration::from_millis(500);
/// What no answer is without: a page of another site has no use for any of this.
const GUARD: &str = "Referrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\nCross-Origin-Resource-Policy: same-origin\r\n";

const HTML: &str = include_str!("assets/page.html");
const CSS: &str = include_str!("assets/page.css");
const CHARTS: &str = include_str!("assets/charts.js");
const JS: &str = include_str!("assets/page.js");

struct Server {
    hub: Arc<Hub>,
    gate: Gate,
    steer: Steer,
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
    let server = Arc::new(Server { hub, gate, steer });
    let cores = cores.to_vec();
    thread::Builder::new()
        .name("page".to_owned())
        .spawn(move || {
            // The threads that it makes inherit where it may run.
            let _aside = cores::stand_aside(&cores);
            let accept = || listener.accept().map(|(stream, _)| stream);
            DOOR.take(accept, || false, move |stream| server.serve(stream));
        })
        .map_err(fail)?;
    Ok(bound)
}

impl Server {
    /// Answers one request.
    fn serve(&self, mut stream: TcpStream) {
        let request = match Request::read(&mut stream, &LIMITS) {
            Ok(request) => request,
            Err(Unreadable::Gone) => return,
            Err(Unreadable::Refused(status, why)) => {
                return reply(&mut stream, &plain(status, &format!("{why}\n")));
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
                    return close(&mut stream, LINGER);
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
        reply(&mut stream, &answer);
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
        stream.set_write_timeout(Some(WRITE_TIME))?;
        stream.write_all(loadr_http::head(200, "text/event-stream", GUARD).as_bytes())?;
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

/// Whoever has gone away needs no answer.
fn reply(stream: &mut TcpStream, answer: &[u8]) {
    if send(stream, answer).is_ok() {
        close(stream, LINGER);
    }
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
    response(status, TEXT, "", text.as_bytes())
}

fn response(status: u16, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    loadr_http::answer(status, kind, &format!("{GUARD}{more}"), body)
}
