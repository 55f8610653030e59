//! Pipelining (RFC 9112 section 9.3.2): a virtual user's requests go out ahead of the responses to earlier ones, on one
//! connection, and are answered in their order.
//!
//! The plan's compiler lets only flows come here in which nothing waits for a response. The flow runs ahead: a request
//! is rendered and sent while up to so many before it are unanswered, and an iteration is over when the last of its
//! requests is. What cannot go on in order is set aside, until nothing is in flight, and then done one by one as
//! without pipelining: a redirect, and a request that may be sent once more because its connection ended before a byte
//! of its answer. The first request of a connection goes alone too, so that a server that does not keep connections is
//! not sent what it will not answer (RFC 9112 section 9.3.2 asks for that after a failure).

use std::collections::VecDeque;
use std::rc::Rc;

use loadr_config::{OriginId, RequestId, ScenarioId, Step};
use loadr_ring::{Ring, Slot};

use super::client::{Client, Connection};
use super::exchange::{Answer, Broken, Call, Own};
use super::flow::{Frame, STEPS_AT_ONCE};
use super::hop::{Hop, Moved};
use super::judge::Verdict;
use super::request::{Resumed, is_idempotent};
use super::state::{Prepared, Shard};
use super::tasks::{TaskId, signal};
use super::tls;
use super::turns::Work;
use super::vu::{BACKOFF_NS_FIRST, Next, Vu};
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::http::{Advance, RenderError, Response, note};
use crate::metrics::Sample;
use crate::tls::Session;

/// No further request is added to what goes out at once when it has so many bytes: below what the ring sends without a
/// copy of its own.
const BATCH_BYTES_ENOUGH: usize = 32 * 1024;

/// A request without a whole response.
struct InFlight {
    id: RequestId,
    begun_ns: u64,
    /// When the system call began that sent it; 0 until that is known.
    sent_ns: u64,
    deadline_ns: u64,
    sent_bytes: u64,
    /// As it was sent, but for cookies; empty when its bytes are always the same.
    bytes: Vec<u8>,
    /// When the iteration began whose last request it is.
    ends: Option<u64>,
}

/// What waits until nothing is in flight.
enum Aside {
    /// Sent, not answered, and to be sent once more.
    Again(InFlight),
    /// Answered by a redirect.
    Moved(InFlight, Box<Moved>, Sample),
    /// The end of an iteration that began then, which something before it holds up.
    End(u64),
}

/// Why a connection carries no further response.
enum End {
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
enum Ahead {
    Request(RequestId),
    /// It cannot be known before what is in flight is answered.
    Unknown,
    /// Nothing more.
    Over,
}

/// A user's pipeline.
struct Line {
    depth: usize,
    /// Where all of them go, once one has gone.
    origin: Option<OriginId>,
    in_flight: VecDeque<InFlight>,
    aside: Vec<Aside>,
    /// Those at the end of `in_flight` of which it is not known when they were sent.
    unstamped: usize,
    /// Bytes of the response at hand, and when the first of them came.
    received_bytes: u64,
    first_ns: u64,
    /// Requests that go out together.
    batch: Vec<u8>,
    /// Memory of requests that were answered.
    spare: Vec<Vec<u8>>,
    ahead: Ahead,
    /// Whether an iteration has begun whose last request is not sent, and when.
    is_within: bool,
    began_ns: u64,
    /// Whether the last request that this iteration has sent is the last one in flight.
    is_last_its: bool,
    /// What failed asserts ask for.
    verdicts: Vec<(RequestId, Verdict)>,
}

impl Vu {
    /// [`Vu::run`] with requests in flight ahead of their responses.
    pub(super) async fn run_pipelined(mut self: Box<Self>, user: u32, work: Work) {
        let shard = Rc::clone(&self.shard);
        let scenario = &shard.program.scenarios[self.scenario.at()];
        let mut line = Line::new(scenario.pipeline as usize);
        let mut frames = Vec::new();
        loop {
            let next = self
                .work_off(&mut line, &mut frames, (&scenario.flow, user, work))
                .await;
            if next != Next::Leave {
                break;
            }
            shard.record.borrow_mut().scenarios[self.scenario.at()].interrupted +=
                line.unfinished();
            self.disconnect_all();
            shard.tasks.borrow_mut().clear_deadline(self.client.task);
            line = Line::new(scenario.pipeline as usize);
            if !matches!(work, Work::Scheduled | Work::Steered) || !self.may_come_back() {
                break;
            }
        }
        self.disconnect_all();
        shard.left(self.scenario);
    }

    /// Sends and reads until the user's work is over, or it must leave.
    async fn work_off<'p>(
        &mut self,
        line: &mut Line,
        frames: &mut Vec<Frame<'p>>,
        (flow, user, work): (&'p [Step], u32, Work),
    ) -> Next {
        let shard = Rc::clone(&self.shard);
        let mut now = now_ns();
        loop {
            if line.in_flight.is_empty() && !line.aside.is_empty() {
                if self.catch_up(line).await == Next::Leave {
                    return Next::Leave;
                }
                now = now_ns();
            }
            if line.ahead == Ahead::Unknown
                && self.look_ahead(line, frames, (flow, user, work), now).await == Next::Leave
            {
                return Next::Leave;
            }
            if line.in_flight.is_empty() {
                // What is ahead may have been waited for.
                now = now_ns();
            }
            // Alone also where the last one's content is still going out: that is waited for there.
            if line.in_flight.is_empty()
                && let Ahead::Request(id) = line.ahead
                && let origin = shard.program.requests[id.at()].origin
                && (self.client.reusable(origin).is_none() || !self.client.may_send(origin))
            {
                let start_ns = now_ns();
                line.is_last_its = false;
                let next = self.request(id, start_ns, None).await;
                match next {
                    Next::Leave => return Next::Leave,
                    Next::End => line.ahead = Ahead::Over,
                    Next::Step => line.ahead = Ahead::Unknown,
                    Next::Iteration => {
                        line.ahead = Ahead::Unknown;
                        frames.clear();
                    }
                }
                now = now_ns();
                continue;
            }
            while let Ahead::Request(id) = line.ahead
                && line.aside.is_empty()
                && line.in_flight.len() < line.depth
                && line.batch.len() < BATCH_BYTES_ENOUGH
                && self.client.may_send(shard.program.requests[id.at()].origin)
            {
                match self.put(line, id, now) {
                    Next::Step => line.ahead = Ahead::Unknown,
                    Next::End => line.ahead = Ahead::Over,
                    // It cannot be rendered: that is told when it is alone.
                    _ if line.in_flight.is_empty() => {
                        line.is_last_its = false;
                        line.ahead = match self.request(id, now, None).await {
                            Next::Leave => return Next::Leave,
                            Next::End => Ahead::Over,
                            Next::Step | Next::Iteration => Ahead::Unknown,
                        };
                        now = now_ns();
                    }
                    _ => break,
                }
                if line.ahead == Ahead::Unknown
                    && self.look_ahead(line, frames, (flow, user, work), now).await == Next::Leave
                {
                    return Next::Leave;
                }
                if line.in_flight.is_empty() {
                    now = now_ns();
                }
            }
            self.flush(line);
            if line.in_flight.is_empty() {
                if line.ahead == Ahead::Over && line.aside.is_empty() {
                    return Next::Step;
                }
                continue;
            }
            let task = self.client.task;
            let deadline_ns = line.deadline_ns();
            shard.tasks.borrow_mut().set_deadline(task, deadline_ns);
            let mask = signal::RECEIVED
                | signal::ENDED
                | signal::DRAINED
                | signal::TIMEOUT
                | signal::CANCEL;
            let signals = shard.wait(task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Next::Leave;
            }
            now = now_ns();
            if let Some(end) = self.take(line, now) {
                self.lose(line, &end);
            } else if signals & signal::TIMEOUT != 0
                && line.deadline_ns() <= shard.ring.borrow().reaped_ns()
            {
                self.lose(line, &End::Timeout);
            }
            shard.tasks.borrow_mut().clear_deadline(task);
            if !line.verdicts.is_empty() {
                self.heed(line, frames);
            }
        }
    }

    /// Finds the next request, over the ends of iterations, and waits for a turn where there is nothing in flight.
    async fn look_ahead<'p>(
        &mut self,
        line: &mut Line,
        frames: &mut Vec<Frame<'p>>,
        (flow, user, work): (&'p [Step], u32, Work),
        now: u64,
    ) -> Next {
        let shard = Rc::clone(&self.shard);
        let mut iterations = 0;
        let mut now = now;
        loop {
            if !line.is_within {
                // There is a wait ahead: what is in flight is read before.
                let waits = !self.is_wanted(user, work) || shard.is_paused();
                if waits && !line.in_flight.is_empty() {
                    return Next::Step;
                }
                iterations += 1;
                if iterations > STEPS_AT_ONCE {
                    // Iterations without a request: the others get their turn.
                    iterations = 0;
                    if self.sleep(now_ns()).await == Next::Leave {
                        return Next::Leave;
                    }
                    now = now_ns();
                }
                let Some(start_ns) = self.turn(user, work, now).await else {
                    line.ahead = Ahead::Over;
                    return Next::Step;
                };
                line.began_ns = start_ns;
                line.is_within = true;
                line.is_last_its = false;
                frames.clear();
                frames.push(Frame::of(flow));
            }
            let next = self.next_request(frames);
            if self.own.vars.borrow().has_ended() {
                line.ahead = Ahead::Over;
                return Next::Step;
            }
            if let Some(id) = next {
                line.ahead = Ahead::Request(id);
                return Next::Step;
            }
            self.end_iteration(line);
        }
    }

    /// The iteration sends nothing more; it is over with its last request.
    fn end_iteration(&mut self, line: &mut Line) {
        line.is_within = false;
        self.own.vars.borrow_mut().iteration += 1;
        match line.in_flight.back_mut() {
            Some(last) if line.is_last_its => last.ends = Some(line.began_ns),
            _ => self.ended(line, line.began_ns),
        }
    }

    /// An iteration that began then is over, unless something before it is set aside.
    fn ended(&self, line: &mut Line, began_ns: u64) {
        if line.aside.is_empty() {
            let mut record = self.shard.record.borrow_mut();
            record.iteration(self.scenario, now_ns().saturating_sub(began_ns));
        } else {
            line.aside.push(Aside::End(began_ns));
        }
    }

    /// Adds a request to what goes out next: [`Next::Step`] when it was, [`Next::End`] when there is no row for it, and
    /// [`Next::Iteration`] when it cannot be rendered.
    fn put(&mut self, line: &mut Line, id: RequestId, begun_ns: u64) -> Next {
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
                if matches!(prepared, Prepared::Templated) {
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
    fn flush(&mut self, line: &mut Line) {
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

    /// Takes all responses that have come; what keeps the connection from carrying another one.
    fn take(&mut self, line: &mut Line, now: u64) -> Option<End> {
        let shard = Rc::clone(&self.shard);
        let own = &*self.own;
        let task = self.client.task;
        let Client {
            connections,
            reader,
            shown,
            ..
        } = &mut self.client;
        let Some(connection) = line.connection(connections) else {
            return Some(End::Gone(0));
        };
        let slot = connection.slot;
        let mut ring = shard.ring.borrow_mut();
        line.stamp(ring.sent_ns(slot));
        let end_ns = ring.received_ns(slot);
        let is_tls = connection.tls.is_some();
        let mut taken = Taken {
            shard: &shard,
            own,
            task,
            scenario: self.scenario,
            failed: 0,
            is_tls,
            now,
        };
        let mut end = None;
        while end.is_none() {
            let run = match &mut connection.tls {
                None => ring.received(slot),
                Some(session) => match tls::receive(&mut ring, slot, session) {
                    Ok(len) => {
                        line.received_bytes += len as u64;
                        session.plain()
                    }
                    Err(why) => {
                        end = Some(End::Tls(why));
                        break;
                    }
                },
            };
            if run.is_empty() {
                break;
            }
            let run_len = run.len();
            let mut at = 0;
            while at < run_len && end.is_none() {
                let Some(front) = line.in_flight.front() else {
                    end = Some(End::Told);
                    break;
                };
                if !reader.has_started() {
                    line.first_ns = end_ns;
                }
                let duration_ns = end_ns.saturating_sub(front.begun_ns);
                let call = Call::new(&shard, front.id, None, taken.own, taken.task);
                let wanted = call.wanted(&shard.program.limits);
                if let Some(shown) = shown {
                    shown.received(&run[at..]);
                }
                let judge = |response: &Response<'_>| {
                    if response.notes & wanted.notes & note::CODED != 0 {
                        // Decoding looks at the deadline, and that of another one may be the first.
                        let mut tasks = shard.tasks.borrow_mut();
                        tasks.set_deadline(taken.task, front.deadline_ns);
                    }
                    if response.notes & wanted.notes != 0 && !front.bytes.is_empty() {
                        // What it was rendered from has moved on.
                        let hop = Hop::again(&shard, call.origin, front.bytes.clone());
                        let hop = Some(&*hop);
                        let call = Call { hop, ..call };
                        let answer = shard.answer(call, response, wanted.notes, duration_ns);
                        return (response.status, answer);
                    }
                    let answer = shard.answer(call, response, wanted.notes, duration_ns);
                    (response.status, answer)
                };
                match reader.advance(&run[at..], &wanted, judge) {
                    Ok((
                        Advance::Done {
                            consumed,
                            keep_alive,
                        },
                        Some((status, answer)),
                    )) => {
                        at += consumed;
                        if !is_tls {
                            line.received_bytes += consumed as u64;
                        }
                        reader.reset();
                        connection.used = connection.used.saturating_add(1);
                        if let Some(shown) = shown {
                            shown.answered(&shard, run_len - at, duration_ns);
                        }
                        taken.finish(line, status, answer, end_ns);
                        if !keep_alive {
                            end = Some(End::Told);
                        }
                    }
                    Ok(_) => {
                        if !is_tls {
                            line.received_bytes += (run_len - at) as u64;
                        }
                        at = run_len;
                    }
                    Err(kind) => {
                        if !is_tls {
                            line.received_bytes += (run_len - at) as u64;
                        }
                        end = Some(End::Wrong(kind));
                    }
                }
            }
            consume(&mut ring, slot, &mut connection.tls, at);
        }
        if end.is_none() && ring.has_ended(slot) {
            let errno = shard.errno(slot);
            // The end of a response that goes until then, or of what was in flight.
            if errno == 0
                && let Some(front) = line.in_flight.front()
            {
                let duration_ns = end_ns.saturating_sub(front.begun_ns);
                let call = Call::new(&shard, front.id, None, taken.own, taken.task);
                let wanted = call.wanted(&shard.program.limits);
                let judge = |response: &Response<'_>| {
                    let answer = shard.answer(call, response, wanted.notes, duration_ns);
                    (response.status, answer)
                };
                if let Ok((status, answer)) = reader.end(&wanted, judge) {
                    reader.reset();
                    if let Some(shown) = shown {
                        shown.answered(&shard, 0, duration_ns);
                    }
                    taken.finish(line, status, answer, end_ns);
                }
            }
            end = Some(End::Gone(errno));
        }
        drop(ring);
        let failed = taken.failed;
        self.failed += failed;
        self.backoff_ns = BACKOFF_NS_FIRST;
        end
    }

    /// The connection carries no further response: who is to blame for it fails, who may be sent once more is set aside,
    /// and the others fail with it.
    fn lose(&mut self, line: &mut Line, end: &End) {
        let shard = Rc::clone(&self.shard);
        let (reaped_ns, sent_ns) = {
            let ring = shard.ring.borrow();
            let connection = line.connection(&mut self.client.connections);
            (
                ring.reaped_ns(),
                connection.map_or(0, |connection| ring.sent_ns(connection.slot)),
            )
        };
        line.stamp(sent_ns);
        let has_begun = self.client.reader.has_started();
        let mut is_front = true;
        while let Some(mut request) = line.in_flight.pop_front() {
            let step = &shard.program.requests[request.id.at()];
            let blamed = match end {
                End::Wrong(kind) if is_front => Some((*kind, 0)),
                End::Gone(0) if is_front && has_begun => Some((ErrorKind::Closed, 0)),
                End::Gone(errno) if is_front && has_begun => {
                    Some((ErrorKind::of_connection(*errno), *errno))
                }
                End::Tls(_) if is_front => Some((ErrorKind::Tls, 0)),
                End::Timeout if request.deadline_ns <= reaped_ns => Some((ErrorKind::Timeout, 0)),
                _ if is_idempotent(&step.method) => None,
                End::Gone(errno) if *errno != 0 => Some((ErrorKind::of_connection(*errno), *errno)),
                _ => Some((ErrorKind::Closed, 0)),
            };
            let ends = request.ends;
            match blamed {
                None => {
                    request.ends = None;
                    line.aside.push(Aside::Again(request));
                }
                Some((kind, errno)) => {
                    let mut sample = line.sample(&request, reaped_ns, is_front && has_begun);
                    sample.tls = shard.is_tls(step.origin).then_some(0);
                    sample.error = Some(kind);
                    match end {
                        End::Tls(why) if is_front => {
                            let text =
                                || format!("{} ({}): {why}", step.name, shard.address(step.origin));
                            shard.record.borrow_mut().error(kind, text);
                        }
                        End::Wrong(_) | End::Timeout | End::Tls(_) if kind == ErrorKind::Closed => {
                            let text = || {
                                format!(
                                    "{} ({}): its connection was given up after what went wrong with an earlier \
                                     request in the pipeline",
                                    step.name,
                                    shard.address(step.origin)
                                )
                            };
                            shard.record.borrow_mut().error(kind, text);
                        }
                        _ => shard.record_error(request.id, step.origin, kind, errno),
                    }
                    self.failed += 1;
                    shard.record.borrow_mut().request(request.id, &sample);
                    line.keep(request.bytes);
                }
            }
            if let Some(began_ns) = ends {
                self.ended(line, began_ns);
            }
            is_front = false;
        }
        line.unstamped = 0;
        line.received_bytes = 0;
        line.batch.clear();
        // What is ahead is not in flight; of what was, nothing is any more.
        line.is_last_its = false;
        self.client.reader.reset();
        if let Some(origin) = line.origin {
            self.client.disconnect(origin);
        }
    }

    /// Does what was set aside, one by one.
    async fn catch_up(&mut self, line: &mut Line) -> Next {
        let shard = Rc::clone(&self.shard);
        let mut aside = std::mem::take(&mut line.aside).into_iter();
        while let Some(one) = aside.next() {
            let next = match one {
                Aside::End(began_ns) => {
                    let mut record = shard.record.borrow_mut();
                    record.iteration(self.scenario, now_ns().saturating_sub(began_ns));
                    Next::Step
                }
                Aside::Again(request) => {
                    let hop = shard.hop_of(&request);
                    let start_ns = now_ns();
                    shard.record.borrow_mut().scenarios[self.scenario.at()].stale_retries += 1;
                    let resumed = Box::new(Resumed {
                        hop,
                        blocked_ns: start_ns.saturating_sub(request.begun_ns),
                        sent_bytes: request.sent_bytes,
                    });
                    let next = self.request(request.id, start_ns, Some(resumed)).await;
                    line.keep(request.bytes);
                    next
                }
                Aside::Moved(request, moved, sample) => {
                    let next = self.follow_moved(&request, *moved, sample).await;
                    line.keep(request.bytes);
                    next
                }
            };
            if next == Next::Leave {
                // So that they are counted as broken off.
                line.aside = aside.collect();
                return Next::Leave;
            }
        }
        Next::Step
    }

    async fn follow_moved(&mut self, request: &InFlight, moved: Moved, mut sample: Sample) -> Next {
        let shard = Rc::clone(&self.shard);
        let hop = shard.hop_of(request);
        let followed = {
            let call = Call::new(&shard, request.id, Some(&hop), &self.own, self.client.task);
            self.client.follow(call, moved).await
        };
        let why = match followed {
            Ok(hop) => {
                shard.record.borrow_mut().request(request.id, &sample);
                let resumed = Box::new(Resumed {
                    hop,
                    blocked_ns: 0,
                    sent_bytes: 0,
                });
                return self.request(request.id, now_ns(), Some(resumed)).await;
            }
            Err(Broken::Cancelled) => return Next::Leave,
            Err(Broken::Redirect(why)) => why,
            Err(_) => "its place cannot be reached".to_owned(),
        };
        let name = &shard.program.requests[request.id.at()].name;
        let mut record = shard.record.borrow_mut();
        record.error(ErrorKind::Redirect, || format!("{name}: {why}"));
        sample.error = Some(ErrorKind::Redirect);
        self.failed += 1;
        record.request(request.id, &sample);
        Next::Step
    }

    /// Does what failed asserts ask for. Whatever it is, it ends the iteration that is being sent.
    #[cold]
    fn heed(&mut self, line: &mut Line, frames: &mut Vec<Frame<'_>>) {
        for (id, verdict) in std::mem::take(&mut line.verdicts) {
            if self.follow(id, &verdict) == Next::Step || !line.is_within {
                continue;
            }
            frames.clear();
            line.ahead = Ahead::Unknown;
            self.end_iteration(line);
        }
    }
}

impl Client {
    /// Whether the connection to an origin takes another request beside those in flight.
    fn may_send(&self, origin: OriginId) -> bool {
        let Some(Some(connection)) = self.connections.get(origin.at()) else {
            return false;
        };
        let ring = self.shard.ring.borrow();
        !ring.is_sending(connection.slot) && !ring.has_ended(connection.slot)
    }
}

impl Shard {
    /// A request that was in flight, on its own.
    fn hop_of(&self, request: &InFlight) -> Box<Hop> {
        let bytes = match &self.prepared[request.id.at()] {
            Prepared::Static(bytes) => bytes.to_vec(),
            Prepared::Templated => request.bytes.clone(),
        };
        let origin = self.program.requests[request.id.at()].origin;
        Hop::again(self, origin, bytes)
    }
}

fn consume(ring: &mut Ring, slot: Slot, tls: &mut Option<Box<Session>>, len: usize) {
    match tls {
        None => ring.consume(slot, len),
        Some(session) => session.consume(len),
    }
}

/// What counting a response needs.
struct Taken<'t> {
    shard: &'t Shard,
    own: &'t Own,
    /// Which of the shard's tasks the user is.
    task: TaskId,
    scenario: ScenarioId,
    failed: u64,
    is_tls: bool,
    now: u64,
}

impl Taken<'_> {
    /// The response to the first request in flight is whole.
    fn finish(
        &mut self,
        line: &mut Line,
        status: u16,
        answer: Result<Answer, Broken>,
        end_ns: u64,
    ) {
        let Some(request) = line.in_flight.pop_front() else {
            return;
        };
        let mut sample = line.sample(&request, end_ns, true);
        line.received_bytes = 0;
        sample.status = status;
        sample.tls = self.is_tls.then_some(0);
        let ends = request.ends;
        match answer {
            Ok(Answer::Judged(verdict)) => {
                sample.error = verdict.failed;
                if verdict.by.is_some() {
                    line.verdicts.push((request.id, verdict));
                }
                self.count(&request, &sample);
                line.keep(request.bytes);
            }
            Ok(Answer::Redirect(moved)) => {
                line.aside.push(Aside::Moved(request, moved, sample));
            }
            Err(broken) => {
                self.failed_after(&request, broken, &mut sample);
                self.count(&request, &sample);
                line.keep(request.bytes);
            }
        }
        if let Some(began_ns) = ends {
            if line.aside.is_empty() {
                let mut record = self.shard.record.borrow_mut();
                record.iteration(self.scenario, self.now.saturating_sub(began_ns));
            } else {
                line.aside.push(Aside::End(began_ns));
            }
        }
    }

    #[inline]
    fn count(&mut self, request: &InFlight, sample: &Sample) {
        self.failed += u64::from(sample.is_failure());
        self.shard.record.borrow_mut().request(request.id, sample);
    }

    /// A whole response that is of no use.
    #[cold]
    fn failed_after(&self, request: &InFlight, broken: Broken, sample: &mut Sample) {
        let step = &self.shard.program.requests[request.id.at()];
        match broken {
            Broken::Redirect(why) => {
                sample.error = Some(ErrorKind::Redirect);
                let text = || format!("{}: {why}", step.name);
                self.shard
                    .record
                    .borrow_mut()
                    .error(ErrorKind::Redirect, text);
            }
            Broken::Failed(kind, errno) => {
                sample.error = Some(kind);
                self.shard
                    .record_error(request.id, step.origin, kind, errno);
            }
            Broken::Cancelled
            | Broken::Tls(_)
            | Broken::Proxy(_)
            | Broken::Unsent(_)
            | Broken::Stale => {
                sample.error = Some(ErrorKind::Protocol);
            }
        }
    }
}

impl Line {
    fn new(depth: usize) -> Self {
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
    fn connection<'c>(
        &self,
        connections: &'c mut [Option<Connection>],
    ) -> Option<&'c mut Connection> {
        connections.get_mut(self.origin?.at())?.as_mut()
    }

    /// It is now known when the last requests were sent.
    fn stamp(&mut self, sent_ns: u64) {
        let unstamped = self.in_flight.iter_mut().rev().take(self.unstamped);
        // Before the next turn it is still the time of an earlier one.
        for request in unstamped.filter(|request| request.begun_ns <= sent_ns) {
            request.sent_ns = sent_ns;
            self.unstamped = 0;
        }
    }

    /// When the first of those in flight has had its time.
    fn deadline_ns(&self) -> u64 {
        let deadlines = self.in_flight.iter().map(|request| request.deadline_ns);
        deadlines.min().unwrap_or(u64::MAX)
    }

    /// The phases of a request: in flight until `end_ns`, with some of its response there or none.
    fn sample(&self, request: &InFlight, end_ns: u64, has_begun: bool) -> Sample {
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
    fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > 0 && self.spare.len() < self.depth {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Iterations that have begun and are not over.
    fn unfinished(&self) -> u64 {
        let sent = self.in_flight.iter().filter(|r| r.ends.is_some()).count();
        let aside = self.aside.iter().filter(|a| matches!(a, Aside::End(_)));
        (sent + aside.count()) as u64 + u64::from(self.is_within)
    }
}
