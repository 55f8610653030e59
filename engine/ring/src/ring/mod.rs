//! The ring: what it holds, how it is made, and what is asked of its sockets.
#![expect(
    unsafe_code,
    reason = "submission entries hold raw pointers; each block says why they are good"
)]

mod event;
mod open;
mod turn;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use io_uring::types::{CancelBuilder, Fixed};
use io_uring::{opcode, squeue};
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::{SockAddr, Socket as OsSocket};

pub use event::{Event, RingWaker, SendError};

use crate::arena::{Arena, CHUNK_BYTES};
use crate::buffers::{BUFFERS_MAX, Buffers, NO_BUFFER};
use crate::clock::now_ns;
use crate::rests::{NO_REST, Rest, Rests};
use crate::setup::{Settings, SetupError, Uring, build};
use crate::socket::{Listener, Slot, Socket, State};
use turn::is_passing;

/// What an operation is, in the low byte of its user data.
mod op {
    pub(super) const RECEIVE: u8 = 1;
    pub(super) const SEND: u8 = 2;
    pub(super) const SEND_REST: u8 = 3;
    pub(super) const CONNECT: u8 = 4;
    pub(super) const CLOSE: u8 = 5;
    pub(super) const CANCEL: u8 = 6;
    pub(super) const ACCEPT: u8 = 7;
    pub(super) const WAKE: u8 = 8;
}

/// The most bytes of one send: the kernel's own limit is a little below 2 GiB, and its lengths are signed.
const SEND_BYTES_MAX: usize = 1 << 30;
/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;

/// A shard's ring. Not `Send`: it belongs to the thread that made it.
pub struct Ring {
    ring: Uring,
    buffers: Buffers,
    arena: Arena,
    /// Those that were ever used: the lowest slots, so that what a table has room for costs nothing until it is needed.
    sockets: Vec<Socket>,
    /// How many there can be.
    sockets_max: u32,
    /// Slots that were used and are free again.
    free: Vec<u32>,
    listeners: Vec<OsSocket>,
    /// Addresses of queued connects, each once: the kernel reads them when it takes the entry. Queued entries point into
    /// the boxes, whose contents do not move.
    addresses: Vec<(SocketAddr, Box<SockAddr>)>,
    rests: Rests,
    /// Sockets whose send is staged and not yet submitted.
    staged: Vec<Slot>,
    /// So many of them were handed over before the turn, because the submission queue was full.
    handed_over: usize,
    /// Sockets and listeners whose multishot operation ended and is due again.
    rearm: Vec<Slot>,
    /// Sockets whose receive ended because no buffer was free: armed again when one is.
    starved: Vec<Slot>,
    relisten: Vec<Listener>,
    wake: Arc<EventFd>,
    wake_armed: bool,
    reaped_ns: u64,
    submitting_ns: u64,
    enters: u64,
}

impl Ring {
    /// A ring for the calling thread, which must be the only one to use it.
    ///
    /// # Errors
    /// What the kernel or a limit does not allow; the error says what to change.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let ring = build(settings)?;
        ring.submitter()
            .register_files_sparse(settings.sockets)
            .map_err(|e| SetupError::new("cannot register a table of sockets", e))?;
        let buffers = Buffers::new(settings.buffers.min(BUFFERS_MAX).next_power_of_two());
        // SAFETY: the address is that of `count` entries which are freed only after the ring is closed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(buffers.address(), buffers.count(), BUFFER_GROUP, 0)
                .map_err(|e| SetupError::new("cannot register a ring of receive buffers", e))?;
        }
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| SetupError::new("cannot make an eventfd", e.into()))?;
        // Saves a file look-up on every turn; where the kernel has none to give, the plain descriptor serves.
        let _ = ring.submitter().register_ring_fd();
        Ok(Self {
            ring,
            buffers,
            arena: Arena::new(),
            sockets: Vec::with_capacity(settings.sockets as usize),
            sockets_max: settings.sockets,
            free: Vec::new(),
            listeners: Vec::new(),
            addresses: Vec::new(),
            rests: Rests::default(),
            staged: Vec::with_capacity(settings.sockets as usize),
            handed_over: 0,
            rearm: Vec::with_capacity(settings.sockets as usize),
            starved: Vec::new(),
            relisten: Vec::new(),
            wake: Arc::new(wake),
            wake_armed: false,
            reaped_ns: now_ns(),
            submitting_ns: 0,
            enters: 0,
        })
    }

    /// A handle with which another thread ends this ring's wait.
    #[must_use]
    pub fn waker(&self) -> RingWaker {
        RingWaker(Arc::clone(&self.wake))
    }

    /// Queues `bytes` for the next turn. They are copied.
    ///
    /// # Errors
    /// [`SendError::Busy`] while an earlier send of this socket is not out, [`SendError::NotOpen`] when it is not
    /// connected.
    #[inline]
    pub fn send(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), SendError> {
        let socket = &mut self.sockets[slot.at()];
        if socket.state != State::Open {
            return Err(SendError::NotOpen);
        }
        if socket.sending {
            return Err(SendError::Busy);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        socket.sending = true;
        if bytes.len() > CHUNK_BYTES {
            let generation = socket.generation;
            self.send_rest(Rest {
                slot,
                generation,
                bytes: bytes.into(),
            });
            // Not in the arena, but its time is taken as that of the others.
            self.staged.push(slot);
            return Ok(());
        }
        let staged = self.arena.stage(bytes);
        socket.staged = staged;
        let data = user_data(op::SEND, slot.0, socket.generation);
        let pointer = self.arena.bytes(staged).as_ptr();
        let entry = opcode::Send::new(Fixed(slot.0), pointer, staged.len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(data);
        // The pointer stays good until the kernel has taken the entry: the arena is cleared only when a turn has handed
        // over all that was queued before it. With MSG_DONTWAIT the kernel does not keep it past that.
        self.push(&entry);
        // Not before: what a full queue hands over is what was queued earlier.
        self.staged.push(slot);
        Ok(())
    }

    /// Sends bytes that the ring owns until the kernel says that they are out.
    fn send_rest(&mut self, rest: Rest) {
        // The box does not move its bytes when it moves, and is dropped only when its completion has come (or
        // with the ring, after everything was cancelled).
        let (slot, generation) = (rest.slot, rest.generation);
        let entry = opcode::Send::new(
            Fixed(slot.0),
            rest.bytes.as_ptr(),
            // More than the kernel sends at once is a short send, and its rest follows.
            rest.bytes.len().min(SEND_BYTES_MAX) as u32,
        )
        .flags(libc::MSG_WAITALL)
        .build();
        let place = self.rests.put(rest);
        self.sockets[slot.at()].rest = place;
        self.push(&entry.user_data(user_data(op::SEND_REST, place, generation)));
    }

    /// Whether a send is not out yet: queued for the next turn, or held up by the peer.
    #[must_use]
    pub fn is_sending(&self, slot: Slot) -> bool {
        self.sockets[slot.at()].sending
    }

    /// The first run of received bytes that are not consumed; empty when there are none.
    #[must_use]
    #[inline]
    pub fn received(&self, slot: Slot) -> &[u8] {
        match self.sockets[slot.at()].first {
            NO_BUFFER => &[],
            id => self.buffers.bytes(id),
        }
    }

    /// [`Ring::received`], for who changes the bytes where they lie, such as decrypting them.
    #[must_use]
    #[inline]
    pub fn received_mut(&mut self, slot: Slot) -> &mut [u8] {
        match self.sockets[slot.at()].first {
            NO_BUFFER => &mut [],
            id => self.buffers.bytes_mut(id),
        }
    }

    /// Consumes the first `len` bytes of [`Ring::received`].
    ///
    /// # Panics
    /// When that many are not there.
    #[inline]
    pub fn consume(&mut self, slot: Slot, len: usize) {
        if len == 0 {
            return;
        }
        let socket = &mut self.sockets[slot.at()];
        assert!(
            socket.first != NO_BUFFER,
            "bytes consumed that are not there"
        );
        if let Some(next) = self.buffers.consume(socket.first, len) {
            socket.first = next;
            if next == NO_BUFFER && socket.paused {
                socket.paused = false;
                self.rearm.push(slot);
            }
        }
    }

    /// Whether the peer has closed its sending side (or the socket failed).
    #[must_use]
    #[inline]
    pub fn has_ended(&self, slot: Slot) -> bool {
        self.sockets[slot.at()].ended
    }

    /// When the last bytes of this socket were reaped.
    #[must_use]
    #[inline]
    pub fn received_ns(&self, slot: Slot) -> u64 {
        self.sockets[slot.at()].received_ns
    }

    /// When the system call began that submitted this socket's last send.
    #[must_use]
    #[inline]
    pub fn sent_ns(&self, slot: Slot) -> u64 {
        self.sockets[slot.at()].sent_ns
    }

    /// When this turn's completions were reaped.
    #[must_use]
    #[inline]
    pub fn reaped_ns(&self) -> u64 {
        self.reaped_ns
    }

    /// When the last turn's system call began.
    #[must_use]
    #[inline]
    pub fn submitting_ns(&self) -> u64 {
        self.submitting_ns
    }

    /// How many system calls the ring has made to submit and wait.
    #[must_use]
    pub fn enters(&self) -> u64 {
        self.enters
    }

    /// Closes the socket and cancels what is in flight, a send that is not out ([`Ring::is_sending`]) included. Its slot
    /// must not be used afterwards; no event follows.
    pub fn close(&mut self, slot: Slot) {
        let socket = &mut self.sockets[slot.at()];
        if !matches!(socket.state, State::Open | State::Connecting) {
            return;
        }
        socket.state = State::Closing;
        socket.close_in_flight = true;
        let chain = std::mem::replace(&mut socket.first, NO_BUFFER);
        let generation = socket.generation;
        let (is_armed, is_connecting) = (socket.armed, socket.connecting);
        let rest = socket.rest;
        self.buffers.release_chain(chain);
        // By name: by socket the kernel looks at all that waits, of all sockets. What is staged has no wait, and goes out
        // before the close.
        for (operation, index, is_in_flight) in [
            (op::RECEIVE, slot.0, is_armed),
            (op::CONNECT, slot.0, is_connecting),
            (op::SEND_REST, rest, rest != NO_REST),
        ] {
            if is_in_flight {
                let data = user_data(operation, index, generation);
                self.cancel(slot, CancelBuilder::user_data(data));
            }
        }
        let data = user_data(op::CLOSE, slot.0, generation);
        self.push(&opcode::Close::new(Fixed(slot.0)).build().user_data(data));
    }

    #[inline]
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: every pointer in an entry made here leads to memory that the ring keeps until the kernel has taken
        // the entry (arena, addresses) or has answered it (rests, provided buffers).
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.hand_over();
        }
    }

    /// Submits a full queue before the turn. An error leaves it full, and the next try comes at once; the only lasting
    /// one (EBUSY, a completion queue that overflowed) ends as soon as the turn reaps.
    #[cold]
    fn hand_over(&mut self) {
        self.time_staged(now_ns());
        self.enters += 1;
        match self.ring.submit() {
            Ok(_) => self.handed_over = self.staged.len(),
            Err(error) => {
                assert!(is_passing(&error), "io_uring_enter: {error}");
                self.flush_overflow();
            }
        }
    }

    /// A call begins that submits what is staged and was not handed over before.
    #[inline]
    fn time_staged(&mut self, now_ns: u64) {
        for slot in &self.staged[self.handed_over..] {
            self.sockets[slot.at()].sent_ns = now_ns;
        }
    }

    /// The completions of what is cancelled say so, or that it was done before.
    fn cancel(&mut self, slot: Slot, what: CancelBuilder) {
        let data = user_data(op::CANCEL, slot.0, self.sockets[slot.at()].generation);
        self.push(&opcode::AsyncCancel2::new(what).build().user_data(data));
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Nothing may be in flight when buffers, arena and rests are freed, which happens after this.
        let _ = self.ring.submit();
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(None, CancelBuilder::any());
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("sockets", &self.sockets.len())
            .field("enters", &self.enters)
            .finish_non_exhaustive()
    }
}

#[inline]
fn user_data(operation: u8, index: u32, generation: u8) -> u64 {
    u64::from(index) << 16 | u64::from(generation) << 8 | u64::from(operation)
}
