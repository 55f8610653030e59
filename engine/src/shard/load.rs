//! What a scenario's schedule asks of this shard: users that come and go, iterations that are due. The driver calls it
//! with the clock's time; what is due when is [`crate::schedule`]'s.

use std::collections::VecDeque;
use std::rc::Rc;

use loadr_config::{Executor, ScenarioId};

use super::state::{NEVER, Shard};
use super::tasks::signal;
use super::turns::Work;
use super::vu::Vu;
use crate::schedule::{Arrivals, RateCurve, Seat, UserCurve, UserSteps, nanos, share};

/// An iteration that begins later than this after it was due is counted as late.
pub(crate) const LATE_NS: u64 = 10_000_000;

/// The schedule of one scenario on one shard.
pub(super) struct Load {
    id: ScenarioId,
    /// Which shard of how many.
    place: (u32, u32),
    /// When the scenario began, by the plan.
    start_ns: u64,
    kind: Kind,
}

enum Kind {
    /// Nothing changes until the end.
    Fixed,
    Ramp {
        steps: UserSteps,
        graceful_ns: u64,
        /// Users `from..to` that went away and are cancelled then, in order of time.
        leaving: VecDeque<Leaving>,
        /// By user: since when it has been away; [`NEVER`] while it is wanted.
        away_ns: Vec<u64>,
    },
    Arrivals(Arrivals),
}

#[derive(Clone, Copy)]
struct Leaving {
    since_ns: u64,
    from: u32,
    to: u32,
}

impl Load {
    /// The scenario begins: its first users are made. `start_ns` is by the plan's clock, not by when this shard came to
    /// it.
    pub(super) fn begin(
        shard: &Rc<Shard>,
        id: ScenarioId,
        place: (u32, u32),
        start_ns: u64,
        seed: u64,
    ) -> Self {
        let (index, count) = place;
        let state = &shard.scenarios[id.at()];
        state.start_ns.set(start_ns);
        let mut load = Self {
            id,
            place,
            start_ns,
            kind: Kind::Fixed,
        };
        match &shard.program.scenarios[id.at()].executor {
            Executor::ConstantVus { vus, .. } => {
                load.make_all(shard, share(*vus, index, count), Work::Loop);
            }
            Executor::PerVuIterations {
                vus, iterations, ..
            } => load.make_all(shard, share(*vus, index, count), Work::Times(*iterations)),
            Executor::SharedIterations { vus, .. } => {
                load.make_all(shard, share(*vus, index, count), Work::Shared);
            }
            Executor::RampingVus {
                start_vus,
                stages,
                graceful_ramp_down,
            } => {
                let (part, steps) = UserSteps::new(UserCurve::new(*start_vus, stages), place);
                load.kind = Kind::Ramp {
                    steps,
                    graceful_ns: nanos(*graceful_ramp_down),
                    leaving: VecDeque::new(),
                    away_ns: Vec::new(),
                };
                load.set_users(shard, part, start_ns);
            }
            Executor::ArrivalRate {
                start_rate,
                stages,
                arrival,
                pre_allocated_vus,
                max_vus,
            } => {
                for _ in 0..share(*pre_allocated_vus, index, count) {
                    let user = state.pool.borrow_mut().make();
                    // Fewer than are allowed, so there is room.
                    if let Some(user) = user {
                        load.make(shard, user, Work::Called, NEVER);
                    }
                }
                // Only shards that have users get arrivals.
                let count = count.min(*max_vus);
                if index < count {
                    let curve = RateCurve::new(*start_rate, stages);
                    let seed = seed ^ u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let arrivals = Arrivals::new(curve, *arrival, seed, (index, count));
                    load.kind = Kind::Arrivals(arrivals);
                }
            }
        }
        load
    }

    /// How long the scenario of this executor starts iterations.
    pub(super) fn length_ns(executor: &Executor) -> u64 {
        match executor {
            Executor::ConstantVus { duration, .. } => nanos(*duration),
            Executor::PerVuIterations { max_duration, .. }
            | Executor::SharedIterations { max_duration, .. } => nanos(*max_duration),
            Executor::RampingVus { stages, .. } => UserCurve::new(0, stages).end_ns(),
            Executor::ArrivalRate { stages, .. } => RateCurve::new(0.0, stages).end_ns(),
        }
    }

    /// When there is something to do next.
    pub(super) fn next_ns(&self) -> u64 {
        let at_ns = match &self.kind {
            Kind::Fixed => None,
            Kind::Ramp {
                steps,
                graceful_ns,
                leaving,
                ..
            } => {
                let cancel_ns = leaving
                    .front()
                    .map(|l| l.since_ns.saturating_add(*graceful_ns));
                let step_ns = steps
                    .next()
                    .map(|(at_ns, _)| self.start_ns.saturating_add(at_ns));
                cancel_ns.into_iter().chain(step_ns).min()
            }
            Kind::Arrivals(arrivals) => arrivals
                .due_ns()
                .map(|due_ns| self.start_ns.saturating_add(due_ns)),
        };
        at_ns.unwrap_or(NEVER)
    }

    /// Does all that is due at `until_ns`; the clock shows `now_ns`, which may be later.
    pub(super) fn work_off(&mut self, shard: &Rc<Shard>, until_ns: u64, now_ns: u64) {
        loop {
            match &mut self.kind {
                Kind::Fixed => return,
                Kind::Arrivals(arrivals) => {
                    let due_ns = arrivals
                        .due_ns()
                        .map(|due_ns| self.start_ns.saturating_add(due_ns));
                    let Some(due_ns) = due_ns.filter(|due_ns| *due_ns <= until_ns) else {
                        return;
                    };
                    arrivals.advance();
                    self.arrive(shard, due_ns, now_ns);
                }
                Kind::Ramp { steps, .. } => {
                    let start_ns = self.start_ns;
                    let step = steps
                        .next()
                        .map(|(at_ns, n)| (start_ns.saturating_add(at_ns), n));
                    let Some((at_ns, part)) = step.filter(|(at_ns, _)| *at_ns <= until_ns) else {
                        return self.cancel_leaving(shard, now_ns);
                    };
                    steps.advance();
                    self.set_users(shard, part, at_ns);
                }
            }
        }
    }

    /// Nothing new comes any more; who is on the way out still gets its time.
    pub(super) fn end(&mut self) {
        match &mut self.kind {
            Kind::Fixed => {}
            Kind::Arrivals(_) => self.kind = Kind::Fixed,
            Kind::Ramp { steps, .. } => {
                while steps.next().is_some() {
                    steps.advance();
                }
            }
        }
    }

    /// An iteration is due: whoever is free runs it, or nobody ever does.
    fn arrive(&self, shard: &Rc<Shard>, due_ns: u64, now_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let seat = state.pool.borrow_mut().take();
        let late_ns = now_ns.saturating_sub(due_ns);
        {
            let mut record = shard.record.borrow_mut();
            record.lag.record(late_ns);
            let record = &mut record.scenarios[self.id.at()];
            match seat {
                Seat::Nobody => record.dropped += 1,
                Seat::Idle(_) | Seat::New(_) => {
                    record.late += u64::from(late_ns > LATE_NS);
                    record.late_max_ns = record.late_max_ns.max(late_ns);
                }
            }
        }
        match seat {
            Seat::Nobody => {}
            Seat::Idle(user) => {
                state.calls.borrow_mut()[user as usize] = due_ns;
                let task = state.tasks.borrow()[user as usize];
                shard.tasks.borrow_mut().signal(task, signal::SLEPT);
            }
            Seat::New(user) => {
                self.make(shard, user, Work::Called, due_ns);
            }
        }
    }

    /// From now on users of lower number than `part` iterate.
    fn set_users(&mut self, shard: &Rc<Shard>, part: u32, at_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let before = state.wanted.replace(part);
        let made = state.tasks.borrow().len() as u32;
        for user in made..part {
            self.make(shard, user, Work::Scheduled, NEVER);
        }
        let Kind::Ramp {
            leaving, away_ns, ..
        } = &mut self.kind
        else {
            return;
        };
        away_ns.resize(away_ns.len().max(part as usize), NEVER);
        if part < before {
            away_ns[part as usize..before as usize].fill(at_ns);
            leaving.push_back(Leaving {
                since_ns: at_ns,
                from: part,
                to: before,
            });
        } else {
            away_ns[before as usize..part as usize].fill(NEVER);
            for user in before..part.min(made) {
                state.wake_waiting(&mut shard.tasks.borrow_mut(), user);
            }
        }
    }

    /// Cancels the iterations of users that went away long enough ago and did not come back.
    fn cancel_leaving(&mut self, shard: &Rc<Shard>, now_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let Kind::Ramp {
            graceful_ns,
            leaving,
            away_ns,
            ..
        } = &mut self.kind
        else {
            return;
        };
        while let Some(one) = leaving
            .front()
            .copied()
            .filter(|l| l.since_ns.saturating_add(*graceful_ns) <= now_ns)
        {
            leaving.pop_front();
            for user in one.from..one.to {
                if away_ns[user as usize] == one.since_ns && !state.is_waiting(user) {
                    let task = state.tasks.borrow()[user as usize];
                    shard.tasks.borrow_mut().signal(task, signal::CANCEL);
                }
            }
        }
    }

    fn make_all(&self, shard: &Rc<Shard>, users: u32, work: Work) {
        for user in 0..users {
            self.make(shard, user, work, NEVER);
        }
    }

    /// Makes the next user of this shard; `user` is how many there were. It runs at once, up to its first wait: nothing
    /// that it needs may be borrowed. `call_ns` is when the iteration was due that it is made for.
    fn make(&self, shard: &Rc<Shard>, user: u32, work: Work, call_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let (index, count) = self.place;
        let number = u64::from(user) * u64::from(count) + u64::from(index) + 1;
        let task = shard.tasks.borrow_mut().add();
        state.add(task, call_ns);
        let instances = state.instances.borrow_mut().pop().unwrap_or_default();
        // Boxed, because a future holds what it is made of twice.
        let vu = Box::new(Vu::new(Rc::clone(shard), self.id, task, number, instances));
        glommio::spawn_local(vu.run(user, work)).detach();
    }
}
