//! The task that watches: hears the segments, asks for what is missing, and passes on what is whole.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use loadr_config::Program;
use loadr_engine::{ScenarioPhase, ScenarioStatus, Status, Summary};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use super::track::Track;
use super::{About, QUEUE, Seen, Wish};
use crate::ask::{AGAIN, ANSWER, outcome};
use crate::bus::Link;
use crate::message::{Message, State, plain};
use crate::roster::{Change, Roster};

const TICK: Duration = Duration::from_millis(100);
/// Between two words of a watcher.
const WATCHING_MS: u64 = 1_000;
/// A second that is missing is asked for after the first of these, and again after the second.
const MISSING_MS: u64 = 300;
const ASK_MS: u64 = 1_000;
/// What was asked for so often and did not come is no longer there.
const ASKS_MAX: u32 = 8;
/// A segment that was never heard in this time is lost.
const NEVER_HEARD_MS: u64 = 6_000;

/// The task that watches.
pub(super) struct Eye {
    link: Link,
    about: About,
    all: Option<Subscriber>,
    seconds: Option<Subscriber>,
    inbox: Option<Subscriber>,
    inbox_name: String,
    id: u64,
    began: Instant,
    watching_ms: u64,
    /// Since it first heard itself.
    roster: Roster,
    tracks: Vec<Track>,
    sender: SyncSender<Seen>,
    /// What did not fit into the queue yet.
    waiting: VecDeque<Seen>,
    pub(super) status: Arc<Mutex<Option<Status>>>,
    pub(super) is_over: Arc<AtomicBool>,
    /// What was asked of the fleet: its id, itself, when to ask again, when it is given up.
    asked: Vec<(u64, Wish, u64, u64)>,
}

impl Eye {
    pub(super) async fn new(
        link: Link,
        about: About,
        sender: SyncSender<Seen>,
        status: Arc<Mutex<Option<Status>>>,
        is_over: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let id = crate::random();
        let inbox_name = link.subjects.inbox(id);
        // Its answers come to places of their own below it.
        let inbox = link.subscribe(format!("{inbox_name}.*")).await?;
        let all = link.subscribe(link.subjects.all()).await?;
        let seconds = link.subscribe(link.subjects.all_seconds()).await?;
        *lock(&status) = Some(first_status(&about.program));
        Ok(Self {
            tracks: (0..about.of).map(|_| Track::new()).collect(),
            roster: Roster::new([], about.of, 0),
            all: Some(all),
            seconds: Some(seconds),
            inbox: Some(inbox),
            inbox_name,
            link,
            about,
            id,
            began: Instant::now(),
            watching_ms: 0,
            sender,
            waiting: VecDeque::new(),
            status,
            is_over,
            asked: Vec::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) async fn live(mut self, mut wished: mpsc::Receiver<Wish>) {
        let (Some(mut all), Some(mut seconds), Some(mut inbox)) =
            (self.all.take(), self.seconds.take(), self.inbox.take())
        else {
            return;
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_open = true;
        while !self.is_over.load(Ordering::Acquire) {
            tokio::select! {
                Some(came) = all.next() => self.hear(&came),
                Some(came) = seconds.next() => self.hear(&came),
                Some(came) = inbox.next() => self.hear(&came),
                wish = wished.recv(), if is_open => match wish {
                    Some(wish) => self.wish(wish),
                    None => is_open = false,
                },
                _ = tick.tick() => self.tick(),
            }
        }
        self.link.flush(Duration::from_secs(1)).await;
    }

    fn see(&mut self, seen: Seen) {
        self.waiting.push_back(seen);
        self.pass_on();
    }

    fn pass_on(&mut self) {
        while let Some(seen) = self.waiting.pop_front() {
            match self.sender.try_send(seen) {
                Ok(()) => {}
                Err(TrySendError::Full(seen)) => {
                    self.waiting.push_front(seen);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    fn wish(&mut self, wish: Wish) {
        let now_ms = self.now_ms();
        let until_ms = now_ms + u64::try_from(ANSWER.as_millis()).unwrap_or(u64::MAX);
        self.asked.push((crate::random(), wish, now_ms, until_ms));
        self.ask_again(now_ms);
    }

    fn ask_again(&mut self, now_ms: u64) {
        let again_ms = u64::try_from(AGAIN.as_millis()).unwrap_or(u64::MAX);
        let (link, inbox) = (&self.link, &self.inbox_name);
        self.asked.retain_mut(|(id, wish, next_ms, until_ms)| {
            if now_ms >= *until_ms {
                let why = "the fleet does not answer: it has not started yet, has ended, or the bus is silent";
                let _ = wish.answer.try_send(Err(why.to_owned()));
                return false;
            }
            if now_ms >= *next_ms {
                *next_ms = now_ms + again_ms;
                let question = Message::Do {
                    id: *id,
                    command: wish.command.clone(),
                };
                link.ask(&link.subjects.all(), &format!("{inbox}.{id:016x}"), &question);
            }
            true
        });
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.pass_on();
        self.ask_again(now_ms);
        if now_ms >= self.watching_ms {
            self.watching_ms = now_ms + WATCHING_MS;
            let watching = Message::Watching { watcher: self.id };
            self.link.send(&self.link.subjects.all(), &watching);
        }
        for change in self.roster.judge(now_ms) {
            self.changed(change);
        }
        if now_ms > NEVER_HEARD_MS && self.roster.is_bus_alive(now_ms) {
            for at in 0..self.tracks.len() {
                let track = &mut self.tracks[at];
                if !track.was_heard && !track.is_lost {
                    track.is_lost = true;
                    self.see(Seen::Lost {
                        segment: at as u32,
                        why: "it was not heard since this began to watch".to_owned(),
                    });
                }
            }
        }
        if self.waiting.len() < QUEUE {
            self.ask_missing(now_ms);
        }
        for at in 0..self.tracks.len() {
            self.end_if_all_is_here(at);
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Lost(member, why) => {
                let Some(track) = self.tracks.get_mut(member.index as usize) else {
                    return;
                };
                if !track.is_lost && !track.is_done {
                    track.is_lost = true;
                    self.see(Seen::Lost {
                        segment: member.index,
                        why: format!("{}: {}", plain(&member.place), plain(&why)),
                    });
                }
            }
            Change::Back(member) => self.is_back(member.index),
        }
    }

    fn is_back(&mut self, segment: u32) {
        if let Some(track) = self.tracks.get_mut(segment as usize)
            && std::mem::take(&mut track.is_lost)
        {
            self.see(Seen::Back { segment });
        }
    }

    /// Asks for seconds that should be here.
    fn ask_missing(&mut self, now_ms: u64) {
        if !self.roster.is_bus_alive(now_ms) {
            return;
        }
        let mut gaps = Vec::new();
        for (at, track) in self.tracks.iter_mut().enumerate() {
            if !track.is_missing_some() {
                track.missing_since_ms = None;
                continue;
            }
            let since_ms = *track.missing_since_ms.get_or_insert(now_ms);
            let is_due = now_ms.saturating_sub(track.asked_ms) >= ASK_MS || track.asks == 0;
            if now_ms.saturating_sub(since_ms) < MISSING_MS && track.next > 1 || !is_due {
                continue;
            }
            if track.asks >= ASKS_MAX {
                // A segment that is gone answers nobody.
                let seconds = track.skip();
                if seconds > 0 {
                    gaps.push((at as u32, seconds));
                }
                for bytes in track.due() {
                    self.waiting.push_back(Seen::Second {
                        segment: at as u32,
                        bytes,
                    });
                }
                continue;
            }
            (track.asked_ms, track.asks) = (now_ms, track.asks + 1);
            let missed = Message::MissedSeconds { from: track.next };
            let inbox = format!("{}.{at}", self.inbox_name);
            self.link
                .ask(&self.link.subjects.to(at as u32), &inbox, &missed);
        }
        for (segment, seconds) in gaps {
            self.see(Seen::Gap { segment, seconds });
        }
        self.pass_on();
    }

    fn hear(&mut self, came: &async_nats::Message) {
        let now_ms = self.now_ms();
        let Ok((message, body)) = self.link.read(came) else {
            return;
        };
        match &message {
            Message::Watching { watcher } if *watcher == self.id => self.roster.echo(now_ms),
            Message::Done {
                error, taken, of, ..
            } => {
                let id = came.subject.rsplit('.').next().unwrap_or_default();
                let id = u64::from_str_radix(id, 16).ok();
                if let Some(at) = self.asked.iter().position(|(asked, ..)| Some(*asked) == id) {
                    let (_, wish, ..) = self.asked.swap_remove(at);
                    let _ = wish.answer.try_send(outcome(error.clone(), *taken, *of));
                }
            }
            _ => {}
        }
        let Some(member) = message.from().filter(|m| m.of == self.about.of) else {
            return;
        };
        let at = member.index as usize;
        // Before the start a process may be replaced by another; none has seconds then.
        let is_start = matches!(
            message,
            Message::Hello { .. }
                | Message::Propose { .. }
                | Message::Start { .. }
                | Message::Outline { .. }
        );
        let Some(track) = self.tracks.get_mut(at) else {
            return;
        };
        if is_start {
            track.was_heard |= track.instance.is_none();
            return;
        }
        let instance = *track.instance.get_or_insert(member.instance);
        if instance != member.instance {
            return;
        }
        track.was_heard = true;
        self.roster.adopt(member, now_ms);
        let beat = match &message {
            Message::Beat { beat, .. } => Some(beat),
            _ => None,
        };
        if let Some(beat) = beat {
            track.known = track.known.max(beat.seconds);
        }
        let (_, change) = self.roster.hear(member, beat, now_ms);
        if let Some(change) = change {
            self.changed(change);
        }
        self.is_back(member.index);
        match message {
            Message::Bye { me, why } => {
                if let Some(change) = self.roster.leaves(&me, &why) {
                    self.changed(change);
                }
            }
            Message::State { state, .. } => self.state(&state),
            Message::Second {
                number,
                before,
                part,
                ..
            } => self.second(at, number, before, part, body),
            Message::End { seconds, part, .. } => {
                let Some(track) = self.tracks.get_mut(at) else {
                    return;
                };
                if let Some(body) = track.end_parts.take(seconds, part, body)
                    && let Ok(summary) = serde_json::from_slice::<Summary>(&body)
                {
                    track.known = track.known.max(seconds);
                    if track.end.is_none() {
                        track.end = Some((seconds, Box::new(summary)));
                    }
                    self.end_if_all_is_here(at);
                }
            }
            _ => {}
        }
    }

    fn second(
        &mut self,
        at: usize,
        number: u64,
        before: u64,
        part: crate::message::Part,
        body: &[u8],
    ) {
        if self.waiting.len() >= QUEUE {
            // It can be asked for later.
            return;
        }
        let Some(track) = self.tracks.get_mut(at) else {
            return;
        };
        let Some(bytes) = track.parts.take(number, part, body) else {
            return;
        };
        for bytes in track.take(number, before, bytes) {
            self.see(Seen::Second {
                segment: at as u32,
                bytes,
            });
        }
        self.end_if_all_is_here(at);
    }

    fn end_if_all_is_here(&mut self, at: usize) {
        let Some(track) = self.tracks.get_mut(at) else {
            return;
        };
        let is_whole = track
            .end
            .as_ref()
            .is_some_and(|(seconds, _)| track.next > *seconds);
        if !is_whole {
            return;
        }
        if !track.is_done {
            track.is_done = true;
            let summary = track.end.as_ref().map(|(_, summary)| summary.clone());
            if let Some(summary) = summary {
                self.see(Seen::Ended {
                    segment: at as u32,
                    summary,
                });
            }
            let have = Message::HaveAll { watcher: self.id };
            self.link.send(&self.link.subjects.to(at as u32), &have);
        }
    }

    fn state(&mut self, state: &State) {
        let mut status = lock(&self.status);
        let Some(status) = &mut *status else {
            return;
        };
        status.state = state.state;
        status.elapsed_secs = state.elapsed_secs;
        status.paused_secs = state.paused_secs;
        let said = state.phases.iter().zip(&state.aims);
        for (scenario, (phase, aim)) in status.scenarios.iter_mut().zip(said) {
            (scenario.phase, scenario.aim) = (*phase, *aim);
        }
    }
}

pub(super) fn lock(status: &Mutex<Option<Status>>) -> MutexGuard<'_, Option<Status>> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_status(program: &Program) -> Status {
    let scenarios = program.scenarios.iter().map(|scenario| {
        let executor = &scenario.executor;
        let takes_vus = matches!(
            executor,
            loadr_config::Executor::ExternallyControlled { .. }
        );
        let is_rate = matches!(executor, loadr_config::Executor::ArrivalRate { .. });
        ScenarioStatus {
            name: scenario.name.clone(),
            executor: executor.name(),
            phase: ScenarioPhase::Waiting,
            max_vus: executor.vus_max(),
            aim: None,
            takes_vus,
            takes_rate: takes_vus || is_rate,
        }
    });
    Status {
        name: program.name.clone(),
        scenarios: scenarios.collect(),
        ..Status::starting()
    }
}
