//! One `request` step: what is tried, what is counted, what follows.

use std::rc::Rc;

use loadr_config::{OnFailure, RequestId};

use super::exchange::{Answer, Broken, Call, Own};
use super::hop::Hop;
use super::judge::Verdict;
use super::vu::{BACKOFF_NS_FIRST, Next, Vu};
use crate::clock::now_ns;
use crate::control::StopReason;
use crate::error_kind::ErrorKind;
use crate::http::RenderError;
use crate::metrics::Sample;

/// Where a request goes on that was in flight before.
pub(super) struct Resumed {
    pub(super) hop: Box<Hop>,
    /// How long ago it was first begun.
    pub(super) blocked_ns: u64,
    /// What of it went out before.
    pub(super) sent_bytes: u64,
}

impl Vu {
    /// One request step: connect if need be, send, wait, judge, count.
    pub(super) async fn request(
        &mut self,
        id: RequestId,
        mut start_ns: u64,
        resumed: Option<Resumed>,
    ) -> Next {
        let shard = Rc::clone(&self.shard);
        let request = &shard.program.requests[id.at()];
        let mut sample = Sample {
            late: std::mem::take(&mut self.late_ns),
            ..Sample::default()
        };
        if self.is_throttled {
            let slot_ns = shard.scenarios[self.scenario.at()].throttle_slot(start_ns);
            if slot_ns > start_ns {
                if self.sleep(slot_ns).await == Next::Leave {
                    return Next::Leave;
                }
                let due_ns = std::mem::replace(&mut start_ns, now_ns());
                sample.blocked = start_ns - due_ns;
            }
        }
        let timeout_ns = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = start_ns.saturating_add(timeout_ns);
        shard
            .tasks
            .borrow_mut()
            .set_deadline(self.client.task, deadline_ns);
        let own = Own {
            vars: &self.vars,
            instances: &self.instances,
            jar: &self.jar,
            caching: self.caching.as_deref(),
            task: self.client.task,
        };
        let mut retried = false;
        let mut hop: Option<Box<Hop>> = None;
        if let Some(resumed) = resumed {
            sample.blocked = resumed.blocked_ns;
            sample.sent_bytes = resumed.sent_bytes;
            hop = Some(resumed.hop);
        }
        let mut is_hit;
        let outcome = loop {
            let call = Call::new(&shard, id, hop.as_deref(), own);
            let kept = match own.caching {
                Some(caching) => shard.look_in_cache(call, caching).transpose(),
                None => None,
            };
            is_hit = kept.is_some();
            let answer = match kept {
                Some(answer) => answer,
                None => self.client.exchange(&call, start_ns, &mut sample).await,
            };
            match answer {
                // Once, and only for what may be sent twice (RFC 9110 section 9.2.2).
                Err(Broken::Stale) if !retried && is_idempotent(call.method()) => {
                    retried = true;
                    shard.record.borrow_mut().scenarios[self.scenario.at()].stale_retries += 1;
                }
                Ok(Answer::Redirect(moved)) => {
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
                }
                Ok(Answer::Judged(verdict)) => break Ok(verdict),
                Err(broken) => break Err(broken),
            }
        };
        let origin = hop.map_or(request.origin, |hop| hop.origin);
        shard.tasks.borrow_mut().clear_deadline(self.client.task);
        if is_hit && let Ok(verdict) = &outcome {
            // Nothing was sent, so there is no request to count; what is late is the one that will be.
            self.hit();
            self.late_ns = sample.late;
            self.backoff_ns = BACKOFF_NS_FIRST;
            self.failed += u64::from(verdict.failed.is_some());
            // A flow that does nothing else must not keep the shard from its other users.
            return match self.sleep(now_ns()).await {
                Next::Step => self.follow(id, verdict),
                leave => leave,
            };
        }
        let verdict = match outcome {
            Ok(verdict) => {
                self.backoff_ns = BACKOFF_NS_FIRST;
                verdict
            }
            Err(broken) => {
                let is_proxy = matches!(broken, Broken::Proxy(_));
                let (kind, errno) = match broken {
                    Broken::Cancelled => {
                        self.client.disconnect(origin);
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
                    Broken::Redirect(why) => {
                        let text = || format!("{}: {why}", request.name);
                        let mut record = shard.record.borrow_mut();
                        record.error(ErrorKind::Redirect, text);
                        sample.error = Some(ErrorKind::Redirect);
                        self.failed += 1;
                        record.request(id, &sample);
                        return Next::Step;
                    }
                    Broken::Tls(why) | Broken::Proxy(why) => {
                        let kind = if is_proxy {
                            ErrorKind::Proxy
                        } else {
                            ErrorKind::Tls
                        };
                        self.client.disconnect(origin);
                        let text =
                            || format!("{} ({}): {why}", request.name, shard.address(origin));
                        sample.error = Some(kind);
                        self.failed += 1;
                        {
                            let mut record = shard.record.borrow_mut();
                            record.error(kind, text);
                            record.request(id, &sample);
                        }
                        return self.back_off().await;
                    }
                    Broken::Failed(kind, errno) => (kind, errno),
                    Broken::Stale => (ErrorKind::Closed, 0),
                };
                self.client.disconnect(origin);
                shard.record_error(id, origin, kind, errno);
                sample.error = Some(kind);
                self.failed += 1;
                shard.record.borrow_mut().request(id, &sample);
                // A request that was sent has waited for the target; a connection that fails at once would spin, and so
                // would one that is taken and then dropped without a byte.
                let is_dropped = sample.connecting > 0
                    && !self.client.reader.has_started()
                    && matches!(kind, ErrorKind::Reset | ErrorKind::Closed);
                return if sample.was_sent && !is_dropped {
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
