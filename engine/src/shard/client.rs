//! What sends requests one after another, over connections of its own. A virtual user has one; what runs beside it has
//! its own.

use std::rc::Rc;

use loadr_config::OriginId;
use loadr_ring::Slot;
use smallvec::SmallVec;

use super::caching::Caching;
use super::exchange::{Broken, Call};
use super::show::Shown;
use super::state::{Prepared, Shard};
use super::tasks::{TaskId, signal};
use super::tls;
use crate::error_kind::ErrorKind;
use crate::http::Reader;
use crate::tls::Session;

/// An open connection.
pub(super) struct Connection {
    pub(super) slot: Slot,
    /// Responses it has carried.
    pub(super) used: u32,
    /// Of an origin that is reached over TLS; lent to the exchange that goes on.
    pub(super) tls: Option<Box<Session>>,
}

/// Most plans have one origin: its connection is where the user is.
pub(super) type Connections = SmallVec<[Option<Connection>; 1]>;

pub(super) struct Client {
    pub(super) shard: Rc<Shard>,
    /// What the events of its connections wake.
    pub(super) task: TaskId,
    /// By [`OriginId`].
    pub(super) connections: Connections,
    pub(super) reader: Reader,
    /// The last request that is kept, see [`Call::is_kept`].
    pub(super) sent: Vec<u8>,
    /// When people are shown what it sends and gets.
    pub(super) shown: Option<Box<Shown>>,
}

impl Client {
    pub(super) fn new(shard: Rc<Shard>, task: TaskId) -> Self {
        let reader = Reader::new(&shard.spares);
        let connections = shard.program.origins.iter().map(|_| None).collect();
        Self {
            shard,
            task,
            connections,
            reader,
            sent: Vec::new(),
            shown: None,
        }
    }

    /// Whether a connection may stay open: of the origins met in the run, as many as the plan has.
    #[inline]
    pub(super) fn may_keep(&self, origin: OriginId) -> bool {
        origin.at() < 2 * self.shard.program.origins.len()
    }

    pub(super) fn disconnect_all(&mut self) {
        for connection in self.connections.iter_mut().filter_map(Option::take) {
            self.shard.release(connection.slot);
        }
    }

    /// The connection to an origin, if it can carry another request.
    pub(super) fn reusable(&mut self, origin: OriginId) -> Option<(Slot, u32)> {
        let connection = self.connections.get_mut(origin.at())?.as_mut()?;
        let (slot, used) = (connection.slot, connection.used);
        let mut ring = self.shard.ring.borrow_mut();
        if let Some(tls) = &mut connection.tls {
            // What a server says between two requests is mostly a session to resume.
            if tls::receive(&mut ring, slot, tls).is_err() || !tls.plain().is_empty() {
                drop(ring);
                self.disconnect(origin);
                return None;
            }
        }
        if !ring.has_ended(slot) && ring.received(slot).is_empty() {
            return Some((slot, used));
        }
        drop(ring);
        // Closed, or spoken on, while it was idle.
        self.disconnect(origin);
        None
    }

    pub(super) async fn connect(&mut self, origin: OriginId) -> Result<Slot, Broken> {
        let shard = Rc::clone(&self.shard);
        let slot = shard
            .connect(origin, self.task)
            .map_err(|errno| Broken::Failed(ErrorKind::of_connect(errno), errno))?;
        if self.connections.len() <= origin.at() {
            self.connections.resize_with(origin.at() + 1, || None);
        }
        self.connections[origin.at()] = Some(Connection {
            slot,
            used: 0,
            tls: None,
        });
        let mask = signal::CONNECTED | signal::ENDED | signal::TIMEOUT | signal::CANCEL;
        loop {
            let signals = shard.wait(self.task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Err(Broken::Cancelled);
            }
            // An end may be that of an idle connection to another origin.
            if shard.ring.borrow().has_ended(slot) {
                let errno = shard.errno(slot);
                return Err(Broken::Failed(ErrorKind::of_connect(errno), errno));
            }
            // Before the good news: a connection that came with the end of the time has none left for a request.
            if signals & signal::TIMEOUT != 0 {
                return Err(Broken::Failed(ErrorKind::ConnectTimeout, 0));
            }
            if signals & signal::CONNECTED != 0 {
                return Ok(slot);
            }
        }
    }

    /// Queues the rendered request; the number of its bytes.
    pub(super) async fn send(
        &mut self,
        call: &Call<'_>,
        slot: Slot,
        tls: &mut Option<Box<Session>>,
    ) -> Result<usize, Broken> {
        loop {
            match self.try_send(*call, slot, tls)? {
                Some(len) => return Ok(len),
                None => self.wait_for_drain(slot).await?,
            }
        }
    }

    /// `None` while an earlier send (of a request whose response came before all of it was sent) is not out.
    pub(super) fn try_send(
        &mut self,
        call: Call<'_>,
        slot: Slot,
        tls: &mut Option<Box<Session>>,
    ) -> Result<Option<usize>, Broken> {
        let shard = &self.shard;
        // Nothing is rendered or shown that cannot go out yet.
        if shard.ring.borrow().is_sending(slot) {
            return Ok(None);
        }
        let sends_cookies = call.request.http.sends_cookies && !call.own.jar.borrow().is_empty();
        let sent = match &shard.prepared[call.id.at()] {
            Prepared::Static(bytes) if call.hop.is_none() && !sends_cookies => {
                if let Some(shown) = &mut self.shown {
                    shown.sends(shard, call.id, call.origin, bytes);
                }
                let mut ring = shard.ring.borrow_mut();
                tls::send(&mut ring, slot, tls, bytes)?
            }
            _ => {
                let mut scratch = shard.scratch.borrow_mut();
                let (head, body) = &mut *scratch;
                let is_ready = match call.caching {
                    Some(caching) => caching.take_asked(head),
                    None => false,
                };
                if !is_ready {
                    shard
                        .render_request(call, head, body)
                        .map_err(Broken::Unsent)?;
                }
                if call.is_kept(shard) {
                    self.sent.clear();
                    match call.caching.and_then(Caching::asked_plain) {
                        Some(plain) => self.sent.extend_from_slice(&plain),
                        None => self.sent.extend_from_slice(head),
                    }
                }
                if sends_cookies && !is_ready {
                    shard.add_cookies(call, head, body);
                }
                shard.address_to_proxy(call, head);
                if let Some(shown) = &mut self.shown {
                    shown.sends(shard, call.id, call.origin, head);
                }
                let mut ring = shard.ring.borrow_mut();
                tls::send(&mut ring, slot, tls, head)?
            }
        };
        match sent {
            Ok(len) => Ok(Some(len)),
            Err(loadr_ring::SendError::Busy) => Ok(None),
            Err(loadr_ring::SendError::NotOpen) => Err(Broken::Failed(ErrorKind::Closed, 0)),
        }
    }

    pub(super) async fn wait_for_drain(&mut self, slot: Slot) -> Result<(), Broken> {
        let mask = signal::DRAINED | signal::ENDED | signal::TIMEOUT | signal::CANCEL;
        loop {
            let signals = self.shard.wait(self.task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Err(Broken::Cancelled);
            }
            if self.shard.ring.borrow().has_ended(slot) {
                return Err(Broken::Stale);
            }
            if signals & signal::TIMEOUT != 0 {
                return Err(Broken::Failed(ErrorKind::Timeout, 0));
            }
            if signals & signal::DRAINED != 0 {
                return Ok(());
            }
        }
    }

    pub(super) fn disconnect(&mut self, origin: OriginId) {
        let connection = self.connections.get_mut(origin.at());
        if let Some(connection) = connection.and_then(Option::take) {
            if let Some(shown) = &mut self.shown {
                shown.disconnected(&self.shard);
            }
            self.shard.release(connection.slot);
            self.shard.tasks.borrow_mut().forget_connection(self.task);
        }
    }
}
