//! The few flags that cross cores while a run goes on. Shards read one word once per turn; writes are rare.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use loadr_config::ScenarioId;
use loadr_ring::RingWaker;

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
}

/// A handle on a run, shared by its shards and whoever steers it.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Changes whenever anything below does: the one word that shards read.
    changes: AtomicU32,
    stop: AtomicBool,
    /// By [`ScenarioId`].
    aborted: Vec<AtomicBool>,
    reason: Mutex<Option<StopReason>>,
    wakers: Mutex<Vec<RingWaker>>,
}

impl Control {
    /// For a run of so many scenarios.
    #[must_use]
    pub fn new(scenarios: usize) -> Self {
        Self(Arc::new(Inner {
            changes: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            aborted: (0..scenarios).map(|_| AtomicBool::new(false)).collect(),
            reason: Mutex::new(None),
            wakers: Mutex::new(Vec::new()),
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

    /// Ends the run because a shard broke off; the shard's own error says why.
    pub(crate) fn break_off(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.changed();
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

    pub(crate) fn is_stopped(&self) -> bool {
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
