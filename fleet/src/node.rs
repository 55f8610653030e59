//! What a segment says on the bus and does with what it hears: one task, woken by messages, by the run, and ten times a
//! second. Nothing in it waits for the bus.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::Subscriber;
use loadr_config::Outline;
use loadr_engine::{Control, StopReason};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use crate::agree::{Compared, NOTICE_NS, Proposals, Say};
use crate::bus::{Link, Tally};
use crate::keep::{Keep, Kept};
use crate::meeting::{self, Meeting};
use crate::message::{
    Beat, Command, Figures, Load, Member, Message, PROGRAM, Phase, State, Stop, Unread, VERSION,
};
use crate::orders::{Asked, Given, Next, Orders, Outcome};
use crate::roster::{self, Change, Roster};
use crate::segment::{Joining, OnLost, Shared, Told};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// A watcher that has not been heard for so long is gone.
const WATCHER_MS: u64 = 5_000;
/// How long watchers get, at the end, to ask for what they have not got.
const LINGER_MS: u64 = 10_000;
/// The same while the bus is silent.
const LINGER_SILENT_MS: u64 = 4_000;
/// A fleet that others say runs is one that this segment missed, when it has not heard of the start itself by then.
const MISSED_START_MS: u64 = 2_000;
/// Between two questions for the time, and the longest wait for an answer.
const CLOCK_MS: u64 = 1_000;
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

    // Before the start.

    fn tick_before(&mut self, now_ms: u64) {
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
            let hello = Message::Hello {
                me: self.me.clone(),
                load: self.load.clone(),
                is_ready: self.before.ready_ms.is_some(),
            };
            self.send(&hello);
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

    fn refuse(&mut self, why: &str) {
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

    fn hear_before(&mut self, message: &Message, now_ms: u64) {
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
                    let hello = Message::Hello {
                        me: self.me.clone(),
                        load: self.load.clone(),
                        is_ready: false,
                    };
                    self.send(&hello);
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

    // While it runs.

    fn is_first(&self) -> bool {
        let is_mine = |index: u32| index > self.me.index;
        self.over.is_none()
            && self.roster.as_ref().is_some_and(|r| {
                r.going()
                    .map(|peer| peer.member.index)
                    .min()
                    .is_none_or(is_mine)
            })
    }

    fn tick_running(&mut self, now_ms: u64) {
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

    fn beat(&self) -> Beat {
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
    fn changed(&mut self, change: &Change) {
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

    fn ask_orders(&mut self, now_ms: u64) {
        let Some(roster) = &self.roster else {
            return;
        };
        if now_ms < self.wake.missed_ms {
            return;
        }
        let mine = self.orders.count();
        let ahead = roster
            .going()
            .find(|peer| peer.beat.as_ref().is_some_and(|beat| beat.orders > mine));
        if let Some(peer) = ahead {
            self.wake.missed_ms = now_ms + 500;
            let missed = Message::MissedOrders {
                me: self.me.clone(),
                from: mine + 1,
            };
            self.link
                .send(&self.link.subjects.to(peer.member.index), &missed);
        }
    }

    /// Does it here and has all others do it.
    fn give(&mut self, id: u64, command: Command, reply: Option<String>, now_ms: u64) {
        let of = self.me.of;
        if let Err(error) = self.obey(&command) {
            let outcome = Outcome {
                error: Some(error),
                taken: 0,
                of,
            };
            return self.answer(id, reply.as_deref(), &outcome);
        }
        let number = self.orders.push(command.clone());
        let me = self.me.clone();
        self.send(&Message::Order {
            me,
            number,
            command,
        });
        let others = self
            .roster
            .iter()
            .flat_map(|r| r.going().map(|p| p.member.index));
        let given = Given::new(id, reply, number, others, of, now_ms);
        self.given.push(given);
        self.answer_given(now_ms);
    }

    fn obey(&self, command: &Command) -> Result<(), String> {
        let control = &self.control;
        let done = match command {
            Command::Status => Ok(()),
            Command::Vus { scenario, vus } => control.set_vus(scenario.as_deref(), *vus),
            Command::Rate {
                scenario,
                per_second,
            } => control.set_rate(scenario.as_deref(), *per_second),
            Command::Pause => control.pause(),
            Command::Resume => control.resume(),
            Command::Stop { why } => {
                control.stop(match why {
                    Stop::Steered => StopReason::Steered,
                    Stop::Threshold(text) => StopReason::Threshold(text.clone()),
                    Stop::Assert(name) => StopReason::Assert(name.clone()),
                });
                Ok(())
            }
        };
        done.map_err(|error| error.to_string())
    }

    fn answer_given(&mut self, now_ms: u64) {
        let mut answers = Vec::new();
        self.given.retain(|given| match given.outcome(now_ms) {
            Some(outcome) => {
                answers.push((given.id, given.reply.clone(), outcome));
                false
            }
            None => true,
        });
        for (id, reply, outcome) in answers {
            self.answer(id, reply.as_deref(), &outcome);
        }
    }

    fn answer(&mut self, id: u64, reply: Option<&str>, outcome: &Outcome) {
        self.asked.answered(id, outcome);
        if let Some(reply) = reply {
            self.done(reply, outcome, None);
        }
    }

    fn done(&self, reply: &str, outcome: &Outcome, status: Option<serde_json::Value>) {
        let done = Message::Done {
            error: outcome.error.clone(),
            taken: outcome.taken,
            of: outcome.of,
            status,
        };
        self.link.send(reply, &done);
    }

    /// Somebody asks for something.
    fn asked(&mut self, id: u64, command: Command, reply: Option<&str>, now_ms: u64) {
        // The first that goes on speaks for all; before the start that is nobody.
        if !self.is_first() {
            return;
        }
        if command == Command::Status {
            if let Some(reply) = reply {
                let outcome = Outcome {
                    error: None,
                    taken: self.me.of,
                    of: self.me.of,
                };
                self.done(reply, &outcome, Some(self.status()));
            }
            return;
        }
        match self.asked.is_new(id) {
            Ok(()) => self.give(id, command, reply.map(str::to_owned), now_ms),
            Err(Some(outcome)) => self.answer(id, reply, &outcome),
            Err(None) => {}
        }
    }

    /// How the whole fleet goes.
    fn status(&self) -> serde_json::Value {
        let mut status = serde_json::to_value(self.control.status()).unwrap_or_default();
        let mine = self.beat();
        let peers = self.roster.iter().flat_map(Roster::peers);
        let mut rows: Vec<(&Member, Option<&Beat>, bool)> = peers
            .map(|peer| (&peer.member, peer.beat.as_ref(), peer.is_lost))
            .collect();
        rows.push((&self.me, Some(&mine), false));
        rows.sort_by_key(|(member, ..)| member.index);
        let (mut vus, mut rps, mut ips, mut failed_ps) = (0_u64, 0.0, 0.0, 0.0);
        let (mut requests, mut failed) = (0_u64, 0_u64);
        let mut segments = Vec::new();
        for (member, beat, is_lost) in rows {
            let state = match beat {
                _ if is_lost => "lost",
                None => "starting",
                Some(beat) => match beat.phase {
                    Phase::Running => "running",
                    Phase::Ending => "ending",
                    Phase::Ended => "ended",
                },
            };
            let figures = beat.map(|beat| beat.figures).unwrap_or_default();
            requests = requests.saturating_add(figures.requests_total);
            failed = failed.saturating_add(figures.failed_total);
            if matches!(state, "running" | "ending") {
                vus += u64::from(figures.vus);
                rps += figures.requests_per_sec;
                ips += figures.iterations_per_sec;
                failed_ps += figures.failed_per_sec;
            }
            segments.push(json!({
                "index": member.index,
                "place": crate::message::plain(&member.place),
                "state": state,
                "vus": figures.vus,
                "requests_per_sec": figures.requests_per_sec,
            }));
        }
        if let Some(status) = status.as_object_mut() {
            let elapsed_secs = status.get("elapsed_secs").cloned();
            status.insert("fleet".to_owned(), json!(self.fleet));
            status.insert("segments".to_owned(), json!(segments));
            status.insert(
                "last_second".to_owned(),
                json!({
                    "elapsed_secs": elapsed_secs,
                    "vus": vus,
                    "requests_per_sec": rps,
                    "iterations_per_sec": ips,
                    "error_rate": if rps > 0.0 { failed_ps / rps } else { 0.0 },
                    "latency_p50_ms": null,
                    "latency_p99_ms": null,
                    "requests_total": requests,
                    "failed_total": failed,
                }),
            );
        }
        status
    }

    // What is heard.

    fn hear(&mut self, came: &async_nats::Message) {
        let now_ms = self.now_ms();
        match self.link.read(came) {
            Ok((message, _)) => self.heard(message, came.reply.as_deref(), now_ms),
            Err(Unread::Other { version, program }) => self.heard_other(version, &program),
            Err(Unread::Malformed | Unread::TooLarge) => {}
        }
    }

    /// Before the start another version ends the fleet; later it is a stranger's.
    fn heard_other(&mut self, version: u32, program: &str) {
        if self.roster.is_some() || self.before.meeting.is_none() {
            return;
        }
        let hello = Message::Hello {
            me: self.me.clone(),
            load: self.load.clone(),
            is_ready: false,
        };
        self.send(&hello);
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

    fn ordered(&mut self, from: &Member, number: u64, command: &Command, now_ms: u64) {
        let Some(roster) = &self.roster else {
            return;
        };
        let is_known = roster
            .peer(from.index)
            .is_some_and(|peer| peer.member.instance == from.instance);
        if !is_known {
            return;
        }
        let error = match self.orders.next(number) {
            Next::Missing(_) => {
                self.wake.missed_ms = 0;
                let missed = Message::MissedOrders {
                    me: self.me.clone(),
                    from: self.orders.count() + 1,
                };
                self.link.send(&self.link.subjects.to(from.index), &missed);
                return;
            }
            Next::Known => None,
            Next::Follow => {
                self.orders.push(command.clone());
                self.wake.beat_ms = self.wake.beat_ms.min(now_ms + 200);
                self.obey(command).err()
            }
        };
        let followed = Message::Followed {
            me: self.me.clone(),
            number,
            error,
        };
        self.link
            .send(&self.link.subjects.to(from.index), &followed);
    }

    // At the end.

    /// Tells watchers what they have not got; whether that is done.
    fn tick_over(&mut self, now_ms: u64) -> bool {
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

fn shown(member: &Member) -> String {
    crate::message::plain(&member.name())
}
