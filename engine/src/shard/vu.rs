//! A virtual user: runs its scenario's flow again and again.

use std::cell::RefCell;
use std::rc::Rc;

use loadr_config::ScenarioId;

use super::caching::Caching;
use super::client::Client;
use super::exchange::Own;
use super::state::Shard;
use super::tasks::{TaskId, signal};
use super::vars::Vars;
use crate::clock::now_ns;
use crate::instances::Instances;

/// The longest pause after a failed connection, in nanoseconds.
const BACKOFF_NS_MAX: u64 = 1_000_000_000;
/// The first pause after a failed connection; it doubles from there.
pub(super) const BACKOFF_NS_FIRST: u64 = 1_000_000;

/// What follows a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Step,
    Iteration,
    /// The scenario is cancelled.
    Leave,
    /// The virtual user has nothing more to do: a data source that stops at its end is at its end.
    End,
}

pub(crate) struct Vu {
    pub(super) shard: Rc<Shard>,
    pub(super) scenario: ScenarioId,
    /// Whether the scenario limits its iterations, and its requests.
    pub(super) is_paced: bool,
    pub(super) is_throttled: bool,
    /// How late the iteration began that the next request is the first of.
    pub(super) late_ns: u64,
    /// Shared with its lanes.
    pub(super) own: Rc<Own>,
    /// When the plan has it keep responses.
    pub(super) caching: Option<Box<Caching>>,
    /// Requests that failed.
    pub(super) failed: u64,
    /// By [`Step::Random`]: whose turn it is.
    pub(super) turns: Vec<u32>,
    pub(super) client: Client,
    /// The pause after the next failed connection.
    pub(super) backoff_ns: u64,
    /// What runs the branches of its parallel steps; made at first use, kept for their connections.
    pub(super) lanes: Vec<Vu>,
}

impl Vu {
    /// `number` is from 1 and unique over the scenario.
    pub(crate) fn new(
        shard: Rc<Shard>,
        scenario: ScenarioId,
        task: TaskId,
        number: u64,
        instances: Instances,
    ) -> Self {
        let vars = Vars::of(&shard.feed, number);
        let limits = &shard.program.scenarios[scenario.at()];
        shard.places.user_came(&shard.program, scenario);
        let mut client = Client::new(Rc::clone(&shard), task);
        if shard.shows.take() {
            client.shown = Some(Box::default());
        }
        let caching = shard.caches.then(Box::default);
        Self {
            is_paced: limits.pacing.is_some(),
            is_throttled: limits.throttle.is_some(),
            late_ns: 0,
            scenario,
            failed: 0,
            turns: vec![number as u32; shard.program.randoms as usize],
            client,
            shard,
            own: Rc::new(Own {
                vars: RefCell::new(vars),
                instances: RefCell::new(instances),
                jar: RefCell::default(),
            }),
            caching,
            backoff_ns: BACKOFF_NS_FIRST,
            lanes: Vec::new(),
        }
    }

    /// A pause after a failure, so that a dead target is not hammered and the shard does not spin: from 1 ms, doubling
    /// to 1 s, with half of it random so that users do not come back in step.
    pub(super) async fn back_off(&mut self) -> Next {
        let half = self.backoff_ns / 2;
        let jitter = self.shard.tools.borrow_mut().rng.below(half + 1);
        self.backoff_ns = (self.backoff_ns * 2).min(BACKOFF_NS_MAX);
        self.sleep(now_ns() + half + jitter).await
    }

    /// Does nothing until the clock shows `until_ns`.
    pub(super) fn sleep(&mut self, until_ns: u64) -> impl Future<Output = Next> {
        let task = self.client.task;
        self.shard.tasks.borrow_mut().set_sleep(task, until_ns);
        async move {
            let signals = self.shard.wait(task, signal::SLEPT | signal::CANCEL).await;
            if signals & signal::CANCEL != 0 {
                Next::Leave
            } else {
                Next::Step
            }
        }
    }
}
