//! The built-in HTTP/1.1 target: a server that answers as cheaply as the kernel allows, so that a benchmark
//! measures the client. One thread per ring, each with its own listening socket on the same port; threads
//! share nothing that is written.
//!
//! | route | answer |
//! |---|---|
//! | `/` | the [canned response](CANNED_RESPONSE): 100 bytes, head and body together |
//! | `/cached` | a response that may be kept for ten minutes |
//! | `/bytes/N` | a body of `N` bytes (at most [`BODY_BYTES_MAX`]): `abc…z` over and over |
//! | `/chunked/N` | the same bytes, chunked; every second chunk has an extension, and there is a trailer when `N` is odd |
//! | `/status/CODE` | that status, 200 to 599 |
//! | `/delay/MS` | `200` after `MS` milliseconds (at most 60,000), while others are served |
//! | `/slots/MS` | the same in one of the eight places of a thread, once one is free: 8,000 ÷ `MS` a second and no more |
//! | `/echo` | the request's body; its method and target are in `X-Method` and `X-Target` |
//! | `/headers` | headers that are repeated, of mixed case, padded or empty |
//! | `/order` | a page of about 1 KiB that holds `id=ORDER-<n>;`, another `n` each time |
//! | `/orders/ORDER-<n>` | `{"order":"ORDER-<n>","state":"confirmed"}` if this target gave out that number, else 404 |
//! | `/close` | answers, then closes |
//! | `/drop` | closes without an answer |
//!
//! Anything else is 404. `HEAD` is answered on every route; other methods are treated as `GET` is, their body
//! (with a length or chunked) is read first. A request that is not HTTP/1.x is 400, a head above
//! [`HEAD_BYTES_MAX`] 431, a body above [`BODY_BYTES_MAX`] 413; each closes the connection.

mod body;
mod connection;
mod orders;
mod peer;
mod reply;
mod request;
mod routes;
mod tls;
mod worker;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use loadr_ring::{Port, RingWaker, SetupError};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

pub use reply::CANNED_RESPONSE;
pub use request::{BODY_BYTES_MAX, HEAD_BYTES_MAX};

use orders::Orders;
use worker::{Shared, Worker};

/// Where and with what a target runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to listen on, IPv4 or IPv6. Port 0: a free port, see [`Target::address`].
    pub address: SocketAddr,
    /// How many threads, each with a ring of its own; 0 is taken as 1.
    pub threads: usize,
    /// The cores to pin the threads to, in turn; `None`: wherever the system likes.
    pub cores: Option<Vec<usize>>,
    /// Whether each thread serves what comes from its own core, as a server with a thread a core does. What comes from cores
    /// without a thread is spread over all of them.
    pub by_core: bool,
    /// Whether it speaks TLS (1.2 and 1.3), with a certificate that it signs itself as it starts.
    pub is_tls: bool,
}

impl Settings {
    /// One thread, not pinned, on a free port of the IPv4 loopback.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 1,
            cores: None,
            by_core: false,
            is_tls: false,
        }
    }
}

/// Why a target could not start. [`fmt::Display`] says what to do about it.
#[derive(Debug)]
pub enum StartError {
    /// The kernel or a limit does not allow a ring.
    Ring(SetupError),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// No thread can be pinned to this core.
    Core(usize),
    /// No certificate can be made.
    Tls(io::Error),
    /// A thread cannot be made, or ended as it began.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => write!(f, "the target has no ring: {error}"),
            Self::Listen(address, error) => {
                write!(f, "the target cannot listen on {address}: {error}")
            }
            Self::Core(core) => {
                write!(
                    f,
                    "the target cannot be pinned to core {core}: is it in the affinity mask (`taskset -cp $$`)?"
                )
            }
            Self::Tls(error) => write!(f, "the target has no certificate: {error}"),
            Self::Thread(error) => write!(f, "the target has no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ring(error) => Some(error),
            Self::Listen(_, error) | Self::Tls(error) | Self::Thread(error) => Some(error),
            Self::Core(_) => None,
        }
    }
}

/// A running target. Dropping it stops it.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
    threads: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    waker: RingWaker,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    /// Starts the threads; when this returns, connections are accepted.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let orders = Orders::new();
        let tls = settings
            .is_tls
            .then(|| tls::config(settings.address.ip()))
            .transpose()
            .map_err(StartError::Tls)?;
        let (tls, certificate) = tls.unzip();
        // Dropped on an early return, which stops the threads made so far.
        let mut target = Self {
            address: settings.address,
            certificate,
            threads: Vec::new(),
        };
        let threads = settings.threads.max(1);
        for index in 0..threads {
            let core = match settings.cores.as_deref() {
                Some(cores @ [_, ..]) => Some(cores[index % cores.len()]),
                _ => None,
            };
            let orders = orders.share(index as u64, threads as u64);
            let port = match core {
                Some(core) if settings.by_core => Port::SharedByCore(core),
                _ => Port::Shared,
            };
            target.add_thread(index, (core, port), (orders, tls.clone()))?;
        }
        Ok(target)
    }

    fn add_thread(
        &mut self,
        index: usize,
        (core, port): (Option<usize>, Port),
        (orders, tls): (Orders, Option<Arc<ServerConfig>>),
    ) -> Result<(), StartError> {
        let shared = Arc::new(Shared::default());
        let (started, outcome) = mpsc::channel();
        let address = self.address;
        let thread = thread::Builder::new()
            .name(format!("target-{index}"))
            .spawn({
                let shared = Arc::clone(&shared);
                // A ring belongs to the thread that makes it, so each is made on its own.
                move || match Worker::new((address, port), core, (orders, tls), shared) {
                    Ok((worker, bound)) => {
                        let _ = started.send(Ok((bound, worker.waker())));
                        worker.run();
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })
            .map_err(StartError::Thread)?;
        let (bound, waker) = outcome.recv().unwrap_or_else(|_| {
            Err(StartError::Thread(io::Error::other("it ended as it began")))
        })?;
        // The others listen on the port that the first one got.
        self.address = bound;
        self.threads.push(Running {
            shared,
            waker,
            thread: Some(thread),
        });
        Ok(())
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that it shows, for clients to trust: DER, for `localhost` and the address. `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// How many requests have been answered so far, errors included; exact once nothing is under way. (A
    /// request for `/drop` is never answered.)
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.threads.iter().map(|t| t.shared.requests()).sum()
    }

    /// Ends the threads and closes all connections at once.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for running in &self.threads {
            running.shared.stop();
            running.waker.wake();
        }
        for running in &mut self.threads {
            if let Some(thread) = running.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
