//! What cannot go on in order: a connection that is lost with what is in flight on it, and what is done one by one when
//! nothing is in flight.

use std::rc::Rc;

use super::super::exchange::{Broken, Call};
use super::super::hop::{Hop, Moved};
use super::super::request::{Resumed, is_idempotent};
use super::super::state::{Prepared, Shard};
use super::super::vu::{Next, Vu};
use super::line::{Aside, End, InFlight, Line};
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::metrics::Sample;

impl Vu {
    /// The connection carries no further response: who is to blame for it fails, who may be sent once more is set aside,
    /// and the others fail with it.
    pub(super) fn lose(&mut self, line: &mut Line, end: &End) {
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
    pub(super) async fn catch_up(&mut self, line: &mut Line) -> Next {
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

    pub(super) async fn follow_moved(
        &mut self,
        request: &InFlight,
        moved: Moved,
        mut sample: Sample,
    ) -> Next {
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
}

impl Shard {
    /// A request that was in flight, on its own.
    fn hop_of(&self, request: &InFlight) -> Box<Hop> {
        let bytes = match &self.prepared[request.id.at()] {
            Prepared::Static(bytes) => bytes.to_vec(),
            Prepared::Templated { .. } => request.bytes.clone(),
        };
        let origin = self.program.requests[request.id.at()].origin;
        Hop::again(self, origin, bytes)
    }
}
