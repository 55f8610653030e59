//! One iteration: the flow's steps in order, loops and choices with them.
//!
//! Steps nest; the interpreter does not. It keeps a stack of frames, because a future that awaits itself would have to
//! allocate for every step.

use std::rc::Rc;
use std::time::Duration;

use loadr_config::{Items, Pause, Program, RequestId, Step, Strategy, Template, VarId};
use smallvec::SmallVec;

use super::rng::Rng;
use super::vu::{Next, Vu};
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::http::{RenderError, render};
use crate::schedule::nanos;

/// So many steps may follow each other without a wait; then other users get their turn.
pub(super) const STEPS_AT_ONCE: u32 = 1000;

/// A list of steps being worked off.
pub(super) struct Frame<'p> {
    steps: &'p [Step],
    /// The step that comes next.
    at: usize,
    again: Again,
}

/// The lists that are being worked off, each within the one before it. Most flows are flat.
pub(super) type Frames<'p> = SmallVec<[Frame<'p>; 1]>;

/// Whether a list of steps is begun again at its end.
enum Again {
    No,
    Repeat {
        round: u64,
        times: u64,
        counter: Option<VarId>,
    },
    During {
        round: u64,
        until_ns: u64,
        counter: VarId,
    },
    ForEach {
        items: Box<std::vec::IntoIter<Item>>,
        round: u64,
        var: VarId,
        index: VarId,
    },
    Retry {
        left: u64,
        backoff: Duration,
        /// Requests that had failed when the attempt began.
        failed: u64,
    },
}

/// What follows a round of steps.
enum Round {
    None,
    Now,
    After(Duration),
}

impl<'p> Frame<'p> {
    /// The steps of an iteration.
    pub(super) fn of(flow: &'p [Step]) -> Self {
        Self::new(flow, Again::No)
    }

    fn new(steps: &'p [Step], again: Again) -> Self {
        Self {
            steps,
            at: 0,
            again,
        }
    }
}

impl Vu {
    /// Runs the flow once. `frames` is only lent, for its memory.
    pub(super) fn iterate<'p>(
        &mut self,
        flow: &'p [Step],
        frames: &mut Frames<'p>,
        began_ns: u64,
    ) -> impl Future<Output = Next> {
        frames.clear();
        frames.push(Frame::of(flow));
        // The first request starts with the iteration; every other one looks at the clock.
        let mut start_ns = Some(began_ns);
        let mut at_once = 0;
        async move {
            while let Some(frame) = frames.last_mut() {
                at_once += 1;
                if at_once > STEPS_AT_ONCE {
                    at_once = 0;
                    if self.sleep(now_ns()).await == Next::Leave {
                        return Next::Leave;
                    }
                }
                let Some(step) = frame.steps.get(frame.at) else {
                    match self.again(frame) {
                        Round::Now => {}
                        Round::After(pause) => {
                            if self.sleep(now_ns().saturating_add(nanos(pause))).await
                                == Next::Leave
                            {
                                return Next::Leave;
                            }
                        }
                        Round::None => drop(frames.pop()),
                    }
                    continue;
                };
                frame.at += 1;
                let next = match step {
                    Step::Request(id) => {
                        at_once = 0;
                        let start_ns = start_ns.take().unwrap_or_else(now_ns);
                        self.request(*id, start_ns, None).await
                    }
                    Step::Think(pause) => {
                        at_once = 0;
                        start_ns = None;
                        let ns = pause_ns(*pause, &mut self.shard.tools.borrow_mut().rng);
                        self.sleep(now_ns().saturating_add(ns)).await
                    }
                    Step::Parallel { branches } => {
                        at_once = 0;
                        start_ns = None;
                        self.parallel(branches).await
                    }
                    Step::Rendezvous { id, timeout } => {
                        start_ns = None;
                        self.rendezvous(*id, *timeout).await
                    }
                    step => {
                        frames.extend(self.entered(step));
                        if self.own.vars.borrow().has_ended() {
                            Next::End
                        } else {
                            Next::Step
                        }
                    }
                };
                if next != Next::Step {
                    return next;
                }
            }
            Next::Step
        }
    }

    /// Goes to the next request of a flow in which nothing waits; `None` at its end.
    pub(super) fn next_request(&mut self, frames: &mut Frames<'_>) -> Option<RequestId> {
        loop {
            let frame = frames.last_mut()?;
            let Some(step) = frame.steps.get(frame.at) else {
                // Nothing that pauses between its rounds is in such a flow.
                if matches!(self.again(frame), Round::None) {
                    frames.pop();
                }
                continue;
            };
            frame.at += 1;
            match step {
                Step::Request(id) => return Some(*id),
                step => frames.extend(self.entered(step)),
            }
        }
    }

    /// The frame of a step that has steps in it, its first round begun; `None` when there is nothing to do.
    fn entered<'p>(&mut self, step: &'p Step) -> Option<Frame<'p>> {
        let frame = match step {
            Step::Request(_) | Step::Think(_) | Step::Parallel { .. } | Step::Rendezvous { .. } => {
                return None;
            }
            Step::Repeat {
                times,
                counter,
                steps,
            } => {
                self.count(*counter, 0);
                Frame::new(
                    steps,
                    Again::Repeat {
                        round: 0,
                        times: *times,
                        counter: *counter,
                    },
                )
            }
            Step::During {
                duration,
                counter,
                steps,
            } => {
                self.count(Some(*counter), 0);
                let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                Frame::new(
                    steps,
                    Again::During {
                        round: 0,
                        until_ns: now_ns().saturating_add(ns),
                        counter: *counter,
                    },
                )
            }
            Step::ForEach {
                items,
                var,
                index,
                steps,
            } => {
                let mut items = Box::new(self.items(items).into_iter());
                let item = items.next()?;
                self.own
                    .vars
                    .borrow_mut()
                    .set(*var, &item.bytes, item.is_json);
                self.count(Some(*index), 0);
                Frame::new(
                    steps,
                    Again::ForEach {
                        items,
                        round: 0,
                        var: *var,
                        index: *index,
                    },
                )
            }
            Step::Random {
                id,
                strategy,
                choices,
            } => {
                let shard = Rc::clone(&self.shard);
                let rng = &mut shard.tools.borrow_mut().rng;
                let turn = &mut self.turns[*id as usize];
                Frame::new(&choices[choose(*strategy, choices, turn, rng)].1, Again::No)
            }
            Step::Switch {
                value,
                cases,
                default,
            } => {
                let value = self.value(value);
                let case = cases
                    .iter()
                    .find(|(case, _)| value.as_ref().is_some_and(|value| **case == value[..]));
                Frame::new(case.map_or(default, |(_, steps)| steps), Again::No)
            }
            Step::Retry {
                times,
                backoff,
                steps,
            } => Frame::new(
                steps,
                Again::Retry {
                    left: times - 1,
                    backoff: *backoff,
                    failed: self.failed,
                },
            ),
        };
        Some(frame)
    }

    /// The end of a frame's steps: its next round is begun, if there is one.
    fn again(&mut self, frame: &mut Frame<'_>) -> Round {
        frame.at = 0;
        match &mut frame.again {
            Again::No => Round::None,
            Again::Repeat {
                round,
                times,
                counter,
            } => {
                *round += 1;
                if *round >= *times {
                    return Round::None;
                }
                self.count(*counter, *round);
                Round::Now
            }
            Again::During {
                round,
                until_ns,
                counter,
            } => {
                *round += 1;
                if now_ns() >= *until_ns {
                    return Round::None;
                }
                self.count(Some(*counter), *round);
                Round::Now
            }
            Again::ForEach {
                items,
                round,
                var,
                index,
            } => {
                let Some(item) = items.next() else {
                    return Round::None;
                };
                *round += 1;
                self.own
                    .vars
                    .borrow_mut()
                    .set(*var, &item.bytes, item.is_json);
                self.count(Some(*index), *round);
                Round::Now
            }
            Again::Retry {
                left,
                backoff,
                failed,
            } => {
                if *failed == self.failed || *left == 0 {
                    return Round::None;
                }
                *left -= 1;
                *failed = self.failed;
                if backoff.is_zero() {
                    return Round::Now;
                }
                Round::After(*backoff)
            }
        }
    }

    /// Sets a loop's counter.
    fn count(&mut self, counter: Option<VarId>, round: u64) {
        if let Some(counter) = counter {
            self.own.vars.borrow_mut().set_number(counter, round);
        }
    }

    /// A rendered value; `None`, and counted as an error, when it needs a variable that is not set.
    fn value(&self, template: &Template) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        match render(template, &*self.own.vars.borrow(), 0, &mut value) {
            Ok(()) => Some(value),
            Err(RenderError::NoRow(_)) => None,
            Err(error) => {
                let program: &Program = &self.shard.program;
                let text = || error.text(program);
                self.shard.record.borrow_mut().error(error.kind(), text);
                None
            }
        }
    }

    fn items(&self, items: &Items) -> Vec<Item> {
        match items {
            Items::List(items) => items
                .iter()
                .filter_map(|(item, is_json)| {
                    Some(Item {
                        bytes: self.value(item)?,
                        is_json: *is_json,
                    })
                })
                .collect(),
            Items::Json(template) => {
                let Some(value) = self.value(template) else {
                    return Vec::new();
                };
                match serde_json::from_slice(&value) {
                    Ok(serde_json::Value::Array(items)) => items
                        .into_iter()
                        .map(|item| match item {
                            serde_json::Value::String(text) => Item {
                                bytes: text.into_bytes(),
                                is_json: false,
                            },
                            other => Item {
                                bytes: other.to_string().into_bytes(),
                                is_json: true,
                            },
                        })
                        .collect(),
                    _ => {
                        let text = || {
                            let start = String::from_utf8_lossy(&value[..value.len().min(80)]);
                            format!("foreach: not a JSON array: {start}")
                        };
                        self.shard.record.borrow_mut().error(ErrorKind::Flow, text);
                        Vec::new()
                    }
                }
            }
        }
    }
}

/// What one round of a `foreach` is about.
struct Item {
    bytes: Vec<u8>,
    /// Whether it is a JSON value other than text.
    is_json: bool,
}

fn choose(
    strategy: Strategy,
    choices: &[(f64, Vec<Step>)],
    turn: &mut u32,
    rng: &mut Rng,
) -> usize {
    match strategy {
        Strategy::Uniform => rng.below(choices.len() as u64) as usize,
        Strategy::RoundRobin => {
            let at = *turn as usize % choices.len();
            *turn = turn.wrapping_add(1) % choices.len() as u32;
            at
        }
        Strategy::Weighted => {
            let mut left = rng.unit() * choices.iter().map(|(weight, _)| weight).sum::<f64>();
            let chosen = choices.iter().position(|(weight, _)| {
                left -= weight;
                left < 0.0
            });
            // Rounding can leave a hair's breadth at the end: the last one that can be chosen has it.
            let last = || choices.iter().rposition(|(weight, _)| *weight > 0.0);
            chosen.or_else(last).unwrap_or(0)
        }
    }
}

fn pause_ns(pause: Pause, rng: &mut Rng) -> u64 {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    match pause {
        Pause::Constant(duration) => ns(duration),
        Pause::Uniform { min, max } => ns(min) + rng.below(ns(max) - ns(min) + 1),
        Pause::Gaussian { mean, std_dev } => {
            // Box and Muller (1958). The logarithm's argument is above zero.
            let (u, v) = (1.0 - rng.unit(), rng.unit());
            let z = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            // Casting makes what is below zero zero.
            (ns(mean) as f64 + z * ns(std_dev) as f64) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(strategy: Strategy, weights: &[f64]) -> Vec<u32> {
        let choices: Vec<(f64, Vec<Step>)> = weights.iter().map(|w| (*w, Vec::new())).collect();
        let (mut seen, mut turn, mut rng) = (vec![0; weights.len()], 1, Rng::new(5));
        for _ in 0..6000 {
            seen[choose(strategy, &choices, &mut turn, &mut rng)] += 1;
        }
        seen
    }

    #[test]
    fn choices_come_as_often_as_the_strategy_says() {
        let weighted = chosen(Strategy::Weighted, &[1.0, 0.0, 5.0]);
        assert!(
            (900..1100).contains(&weighted[0]) && weighted[1] == 0,
            "{weighted:?}"
        );
        let uniform = chosen(Strategy::Uniform, &[9.0, 1.0, 1.0]);
        assert!(
            uniform.iter().all(|n| (1850..2150).contains(n)),
            "{uniform:?}"
        );
        assert_eq!(chosen(Strategy::RoundRobin, &[9.0, 1.0, 1.0]), [2000; 3]);
    }

    #[test]
    fn pauses_have_the_distribution_they_say() {
        let (ms, mut rng) = (Duration::from_millis, Rng::new(2));
        let mut mean = |pause| {
            (0..20_000)
                .map(|_| pause_ns(pause, &mut rng) as f64 / 1e6)
                .sum::<f64>()
                / 20_000.0
        };
        assert!((mean(Pause::Constant(ms(7))) - 7.0).abs() < 1e-9);
        let uniform = Pause::Uniform {
            min: ms(10),
            max: ms(30),
        };
        assert!((mean(uniform) - 20.0).abs() < 0.2);
        let gaussian = Pause::Gaussian {
            mean: ms(50),
            std_dev: ms(10),
        };
        assert!((mean(gaussian) - 50.0).abs() < 0.3);
        // Half of the values below zero, cut: the mean of the positive half is sigma / sqrt(2 pi).
        let cut = Pause::Gaussian {
            mean: ms(0),
            std_dev: ms(10),
        };
        assert!((mean(cut) - 3.99).abs() < 0.2);
    }
}
