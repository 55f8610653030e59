//! Where virtual users of all shards wait for each other: `rendezvous` steps.
//!
//! A place is one atomic word, the number of the group that is gathering and how many of it are there. Only steps that
//! meet touch it. Who completes a group moves the word on to the next one and has every shard look at who waits there;
//! a wait that times out does the same for a group that is not complete.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use loadr_config::{Program, RendezvousId, ScenarioId};

/// All meeting places of a run.
pub(crate) struct Places {
    places: Box<[Place]>,
}

/// One meeting place.
pub(crate) struct Place {
    users: u32,
    /// The group's number in the upper half, how many of it wait in the lower.
    state: AtomicU64,
    /// How many users there are that may come; more than that only while `holds` is above 0.
    alive: AtomicU32,
    /// Shards and scenarios that may still make users.
    holds: AtomicU32,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The group is complete and goes on.
    Together,
    /// It waits; the group's number.
    Waits(u32),
}

impl Places {
    pub(crate) fn new(program: &Program, shards: usize) -> Self {
        let places = program.rendezvous.iter().zip(0..).map(|(place, id)| {
            let is_there = |s: &&loadr_config::Scenario| s.rendezvous.contains(&RendezvousId(id));
            let scenarios = program.scenarios.iter().filter(is_there).count();
            Place::new(place.users, (scenarios * shards) as u32)
        });
        Self {
            places: places.collect(),
        }
    }

    pub(crate) fn at(&self, id: RendezvousId) -> &Place {
        &self.places[id.at()]
    }

    /// A user of the scenario is made.
    pub(crate) fn user_came(&self, program: &Program, scenario: ScenarioId) {
        let scenario = &program.scenarios[scenario.at()];
        for id in &scenario.rendezvous {
            // Each branch of its parallel steps can wait on its own.
            let place = self.at(*id);
            place.alive.fetch_add(scenario.lanes, Ordering::SeqCst);
        }
    }

    /// A user of the scenario has left; true when somebody goes on without it.
    pub(crate) fn user_left(&self, program: &Program, scenario: ScenarioId) -> bool {
        let scenario = &program.scenarios[scenario.at()];
        let left = |id: &RendezvousId| {
            let place = self.at(*id);
            place.alive.fetch_sub(scenario.lanes, Ordering::SeqCst);
            place.release_too_few()
        };
        scenario
            .rendezvous
            .iter()
            .fold(false, |any, id| left(id) | any)
    }

    /// A shard makes no more users of the scenario; true when somebody goes on because of that.
    pub(crate) fn no_more_users(&self, program: &Program, scenario: ScenarioId) -> bool {
        let end = |id: &RendezvousId| {
            let place = self.at(*id);
            place.holds.fetch_sub(1, Ordering::SeqCst);
            place.release_too_few()
        };
        let ids = &program.scenarios[scenario.at()].rendezvous;
        ids.iter().fold(false, |any, id| end(id) | any)
    }
}

impl Place {
    fn new(users: u32, holds: u32) -> Self {
        Self {
            users,
            state: AtomicU64::new(0),
            alive: AtomicU32::new(0),
            holds: AtomicU32::new(holds),
        }
    }

    /// Somebody comes.
    pub(crate) fn arrive(&self) -> Arrival {
        let mut together = false;
        let before = self.change(|group, waiting| {
            together = waiting + 1 >= self.users;
            Some(if together {
                (group.wrapping_add(1), 0)
            } else {
                (group, waiting + 1)
            })
        });
        let group = (before >> 32) as u32;
        // After the arrival is to be seen: whoever leaves looks in the other order, so that one of the two notices.
        if together || self.release_too_few() {
            return Arrival::Together;
        }
        Arrival::Waits(group)
    }

    pub(crate) fn is_gathering(&self, group: u32) -> bool {
        (self.state.load(Ordering::SeqCst) >> 32) as u32 == group
    }

    /// Lets a group that is not complete go on; how many it were, unless it has gone on already.
    pub(crate) fn give_up(&self, group: u32) -> Option<u32> {
        let mut given_up = None;
        self.change(|now, waiting| {
            given_up = (now == group).then_some(waiting);
            given_up.map(|_| (now.wrapping_add(1), 0))
        });
        given_up
    }

    /// One that waited is cancelled.
    pub(crate) fn leave(&self, group: u32) {
        self.change(|now, waiting| (now == group && waiting > 0).then(|| (now, waiting - 1)));
    }

    pub(crate) fn users(&self) -> u32 {
        self.users
    }

    /// When the group can never be complete those who wait go on; true when there are any.
    fn release_too_few(&self) -> bool {
        let is_hopeless = self.holds.load(Ordering::SeqCst) == 0
            && self.alive.load(Ordering::SeqCst) < self.users;
        if !is_hopeless {
            return false;
        }
        let mut any = false;
        self.change(|group, waiting| {
            any = waiting > 0;
            any.then(|| (group.wrapping_add(1), 0))
        });
        any
    }

    /// Replaces the group and the number that waits; the word before.
    fn change(&self, mut to: impl FnMut(u32, u32) -> Option<(u32, u32)>) -> u64 {
        let moved = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                let (group, waiting) = to((word >> 32) as u32, word as u32)?;
                Some(u64::from(group) << 32 | u64::from(waiting))
            });
        moved.unwrap_or_else(|unchanged| unchanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(users: u32, alive: u32) -> Place {
        let place = Place::new(users, 0);
        place.alive.store(alive, Ordering::SeqCst);
        place
    }

    #[test]
    fn groups_go_on_when_they_are_complete() {
        let place = place(3, 6);
        for group in 0..3 {
            assert_eq!(place.arrive(), Arrival::Waits(group));
            assert_eq!(place.arrive(), Arrival::Waits(group));
            assert!(place.is_gathering(group));
            assert_eq!(place.arrive(), Arrival::Together);
            assert!(!place.is_gathering(group));
        }
    }

    #[test]
    fn a_group_that_is_given_up_goes_on_once() {
        let place = place(3, 6);
        assert_eq!(place.arrive(), Arrival::Waits(0));
        assert_eq!(place.arrive(), Arrival::Waits(0));
        assert_eq!(place.give_up(0), Some(2));
        assert_eq!(place.give_up(0), None);
        assert_eq!(place.arrive(), Arrival::Waits(1));
    }

    #[test]
    fn one_that_is_cancelled_is_not_counted() {
        let place = place(2, 4);
        assert_eq!(place.arrive(), Arrival::Waits(0));
        place.leave(0);
        assert_eq!(place.arrive(), Arrival::Waits(0));
        assert_eq!(place.arrive(), Arrival::Together);
    }

    #[test]
    fn who_can_only_wait_in_vain_goes_on_at_once() {
        let place = place(3, 3);
        assert_eq!(place.arrive(), Arrival::Waits(0));
        place.alive.store(2, Ordering::SeqCst);
        assert!(place.release_too_few());
        assert!(!place.is_gathering(0));
        assert_eq!(place.arrive(), Arrival::Together);
        // As long as more may come it is worth waiting.
        place.holds.store(1, Ordering::SeqCst);
        assert!(matches!(place.arrive(), Arrival::Waits(_)));
    }

    #[test]
    fn no_arrival_is_lost_or_counted_twice_among_threads() {
        const THREADS: u32 = 4;
        const EACH: u32 = 30_000;
        let place = place(4, 1000);
        let together: u32 = std::thread::scope(|scope| {
            let work = || {
                let arrivals = (0..EACH).map(|_| place.arrive());
                arrivals
                    .filter(|arrival| *arrival == Arrival::Together)
                    .count() as u32
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or(0))
                .sum()
        });
        assert_eq!(together, THREADS * EACH / 4);
    }
}
