//! What sends requests one after another, over connections of its own. A virtual user has one; what runs beside it has
//! its own.

use std::cell::RefCell;
use std::rc::Rc;

use loadr_config::{OriginId, RequestId};
use loadr_ring::Slot;

use super::exchange::Broken;
use super::state::{Prepared, Shard};
use super::tasks::{TaskId, signal};
use super::vars::Vars;
use crate::error_kind::ErrorKind;
use crate::http::{Reader, render};

/// An open connection.
pub(super) struct Connection {
    pub(super) slot: Slot,
    /// Responses it has carried.
    pub(super) used: u64,
}

pub(super) struct Client {
    pub(super) shard: Rc<Shard>,
    /// What the events of its connections wake.
    pub(super) task: TaskId,
    /// By [`OriginId`].
    pub(super) connections: Vec<Option<Connection>>,
    pub(super) reader: Reader,
}

impl Client {
    pub(super) fn new(shard: Rc<Shard>, task: TaskId) -> Self {
        let connections = shard.program.origins.iter().map(|_| None).collect();
        Self {
            shard,
            task,
            connections,
            reader: Reader::new(),
        }
    }

    pub(super) fn disconnect_all(&mut self) {
        for connection in self.connections.iter_mut().filter_map(Option::take) {
            self.shard.release(connection.slot);
        }
    }

    /// The connection to an origin, if it can carry another request.
    pub(super) fn reusable(&mut self, origin: OriginId) -> Option<(Slot, u64)> {
        let connection = self.connections[origin.at()].as_ref()?;
        let (slot, used) = (connection.slot, connection.used);
        let ring = self.shard.ring.borrow();
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
        self.connections[origin.at()] = Some(Connection { slot, used: 0 });
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
        id: RequestId,
        slot: Slot,
        vars: &RefCell<Vars>,
    ) -> Result<usize, Broken> {
        loop {
            match self.try_send(id, slot, vars)? {
                Some(len) => return Ok(len),
                None => self.wait_for_drain(slot).await?,
            }
        }
    }

    /// `None` while an earlier send (of a request whose response came before all of it was sent) is not out.
    fn try_send(
        &mut self,
        id: RequestId,
        slot: Slot,
        vars: &RefCell<Vars>,
    ) -> Result<Option<usize>, Broken> {
        let shard = &self.shard;
        let mut ring = shard.ring.borrow_mut();
        let sent = match &shard.prepared[id.at()] {
            Prepared::Static(bytes) => ring.send(slot, bytes).map(|()| bytes.len()),
            Prepared::Templated => {
                let request = &shard.program.requests[id.at()];
                let vars = &*vars.borrow();
                let mut scratch = shard.scratch.borrow_mut();
                let (head, body) = &mut *scratch;
                head.clear();
                body.clear();
                let mut rendered = Ok(());
                if let Some(template) = &request.body {
                    rendered = render(template, vars, 0, body);
                }
                let rendered =
                    rendered.and_then(|()| render(&request.head, vars, body.len(), head));
                if let Err(error) = rendered {
                    return Err(Broken::Unsent(error));
                }
                head.extend_from_slice(body);
                ring.send(slot, head).map(|()| head.len())
            }
        };
        match sent {
            Ok(len) => Ok(Some(len)),
            Err(loadr_ring::SendError::Busy) => Ok(None),
            Err(loadr_ring::SendError::NotOpen) => Err(Broken::Failed(ErrorKind::Closed, 0)),
        }
    }

    async fn wait_for_drain(&mut self, slot: Slot) -> Result<(), Broken> {
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
        if let Some(connection) = self.connections[origin.at()].take() {
            self.shard.release(connection.slot);
            self.shard.tasks.borrow_mut().forget_connection(self.task);
        }
    }
}
