//! A user's pipeline: what is in flight on its connection, what is set aside, and when each of it was sent.

use std::collections::VecDeque;

use loadr_config::{OriginId, RequestId};

use super::super::client::Connection;
use super::super::hop::Moved;
use super::super::judge::Verdict;
use crate::error_kind::ErrorKind;
use crate::metrics::Sample;

/// A request without a whole response.
pub(super) struct InFlight {
    pub(super) id: RequestId,
    pub(super) begun_ns: u64,
    /// When the system call began that sent it; 0 until that is known.
    pub(super) sent_ns: u64,
    pub(super) deadline_ns: u64,
    pub(super) sent_bytes: u64,
    /// As it was sent, but for cookies; empty when its bytes are always the same.
    pub(super) bytes: Vec<u8>,
    /// When the iteration began whose last request it is.
    pub(super) ends: Option<u64>,
}

/// What waits until nothing is in flight.
pub(super) enum Aside {
    /// Sent, not answered, and to be sent once more.
    Again(InFlight),
    /// Answered by a redirect.
    Moved(InFlight, Box<Moved>, Sample),
    /// The end of an iteration that began then, which something before it holds up.
    End(u64),
}

/// Why a connection carries no further response.
pub(super) enum End {
    /// The last response said so, or more was said than was asked for.
    Told,
    /// The response at hand is not one.
    Wrong(ErrorKind),
    /// It ended, or failed with the system's error.
    Gone(i32),
    Tls(String),
    Timeout,
}

/// What the flow asks for next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    Request(RequestId),
    /// It cannot be known before what is in flight is answered.
    Unknown,
    /// Nothing more.
    Over,
}

/// A user's pipeline.
pub(super) struct Line {
    pub(super) depth: usize,
    /// Where all of them go, once one has gone.
    pub(super) origin: Option<OriginId>,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) aside: Vec<Aside>,
    /// Those at the end of `in_flight` of which it is not known when they were sent.
    pub(super) unstamped: usize,
    /// Bytes of the response at hand, and when the first of them came.
    pub(super) received_bytes: u64,
    pub(super) first_ns: u64,
    /// Requests that go out together.
    pub(super) batch: Vec<u8>,
    /// Memory of requests that were answered.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) ahead: Ahead,
    /// Whether an iteration has begun whose last request is not sent, and when.
    pub(super) is_within: bool,
    pub(super) began_ns: u64,
    /// Whether the last request that this iteration has sent is the last one in flight.
    pub(super) is_last_its: bool,
    /// What failed asserts ask for.
    pub(super) verdicts: Vec<(RequestId, Verdict)>,
}

impl Line {
    pub(super) fn new(depth: usize) -> Self {
        Self {
            depth,
            origin: None,
            in_flight: VecDeque::with_capacity(depth),
            aside: Vec::new(),
            unstamped: 0,
            received_bytes: 0,
            first_ns: 0,
            batch: Vec::new(),
            spare: Vec::new(),
            ahead: Ahead::Unknown,
            is_within: false,
            began_ns: 0,
            is_last_its: false,
            verdicts: Vec::new(),
        }
    }

    /// The connection that they go over.
    pub(super) fn connection<'c>(
        &self,
        connections: &'c mut [Option<Connection>],
    ) -> Option<&'c mut Connection> {
        connections.get_mut(self.origin?.at())?.as_mut()
    }

    /// It is now known when the last requests were sent.
    pub(super) fn stamp(&mut self, sent_ns: u64) {
        let unstamped = self.in_flight.iter_mut().rev().take(self.unstamped);
        // Before the next turn it is still the time of an earlier one.
        for request in unstamped.filter(|request| request.begun_ns <= sent_ns) {
            request.sent_ns = sent_ns;
            self.unstamped = 0;
        }
    }

    /// When the first of those in flight has had its time.
    pub(super) fn deadline_ns(&self) -> u64 {
        let deadlines = self.in_flight.iter().map(|request| request.deadline_ns);
        deadlines.min().unwrap_or(u64::MAX)
    }

    /// The phases of a request: in flight until `end_ns`, with some of its response there or none.
    pub(super) fn sample(&self, request: &InFlight, end_ns: u64, has_begun: bool) -> Sample {
        let sent_ns = request.sent_ns.max(request.begun_ns);
        let first_ns = if has_begun { self.first_ns } else { end_ns };
        let first_ns = first_ns.max(sent_ns);
        Sample {
            was_sent: true,
            sending: sent_ns - request.begun_ns,
            waiting: first_ns - sent_ns,
            receiving: end_ns.max(first_ns) - first_ns,
            sent_bytes: request.sent_bytes,
            received_bytes: if has_begun { self.received_bytes } else { 0 },
            ..Sample::default()
        }
    }

    /// Keeps a request's memory.
    pub(super) fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > 0 && self.spare.len() < self.depth {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Iterations that have begun and are not over.
    pub(super) fn unfinished(&self) -> u64 {
        let sent = self.in_flight.iter().filter(|r| r.ends.is_some()).count();
        let aside = self.aside.iter().filter(|a| matches!(a, Aside::End(_)));
        (sent + aside.count()) as u64 + u64::from(self.is_within)
    }
}
