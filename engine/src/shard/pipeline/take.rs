//! What comes in: each response is judged and counted with the request that it answers.

use std::rc::Rc;

use loadr_config::ScenarioId;
use loadr_ring::{Ring, Slot};

use super::super::client::Client;
use super::super::exchange::{Answer, Broken, Call, Own};
use super::super::state::Shard;
use super::super::tasks::TaskId;
use super::super::tls;
use super::super::vu::{BACKOFF_NS_FIRST, Vu};
use super::line::{Aside, End, InFlight, Line};
use crate::error_kind::ErrorKind;
use crate::http::{Advance, Response, note};
use crate::metrics::Sample;
use crate::tls::Session;

impl Vu {
    /// Takes all responses that have come; what keeps the connection from carrying another one.
    pub(super) fn take(&mut self, line: &mut Line, now: u64) -> Option<End> {
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
                    taken.judge(front, call, wanted.notes, response, duration_ns)
                };
                let known = Some(&shard.known_heads[call.id.at()]);
                match reader.advance(&run[at..], &wanted, known, judge) {
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
                // As without pipelining: that was its last byte is known only now.
                let end_ns = ring.reaped_ns();
                let duration_ns = end_ns.saturating_sub(front.begun_ns);
                let call = Call::new(&shard, front.id, None, taken.own, taken.task);
                let wanted = call.wanted(&shard.program.limits);
                let judge = |response: &Response<'_>| {
                    taken.judge(front, call, wanted.notes, response, duration_ns)
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
    pub(super) task: TaskId,
    scenario: ScenarioId,
    failed: u64,
    is_tls: bool,
    now: u64,
}

impl Taken<'_> {
    /// What the response to the first request in flight is worth.
    fn judge(
        &self,
        front: &InFlight,
        call: Call<'_>,
        heeded: u8,
        response: &Response<'_>,
        duration_ns: u64,
    ) -> (u16, Result<Answer, Broken>) {
        if response.notes & heeded & note::CODED != 0 {
            // Decoding looks at the deadline, and that of another one may be the first.
            let mut tasks = self.shard.tasks.borrow_mut();
            tasks.set_deadline(self.task, front.deadline_ns);
        }
        // What it was rendered from has moved on.
        let sent = (!front.bytes.is_empty()).then_some(&front.bytes);
        let call = Call { sent, ..call };
        let answer = self.shard.answer(call, response, heeded, duration_ns);
        (response.status, answer)
    }

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
            | Broken::Encrypted
            | Broken::Proxy(_)
            | Broken::Unsent(_)
            | Broken::Stale => {
                sample.error = Some(ErrorKind::Protocol);
            }
        }
    }
}
