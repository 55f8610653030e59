//! The floor: the least that a client on io_uring can cost. One thread, one ring, no runtime: send, multishot
//! receive into provided buffers, parse with httparse, check the status, record into a histogram. What loadr-fast
//! costs beyond this is its own doing.
#![expect(
    unsafe_code,
    reason = "submission entries and provided buffers are raw pointers; each block says why they are good"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::types::{BufRingEntry, CancelBuilder, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// What the floor prints.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// System calls per request.
    pub(crate) enters: f64,
}

const BUFFER_GROUP: u16 = 0;
const BUFFER_BYTES: usize = 4096;
/// The distance between buffers: no power of two, so that their first lines do not share a set of the cache.
const STRIDE: usize = BUFFER_BYTES + 192;
const HEADERS_MAX: usize = 32;
/// So many connections are made between pauses, which are no part of what is measured.
const CONNECTIONS_AT_ONCE: u32 = 500;
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// `ENOBUFS`: a receive found no buffer, and has to be armed again.
const NO_BUFFERS: i32 = -105;

/// The low bits of an entry's user data; the rest is the connection.
const SEND: u64 = 1;
const RECEIVE: u64 = 2;
const KIND_BITS: u32 = 2;

struct Connection {
    /// Keeps the socket open; the ring uses it by its place in the table.
    stream: TcpStream,
    started: Instant,
    /// Bytes of the current response that came, and that it has (0 while that is not known).
    have: usize,
    need: usize,
    /// A head that came in parts.
    head: Vec<u8>,
    is_ok: bool,
}

/// Runs it and prints a [`Told`].
pub(crate) fn run(address: SocketAddr, path: &str, connections: u32, seconds: u64) -> Outcome<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let told =
        Floor::new(address, request.as_bytes(), connections)?.run(Duration::from_secs(seconds))?;
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

struct Floor<'a> {
    ring: IoUring,
    buffers: Buffers,
    connections: Vec<Connection>,
    request: &'a [u8],
    histogram: Histogram<u64>,
    failed: u64,
}

impl<'a> Floor<'a> {
    fn new(address: SocketAddr, request: &'a [u8], connections: u32) -> Outcome<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize((connections * 4).next_power_of_two().clamp(1024, 65_536))
            // No longer than it must be: the queue is gone through in turn, and is cache that the sockets want.
            .build((connections * 2).next_power_of_two().clamp(64, 256))?;
        let connections: Vec<Connection> = (0..connections)
            .map(|number| {
                // The target is to keep up: what its backlog has no room for is refused.
                if number % CONNECTIONS_AT_ONCE == CONNECTIONS_AT_ONCE - 1 {
                    thread::sleep(CONNECT_PAUSE);
                }
                Connection::open(address)
            })
            .collect::<io::Result<_>>()?;
        let files: Vec<i32> = connections.iter().map(|c| c.stream.as_raw_fd()).collect();
        ring.submitter().register_files(&files)?;
        let count = (connections.len() * 2).next_power_of_two().clamp(64, 8192);
        let buffers = Buffers::new(count as u16);
        // SAFETY: the address is that of `count` entries, freed only when nothing is in flight (`Drop`).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries as u64,
                buffers.count,
                BUFFER_GROUP,
                0,
            )?;
        }
        Ok(Self {
            ring,
            buffers,
            connections,
            request,
            histogram: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
            failed: 0,
        })
    }

    fn run(&mut self, length: Duration) -> Outcome<Told> {
        let start = Instant::now();
        let end = start + length;
        let mut live = self.connections.len();
        let mut enters = 0u64;
        for index in 0..live {
            self.receive(index)?;
            self.send(index, Instant::now())?;
        }
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(8192);
        while live > 0 {
            self.ring.submit_and_wait(1)?;
            enters += 1;
            completions.clear();
            completions.extend(self.ring.completion());
            for completion in &completions {
                if self.complete(completion)? {
                    let now = Instant::now();
                    let index = (completion.user_data() >> KIND_BITS) as usize;
                    self.finish(index, now);
                    if now < end {
                        self.send(index, now)?;
                    } else {
                        live -= 1;
                    }
                }
            }
            self.buffers.publish();
        }
        let requests = self.histogram.len();
        Ok(Told {
            requests,
            failed: self.failed,
            seconds: start.elapsed().as_secs_f64(),
            p50_us: self.histogram.value_at_quantile(0.5) as f64 / 1e3,
            p99_us: self.histogram.value_at_quantile(0.99) as f64 / 1e3,
            enters: enters as f64 / requests.max(1) as f64,
        })
    }

    fn send(&mut self, index: usize, now: Instant) -> io::Result<()> {
        self.connections[index].started = now;
        // Success is not told: the response shows it.
        let entry = opcode::Send::new(
            Fixed(index as u32),
            self.request.as_ptr(),
            self.request.len() as u32,
        )
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data((index as u64) << KIND_BITS | SEND);
        self.push(&entry)
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fixed(index as u32), BUFFER_GROUP)
            .build()
            .user_data((index as u64) << KIND_BITS | RECEIVE);
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: a send points to `request`, which outlives what is in flight (see `Drop`); a receive points to
        // nothing of its own.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Whether a response is complete with this.
    fn complete(&mut self, completion: &cqueue::Entry) -> Outcome<bool> {
        let index = (completion.user_data() >> KIND_BITS) as usize;
        let result = completion.result();
        if completion.user_data() & SEND != 0 {
            let error = io::Error::from_raw_os_error(-result);
            return Err(format!("cannot send: {error}").into());
        }
        let mut is_complete = false;
        match (result, cqueue::buffer_select(completion.flags())) {
            (1.., Some(id)) => {
                let bytes = self.buffers.bytes(id, result as usize);
                is_complete = self.connections[index].take(bytes)?;
                self.buffers.give(id);
            }
            (NO_BUFFERS, _) => {}
            (0, _) => return Err("the target closed a connection".into()),
            (error, _) => {
                let error = io::Error::from_raw_os_error(-error);
                return Err(format!("cannot receive: {error}").into());
            }
        }
        if !cqueue::more(completion.flags()) {
            self.receive(index)?;
        }
        Ok(is_complete)
    }

    fn finish(&mut self, index: usize, now: Instant) {
        let connection = &mut self.connections[index];
        let took = now.duration_since(connection.started).as_nanos();
        self.histogram
            .saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        self.failed += u64::from(!connection.is_ok);
        connection.have = 0;
        connection.need = 0;
    }
}

impl Drop for Floor<'_> {
    fn drop(&mut self) {
        // Nothing may be in flight when the buffers, or the request that sends point to, are freed.
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(None, CancelBuilder::any());
    }
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            started: Instant::now(),
            have: 0,
            need: 0,
            head: Vec::new(),
            is_ok: false,
        })
    }

    /// Takes received bytes; returns whether the response is complete.
    fn take(&mut self, bytes: &[u8]) -> Outcome<bool> {
        self.have += bytes.len();
        if self.need == 0 {
            if self.head.is_empty() {
                if let Some(head) = parse(bytes)? {
                    (self.need, self.is_ok) = head;
                } else {
                    self.head.extend_from_slice(bytes);
                    return Ok(false);
                }
            } else {
                self.head.extend_from_slice(bytes);
                let Some(head) = parse(&self.head)? else {
                    return Ok(false);
                };
                (self.need, self.is_ok) = head;
                self.head.clear();
            }
        }
        Ok(self.have >= self.need)
    }
}

/// How many bytes a response has, head and body, and whether its status is 200; `None`: its head is not all there.
fn parse(bytes: &[u8]) -> Outcome<Option<(usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.parse::<usize>().ok())
        .ok_or("the floor can only ask for what has a Content-Length")?;
    Ok(Some((head + length, response.code == Some(200))))
}

/// The memory that receives fill.
struct Buffers {
    entries: *mut BufRingEntry,
    layout: Layout,
    memory: Vec<u8>,
    count: u16,
    tail: u16,
}

impl Buffers {
    /// `count`: a power of two.
    fn new(count: u16) -> Self {
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, 4096).expect("a power of two, and small");
        // SAFETY: the layout has a size above zero.
        let entries = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if entries.is_null() {
            handle_alloc_error(layout);
        }
        let mut buffers = Self {
            entries,
            layout,
            memory: vec![0; usize::from(count) * STRIDE],
            count,
            tail: 0,
        };
        for id in 0..count {
            buffers.give(id);
        }
        buffers.publish();
        buffers
    }

    /// The first `len` bytes of a buffer that a receive has filled.
    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        let start = usize::from(id) * STRIDE;
        &self.memory[start..start + len.min(BUFFER_BYTES)]
    }

    /// Gives a buffer back to the kernel, which sees it after [`Buffers::publish`].
    fn give(&mut self, id: u16) {
        assert!(id < self.count);
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index < count`, and the allocation holds `count` entries; the kernel does not read those at or past
        // the published tail. The address is that of a whole buffer within `memory`, which lives as long as the ring.
        unsafe {
            let entry = &mut *self.entries.add(index);
            entry.set_addr(self.memory.as_mut_ptr().add(usize::from(id) * STRIDE) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the tail lies in the first entry; the kernel reads it concurrently, so it is written atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nothing is in flight by now (`Drop` of `Floor`).
        unsafe { dealloc(self.entries.cast(), self.layout) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_counts_what_the_target_answers() {
        let target = loadr_target::Target::start(&loadr_target::Settings::loopback()).unwrap();
        for (path, failed) in [
            ("/", false),
            ("/bytes/100000", false),
            ("/status/404", true),
        ] {
            let before = target.requests();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut floor = Floor::new(target.address(), request.as_bytes(), 10).unwrap();
            let told = floor.run(Duration::from_millis(100)).unwrap();
            assert!(told.requests >= 10);
            assert_eq!(told.requests, target.requests() - before);
            assert_eq!(told.failed, if failed { told.requests } else { 0 });
        }
    }
}
