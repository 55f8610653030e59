//! One exchange: a request goes out on a connection, a response comes back.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use loadr_config::{Request, RequestId};

use super::client::Client;
use super::judge::{Judge, Verdict};
use super::state::Shard;
use super::tasks::{TaskId, signal};
use super::vars::Vars;
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::http::{Advance, RenderError, Response, Wanted};
use crate::instances::Instances;
use crate::metrics::Sample;

/// The most bytes of a response body that is read.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// What a request may use of its virtual user: variables and plugin instances.
pub(super) type Own<'u> = (&'u RefCell<Vars>, &'u RefCell<Instances>);

/// Why a request brought no response.
#[derive(Clone, Copy)]
pub(super) enum Broken {
    Cancelled,
    /// The system's error number, where there is one.
    Failed(ErrorKind, i32),
    /// It could not be rendered.
    Unsent(RenderError),
    /// The connection was kept open from before and its end crossed with the request: not one byte was answered.
    Stale,
}

impl Client {
    /// Sends the request and reads its response. The sample gets what is measured on the way.
    pub(super) async fn exchange(
        &mut self,
        id: RequestId,
        start_ns: u64,
        own: Own<'_>,
        sample: &mut Sample,
    ) -> Result<Verdict, Broken> {
        let shard = Rc::clone(&self.shard);
        let request = &shard.program.requests[id.at()];
        let task = self.task;
        let (slot, used, begun_ns) = match self.reusable(request.origin) {
            Some((slot, used)) => (slot, used, start_ns),
            None => {
                let slot = self.connect(request.origin).await;
                let connected_ns = now_ns();
                sample.connecting = connected_ns.saturating_sub(start_ns);
                (slot?, 0, connected_ns)
            }
        };
        sample.sent_bytes += self.send(id, slot, own.0).await? as u64;
        sample.was_sent = true;

        let wanted = Wanted {
            to_head_request: request.method == "HEAD",
            headers: request.reads_headers,
            body: request.reads_body,
            body_bytes_max: BODY_BYTES_MAX,
        };
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
            let mut ring = shard.ring.borrow_mut();
            let (sent_ns, end_ns) = (ring.sent_ns(slot), ring.received_ns(slot));
            // Bytes first: what ended the connection, or the time, came after them.
            loop {
                let run = ring.received(slot);
                if run.is_empty() {
                    break;
                }
                if !self.reader.has_started() {
                    first_ns = end_ns;
                }
                let run_len = run.len();
                let duration_ns = end_ns.saturating_sub(begun_ns);
                let judge = |response: &Response<'_>| {
                    (
                        response.status,
                        shard.judge(request, response, own, duration_ns),
                    )
                };
                match self.reader.advance(run, &wanted, judge) {
                    Ok((
                        Advance::Done {
                            consumed,
                            keep_alive,
                        },
                        Some((status, verdict)),
                    )) => {
                        sample.received_bytes += consumed as u64;
                        sample.status = status;
                        stage(sample, sent_ns, first_ns, end_ns);
                        // Bytes after the response were not asked for: the connection cannot be trusted.
                        let is_clean = consumed == run_len;
                        ring.consume(slot, consumed);
                        drop(ring);
                        if keep_alive && is_clean {
                            if let Some(connection) = &mut self.connections[request.origin.at()] {
                                connection.used += 1;
                            }
                        } else {
                            self.disconnect(request.origin);
                        }
                        return Ok(verdict);
                    }
                    Ok(_) => {
                        sample.received_bytes += run_len as u64;
                        ring.consume(slot, run_len);
                    }
                    Err(kind) => {
                        stage(sample, sent_ns, first_ns, end_ns);
                        return Err(Broken::Failed(kind, 0));
                    }
                }
            }
            if ring.has_ended(slot) {
                let errno = shard.errno(slot);
                let end_ns = ring.reaped_ns();
                stage(
                    sample,
                    sent_ns,
                    if first_ns == 0 { end_ns } else { first_ns },
                    end_ns,
                );
                drop(ring);
                return self.ended(id, own, used, errno, &wanted, sample);
            }
            if signals & signal::TIMEOUT != 0 {
                let end_ns = ring.reaped_ns();
                stage(
                    sample,
                    sent_ns,
                    if first_ns == 0 { end_ns } else { first_ns },
                    end_ns,
                );
                return Err(Broken::Failed(ErrorKind::Timeout, 0));
            }
        }
    }

    /// The connection ended while a response was read: the end of one that goes until then, or an error.
    fn ended(
        &mut self,
        id: RequestId,
        own: Own<'_>,
        used: u64,
        errno: i32,
        wanted: &Wanted,
        sample: &mut Sample,
    ) -> Result<Verdict, Broken> {
        let shard = Rc::clone(&self.shard);
        let duration_ns = sample.sending + sample.waiting + sample.receiving;
        let request = &shard.program.requests[id.at()];
        if errno == 0 {
            let judge = |response: &Response<'_>| {
                (
                    response.status,
                    shard.judge(request, response, own, duration_ns),
                )
            };
            if let Ok((status, verdict)) = self.reader.end(wanted, judge) {
                sample.status = status;
                self.disconnect(request.origin);
                return Ok(verdict);
            }
        }
        if !self.reader.has_started() && used > 0 {
            self.disconnect(request.origin);
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
    fn judge(
        &self,
        request: &Request,
        response: &Response<'_>,
        (vars, instances): Own<'_>,
        duration_ns: u64,
    ) -> Verdict {
        let mut tools = self.tools.borrow_mut();
        let mut record = self.record.borrow_mut();
        let (mut vars, mut instances) = (vars.borrow_mut(), instances.borrow_mut());
        Judge {
            program: &self.program,
            plugins: &self.plugins,
            tools: &mut tools,
            record: &mut record,
            vars: &mut vars,
            instances: &mut instances,
        }
        .judge(request, response, duration_ns)
    }

    /// Waits for one of the signals of `mask`.
    #[inline]
    pub(super) async fn wait(&self, task: TaskId, mask: u8) -> u8 {
        poll_fn(|cx| self.tasks.borrow_mut().poll(task, mask, cx)).await
    }
}
