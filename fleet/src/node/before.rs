//! Before the start: who has come, what the clocks say, and the instant that all agree to.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{Node, unix_ns};
use crate::agree::{NOTICE_NS, Say};
use crate::meeting;
use crate::message::{Member, Message};
use crate::roster::Roster;

/// Between two questions for the time, and the longest wait for an answer.
const CLOCK_MS: u64 = 1_000;

/// A fleet that others say runs is one that this segment missed, when it has not heard of the start itself by then.
const MISSED_START_MS: u64 = 2_000;

impl Node {
    pub(super) fn tick_before(&mut self, now_ms: u64) {
        let Some(meeting) = &self.before.meeting else {
            return;
        };
        if self.control.is_stopped() {
            return;
        }
        if let Some((since_ms, who)) = &self.before.runs_since
            && now_ms.saturating_sub(*since_ms) > MISSED_START_MS
        {
            let why = format!(
                "the fleet `{}` runs already without this process: {who} says so; wait for its end, or give another --fleet",
                self.fleet
            );
            return self.refuse(&why);
        }
        if let Some((attempt, at_ns)) = self.before.starting {
            return self.say_start(attempt, at_ns);
        }
        let missing = meeting.missing(now_ms);
        let complete = meeting.complete(now_ms);
        if now_ms >= self.wake.hello_ms {
            self.wake.hello_ms = now_ms + meeting::interval_ms(self.me.of);
            self.send(&self.hello(self.before.ready_ms.is_some()));
        }
        let Some(ready_ms) = self.before.ready_ms else {
            return;
        };
        if now_ms.saturating_sub(ready_ms) > self.wait_ms {
            let why = format!(
                "the fleet `{}` did not come together in {}: {missing}; --bus-wait waits longer",
                self.fleet,
                loadr_config::duration_text(Duration::from_millis(self.wait_ms))
            );
            return self.refuse(&why);
        }
        if self.me.index == 0 {
            if let Some(others) = complete {
                self.propose(&others, now_ms);
            }
        } else {
            self.ask_time(now_ms);
        }
    }

    pub(super) fn refuse(&mut self, why: &str) {
        self.before.meeting = None;
        self.shared.start(Err(why.to_owned()));
    }

    fn propose(&mut self, others: &[Member], now_ms: u64) {
        if now_ms < self.wake.propose_ms {
            return;
        }
        self.wake.propose_ms = now_ms + 200;
        match self.before.proposals.say(others, unix_ns()) {
            Say::Propose { attempt, at_ns } => {
                let me = self.me.clone();
                self.send(&Message::Propose { me, attempt, at_ns });
            }
            Say::Start { attempt, at_ns } => {
                self.before.starting = Some((attempt, at_ns));
                self.say_start(attempt, at_ns);
                if let Some((index, clock)) = self.before.proposals.worst_clock() {
                    let note = format!(
                        "fleet: the clock of segment {index} is the farthest: {}",
                        clock.text()
                    );
                    self.shared.note(note);
                }
                self.begin(others.to_vec(), at_ns, now_ms);
            }
        }
    }

    /// Said until the start has come; whoever comes after it is of no meeting.
    fn say_start(&mut self, attempt: u64, at_ns: u64) {
        if unix_ns() > at_ns {
            self.before.meeting = None;
            return;
        }
        let me = self.me.clone();
        self.send(&Message::Start { me, attempt, at_ns });
    }

    fn begin(&mut self, others: Vec<Member>, at_ns: u64, now_ms: u64) {
        let at = UNIX_EPOCH + Duration::from_nanos(at_ns);
        self.started_ms = at_ns / 1_000_000;
        self.roster = Some(Roster::new(others, self.me.of, now_ms));
        self.wake.beat_ms = now_ms;
        self.shared.start(Ok(at));
    }

    fn ask_time(&mut self, now_ms: u64) {
        let is_waiting =
            |(asked_ms, ..): &(u64, Instant, u64)| now_ms.saturating_sub(*asked_ms) < CLOCK_MS;
        if self.before.compared.is_done() || self.before.asked_time.as_ref().is_some_and(is_waiting)
        {
            return;
        }
        self.before.asked_time = Some((now_ms, Instant::now(), unix_ns()));
        let subjects = &self.link.subjects;
        self.link
            .ask(&subjects.to(0), &subjects.to(self.me.index), &Message::Time);
    }

    pub(super) fn hear_before(&mut self, message: &Message, now_ms: u64) {
        let Some(meeting) = &mut self.before.meeting else {
            return;
        };
        match message {
            Message::Hello { me, load, is_ready } => {
                if let Err(why) = meeting.hear(me, load, *is_ready, now_ms) {
                    if self.roster.is_some() {
                        return;
                    }
                    // The other is to see it as well.
                    self.send(&self.hello(false));
                    self.refuse(&format!("the fleet `{}` cannot start: {why}", self.fleet));
                }
            }
            Message::Bye { me, .. } => meeting.leaves(me),
            Message::Propose { me, attempt, .. } if me.index == 0 && self.me.index != 0 => {
                let is_known = meeting.member(0).is_some_and(|m| m.instance == me.instance);
                let is_compared = self.before.compared.is_done();
                if is_known && is_compared && self.before.ready_ms.is_some() {
                    self.before.agreed = Some(*attempt);
                    let agree = Message::Agree {
                        me: self.me.clone(),
                        attempt: *attempt,
                        clock: self.before.compared.best(),
                    };
                    self.link.send(&self.link.subjects.to(0), &agree);
                }
            }
            Message::Agree { me, attempt, clock } => {
                self.before.proposals.agrees(me, *attempt, *clock);
                self.wake.propose_ms = self.wake.propose_ms.min(now_ms);
            }
            Message::Start { me, attempt, at_ns } if me.index == 0 && self.me.index != 0 => {
                let is_known = meeting.member(0).is_some_and(|m| m.instance == me.instance);
                if !is_known || self.before.agreed != Some(*attempt) {
                    return;
                }
                let clock = self.before.compared.best();
                let here_ns = clock.map_or(*at_ns, |clock| clock.here_ns(*at_ns));
                if here_ns < unix_ns() + NOTICE_NS {
                    let why = format!(
                        "the fleet `{}` has started, and word of it came too late for this segment",
                        self.fleet
                    );
                    return self.refuse(&why);
                }
                if let Some(clock) = clock {
                    let note = format!("fleet: this clock is {}", clock.text());
                    self.shared.note(note);
                }
                let others = (0..self.me.of).filter_map(|index| meeting.member(index).cloned());
                let others = others.collect();
                self.before.meeting = None;
                self.begin(others, here_ns, now_ms);
            }
            Message::TimeIs { now_ns } => {
                if let Some((_, asked, sent_ns)) = self.before.asked_time.take() {
                    let way_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    self.before.compared.sample(sent_ns, *now_ns, way_ns);
                    self.ask_time(now_ms);
                }
            }
            Message::Beat { me, .. }
                if me.instance != self.me.instance && self.roster.is_none() =>
            {
                self.before.runs_since.get_or_insert((now_ms, me.name()));
            }
            _ => {}
        }
    }
}
