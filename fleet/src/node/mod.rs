//! What a segment says on the bus and does with what it hears: one task, woken by messages, by the run, and ten times a
//! second. Nothing in it waits for the bus.

mod before;
mod running;
mod steering;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::Subscriber;
use loadr_config::Outline;
use loadr_engine::Control;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use crate::agree::{Compared, Proposals};
use crate::bus::{Link, Tally};
use crate::keep::{Keep, Kept};
use crate::meeting::Meeting;
use crate::message::{Figures, Load, Member, Message, PROGRAM, Unread, VERSION};
use crate::orders::{Asked, Given, Orders};
use crate::roster::{Change, Roster};
use crate::segment::{Joining, OnLost, Shared, Told};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// The most seconds that are answered with at once; and bytes.
const ANSWER_MAX: usize = 200;
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The most watchers that are kept in mind.
const WATCHERS_MAX: usize = 64;

/// A segment on the bus.
pub(crate) struct Node {
    link: Link,
    all: Option<Subscriber>,
    own: Option<Subscriber>,
    me: Member,
    load: Load,
    control: Control,
    shared: Arc<Shared>,
    outline: Outline,
    fleet: String,
    on_lost: OnLost,
    wait_ms: u64,
    say: Box<dyn Fn(&str) + Send>,
    began: Instant,
    wake: Wake,
    before: Before,
    /// Since the start.
    roster: Option<Roster>,
    started_ms: u64,
    keep: Keep,
    figures: Figures,
    orders: Orders,
    asked: Asked,
    given: Vec<Given>,
    /// Who watches, when it was heard last, and whether it has all of this segment.
    watchers: Vec<(u64, u64, bool)>,
    /// The run's summary and when it came.
    over: Option<(Vec<u8>, u64)>,
    /// Who left before its time and was spoken of.
    left: Vec<u32>,
}

/// When the next word is due, by what it is.
#[derive(Default)]
struct Wake {
    hello_ms: u64,
    beat_ms: u64,
    state_ms: u64,
    propose_ms: u64,
    end_ms: u64,
    stop_ms: u64,
    missed_ms: u64,
}

/// What is known before the start.
#[derive(Default)]
struct Before {
    meeting: Option<Meeting>,
    ready_ms: Option<u64>,
    proposals: Proposals,
    compared: Compared,
    /// When segment 0 was last asked for its time: since the beginning, and since 1970.
    asked_time: Option<(u64, Instant, u64)>,
    agreed: Option<u64>,
    /// The attempt that all agreed to, and its instant: of segment 0.
    starting: Option<(u64, u64)>,
    /// When the fleet was first said to run without this segment, by whom.
    runs_since: Option<(u64, String)>,
}

fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Node {
    pub(crate) async fn join(
        joining: Joining,
        control: Control,
        shared: Arc<Shared>,
        tally: Arc<Tally>,
    ) -> Result<Self, String> {
        let client = joining.bus.connect(&tally).await?;
        let link = Link::new(client, &joining.fleet, tally);
        let (me, load) = (joining.member(), joining.load());
        let all = link.subscribe(link.subjects.all()).await?;
        let own = link.subscribe(link.subjects.to(me.index)).await?;
        Ok(Self {
            link,
            all: Some(all),
            own: Some(own),
            control,
            shared,
            outline: joining.program.outline(),
            fleet: joining.fleet,
            on_lost: joining.on_lost,
            wait_ms: u64::try_from(joining.wait.as_millis()).unwrap_or(u64::MAX),
            say: joining.say,
            began: Instant::now(),
            wake: Wake::default(),
            before: Before {
                meeting: Some(Meeting::new(me.clone(), load.clone())),
                ..Before::default()
            },
            roster: None,
            started_ms: 0,
            keep: Keep::new(joining.program),
            figures: Figures::default(),
            orders: Orders::default(),
            asked: Asked::default(),
            given: Vec::new(),
            watchers: Vec::new(),
            over: None,
            left: Vec::new(),
            me,
            load,
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Speaks for the segment until its run is over and told.
    pub(crate) async fn live(mut self, mut told: mpsc::Receiver<Told>) {
        let (Some(mut all), Some(mut own)) = (self.all.take(), self.own.take()) else {
            return;
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_open = true;
        loop {
            tokio::select! {
                Some(came) = all.next() => self.hear(&came),
                Some(came) = own.next() => self.hear(&came),
                said = told.recv(), if is_open => match said {
                    Some(said) => if self.told(said) { break },
                    None => is_open = false,
                },
                _ = tick.tick() => if self.tick() { break },
            }
        }
        self.link.flush(Duration::from_secs(1)).await;
    }

    fn send(&self, message: &Message) -> bool {
        self.link.send(&self.link.subjects.all(), message)
    }

    /// What the run says; whether that was the last word.
    fn told(&mut self, told: Told) -> bool {
        let now_ms = self.now_ms();
        match told {
            Told::Ready => {
                self.before.ready_ms = Some(now_ms);
                self.wake.hello_ms = now_ms;
            }
            Told::Second(bytes, figures) => {
                self.figures = figures;
                let kept = self.keep.push(bytes);
                // Into a bus that is silent nothing is sent that can be asked for later.
                if self.roster.as_ref().is_some_and(|r| r.is_bus_alive(now_ms)) {
                    self.hand_out(&self.link.subjects.seconds(self.me.index), &kept);
                }
            }
            Told::Over(summary) => {
                self.over = Some((summary, now_ms));
                (self.wake.beat_ms, self.wake.end_ms) = (now_ms, now_ms);
            }
            Told::Gone(why) => {
                let me = self.me.clone();
                let why = crate::message::plain(&why);
                self.send(&Message::Bye { me, why });
                return true;
            }
        }
        self.tick()
    }

    fn hand_out(&self, subject: &str, kept: &Kept) -> bool {
        self.link
            .send_parts(subject, &kept.bytes, |part| Message::Second {
                me: self.me.clone(),
                number: kept.number,
                before: kept.before,
                part,
            })
    }

    /// Does what is due; whether nothing is left to do.
    fn tick(&mut self) -> bool {
        let now_ms = self.now_ms();
        if self.before.meeting.is_some() {
            self.tick_before(now_ms);
        }
        if self.roster.is_some() {
            self.tick_running(now_ms);
        }
        self.over.is_some() && self.tick_over(now_ms)
    }

    fn hear(&mut self, came: &async_nats::Message) {
        let now_ms = self.now_ms();
        match self.link.read(came) {
            Ok((message, _)) => self.heard(message, came.reply.as_deref(), now_ms),
            Err(Unread::Other { version, program }) => self.heard_other(version, &program),
            Err(Unread::Malformed | Unread::TooLarge) => {}
        }
    }

    /// Who this is, for those that meet before the start.
    fn hello(&self, is_ready: bool) -> Message {
        Message::Hello {
            me: self.me.clone(),
            load: self.load.clone(),
            is_ready,
        }
    }

    /// Before the start another version ends the fleet; later it is a stranger's.
    fn heard_other(&mut self, version: u32, program: &str) {
        if self.roster.is_some() || self.before.meeting.is_none() {
            return;
        }
        self.send(&self.hello(false));
        let why = format!(
            "the fleet `{}` cannot start: {} is loadr-fast {PROGRAM} (messages of version {VERSION}), and another process in it \
             is loadr-fast {program} (version {version}): run the same program everywhere, or give another --fleet",
            self.fleet,
            self.me.name()
        );
        self.refuse(&why);
    }

    fn heard(&mut self, message: Message, reply: Option<&str>, now_ms: u64) {
        if self.before.meeting.is_some() {
            self.hear_before(&message, now_ms);
        }
        self.hear_member(&message, now_ms);
        match message {
            Message::Time => {
                if let Some(reply) = reply {
                    self.link
                        .send(reply, &Message::TimeIs { now_ns: unix_ns() });
                }
            }
            Message::WhatRuns => {
                if let Some(reply) = reply {
                    let body = serde_json::to_vec(&self.outline).unwrap_or_default();
                    self.link.send_parts(reply, &body, |part| Message::Outline {
                        me: self.me.clone(),
                        load: self.load.clone(),
                        started_ms: self.started_ms,
                        part,
                    });
                }
            }
            Message::MissedSeconds { from } => {
                if let Some(reply) = reply {
                    let mut bytes = 0;
                    for kept in self.keep.from(from, ANSWER_MAX) {
                        bytes += kept.bytes.len();
                        if !self.hand_out(reply, &kept) || bytes > ANSWER_BYTES_MAX {
                            break;
                        }
                    }
                }
            }
            Message::Watching { watcher } => {
                let is_full = self.watchers.len() >= WATCHERS_MAX;
                let mut known = self.watchers.iter_mut();
                match known.find(|(id, ..)| *id == watcher) {
                    Some((_, heard_ms, _)) => *heard_ms = now_ms,
                    None if is_full => {}
                    None => self.watchers.push((watcher, now_ms, false)),
                }
            }
            Message::HaveAll { watcher } => {
                if let Some((.., has_all)) =
                    self.watchers.iter_mut().find(|(id, ..)| *id == watcher)
                {
                    *has_all = true;
                }
            }
            Message::Do { id, command } => self.asked(id, command, reply, now_ms),
            Message::Order {
                me,
                number,
                command,
            } => self.ordered(&me, number, &command, now_ms),
            Message::MissedOrders { me, from } => {
                let subject = self.link.subjects.to(me.index);
                for (number, command) in self.orders.from(from) {
                    let order = Message::Order {
                        me: self.me.clone(),
                        number,
                        command: command.clone(),
                    };
                    if !self.link.send(&subject, &order) {
                        break;
                    }
                }
            }
            Message::Followed { me, number, error } => {
                for given in self.given.iter_mut().filter(|given| given.number == number) {
                    given.followed(me.index, error.as_deref());
                }
                self.answer_given(now_ms);
            }
            _ => {}
        }
    }

    /// Whatever one of the others says, it is alive.
    fn hear_member(&mut self, message: &Message, now_ms: u64) {
        let (Some(roster), Some(member)) = (&mut self.roster, message.from()) else {
            return;
        };
        if member.instance == self.me.instance {
            return roster.echo(now_ms);
        }
        if let Message::Bye { me, why } = message {
            if let Some(change) = roster.leaves(me, why) {
                self.changed(&change);
            }
            return;
        }
        let beat = match message {
            Message::Beat { beat, .. } => Some(beat),
            _ => None,
        };
        let (is_known, change) = roster.hear(member, beat, now_ms);
        if let Some(change) = change {
            self.changed(&change);
        }
        let why = beat.and_then(|beat| beat.why.as_ref());
        if let (true, Some(why)) = (is_known, why)
            && !self.left.contains(&member.index)
        {
            self.left.push(member.index);
            self.changed(&Change::Lost(member.clone(), why.clone()));
        }
    }
}

fn shown(member: &Member) -> String {
    crate::message::plain(&member.name())
}
