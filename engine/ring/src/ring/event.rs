//! What a ring tells and what it refuses.

use std::fmt;
use std::sync::Arc;

use nix::sys::eventfd::EventFd;

use crate::socket::{Listener, Slot};

/// Something that happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is made; bytes can be sent, and receiving is armed.
    Connected(Slot),
    /// A listener made a connection.
    Accepted(Listener, Slot),
    /// There are received bytes ([`crate::Ring::received`]).
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
pub struct RingWaker(pub(super) Arc<EventFd>);

impl RingWaker {
    /// The ring's current or next wait ends with [`Event::Woken`].
    pub fn wake(&self) {
        // Fails only when the counter is full, and then the ring is awake anyway.
        let _ = self.0.write(1);
    }
}
