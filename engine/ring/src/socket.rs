//! What is known of each socket in the fixed file table.

use crate::arena::Staged;
use crate::buffers::NO_BUFFER;
use crate::rests::NO_REST;

/// A socket's place in the fixed file table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// The place as what slices take: below [`crate::Settings::sockets`].
    #[must_use]
    #[inline]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Whose the port is that a ring listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This ring's alone.
    Own,
    /// Several rings'; the kernel spreads connections over them.
    Shared,
    /// Several rings'; a connection whose first packet the kernel handles on this core is this ring's. Those of other cores
    /// are spread. Needs Linux 6.2 to have an effect.
    SharedByCore(usize),
}

/// A listening socket of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Connecting,
    Open,
    /// Close is asked for; the slot is free when the kernel has answered all that is in flight.
    Closing,
}

const _: () = assert!(size_of::<Socket>() == 64);

/// A line of the cache each: with thousands of connections it is one that is not there.
#[repr(align(64))]
pub(crate) struct Socket {
    pub(crate) state: State,
    /// Tells completions of this socket from late ones of an earlier socket in the same slot.
    pub(crate) generation: u8,
    /// A multishot receive is in flight.
    pub(crate) armed: bool,
    /// A connect is in flight.
    pub(crate) connecting: bool,
    /// A close is in flight.
    pub(crate) close_in_flight: bool,
    /// A send is staged and not yet submitted, or its rest is in flight.
    pub(crate) sending: bool,
    /// The peer has closed its side (or the connection failed): nothing more will be received.
    pub(crate) ended: bool,
    /// Whether the kernel chose the slot (an accepted socket), so that it also frees it.
    pub(crate) accepted: bool,
    /// Received bytes not yet consumed: first and last buffer of the chain.
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// How many buffers that is, and the ring's turn in which it was none.
    pub(crate) held: u16,
    pub(crate) held_since: u32,
    /// Receiving has stopped until they are consumed: nobody reads what comes.
    pub(crate) paused: bool,
    /// The send of this turn.
    pub(crate) staged: Staged,
    /// The place of what an earlier one left over.
    pub(crate) rest: u32,
    /// When the call that submitted the last send began.
    pub(crate) sent_ns: u64,
    /// When the last bytes were reaped.
    pub(crate) received_ns: u64,
}

impl Socket {
    pub(crate) const FREE: Self = Self {
        state: State::Free,
        generation: 0,
        armed: false,
        connecting: false,
        close_in_flight: false,
        sending: false,
        ended: false,
        accepted: false,
        first: NO_BUFFER,
        last: NO_BUFFER,
        held: 0,
        held_since: 0,
        paused: false,
        staged: Staged::EMPTY,
        rest: NO_REST,
        sent_ns: 0,
        received_ns: 0,
    };

    /// The slot taken anew.
    pub(crate) fn renew(&mut self, state: State) {
        *self = Self {
            state,
            generation: self.generation.wrapping_add(1),
            ..Self::FREE
        };
    }

    /// Whether the kernel has answered everything, so that the slot can be used again.
    pub(crate) fn is_settled(&self) -> bool {
        self.state == State::Closing && !self.armed && !self.connecting && !self.close_in_flight
    }
}
