//! How many virtual users there are at each instant, and which shard has them.

use loadr_config::UserStage;

use super::nanos;
use super::slice::Slice;

#[derive(Clone, Copy, Debug)]
struct Stage {
    start_ns: u64,
    len_ns: u64,
    from: u32,
    to: u32,
}

impl Stage {
    /// How many users come or go in it.
    fn steps(&self) -> u32 {
        self.from.abs_diff(self.to)
    }

    /// The total after the step of this number, from 1.
    fn total_after(&self, step: u32) -> u32 {
        if self.to > self.from {
            self.from + step
        } else {
            self.from - step
        }
    }

    /// When the line from `from` to `to` has gone that far.
    fn step_ns(&self, step: u32) -> u64 {
        let (step, steps) = (u128::from(step), u128::from(self.steps().max(1)));
        let within = (step * u128::from(self.len_ns)).div_ceil(steps);
        // At most `len_ns`.
        self.start_ns.saturating_add(within as u64)
    }
}

/// The number of virtual users of the whole run over time: linear from stage to stage, changed by one when the line has
/// gone one further.
#[derive(Clone, Debug)]
pub(crate) struct UserCurve {
    start: u32,
    stages: Vec<Stage>,
    end_ns: u64,
}

impl UserCurve {
    pub(crate) fn new(start: u32, stages: &[UserStage]) -> Self {
        let (mut from, mut start_ns) = (start, 0_u64);
        let stages = stages
            .iter()
            .map(|stage| {
                let (len_ns, to) = (nanos(stage.duration), stage.target);
                let one = Stage {
                    start_ns,
                    len_ns,
                    from,
                    to,
                };
                start_ns = start_ns.saturating_add(len_ns);
                from = to;
                one
            })
            .collect();
        Self {
            start,
            stages,
            end_ns: start_ns,
        }
    }

    /// When the last stage ends.
    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// The total at an instant.
    #[cfg(test)]
    pub(super) fn total_at(&self, at_ns: u64) -> u32 {
        let Some(stage) = self.stages.iter().rfind(|s| s.start_ns <= at_ns) else {
            return self.start;
        };
        let within = (at_ns - stage.start_ns).min(stage.len_ns);
        let step = if stage.len_ns == 0 {
            stage.steps()
        } else {
            (u128::from(stage.steps()) * u128::from(within) / u128::from(stage.len_ns)) as u32
        };
        stage.total_after(step)
    }
}

/// The changes of one shard's part of a [`UserCurve`], in order.
#[derive(Clone, Debug)]
pub(crate) struct UserSteps {
    curve: UserCurve,
    slice: Slice,
    /// The stage and the steps of it that are done.
    stage: usize,
    step: u32,
    next: Option<(u64, u32)>,
}

impl UserSteps {
    /// The part at the start, and the steps from there.
    pub(crate) fn new(curve: UserCurve, slice: Slice) -> (u32, Self) {
        let part = slice.share(curve.start);
        let mut steps = Self {
            curve,
            slice,
            stage: 0,
            step: 0,
            next: None,
        };
        steps.next = steps.find(part);
        (part, steps)
    }

    /// When the part changes next, and to what.
    pub(crate) fn next(&self) -> Option<(u64, u32)> {
        self.next
    }

    /// The next change is made.
    pub(crate) fn advance(&mut self) {
        if let Some((_, part)) = self.next {
            self.next = self.find(part);
        }
    }

    fn find(&mut self, part: u32) -> Option<(u64, u32)> {
        while let Some(stage) = self.curve.stages.get(self.stage) {
            // A stage without length is one step.
            let is_jump = stage.len_ns == 0;
            while self.step < stage.steps() {
                self.step = if is_jump {
                    stage.steps()
                } else {
                    self.step + 1
                };
                let now = self.slice.share(stage.total_after(self.step));
                if now != part {
                    return Some((stage.step_ns(self.step), now));
                }
            }
            self.stage += 1;
            self.step = 0;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::slice::tests::slices;
    use super::*;

    fn curve(start: u32, stages: &[(u64, u32)]) -> UserCurve {
        let stages: Vec<UserStage> = stages
            .iter()
            .map(|&(ms, target)| UserStage {
                duration: Duration::from_millis(ms),
                target,
            })
            .collect();
        UserCurve::new(start, &stages)
    }

    #[test]
    fn a_user_comes_when_the_line_has_reached_it_and_goes_when_it_has_left() {
        let curve = curve(0, &[(10_000, 10), (5_000, 10), (10_000, 0)]);
        for (ms, total) in [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (9_999, 9),
            (10_000, 10),
            (15_999, 10),
            (16_000, 9),
            (24_999, 1),
            (25_000, 0),
            (99_000, 0),
        ] {
            assert_eq!(curve.total_at(ms * 1_000_000), total, "{ms} ms");
        }
        assert_eq!(curve.end_ns(), 25_000_000_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_parts_add_up_to_the_total_at_every_instant(
            start in 0_u32..50,
            stages in proptest::collection::vec((prop_oneof![Just(0_u64), 0_u64..5_000], 0_u32..200), 1..6),
            shards in proptest::collection::vec(1_u32..5, 1..6),
        ) {
            let curve = curve(start, &stages);
            // All shards' changes by time.
            let mut parts = Vec::new();
            let mut changes = Vec::new();
            for (index, slice) in slices(&shards).into_iter().enumerate() {
                let (part, mut steps) = UserSteps::new(curve.clone(), slice);
                parts.push(part);
                let mut last_ns = 0;
                while let Some((at_ns, part)) = steps.next() {
                    prop_assert!(at_ns >= last_ns);
                    last_ns = at_ns;
                    changes.push((at_ns, index, part));
                    steps.advance();
                }
            }
            changes.sort_by_key(|change| change.0);
            let mut changes = changes.into_iter().peekable();
            prop_assert_eq!(parts.iter().sum::<u32>(), start);
            while let Some((at_ns, index, part)) = changes.next() {
                parts[index] = part;
                if changes.peek().is_none_or(|next| next.0 > at_ns) {
                    prop_assert_eq!(parts.iter().sum::<u32>(), curve.total_at(at_ns), "at {}", at_ns);
                }
                let next_ns = changes.peek().map_or(curve.end_ns(), |next| next.0);
                if next_ns > at_ns + 1 {
                    prop_assert_eq!(curve.total_at(at_ns), curve.total_at(next_ns - 1));
                }
            }
        }
    }
}
