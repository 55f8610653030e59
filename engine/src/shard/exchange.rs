//! One exchange: a request goes out on a connection, a response comes back.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;

use loadr_config::{Limits, OriginId, Request, RequestId};
use loadr_ring::Slot;

use super::caching::Caching;
use super::client::Client;
use super::hop::{Hop, Moved};
use super::judge::{Judge, Verdict};
use super::state::{Prepared, Shard};
use super::tasks::{TaskId, signal};
use super::vars::Vars;
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::http::{Advance, Expected, Jar, RenderError, Response, Wanted, note};
use crate::instances::Instances;
use crate::metrics::Sample;
use crate::tls::Session;

/// What the requests of a virtual user see of it: shared with what runs beside it, and lent for no longer than a step
/// takes between two waits, so that steps that run at once see each other's values.
pub(super) struct Own {
    pub(super) vars: RefCell<Vars>,
    /// Its plugin instances.
    pub(super) instances: RefCell<Instances>,
    pub(super) jar: RefCell<Jar>,
}

/// A request on its way.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) id: RequestId,
    pub(super) request: &'c Request,
    /// Where a redirect sent it.
    pub(super) hop: Option<&'c Hop>,
    pub(super) origin: OriginId,
    /// What went out, without cookies, where that was kept.
    pub(super) sent: Option<&'c Vec<u8>>,
    pub(super) own: &'c Own,
    /// When the plan has the user keep responses.
    pub(super) caching: Option<&'c Caching>,
    /// Which of the shard's tasks sends it.
    pub(super) task: TaskId,
}

impl<'c> Call<'c> {
    pub(super) fn new(
        shard: &'c Shard,
        id: RequestId,
        hop: Option<&'c Hop>,
        own: &'c Own,
        task: TaskId,
    ) -> Self {
        let request = &shard.program.requests[id.at()];
        Self {
            id,
            request,
            hop,
            origin: hop.map_or(request.origin, |hop| hop.origin),
            sent: None,
            own,
            caching: None,
            task,
        }
    }

    /// Whether its bytes are kept until its response has come: a redirect may want the same content, and is of the same
    /// trace; what a response says is of the URL that was asked for. Rendering again need not give any of it.
    pub(super) fn is_kept(&self, shard: &Shard) -> bool {
        let varies = || {
            matches!(
                shard.prepared[self.id.at()],
                Prepared::Templated { varies: true }
            )
        };
        let http = &self.request.http;
        http.redirects > 0 && self.request.body.is_some()
            || (http.redirects > 0 || http.keeps_cookies || http.caches) && varies()
    }

    pub(super) fn method(&self) -> &'c str {
        match self.hop {
            Some(hop) => hop.method(),
            None => &self.request.method,
        }
    }

    pub(super) fn wanted(&self, limits: &Limits) -> Wanted {
        let (request, http) = (self.request, &self.request.http);
        let note = |wanted: bool, note: u8| if wanted { note } else { 0 };
        Wanted {
            expected: Expected {
                to_head_request: self.method() == "HEAD",
                headers_max: limits.headers_max,
            },
            headers: request.reads_headers,
            notes: note(http.caches, note::ANY)
                | note(http.redirects > 0, note::REDIRECT)
                | note(http.keeps_cookies, note::COOKIE)
                | note(
                    http.decodes && (request.reads_body || request.measures_body),
                    note::CODED,
                ),
            // Only a whole body can be kept.
            body: request.reads_body || http.caches,
            coded_body: http.decodes && request.measures_body,
            body_bytes_max: limits.body_bytes_max,
        }
    }
}

/// What came of a response.
pub(super) enum Answer {
    Judged(Verdict),
    /// It sends the request on, and is itself not judged.
    Redirect(Box<Moved>),
}

/// How a fatal alert of TLS begins, which is what a server with TLS makes of a request without.
const ALERT: [u8; 2] = [21, 3];

/// Why a request brought no response.
pub(super) enum Broken {
    Cancelled,
    /// The system's error number, where there is one.
    Failed(ErrorKind, i32),
    /// TLS could not be made or broke; why.
    Tls(String),
    /// Over a connection without TLS came what only a server with TLS sends.
    Encrypted,
    /// The proxy made no way to the origin; why.
    Proxy(String),
    /// Its redirect leads nowhere; why.
    Redirect(String),
    /// It could not be rendered.
    Unsent(RenderError),
    /// The connection was kept open from before and its end crossed with the request: not one byte was answered.
    Stale,
}

impl Client {
    /// Sends the request and reads its response. The sample gets what is measured on the way.
    ///
    /// No `async fn`, like all that users wait in for long: such a future has each argument twice.
    pub(super) fn exchange(
        &mut self,
        call: &Call<'_>,
        start_ns: u64,
        sample: &mut Sample,
    ) -> impl Future<Output = Result<Answer, Broken>> {
        let shard = Rc::clone(&self.shard);
        async move {
            let origin = call.origin;
            let task = self.task;
            // What is rare is in boxes of its own: else each idle user would keep the room for it.
            let (slot, used, mut begun_ns) = match self.reusable(origin) {
                Some((slot, used)) => (slot, used, start_ns),
                None => {
                    shard.limit_connecting(task, start_ns);
                    let made = match self.connect(origin).await {
                        Ok(slot) if shard.tunnels(origin) => {
                            Box::pin(self.tunnel(origin, slot, sample))
                                .await
                                .map(|()| slot)
                        }
                        made => made,
                    };
                    let connected_ns = now_ns();
                    sample.connecting = connected_ns.saturating_sub(start_ns);
                    let slot = made?;
                    if !shard.is_tls(origin) {
                        shard.unlimit(task);
                    }
                    (slot, 0, connected_ns)
                }
            };
            let mut tls = None;
            if shard.is_tls(origin) {
                let connection = self.connections[origin.at()].as_mut();
                tls = connection.and_then(|connection| connection.tls.take());
                match tls {
                    Some(_) => sample.tls = Some(0),
                    None => {
                        let secured = Box::pin(self.secure(origin, slot, begun_ns, sample)).await;
                        let session;
                        (session, begun_ns) = secured?;
                        tls = Some(session);
                    }
                }
            }
            {
                let sent = match self.try_send(*call, slot, &mut tls) {
                    Ok(None) => Box::pin(self.send(call, slot, &mut tls)).await,
                    Ok(Some(len)) => Ok(len),
                    Err(error) => Err(error),
                };
                match sent {
                    Ok(sent) => sample.sent_bytes += sent as u64,
                    Err(error) => {
                        // What could not be rendered leaves the connection as it was, its session included.
                        if let (Broken::Unsent(_), Some(connection)) =
                            (&error, &mut self.connections[origin.at()])
                        {
                            connection.tls = tls;
                        }
                        return Err(error);
                    }
                }
            }
            sample.was_sent = true;

            let mask = signal::RECEIVED | signal::ENDED | signal::TIMEOUT | signal::CANCEL;
            self.reader.reset();
            let mut first_ns = 0;
            let stage = |sample: &mut Sample, sent_ns: u64, first_ns: u64, end_ns: u64| {
                let sent_ns = sent_ns.max(begun_ns);
                let first_ns = first_ns.max(sent_ns);
                sample.sending = sent_ns - begun_ns;
                sample.waiting = first_ns - sent_ns;
                sample.receiving = end_ns.max(first_ns) - first_ns;
            };
            loop {
                let signals = shard.wait(task, mask).await;
                if signals & signal::CANCEL != 0 {
                    return Err(Broken::Cancelled);
                }
                // Made anew each time: what a user has while it waits is memory.
                let wanted = call.wanted(&shard.program.limits);
                let mut ring = shard.ring.borrow_mut();
                let (sent_ns, end_ns) = (ring.sent_ns(slot), ring.received_ns(slot));
                // Bytes first: what ended the connection, or the time, came after them.
                loop {
                    let run = match &mut tls {
                        None => ring.received(slot),
                        Some(session) => {
                            let received = super::tls::receive(&mut ring, slot, session);
                            sample.received_bytes += received.map_err(Broken::Tls)? as u64;
                            session.plain()
                        }
                    };
                    if run.is_empty() {
                        break;
                    }
                    if !self.reader.has_started() {
                        first_ns = end_ns;
                    }
                    if let Some(shown) = &mut self.shown {
                        shown.received(run);
                    }
                    let run_len = run.len();
                    let duration_ns = end_ns.saturating_sub(begun_ns);
                    let call = Call {
                        sent: call.is_kept(&shard).then_some(&self.sent),
                        ..*call
                    };
                    let judge = |response: &Response<'_>| {
                        (
                            response.status,
                            shard.answer(call, response, wanted.notes, duration_ns),
                        )
                    };
                    let known = Some(&shard.known_heads[call.id.at()]);
                    match self.reader.advance(run, &wanted, known, judge) {
                        Ok((
                            Advance::Done {
                                consumed,
                                keep_alive,
                            },
                            Some((status, answer)),
                        )) => {
                            sample.status = status;
                            stage(sample, sent_ns, first_ns, end_ns);
                            // Bytes after the response were not asked for: the connection cannot be trusted.
                            let is_clean = consumed == run_len;
                            match &mut tls {
                                None => {
                                    sample.received_bytes += consumed as u64;
                                    ring.consume(slot, consumed);
                                }
                                Some(session) => session.consume(consumed),
                            }
                            drop(ring);
                            if let Some(shown) = &mut self.shown {
                                shown.answered(&shard, run_len - consumed, duration_ns);
                            }
                            if keep_alive
                                && is_clean
                                && call.request.http.keep_alive
                                && self.may_keep(origin)
                            {
                                if let Some(connection) = &mut self.connections[origin.at()] {
                                    connection.used = connection.used.saturating_add(1);
                                    connection.tls = tls;
                                }
                            } else {
                                self.disconnect(origin);
                            }
                            return answer;
                        }
                        Ok(_) => match &mut tls {
                            None => {
                                sample.received_bytes += run_len as u64;
                                ring.consume(slot, run_len);
                            }
                            Some(session) => session.consume(run_len),
                        },
                        Err(kind) => {
                            let is_alert = run.starts_with(&ALERT);
                            stage(sample, sent_ns, first_ns, end_ns);
                            if tls.is_none() {
                                sample.received_bytes += run_len as u64;
                                if is_alert {
                                    return Err(Broken::Encrypted);
                                }
                            }
                            return Err(Broken::Failed(kind, 0));
                        }
                    }
                }
                let has_ended = ring.has_ended(slot);
                if has_ended || signals & signal::TIMEOUT != 0 {
                    let end_ns = ring.reaped_ns();
                    let first_ns = if first_ns == 0 { end_ns } else { first_ns };
                    stage(sample, sent_ns, first_ns, end_ns);
                    drop(ring);
                    if has_ended {
                        let errno = shard.errno(slot);
                        return self.ended(*call, used, errno, &wanted, sample);
                    }
                    return Err(Broken::Failed(ErrorKind::Timeout, 0));
                }
            }
        }
    }

    /// A TLS session over a connection that was made at `begun_ns`; and when it was agreed on.
    async fn secure(
        &mut self,
        origin: OriginId,
        slot: Slot,
        begun_ns: u64,
        sample: &mut Sample,
    ) -> Result<(Box<Session>, u64), Broken> {
        let made = self.handshake(origin, slot).await;
        let made_ns = now_ns();
        sample.tls = Some(made_ns.saturating_sub(begun_ns));
        let (session, sent, received) = made?;
        sample.sent_bytes += sent as u64;
        sample.received_bytes += received as u64;
        self.shard.unlimit(self.task);
        Ok((session, made_ns))
    }

    /// The connection ended while a response was read: the end of one that goes until then, or an error.
    fn ended(
        &mut self,
        call: Call<'_>,
        used: u32,
        errno: i32,
        wanted: &Wanted,
        sample: &mut Sample,
    ) -> Result<Answer, Broken> {
        let shard = Rc::clone(&self.shard);
        let duration_ns = sample.sending + sample.waiting + sample.receiving;
        if errno == 0 {
            let call = Call {
                sent: call.is_kept(&shard).then_some(&self.sent),
                ..call
            };
            let judge = |response: &Response<'_>| {
                (
                    response.status,
                    shard.answer(call, response, wanted.notes, duration_ns),
                )
            };
            if let Ok((status, answer)) = self.reader.end(wanted, judge) {
                sample.status = status;
                if let Some(shown) = &mut self.shown {
                    shown.answered(&shard, 0, duration_ns);
                }
                self.disconnect(call.origin);
                return answer;
            }
        }
        if !self.reader.has_started() && used > 0 {
            self.disconnect(call.origin);
            return Err(Broken::Stale);
        }
        let kind = if errno == 0 {
            ErrorKind::Closed
        } else {
            ErrorKind::of_connection(errno)
        };
        Err(Broken::Failed(kind, errno))
    }
}

impl Shard {
    #[inline]
    pub(super) fn answer(
        &self,
        call: Call<'_>,
        response: &Response<'_>,
        heeded: u8,
        duration_ns: u64,
    ) -> Result<Answer, Broken> {
        if response.notes & heeded != 0 {
            return self.attend(call, response, heeded, duration_ns);
        }
        let verdict = self.judge(call, response, duration_ns);
        Ok(Answer::Judged(verdict))
    }

    #[inline]
    pub(super) fn judge(
        &self,
        call: Call<'_>,
        response: &Response<'_>,
        duration_ns: u64,
    ) -> Verdict {
        let mut tools = self.tools.borrow_mut();
        let mut record = self.record.borrow_mut();
        Judge {
            program: &self.program,
            plugins: &self.plugins,
            tools: &mut tools,
            record: &mut record,
            vars: &call.own.vars,
            instances: &call.own.instances,
        }
        .judge(call.request, response, duration_ns)
    }

    /// Waits for one of the signals of `mask`.
    #[inline]
    pub(super) fn wait(&self, task: TaskId, mask: u8) -> impl Future<Output = u8> {
        poll_fn(move |cx| self.tasks.borrow_mut().poll(task, mask, cx))
    }
}
