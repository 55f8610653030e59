//! Pipelining (RFC 9112 section 9.3.2): a virtual user's requests go out ahead of the responses to earlier ones, on one
//! connection, and are answered in their order.
//!
//! The plan's compiler lets only flows come here in which nothing waits for a response. The flow runs ahead: a request
//! is rendered and sent while up to so many before it are unanswered, and an iteration is over when the last of its
//! requests is. What cannot go on in order is set aside, until nothing is in flight, and then done one by one as
//! without pipelining: a redirect, and a request that may be sent once more because its connection ended before a byte
//! of its answer. The first request of a connection goes alone too, so that a server that does not keep connections is
//! not sent what it will not answer (RFC 9112 section 9.3.2 asks for that after a failure).

use std::rc::Rc;

use loadr_config::Step;

use super::flow::{Frame, Frames, STEPS_AT_ONCE};
use super::tasks::signal;
use super::turns::Work;
use super::vu::{Next, Vu};
use crate::clock::now_ns;

/// No further request is added to what goes out at once when it has so many bytes: below what the ring sends without a
/// copy of its own.
const BATCH_BYTES_ENOUGH: usize = 32 * 1024;

mod aside;
mod line;
mod send;
mod take;

use line::{Ahead, Aside, End, Line};

impl Vu {
    /// [`Vu::run`] with requests in flight ahead of their responses.
    pub(super) async fn run_pipelined(mut self: Box<Self>, user: u32, work: Work) {
        let shard = Rc::clone(&self.shard);
        let scenario = &shard.program.scenarios[self.scenario.at()];
        let mut line = Line::new(scenario.pipeline as usize);
        let mut frames = Frames::new();
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
        frames: &mut Frames<'p>,
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
        frames: &mut Frames<'p>,
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

    /// Does what failed asserts ask for. Whatever it is, it ends the iteration that is being sent.
    #[cold]
    fn heed(&mut self, line: &mut Line, frames: &mut Frames<'_>) {
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
