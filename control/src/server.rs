//! Where a run listens, who may steer it from there, and what is answered.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadr_engine::Control;
use loadr_http::{Connection, Door, Limits, Request, Unreadable, close, send};

use crate::api::{Answer, answer};
use crate::place;

const JSON: &str = "application/json";
const DOOR: Door = Door {
    name: "control",
    connections_max: 16,
    refusal: (JSON, "{\"error\":\"too many connections\"}\n"),
};
/// A request's body is one number and a name.
const LIMITS: Limits = Limits {
    head_bytes: 8 << 10,
    body_bytes: 64 << 10,
    time: Duration::from_secs(5),
};
/// How long is waited for an answered client to close.
const ANSWERED_LINGER: Duration = Duration::from_secs(1);

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Server {
    is_over: Arc<AtomicBool>,
    place: Place,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
enum Place {
    /// The path, and the file's device and number: another run may have its own there by the end.
    Unix(PathBuf, (u64, u64)),
    Loopback(SocketAddr),
}

impl Server {
    /// Listens on a Unix socket of mode 0600.
    ///
    /// # Errors
    /// A sentence, when it cannot: another run listens there, or something else is there.
    pub fn unix(path: &Path, control: Control) -> Result<Self, String> {
        let listener = place::listen(path)?;
        let data = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Absolute, so that the end finds it whatever the folder is then.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let place = Place::Unix(path, (data.dev(), data.ino()));
        let accept = move || listener.accept().map(|(stream, _)| stream);
        Self::start(place, control, accept, |_| Ok(()))
    }

    /// Listens on TCP. Only on loopback, and only to programs and pages of this machine: there is no password.
    ///
    /// # Errors
    /// A sentence, when the address is not loopback, or cannot be listened on.
    pub fn loopback(address: SocketAddr, control: Control) -> Result<Self, String> {
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached from other machines, and there is no password: write 127.0.0.1:{}",
                address.port()
            ));
        }
        let failed = |error| format!("cannot listen on {address}: {error}");
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let accept = move || listener.accept().map(|(stream, _)| stream);
        Self::start(Place::Loopback(bound), control, accept, move |request| {
            is_from_here(request, bound)
        })
    }

    /// The address it listens on, when it is TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Unix(..) => None,
            Place::Loopback(address) => Some(address),
        }
    }

    fn start<C: Connection + Send + 'static>(
        place: Place,
        control: Control,
        accept: impl Fn() -> io::Result<C> + Send + 'static,
        check: impl Fn(&Request) -> Result<(), Answer> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let listen = move || {
            let is_over = || over.load(Ordering::Acquire);
            DOOR.take(accept, is_over, move |mut connection| {
                let answer = match Request::read(&mut connection, &LIMITS) {
                    Ok(request) => check(&request).err().unwrap_or_else(|| {
                        answer(&control, &request.method, request.path(), &request.body)
                    }),
                    Err(Unreadable::Refused(status, why)) => Answer::error(status, why),
                    Err(Unreadable::Gone) => return,
                };
                let body = format!("{}\n", answer.body);
                let bytes = loadr_http::answer(answer.status, JSON, "", body.as_bytes());
                // Whoever has gone away needs no answer.
                if send(&mut connection, &bytes).is_ok() {
                    close(&mut connection, ANSWERED_LINGER);
                }
            });
        };
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(listen)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            is_over,
            place,
            thread: Some(thread),
        })
    }
}

/// A page of another site must not steer a run through its reader's browser, whatever name it has for this machine.
fn is_from_here(request: &Request, bound: SocketAddr) -> Result<(), Answer> {
    let port = bound.port();
    let is_here = |host: &str| {
        // Without a port it is HTTP's.
        let named = |name: &str| {
            host.eq_ignore_ascii_case(&format!("{name}:{port}"))
                || port == 80 && host.eq_ignore_ascii_case(name)
        };
        host == bound.to_string() || ["127.0.0.1", "localhost", "[::1]"].into_iter().any(named)
    };
    if !request.header("host").is_some_and(is_here) {
        let why = format!("the Host must be 127.0.0.1:{port} or localhost:{port}");
        return Err(Answer::error(403, &why));
    }
    match request.header("origin") {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://").is_some_and(is_here) => Ok(()),
        Some(_) => Err(Answer::error(403, "the request comes from another site")),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Ends the wait for a connection.
        match &self.place {
            Place::Unix(path, file) => {
                let is_own = |path: &Path| {
                    fs::symlink_metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == *file)
                };
                if !is_own(path) || UnixStream::connect(path).is_err() {
                    // Somebody has removed it: the thread waits on for the process to end.
                    self.thread = None;
                }
                if is_own(path) {
                    let _ = fs::remove_file(path);
                }
            }
            Place::Loopback(address) => {
                if TcpStream::connect(address).is_err() {
                    self.thread = None;
                }
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
