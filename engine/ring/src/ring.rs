//! The ring: queue operations, make one system call a turn, hand out what completed.
#![expect(
    unsafe_code,
    reason = "submission entries hold raw pointers; each block says why they are good"
)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, types};
use nix::errno::Errno;
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockAddr, Socket as OsSocket, Type};

use crate::arena::{Arena, CHUNK_BYTES, Staged};
use crate::buffers::{BUFFERS_MAX, Buffers, NO_BUFFER};
use crate::clock::now_ns;
use crate::rests::{NO_REST, Rest, Rests};
use crate::setup::{Settings, SetupError, Uring, build};
use crate::socket::{Listener, Port, Slot, Socket, State};

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
/// The most buffers that a socket may fill with bytes which nobody has read since an earlier turn. Then it receives no
/// more until they are, so that a peer who talks to an idle connection holds its own buffer and not the ring's.
const UNREAD_BUFFERS_MAX: u16 = 8;
/// So many addresses are kept once the kernel has taken them: most plans dial few, again and again.
const ADDRESSES_KEPT: usize = 16;
/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;

/// Something that happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is made; bytes can be sent, and receiving is armed.
    Connected(Slot),
    /// A listener made a connection.
    Accepted(Listener, Slot),
    /// There are received bytes ([`Ring::received`]).
    Received(Slot),
    /// The peer closed its sending side: after the bytes that are there no more will come.
    Ended(Slot),
    /// The socket failed (or could not connect); close it. The number is the system's error.
    Failed(Slot, i32),
    /// A send that did not fit into the socket's buffer at once has gone out whole.
    Drained(Slot),
    /// A listener could not accept; it goes on. The number is the system's error.
    AcceptFailed(Listener, i32),
    /// A [`RingWaker`] was used.
    Woken,
}

/// Why bytes could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// An earlier send of this socket is not out yet: wait for [`Event::Drained`], or the next turn.
    Busy,
    /// The socket is not connected.
    NotOpen,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "an earlier send is not out yet",
            Self::NotOpen => "the socket is not connected",
        })
    }
}

impl std::error::Error for SendError {}

/// Ends a ring's wait from another thread.
#[derive(Clone, Debug)]
pub struct RingWaker(Arc<EventFd>);

impl RingWaker {
    /// The ring's current or next wait ends with [`Event::Woken`].
    pub fn wake(&self) {
        // Fails only when the counter is full, and then the ring is awake anyway.
        let _ = self.0.write(1);
    }
}

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

    /// Begins a connection to `address`, from `source` if given. [`Event::Connected`] or [`Event::Failed`] follows.
    ///
    /// # Errors
    /// The system's, when there is no socket, descriptor or slot to be had.
    ///
    /// # Panics
    /// On a ring that listens: the kernel chooses the slots of accepted sockets from the same table.
    pub fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> io::Result<Slot> {
        assert!(
            self.listeners.is_empty(),
            "a ring listens or connects, not both"
        );
        let index = self
            .free
            .pop()
            .or_else(|| self.new_slot(self.sockets.len() as u32))
            .ok_or_else(|| io::Error::from(Errno::ENOBUFS))?;
        match self.connect_in(index, address, source) {
            Ok(()) => Ok(Slot(index)),
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    /// A slot that is used for the first time, and those below it; `None` when the table has none such.
    fn new_slot(&mut self, index: u32) -> Option<u32> {
        if index >= self.sockets_max {
            return None;
        }
        if self.sockets.len() <= index as usize {
            self.sockets
                .resize_with(index as usize + 1, || Socket::FREE);
        }
        Some(index)
    }

    fn connect_in(
        &mut self,
        index: u32,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let socket = OsSocket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // The port is chosen when the destination is known: one port serves a connection to each.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        // The table keeps the file; the descriptor itself is closed with `socket` at the end of this function.
        self.ring
            .submitter()
            .register_files_update(index, &[socket.as_raw_fd()])?;
        let known = self.addresses.iter().find(|(known, _)| *known == address);
        let entry = match known {
            Some((_, address)) => connect_entry(index, address),
            None => {
                let named = Box::new(SockAddr::from(address));
                let entry = connect_entry(index, &named);
                self.addresses.push((address, named));
                entry
            }
        };
        let socket = &mut self.sockets[index as usize];
        socket.renew(State::Connecting);
        socket.connecting = true;
        let generation = socket.generation;
        self.push(&entry.user_data(user_data(op::CONNECT, index, generation)));
        Ok(())
    }

    /// Accepts connections on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The system's, when the address cannot be bound.
    ///
    /// # Panics
    /// On a ring that connects, as [`Ring::connect`] does on one that listens.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        port: Port,
    ) -> io::Result<(Listener, SocketAddr)> {
        assert!(
            self.sockets.is_empty() || !self.listeners.is_empty(),
            "a ring listens or connects, not both"
        );
        let socket = OsSocket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if port != Port::Own {
            socket.set_reuse_port(true)?;
        }
        if let Port::SharedByCore(core) = port {
            socket.set_cpu_affinity(core)?;
        }
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let bound = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the bound address is no IP address"))?;
        let listener = Listener(self.listeners.len() as u32);
        self.listeners.push(socket);
        self.relisten.push(listener);
        Ok((listener, bound))
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
            // Not in the arena, but its time is taken as that of the others.
            self.staged.push(slot);
            self.send_rest(Rest {
                slot,
                generation,
                bytes: bytes.into(),
            });
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
        self.staged.push(slot);
        // The pointer stays good until the kernel has taken the entry: the arena is cleared only when a turn has handed
        // over all that was queued before it. With MSG_DONTWAIT the kernel does not keep it past that.
        self.push(&entry);
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
            // The queue is full: hand it over. An error here leaves it full, and the next round tries again; the only
            // lasting one (EBUSY, a completion queue that overflowed) ends as soon as the turn reaps.
            self.enters += 1;
            if let Err(error) = self.ring.submit() {
                assert!(is_passing(&error), "io_uring_enter: {error}");
                self.flush_overflow();
            }
        }
    }

    /// Makes room when the kernel holds completions back: a wait of no time lets it deliver what fits.
    fn flush_overflow(&mut self) {
        let now = Timespec::new();
        let _ = self
            .ring
            .submitter()
            .submit_with_args(1, &SubmitArgs::new().timespec(&now));
    }

    /// One turn: submits what is queued, waits until something completes or `timeout_ns` has passed (`Some(0)`:
    /// not at all; `None`: without end), and calls `on_event` for all that completed.
    ///
    /// # Panics
    /// When the kernel refuses the ring itself, which no input can bring about.
    pub fn turn(&mut self, timeout_ns: Option<u64>, on_event: impl FnMut(Event)) {
        let until_ns = timeout_ns.map_or(u64::MAX, |ns| now_ns().saturating_add(ns));
        self.turn_until(until_ns, on_event);
    }

    /// [`Ring::turn`] that waits until the clock shows `until_ns` ([`crate::clock::now_ns`]): a time that has passed is
    /// no wait, `u64::MAX` one without end.
    ///
    /// # Panics
    /// As [`Ring::turn`].
    #[inline]
    pub fn turn_until(&mut self, until_ns: u64, mut on_event: impl FnMut(Event)) {
        self.arm();
        self.buffers.publish();
        self.submitting_ns = now_ns();
        for slot in &self.staged {
            self.sockets[slot.at()].sent_ns = self.submitting_ns;
        }
        self.enters += 1;
        let outcome = if until_ns == u64::MAX {
            self.ring.submit_and_wait(1)
        } else {
            let ns = until_ns.saturating_sub(self.submitting_ns);
            let wait = Timespec::new()
                .sec(ns / 1_000_000_000)
                .nsec((ns % 1_000_000_000) as u32);
            self.ring
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(&wait))
        };
        if let Err(error) = outcome {
            assert!(is_passing(&error), "io_uring_enter: {error}");
        }
        self.reaped_ns = now_ns();
        // Asked before reaping, which can queue entries of its own.
        let is_taken = self.ring.submission().is_empty();
        self.reap(&mut on_event);
        if is_taken {
            for slot in self.staged.drain(..) {
                let socket = &mut self.sockets[slot.at()];
                // A rest that was left over is still going out.
                if socket.staged.len != 0 {
                    socket.staged.len = 0;
                    socket.sending = false;
                }
            }
            self.arena.clear();
            if self.addresses.len() > ADDRESSES_KEPT {
                self.addresses.clear();
            }
        }
    }

    /// Queues the multishot operations that ended and are due again.
    fn arm(&mut self) {
        if !self.wake_armed {
            self.wake_armed = true;
            let entry = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
                .multi(true)
                .build()
                .user_data(user_data(op::WAKE, 0, 0));
            self.push(&entry);
        }
        while let Some(listener) = self.relisten.pop() {
            let fd = types::Fd(self.listeners[listener.0 as usize].as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd)
                .allocate_file_index(true)
                .build()
                .user_data(user_data(op::ACCEPT, listener.0, 0));
            self.push(&entry);
        }
        if !self.starved.is_empty() && self.buffers.is_available() {
            self.rearm.append(&mut self.starved);
        }
        while let Some(slot) = self.rearm.pop() {
            let socket = &mut self.sockets[slot.at()];
            if socket.state != State::Open || socket.armed || socket.ended {
                continue;
            }
            socket.armed = true;
            let data = user_data(op::RECEIVE, slot.0, socket.generation);
            self.push(
                &opcode::RecvMulti::new(Fixed(slot.0), BUFFER_GROUP)
                    .build()
                    .user_data(data),
            );
        }
    }

    fn reap(&mut self, on_event: &mut impl FnMut(Event)) {
        // Taken one at a time, because handling one can queue new entries. It ends: with deferred task work
        // completions appear only while this thread is in a system call.
        loop {
            let completion = self.ring.completion().next();
            let Some(completion) = completion else { return };
            self.complete(&completion, on_event);
        }
    }

    #[inline]
    fn complete(&mut self, completion: &cqueue::Entry, on_event: &mut impl FnMut(Event)) {
        let data = completion.user_data();
        let (operation, generation, index) = (data as u8, (data >> 8) as u8, (data >> 16) as u32);
        let (result, flags) = (completion.result(), completion.flags());
        match operation {
            op::RECEIVE => self.complete_receive(Slot(index), generation, result, flags, on_event),
            op::SEND => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                if socket.generation != generation || socket.state != State::Open {
                    return;
                }
                // Only failures and short sends are told.
                let sent = match Errno::from_raw(-result) {
                    _ if result >= 0 => result as usize,
                    Errno::EAGAIN => 0,
                    _ => return self.fail(slot, -result, on_event),
                };
                let staged = std::mem::replace(&mut socket.staged, Staged::EMPTY);
                let Some(bytes) = self
                    .arena
                    .bytes(staged)
                    .get(sent..)
                    .filter(|b| !b.is_empty())
                else {
                    // Told too late (the completion queue overflowed): the bytes are gone.
                    return self.fail(slot, Errno::EIO as i32, on_event);
                };
                let bytes = bytes.into();
                self.send_rest(Rest {
                    slot,
                    generation,
                    bytes,
                });
            }
            op::SEND_REST => {
                let Some(rest) = self.rests.take(index) else {
                    return;
                };
                let socket = &mut self.sockets[rest.slot.at()];
                if socket.generation != rest.generation || socket.state != State::Open {
                    return;
                }
                socket.rest = NO_REST;
                if result < 0 {
                    return self.fail(rest.slot, -result, on_event);
                }
                let sent = result as usize;
                if sent < rest.bytes.len() {
                    self.send_rest(Rest {
                        bytes: rest.bytes[sent..].into(),
                        ..rest
                    });
                } else {
                    socket.sending = false;
                    on_event(Event::Drained(rest.slot));
                }
            }
            op::CONNECT => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                socket.connecting = false;
                if socket.state == State::Closing {
                    self.settle(slot);
                } else if result < 0 {
                    self.fail(slot, -result, on_event);
                } else {
                    socket.state = State::Open;
                    self.rearm.push(slot);
                    on_event(Event::Connected(slot));
                }
            }
            op::CLOSE => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                if socket.generation == generation {
                    socket.close_in_flight = false;
                    self.settle(slot);
                }
            }
            op::ACCEPT => {
                let listener = Listener(index);
                if !cqueue::more(flags) {
                    self.relisten.push(listener);
                }
                if result < 0 {
                    on_event(Event::AcceptFailed(listener, -result));
                } else {
                    let slot = Slot(result as u32);
                    let is_known = self.new_slot(slot.0).is_some();
                    assert!(is_known, "a slot beyond the table");
                    let socket = &mut self.sockets[slot.at()];
                    socket.renew(State::Open);
                    socket.accepted = true;
                    self.rearm.push(slot);
                    on_event(Event::Accepted(listener, slot));
                }
            }
            op::WAKE => {
                self.wake_armed = cqueue::more(flags);
                let _ = self.wake.read();
                on_event(Event::Woken);
            }
            _ => {}
        }
    }

    #[inline]
    fn complete_receive(
        &mut self,
        slot: Slot,
        generation: u8,
        result: i32,
        flags: u32,
        on_event: &mut impl FnMut(Event),
    ) {
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            self.buffers.take();
        }
        let socket = &mut self.sockets[slot.at()];
        if socket.generation != generation {
            if let Some(id) = buffer {
                self.buffers.release(id);
            }
            return;
        }
        if !cqueue::more(flags) {
            socket.armed = false;
            if socket.state == State::Closing {
                if let Some(id) = buffer {
                    self.buffers.release(id);
                }
                return self.settle(slot);
            }
            if result == -(Errno::ENOBUFS as i32) {
                self.buffers.grow();
                self.starved.push(slot);
            } else if result == -(Errno::ECANCELED as i32) && socket.first != NO_BUFFER {
                socket.paused = true;
            } else {
                self.rearm.push(slot);
            }
        }
        match (result, buffer) {
            (1.., Some(id)) => {
                if socket.state != State::Open {
                    return self.buffers.release(id);
                }
                self.buffers.fill(id, result as u32);
                let turn = self.enters as u32;
                let mut is_unread = false;
                if socket.first == NO_BUFFER {
                    socket.first = id;
                    (socket.held, socket.held_since) = (1, turn);
                } else {
                    self.buffers.link(socket.last, id);
                    socket.held += 1;
                    is_unread = socket.held > UNREAD_BUFFERS_MAX && socket.held_since != turn;
                }
                socket.last = id;
                socket.received_ns = self.reaped_ns;
                if is_unread && socket.armed {
                    self.stop_receiving(slot);
                }
                on_event(Event::Received(slot));
            }
            (0, buffer) => {
                if let Some(id) = buffer {
                    self.buffers.release(id);
                }
                socket.ended = true;
                on_event(Event::Ended(slot));
            }
            (error, _) => match Errno::from_raw(-error) {
                Errno::ENOBUFS | Errno::ECANCELED => {}
                _ => self.fail(slot, -error, on_event),
            },
        }
    }

    /// Ends the multishot receive; its last completion says so.
    #[cold]
    fn stop_receiving(&mut self, slot: Slot) {
        let generation = self.sockets[slot.at()].generation;
        let receive = user_data(op::RECEIVE, slot.0, generation);
        self.cancel(slot, CancelBuilder::user_data(receive));
    }

    /// The completions of what is cancelled say so, or that it was done before.
    fn cancel(&mut self, slot: Slot, what: CancelBuilder) {
        let data = user_data(op::CANCEL, slot.0, self.sockets[slot.at()].generation);
        self.push(&opcode::AsyncCancel2::new(what).build().user_data(data));
    }

    fn fail(&mut self, slot: Slot, errno: i32, on_event: &mut impl FnMut(Event)) {
        let socket = &mut self.sockets[slot.at()];
        if !socket.ended {
            socket.ended = true;
            on_event(Event::Failed(slot, errno));
        }
    }

    /// Frees the slot if nothing of it is in flight any more.
    fn settle(&mut self, slot: Slot) {
        let socket = &mut self.sockets[slot.at()];
        if socket.is_settled() {
            socket.state = State::Free;
            if !socket.accepted {
                self.free.push(slot.0);
            }
        }
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

fn connect_entry(index: u32, address: &SockAddr) -> squeue::Entry {
    opcode::Connect::new(Fixed(index), address.as_ptr().cast(), address.len()).build()
}

#[inline]
fn user_data(operation: u8, index: u32, generation: u8) -> u64 {
    u64::from(index) << 16 | u64::from(generation) << 8 | u64::from(operation)
}

/// Errors of a wait that are part of normal life: its time is up, a signal came, the kernel wants to be asked again.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ETIME | Errno::EINTR | Errno::EAGAIN | Errno::EBUSY)
    )
}
