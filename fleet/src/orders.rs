//! What a fleet was told to do: the segment that speaks for all gives each order a number, and all follow them in its
//! order, each once. Whoever missed some asks for them.

use std::collections::{BTreeSet, VecDeque};

use crate::message::Command;

/// The most that can be asked for again.
const KEPT_MAX: usize = 10_000;
/// The most that were asked for lately and are known again when they come twice.
const ASKED_MAX: usize = 64;
/// How long the others get to follow an order before whoever gave it hears of those that have not.
const FOLLOW_MS: u64 = 2_000;

/// Every order so far.
#[derive(Default)]
pub(crate) struct Orders {
    /// The latest.
    kept: VecDeque<Command>,
    count: u64,
}

/// What is to be done with an order that came.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Follow it.
    Follow,
    /// It was followed already.
    Known,
    /// Others before it are missing, from this number on.
    Missing(u64),
}

impl Orders {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn next(&self, number: u64) -> Next {
        match number {
            n if n == self.count + 1 => Next::Follow,
            n if n <= self.count => Next::Known,
            _ => Next::Missing(self.count + 1),
        }
    }

    /// One more; its number.
    pub(crate) fn push(&mut self, command: Command) -> u64 {
        self.count += 1;
        self.kept.push_back(command);
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        self.count
    }

    /// Those from a number on that are kept.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Command)> {
        let first = self.count - self.kept.len() as u64 + 1;
        let skip = number.saturating_sub(first) as usize;
        (first..).zip(&self.kept).skip(skip)
    }

    pub(crate) fn has_stop(&self) -> bool {
        self.kept.iter().any(|c| matches!(c, Command::Stop { .. }))
    }
}

/// An order that was given here and is followed by others.
pub(crate) struct Given {
    pub(crate) id: u64,
    /// Where the answer goes.
    pub(crate) reply: Option<String>,
    pub(crate) number: u64,
    waits_for: BTreeSet<u32>,
    taken: u32,
    of: u32,
    errors: Vec<String>,
    until_ms: u64,
}

/// How an order was followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) error: Option<String>,
    pub(crate) taken: u32,
    pub(crate) of: u32,
}

impl Given {
    /// Followed here, and waiting for the others.
    pub(crate) fn new(
        id: u64,
        reply: Option<String>,
        number: u64,
        others: impl IntoIterator<Item = u32>,
        of: u32,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            reply,
            number,
            waits_for: others.into_iter().collect(),
            taken: 1,
            of,
            errors: Vec::new(),
            until_ms: now_ms + FOLLOW_MS,
        }
    }

    pub(crate) fn followed(&mut self, index: u32, error: Option<&str>) {
        if !self.waits_for.remove(&index) {
            return;
        }
        match error {
            None => self.taken += 1,
            Some(error) => self
                .errors
                .push(format!("segment {index}: {}", crate::message::plain(error))),
        }
    }

    /// What came of it, when all have followed or their time is up.
    pub(crate) fn outcome(&self, now_ms: u64) -> Option<Outcome> {
        if !self.waits_for.is_empty() && now_ms < self.until_ms {
            return None;
        }
        let mut why = self.errors.clone();
        if !self.waits_for.is_empty() {
            let silent: Vec<String> = self.waits_for.iter().map(u32::to_string).collect();
            why.push(format!(
                "no word of it from segment {}: it follows when it is heard again",
                silent.join(", ")
            ));
        }
        Some(Outcome {
            error: (!why.is_empty()).then(|| why.join("; ")),
            taken: self.taken,
            of: self.of,
        })
    }
}

/// What was asked for lately and how it was answered, so that what comes twice is done once.
#[derive(Default)]
pub(crate) struct Asked(VecDeque<(u64, Option<Outcome>)>);

impl Asked {
    /// Whether it is new; else the answer, once there is one.
    pub(crate) fn is_new(&mut self, id: u64) -> Result<(), Option<Outcome>> {
        if let Some((_, outcome)) = self.0.iter().find(|(known, _)| *known == id) {
            return Err(outcome.clone());
        }
        self.0.push_back((id, None));
        if self.0.len() > ASKED_MAX {
            self.0.pop_front();
        }
        Ok(())
    }

    pub(crate) fn answered(&mut self, id: u64, outcome: &Outcome) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == id) {
            *known = Some(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_followed_in_their_order_each_once() {
        let mut orders = Orders::default();
        assert_eq!(orders.next(1), Next::Follow);
        assert_eq!(orders.next(3), Next::Missing(1));
        assert_eq!(orders.push(Command::Pause), 1);
        assert_eq!(orders.push(Command::Resume), 2);
        assert_eq!(orders.next(2), Next::Known);
        let from = |n| orders.from(n).map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!((from(1), from(2), from(3)), (vec![1, 2], vec![2], vec![]));
        assert!(!orders.has_stop());
        let mut long = Orders::default();
        for _ in 0..=KEPT_MAX {
            long.push(Command::Pause);
        }
        assert_eq!(long.from(1).next().map(|(n, _)| n), Some(2));
    }

    #[test]
    fn who_gave_an_order_hears_who_followed_it_and_who_did_not() {
        let mut given = Given::new(1, None, 1, [1, 2, 3], 4, 0);
        given.followed(1, None);
        given.followed(1, None);
        given.followed(2, Some("it cannot"));
        assert_eq!(given.outcome(FOLLOW_MS - 1), None);
        let late = given
            .outcome(FOLLOW_MS)
            .and_then(|o| o.error.map(|e| (e, o.taken)));
        let (error, taken) = late.unwrap_or_default();
        assert!(
            taken == 2 && error.contains("segment 2: it cannot") && error.contains("segment 3:"),
            "{error}"
        );
        given.followed(3, None);
        assert_eq!(given.outcome(1).map(|o| o.taken), Some(3));
    }

    #[test]
    fn what_is_asked_twice_is_done_once() {
        let mut asked = Asked::default();
        assert_eq!(asked.is_new(5), Ok(()));
        assert_eq!(asked.is_new(5), Err(None));
        let outcome = Outcome {
            error: None,
            taken: 1,
            of: 1,
        };
        asked.answered(5, &outcome);
        assert_eq!(asked.is_new(5), Err(Some(outcome)));
        for id in 100..200 {
            assert_eq!(asked.is_new(id), Ok(()));
        }
    }
}
