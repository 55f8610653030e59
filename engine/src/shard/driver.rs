//! The shard's loop: one system call a turn, then everyone who got something runs, then again.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use loadr_config::{Executor, Program, ScenarioId};
use loadr_ring::{Event, Ring, Settings};
use rustls::ClientConfig;

use super::feed::{Feed, Shared};
use super::load::Load;
use super::state::{NEVER, Phase, ScenarioState, Shard};
use super::tasks::signal;
use super::tools::Tools;
use crate::addresses::{Addresses, Resolve};
use crate::aggregate::Handover;
use crate::clock::{now_ns, thread_cpu_ns};
use crate::control::Control;
use crate::instances::{Fleet, Instances};
use crate::leases::ScenarioLeases;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;
use crate::rendezvous::Places;
use crate::run::Place;
use crate::schedule::{PlanClock, Slice, nanos};
use crate::steer::ScenarioPhase;
use crate::tls::for_shard;

/// The longest wait: glommio's own side of the executor must be looked at now and then.
const WAIT_NS_MAX: u64 = 10_000_000;
/// How often a shard hands over what it has measured.
pub(crate) const HANDOVER_NS: u64 = 1_000_000_000;

/// What a shard is told.
pub(crate) struct ShardSpec {
    /// Which of how many.
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// What of the run is its own.
    pub(crate) slice: Slice,
    /// Whether its first virtual user is shown to people.
    pub(crate) shows: bool,
    pub(crate) program: Arc<Program>,
    pub(crate) plugins: Arc<LoadedPlugins>,
    pub(crate) fleet: Arc<Fleet>,
    /// By origin.
    pub(crate) addresses: Addresses,
    /// Those that are looked up in the run.
    pub(crate) fresh_addresses: Receiver<Addresses>,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// When the plan has an origin that is reached over TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) control: Control,
    /// Of the whole run, the same for every shard.
    pub(crate) seed: u64,
    /// What the shards take blocks of.
    pub(crate) shared: Arc<Shared>,
    /// By scenario.
    pub(crate) leases: Arc<[ScenarioLeases]>,
    /// Where users of all shards meet.
    pub(crate) places: Arc<Places>,
    pub(crate) handovers: Sender<Handover>,
    /// Records that come back empty.
    pub(crate) empty: Receiver<Box<Record>>,
    /// Where it waits for the others when it is ready, and gets the common start.
    pub(crate) start: Place,
}

/// A scenario's next change on this shard.
#[derive(Clone, Copy)]
struct Change {
    at_ns: u64,
    /// Whether that is by the plan's clock.
    by_plan: bool,
    to: Phase,
}

impl Change {
    /// When it is due, by the machine's clock.
    fn due_ns(&self, clock: &PlanClock) -> u64 {
        if self.by_plan {
            clock.due_ns(self.at_ns)
        } else {
            self.at_ns
        }
    }
}

/// Runs a shard to its end, on the executor of the calling task.
///
/// # Errors
/// What could not be set up, for people.
pub(crate) async fn run(mut spec: ShardSpec) -> Result<(), String> {
    let prepared = prepare(&mut spec);
    // Whatever happened, the others must not wait for this shard.
    let start_ns = spec.start.ready(prepared.is_ok());
    let (shard, start_ns) = match (prepared, start_ns) {
        (Ok(shard), Some(start_ns)) => (shard, start_ns),
        (Err(error), _) => {
            spec.start.ended();
            return Err(error);
        }
        (Ok(_), None) => {
            spec.start.ended();
            return Ok(());
        }
    };
    Driver::new(spec, shard, start_ns).drive().await;
    Ok(())
}

fn prepare(spec: &mut ShardSpec) -> Result<Rc<Shard>, String> {
    // Sleeps end when they are due, not up to 50 µs later; where it is not allowed they end a little later.
    let _ = nix::sys::prctl::set_timerslack(1);
    let connections: u64 = spec
        .program
        .scenarios
        .iter()
        .map(|s| u64::from(spec.slice.share(s.executor.vus_max())) * u64::from(s.lanes))
        .sum::<u64>()
        .saturating_mul(spec.program.origins.len().max(1) as u64);
    let settings = Settings::for_connections(u32::try_from(connections).unwrap_or(u32::MAX));
    let ring = Ring::new(&settings).map_err(|error| error.to_string())?;
    spec.control.register(ring.waker());
    // Each shard of the run draws its own numbers.
    let seed = spec.seed.wrapping_add(spec.slice.number());
    let tools = Tools::new(&spec.program, spec.fleet.for_shard()?, seed);
    let (program, shared) = (Arc::clone(&spec.program), Arc::clone(&spec.shared));
    let feed = Feed::new(program, shared, (spec.slice, spec.count), spec.seed);
    let scenarios = scenarios(spec)?;
    let shard = Rc::new(Shard::new(
        spec,
        (ring, settings.sockets),
        (tools, feed),
        scenarios,
    ));
    if let Some(tls) = &spec.tls {
        let _ = shard.tls.set(for_shard(tls));
    }
    Ok(shard)
}

/// By scenario: its state, with the plugin instances of each of this shard's virtual users.
fn scenarios(spec: &ShardSpec) -> Result<Vec<ScenarioState>, String> {
    let scenarios = spec.program.scenarios.iter().zip(&*spec.leases).zip(0..);
    scenarios
        .map(|((scenario, leases), id)| {
            let users = spec.slice.share(scenario.executor.vus_max());
            let instances: Result<Vec<Instances>, String> = (0..users)
                .map(|_| spec.fleet.for_user(ScenarioId(id)))
                .collect();
            let called = if scenario.executor.is_open() {
                users
            } else {
                0
            };
            Ok(ScenarioState::new(instances?, called, leases))
        })
        .collect()
}

struct Driver {
    spec: ShardSpec,
    shard: Rc<Shard>,
    /// By scenario; the change that comes next.
    changes: Vec<Option<Change>>,
    /// By scenario; what its schedule asks for, once it has begun.
    loads: Vec<Option<Load>>,
    start_ns: u64,
    handover_at_ns: u64,
    handed_over_ns: u64,
    handed_over_cpu_ns: u64,
    control_changes: u32,
    /// How long before something is due the shard stays awake, and the CPU time that took since the last handover.
    spin_ns: u64,
    spun_cpu_ns: u64,
    /// The plan's clock as far as this shard knows, and what it has seen of the steering.
    clock: PlanClock,
    steered: u32,
}

impl Driver {
    fn new(spec: ShardSpec, shard: Rc<Shard>, start_ns: u64) -> Self {
        let changes = shard
            .program
            .scenarios
            .iter()
            .map(|s| {
                Some(Change {
                    at_ns: start_ns.saturating_add(nanos(s.start_time)),
                    by_plan: true,
                    to: Phase::Running,
                })
            })
            .collect();
        Self {
            loads: shard.program.scenarios.iter().map(|_| None).collect(),
            spin_ns: nanos(shard.program.engine.spin),
            spun_cpu_ns: 0,
            spec,
            shard,
            changes,
            start_ns,
            handover_at_ns: start_ns + HANDOVER_NS,
            handed_over_ns: start_ns,
            handed_over_cpu_ns: thread_cpu_ns(),
            control_changes: 0,
            clock: PlanClock::new(),
            steered: 0,
        }
    }

    async fn drive(mut self) {
        let shard = Rc::clone(&self.shard);
        let mut reaped_ns = now_ns();
        let mut events = 0;
        let mut next_change_ns = self.change(reaped_ns);
        // What starts at once is run before the first wait.
        glommio::executor().yield_now().await;
        while !self.is_over() {
            let due_ns = shard.tasks.borrow().next_ns().min(next_change_ns);
            let until_ns = due_ns.min(self.handover_at_ns).min(reaped_ns + WAIT_NS_MAX);
            let had_events = std::mem::take(&mut events);
            let had_reaped_ns = reaped_ns;
            reaped_ns = {
                let mut ring = shard.ring.borrow_mut();
                let is_due = due_ns == until_ns;
                let sleep_ns = until_ns.saturating_sub(if is_due { self.spin_ns } else { 0 });
                ring.turn_until(sleep_ns, |event: Event| {
                    events += 1;
                    shard.on_event(event);
                });
                if had_events > 0 {
                    // How long what was reaped last turn had waited when the last of it had been acted on.
                    let lag_ns = ring.submitting_ns().saturating_sub(had_reaped_ns);
                    shard.record.borrow_mut().lag_of(had_events, lag_ns);
                }
                if is_due && self.spin_ns > 0 && events == 0 && ring.reaped_ns() < until_ns {
                    let cpu_ns = thread_cpu_ns();
                    while events == 0 && ring.reaped_ns() < until_ns {
                        ring.turn_until(0, |event: Event| {
                            events += 1;
                            shard.on_event(event);
                        });
                    }
                    self.spun_cpu_ns += thread_cpu_ns().saturating_sub(cpu_ns);
                }
                ring.reaped_ns()
            };
            shard.tasks.borrow_mut().fire(reaped_ns, |late_ns| {
                shard.record.borrow_mut().lag.record(late_ns);
            });
            if reaped_ns >= next_change_ns || self.control_changes != shard.control.changes() {
                next_change_ns = self.change(reaped_ns);
            }
            if reaped_ns >= self.handover_at_ns {
                self.hand_over(reaped_ns, false);
                while self.handover_at_ns <= reaped_ns {
                    self.handover_at_ns += HANDOVER_NS;
                }
            }
            // After the handover: what is counted in this turn goes into the record that it left.
            if let Some(samples) = &mut shard.record.borrow_mut().samples {
                samples.now_ns = reaped_ns;
            }
            #[cfg(test)]
            shard.control.break_here(self.spec.index);
            glommio::executor().yield_now().await;
        }
        self.hand_over(now_ns(), true);
        self.spec.start.ended();
        // Lets the kernel close what the users left.
        shard.ring.borrow_mut().turn_until(0, |_| ());
    }

    fn is_over(&self) -> bool {
        let (states, program) = (&self.shard.scenarios, &self.shard.program);
        states
            .iter()
            .zip(&program.scenarios)
            .all(|(state, scenario)| {
                state.live.get() == 0
                    && match state.phase.get() {
                        Phase::Waiting => false,
                        Phase::Running => !has_schedule(&scenario.executor),
                        Phase::Draining | Phase::Cancelled => true,
                    }
            })
    }

    /// Makes every change that is due, by the schedule or by the run's control; when the next one is.
    fn change(&mut self, now_ns: u64) -> u64 {
        let changes = self.shard.control.changes();
        if self.control_changes != changes {
            self.control_changes = changes;
            self.shard.wake_met();
            self.heed_steering(now_ns);
            self.heed_stops(now_ns);
        }
        self.work_off(now_ns, now_ns)
    }

    fn heed_stops(&mut self, now_ns: u64) {
        let shard = &self.shard;
        for (state, (id, change)) in shard.scenarios.iter().zip((0..).zip(&mut self.changes)) {
            let stop = shard.control.is_stopped() || shard.control.is_aborted(ScenarioId(id));
            if stop && matches!(state.phase.get(), Phase::Waiting | Phase::Running) {
                *change = Some(Change {
                    at_ns: now_ns,
                    by_plan: false,
                    to: Phase::Draining,
                });
            }
        }
    }

    /// Pauses, goes on, takes orders.
    fn heed_steering(&mut self, now_ns: u64) {
        let shard = Rc::clone(&self.shard);
        let steered = shard.control.steered();
        if self.steered == steered {
            return;
        }
        self.steered = steered;
        for load in self.loads.iter_mut().flatten() {
            load.listen(&shard);
        }
        let clock = shard.control.clock();
        if clock == self.clock {
            return;
        }
        // What was due before the pause is done by the clock as it was then, however late this shard is.
        self.work_off(clock.last_held_ns().min(now_ns), now_ns);
        self.clock = clock;
        shard.paused.set(clock.is_held());
        if !clock.is_held() {
            for load in self.loads.iter().flatten() {
                load.wake(&shard);
            }
        }
    }

    /// Makes every change that is due at `until_ns`, in order; when the next one is.
    fn work_off(&mut self, until_ns: u64, now_ns: u64) -> u64 {
        let shard = Rc::clone(&self.shard);
        let mut next_ns = u64::MAX;
        for id in (0..self.changes.len()).map(|i| ScenarioId(i as u32)) {
            loop {
                let change = self.changes[id.at()];
                let change_ns = change.map_or(NEVER, |change| change.due_ns(&self.clock));
                // What was due before a change is done before it, however late this shard is.
                if let Some(load) = &mut self.loads[id.at()] {
                    load.work_off(&shard, &self.clock, change_ns.min(until_ns), now_ns);
                }
                match change {
                    Some(change) if change_ns <= until_ns => {
                        self.changes[id.at()] = self.enter(id, change, change_ns, now_ns);
                    }
                    _ => break next_ns = next_ns.min(change_ns),
                }
            }
            if let Some(load) = &self.loads[id.at()] {
                next_ns = next_ns.min(load.next_ns(&self.clock));
            }
        }
        next_ns
    }

    /// Enters a phase, which was due at `due_ns`; the change that follows it.
    fn enter(
        &mut self,
        id: ScenarioId,
        change: Change,
        due_ns: u64,
        now_ns: u64,
    ) -> Option<Change> {
        let shard = &self.shard;
        let scenario = &shard.program.scenarios[id.at()];
        let state = &shard.scenarios[id.at()];
        state.phase.set(change.to);
        match change.to {
            Phase::Waiting => None,
            Phase::Running => {
                // By when it was due, not by when this shard came to it.
                let start = (change.at_ns, due_ns);
                let load = Load::begin(shard, id, self.spec.slice, start, self.spec.seed);
                self.loads[id.at()] = Some(load);
                shard.control.reached(id, ScenarioPhase::Running);
                if !has_schedule(&scenario.executor) {
                    shard.no_more_users(id);
                }
                let length_ns = Load::length_ns(&scenario.executor);
                Some(Change {
                    at_ns: change.at_ns.saturating_add(length_ns),
                    by_plan: true,
                    to: Phase::Draining,
                })
            }
            Phase::Draining => {
                shard.no_more_users(id);
                shard.control.reached(id, ScenarioPhase::Ended);
                if let Some(load) = &mut self.loads[id.at()] {
                    load.end();
                }
                let mut tasks = shard.tasks.borrow_mut();
                for user in 0..state.tasks.borrow().len() as u32 {
                    state.wake_waiting(&mut tasks, user);
                }
                Some(Change {
                    at_ns: now_ns.saturating_add(nanos(scenario.graceful_stop)),
                    by_plan: false,
                    to: Phase::Cancelled,
                })
            }
            Phase::Cancelled => {
                let mut tasks = shard.tasks.borrow_mut();
                for task in state.tasks.borrow().iter() {
                    tasks.signal(*task, signal::CANCEL);
                }
                self.loads[id.at()] = None;
                None
            }
        }
    }

    /// Hands the record over to the aggregator and goes on with an empty one.
    fn hand_over(&mut self, now_ns: u64, is_last: bool) {
        let empty = self
            .spec
            .empty
            .try_recv()
            .unwrap_or_else(|_| Box::new(Record::new(&self.shard.program)));
        let record = self.shard.record.replace(empty);
        let vus = self
            .shard
            .scenarios
            .iter()
            .map(ScenarioState::take_peak)
            .sum();
        let cpu_ns = thread_cpu_ns();
        let handover = Handover {
            shard: self.spec.index,
            // A handover belongs to the second that it completes; the last one to the second that it breaks off.
            second: (now_ns.saturating_sub(self.start_ns) / HANDOVER_NS) as u32
                + u32::from(is_last),
            record,
            vus,
            // Staying awake is no work: a core that spins has not reached its limit.
            cpu_ns: cpu_ns
                .saturating_sub(self.handed_over_cpu_ns)
                .saturating_sub(std::mem::take(&mut self.spun_cpu_ns)),
            wall_ns: now_ns.saturating_sub(self.handed_over_ns),
            ended_ns: is_last.then_some(now_ns),
        };
        (self.handed_over_ns, self.handed_over_cpu_ns) = (now_ns, cpu_ns);
        // The aggregator is gone only when the run is being torn down.
        let _ = self.spec.handovers.send(handover);
    }
}

impl Drop for Driver {
    /// A shard that breaks off has measured something since it last handed over.
    fn drop(&mut self) {
        // What was being written when it broke off may still be lent.
        if !self.spec.start.has_ended() && self.shard.record.try_borrow_mut().is_ok() {
            self.hand_over(now_ns(), true);
        }
    }
}

/// Whether a scenario without users can get some yet.
fn has_schedule(executor: &Executor) -> bool {
    matches!(
        executor,
        Executor::RampingVus { .. }
            | Executor::ArrivalRate { .. }
            | Executor::ExternallyControlled { .. }
    )
}
