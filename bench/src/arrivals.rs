//! A target that logs when each request came. It polls all the time, so that its log is not a matter of how fast the
//! kernel wakes it; and it can stall, by a schedule that the figures are held against.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use core_affinity::CoreId;
use loadr_target::CANNED_RESPONSE;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Outcome;

/// Connections it takes; the rest are closed.
const CONNECTIONS_MAX: usize = 4096;
/// The listener's token; a connection's is its descriptor.
const LISTENER: u64 = u64::MAX;

/// In every `period_ns`, counted from the first request, no answer is sent in the last `stall_ns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    pub(crate) period_ns: u64,
    pub(crate) stall_ns: u64,
}

impl Stall {
    /// When what came so long after the first request is answered.
    fn answer_ns(self, came_ns: u64) -> u64 {
        let within = came_ns % self.period_ns;
        if within < self.period_ns - self.stall_ns {
            came_ns
        } else {
            came_ns - within + self.period_ns
        }
    }
}

/// A running target.
pub(crate) struct ArrivalLog {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Vec<u64>>>,
}

impl ArrivalLog {
    /// Starts it on a core; `expected` requests are logged without an allocation.
    pub(crate) fn start(core: usize, stall: Option<Stall>, expected: usize) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new()
            .name("arrivals".to_owned())
            .spawn(move || {
                core_affinity::set_for_current(CoreId { id: core });
                serve(&listener, stall, expected, &over)
            })?;
        Ok(Self {
            address,
            is_over,
            thread,
        })
    }

    /// Ends it: nanoseconds from the first request to each.
    pub(crate) fn stop(self) -> Outcome<Vec<u64>> {
        self.is_over.store(true, Ordering::Release);
        let log = self.thread.join().map_err(|_| "the target broke off")??;
        Ok(log)
    }
}

struct Peer {
    stream: TcpStream,
    /// How much of the end of a head the last bytes were.
    matched: usize,
}

fn serve(
    listener: &TcpListener,
    stall: Option<Stall>,
    expected: usize,
    is_over: &AtomicBool,
) -> std::io::Result<Vec<u64>> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let mut events = vec![EpollEvent::empty(); 256];
    let mut log = Vec::with_capacity(expected + expected / 8);
    let mut first: Option<Instant> = None;
    // Answers that are held back: all of them go out at the end of the same stall.
    let mut held: Vec<u64> = Vec::new();
    let mut held_until_ns = 0;
    let mut buffer = [0; 4096];
    while !is_over.load(Ordering::Relaxed) {
        let count = epoll.wait(&mut events, EpollTimeout::ZERO)?;
        let now = Instant::now();
        if !held.is_empty() && since(first, now) >= held_until_ns {
            for token in held.drain(..) {
                answer(&mut peers, token);
            }
        }
        for event in &events[..count] {
            let token = event.data();
            if token == LISTENER {
                accept(listener, &epoll, &mut peers)?;
                continue;
            }
            let Some(peer) = peers.get_mut(&token) else {
                continue;
            };
            let read = match peer.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(read @ 1..) => read,
                Ok(0) | Err(_) => {
                    peers.remove(&token);
                    continue;
                }
            };
            for _ in 0..heads(&mut peer.matched, &buffer[..read]) {
                let came_ns = since(Some(*first.get_or_insert(now)), now);
                log.push(came_ns);
                match stall.map(|stall| stall.answer_ns(came_ns)) {
                    Some(at_ns) if at_ns > came_ns => {
                        held_until_ns = at_ns;
                        held.push(token);
                    }
                    _ => answer(&mut peers, token),
                }
            }
        }
    }
    Ok(log)
}

fn since(first: Option<Instant>, now: Instant) -> u64 {
    first.map_or(0, |first| now.duration_since(first).as_nanos() as u64)
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    peers: &mut HashMap<u64, Peer>,
) -> std::io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if peers.len() == CONNECTIONS_MAX {
            continue;
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let token = stream.as_raw_fd() as u64;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        peers.insert(token, Peer { stream, matched: 0 });
    }
}

/// The client is a load generator on the loopback: a short answer always fits.
fn answer(peers: &mut HashMap<u64, Peer>, token: u64) {
    let is_gone = peers
        .get_mut(&token)
        .is_some_and(|peer| peer.stream.write_all(CANNED_RESPONSE).is_err());
    if is_gone {
        peers.remove(&token);
    }
}

/// How many heads end in `bytes`; requests here have no body.
fn heads(matched: &mut usize, bytes: &[u8]) -> usize {
    const END: &[u8] = b"\r\n\r\n";
    let mut count = 0;
    for &byte in bytes {
        if byte == END[*matched] {
            *matched += 1;
        } else {
            *matched = usize::from(byte == END[0]);
        }
        if *matched == END.len() {
            *matched = 0;
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        let bytes = b"GET / HTTP/1.1\r\na: b\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for cut in 0..bytes.len() {
            let mut matched = 0;
            let count = heads(&mut matched, &bytes[..cut]) + heads(&mut matched, &bytes[cut..]);
            assert_eq!((count, matched), (2, 0), "{cut}");
        }
    }

    #[test]
    fn a_stall_holds_answers_to_its_end() {
        let stall = Stall {
            period_ns: 5,
            stall_ns: 1,
        };
        let answers: Vec<u64> = (0..11).map(|came| stall.answer_ns(came)).collect();
        assert_eq!(answers, [0, 1, 2, 3, 5, 5, 6, 7, 8, 10, 10]);
    }
}
