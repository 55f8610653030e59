//! The way to a NATS server, and what is sent over it without ever waiting for it.

use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};

use crate::message::{BYTES_MAX, Message, NAME_MAX, Part, Unread};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes back for three of these is made anew.
const PING: Duration = Duration::from_secs(2);
/// The longest wait before a connection is tried again.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// What waits to be sent, and what waits to be read: messages. Past that they are dropped and counted.
const QUEUE: usize = 512;
const INCOMING: usize = 8_192;
/// What a message has beside its body.
const HEAD_BYTES: usize = 4 << 10;
/// No part of a body is larger, whatever the server takes.
const PART_BYTES_MAX: usize = 512 << 10;
/// The most of a body that is read, all its parts together.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// Which NATS server, and how it is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Bus {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`, with a user, a password or a token in it where the server wants them;
    /// several servers of a cluster with commas between them.
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// The roots to trust, in PEM form; the system's when absent.
    pub ca: Option<PathBuf>,
    /// The client's certificate and its key, in PEM form.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What has gone wrong on the way; counted, and told at the end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Not sent, because too much waited already.
    pub(crate) dropped: AtomicU64,
    /// Not read: not of this version, malformed, too large.
    pub(crate) unread: AtomicU64,
    /// Read too slowly.
    pub(crate) overrun: AtomicU64,
    /// Times the connection was lost.
    pub(crate) lost: AtomicU64,
}

impl Tally {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// For people; nothing when nothing went wrong.
    pub(crate) fn notes(&self) -> Vec<String> {
        let say = |counter: &AtomicU64, what: &str| {
            let count = counter.load(Ordering::Relaxed);
            (count > 0).then(|| format!("bus: {what}: {count}"))
        };
        [
            say(&self.lost, "times the connection was lost and made anew"),
            say(&self.dropped, "messages not sent because too many waited"),
            say(
                &self.overrun,
                "times messages came faster than they were read",
            ),
            say(
                &self.unread,
                "messages passed over that were malformed, too large or of another version",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Bus {
    /// The servers without user and password, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            _ => url.to_owned(),
        };
        let urls: Vec<String> = self.url.split(',').map(one).collect();
        loadr_engine::figures::inert(&urls.join(","))
    }

    fn servers(&self) -> Result<Vec<ServerAddr>, String> {
        let wrong = |why: &str| {
            format!(
                "--bus {}: {why}; write nats://HOST:PORT or tls://HOST:PORT",
                self.shown()
            )
        };
        let mut servers = Vec::new();
        for url in self.url.split(',') {
            let server: ServerAddr = url
                .trim()
                .parse()
                .map_err(|error| wrong(&format!("{error}")))?;
            if !matches!(server.scheme(), "nats" | "tls") {
                return Err(wrong(&format!(
                    "`{}` is no scheme of a bus",
                    server.scheme()
                )));
            }
            let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
            let host = authority.rsplit('@').next().unwrap_or_default();
            if host.trim().is_empty() || host.starts_with([':', '/']) {
                return Err(wrong("there is no host in it"));
            }
            servers.push(server);
        }
        Ok(servers)
    }

    /// Connects.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) async fn connect(&self, tally: &Arc<Tally>) -> Result<Client, String> {
        let servers = self.servers()?;
        let mut options = ConnectOptions::new()
            .name("loadr-fast")
            .connection_timeout(CONNECT)
            .ping_interval(PING)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(100)
                    .saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX))
                    .min(RECONNECT_MAX)
            })
            .client_capacity(QUEUE)
            .subscription_capacity(INCOMING);
        options = match Self::user(&servers) {
            User::None => options,
            User::Token(token) => options.token(token),
            User::Password(user, password) => options.user_and_password(user, password),
        };
        if let Some(path) = &self.credentials {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("--bus-creds {}: {error}", path.display()))?;
            options = options
                .credentials(&text)
                .map_err(|error| format!("--bus-creds {}: {error}", path.display()))?;
        }
        if let Some(path) = &self.ca {
            // Looked at here, where the path can be named.
            std::fs::metadata(path)
                .map_err(|error| format!("--bus-ca {}: {error}", path.display()))?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            for (flag, path) in [("--bus-cert", certificate), ("--bus-key", key)] {
                std::fs::metadata(path)
                    .map_err(|error| format!("{flag} {}: {error}", path.display()))?;
            }
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let counted = Arc::clone(tally);
        options = options.event_callback(move |event| {
            match event {
                Event::Disconnected => Tally::count(&counted.lost),
                Event::SlowConsumer(_) => Tally::count(&counted.overrun),
                _ => {}
            }
            async {}
        });
        options.connect(servers).await.map_err(|error| {
            let mut why = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !why.contains(&inner_text) {
                    let _ = write!(why, ": {inner_text}");
                }
                source = inner.source();
            }
            format!("cannot connect to the bus {}: {why}", self.shown())
        })
    }

    fn user(servers: &[ServerAddr]) -> User {
        let first = servers
            .iter()
            .find_map(|s| Some((s.username()?, s.password())));
        match first {
            None => User::None,
            Some((token, None)) => User::Token(decoded(token)),
            Some((user, Some(password))) => User::Password(decoded(user), decoded(password)),
        }
    }
}

enum User {
    None,
    Token(String),
    Password(String, String),
}

/// Without the percent-encoding of URLs.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |at: usize| {
        let digits = bytes.get(at + 1..at + 3)?;
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, hex(at)) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Checks the name of a fleet: it is a part of a subject.
///
/// # Errors
/// What it may have.
pub fn fleet_name(text: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "it must have 1 to {NAME_MAX} letters, digits, `-` or `_`"
        ))
    }
}

/// The subjects of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    fleet: String,
}

impl Subjects {
    /// What every fleet's [`Subjects::all`] fits.
    pub(crate) const ANY: &'static str = "loadr.*.all";

    pub(crate) fn new(fleet: &str) -> Self {
        Self {
            fleet: fleet.to_owned(),
        }
    }

    /// The fleet that a subject is of.
    pub(crate) fn fleet_of(subject: &str) -> Option<&str> {
        let mut parts = subject.split('.');
        let fleet = (parts.next()? == "loadr").then(|| parts.next())??;
        fleet_name(fleet).is_ok().then_some(fleet)
    }

    /// What all hear.
    pub(crate) fn all(&self) -> String {
        format!("loadr.{}.all", self.fleet)
    }

    /// What one segment hears.
    pub(crate) fn to(&self, index: u32) -> String {
        format!("loadr.{}.to.{index}", self.fleet)
    }

    /// What watchers hear of one segment.
    pub(crate) fn seconds(&self, index: u32) -> String {
        format!("loadr.{}.seconds.{index}", self.fleet)
    }

    /// What watchers hear of all segments.
    pub(crate) fn all_seconds(&self) -> String {
        format!("loadr.{}.seconds.*", self.fleet)
    }

    /// Where answers go.
    pub(crate) fn inbox(&self, id: u64) -> String {
        format!("loadr.{}.in.{id:016x}", self.fleet)
    }
}

/// A connection, and what is sent over it.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    pub(crate) subjects: Subjects,
    pub(crate) tally: Arc<Tally>,
}

impl Link {
    pub(crate) fn new(client: Client, fleet: &str, tally: Arc<Tally>) -> Self {
        Self {
            client,
            subjects: Subjects::new(fleet),
            tally,
        }
    }

    pub(crate) async fn subscribe(&self, subject: String) -> Result<Subscriber, String> {
        let failed = |why: String| format!("cannot listen on the bus at `{subject}`: {why}");
        match tokio::time::timeout(CONNECT, self.client.subscribe(subject.clone())).await {
            Ok(Ok(subscriber)) => Ok(subscriber),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the server does not answer".to_owned())),
        }
    }

    /// Sends what there is now, or drops it: nothing waits for the bus. Whether it goes.
    pub(crate) fn send(&self, subject: &str, message: &Message) -> bool {
        self.send_with(subject, None, message, &[])
    }

    /// [`Link::send`], with where the answer goes.
    pub(crate) fn ask(&self, subject: &str, reply: &str, message: &Message) -> bool {
        self.send_with(subject, Some(reply), message, &[])
    }

    pub(crate) fn send_with(
        &self,
        subject: &str,
        reply: Option<&str>,
        message: &Message,
        body: &[u8],
    ) -> bool {
        let (subject, bytes) = (subject.to_owned(), message.write(body));
        let sent = match reply {
            None => poll_once(self.client.publish(subject, bytes.into())),
            Some(reply) => {
                let reply = reply.to_owned();
                poll_once(self.client.publish_with_reply(subject, reply, bytes.into()))
            }
        };
        let is_sent = matches!(sent, Some(Ok(())));
        if !is_sent {
            Tally::count(&self.tally.dropped);
        }
        is_sent
    }

    /// Sends a body in as many parts as the server wants; whether all of them go.
    pub(crate) fn send_parts(
        &self,
        subject: &str,
        body: &[u8],
        message: impl Fn(Part) -> Message,
    ) -> bool {
        let taken = self.client.max_payload();
        let part_bytes = taken
            .saturating_sub(HEAD_BYTES)
            .clamp(1 << 10, PART_BYTES_MAX);
        let of = body.len().div_ceil(part_bytes).max(1);
        let part = |at: usize| Part {
            at: at as u32,
            of: of as u32,
        };
        if body.is_empty() {
            return self.send_with(subject, None, &message(part(0)), &[]);
        }
        body.chunks(part_bytes)
            .enumerate()
            .all(|(at, chunk)| self.send_with(subject, None, &message(part(at)), chunk))
    }

    /// Waits until what was sent has gone, but not for long.
    pub(crate) async fn flush(&self, most: Duration) {
        let _ = tokio::time::timeout(most, self.client.flush()).await;
    }

    /// Reads what came; what cannot be read is counted.
    pub(crate) fn read<'m>(
        &self,
        came: &'m async_nats::Message,
    ) -> Result<(Message, &'m [u8]), Unread> {
        let read = Message::read(&came.payload);
        // The server says in an empty message of its own that nobody listens yet.
        if read.is_err() && came.status.is_none() {
            Tally::count(&self.tally.unread);
        }
        read
    }
}

/// What a future that is ready at once gives. One that is not is dropped.
fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    // Without the turns that the runtime allots, or a burst would look like a full queue.
    let future = pin!(tokio::task::unconstrained(future));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A body that comes in parts: in their order, each once; anything else begins it anew.
#[derive(Default)]
pub(crate) struct Parts {
    /// What it is of, and how many parts are here.
    key: Option<(u64, u32)>,
    next: u32,
    bytes: Vec<u8>,
}

impl Parts {
    /// Takes a part of body `key`; the whole when it is the last.
    pub(crate) fn take(&mut self, key: u64, part: Part, bytes: &[u8]) -> Option<Vec<u8>> {
        if part.of == 1 {
            return Some(bytes.to_vec());
        }
        if part.at == 0 {
            (self.key, self.next) = (Some((key, part.of)), 0);
            self.bytes.clear();
        }
        let is_next = self.key == Some((key, part.of)) && self.next == part.at;
        if !is_next || self.bytes.len() + bytes.len() > BODY_BYTES_MAX {
            *self = Self::default();
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        self.next += 1;
        if self.next < part.of {
            return None;
        }
        self.key = None;
        Some(std::mem::take(&mut self.bytes))
    }
}

const _: () = assert!(PART_BYTES_MAX + HEAD_BYTES < BYTES_MAX);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bus(url: &str) -> Bus {
        Bus {
            url: url.to_owned(),
            ..Bus::default()
        }
    }

    #[test]
    fn a_url_shows_neither_user_nor_password_and_gives_them_to_the_server() {
        let two = bus("nats://me:p%40ss@a.example:4222,tls://b.example");
        assert_eq!(two.shown(), "nats://a.example:4222,tls://b.example");
        let servers = two.servers().unwrap();
        assert!(!servers[0].tls_required() && servers[1].tls_required());
        assert!(
            matches!(Bus::user(&servers), User::Password(user, password) if user == "me" && password == "p@ss")
        );
        let token = bus("nats://s3cret@h:1");
        assert!(
            matches!(Bus::user(&token.servers().unwrap()), User::Token(token) if token == "s3cret")
        );
        for url in ["http://h:1", "nats://", "ws://h", "nats://h:99999"] {
            let error = bus(url).servers().unwrap_err();
            assert!(error.contains("nats://HOST:PORT"), "{error}");
        }
        let error = bus("http://me:secret@h:1").servers().unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_fleets_name_is_a_part_of_its_subjects() {
        for name in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(NAME_MAX + 1)] {
            assert!(fleet_name(name).is_err(), "{name}");
        }
        let subjects = Subjects::new("night-7");
        assert_eq!(Subjects::fleet_of(&subjects.all()), Some("night-7"));
        assert_eq!(Subjects::fleet_of("other.x.all"), None);
        assert_eq!(Subjects::fleet_of("loadr"), None);
    }

    proptest! {
        #[test]
        fn parts_in_order_make_the_whole_and_nothing_else_does(
            body in proptest::collection::vec(any::<u8>(), 1..200),
            size in 1..40_usize,
            loses in any::<Option<prop::sample::Index>>(),
        ) {
            let chunks: Vec<&[u8]> = body.chunks(size).collect();
            let of = chunks.len() as u32;
            let lost = loses.map(|at| at.index(chunks.len()));
            let mut parts = Parts::default();
            let mut whole = None;
            for (at, chunk) in chunks.iter().enumerate() {
                if Some(at) != lost {
                    whole = whole.or(parts.take(7, Part { at: at as u32, of }, chunk));
                }
            }
            prop_assert_eq!(whole, lost.is_none().then_some(body));
        }
    }
}
