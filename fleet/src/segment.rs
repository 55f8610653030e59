//! A segment's place in its fleet: the thread that speaks for it on the bus, and what the run hands to that thread. The run
//! never waits for the bus: what it says goes into a queue that is never full for long, because nothing the thread does waits
//! for the bus either.

use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use loadr_config::Program;
use loadr_engine::{Control, Gate, Moment, Segment, Summary, cores};
use tokio::sync::mpsc;

use crate::bus::{Bus, Tally};
use crate::message::{Figures, Load, Member, NAME_MAX};
use crate::node::Node;

/// What the run has said and the thread has not read yet.
const QUEUE: usize = 4_096;
/// How often a wait looks whether the run was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// What a fleet does without a segment that is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// The others go on.
    #[default]
    Continue,
    /// The others end.
    Abort,
}

/// What a segment needs to take its place.
pub struct Joining {
    /// The server.
    pub bus: Bus,
    /// The fleet's name; see [`crate::fleet_name`].
    pub fleet: String,
    /// Which one this is.
    pub segment: Segment,
    /// What is run.
    pub program: Arc<Program>,
    /// See [`loadr_engine::segment::load_hash`].
    pub load_hash: String,
    /// What random choices come from.
    pub seed: u64,
    /// How long the others are waited for, from when this one is ready.
    pub wait: Duration,
    /// What happens without one that is lost.
    pub on_lost: OnLost,
    /// The shards' processors, which the thread stays away from.
    pub cores: Vec<usize>,
    /// Tells a person something while the run goes on.
    pub say: Box<dyn Fn(&str) + Send>,
}

/// What the run says to the thread.
pub(crate) enum Told {
    /// All is loaded, and every shard stands ready.
    Ready,
    /// A second has passed.
    Second(Vec<u8>, Figures),
    /// The run is over: its summary, without what seconds have.
    Over(Vec<u8>),
    /// It is not made, or broke off; why.
    Gone(String),
}

/// What the thread says to the run.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The start, or why there is none.
    start: Option<Result<SystemTime, String>>,
    /// What is worth knowing of the run.
    notes: Vec<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first word counts.
    pub(crate) fn start(&self, start: Result<SystemTime, String>) {
        self.state().start.get_or_insert(start);
        self.changed.notify_all();
    }

    pub(crate) fn note(&self, note: String) {
        self.state().notes.push(note);
    }
}

/// A segment's place in its fleet. Dropped before [`Place::end`], it says to the others that this one is gone.
pub struct Place {
    tell: mpsc::Sender<Told>,
    shared: Arc<Shared>,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    /// Connects, and says to the fleet that this segment is here.
    ///
    /// # Errors
    /// Why the bus cannot be used, for people.
    pub fn join(joining: Joining, control: &Control) -> Result<Self, String> {
        let (tell, told) = mpsc::channel(QUEUE);
        let (report, reported) = channel();
        let (shared, tally) = (Arc::<Shared>::default(), Arc::<Tally>::default());
        let thread = thread::Builder::new()
            .name("bus".to_owned())
            .spawn({
                let (shared, tally) = (Arc::clone(&shared), Arc::clone(&tally));
                let control = control.clone();
                move || {
                    let _aside = cores::stand_aside(&joining.cores);
                    let runtime = match crate::runtime() {
                        Ok(runtime) => runtime,
                        Err(error) => return drop(report.send(Err(error))),
                    };
                    runtime.block_on(async {
                        match Node::join(joining, control, shared, tally).await {
                            Ok(node) => {
                                let _ = report.send(Ok(()));
                                node.live(told).await;
                            }
                            Err(error) => drop(report.send(Err(error))),
                        }
                    });
                    runtime.shutdown_timeout(Duration::from_millis(100));
                }
            })
            .map_err(|error| format!("cannot start a thread for the bus: {error}"))?;
        let gone = || "the thread of the bus broke off".to_owned();
        reported.recv().map_err(|_| gone())??;
        Ok(Self {
            tell,
            shared,
            tally,
            thread: Some(thread),
        })
    }

    /// What the run waits at until all segments are ready.
    #[must_use]
    pub fn gate(&self) -> Arc<dyn Gate> {
        Arc::new(Barrier {
            tell: self.tell.clone(),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Hands a second out to whoever watches.
    pub fn see(&self, moment: &Moment<'_>) {
        let p = moment.progress();
        let figures = Figures {
            vus: p.vus,
            requests_per_sec: p.requests_per_sec,
            iterations_per_sec: p.iterations_per_sec,
            failed_per_sec: p.requests_per_sec * p.error_rate,
            requests_total: p.requests_total,
            failed_total: p.failed_total,
        };
        self.tell(Told::Second(moment.delta(), figures));
    }

    fn tell(&self, told: Told) {
        if self.tell.try_send(told).is_err() {
            Tally::count(&self.tally.dropped);
        }
    }

    /// What is worth knowing of how the fleet and the bus fared, for the summary.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.shared.state().notes.clone();
        notes.extend(self.tally.notes());
        notes
    }

    /// The run is over: the fleet is told, and whoever watches gets what it has not got yet, if that takes not too long.
    pub fn end(mut self, summary: &Summary) {
        self.tell(Told::Over(crate::ending(summary)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// There is no run, or it broke off: the fleet is told why.
    pub fn give_up(mut self, why: &str) {
        self.leave(why);
    }

    fn leave(&mut self, why: &str) {
        self.tell(Told::Gone(why.to_owned()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.leave("it broke off");
        }
    }
}

struct Barrier {
    tell: mpsc::Sender<Told>,
    shared: Arc<Shared>,
}

impl Gate for Barrier {
    fn meet(&self, control: &Control) -> Result<SystemTime, String> {
        if self.tell.try_send(Told::Ready).is_err() {
            return Err("the thread of the bus broke off".to_owned());
        }
        let mut state = self.shared.state();
        loop {
            if let Some(start) = &state.start {
                return start.clone();
            }
            if control.is_stopped() {
                return Err("stopped while the others were waited for".to_owned());
            }
            let waited = self.shared.changed.wait_timeout(state, LOOK);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Joining {
    pub(crate) fn member(&self) -> Member {
        Member {
            index: self.segment.index,
            of: self.segment.of,
            instance: crate::random(),
            place: place(),
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            plan_hash: self.program.plan_hash.clone(),
            load_hash: self.load_hash.clone(),
            seed: self.seed,
        }
    }
}

/// Where this process is, for people.
fn place() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "this machine",
        host => host,
    };
    let cut = &host[..host.floor_char_boundary(NAME_MAX - 24)];
    format!("{cut}, process {}", std::process::id())
}
