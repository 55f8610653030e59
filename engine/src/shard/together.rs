//! What virtual users do at once, and where they wait for each other: `parallel` and `rendezvous`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use loadr_config::{RendezvousId, ScenarioId, Step};

use super::client::Client;
use super::flow::Frames;
use super::state::Shard;
use super::tasks::{TaskId, signal};
use super::vu::{BACKOFF_NS_FIRST, Next, Vu};
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::rendezvous::Arrival;
use crate::schedule::nanos;

/// A task that waits at a meeting place.
pub(crate) struct Waiter {
    task: TaskId,
    place: RendezvousId,
    group: u32,
}

impl Vu {
    /// Runs lists of steps at once, each on a lane of its own, until all have ended. Boxed, because the steps of a
    /// branch are steps like any others.
    ///
    /// A branch that an assert ends ends alone; when the others have ended too the iteration is over. A cancel reaches
    /// every branch.
    pub(super) fn parallel<'a>(
        &'a mut self,
        branches: &'a [Vec<Step>],
    ) -> Pin<Box<dyn Future<Output = Next> + 'a>> {
        Box::pin(async move {
            while self.lanes.len() < branches.len() {
                let lane = self.lane();
                self.lanes.push(lane);
            }
            let shard = Rc::clone(&self.shard);
            let task = self.client.task;
            let lanes = &mut self.lanes[..branches.len()];
            let tasks: Vec<TaskId> = lanes.iter().map(|lane| lane.client.task).collect();
            let began_ns = now_ns();
            let mut ends = vec![None; branches.len()];
            let mut work: Vec<_> = lanes
                .iter_mut()
                .zip(branches)
                .map(|(lane, steps)| Box::pin(lane.branch(steps, began_ns)))
                .collect();
            let mut is_cancelled = false;
            poll_fn(|cx| {
                let cancel = || shard.tasks.borrow_mut().poll(task, signal::CANCEL, cx);
                if !is_cancelled && cancel().is_ready() {
                    is_cancelled = true;
                    for task in &tasks {
                        shard.tasks.borrow_mut().signal(*task, signal::CANCEL);
                    }
                }
                let mut all_ended = true;
                for (work, end) in work.iter_mut().zip(&mut ends) {
                    if end.is_none() {
                        match work.as_mut().poll(cx) {
                            Poll::Ready(next) => *end = Some(next),
                            Poll::Pending => all_ended = false,
                        }
                    }
                }
                if all_ended {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            drop(work);
            for task in &tasks {
                // A cancel may have meant this iteration alone.
                shard.tasks.borrow_mut().clear(*task, signal::CANCEL);
            }
            for lane in &mut self.lanes {
                self.failed += std::mem::take(&mut lane.failed);
            }
            let ended = |with| ends.contains(&Some(with));
            if ended(Next::Leave) {
                Next::Leave
            } else if ended(Next::Iteration) {
                Next::Iteration
            } else {
                Next::Step
            }
        })
    }

    async fn branch(&mut self, steps: &[Step], began_ns: u64) -> Next {
        let mut frames = Frames::new();
        self.iterate(steps, &mut frames, began_ns).await
    }

    /// What runs beside the user: the same variables and plugin instances, connections of its own.
    fn lane(&self) -> Self {
        let task = self.shard.tasks.borrow_mut().add();
        let mut client = Client::new(Rc::clone(&self.shard), task);
        client.shown = self.client.shown.as_ref().map(|shown| shown.beside());
        Self {
            shard: Rc::clone(&self.shard),
            scenario: self.scenario,
            is_paced: self.is_paced,
            is_throttled: self.is_throttled,
            late_ns: 0,
            own: Rc::clone(&self.own),
            caching: self.caching.as_ref().map(|c| Box::new(c.beside())),
            failed: 0,
            turns: self.turns.clone(),
            client,
            backoff_ns: BACKOFF_NS_FIRST,
            lanes: Vec::new(),
        }
    }

    /// Ends the user's connections, those of its lanes included.
    pub(super) fn disconnect_all(&mut self) {
        self.client.disconnect_all();
        self.lanes.iter_mut().for_each(Self::disconnect_all);
    }

    /// Waits until enough users have come, or until nobody else will, or for so long.
    pub(super) async fn rendezvous(&mut self, id: RendezvousId, timeout: Duration) -> Next {
        let shard = Rc::clone(&self.shard);
        let place = shard.places.at(id);
        let Arrival::Waits(group) = place.arrive() else {
            shard.let_go();
            return Next::Step;
        };
        let task = self.client.task;
        shard.waiters.borrow_mut().push(Waiter {
            task,
            place: id,
            group,
        });
        let next = self.sleep(now_ns().saturating_add(nanos(timeout))).await;
        shard.tasks.borrow_mut().clear_sleep(task);
        shard
            .waiters
            .borrow_mut()
            .retain(|waiter| waiter.task != task);
        if next == Next::Leave {
            place.leave(group);
            return next;
        }
        if let Some(came) = place.give_up(group) {
            let text = || {
                let name = &shard.program.rendezvous[id.at()].name;
                format!(
                    "rendezvous {name}: {came} of {} users had come when the first had waited {timeout:?}",
                    place.users()
                )
            };
            shard.record.borrow_mut().error(ErrorKind::Flow, text);
            shard.let_go();
        }
        Next::Step
    }
}

impl Shard {
    /// A group somewhere goes on: every shard looks at who waits there.
    fn let_go(&self) {
        self.wake_met();
        self.control.changed();
    }

    /// Wakes those who wait at a place whose group has gone on.
    pub(crate) fn wake_met(&self) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.is_empty() {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        waiters.retain(|waiter| {
            let waits = self.places.at(waiter.place).is_gathering(waiter.group);
            if !waits {
                tasks.signal(waiter.task, signal::SLEPT);
            }
            waits
        });
    }

    /// This shard makes no more users of the scenario.
    pub(crate) fn no_more_users(&self, scenario: ScenarioId) {
        let held = self.scenarios[scenario.at()].holds_places.replace(false);
        if held && self.places.no_more_users(&self.program, scenario) {
            self.let_go();
        }
    }

    /// A user of the scenario has left.
    pub(crate) fn user_left(&self, scenario: ScenarioId) {
        if self.places.user_left(&self.program, scenario) {
            self.let_go();
        }
    }
}
