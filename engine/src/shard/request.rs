//! One `request` step: what is tried, what is counted, what follows.

use std::rc::Rc;

use loadr_config::{OnFailure, OriginId, RequestId};

use super::exchange::{Answer, Broken, Call};
use super::hop::Hop;
use super::judge::Verdict;
use super::vu::{BACKOFF_NS_FIRST, Next, Vu};
use crate::clock::now_ns;
use crate::control::StopReason;
use crate::error_kind::ErrorKind;
use crate::http::RenderError;
use crate::metrics::Sample;
use crate::schedule::nanos;

/// Where a request goes on that was in flight before.
pub(super) struct Resumed {
    pub(super) hop: Box<Hop>,
    /// How long ago it was first begun.
    pub(super) blocked_ns: u64,
    /// What of it went out before.
    pub(super) sent_bytes: u64,
}

/// What follows a request.
enum After {
    Next(Next),
    /// A pause, so that a target that is down is not hammered.
    Pause,
    /// What is said, once other users had their turn: a flow that is answered from what is kept, and does nothing else,
    /// must not keep the shard from them.
    Breath(Next),
}

impl Vu {
    /// One request step: connect if need be, send, wait, judge, count. No `async fn`, for the reason that
    /// [`Client::exchange`](super::client::Client::exchange) gives.
    pub(super) fn request(
        &mut self,
        id: RequestId,
        mut start_ns: u64,
        resumed: Option<Box<Resumed>>,
    ) -> impl Future<Output = Next> {
        let shard = Rc::clone(&self.shard);
        let mut sample = Sample {
            late: std::mem::take(&mut self.late_ns),
            ..Sample::default()
        };
        let mut hop: Option<Box<Hop>> = None;
        if let Some(resumed) = resumed {
            sample.blocked = resumed.blocked_ns;
            sample.sent_bytes = resumed.sent_bytes;
            hop = Some(resumed.hop);
        }
        async move {
            if self.is_throttled {
                let slot_ns = shard.scenarios[self.scenario.at()].throttle_slot(start_ns);
                if slot_ns > start_ns {
                    if self.sleep(slot_ns).await == Next::Leave {
                        return Next::Leave;
                    }
                    let due_ns = std::mem::replace(&mut start_ns, now_ns());
                    sample.blocked += start_ns - due_ns;
                }
            }
            shard.tasks.borrow_mut().set_deadline(
                self.client.task,
                start_ns.saturating_add(nanos(shard.program.requests[id.at()].timeout)),
            );
            let mut retried = false;
            let mut is_hit;
            // Nothing of what came is alive when the user waits for the next: it would be kept for all waits.
            let after = {
                let outcome = loop {
                    let moved = {
                        let mut call =
                            Call::new(&shard, id, hop.as_deref(), &self.own, self.client.task);
                        call.caching = self.caching.as_deref();
                        let kept = shard.kept_answer(call);
                        is_hit = kept.is_some();
                        let answer = match kept {
                            Some(answer) => *answer,
                            None => self.client.exchange(&call, start_ns, &mut sample).await,
                        };
                        match answer {
                            // Once, and only for what may be sent twice (RFC 9110 section 9.2.2).
                            Err(Broken::Stale) if !retried && is_idempotent(call.method()) => {
                                retried = true;
                                let scenario = self.scenario.at();
                                shard.record.borrow_mut().scenarios[scenario].stale_retries += 1;
                                continue;
                            }
                            Ok(Answer::Redirect(moved)) => moved,
                            Ok(Answer::Judged(verdict)) => break Ok(verdict),
                            Err(broken) => break Err(broken),
                        }
                    };
                    let call = Call::new(&shard, id, hop.as_deref(), &self.own, self.client.task);
                    match Box::pin(self.client.follow(call, *moved)).await {
                        Ok(next) => {
                            if is_hit {
                                self.hit();
                            } else {
                                // Every hop is a request that was sent and answered, and is counted as one.
                                shard.record.borrow_mut().request(id, &sample);
                                sample = Sample::default();
                            }
                            (start_ns, retried) = (now_ns(), false);
                            hop = Some(next);
                        }
                        Err(broken) => break Err(broken),
                    }
                };
                shard.tasks.borrow_mut().clear_deadline(self.client.task);
                let origin = match &hop {
                    Some(hop) => hop.origin,
                    None => shard.program.requests[id.at()].origin,
                };
                match outcome {
                    Ok(verdict) if is_hit => {
                        After::Breath(self.answered_by_cache(id, &verdict, &sample))
                    }
                    Ok(verdict) => After::Next(self.answered(id, &verdict, &mut sample)),
                    Err(broken) => self.broken(id, origin, broken, &mut sample),
                }
            };
            match after {
                After::Next(next) => next,
                After::Pause => self.back_off().await,
                After::Breath(next) => match self.sleep(now_ns()).await {
                    Next::Step => next,
                    leave => leave,
                },
            }
        }
    }

    /// Counts a request that was answered; what follows it.
    #[inline]
    fn answered(&mut self, id: RequestId, verdict: &Verdict, sample: &mut Sample) -> Next {
        self.backoff_ns = BACKOFF_NS_FIRST;
        sample.error = verdict.failed;
        self.failed += u64::from(sample.is_failure());
        self.shard.record.borrow_mut().request(id, sample);
        self.follow(id, verdict)
    }

    /// Nothing was sent, so there is no request to count; what is late is the one that will be.
    #[cold]
    fn answered_by_cache(&mut self, id: RequestId, verdict: &Verdict, sample: &Sample) -> Next {
        self.hit();
        self.late_ns = sample.late;
        self.backoff_ns = BACKOFF_NS_FIRST;
        self.failed += u64::from(verdict.failed.is_some());
        self.follow(id, verdict)
    }

    /// Counts a request that brought no response; what follows it.
    #[cold]
    fn broken(
        &mut self,
        id: RequestId,
        origin: OriginId,
        broken: Broken,
        sample: &mut Sample,
    ) -> After {
        let shard = Rc::clone(&self.shard);
        let name = &shard.program.requests[id.at()].name;
        let (kind, errno) = match broken {
            Broken::Cancelled => {
                self.client.disconnect(origin);
                return After::Next(Next::Leave);
            }
            Broken::Unsent(RenderError::NoRow(_)) => return After::Next(Next::End),
            Broken::Unsent(error) => {
                shard.record_unsent(id, error);
                self.count_broken(id, error.kind(), sample);
                return After::Pause;
            }
            Broken::Redirect(why) => {
                let text = || format!("{name}: {why}");
                shard.record.borrow_mut().error(ErrorKind::Redirect, text);
                self.count_broken(id, ErrorKind::Redirect, sample);
                return After::Next(Next::Step);
            }
            Broken::Tls(why) => return self.no_way(id, origin, ErrorKind::Tls, &why, sample),
            Broken::Proxy(why) => return self.no_way(id, origin, ErrorKind::Proxy, &why, sample),
            Broken::Encrypted => {
                let why = "what answers there speaks TLS: write `https://`";
                return self.no_way(id, origin, ErrorKind::Protocol, why, sample);
            }
            Broken::Failed(kind, errno) => (kind, errno),
            Broken::Stale => (ErrorKind::Closed, 0),
        };
        self.client.disconnect(origin);
        shard.record_error(id, origin, kind, errno);
        self.count_broken(id, kind, sample);
        // A request that was sent has waited for the target; a connection that fails at once would spin, and so would
        // one that is taken and then dropped without a byte.
        let is_dropped = sample.connecting > 0
            && !self.client.reader.has_started()
            && matches!(kind, ErrorKind::Reset | ErrorKind::Closed);
        // A part of a response is nobody's while the user pauses.
        self.client.reader.let_go();
        if sample.was_sent && !is_dropped {
            After::Next(Next::Step)
        } else {
            After::Pause
        }
    }

    /// There is no way to the origin, or none that is safe; `why` is for people.
    #[cold]
    fn no_way(
        &mut self,
        id: RequestId,
        origin: OriginId,
        kind: ErrorKind,
        why: &str,
        sample: &mut Sample,
    ) -> After {
        let shard = Rc::clone(&self.shard);
        let name = &shard.program.requests[id.at()].name;
        self.client.disconnect(origin);
        self.client.reader.let_go();
        let text = || format!("{name} ({}): {why}", shard.address(origin));
        shard.record.borrow_mut().error(kind, text);
        self.count_broken(id, kind, sample);
        After::Pause
    }

    fn count_broken(&mut self, id: RequestId, kind: ErrorKind, sample: &mut Sample) {
        sample.error = Some(kind);
        self.failed += 1;
        self.shard.record.borrow_mut().request(id, sample);
    }

    /// A kept response answered a request.
    #[cold]
    fn hit(&self) {
        let mut record = self.shard.record.borrow_mut();
        record.scenarios[self.scenario.at()].cache_hits += 1;
    }

    /// What a failed assert, or the check of a chain, asks for.
    pub(super) fn follow(&self, id: RequestId, verdict: &Verdict) -> Next {
        let Some(by) = verdict.by else {
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
                let by = by.name(request, &self.shard.program);
                let name = format!("{}: {by}", request.name);
                self.shard.control.stop(StopReason::Assert(name));
                Next::Iteration
            }
        }
    }
}

/// RFC 9110 section 9.2.2.
pub(super) fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}
