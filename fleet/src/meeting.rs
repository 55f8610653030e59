//! The barrier before the start: who has come, whether they go together, who is missing. Time is given, so that it can be
//! tested without waiting.

use std::collections::BTreeMap;

use crate::message::{Load, Member};

/// Who has not been heard for so many times the interval is no longer there.
const SILENCES: u64 = 4;
/// The most of anything that is named in a sentence.
const NAMED_MAX: usize = 8;

/// Between two words of each that waits: the more there are, the less often, so that the bus carries it.
pub(crate) fn interval_ms(of: u32) -> u64 {
    (u64::from(of) * 5).clamp(500, 5_000)
}

struct Other {
    member: Member,
    is_ready: bool,
    heard_ms: u64,
    /// Another process with the same index, and when it was first heard.
    rival: Option<(Member, u64)>,
}

/// The segments that wait for the start.
pub(crate) struct Meeting {
    me: Member,
    load: Load,
    others: BTreeMap<u32, Other>,
}

impl Meeting {
    pub(crate) fn new(me: Member, load: Load) -> Self {
        Self {
            me,
            load,
            others: BTreeMap::new(),
        }
    }

    fn quiet_ms(&self) -> u64 {
        interval_ms(self.me.of) * SILENCES
    }

    /// Somebody says that it is here.
    ///
    /// # Errors
    /// Why the two cannot be one fleet.
    pub(crate) fn hear(
        &mut self,
        member: &Member,
        load: &Load,
        is_ready: bool,
        now_ms: u64,
    ) -> Result<(), String> {
        let me = &self.me;
        if member.instance == me.instance {
            return Ok(());
        }
        let (mine, theirs) = (me.name(), member.name());
        let short = |hash: &str| crate::message::plain(&hash.chars().take(12).collect::<String>());
        if member.of != me.of {
            return Err(format!(
                "{mine} and {theirs} are in one fleet and not of one number of segments: give all the same number, or \
                 another --fleet"
            ));
        }
        if load.plan_hash != self.load.plan_hash {
            return Err(format!(
                "{mine} and {theirs} are in one fleet and have different plans (plan hash {} and {}): give all the same plan, \
                 overlays and flags, or another --fleet",
                short(&self.load.plan_hash),
                short(&load.plan_hash)
            ));
        }
        if load.seed != self.load.seed {
            return Err(format!(
                "{mine} and {theirs} are in one fleet and have different seeds ({} and {}): give all the same --seed, or none",
                self.load.seed, load.seed
            ));
        }
        if load.load_hash != self.load.load_hash {
            return Err(format!(
                "{mine} and {theirs} have the same plan, but files, variables of the environment or plugins that it uses \
                 differ: give all the same"
            ));
        }
        if member.index == me.index {
            return Err(twice(me, member));
        }
        let quiet_ms = self.quiet_ms();
        let Some(known) = self.others.get_mut(&member.index) else {
            self.others.insert(
                member.index,
                Other {
                    member: member.clone(),
                    is_ready,
                    heard_ms: now_ms,
                    rival: None,
                },
            );
            return Ok(());
        };
        if known.member.instance == member.instance {
            (known.is_ready, known.heard_ms) = (is_ready, now_ms);
            if let Some((rival, _)) = &known.rival {
                return Err(twice(&known.member, rival));
            }
            return Ok(());
        }
        // One that was ended and began anew is no second one: only if the first is heard again.
        match &known.rival {
            Some((rival, _)) if rival.instance != member.instance => Err(twice(rival, member)),
            Some((_, since_ms)) if now_ms.saturating_sub(*since_ms) > quiet_ms => {
                (known.member, known.rival) = (member.clone(), None);
                (known.is_ready, known.heard_ms) = (is_ready, now_ms);
                Ok(())
            }
            Some(_) => Ok(()),
            None if now_ms.saturating_sub(known.heard_ms) > quiet_ms => {
                known.member = member.clone();
                (known.is_ready, known.heard_ms) = (is_ready, now_ms);
                Ok(())
            }
            None => {
                known.rival = Some((member.clone(), now_ms));
                Ok(())
            }
        }
    }

    /// Somebody has left.
    pub(crate) fn leaves(&mut self, member: &Member) {
        let index = member.index;
        if let Some(known) = self.others.get_mut(&index) {
            if known
                .rival
                .as_ref()
                .is_some_and(|(r, _)| r.instance == member.instance)
            {
                known.rival = None;
            } else if known.member.instance == member.instance {
                match known.rival.take() {
                    Some((rival, since_ms)) => {
                        known.member = rival;
                        (known.is_ready, known.heard_ms) = (false, since_ms);
                    }
                    None => {
                        self.others.remove(&index);
                    }
                }
            }
        }
    }

    /// All others, when they are here and ready.
    pub(crate) fn complete(&self, now_ms: u64) -> Option<Vec<Member>> {
        let quiet_ms = self.quiet_ms();
        let is_here = |other: &&Other| {
            other.is_ready
                && other.rival.is_none()
                && now_ms.saturating_sub(other.heard_ms) <= quiet_ms
        };
        let here: Vec<Member> = self
            .others
            .values()
            .filter(is_here)
            .map(|other| other.member.clone())
            .collect();
        (here.len() + 1 == self.me.of as usize).then_some(here)
    }

    /// The process that is segment `index`.
    pub(crate) fn member(&self, index: u32) -> Option<&Member> {
        self.others.get(&index).map(|other| &other.member)
    }

    /// Who keeps the others waiting, for people.
    pub(crate) fn missing(&self, now_ms: u64) -> String {
        let quiet_ms = self.quiet_ms();
        let (mut absent, mut late) = (Vec::new(), Vec::new());
        for index in (0..self.me.of).filter(|index| *index != self.me.index) {
            match self.others.get(&index) {
                Some(other) if now_ms.saturating_sub(other.heard_ms) <= quiet_ms => {
                    if !other.is_ready {
                        late.push(index);
                    }
                }
                _ => absent.push(index),
            }
        }
        let mut said = Vec::new();
        if !absent.is_empty() {
            said.push(format!("{} not come", named(&absent)));
        }
        if !late.is_empty() {
            said.push(format!("{} come and not got ready", named(&late)));
        }
        if said.is_empty() {
            return "all have come".to_owned();
        }
        said.join("; ")
    }
}

fn twice(first: &Member, second: &Member) -> String {
    format!(
        "there are two processes for segment {}/{}: {} and {}",
        first.index, first.of, first.place, second.place
    )
}

/// Segments, for people: `segment 3 has`, `segments 1, 2 and 7 have`.
fn named(indices: &[u32]) -> String {
    match indices {
        [one] => format!("segment {one} has"),
        _ if indices.len() > NAMED_MAX => {
            let first: Vec<String> = indices[..NAMED_MAX].iter().map(u32::to_string).collect();
            let more = indices.len() - NAMED_MAX;
            format!("segments {} and {more} more have", first.join(", "))
        }
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u32::to_string).collect();
            format!("segments {} and {last} have", first.join(", "))
        }
        [] => "nobody has".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn member(index: u32, of: u32, instance: u64) -> Member {
        Member {
            index,
            of,
            instance,
            place: format!("h, process {instance}"),
        }
    }

    fn load() -> Load {
        Load {
            plan_hash: "aaaaaaaaaaaaaaaa".to_owned(),
            load_hash: "bbbbbbbb".to_owned(),
            seed: 7,
        }
    }

    fn meeting(of: u32) -> Meeting {
        Meeting::new(member(0, of, 100), load())
    }

    #[test]
    fn all_that_come_and_are_ready_make_it_complete() {
        let mut m = meeting(3);
        assert_eq!(m.missing(0), "segments 1 and 2 have not come");
        m.hear(&member(0, 3, 100), &load(), true, 0).unwrap();
        m.hear(&member(2, 3, 102), &load(), false, 10).unwrap();
        m.hear(&member(1, 3, 101), &load(), true, 10).unwrap();
        assert_eq!(m.missing(20), "segment 2 has come and not got ready");
        assert_eq!(m.complete(20), None);
        m.hear(&member(2, 3, 102), &load(), true, 30).unwrap();
        assert_eq!(m.complete(40).unwrap().len(), 2);
        // Who is not heard any more is not there.
        assert_eq!(m.complete(30 + m.quiet_ms() + 1), None);
        m.hear(&member(1, 3, 101), &load(), true, 5_000).unwrap();
        assert_eq!(m.missing(5_000), "segment 2 has not come");
        m.leaves(&member(1, 3, 101));
        assert_eq!(m.missing(5_000), "segments 1 and 2 have not come");
        assert!(meeting(1).complete(0).is_some());
    }

    #[test]
    fn who_does_not_go_with_the_others_is_named_with_them() {
        let other = |change: &dyn Fn(&mut Load)| {
            let mut load = load();
            change(&mut load);
            load
        };
        for (member, load, says) in [
            (member(1, 4, 1), load(), "number of segments"),
            (
                member(1, 3, 1),
                other(&|l| l.plan_hash = "cc\u{1b}c".to_owned()),
                "different plans (plan hash aaaaaaaaaaaa and cc",
            ),
            (
                member(1, 3, 1),
                other(&|l| l.seed = 9),
                "different seeds (7 and 9)",
            ),
            (
                member(1, 3, 1),
                other(&|l| l.load_hash = String::new()),
                "files, variables",
            ),
            (
                member(0, 3, 1),
                load(),
                "two processes for segment 0/3: h, process 100 and h, process 1",
            ),
        ] {
            let error = meeting(3).hear(&member, &load, true, 0).unwrap_err();
            assert!(error.contains(says) && !error.contains('\u{1b}'), "{error}");
            assert!(
                error.contains("process 100") && error.contains("process 1"),
                "{error}"
            );
        }
    }

    #[test]
    fn one_that_began_anew_takes_its_place_and_a_second_one_does_not() {
        let mut m = meeting(2);
        let (first, second) = (member(1, 2, 1), member(1, 2, 2));
        m.hear(&first, &load(), true, 0).unwrap();
        m.hear(&second, &load(), true, 500).unwrap();
        assert_eq!(m.complete(500), None);
        let error = m.hear(&first, &load(), true, 600).unwrap_err();
        assert!(error.contains("process 1 and h, process 2"), "{error}");

        let mut m = meeting(2);
        m.hear(&first, &load(), true, 0).unwrap();
        for now_ms in (500..4_000).step_by(500) {
            m.hear(&second, &load(), true, now_ms).unwrap();
        }
        assert_eq!(m.complete(4_000).unwrap(), std::slice::from_ref(&second));

        let mut m = meeting(2);
        m.hear(&first, &load(), true, 0).unwrap();
        m.hear(&second, &load(), true, 100).unwrap();
        m.leaves(&first);
        m.hear(&second, &load(), true, 200).unwrap();
        assert_eq!(m.complete(200).unwrap(), [second]);
    }

    #[test]
    fn many_are_named_in_short() {
        let m = meeting(40);
        assert_eq!(
            m.missing(0),
            "segments 1, 2, 3, 4, 5, 6, 7, 8 and 31 more have not come"
        );
    }
}
