//! A connection together with what the worker keeps for its socket.

use loadr_ring::Slot;

use crate::connection::{Connection, Service};
use crate::tls::Session;

/// Buffers of a connection that grew beyond this are freed when they are empty.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A connection with its socket's side of things.
pub(crate) struct Peer {
    pub(crate) slot: Slot,
    /// Tells timers of this connection from those of an earlier one in the same slot.
    pub(crate) serial: u64,
    pub(crate) is_open: bool,
    pub(crate) connection: Connection,
    /// `None`: it is plain.
    pub(crate) tls: Option<Box<Session>>,
    /// Bytes for the socket that are not sent, from `sent` on.
    pub(crate) backlog: Vec<u8>,
    pub(crate) sent: usize,
    /// The time of its timer, so that none is set twice.
    pub(crate) alarm_ns: Option<u64>,
    /// It is in the worker's list of those that are due.
    pub(crate) is_due: bool,
    /// Its socket took no bytes when last asked.
    pub(crate) is_blocked: bool,
}

impl Peer {
    pub(crate) fn new(slot: Slot, serial: u64, tls: Option<Box<Session>>) -> Self {
        Self {
            slot,
            serial,
            is_open: true,
            connection: Connection::new(),
            tls,
            backlog: Vec::new(),
            sent: 0,
            alarm_ns: None,
            is_due: false,
            is_blocked: false,
        }
    }

    /// Another connection in the same slot; what the earlier one had allocated serves again.
    pub(crate) fn renew(&mut self, serial: u64, tls: Option<Box<Session>>) {
        self.serial = serial;
        self.tls = tls;
        self.is_open = true;
        self.connection.renew();
        self.backlog.clear();
        self.sent = 0;
        self.alarm_ns = None;
    }

    /// Whether it has something to do once its socket takes bytes.
    pub(crate) fn has_more(&self) -> bool {
        !self.backlog.is_empty() || self.connection.is_streaming() || self.connection.is_over()
    }
}

/// The open connection of a slot.
#[inline]
pub(crate) fn peer(peers: &mut [Option<Box<Peer>>], slot: Slot) -> Option<&mut Peer> {
    peers
        .get_mut(slot.at())
        .and_then(Option::as_deref_mut)
        .filter(|peer| peer.is_open)
}

/// Handles what input had to wait.
pub(crate) fn advance_input(connection: &mut Connection, service: &mut Service, out: &mut Vec<u8>) {
    let mut input = std::mem::take(&mut connection.input);
    let done = connection.advance(&input, service, out);
    input.drain(..done);
    if input.is_empty() {
        clear(&mut input);
    }
    connection.input = input;
}

/// Empties a buffer, and frees it if it grew large.
pub(crate) fn clear(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT_BYTES_MAX {
        *bytes = Vec::new();
    } else {
        bytes.clear();
    }
}
