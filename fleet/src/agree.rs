//! The instant at which all begin. Segment 0 proposes one when all have come; when all have agreed to it, it says so until
//! the instant comes, and whoever has not heard that does not begin. Clocks are compared over the bus. Time is given.

use std::collections::BTreeMap;

use crate::message::{Clock, Member};

/// From a proposal to its instant: time for word to go there and back twice, and for all to be told.
const AHEAD_NS: u64 = 2_500_000_000;
/// The more there are, the longer it takes.
const AHEAD_NS_EACH: u64 = 3_000_000;
/// Who has not agreed so long before the instant makes it void.
const VOID_NS: u64 = 1_000_000_000;
/// Who hears of the start later than this before it cannot make it.
pub(crate) const NOTICE_NS: u64 = 300_000_000;
/// So many times clocks are compared; the quickest way there and back counts.
pub(crate) const SAMPLES: usize = 9;

/// What segment 0 has proposed.
#[derive(Default)]
pub(crate) struct Proposals {
    attempt: u64,
    current: Option<Proposal>,
}

struct Proposal {
    at_ns: u64,
    /// By index: the process, and its clock once it has agreed.
    members: BTreeMap<u32, (u64, Option<Option<Clock>>)>,
}

/// What segment 0 says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Propose { attempt: u64, at_ns: u64 },
    Start { attempt: u64, at_ns: u64 },
}

impl Proposals {
    /// All are here: `now_ns` is since 1970.
    pub(crate) fn say(&mut self, others: &[Member], now_ns: u64) -> Say {
        let is_current = |p: &Proposal| {
            let same = p.members.len() == others.len()
                && others
                    .iter()
                    .all(|o| p.members.get(&o.index).map(|(i, _)| *i) == Some(o.instance));
            same && (p.is_agreed() || p.at_ns > now_ns + VOID_NS)
        };
        if !self.current.as_ref().is_some_and(is_current) {
            self.attempt += 1;
            let each_ns = AHEAD_NS_EACH.saturating_mul(others.len() as u64);
            self.current = Some(Proposal {
                at_ns: now_ns + AHEAD_NS + each_ns,
                members: others
                    .iter()
                    .map(|o| (o.index, (o.instance, None)))
                    .collect(),
            });
        }
        let (at_ns, is_agreed) = self
            .current
            .as_ref()
            .map_or((now_ns, false), |p| (p.at_ns, p.is_agreed()));
        let attempt = self.attempt;
        if is_agreed {
            Say::Start { attempt, at_ns }
        } else {
            Say::Propose { attempt, at_ns }
        }
    }

    /// One of the others agrees.
    pub(crate) fn agrees(&mut self, member: &Member, attempt: u64, clock: Option<Clock>) {
        let current = self.current.as_mut().filter(|_| attempt == self.attempt);
        let known = current.and_then(|p| p.members.get_mut(&member.index));
        if let Some((instance, agreed)) = known
            && *instance == member.instance
        {
            *agreed = Some(clock);
        }
    }

    /// The clock that is farthest from segment 0's, as it was measured.
    pub(crate) fn worst_clock(&self) -> Option<(u32, Clock)> {
        let members = &self.current.as_ref()?.members;
        let clocks = members
            .iter()
            .filter_map(|(index, (_, clock))| Some((*index, clock.flatten()?)));
        clocks.max_by_key(|(_, clock)| clock.ahead_ns.unsigned_abs())
    }
}

impl Proposal {
    fn is_agreed(&self) -> bool {
        self.members.values().all(|(_, agreed)| agreed.is_some())
    }
}

/// One's own clock against segment 0's.
#[derive(Default)]
pub(crate) struct Compared {
    best: Option<Clock>,
    count: usize,
}

impl Compared {
    /// The other said `their_ns` between `sent_ns` and `came_ns`; all since 1970, the way there and back being `way_ns` by a
    /// clock that nobody sets.
    pub(crate) fn sample(&mut self, sent_ns: u64, their_ns: u64, way_ns: u64) {
        self.count += 1;
        let error_ns = way_ns / 2;
        let middle_ns = i128::from(sent_ns) + i128::from(error_ns);
        let ahead_ns = middle_ns - i128::from(their_ns);
        let clock = Clock {
            ahead_ns: i64::try_from(ahead_ns).unwrap_or(if ahead_ns > 0 {
                i64::MAX
            } else {
                i64::MIN
            }),
            error_ns,
        };
        if self.best.is_none_or(|best| error_ns < best.error_ns) {
            self.best = Some(clock);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.count >= SAMPLES
    }

    pub(crate) fn best(&self) -> Option<Clock> {
        self.best
    }
}

impl Clock {
    /// An instant of segment 0's clock by this one. A difference that may be the way's alone is none.
    pub(crate) fn here_ns(self, at_ns: u64) -> u64 {
        if self.ahead_ns.unsigned_abs() <= self.error_ns {
            at_ns
        } else {
            at_ns.saturating_add_signed(self.ahead_ns)
        }
    }

    /// For people.
    pub(crate) fn text(self) -> String {
        let ms = |ns: f64| ns / 1e6;
        format!(
            "{:+.3} ms from segment 0's, give or take {:.3} ms (measured over the bus)",
            ms(self.ahead_ns as f64),
            ms(self.error_ns as f64)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(index: u32, instance: u64) -> Member {
        Member {
            index,
            of: 3,
            instance,
            place: String::new(),
        }
    }

    #[test]
    fn a_start_is_said_when_all_have_agreed_to_it_and_not_before() {
        let others = [member(1, 11), member(2, 12)];
        let mut p = Proposals::default();
        let first = p.say(&others, 0);
        let Say::Propose { attempt: 1, at_ns } = first else {
            panic!("{first:?}");
        };
        p.agrees(&others[0], 1, None);
        p.agrees(&others[1], 9, None);
        p.agrees(&member(2, 99), 1, None);
        assert_eq!(p.say(&others, 1_000), first);
        p.agrees(&others[1], 1, None);
        let start = Say::Start { attempt: 1, at_ns };
        assert_eq!(p.say(&others, 2_000), start);
        // It stands, to its last moment.
        assert_eq!(p.say(&others, at_ns - 1), start);
    }

    #[test]
    fn a_proposal_that_not_all_agreed_to_in_time_is_made_anew() {
        let others = [member(1, 11), member(2, 12)];
        let mut p = Proposals::default();
        let Say::Propose { at_ns, .. } = p.say(&others, 0) else {
            panic!("nobody has agreed");
        };
        p.agrees(&others[0], 1, None);
        let again = p.say(&others, at_ns - VOID_NS);
        assert!(matches!(again, Say::Propose { attempt: 2, at_ns: later } if later > at_ns));
        // Word of the first comes late.
        p.agrees(&others[1], 1, None);
        p.agrees(&others[1], 2, None);
        assert!(matches!(
            p.say(&others, at_ns),
            Say::Propose { attempt: 2, .. }
        ));
        // One of them began anew.
        let others = [member(1, 21), member(2, 12)];
        assert!(matches!(
            p.say(&others, at_ns),
            Say::Propose { attempt: 3, .. }
        ));
        assert!(matches!(
            Proposals::default().say(&[], 0),
            Say::Start { .. }
        ));
    }

    #[test]
    fn clocks_are_compared_by_the_quickest_way() {
        let mut c = Compared::default();
        c.sample(1_000_000, 500_000, 800_000);
        c.sample(2_000_000, 1_100_000, 200_000);
        let best = c.best().unwrap_or(Clock {
            ahead_ns: 0,
            error_ns: 0,
        });
        assert_eq!((best.ahead_ns, best.error_ns), (1_000_000, 100_000));
        assert_eq!(best.here_ns(5_000_000), 6_000_000);
        let same = Clock {
            ahead_ns: -90,
            error_ns: 100,
        };
        assert_eq!(same.here_ns(5_000), 5_000);
        c.sample(0, u64::MAX, 0);
        assert_eq!(c.best().map(|c| c.ahead_ns), Some(i64::MIN));
        assert!(!c.is_done());
    }
}
