//! While it runs and at its end: being heard, who is lost, and what watchers still need.

use loadr_engine::StopReason;

use super::{Node, shown};
use crate::message::{Beat, Command, Message, Phase, State, Stop};
use crate::roster::{self, Change};
use crate::segment::OnLost;

/// A watcher that has not been heard for so long is gone.
const WATCHER_MS: u64 = 5_000;
/// How long watchers get, at the end, to ask for what they have not got.
const LINGER_MS: u64 = 10_000;
/// The same while the bus is silent.
const LINGER_SILENT_MS: u64 = 4_000;

impl Node {
    pub(super) fn is_first(&self) -> bool {
        let is_mine = |index: u32| index > self.me.index;
        self.over.is_none()
            && self.roster.as_ref().is_some_and(|r| {
                r.going()
                    .map(|peer| peer.member.index)
                    .min()
                    .is_none_or(is_mine)
            })
    }

    pub(super) fn tick_running(&mut self, now_ms: u64) {
        if now_ms >= self.wake.beat_ms {
            self.wake.beat_ms = now_ms + roster::interval_ms(self.me.of);
            let beat = self.beat();
            let me = self.me.clone();
            self.send(&Message::Beat { me, beat });
        }
        let is_watched = self.is_watched(now_ms);
        self.control.judge_elsewhere(is_watched);
        let changes = self
            .roster
            .as_mut()
            .map(|r| r.judge(now_ms))
            .unwrap_or_default();
        for change in changes {
            self.changed(&change);
        }
        if self.is_first() && now_ms >= self.wake.state_ms {
            self.wake.state_ms = now_ms + 1_000;
            self.say_state();
        }
        self.answer_given(now_ms);
        self.pass_stop_on(now_ms);
        self.ask_orders(now_ms);
    }

    fn is_watched(&self, now_ms: u64) -> bool {
        let is_here = |heard_ms: u64| now_ms.saturating_sub(heard_ms) < WATCHER_MS;
        self.watchers
            .iter()
            .any(|(_, heard_ms, _)| is_here(*heard_ms))
    }

    pub(super) fn beat(&self) -> Beat {
        let phase = match () {
            () if self.over.is_some() => Phase::Ended,
            () if self.control.is_stopped() => Phase::Ending,
            () => Phase::Running,
        };
        // What all were told is no reason of this one's own; nor is what this one tells all.
        let why = match self.control.reason() {
            _ if self.orders.has_stop() => None,
            Some(StopReason::Interrupted) => Some("it was interrupted".to_owned()),
            Some(StopReason::Steered) => Some("it was stopped by itself".to_owned()),
            Some(StopReason::Broken(what)) => Some(format!("it broke off: {what}")),
            Some(
                StopReason::Lost(_)
                | StopReason::Watcher(_)
                | StopReason::Assert(_)
                | StopReason::Threshold(_),
            )
            | None => None,
        };
        Beat {
            phase,
            why,
            seconds: self.keep.count(),
            orders: self.orders.count(),
            figures: self.figures,
        }
    }

    fn say_state(&self) {
        let status = self.control.status();
        let state = State {
            state: status.state,
            elapsed_secs: status.elapsed_secs,
            paused_secs: status.paused_secs,
            phases: status.scenarios.iter().map(|s| s.phase).collect(),
            aims: status.scenarios.iter().map(|s| s.aim).collect(),
        };
        let me = self.me.clone();
        self.send(&Message::State { me, state });
    }

    /// One of the others is lost, or heard again.
    pub(super) fn changed(&mut self, change: &Change) {
        match change {
            Change::Back(member) => {
                let said = format!("fleet: {} is heard again", shown(member));
                (self.say)(&said);
                self.shared.note(said);
            }
            Change::Lost(member, why) => {
                if self.over.is_some() || self.control.is_stopped() {
                    return;
                }
                let why = crate::message::plain(why);
                let said = format!("{} is lost: {why}", shown(member));
                let then = match self.on_lost {
                    OnLost::Continue => "the others go on (--on-lost continue)",
                    OnLost::Abort => "this ends the run (--on-lost abort)",
                };
                (self.say)(&format!("fleet: {said}; {then}"));
                self.shared.note(format!("fleet: {said}"));
                if self.on_lost == OnLost::Abort {
                    self.control
                        .stop(StopReason::Lost(format!("{said} (--on-lost abort)")));
                }
            }
        }
    }

    /// A failed assert or threshold that ends this segment ends all.
    fn pass_stop_on(&mut self, now_ms: u64) {
        let why = match self.control.reason() {
            Some(StopReason::Threshold(text)) => Stop::Threshold(text),
            Some(StopReason::Assert(name)) => Stop::Assert(name),
            _ => return,
        };
        if self.orders.has_stop() || now_ms < self.wake.stop_ms {
            return;
        }
        self.wake.stop_ms = now_ms + 1_000;
        let command = Command::Stop { why };
        let id = crate::random();
        // At its end a segment no longer speaks for all, and still has to say this.
        let is_alone = self
            .roster
            .as_ref()
            .is_some_and(|r| r.going().next().is_none());
        if self.is_first() || is_alone {
            self.give(id, command, None, now_ms);
        } else {
            self.send(&Message::Do { id, command });
        }
    }

    /// Tells watchers what they have not got; whether that is done.
    pub(super) fn tick_over(&mut self, now_ms: u64) -> bool {
        let Some((summary, since_ms)) = &self.over else {
            return true;
        };
        let Some(roster) = &self.roster else {
            return true;
        };
        if now_ms >= self.wake.end_ms {
            self.wake.end_ms = now_ms + 1_000;
            let seconds = self.keep.count();
            let subject = self.link.subjects.seconds(self.me.index);
            self.link
                .send_parts(&subject, summary, |part| Message::End {
                    me: self.me.clone(),
                    seconds,
                    part,
                });
        }
        let waited_ms = now_ms.saturating_sub(*since_ms);
        let is_alive = roster.is_bus_alive(now_ms);
        let is_watched = |(_, heard_ms, has_all): &(u64, u64, bool)| {
            // While the bus is silent, one that was there may still be.
            !has_all && (!is_alive || now_ms.saturating_sub(*heard_ms) < WATCHER_MS)
        };
        let has_stop_to_tell = matches!(
            self.control.reason(),
            Some(StopReason::Threshold(_) | StopReason::Assert(_))
        ) && !self.orders.has_stop()
            && roster.going().next().is_some();
        let is_needed =
            self.watchers.iter().any(is_watched) || has_stop_to_tell || !self.given.is_empty();
        let most_ms = if is_alive {
            LINGER_MS
        } else {
            LINGER_SILENT_MS
        };
        !is_needed || waited_ms > most_ms
    }
}
