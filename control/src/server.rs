//! Listens, and answers each connection on a thread of its own; so many at once and no more.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadr_engine::Control;

use crate::api::{Answer, answer};
use crate::http::{Connection, Request, read, write};
use crate::place;

/// The most connections at once.
const CONNECTIONS_MAX: usize = 16;

/// How long is waited for an answered client to close. One that is refused holds up the next.
const ANSWERED_LINGER: Duration = Duration::from_secs(1);
const REFUSED_LINGER: Duration = Duration::from_millis(20);

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
        let check = Arc::new(check);
        let open = Arc::new(AtomicUsize::new(0));
        let listen = move || {
            while !over.load(Ordering::Acquire) {
                let Ok(connection) = accept() else {
                    // No descriptor is left, for one: it may be better later.
                    thread::sleep(Duration::from_millis(50));
                    continue;
                };
                if over.load(Ordering::Acquire) {
                    return;
                }
                let (control, check, open) =
                    (control.clone(), Arc::clone(&check), Arc::clone(&open));
                serve(connection, control, check, open);
            }
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

/// One connection, on a thread of its own if there are few enough.
fn serve<C: Connection + Send + 'static>(
    mut connection: C,
    control: Control,
    check: Arc<impl Fn(&Request) -> Result<(), Answer> + Send + Sync + 'static>,
    open: Arc<AtomicUsize>,
) {
    if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::AcqRel);
        // Whoever has gone away needs no answer.
        let answer = Answer::error(503, "too many connections");
        let _ = write(&mut connection, &answer, REFUSED_LINGER);
        return;
    }
    let left = Left(open);
    let work = move || {
        let _left = left;
        let answer = match read(&mut connection) {
            Ok(request) => check(&request)
                .err()
                .unwrap_or_else(|| answer(&control, &request.method, &request.path, &request.body)),
            Err(Some(answer)) => answer,
            Err(None) => return,
        };
        let _ = write(&mut connection, &answer, ANSWERED_LINGER);
    };
    // Without a thread the connection is closed, and counted no more.
    let _ = thread::Builder::new()
        .name("control-answer".to_owned())
        .spawn(work);
}

/// Counts a connection off, whatever became of it.
struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
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
    if !request.host.as_deref().is_some_and(is_here) {
        let why = format!("the Host must be 127.0.0.1:{port} or localhost:{port}");
        return Err(Answer::error(403, &why));
    }
    match request.origin.as_deref() {
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
