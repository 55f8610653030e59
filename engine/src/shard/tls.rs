//! TLS on the ring's sockets.

use std::rc::Rc;
use std::sync::Arc;

use loadr_config::OriginId;
use loadr_ring::{Ring, SendError, Slot};
use rustls::ClientConfig;

use super::client::Client;
use super::exchange::Broken;
use super::state::Shard;
use super::tasks::signal;
use crate::error_kind::ErrorKind;
use crate::tls::{Session, client_config, for_shard};

/// Queues a request's bytes, encrypted where there is TLS; how many go out.
#[inline]
pub(super) fn send(
    ring: &mut Ring,
    slot: Slot,
    tls: &mut Option<Box<Session>>,
    bytes: &[u8],
) -> Result<Result<usize, SendError>, Broken> {
    match tls {
        None => Ok(ring.send(slot, bytes).map(|()| bytes.len())),
        Some(session) => seal(ring, slot, session, bytes),
    }
}

fn seal(
    ring: &mut Ring,
    slot: Slot,
    session: &mut Session,
    bytes: &[u8],
) -> Result<Result<usize, SendError>, Broken> {
    // What is encrypted must go out: asked before.
    if ring.is_sending(slot) {
        return Ok(Err(SendError::Busy));
    }
    session.seal(bytes).map_err(Broken::Tls)?;
    Ok(flush(ring, slot, session))
}

/// Queues what the session has to send; how much that is.
fn flush(ring: &mut Ring, slot: Slot, session: &mut Session) -> Result<usize, SendError> {
    let len = session.outgoing().len();
    ring.send(slot, session.outgoing())?;
    session.sent();
    Ok(len)
}

/// Hands received runs to the session until there is plain text or nothing is left; how many bytes these were.
pub(super) fn receive(ring: &mut Ring, slot: Slot, session: &mut Session) -> Result<usize, String> {
    let mut received = 0;
    while session.plain().is_empty() {
        let run = ring.received_mut(slot);
        let len = run.len();
        if len == 0 {
            break;
        }
        let taken = session.receive(run);
        ring.consume(slot, len);
        received += len;
        if let Err(why) = taken {
            // The peer is told why, as far as that goes at once.
            if !session.outgoing().is_empty() {
                let _ = flush(ring, slot, session);
            }
            return Err(why);
        }
    }
    Ok(received)
}

impl Shard {
    /// The shard's TLS configuration; made when it is first needed, where redirects alone lead to TLS.
    fn tls(&self) -> Result<Arc<ClientConfig>, Broken> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = client_config(&self.program.tls).map_err(Broken::Tls)?;
        Ok(Arc::clone(self.tls.get_or_init(|| for_shard(&config))))
    }
}

impl Client {
    /// Makes the TLS connection over the TCP one; bytes sent and received. What the client says last goes out with the
    /// request.
    pub(super) async fn handshake(
        &mut self,
        origin: OriginId,
        slot: Slot,
    ) -> Result<(Box<Session>, usize, usize), Broken> {
        let shard = Rc::clone(&self.shard);
        let authority = shard.authority(origin);
        let name = shard.program.tls.server_name.as_ref();
        let name = name.unwrap_or(&authority.host);
        let session = Session::new(&shard.tls()?, name).map_err(Broken::Tls)?;
        let (mut session, mut sent, mut received) = (Box::new(session), 0, 0);
        let mask = signal::RECEIVED | signal::ENDED | signal::TIMEOUT | signal::CANCEL;
        loop {
            if !session.outgoing().is_empty() {
                let flushed = flush(&mut shard.ring.borrow_mut(), slot, &mut session);
                match flushed {
                    Ok(len) => sent += len,
                    Err(SendError::Busy) => {
                        self.wait_for_drain(slot).await?;
                        continue;
                    }
                    Err(SendError::NotOpen) => return Err(Broken::Failed(ErrorKind::Closed, 0)),
                }
            }
            let signals = shard.wait(self.task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Err(Broken::Cancelled);
            }
            let mut ring = shard.ring.borrow_mut();
            match receive(&mut ring, slot, &mut session) {
                Ok(len) => received += len,
                Err(why) => return Err(Broken::Tls(why)),
            }
            if session.is_open() {
                return Ok((session, sent, received));
            }
            if ring.has_ended(slot) {
                let errno = shard.errno(slot);
                return Err(if errno == 0 {
                    Broken::Tls("the peer closed the connection in the handshake".to_owned())
                } else {
                    Broken::Failed(ErrorKind::of_connection(errno), errno)
                });
            }
            if signals & signal::TIMEOUT != 0 {
                return Err(Broken::Failed(ErrorKind::ConnectTimeout, 0));
            }
        }
    }
}
