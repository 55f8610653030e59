//! A virtual user's iterations: when one may begin, what came of it, when the user leaves.

use std::rc::Rc;

use super::flow::{Frames, STEPS_AT_ONCE};
use super::state::{NEVER, Phase};
use super::tasks::signal;
use super::vu::{Next, Vu};
use crate::clock::now_ns;

/// What decides whether a user begins another iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// As long as the scenario runs.
    Loop,
    /// So many in all.
    Times(u64),
    /// As long as the whole run has some left.
    Shared,
    /// While the user's number is below the schedule's.
    Scheduled,
    /// One for each call of the driver.
    Called,
    /// Either: while the user's number is below what is asked for, and one for each call.
    Steered,
}

impl Vu {
    /// Runs until the scenario, or the user's own work, ends. `user` is its number on this shard.
    pub(crate) fn run(mut self: Box<Self>, user: u32, work: Work) -> impl Future<Output = ()> {
        let shard = Rc::clone(&self.shard);
        async move {
            if shard.program.scenarios[self.scenario.at()].pipeline > 1 {
                return Box::pin(self.run_pipelined(user, work)).await;
            }
            let flow = &shard.program.scenarios[self.scenario.at()].flow;
            let mut frames = Frames::new();
            let mut began_ns = now_ns();
            while let Some(start_ns) = self.turn(user, work, began_ns).await {
                began_ns = start_ns;
                match self.iterate(flow, &mut frames, began_ns).await {
                    Next::Step | Next::Iteration => {}
                    Next::Leave => {
                        shard.record.borrow_mut().scenarios[self.scenario.at()].interrupted += 1;
                        if matches!(work, Work::Scheduled | Work::Steered) && self.may_come_back() {
                            began_ns = now_ns();
                            continue;
                        }
                        break;
                    }
                    Next::End => break,
                }
                // The end of an iteration is the start of the next: one look at the clock serves both.
                let ended_ns = now_ns();
                shard
                    .record
                    .borrow_mut()
                    .iteration(self.scenario, ended_ns - began_ns);
                began_ns = ended_ns;
                let iteration = {
                    let mut vars = self.own.vars.borrow_mut();
                    vars.iteration += 1;
                    vars.iteration
                };
                // Iterations in which nothing waits must not keep the shard from its other users, nor from its own end.
                if iteration.is_multiple_of(u64::from(STEPS_AT_ONCE)) {
                    let _ = self.sleep(ended_ns).await;
                    began_ns = now_ns();
                }
            }
            self.disconnect_all();
            shard.left(self.scenario);
        }
    }

    /// Waits until the user may begin an iteration: when that is, `now_ns` or later. `None`: never again.
    #[inline]
    pub(super) fn turn(
        &mut self,
        user: u32,
        work: Work,
        now_ns: u64,
    ) -> impl Future<Output = Option<u64>> {
        let is_simple = match work {
            Work::Loop => true,
            Work::Times(n) => self.own.vars.borrow().iteration < n,
            Work::Shared | Work::Scheduled | Work::Called | Work::Steered => false,
        };
        let is_its_turn = is_simple && !self.is_paced && self.is_on() && !self.shard.is_paused();
        async move {
            if is_its_turn {
                return Some(now_ns);
            }
            self.wait_turn(user, work, now_ns).await
        }
    }

    fn is_on(&self) -> bool {
        self.shard.takes_iterations(self.scenario)
    }

    /// Whether the user is one of those that iterate on their own.
    pub(super) fn is_wanted(&self, user: u32, work: Work) -> bool {
        match work {
            Work::Loop | Work::Shared | Work::Times(_) => true,
            Work::Scheduled | Work::Steered => {
                user < self.shard.scenarios[self.scenario.at()].wanted.get()
            }
            Work::Called => false,
        }
    }

    fn wait_turn(
        &mut self,
        user: u32,
        work: Work,
        began_ns: u64,
    ) -> impl Future<Output = Option<u64>> {
        let shard = Rc::clone(&self.shard);
        async move {
            let state = &shard.scenarios[self.scenario.at()];
            let mut at_ns = began_ns;
            loop {
                if matches!(work, Work::Called | Work::Steered) {
                    // Before the look at the scenario: what was due before its end, or before a pause, is run.
                    let due_ns = state.calls.borrow_mut()[user as usize];
                    if due_ns != NEVER {
                        state.calls.borrow_mut()[user as usize] = NEVER;
                        at_ns = now_ns();
                        self.late_ns = at_ns.saturating_sub(due_ns);
                        return Some(at_ns);
                    }
                    self.late_ns = 0;
                }
                if !self.is_on() {
                    return None;
                }
                if let Work::Times(n) = work
                    && self.own.vars.borrow().iteration >= n
                {
                    return None;
                }
                let is_wanted = self.is_wanted(user, work);
                if !is_wanted && matches!(work, Work::Called | Work::Steered) {
                    state.pool.borrow_mut().rest(user);
                }
                if !is_wanted || shard.is_paused() {
                    if !self.rest(user, NEVER).await {
                        return None;
                    }
                    at_ns = now_ns();
                    continue;
                }
                if self.is_paced {
                    let slot_ns = state.pacing_slot(at_ns);
                    let may_begin =
                        |vu: &Self| vu.is_on() && vu.is_wanted(user, work) && !shard.is_paused();
                    // It may be woken early, to look whether it is still wanted.
                    while slot_ns > at_ns && may_begin(self) {
                        if !self.rest(user, slot_ns).await {
                            return None;
                        }
                        at_ns = now_ns();
                    }
                    if !may_begin(self) {
                        continue;
                    }
                }
                let has_one = work != Work::Shared || state.take_shared();
                return has_one.then_some(at_ns);
            }
        }
    }

    /// Waits between iterations for a call, a change of the schedule, or `until_ns`; false when the user must leave.
    fn rest(&mut self, user: u32, until_ns: u64) -> impl Future<Output = bool> {
        let shard = Rc::clone(&self.shard);
        async move {
            let state = &shard.scenarios[self.scenario.at()];
            state.rests(user, until_ns == NEVER);
            let next = self.sleep(until_ns).await;
            state.resumes(user, until_ns == NEVER);
            next != Next::Leave || self.may_come_back()
        }
    }

    /// After a cancel: whether only this user's iteration was meant, and so the user stays.
    pub(super) fn may_come_back(&mut self) -> bool {
        let state = &self.shard.scenarios[self.scenario.at()];
        if state.phase.get() == Phase::Cancelled {
            return false;
        }
        self.shard
            .tasks
            .borrow_mut()
            .clear(self.client.task, signal::CANCEL);
        true
    }
}
