//! Requests through a proxy: their targets in absolute-form (RFC 9112 section 3.2.2), and tunnels to origins that are
//! reached over TLS (RFC 9110 section 9.3.6).

use std::rc::Rc;

use loadr_config::{OriginId, Program, Proxy};
use loadr_ring::{SendError, Slot};

use super::client::Client;
use super::exchange::{Broken, Call};
use super::state::Shard;
use super::tasks::signal;
use crate::error_kind::ErrorKind;
use crate::http::connect_answer;
use crate::http::redirect::head_len;
use crate::metrics::Sample;

/// What a proxied request has beside its own bytes.
#[derive(Debug, Default)]
pub(super) struct Proxied {
    /// By [`OriginId`], of the plan's own: what comes before its targets.
    prefixes: Box<[Box<str>]>,
    /// The field with the credentials, or nothing.
    authorization: Box<[u8]>,
}

impl Proxied {
    pub(super) fn new(program: &Program) -> Self {
        let Some(proxy) = &program.proxy else {
            return Self::default();
        };
        let prefix = |authority: &str| format!("http://{authority}").into();
        Self {
            prefixes: program
                .origins
                .iter()
                .map(|origin| prefix(&origin.authority))
                .collect(),
            authorization: authorization(proxy).into(),
        }
    }
}

fn authorization(proxy: &Proxy) -> Vec<u8> {
    match &proxy.authorization {
        Some(value) => [b"proxy-authorization: ", value.bytes(), b"\r\n"].concat(),
        None => Vec::new(),
    }
}

impl Shard {
    /// Makes a rendered request one for the proxy, where it goes through it as it is.
    pub(super) fn address_to_proxy(&self, call: Call<'_>, head: &mut Vec<u8>) {
        if self.program.proxy.is_none() || self.is_tls(call.origin) {
            return;
        }
        let credentials = &self.proxied.authorization;
        if !credentials.is_empty() {
            // Before the empty line.
            let at = head_len(head).saturating_sub(2);
            head.splice(at..at, credentials.iter().copied());
        }
        let at = memchr::memchr(b' ', head).map_or(0, |at| at + 1);
        match self.proxied.prefixes.get(call.origin.at()) {
            Some(prefix) => drop(head.splice(at..at, prefix.bytes())),
            None => {
                let prefix = format!("http://{}", self.authority(call.origin).text);
                head.splice(at..at, prefix.bytes());
            }
        }
    }

    /// Whether connections to an origin are tunnels.
    #[inline]
    pub(super) fn tunnels(&self, origin: OriginId) -> bool {
        self.program.proxy.is_some() && self.is_tls(origin)
    }
}

impl Client {
    /// Has the proxy make a way to the origin over a connection that is made.
    pub(super) async fn tunnel(
        &mut self,
        origin: OriginId,
        slot: Slot,
        sample: &mut Sample,
    ) -> Result<(), Broken> {
        let shard = Rc::clone(&self.shard);
        let authority = shard.authority(origin);
        let host = if authority.host.contains(':') {
            format!("[{}]", authority.host)
        } else {
            authority.host
        };
        let place = format!("{host}:{}", authority.port);
        let mut asked = format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n").into_bytes();
        asked.extend_from_slice(&shard.proxied.authorization);
        asked.extend_from_slice(b"\r\n");
        let sent = shard.ring.borrow_mut().send(slot, &asked);
        match sent {
            Ok(()) => sample.sent_bytes += asked.len() as u64,
            Err(SendError::Busy | SendError::NotOpen) => {
                return Err(Broken::Failed(ErrorKind::Closed, 0));
            }
        }
        let mut answer = Vec::new();
        let mask = signal::RECEIVED | signal::ENDED | signal::TIMEOUT | signal::CANCEL;
        loop {
            let signals = shard.wait(self.task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Err(Broken::Cancelled);
            }
            let mut ring = shard.ring.borrow_mut();
            loop {
                let run = ring.received(slot);
                if run.is_empty() {
                    break;
                }
                let (before, run_len) = (answer.len(), run.len());
                answer.extend_from_slice(run);
                let Some((len, status)) = connect_answer(&answer).map_err(|_| {
                    Broken::Proxy("the proxy's answer to CONNECT is not HTTP/1.1".to_owned())
                })?
                else {
                    sample.received_bytes += run_len as u64;
                    ring.consume(slot, run_len);
                    continue;
                };
                // What follows the answer is the origin's.
                let taken = len.saturating_sub(before).min(run_len);
                sample.received_bytes += taken as u64;
                ring.consume(slot, taken);
                return match status {
                    200..=299 => Ok(()),
                    407 => Err(Broken::Proxy(format!(
                        "the proxy makes no way to {place} with these credentials: it answered 407"
                    ))),
                    _ => Err(Broken::Proxy(format!(
                        "the proxy makes no way to {place}: it answered {status}"
                    ))),
                };
            }
            if ring.has_ended(slot) {
                let errno = shard.errno(slot);
                return Err(if errno == 0 {
                    Broken::Proxy(format!(
                        "the proxy closed the connection when it was asked for a way to {place}"
                    ))
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
