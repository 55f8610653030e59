//! What crosses cores while a run goes on: stop, pause, targets. Shards read one word once per turn; writes are rare, and
//! only when that word has changed is anything else looked at.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use loadr_config::{Program, ScenarioId};
use loadr_ring::RingWaker;

use crate::aggregate::Progress;
use crate::clock::now_ns;
use crate::schedule::PlanClock;
use crate::steer::{Aim, Order, ScenarioPhase, Status, Steer, SteerError, Steering, Steps};

/// Why a run ended before its schedule did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A person asked for it (Ctrl-C).
    Interrupted,
    /// An assert with `on_failure: abort_test` failed; its name.
    Assert(String),
    /// A threshold with `abort_on_fail` failed; its metric and expression.
    Threshold(String),
    /// Whoever watches the run has seen enough; why.
    Watcher(String),
    /// Whoever steers the run ended it: the plan's own end, come early.
    Steered,
    /// A part of the fleet that makes the load is lost; which, and why that ends the run.
    Lost(String),
    /// A shard broke off; a sentence that says which and why.
    Broken(String),
}

/// A handle on a run, shared by its shards and whoever steers it.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Changes whenever anything below does: the one word that shards read.
    changes: AtomicU32,
    stop: AtomicBool,
    /// Whether somebody who sees more than this process judges `abort_on_fail`.
    is_judged_elsewhere: AtomicBool,
    /// By [`ScenarioId`].
    aborted: Vec<AtomicBool>,
    reason: Mutex<Option<StopReason>>,
    wakers: Mutex<Vec<RingWaker>>,
    /// Changes whenever what is in `steering` for the shards does.
    steered: AtomicU32,
    /// `None` until the shards are being made.
    steering: Mutex<Option<Steering>>,
    /// The shard that a test has break off.
    #[cfg(test)]
    to_break: AtomicU32,
}

impl Control {
    /// For a run of so many scenarios.
    #[must_use]
    pub fn new(scenarios: usize) -> Self {
        Self(Arc::new(Inner {
            changes: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            is_judged_elsewhere: AtomicBool::new(false),
            aborted: (0..scenarios).map(|_| AtomicBool::new(false)).collect(),
            reason: Mutex::new(None),
            wakers: Mutex::new(Vec::new()),
            steered: AtomicU32::new(0),
            steering: Mutex::new(None),
            #[cfg(test)]
            to_break: AtomicU32::new(u32::MAX),
        }))
    }

    /// Ends the run gracefully: no new iteration starts. The first reason given is kept.
    pub fn stop(&self, reason: StopReason) {
        self.0
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        self.0.stop.store(true, Ordering::Release);
        self.changed();
    }

    /// Says whether somebody who sees more than this process judges thresholds with `abort_on_fail`; this one then does not.
    pub fn judge_elsewhere(&self, is_judged: bool) {
        self.0
            .is_judged_elsewhere
            .store(is_judged, Ordering::Relaxed);
    }

    pub(crate) fn is_judged_elsewhere(&self) -> bool {
        self.0.is_judged_elsewhere.load(Ordering::Relaxed)
    }

    /// Holds the schedule of every scenario: no iteration starts, those in flight go on. What would be due meanwhile is
    /// due later by as long as the pause; nothing is dropped. A run that is paused stays so.
    ///
    /// # Errors
    /// When the run has not started, or ends.
    pub fn pause(&self) -> Result<(), SteerError> {
        self.steer(|steering, now_ns| {
            steering.pause(now_ns);
            Ok(())
        })
    }

    /// Goes on after a pause; does nothing when there is none.
    ///
    /// # Errors
    /// As [`Control::pause`].
    pub fn resume(&self) -> Result<(), SteerError> {
        self.steer(|steering, now_ns| {
            steering.clock.go(now_ns);
            Ok(())
        })
    }

    /// From now on (within some 20 ms, at one instant on all shards) so many virtual users of this scenario loop; without
    /// a name the only one that takes a number of them.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn set_vus(&self, scenario: Option<&str>, vus: u32) -> Result<(), SteerError> {
        self.steer(|steering, now_ns| steering.order(scenario, Aim::Vus(vus), now_ns))
    }

    /// From now on (as with [`Control::set_vus`]) so many iterations of this scenario start in a second. In one with an
    /// arrival rate this replaces what is left of its plan's schedule, up to the end that the plan says.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn set_rate(&self, scenario: Option<&str>, per_second: f64) -> Result<(), SteerError> {
        self.steer(|steering, now_ns| steering.order(scenario, Aim::Rate(per_second), now_ns))
    }

    /// The run as it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        match &*self.steering() {
            Some(steering) => steering.status(self.is_stopped(), now_ns()),
            None => Status::starting(),
        }
    }

    fn steering(&self) -> MutexGuard<'_, Option<Steering>> {
        self.0
            .steering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn steer(
        &self,
        change: impl FnOnce(&mut Steering, u64) -> Result<(), SteerError>,
    ) -> Result<(), SteerError> {
        {
            let mut steering = self.steering();
            let begun = steering.as_mut().filter(|steering| steering.has_begun());
            let steering = begun.ok_or(SteerError::NotStarted)?;
            if self.is_stopped() || steering.has_ended() {
                return Err(SteerError::Ended);
            }
            // Within the lock, so that whoever comes later has the later instant.
            change(steering, now_ns())?;
        }
        self.0.steered.fetch_add(1, Ordering::AcqRel);
        self.changed();
        Ok(())
    }

    /// The program's shards are being made.
    pub(crate) fn prepare(&self, program: &Program) {
        *self.steering() = Some(Steering::new(program));
    }

    /// All of them have started.
    pub(crate) fn begin(&self, start_ns: u64) {
        if let Some(steering) = &mut *self.steering() {
            steering.begin(start_ns);
        }
    }

    /// A second has passed.
    pub(crate) fn passed(&self, progress: &Progress) {
        if let Some(steering) = &mut *self.steering() {
            steering.passed(progress);
        }
    }

    /// The run is over; what was done to it.
    pub(crate) fn end(&self) -> Steps {
        let now_ns = now_ns();
        self.steering()
            .as_mut()
            .map_or_else(Steps::default, |steering| {
                steering.end(now_ns);
                steering.steps(now_ns)
            })
    }

    /// A shard has come so far with a scenario.
    pub(crate) fn reached(&self, scenario: ScenarioId, phase: ScenarioPhase) {
        if let Some(steering) = &mut *self.steering() {
            steering.reached(scenario.at(), phase);
        }
    }

    /// Moves when there is anything new in [`Control::clock`] or [`Control::orders`].
    pub(crate) fn steered(&self) -> u32 {
        self.0.steered.load(Ordering::Acquire)
    }

    pub(crate) fn clock(&self) -> PlanClock {
        self.steering()
            .as_ref()
            .map_or(PlanClock::new(), |steering| steering.clock)
    }

    /// The orders that the scenario got since there were `seen`.
    pub(crate) fn orders(&self, scenario: ScenarioId, seen: usize) -> Vec<Order> {
        self.steering().as_ref().map_or_else(Vec::new, |steering| {
            steering.orders(scenario.at(), seen).to_vec()
        })
    }

    /// Ends the run because a shard broke off; what its thread ended with says why.
    pub(crate) fn break_off(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.changed();
    }

    /// Has a shard's thread panic at its next turn.
    #[cfg(test)]
    pub(crate) fn break_shard(&self, shard: u32) {
        self.0.to_break.store(shard, Ordering::Release);
        self.changed();
    }

    /// A turn of a shard begins.
    #[cfg(test)]
    pub(crate) fn break_here(&self, shard: u32) {
        assert!(
            self.0.to_break.load(Ordering::Acquire) != shard,
            "as a test wants it"
        );
    }

    /// Why the run was stopped, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.0
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends one scenario gracefully, on every shard.
    pub(crate) fn abort_scenario(&self, scenario: ScenarioId) {
        self.0.aborted[scenario.at()].store(true, Ordering::Release);
        self.changed();
    }

    pub(crate) fn changes(&self) -> u32 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Whether the run was told to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    pub(crate) fn is_aborted(&self, scenario: ScenarioId) -> bool {
        self.0.aborted[scenario.at()].load(Ordering::Acquire)
    }

    /// A shard's ring is woken when something changes.
    pub(crate) fn register(&self, waker: RingWaker) {
        self.0
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waker);
    }

    /// Has every shard look at what has changed.
    pub(crate) fn changed(&self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        for waker in self
            .0
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            waker.wake();
        }
    }
}

impl Steer for Control {
    fn status(&self) -> Status {
        self.status()
    }

    fn pause(&self) -> Result<(), SteerError> {
        self.pause()
    }

    fn resume(&self) -> Result<(), SteerError> {
        self.resume()
    }

    fn set_vus(&self, scenario: Option<&str>, vus: u32) -> Result<(), SteerError> {
        self.set_vus(scenario, vus)
    }

    fn set_rate(&self, scenario: Option<&str>, per_second: f64) -> Result<(), SteerError> {
        self.set_rate(scenario, per_second)
    }

    fn stop(&self) -> Result<(), SteerError> {
        self.stop(StopReason::Steered);
        Ok(())
    }
}
