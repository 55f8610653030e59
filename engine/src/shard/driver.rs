//! The shard's loop: one system call a turn, then everyone who got something runs, then again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use loadr_config::{Executor, Program, ScenarioId};
use loadr_ring::{Event, Ring, Settings};

use super::feed::{Feed, Shared};
use super::state::{Phase, ScenarioState, Shard};
use super::tasks::signal;
use super::tools::Tools;
use super::vu::Vu;
use crate::aggregate::Handover;
use crate::clock::{now_ns, thread_cpu_ns};
use crate::control::Control;
use crate::instances::{Fleet, Instances};
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;
use crate::run::Place;

/// The longest wait: glommio's own side of the executor must be looked at now and then.
const WAIT_NS_MAX: u64 = 10_000_000;
/// How often a shard hands over what it has measured.
pub(crate) const HANDOVER_NS: u64 = 1_000_000_000;

/// What a shard is told.
pub(crate) struct ShardSpec {
    /// Which of how many.
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) program: Arc<Program>,
    pub(crate) plugins: Arc<LoadedPlugins>,
    pub(crate) fleet: Arc<Fleet>,
    /// By origin.
    pub(crate) addresses: Arc<[SocketAddr]>,
    pub(crate) control: Control,
    pub(crate) seed: u64,
    /// The same for every shard.
    pub(crate) run_seed: u64,
    /// What the shards take blocks of.
    pub(crate) shared: Arc<Shared>,
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
    to: Phase,
}

/// Runs a shard to its end, on the executor of the calling task.
///
/// # Errors
/// What could not be set up, for people.
pub(crate) async fn run(mut spec: ShardSpec) -> Result<(), String> {
    let prepared = prepare(&spec);
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

fn prepare(spec: &ShardSpec) -> Result<Rc<Shard>, String> {
    // Sleeps end when they are due, not up to 50 µs later; where it is not allowed they end a little later.
    let _ = nix::sys::prctl::set_timerslack(1);
    let connections: u64 = spec
        .program
        .scenarios
        .iter()
        .map(|s| u64::from(share(vus(&s.executor), spec.index, spec.count)))
        .sum::<u64>()
        .saturating_mul(spec.program.origins.len().max(1) as u64);
    let settings = Settings::for_connections(u32::try_from(connections).unwrap_or(u32::MAX));
    let ring = Ring::new(&settings).map_err(|error| error.to_string())?;
    spec.control.register(ring.waker());
    let tools = Tools::new(&spec.program, spec.fleet.for_shard()?, spec.seed);
    let (program, shared) = (Arc::clone(&spec.program), Arc::clone(&spec.shared));
    let feed = Feed::new(program, shared, (spec.index, spec.count), spec.run_seed);
    let of_users = instances_of_users(spec)?;
    Ok(Rc::new(Shard::new(
        Arc::clone(&spec.program),
        Arc::clone(&spec.plugins),
        spec.control.clone(),
        Arc::clone(&spec.addresses),
        (ring, settings.sockets),
        (tools, feed),
        of_users,
    )))
}

/// By scenario: the plugin instances of each of this shard's virtual users.
fn instances_of_users(spec: &ShardSpec) -> Result<Vec<Vec<Instances>>, String> {
    let scenarios = spec.program.scenarios.iter().zip(0..);
    scenarios
        .map(|(scenario, id)| {
            let users = share(vus(&scenario.executor), spec.index, spec.count);
            (0..users)
                .map(|_| spec.fleet.for_user(ScenarioId(id)))
                .collect()
        })
        .collect()
}

/// The most virtual users of an executor.
pub(crate) fn vus(executor: &Executor) -> u32 {
    match *executor {
        Executor::ConstantVus { vus, .. } | Executor::PerVuIterations { vus, .. } => vus,
    }
}

/// Shard `index`'s part of `total`: user `k` (from 0) belongs to shard `k % count`.
fn share(total: u32, index: u32, count: u32) -> u32 {
    total / count + u32::from(index < total % count)
}

struct Driver {
    spec: ShardSpec,
    shard: Rc<Shard>,
    /// By scenario; the change that comes next.
    changes: Vec<Option<Change>>,
    start_ns: u64,
    handover_at_ns: u64,
    handed_over_ns: u64,
    handed_over_cpu_ns: u64,
    control_changes: u32,
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
                    to: Phase::Running,
                })
            })
            .collect();
        Self {
            spec,
            shard,
            changes,
            start_ns,
            handover_at_ns: start_ns + HANDOVER_NS,
            handed_over_ns: start_ns,
            handed_over_cpu_ns: thread_cpu_ns(),
            control_changes: 0,
        }
    }

    async fn drive(mut self) {
        let shard = Rc::clone(&self.shard);
        let mut reaped_ns = now_ns();
        let mut had_events = false;
        let mut next_change_ns = self.change(reaped_ns);
        // What starts at once is run before the first wait.
        glommio::executor().yield_now().await;
        while !self.is_over() {
            let until_ns = shard
                .tasks
                .borrow()
                .next_ns()
                .min(next_change_ns)
                .min(self.handover_at_ns)
                .min(reaped_ns + WAIT_NS_MAX);
            let mut events = false;
            reaped_ns = {
                let mut ring = shard.ring.borrow_mut();
                ring.turn_until(until_ns, |event: Event| {
                    events = true;
                    shard.on_event(event);
                });
                if had_events {
                    // How long what was reaped last turn had waited when the last of it had been acted on.
                    let lag_ns = ring.submitting_ns().saturating_sub(reaped_ns);
                    shard.record.borrow_mut().lag.record(lag_ns);
                }
                ring.reaped_ns()
            };
            had_events = events;
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
            glommio::executor().yield_now().await;
        }
        self.hand_over(now_ns(), true);
        self.spec.start.ended();
        // Lets the kernel close what the users left.
        shard.ring.borrow_mut().turn_until(0, |_| ());
    }

    fn is_over(&self) -> bool {
        self.shard
            .scenarios
            .iter()
            .all(|s| s.live.get() == 0 && !matches!(s.phase.get(), Phase::Waiting))
    }

    /// Makes every change that is due, by the schedule or by the run's control; when the next one is.
    fn change(&mut self, now_ns: u64) -> u64 {
        let control = self.shard.control.clone();
        self.control_changes = control.changes();
        for id in (0..self.changes.len()).map(|i| ScenarioId(i as u32)) {
            let state = &self.shard.scenarios[id.at()];
            let stop = control.is_stopped() || control.is_aborted(id);
            if stop && matches!(state.phase.get(), Phase::Waiting | Phase::Running) {
                self.changes[id.at()] = Some(Change {
                    at_ns: now_ns,
                    to: Phase::Draining,
                });
            }
            while let Some(change) = self.changes[id.at()].filter(|c| c.at_ns <= now_ns) {
                self.changes[id.at()] = self.enter(id, change, now_ns);
            }
        }
        self.changes
            .iter()
            .flatten()
            .map(|c| c.at_ns)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Enters a phase; the change that follows it.
    fn enter(&mut self, id: ScenarioId, change: Change, now_ns: u64) -> Option<Change> {
        let scenario = &self.shard.program.scenarios[id.at()];
        self.shard.scenarios[id.at()].phase.set(change.to);
        match change.to {
            Phase::Waiting => None,
            Phase::Running => {
                let end = match scenario.executor {
                    Executor::ConstantVus { duration, .. } => duration,
                    Executor::PerVuIterations { max_duration, .. } => max_duration,
                };
                self.spawn_users(id);
                // By the plan's clock, not by when this shard came to it.
                Some(Change {
                    at_ns: change.at_ns.saturating_add(nanos(end)),
                    to: Phase::Draining,
                })
            }
            Phase::Draining => Some(Change {
                at_ns: now_ns.saturating_add(nanos(scenario.graceful_stop)),
                to: Phase::Cancelled,
            }),
            Phase::Cancelled => {
                let mut tasks = self.shard.tasks.borrow_mut();
                for task in self.shard.scenarios[id.at()].tasks.borrow().iter() {
                    tasks.signal(*task, signal::CANCEL);
                }
                None
            }
        }
    }

    fn spawn_users(&self, id: ScenarioId) {
        let (total, iterations) = match self.shard.program.scenarios[id.at()].executor {
            Executor::ConstantVus { vus, .. } => (vus, None),
            Executor::PerVuIterations {
                vus, iterations, ..
            } => (vus, Some(iterations)),
        };
        let state = &self.shard.scenarios[id.at()];
        let (index, count) = (self.spec.index, self.spec.count);
        for k in 0..share(total, index, count) {
            let number = u64::from(k) * u64::from(count) + u64::from(index) + 1;
            let task = self.shard.tasks.borrow_mut().add();
            state.tasks.borrow_mut().push(task);
            state.live.set(state.live.get() + 1);
            state.peak.set(state.peak.get().max(state.live.get()));
            let instances = state.instances.borrow_mut().pop().unwrap_or_default();
            let user = Vu::new(Rc::clone(&self.shard), id, task, number, instances);
            glommio::spawn_local(user.run(iterations)).detach();
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
        let peak = |s: &ScenarioState| s.peak.replace(s.live.get());
        let vus = self.shard.scenarios.iter().map(peak).sum();
        let cpu_ns = thread_cpu_ns();
        let handover = Handover {
            shard: self.spec.index,
            // A handover belongs to the second that it completes; the last one to the second that it breaks off.
            second: (now_ns.saturating_sub(self.start_ns) / HANDOVER_NS) as u32
                + u32::from(is_last),
            record,
            vus,
            cpu_ns: cpu_ns.saturating_sub(self.handed_over_cpu_ns),
            wall_ns: now_ns.saturating_sub(self.handed_over_ns),
            ended_ns: is_last.then_some(now_ns),
        };
        (self.handed_over_ns, self.handed_over_cpu_ns) = (now_ns, cpu_ns);
        // The aggregator is gone only when the run is being torn down.
        let _ = self.spec.handovers.send(handover);
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_total() {
        for total in [0, 1, 7, 64, 1001] {
            for count in 1..=9 {
                assert_eq!(
                    (0..count).map(|i| share(total, i, count)).sum::<u32>(),
                    total
                );
            }
        }
    }
}
