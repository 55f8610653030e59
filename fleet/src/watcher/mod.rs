//! The side of those who look at a fleet: what its segments hand out comes in here, each second of each segment once and in
//! order, whatever the bus loses on the way; and what a person wants of the fleet goes out.

mod eye;
mod track;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loadr_config::{Outline, Program};
use loadr_engine::{Control, Status, Steer, SteerError, Summary};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use self::eye::Eye;
use crate::ask::find;
use crate::bus::{Bus, Link, Parts, Tally};
use crate::message::{Command, Load, Member, Message, Stop, Unread, plain};

/// What waits to be looked at.
const QUEUE: usize = 1_024;
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
        status.clone().unwrap_or_else(Status::starting)
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
