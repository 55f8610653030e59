//! What a scenario's schedule asks of this shard: users that come and go, iterations that are due. The driver calls it
//! with the clock's time; what is due when is [`crate::schedule`]'s.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use loadr_config::{Arrival, Executor, RateStage, ScenarioId};

use super::state::{NEVER, Shard};
use super::tasks::signal;
use super::turns::Work;
use super::vu::Vu;
use crate::schedule::{
    Arrivals, Deal, PlanClock, RateCurve, Seat, Slice, UserCurve, UserSteps, nanos,
};
use crate::steer::{Aim, Order};

/// An iteration that begins later than this after it was due is counted as late.
pub(crate) const LATE_NS: u64 = 10_000_000;

/// The schedule of one scenario on one shard.
pub(super) struct Load {
    id: ScenarioId,
    /// Which users are this shard's.
    slice: Slice,
    /// When the scenario began, by the plan's clock.
    start_ns: u64,
    kind: Kind,
    /// What whoever steers the run has asked for and does not hold yet, in order of time; how many there were.
    orders: VecDeque<Order>,
    orders_seen: usize,
}

enum Kind {
    /// Nothing changes until the end.
    Fixed,
    Ramp(UserSteps, Leavers),
    Arrivals(Arrivals),
    /// A number of users, or a rate; the other one is none.
    Steered(Arrivals, Leavers),
}

/// Users that went away and are cancelled some time later. By the machine's clock: a pause ends no iteration and
/// prolongs none.
struct Leavers {
    graceful_ns: u64,
    /// Users `from..to`, in order of time.
    leaving: VecDeque<Leaving>,
    /// By user: since when it has been away; [`NEVER`] while it is wanted.
    away_ns: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Leaving {
    since_ns: u64,
    from: u32,
    to: u32,
}

impl Leavers {
    fn new(graceful: Duration) -> Self {
        Self {
            graceful_ns: nanos(graceful),
            leaving: VecDeque::new(),
            away_ns: Vec::new(),
        }
    }

    /// There are `part` users from now on instead of `before`.
    fn change(&mut self, before: u32, part: u32, at_ns: u64) {
        let away_ns = &mut self.away_ns;
        away_ns.resize(away_ns.len().max(part as usize), NEVER);
        if part < before {
            away_ns[part as usize..before as usize].fill(at_ns);
            self.leaving.push_back(Leaving {
                since_ns: at_ns,
                from: part,
                to: before,
            });
        } else {
            away_ns[before as usize..part as usize].fill(NEVER);
        }
    }

    /// The user is wanted again.
    fn keep(&mut self, user: u32) {
        if let Some(away_ns) = self.away_ns.get_mut(user as usize) {
            *away_ns = NEVER;
        }
    }

    fn next_ns(&self) -> u64 {
        self.leaving
            .front()
            .map_or(NEVER, |l| l.since_ns.saturating_add(self.graceful_ns))
    }

    /// Calls `cancel` with each user that went away long enough ago and did not come back.
    fn each_due(&mut self, now_ns: u64, mut cancel: impl FnMut(u32)) {
        while self.next_ns() <= now_ns {
            let Some(one) = self.leaving.pop_front() else {
                return;
            };
            (one.from..one.to)
                .filter(|user| self.away_ns[*user as usize] == one.since_ns)
                .for_each(&mut cancel);
        }
    }
}

impl Load {
    /// The scenario begins: its first users are made. It was due at `start_ns` by the plan's clock and at `at_ns` by the
    /// machine's, whenever this shard came to it.
    pub(super) fn begin(
        shard: &Rc<Shard>,
        id: ScenarioId,
        slice: Slice,
        (start_ns, at_ns): (u64, u64),
        seed: u64,
    ) -> Self {
        let state = &shard.scenarios[id.at()];
        let scenario = &shard.program.scenarios[id.at()];
        state.start_ns.set(at_ns);
        let mut load = Self {
            id,
            slice,
            start_ns,
            kind: Kind::Fixed,
            orders: VecDeque::new(),
            orders_seen: 0,
        };
        let seed = seed ^ u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match &scenario.executor {
            Executor::ConstantVus { vus, .. } => {
                load.make_all(shard, slice.share(*vus), Work::Loop);
            }
            Executor::PerVuIterations {
                vus, iterations, ..
            } => load.make_all(shard, slice.share(*vus), Work::Times(*iterations)),
            Executor::SharedIterations { vus, .. } => {
                load.make_all(shard, slice.share(*vus), Work::Shared);
            }
            Executor::RampingVus {
                start_vus,
                stages,
                graceful_ramp_down,
            } => {
                let (part, steps) = UserSteps::new(UserCurve::new(*start_vus, stages), slice);
                load.kind = Kind::Ramp(steps, Leavers::new(*graceful_ramp_down));
                load.set_users(shard, part, at_ns);
            }
            Executor::ArrivalRate {
                start_rate,
                stages,
                arrival,
                pre_allocated_vus,
                max_vus,
            } => {
                for _ in 0..slice.share(*pre_allocated_vus) {
                    let user = state.pool.borrow_mut().make();
                    // Fewer than are allowed, so there is room.
                    if let Some(user) = user {
                        load.make(shard, user, Work::Called, NEVER);
                    }
                }
                let deal = Deal::new(slice, *max_vus);
                if !deal.is_empty() {
                    let curve = RateCurve::new(*start_rate, stages);
                    let arrivals = Arrivals::new(curve, *arrival, seed, deal);
                    load.kind = Kind::Arrivals(arrivals);
                }
            }
            Executor::ExternallyControlled { max_vus, duration } => {
                let deal = Deal::new(slice, *max_vus);
                if !deal.is_empty() {
                    let none = RateStage {
                        duration: duration.unwrap_or(Duration::MAX),
                        target: 0.0,
                    };
                    let curve = RateCurve::new(0.0, &[none]);
                    let arrivals = Arrivals::new(curve, Arrival::Uniform, seed, deal);
                    load.kind = Kind::Steered(arrivals, Leavers::new(scenario.graceful_stop));
                }
            }
        }
        load.listen(shard);
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
            Executor::ExternallyControlled { duration, .. } => duration.map_or(NEVER, nanos),
        }
    }

    /// Whoever steers the run may have given orders.
    pub(super) fn listen(&mut self, shard: &Rc<Shard>) {
        let orders = shard.control.orders(self.id, self.orders_seen);
        self.orders_seen += orders.len();
        self.orders.extend(orders);
    }

    /// When something is due so long after the scenario's start.
    fn due_ns(&self, clock: &PlanClock, after_ns: u64) -> u64 {
        clock.due_ns(self.start_ns.saturating_add(after_ns))
    }

    /// How long after the scenario's start the order holds.
    fn order_after_ns(&self, order: &Order) -> u64 {
        order.from_ns.saturating_sub(self.start_ns)
    }

    fn next_order_ns(&self, clock: &PlanClock) -> u64 {
        self.orders.front().map_or(NEVER, |order| {
            self.due_ns(clock, self.order_after_ns(order))
        })
    }

    fn next_step_ns(&self, clock: &PlanClock) -> u64 {
        let after_ns = match &self.kind {
            Kind::Fixed => None,
            Kind::Ramp(steps, _) => steps.next().map(|(after_ns, _)| after_ns),
            Kind::Arrivals(arrivals) | Kind::Steered(arrivals, _) => arrivals.due_ns(),
        };
        after_ns.map_or(NEVER, |after_ns| self.due_ns(clock, after_ns))
    }

    /// When there is something to do next, by the machine's clock.
    pub(super) fn next_ns(&self, clock: &PlanClock) -> u64 {
        let cancel_ns = match &self.kind {
            Kind::Ramp(_, leavers) | Kind::Steered(_, leavers) => leavers.next_ns(),
            Kind::Fixed | Kind::Arrivals(_) => NEVER,
        };
        self.next_order_ns(clock)
            .min(self.next_step_ns(clock))
            .min(cancel_ns)
    }

    /// Does all that is due at `until_ns`; the machine's clock shows `now_ns`, which may be later.
    pub(super) fn work_off(
        &mut self,
        shard: &Rc<Shard>,
        clock: &PlanClock,
        until_ns: u64,
        now_ns: u64,
    ) {
        loop {
            let (order_ns, step_ns) = (self.next_order_ns(clock), self.next_step_ns(clock));
            if order_ns.min(step_ns) > until_ns {
                return self.cancel_leaving(shard, now_ns);
            }
            // `until_ns` is a moment, so neither is `NEVER` where it is the earlier one.
            if order_ns <= step_ns {
                if let Some(order) = self.orders.pop_front() {
                    self.obey(shard, &order, order_ns);
                }
                continue;
            }
            match &mut self.kind {
                Kind::Fixed => return,
                Kind::Arrivals(arrivals) => {
                    arrivals.advance();
                    self.arrive(shard, Work::Called, step_ns, now_ns);
                }
                Kind::Steered(arrivals, _) => {
                    arrivals.advance();
                    self.arrive(shard, Work::Steered, step_ns, now_ns);
                }
                Kind::Ramp(steps, _) => {
                    let part = steps.next().map(|(_, part)| part);
                    steps.advance();
                    if let Some(part) = part {
                        self.set_users(shard, part, step_ns);
                    }
                }
            }
        }
    }

    /// An order holds from now on.
    fn obey(&mut self, shard: &Rc<Shard>, order: &Order, at_ns: u64) {
        let after_ns = self.order_after_ns(order);
        let (rate, vus) = match order.aim {
            Aim::Rate(rate) => (rate, 0),
            Aim::Vus(vus) => (0.0, vus),
        };
        match &mut self.kind {
            Kind::Arrivals(arrivals) => arrivals.set_from(after_ns, rate),
            Kind::Steered(arrivals, _) => {
                arrivals.set_from(after_ns, rate);
                self.set_users(shard, self.slice.share(vus), at_ns);
            }
            Kind::Fixed | Kind::Ramp(..) => {}
        }
    }

    /// The run goes on after a pause: whoever waited for that looks again.
    pub(super) fn wake(&self, shard: &Rc<Shard>) {
        let state = &shard.scenarios[self.id.at()];
        let made = state.tasks.borrow().len() as u32;
        let users = match &self.kind {
            Kind::Fixed => made,
            Kind::Ramp(..) | Kind::Steered(..) => made.min(state.wanted.get()),
            // They wait to be called.
            Kind::Arrivals(_) => 0,
        };
        for user in 0..users {
            state.wake_waiting(&mut shard.tasks.borrow_mut(), user);
        }
    }

    /// Nothing new comes any more; who is on the way out still gets its time.
    pub(super) fn end(&mut self) {
        self.orders.clear();
        match &mut self.kind {
            Kind::Fixed => {}
            Kind::Arrivals(_) => self.kind = Kind::Fixed,
            Kind::Steered(arrivals, _) => arrivals.end(),
            Kind::Ramp(steps, _) => {
                while steps.next().is_some() {
                    steps.advance();
                }
            }
        }
    }

    /// An iteration is due: whoever is free runs it, or nobody ever does.
    fn arrive(&mut self, shard: &Rc<Shard>, work: Work, due_ns: u64, now_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let seat = state.pool.borrow_mut().take();
        let late_ns = now_ns.saturating_sub(due_ns);
        {
            let mut record = shard.record.borrow_mut();
            record.lag.record(late_ns);
            let record = &mut record.scenarios[self.id.at()];
            record.due += 1;
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
                if let Kind::Steered(_, leavers) = &mut self.kind {
                    leavers.keep(user);
                }
                state.calls.borrow_mut()[user as usize] = due_ns;
                let task = state.tasks.borrow()[user as usize];
                shard.tasks.borrow_mut().signal(task, signal::SLEPT);
            }
            Seat::New(user) => {
                self.make(shard, user, work, due_ns);
            }
        }
    }

    /// From now on users of lower number than `part` iterate.
    fn set_users(&mut self, shard: &Rc<Shard>, part: u32, at_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        let before = state.wanted.replace(part);
        let made = state.tasks.borrow().len() as u32;
        let is_steered = matches!(self.kind, Kind::Steered(..));
        if is_steered {
            state.pool.borrow_mut().lose_below(part);
        }
        let work = if is_steered {
            Work::Steered
        } else {
            Work::Scheduled
        };
        for user in made..part {
            if is_steered {
                // As many as are allowed, and numbered as here.
                state.pool.borrow_mut().make();
            }
            self.make(shard, user, work, NEVER);
        }
        if let Kind::Ramp(_, leavers) | Kind::Steered(_, leavers) = &mut self.kind {
            leavers.change(before, part, at_ns);
        }
        // Whoever waits between two iterations looks again whether it is wanted.
        for user in before.min(part)..before.max(part).min(made) {
            state.wake_waiting(&mut shard.tasks.borrow_mut(), user);
        }
    }

    /// Cancels the iterations of users that went away long enough ago and did not come back.
    fn cancel_leaving(&mut self, shard: &Rc<Shard>, now_ns: u64) {
        let state = &shard.scenarios[self.id.at()];
        if let Kind::Ramp(_, leavers) | Kind::Steered(_, leavers) = &mut self.kind {
            leavers.each_due(now_ns, |user| {
                if !state.is_waiting(user) {
                    let task = state.tasks.borrow()[user as usize];
                    shard.tasks.borrow_mut().signal(task, signal::CANCEL);
                }
            });
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
        let number = self.slice.user(user) + 1;
        let task = shard.tasks.borrow_mut().add();
        state.add(task, call_ns);
        let instances = state.take_instances();
        // Boxed, because a future holds what it is made of twice.
        let vu = Box::new(Vu::new(Rc::clone(shard), self.id, task, number, instances));
        glommio::spawn_local(vu.run(user, work)).detach();
    }
}
