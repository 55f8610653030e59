//! A virtual user: runs its scenario's flow again and again, over its own connections.

use std::future::poll_fn;
use std::rc::Rc;

use loadr_config::{OnFailure, OriginId, Request, RequestId, ScenarioId};
use loadr_ring::Slot;

use super::judge::{Judge, Verdict};
use super::state::{Prepared, Shard};
use super::tasks::{TaskId, signal};
use super::vars::Vars;
use crate::clock::now_ns;
use crate::control::StopReason;
use crate::error_kind::ErrorKind;
use crate::http::{Advance, Reader, RenderError, Response, Wanted, render};
use crate::instances::Instances;
use crate::metrics::Sample;

/// The longest pause after a failed connection, in nanoseconds.
const BACKOFF_NS_MAX: u64 = 1_000_000_000;
/// The first pause after a failed connection; it doubles from there.
const BACKOFF_NS_FIRST: u64 = 1_000_000;
/// The most bytes of a response body that is read.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// An open connection of a virtual user.
struct Connection {
    slot: Slot,
    /// Responses it has carried.
    used: u64,
}

/// What follows a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Step,
    Iteration,
    /// The scenario is cancelled.
    Leave,
    /// The virtual user has nothing more to do: a data source that stops at its end is at its end.
    End,
}

/// Why a request brought no response.
#[derive(Clone, Copy)]
enum Broken {
    Cancelled,
    /// The system's error number, where there is one.
    Failed(ErrorKind, i32),
    /// It could not be rendered.
    Unsent(RenderError),
    /// The connection was kept open from before and its end crossed with the request: not one byte was answered.
    Stale,
}

pub(crate) struct Vu {
    pub(super) shard: Rc<Shard>,
    scenario: ScenarioId,
    task: TaskId,
    pub(super) vars: Vars,
    /// Requests that failed.
    pub(super) failed: u64,
    /// By [`Step::Random`]: whose turn it is.
    pub(super) turns: Vec<u32>,
    /// Its own plugin instances.
    instances: Instances,
    /// By [`OriginId`].
    connections: Vec<Option<Connection>>,
    reader: Reader,
    /// The pause after the next failed connection.
    backoff_ns: u64,
}

impl Vu {
    /// `number` is from 1 and unique over the scenario.
    pub(crate) fn new(
        shard: Rc<Shard>,
        scenario: ScenarioId,
        task: TaskId,
        number: u64,
        instances: Instances,
    ) -> Self {
        let vars = Vars::of(&shard.feed, number);
        let connections = shard.program.origins.iter().map(|_| None).collect();
        Self {
            scenario,
            task,
            failed: 0,
            turns: vec![number as u32; shard.program.randoms as usize],
            shard,
            vars,
            instances,
            connections,
            reader: Reader::new(),
            backoff_ns: BACKOFF_NS_FIRST,
        }
    }

    /// Runs until the scenario ends, or so many iterations.
    pub(crate) async fn run(mut self, iterations: Option<u64>) {
        let shard = Rc::clone(&self.shard);
        let flow = &shard.program.scenarios[self.scenario.at()].flow;
        let mut frames = Vec::new();
        let mut began_ns = now_ns();
        while iterations.is_none_or(|n| self.vars.iteration < n)
            && shard.takes_iterations(self.scenario)
        {
            match self.iterate(flow, &mut frames, began_ns).await {
                Next::Step | Next::Iteration => {}
                Next::Leave => {
                    shard.record.borrow_mut().scenarios[self.scenario.at()].interrupted += 1;
                    break;
                }
                Next::End => break,
            }
            // The end of an iteration is the start of the next: one look at the clock serves both.
            let ended_ns = now_ns();
            shard
                .record
                .borrow_mut()
                .iteration(self.scenario, ended_ns - began_ns);
            began_ns = ended_ns;
            self.vars.iteration += 1;
        }
        for connection in self.connections.iter_mut().filter_map(Option::take) {
            shard.release(connection.slot);
        }
        shard.left(self.scenario);
    }

    /// One request step: connect if need be, send, wait, judge, count.
    pub(super) async fn request(&mut self, id: RequestId, start_ns: u64) -> Next {
        let shard = Rc::clone(&self.shard);
        let request = &shard.program.requests[id.at()];
        let mut sample = Sample::default();
        let timeout_ns = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = start_ns.saturating_add(timeout_ns);
        shard
            .tasks
            .borrow_mut()
            .set_deadline(self.task, deadline_ns);
        let mut retried = false;
        let outcome = loop {
            match self.exchange(id, start_ns, &mut sample).await {
                // Once, and only for what may be sent twice (RFC 9110 section 9.2.2).
                Err(Broken::Stale) if !retried && is_idempotent(&request.method) => retried = true,
                outcome => break outcome,
            }
        };
        shard.tasks.borrow_mut().clear_deadline(self.task);
        let verdict = match outcome {
            Ok(verdict) => {
                self.backoff_ns = BACKOFF_NS_FIRST;
                verdict
            }
            Err(broken) => {
                let (kind, errno) = match broken {
                    Broken::Cancelled => {
                        self.disconnect(request.origin);
                        return Next::Leave;
                    }
                    Broken::Unsent(RenderError::NoRow(_)) => return Next::End,
                    Broken::Unsent(error) => {
                        shard.record_unsent(id, error);
                        sample.error = Some(error.kind());
                        self.failed += 1;
                        shard.record.borrow_mut().request(id, &sample);
                        return self.back_off().await;
                    }
                    Broken::Failed(kind, errno) => (kind, errno),
                    Broken::Stale => (ErrorKind::Closed, 0),
                };
                self.disconnect(request.origin);
                shard.record_error(id, kind, errno);
                sample.error = Some(kind);
                self.failed += 1;
                shard.record.borrow_mut().request(id, &sample);
                // A request that was sent has waited for the target; a connection that fails at once would spin.
                return if sample.was_sent {
                    Next::Step
                } else {
                    self.back_off().await
                };
            }
        };
        sample.error = verdict.failed;
        self.failed += u64::from(sample.is_failure());
        shard.record.borrow_mut().request(id, &sample);
        self.follow(id, &verdict)
    }

    /// What a failed assert asks for.
    fn follow(&self, id: RequestId, verdict: &Verdict) -> Next {
        let Some(at) = verdict.by_assert else {
            return Next::Step;
        };
        match verdict.on_failure {
            OnFailure::Continue => Next::Step,
            OnFailure::AbortIteration => Next::Iteration,
            OnFailure::AbortScenario => {
                self.shard.control.abort_scenario(self.scenario);
                Next::Iteration
            }
            OnFailure::AbortTest => {
                let request = &self.shard.program.requests[id.at()];
                let name = format!("{}: {}", request.name, request.asserts[at].name);
                self.shard.control.stop(StopReason::Assert(name));
                Next::Iteration
            }
        }
    }

    /// Sends the request and reads its response. The sample gets what is measured on the way.
    async fn exchange(
        &mut self,
        id: RequestId,
        start_ns: u64,
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
        sample.sent_bytes += self.send(id, slot).await? as u64;
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
                    let own = (&mut self.vars, &mut self.instances);
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
                return self.ended(
                    id,
                    used,
                    errno,
                    &wanted,
                    sample,
                    end_ns.saturating_sub(begun_ns),
                );
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
        used: u64,
        errno: i32,
        wanted: &Wanted,
        sample: &mut Sample,
        duration_ns: u64,
    ) -> Result<Verdict, Broken> {
        let shard = Rc::clone(&self.shard);
        let request = &shard.program.requests[id.at()];
        if errno == 0 {
            let judge = |response: &Response<'_>| {
                let own = (&mut self.vars, &mut self.instances);
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

    /// The connection to an origin, if it can carry another request.
    fn reusable(&mut self, origin: OriginId) -> Option<(Slot, u64)> {
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

    async fn connect(&mut self, origin: OriginId) -> Result<Slot, Broken> {
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
    async fn send(&mut self, id: RequestId, slot: Slot) -> Result<usize, Broken> {
        loop {
            match self.try_send(id, slot)? {
                Some(len) => return Ok(len),
                None => self.wait_for_drain(slot).await?,
            }
        }
    }

    /// `None` while an earlier send (of a request whose response came before all of it was sent) is not out.
    fn try_send(&mut self, id: RequestId, slot: Slot) -> Result<Option<usize>, Broken> {
        let shard = &self.shard;
        let mut ring = shard.ring.borrow_mut();
        let sent = match &shard.prepared[id.at()] {
            Prepared::Static(bytes) => ring.send(slot, bytes).map(|()| bytes.len()),
            Prepared::Templated => {
                let request = &shard.program.requests[id.at()];
                let mut scratch = shard.scratch.borrow_mut();
                let (head, body) = &mut *scratch;
                head.clear();
                body.clear();
                let mut rendered = Ok(());
                if let Some(template) = &request.body {
                    rendered = render(template, &self.vars, 0, body);
                }
                let rendered =
                    rendered.and_then(|()| render(&request.head, &self.vars, body.len(), head));
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

    fn disconnect(&mut self, origin: OriginId) {
        if let Some(connection) = self.connections[origin.at()].take() {
            self.shard.release(connection.slot);
            self.shard.tasks.borrow_mut().forget_connection(self.task);
        }
    }

    /// A pause after a failure, so that a dead target is not hammered and the shard does not spin: from 1 ms, doubling
    /// to 1 s, with half of it random so that users do not come back in step.
    async fn back_off(&mut self) -> Next {
        let half = self.backoff_ns / 2;
        let jitter = self.shard.tools.borrow_mut().rng.below(half + 1);
        self.backoff_ns = (self.backoff_ns * 2).min(BACKOFF_NS_MAX);
        self.sleep(now_ns() + half + jitter).await
    }

    /// Does nothing until the clock shows `until_ns`.
    pub(super) async fn sleep(&mut self, until_ns: u64) -> Next {
        self.shard.tasks.borrow_mut().set_sleep(self.task, until_ns);
        let signals = self
            .shard
            .wait(self.task, signal::SLEPT | signal::CANCEL)
            .await;
        if signals & signal::CANCEL != 0 {
            Next::Leave
        } else {
            Next::Step
        }
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

impl Shard {
    #[inline]
    fn judge(
        &self,
        request: &Request,
        response: &Response<'_>,
        (vars, instances): (&mut Vars, &mut Instances),
        duration_ns: u64,
    ) -> Verdict {
        let mut tools = self.tools.borrow_mut();
        let mut record = self.record.borrow_mut();
        Judge {
            program: &self.program,
            plugins: &self.plugins,
            tools: &mut tools,
            record: &mut record,
            vars,
            instances,
        }
        .judge(request, response, duration_ns)
    }

    /// Waits for one of the signals of `mask`.
    #[inline]
    async fn wait(&self, task: TaskId, mask: u8) -> u8 {
        poll_fn(|cx| self.tasks.borrow_mut().poll(task, mask, cx)).await
    }
}
