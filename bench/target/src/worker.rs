//! One thread of the target: its ring, its connections' sockets, its timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use core_affinity::CoreId;
use loadr_ring::clock::now_ns;
use loadr_ring::{Event, Port, Ring, RingWaker, SendError, Slot};
use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{Resource, getrlimit};
use rustls::ServerConfig;

use crate::StartError;
use crate::connection::Service;
use crate::orders::Orders;
use crate::peer::{Peer, advance_input, clear, peer};
use crate::reply::PIECE_BYTES;
use crate::request::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
use crate::tls::Session;

/// How many connections a thread serves at once, if the limit on open files allows so many.
const CONNECTIONS_MAX: u32 = 12_000;
/// The most bytes that wait on a connection while earlier requests are answered; beyond, it is closed. One
/// request of the largest size fits.
const INPUT_BYTES_MAX: usize = HEAD_BYTES_MAX + BODY_BYTES_MAX as usize;
/// While a socket takes no bytes it is asked again at least so often, should its event be lost.
const RETRY_NS: u64 = 10_000_000;

/// What a worker's thread and the target's owner share.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Shared {
    requests: AtomicU64,
    is_stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }
}

pub(crate) struct Worker {
    ring: Ring,
    service: Service,
    shared: Arc<Shared>,
    peers: Vec<Option<Box<Peer>>>,
    /// Connections that have more to do after the next turn.
    due: Vec<Slot>,
    /// Connections whose socket takes no bytes now.
    blocked: usize,
    timers: BinaryHeap<Reverse<(u64, u64, usize)>>,
    serial: u64,
    /// The answers being rendered; then, with TLS, sealed.
    out: Vec<u8>,
    tls: Option<Arc<ServerConfig>>,
    /// What was in the bytes that a socket received, with TLS.
    plain: Vec<u8>,
    /// Takes turns with `out` when that is sealed.
    spare: Vec<u8>,
}

impl Worker {
    /// Makes the ring of the calling thread and listens.
    pub(crate) fn new(
        (address, port): (SocketAddr, Port),
        core: Option<usize>,
        (orders, tls): (Orders, Option<Arc<ServerConfig>>),
        shared: Arc<Shared>,
    ) -> Result<(Self, SocketAddr), StartError> {
        if let Some(core) = core
            && !core_affinity::set_for_current(CoreId { id: core })
        {
            return Err(StartError::Core(core));
        }
        // Delays are meant to the microsecond; the default slack is 50 of them.
        let _ = set_timerslack(1);
        let mut settings = loadr_ring::Settings::for_connections(CONNECTIONS_MAX);
        // The table of a ring cannot be larger than the limit on open files.
        if let Ok((files, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let files = u32::try_from(files).unwrap_or(u32::MAX);
            settings.sockets = settings.sockets.min(files).max(1);
        }
        let mut ring = Ring::new(&settings).map_err(StartError::Ring)?;
        let (_, bound) = ring
            .listen(address, port)
            .map_err(|error| StartError::Listen(address, error))?;
        let worker = Self {
            ring,
            service: Service::new(orders),
            shared,
            peers: Vec::new(),
            due: Vec::new(),
            blocked: 0,
            timers: BinaryHeap::new(),
            serial: 0,
            out: Vec::with_capacity(2 * PIECE_BYTES),
            tls,
            plain: Vec::new(),
            spare: Vec::new(),
        };
        Ok((worker, bound))
    }

    pub(crate) fn waker(&self) -> RingWaker {
        self.ring.waker()
    }

    /// Serves until told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        let mut due = Vec::new();
        while !self.shared.is_stopping.load(Ordering::Acquire) {
            let timeout = self.timeout_ns();
            self.ring.turn(timeout, |event| events.push(event));
            self.service.now_ns = self.ring.reaped_ns();
            // First what was due before: all that was queued for it is with the kernel now.
            std::mem::swap(&mut due, &mut self.due);
            for slot in due.drain(..) {
                self.go_on(slot);
            }
            for event in events.drain(..) {
                self.handle(event);
            }
            self.ring_alarms();
            if self.blocked > 0 {
                self.retry_blocked();
            }
            // Before the turn that sends, so that who has the answer finds it counted.
            self.shared
                .requests
                .store(self.service.requests, Ordering::Relaxed);
        }
        self.close_all();
    }

    fn timeout_ns(&self) -> Option<u64> {
        if !self.due.is_empty() {
            return Some(0);
        }
        let alarm = self
            .timers
            .peek()
            .map(|Reverse((at, ..))| at.saturating_sub(now_ns()));
        if self.blocked == 0 {
            return alarm;
        }
        Some(alarm.map_or(RETRY_NS, |ns| ns.min(RETRY_NS)))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Received(slot) => self.receive(slot),
            Event::Accepted(_, slot) => self.accept(slot),
            Event::Ended(slot) => {
                if let Some(peer) = peer(&mut self.peers, slot) {
                    peer.connection.has_ended = true;
                    self.settle(slot);
                }
            }
            Event::Failed(slot, _) => self.close(slot),
            Event::Drained(slot) => self.make_due(slot),
            // A connection that could not be accepted is the client's to see; a wake-up's reason is read each turn.
            Event::AcceptFailed(..) | Event::Woken | Event::Connected(_) => {}
        }
    }

    fn accept(&mut self, slot: Slot) {
        if self.peers.len() <= slot.at() {
            self.peers.resize_with(slot.at() + 1, || None);
        }
        let Ok(tls) = self.tls.as_ref().map(Session::new).transpose() else {
            // It cannot be for this connection's sake; the client sees that it is closed.
            return self.ring.close(slot);
        };
        self.serial += 1;
        let place = &mut self.peers[slot.at()];
        match place {
            Some(peer) => peer.renew(self.serial, tls),
            None => *place = Some(Box::new(Peer::new(slot, self.serial, tls))),
        }
    }

    /// Reads all that a socket has received, and answers.
    fn receive(&mut self, slot: Slot) {
        let Some(peer) = peer(&mut self.peers, slot) else {
            return;
        };
        self.out.clear();
        loop {
            let mut bytes = self.ring.received(slot);
            let len = bytes.len();
            if len == 0 {
                break;
            }
            let connection = &mut peer.connection;
            let mut is_broken = false;
            if let Some(tls) = &mut peer.tls {
                self.plain.clear();
                match tls.open(bytes, &mut self.plain) {
                    Ok(has_ended) => connection.has_ended |= has_ended,
                    Err(_) => is_broken = true,
                }
                bytes = &self.plain;
            }
            if connection.input.is_empty() {
                let done = if peer.backlog.is_empty() {
                    connection.advance(bytes, &mut self.service, &mut self.out)
                } else {
                    0
                };
                if done < bytes.len() {
                    connection.input.extend_from_slice(&bytes[done..]);
                }
            } else {
                let leads_nowhere = connection.is_within_head()
                    && !bytes.contains(&b'\n')
                    && connection.input.len() < HEAD_BYTES_MAX;
                connection.input.extend_from_slice(bytes);
                if peer.backlog.is_empty() && !leads_nowhere {
                    advance_input(connection, &mut self.service, &mut self.out);
                }
            }
            self.ring.consume(slot, len);
            if is_broken {
                peer.connection.end();
            }
        }
        if peer.connection.input.len() > INPUT_BYTES_MAX {
            return self.close(slot);
        }
        self.write(slot);
    }

    /// Sends what is rendered in `out`, or keeps it for later, and sees to what comes next.
    #[inline]
    fn write(&mut self, slot: Slot) {
        let Some(peer) = peer(&mut self.peers, slot) else {
            return;
        };
        seal(peer, &mut self.out, &mut self.spare);
        if !self.out.is_empty() {
            let is_next = peer.backlog.is_empty() && self.out.len() <= PIECE_BYTES;
            match is_next.then(|| self.ring.send(slot, &self.out)) {
                Some(Ok(())) => {}
                Some(Err(SendError::NotOpen)) => return self.close(slot),
                // An earlier send is under way, or there is too much for one.
                Some(Err(SendError::Busy)) | None => peer.backlog.extend_from_slice(&self.out),
            }
        }
        self.settle(slot);
    }

    /// Notes what a connection waits for: its timer, or its socket.
    #[inline]
    fn settle(&mut self, slot: Slot) {
        let Some(peer) = peer(&mut self.peers, slot) else {
            return;
        };
        let alarm_ns = peer.connection.alarm_ns();
        if alarm_ns != peer.alarm_ns {
            peer.alarm_ns = alarm_ns;
            if let Some(at) = alarm_ns {
                self.timers.push(Reverse((at, peer.serial, slot.at())));
            }
        }
        let waits_for_room = !peer.connection.input.is_empty() && self.out.len() >= PIECE_BYTES;
        if peer.has_more() || waits_for_room {
            self.make_due(slot);
        }
    }

    fn make_due(&mut self, slot: Slot) {
        if let Some(peer) = peer(&mut self.peers, slot)
            && !peer.is_due
        {
            peer.is_due = true;
            self.due.push(slot);
        }
    }

    /// A connection that was due: sends more, handles input that had to wait, or closes.
    fn go_on(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot.at()).and_then(Option::as_mut) else {
            return;
        };
        peer.is_due = false;
        if !peer.is_open {
            return;
        }
        // Nothing is sent by this; it tells whether the socket takes bytes.
        let takes = self.ring.send(slot, &[]);
        if peer.is_blocked != (takes == Err(SendError::Busy)) {
            peer.is_blocked = !peer.is_blocked;
            self.blocked = if peer.is_blocked {
                self.blocked + 1
            } else {
                self.blocked - 1
            };
        }
        match takes {
            Ok(()) => {}
            Err(SendError::Busy) => return,
            Err(SendError::NotOpen) => return self.close(slot),
        }
        self.out.clear();
        if !peer.backlog.is_empty() {
            let end = peer.backlog.len().min(peer.sent + PIECE_BYTES);
            let _ = self.ring.send(slot, &peer.backlog[peer.sent..end]);
            peer.sent = end;
            if end == peer.backlog.len() {
                peer.sent = 0;
                clear(&mut peer.backlog);
            }
            return self.make_due(slot);
        }
        if peer.connection.is_streaming() {
            peer.connection.stream(&mut self.out);
            seal(peer, &mut self.out, &mut self.spare);
            let _ = self.ring.send(slot, &self.out);
            return self.make_due(slot);
        }
        if !peer.connection.input.is_empty() && peer.connection.is_reading() {
            advance_input(&mut peer.connection, &mut self.service, &mut self.out);
            if !self.out.is_empty() {
                return self.write(slot);
            }
        }
        if peer.connection.is_over() {
            self.close(slot);
        } else {
            self.settle(slot);
        }
    }

    fn ring_alarms(&mut self) {
        while let Some(&Reverse((at, serial, index))) = self.timers.peek() {
            if at > self.service.now_ns {
                return;
            }
            self.timers.pop();
            let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            if !peer.is_open || peer.serial != serial || peer.alarm_ns != Some(at) {
                continue;
            }
            let slot = peer.slot;
            self.out.clear();
            if peer.connection.alarm(&mut self.service, &mut self.out) {
                self.close(slot);
                continue;
            }
            if peer.backlog.is_empty() {
                advance_input(&mut peer.connection, &mut self.service, &mut self.out);
            }
            self.write(slot);
        }
    }

    /// Asks every socket again that took no bytes, in case the event was lost.
    fn retry_blocked(&mut self) {
        for index in 0..self.peers.len() {
            if let Some(peer) = &self.peers[index]
                && peer.is_open
                && peer.is_blocked
            {
                let slot = peer.slot;
                self.go_on(slot);
            }
        }
    }

    fn close(&mut self, slot: Slot) {
        let Some(peer) = peer(&mut self.peers, slot) else {
            return;
        };
        peer.is_open = false;
        if std::mem::take(&mut peer.is_blocked) {
            self.blocked -= 1;
        }
        clear(&mut peer.connection.input);
        clear(&mut peer.backlog);
        self.ring.close(slot);
    }

    /// Closes every connection before the ring goes, which would close them some time later.
    fn close_all(&mut self) {
        let open: Vec<Slot> = self
            .peers
            .iter()
            .flatten()
            .filter(|p| p.is_open)
            .map(|p| p.slot)
            .collect();
        for slot in open {
            self.close(slot);
        }
        // One turn to submit the closes, one for the receives that they cancelled.
        for _ in 0..2 {
            self.ring.turn(Some(0), |_| {});
        }
    }
}

/// Seals what is rendered for a connection, if it has TLS.
#[inline]
fn seal(peer: &mut Peer, out: &mut Vec<u8>, spare: &mut Vec<u8>) {
    if let Some(tls) = &mut peer.tls {
        let connection = &peer.connection;
        tls.seal(
            out,
            spare,
            connection.is_over() && connection.input.is_empty(),
        );
    }
}
