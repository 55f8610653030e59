//! The plan's clock: the machine's, less the time that the run was paused. Everything that a plan schedules is due by it,
//! so that a pause moves the rest of the schedule and takes nothing out of it.

/// No moment: later than any.
const NEVER: u64 = u64::MAX;

/// What all shards know of pauses: the same instants for each, so that their shares stay shares of one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanClock {
    /// How long earlier pauses were together.
    behind_ns: u64,
    /// Since when it stands still; [`NEVER`] while it goes.
    held_ns: u64,
    /// When it last stopped; 0 before the first pause.
    last_held_ns: u64,
}

impl PlanClock {
    /// Goes with the machine's clock.
    pub(crate) const fn new() -> Self {
        Self {
            behind_ns: 0,
            held_ns: NEVER,
            last_held_ns: 0,
        }
    }

    /// Stops it; false when it stands still already.
    pub(crate) fn hold(&mut self, now_ns: u64) -> bool {
        if self.is_held() {
            return false;
        }
        (self.held_ns, self.last_held_ns) = (now_ns, now_ns);
        true
    }

    /// Lets it go on; false when it goes already.
    pub(crate) fn go(&mut self, now_ns: u64) -> bool {
        if !self.is_held() {
            return false;
        }
        self.behind_ns += now_ns.saturating_sub(self.held_ns);
        self.held_ns = NEVER;
        true
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held_ns != NEVER
    }

    /// When it last stopped, by the machine's clock; 0 before the first pause.
    pub(crate) fn last_held_ns(&self) -> u64 {
        self.last_held_ns
    }

    /// How long it has stood still in all.
    pub(crate) fn paused_ns(&self, now_ns: u64) -> u64 {
        self.behind_ns + now_ns.saturating_sub(self.held_ns)
    }

    /// What it shows when the machine's shows `now_ns`.
    pub(crate) fn at(&self, now_ns: u64) -> u64 {
        now_ns.min(self.held_ns).saturating_sub(self.behind_ns)
    }

    /// What the machine's clock shows when this one shows `plan_ns`; [`NEVER`] while nobody can know.
    pub(crate) fn due_ns(&self, plan_ns: u64) -> u64 {
        let due_ns = plan_ns.saturating_add(self.behind_ns);
        if due_ns >= self.held_ns {
            NEVER
        } else {
            due_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_due_in_a_pause_is_due_after_it() {
        let mut clock = PlanClock::new();
        assert_eq!((clock.due_ns(70), clock.at(70)), (70, 70));
        assert!(clock.hold(100) && !clock.hold(110));
        assert_eq!((clock.due_ns(99), clock.due_ns(100)), (99, NEVER));
        assert_eq!((clock.at(90), clock.at(500)), (90, 100));
        assert_eq!((clock.paused_ns(130), clock.last_held_ns()), (30, 100));
        assert!(clock.go(400) && !clock.go(410));
        assert_eq!((clock.due_ns(100), clock.due_ns(150)), (400, 450));
        assert_eq!((clock.at(410), clock.paused_ns(900)), (110, 300));
        assert_eq!(clock.due_ns(NEVER), NEVER);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_and_what_it_shows_is_due_then(
            steps in proptest::collection::vec((1_u64..1_000, any::<bool>()), 1..50),
        ) {
            let mut clock = PlanClock::new();
            let (mut now_ns, mut shown) = (0, 0);
            for (ns, toggles) in steps {
                now_ns += ns;
                prop_assert!(clock.at(now_ns) >= shown);
                shown = clock.at(now_ns);
                if !clock.is_held() {
                    prop_assert_eq!(clock.due_ns(shown), now_ns);
                }
                prop_assert_eq!(shown + clock.paused_ns(now_ns), now_ns);
                if toggles && !clock.hold(now_ns) {
                    clock.go(now_ns);
                }
            }
        }
    }
}
