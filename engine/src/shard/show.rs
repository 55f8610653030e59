//! `--http-debug`: what one virtual user sends and gets, for people, on standard error. Secrets are taken out, control
//! bytes are shown as escapes, and of a body only its beginning.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;

use loadr_config::{OriginId, RequestId, Secrets};
use loadr_figures::inert;

use super::state::Shard;

/// How much of a body is shown.
const BODY_BYTES_MAX: usize = 1024;
/// How much of a message is kept: a head of any size that is taken, and what is shown of a body.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 + BODY_BYTES_MAX;
/// Header fields whose values are credentials, wherever they came from.
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];

/// One client's exchanges. Requests are numbered over all clients of the user.
#[derive(Default)]
pub(super) struct Shown {
    count: Rc<Cell<u64>>,
    /// Requests without a whole response, in the order in which they went out.
    sent: VecDeque<(u64, RequestId)>,
    /// The begin of the response that is coming, and how much came.
    response: Vec<u8>,
    response_len: usize,
}

impl Shown {
    /// For what the user does beside.
    pub(super) fn beside(&self) -> Box<Self> {
        Box::new(Self {
            count: Rc::clone(&self.count),
            ..Self::default()
        })
    }

    /// These bytes go out.
    #[cold]
    pub(super) fn sends(&mut self, shard: &Shard, id: RequestId, origin: OriginId, bytes: &[u8]) {
        let number = self.count.get() + 1;
        self.count.set(number);
        self.sent.push_back((number, id));
        let (name, address) = (&shard.program.requests[id.at()].name, shard.address(origin));
        let title = format!(
            "request {number} ({name}) to {address}, {} bytes",
            bytes.len()
        );
        let kept = &bytes[..bytes.len().min(MESSAGE_BYTES_MAX)];
        tell(&shard.program.secrets, &title, "> ", kept, bytes.len());
    }

    /// These bytes came.
    #[cold]
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let room = MESSAGE_BYTES_MAX - self.response.len();
        self.response
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.response_len += bytes.len();
    }

    /// The response is whole; so many of the last bytes that came are none of it.
    #[cold]
    pub(super) fn answered(&mut self, shard: &Shard, beyond: usize, duration_ns: u64) {
        let whole = self.response_len.saturating_sub(beyond);
        self.response.truncate(whole);
        let title = format!(
            "{}, {whole} bytes, {:.3} ms",
            self.next("response to request", shard),
            duration_ns as f64 / 1e6
        );
        tell(&shard.program.secrets, &title, "< ", &self.response, whole);
        self.response.clear();
        self.response_len = 0;
    }

    /// The connection is given up, with what was in flight on it.
    #[cold]
    pub(super) fn disconnected(&mut self, shard: &Shard) {
        while !self.sent.is_empty() {
            let title = format!("{}: no whole response", self.next("request", shard));
            let kept = std::mem::take(&mut self.response);
            tell(
                &shard.program.secrets,
                &title,
                "< ",
                &kept,
                self.response_len,
            );
            self.response_len = 0;
        }
    }

    fn next(&mut self, what: &str, shard: &Shard) -> String {
        match self.sent.pop_front() {
            Some((number, id)) => {
                let name = &shard.program.requests[id.at()].name;
                format!("{what} {number} ({name})")
            }
            None => what.to_owned(),
        }
    }
}

fn tell(secrets: &Secrets, title: &str, mark: &str, bytes: &[u8], whole: usize) {
    let text = message(secrets, title, mark, bytes, whole);
    // Nobody may be reading any more.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A message as it is shown: a title, then its lines behind a mark.
fn message(secrets: &Secrets, title: &str, mark: &str, bytes: &[u8], whole: usize) -> String {
    let mut out = inert(&secrets.redact(title));
    out.push('\n');
    let head_len = head_len(bytes);
    let (head, body) = bytes.split_at(head_len);
    let head = String::from_utf8_lossy(head);
    for line in secrets.redact(&head).lines() {
        let name = line.split(':').next().unwrap_or_default();
        let is_credential = CREDENTIALS.iter().any(|c| c.eq_ignore_ascii_case(name));
        let line = if is_credential && name.len() < line.len() {
            format!("{name}: ***")
        } else {
            inert(line)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{mark}{line}");
    }
    let shown = &body[..body.len().min(BODY_BYTES_MAX)];
    let shown_text = String::from_utf8_lossy(shown);
    for line in secrets.redact(&shown_text).lines() {
        let _ = writeln!(out, "{mark}{}", inert(line));
    }
    let more = whole.saturating_sub(head_len + shown.len());
    if more > 0 {
        let _ = writeln!(out, "{mark}… {more} bytes more");
    }
    out
}

/// How long the head is, with those of interim responses before it.
fn head_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(end) = memchr::memmem::find(&bytes[at..], b"\r\n\r\n") else {
            return if at == 0 { bytes.len() } else { at };
        };
        let is_interim = bytes[at..].starts_with(b"HTTP/1.1 1");
        at += end + 4;
        if !is_interim {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_inert_and_credentials_hidden() {
        let bytes = b"GET / HTTP/1.1\r\nAuthorization: Basic abc\r\nx: \x1b[2J\r\n\r\n\x07\xff\x1b]0;t\x07\nline";
        let text = message(&Secrets::default(), "request 1", "> ", bytes, bytes.len());
        assert_eq!(
            text,
            "request 1\n> GET / HTTP/1.1\n> Authorization: ***\n> x: \\u{1b}[2J\n> \n> \\u{7}\u{fffd}\\u{1b}]0;t\\u{7}\n> line\n"
        );
    }

    #[test]
    fn of_a_long_body_the_beginning_is_shown_and_the_rest_counted() {
        let bytes = [
            b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".as_slice(),
            &[b'x'; 2000],
        ]
        .concat();
        let text = message(
            &Secrets::default(),
            "response",
            "< ",
            &bytes,
            bytes.len() + 5,
        );
        let lines: Vec<&str> = text.lines().collect();
        let body = format!("< {}", "x".repeat(BODY_BYTES_MAX));
        assert_eq!(
            lines[1..],
            [
                "< HTTP/1.1 103 Hints",
                "< ",
                "< HTTP/1.1 200 OK",
                "< ",
                &body,
                "< … 981 bytes more"
            ]
        );
    }
}
