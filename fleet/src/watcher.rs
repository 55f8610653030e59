//! The side of those who look at a fleet: what its segments hand out comes in here, each second of each segment once and in
//! order, whatever the bus loses on the way; and what a person wants of the fleet goes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use loadr_config::{Outline, Program};
use loadr_engine::{
    Control, RunState, ScenarioPhase, ScenarioStatus, Status, Steer, SteerError, Summary,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use crate::ask::{AGAIN, ANSWER, find, outcome};
use crate::bus::{Bus, Link, Parts, Tally};
use crate::message::{Command, Load, Member, Message, State, Stop, Unread, plain};
use crate::roster::{Change, Roster};

const TICK: Duration = Duration::from_millis(100);
/// Between two words of a watcher.
const WATCHING_MS: u64 = 1_000;
/// A second that is missing is asked for after this, and again.
const MISSING_MS: u64 = 300;
const ASK_MS: u64 = 1_000;
/// What was asked for so often and did not come is no longer there.
const ASKS_MAX: u32 = 8;
/// The most seconds that wait for one before them, of one segment.
const EARLY_MAX: usize = 256;
/// What waits to be looked at.
const QUEUE: usize = 1_024;
/// A segment that was never heard in this time is lost.
const NEVER_HEARD_MS: u64 = 6_000;
/// How long what was asked last may take, from a person's view.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is seen of a fleet.
#[derive(Debug)]
pub enum Seen {
    /// A second of a segment, as [`loadr_engine::Delta::read`] takes it. Each comes once.
    Second {
        /// Which.
        segment: u32,
        /// What it measured.
        bytes: Vec<u8>,
    },
    /// A segment is over, and all its seconds have come: its summary without what seconds have.
    Ended {
        /// Which.
        segment: u32,
        /// Of it alone.
        summary: Box<Summary>,
    },
    /// A segment is no longer heard; why.
    Lost {
        /// Which.
        segment: u32,
        /// For people.
        why: String,
    },
    /// It is heard again.
    Back {
        /// Which.
        segment: u32,
    },
    /// Some seconds of a segment can no longer be had.
    Gap {
        /// Which.
        segment: u32,
        /// How many.
        seconds: u64,
    },
}

/// What is known of a fleet from the beginning.
#[derive(Clone)]
pub struct About {
    /// Its name.
    pub fleet: String,
    /// How many segments it has.
    pub of: u32,
    /// What it runs, as far as figures are about it.
    pub program: Arc<Program>,
    /// See [`loadr_engine::segment::load_hash`].
    pub load_hash: String,
    /// What random choices come from.
    pub seed: u64,
}

/// Somebody who watches a fleet.
pub struct Watcher {
    about: About,
    seen: Receiver<Seen>,
    remote: Arc<Remote>,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Finds a fleet and learns what it runs. Without a name it is the only one on the bus; none is waited for.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn join(
        bus: Bus,
        fleet: Option<String>,
        wait: Duration,
        control: &Control,
        say: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, String> {
        let (report, reported) = channel();
        let (sender, seen) = sync_channel(QUEUE);
        let (wishes, wished) = mpsc::channel(16);
        let (tally, is_over) = (Arc::<Tally>::default(), Arc::<AtomicBool>::default());
        let status = Arc::<Mutex<Option<Status>>>::default();
        let thread = thread::Builder::new()
            .name("bus".to_owned())
            .spawn({
                let (tally, is_over) = (Arc::clone(&tally), Arc::clone(&is_over));
                let (control, status) = (control.clone(), Arc::clone(&status));
                move || {
                    let runtime = match crate::runtime() {
                        Ok(runtime) => runtime,
                        Err(error) => return drop(report.send(Err(error))),
                    };
                    runtime.block_on(async {
                        let looking = Looking {
                            bus,
                            fleet,
                            wait,
                            control,
                            say: Box::new(say),
                        };
                        match looking.find(&tally).await {
                            Ok((link, about)) => {
                                let eye = Eye::new(link, about.clone(), sender, status, is_over);
                                match eye.await {
                                    Ok(eye) => {
                                        let _ = report.send(Ok(about));
                                        eye.live(wished).await;
                                    }
                                    Err(error) => drop(report.send(Err(error))),
                                }
                            }
                            Err(error) => drop(report.send(Err(error))),
                        }
                    });
                    runtime.shutdown_timeout(Duration::from_millis(100));
                }
            })
            .map_err(|error| format!("cannot start a thread for the bus: {error}"))?;
        let about = reported
            .recv()
            .map_err(|_| "the thread of the bus broke off".to_owned())??;
        Ok(Self {
            about,
            seen,
            remote: Arc::new(Remote { status, wishes }),
            tally,
            is_over,
            thread: Some(thread),
        })
    }

    /// What is known from the beginning.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The fleet's steering wheel.
    #[must_use]
    pub fn remote(&self) -> Arc<Remote> {
        Arc::clone(&self.remote)
    }

    /// What comes next, if it comes soon.
    pub fn next(&self, most: Duration) -> Option<Seen> {
        match self.seen.recv_timeout(most) {
            Ok(seen) => Some(seen),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(most);
                None
            }
        }
    }

    /// What is worth knowing of how the bus fared.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.tally.notes()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A fleet as whoever steers it has it.
pub struct Remote {
    status: Arc<Mutex<Option<Status>>>,
    wishes: mpsc::Sender<Wish>,
}

struct Wish {
    command: Command,
    answer: SyncSender<Result<(), String>>,
}

impl Remote {
    /// Has the fleet do something; waits until it has.
    ///
    /// # Errors
    /// Why it has not, or not all of it.
    pub fn order(&self, command: Command) -> Result<(), String> {
        let (answer, answered) = sync_channel(1);
        if self.wishes.try_send(Wish { command, answer }).is_err() {
            return Err(
                "the fleet is no longer watched, or too much was asked of it at once".to_owned(),
            );
        }
        answered
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err("the fleet does not answer".to_owned()))
    }

    fn steer(&self, command: Command) -> Result<(), SteerError> {
        self.order(command).map_err(SteerError::Elsewhere)
    }
}

impl Steer for Remote {
    fn status(&self) -> Status {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.clone().unwrap_or(Status {
            name: String::new(),
            state: RunState::Starting,
            elapsed_secs: 0.0,
            paused_secs: 0.0,
            scenarios: Vec::new(),
            last_second: None,
        })
    }

    fn pause(&self) -> Result<(), SteerError> {
        self.steer(Command::Pause)
    }

    fn resume(&self) -> Result<(), SteerError> {
        self.steer(Command::Resume)
    }

    fn set_vus(&self, scenario: Option<&str>, vus: u32) -> Result<(), SteerError> {
        let scenario = scenario.map(str::to_owned);
        self.steer(Command::Vus { scenario, vus })
    }

    fn set_rate(&self, scenario: Option<&str>, per_second: f64) -> Result<(), SteerError> {
        let scenario = scenario.map(str::to_owned);
        self.steer(Command::Rate {
            scenario,
            per_second,
        })
    }

    fn stop(&self) -> Result<(), SteerError> {
        self.steer(Command::Stop { why: Stop::Steered })
    }
}

/// A search for a fleet.
struct Looking {
    bus: Bus,
    fleet: Option<String>,
    wait: Duration,
    control: Control,
    say: Box<dyn Fn(&str) + Send>,
}

impl Looking {
    async fn find(self, tally: &Arc<Tally>) -> Result<(Link, About), String> {
        let client = self.bus.connect(tally).await?;
        let until = Instant::now() + self.wait;
        let mut has_said = false;
        let mut wait_on = |what: &str| {
            if !has_said {
                (self.say)(what);
                has_said = true;
            }
            if self.control.is_stopped() {
                return Err("interrupted before a fleet was found".to_owned());
            }
            if Instant::now() >= until {
                let waited = loadr_config::duration_text(self.wait);
                return Err(format!(
                    "{what} for {waited}: no fleet is heard on {}",
                    self.bus.shown()
                ));
            }
            Ok(())
        };
        let fleet = match &self.fleet {
            Some(fleet) => fleet.clone(),
            None => loop {
                if let Some(fleet) = find(&client).await? {
                    break fleet;
                }
                wait_on("waiting for a fleet")?;
            },
        };
        let link = Link::new(client, &fleet, Arc::clone(tally));
        let inbox = link.subjects.inbox(crate::random());
        let mut answers = link.subscribe(inbox.clone()).await?;
        let mut parts = Parts::default();
        let mut asked: u32 = 0;
        loop {
            // Any segment knows; the first is asked most often.
            let index = if asked.is_multiple_of(2) {
                0
            } else {
                asked % 64
            };
            asked = asked.wrapping_add(1);
            link.ask(&link.subjects.to(index), &inbox, &Message::WhatRuns);
            while let Ok(Some(came)) =
                tokio::time::timeout(Duration::from_millis(400), answers.next()).await
            {
                match link.read(&came) {
                    Ok((Message::Outline { me, load, part, .. }, body)) => {
                        if let Some(body) = parts.take(me.instance, part, body) {
                            let about = about(&fleet, &me, &load, &body)?;
                            return Ok((link, about));
                        }
                    }
                    Err(Unread::Other { version, program }) => {
                        return Err(format!(
                            "the fleet `{fleet}` is of another version: loadr-fast {program} (messages of version {version}); \
                             use that program to watch it"
                        ));
                    }
                    _ => {}
                }
            }
            wait_on(&format!("waiting for the fleet `{fleet}`"))?;
        }
    }
}

fn about(fleet: &str, me: &Member, load: &Load, body: &[u8]) -> Result<About, String> {
    let wrong = |why: &str| {
        format!(
            "what the fleet `{fleet}` says it runs cannot be: {}",
            plain(why)
        )
    };
    let outline: Outline =
        serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
    let program = outline.into_program().map_err(|why| wrong(&why))?;
    Ok(About {
        fleet: fleet.to_owned(),
        of: me.of,
        program: Arc::new(program),
        load_hash: plain(&load.load_hash),
        seed: load.seed,
    })
}

/// One segment's seconds, on their way into order.
#[derive(Default)]
struct Track {
    instance: Option<u64>,
    /// The number of the second that comes next; from 1.
    next: u64,
    /// Those that came before it was their turn, with how many seconds before them are in them.
    early: BTreeMap<u64, (u64, Vec<u8>)>,
    parts: Parts,
    end_parts: Parts,
    /// How many there are, as far as is known.
    known: u64,
    /// Since when some are missing, when they were asked for, and how often in vain.
    missing_since_ms: Option<u64>,
    asked_ms: u64,
    asks: u32,
    end: Option<(u64, Box<Summary>)>,
    is_done: bool,
    is_lost: bool,
    was_heard: bool,
}

impl Track {
    fn new() -> Self {
        Self {
            next: 1,
            ..Self::default()
        }
    }

    /// Takes a second that came; those whose turn it is.
    fn take(&mut self, number: u64, before: u64, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.known = self.known.max(number);
        // Seconds that were put together are of use only to who has none of them.
        let is_news = number - before >= self.next;
        if !is_news || self.early.len() >= EARLY_MAX && number > self.next {
            return Vec::new();
        }
        self.early.insert(number, (before, bytes));
        self.due()
    }

    fn due(&mut self) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        let is_next =
            |next: u64| move |(number, (before, _)): &(&u64, &(u64, _))| **number - before == next;
        while let Some((&number, _)) = self.early.iter().find(is_next(self.next)) {
            due.extend(self.early.remove(&number).map(|(_, bytes)| bytes));
            self.next = number + 1;
        }
        // One by one and put together, some came twice.
        let next = self.next;
        self.early
            .retain(|number, (before, _)| *number - *before >= next);
        if !due.is_empty() {
            (self.asks, self.missing_since_ms) = (0, None);
        }
        due
    }

    /// Gives up what does not come; how many seconds.
    fn skip(&mut self) -> u64 {
        let first = self.early.first_key_value();
        let to = first.map_or(self.known + 1, |(number, (before, _))| number - before);
        let skipped = to.saturating_sub(self.next);
        self.next = self.next.max(to);
        (self.asks, self.missing_since_ms) = (0, None);
        skipped
    }

    fn is_missing_some(&self) -> bool {
        self.known >= self.next
    }
}

/// The task that watches.
struct Eye {
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
    status: Arc<Mutex<Option<Status>>>,
    is_over: Arc<AtomicBool>,
    /// What was asked of the fleet: its id, itself, when to ask again, when it is given up.
    asked: Vec<(u64, Wish, u64, u64)>,
}

impl Eye {
    async fn new(
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

    async fn live(mut self, mut wished: mpsc::Receiver<Wish>) {
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

fn lock(status: &Mutex<Option<Status>>) -> MutexGuard<'_, Option<Status>> {
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
        state: RunState::Starting,
        elapsed_secs: 0.0,
        paused_secs: 0.0,
        scenarios: scenarios.collect(),
        last_second: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_out_of_order_or_twice_is_put_in_order_once() {
        let mut track = Track::new();
        let bytes = |n: u64| vec![n as u8];
        assert_eq!(track.take(2, 0, bytes(2)), Vec::<Vec<u8>>::new());
        assert!(track.is_missing_some());
        assert_eq!(track.take(1, 0, bytes(1)), [bytes(1), bytes(2)]);
        assert!(!track.is_missing_some());
        assert_eq!(track.take(1, 0, bytes(1)), Vec::<Vec<u8>>::new());
        // Put together, and too late for that.
        assert_eq!(track.take(9, 8, bytes(9)), Vec::<Vec<u8>>::new());
        assert_eq!(track.take(5, 0, bytes(5)), Vec::<Vec<u8>>::new());
        assert_eq!(track.skip(), 2);
        assert_eq!(track.due(), [bytes(5)]);

        let mut late = Track::new();
        assert_eq!(late.take(8, 0, bytes(8)), Vec::<Vec<u8>>::new());
        assert_eq!(late.take(7, 6, bytes(7)), [bytes(7), bytes(8)]);
    }

    proptest! {
        /// Whatever the bus does to them, each second is seen at most once and in order, and all of them when each comes.
        #[test]
        fn each_second_is_seen_once(
            came in proptest::collection::vec((1..30_u64, 0..5_u64), 0..120),
        ) {
            let mut track = Track::new();
            let mut seen = Vec::new();
            for (number, before) in came {
                for bytes in track.take(number, before.min(number - 1), number.to_le_bytes().to_vec()) {
                    seen.push(bytes);
                }
            }
            for number in 1..30 {
                seen.extend(track.take(number, 0, u64::to_le_bytes(number).to_vec()));
            }
            let numbers: Vec<u64> = seen.iter().map(|b| u64::from_le_bytes(b[..].try_into().unwrap_or_default())).collect();
            prop_assert!(numbers.is_sorted() && numbers.windows(2).all(|w| w[0] < w[1]), "{:?}", numbers);
            prop_assert_eq!(track.next, 30);
        }
    }
}
