//! What goes out: requests are rendered behind each other and sent together.

use loadr_config::{OriginId, RequestId};

use super::super::client::Client;
use super::super::exchange::{Broken, Call};
use super::super::state::Prepared;
use super::super::tls;
use super::super::vu::{Next, Vu};
use super::line::{End, InFlight, Line};
use crate::http::RenderError;

impl Vu {
    /// Adds a request to what goes out next: [`Next::Step`] when it was, [`Next::End`] when there is no row for it, and
    /// [`Next::Iteration`] when it cannot be rendered.
    pub(super) fn put(&mut self, line: &mut Line, id: RequestId, begun_ns: u64) -> Next {
        let shard = &self.shard;
        let request = &shard.program.requests[id.at()];
        let sends_cookies = request.http.sends_cookies && !self.own.jar.borrow().is_empty();
        if line.in_flight.is_empty() {
            // What went alone has left its response there.
            self.client.reader.reset();
        }
        let before = line.batch.len();
        let mut bytes = Vec::new();
        match &shard.prepared[id.at()] {
            Prepared::Static(always) if !sends_cookies => line.batch.extend_from_slice(always),
            prepared => {
                let call = Call::new(shard, id, None, &self.own, self.client.task);
                let mut scratch = shard.scratch.borrow_mut();
                let (head, body) = &mut *scratch;
                match shard.render_request(call, head, body) {
                    Ok(()) => {}
                    Err(RenderError::NoRow(_)) => return Next::End,
                    Err(_) => return Next::Iteration,
                }
                if matches!(prepared, Prepared::Templated { .. }) {
                    bytes = line.spare.pop().unwrap_or_default();
                    bytes.extend_from_slice(head);
                }
                if sends_cookies {
                    shard.add_cookies(call, head, body);
                }
                shard.address_to_proxy(call, head);
                line.batch.extend_from_slice(head);
            }
        }
        if let Some(shown) = &mut self.client.shown {
            shown.sends(shard, id, request.origin, &line.batch[before..]);
        }
        let timeout_ns = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
        line.in_flight.push_back(InFlight {
            id,
            begun_ns,
            sent_ns: 0,
            deadline_ns: begun_ns.saturating_add(timeout_ns),
            sent_bytes: (line.batch.len() - before) as u64,
            bytes,
            ends: None,
        });
        line.origin = Some(request.origin);
        line.unstamped += 1;
        line.is_last_its = true;
        Next::Step
    }

    /// Queues what [`Vu::put`] has added.
    pub(super) fn flush(&mut self, line: &mut Line) {
        if line.batch.is_empty() {
            return;
        }
        let Some(connection) = line.connection(&mut self.client.connections) else {
            line.batch.clear();
            return self.lose(line, &End::Gone(0));
        };
        let sent = {
            let mut ring = self.shard.ring.borrow_mut();
            tls::send(&mut ring, connection.slot, &mut connection.tls, &line.batch)
        };
        let plain = line.batch.len();
        line.batch.clear();
        match sent {
            Ok(Ok(len)) => {
                // What TLS adds.
                if let Some(last) = line.in_flight.back_mut() {
                    last.sent_bytes += (len - plain.min(len)) as u64;
                }
            }
            // The socket was asked before: it takes nothing only when it is gone.
            Err(Broken::Tls(why)) => self.lose(line, &End::Tls(why)),
            Ok(Err(_)) | Err(_) => self.lose(line, &End::Gone(0)),
        }
    }
}

impl Client {
    /// Whether the connection to an origin takes another request beside those in flight.
    pub(super) fn may_send(&self, origin: OriginId) -> bool {
        let Some(Some(connection)) = self.connections.get(origin.at()) else {
            return false;
        };
        let ring = self.shard.ring.borrow();
        !ring.is_sending(connection.slot) && !ring.has_ended(connection.slot)
    }
}
