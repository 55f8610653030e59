//! The steps of a flow: names become variables, groups become tags of their requests.

use std::collections::BTreeSet;
use std::time::Duration;

use super::builder::Builder;
use super::request::Defaults;
use super::{Compiler, MAX_TEMPLATE_BYTES, index};
use crate::diagnostic::shown;
use crate::plan::{Items as PlanItems, Pair, Rendezvous, Step as PlanStep, Text, Think};
use crate::program::{
    Escape, Items, Pause, RendezvousId, RequestId, ScenarioId, Step, Template, VarId,
};

/// The most branches of a parallel step.
const MAX_BRANCHES: usize = 64;
/// The default of `rendezvous.timeout`.
const RENDEZVOUS_TIMEOUT: Duration = Duration::from_secs(30);

/// How many of these steps can run at once.
pub(super) fn lanes(steps: &[Step]) -> u64 {
    let most = |lists: &mut dyn Iterator<Item = &[Step]>| lists.map(lanes).max().unwrap_or(1);
    let of = |step: &Step| match step {
        Step::Request(_) | Step::Think(_) | Step::Rendezvous { .. } => 1,
        Step::Repeat { steps, .. }
        | Step::During { steps, .. }
        | Step::ForEach { steps, .. }
        | Step::Retry { steps, .. } => lanes(steps),
        Step::Random { choices, .. } => most(&mut choices.iter().map(|(_, steps)| &steps[..])),
        Step::Switch { cases, default, .. } => {
            let cases = cases.iter().map(|(_, steps)| &steps[..]);
            most(&mut cases.chain([&default[..]]))
        }
        // What begins them keeps its own connections meanwhile.
        Step::Parallel { branches } => branches
            .iter()
            .fold(1, |sum, steps| lanes(steps).saturating_add(sum)),
    };
    steps.iter().map(of).max().unwrap_or(1)
}

/// The meeting places in these steps.
pub(super) fn meetings(steps: &[Step], out: &mut BTreeSet<RendezvousId>) {
    for step in steps {
        match step {
            Step::Request(_) | Step::Think(_) => {}
            Step::Rendezvous { id, .. } => drop(out.insert(*id)),
            Step::Repeat { steps, .. }
            | Step::During { steps, .. }
            | Step::ForEach { steps, .. }
            | Step::Retry { steps, .. } => meetings(steps, out),
            Step::Random { choices, .. } => choices.iter().for_each(|(_, s)| meetings(s, out)),
            Step::Switch { cases, default, .. } => {
                cases.iter().for_each(|(_, s)| meetings(s, out));
                meetings(default, out);
            }
            Step::Parallel { branches } => branches.iter().for_each(|s| meetings(s, out)),
        }
    }
}

/// What holds for every step of a scenario.
pub(super) struct Context<'c> {
    pub(super) id: ScenarioId,
    pub(super) defaults: &'c Defaults,
    pub(super) tags: &'c [Pair],
    /// After every request.
    pub(super) pause: Option<Pause>,
}

impl<'a> Compiler<'a> {
    /// Compiles steps; those with errors are left out.
    pub(super) fn steps(&mut self, steps: &'a [PlanStep], context: &Context<'_>) -> Vec<Step> {
        let mut compiled = Vec::new();
        for step in steps {
            // Past the bound every further request would only cost time.
            if self.template_bytes > MAX_TEMPLATE_BYTES {
                break;
            }
            self.step(step, context, &mut compiled);
        }
        compiled
    }

    fn step(&mut self, step: &'a PlanStep, context: &Context<'_>, out: &mut Vec<Step>) {
        match step {
            PlanStep::Request(request) => {
                let request = self.request(context, request);
                let Some((request, id)) = request.zip(index(self.requests.len())) else {
                    return;
                };
                self.requests.push(request);
                out.push(Step::Request(RequestId(id)));
                out.extend(context.pause.map(Step::Think));
            }
            PlanStep::Think(think) => out.extend(self.pause(think).map(Step::Think)),
            PlanStep::Group { name, steps } => {
                let name = name.as_ref().and_then(|name| self.name(name));
                let outer = self.group.len();
                self.group.push_str("::");
                self.group.push_str(name.as_deref().unwrap_or_default());
                let steps = self.steps(steps, context);
                self.group.truncate(outer);
                out.extend(steps);
            }
            PlanStep::Repeat {
                times,
                counter,
                steps,
            } => {
                let counter = counter.as_ref().and_then(|name| self.named(name));
                let steps = self.steps(steps, context);
                out.push(Step::Repeat {
                    times: *times,
                    counter,
                    steps,
                });
            }
            PlanStep::During {
                duration,
                counter,
                steps,
            } => {
                let counter = self.named_or(counter.as_ref(), "index");
                let steps = self.steps(steps, context);
                out.extend(counter.map(|counter| Step::During {
                    duration: *duration,
                    counter,
                    steps,
                }));
            }
            PlanStep::ForEach {
                items,
                var,
                index,
                steps,
            } => {
                let items = self.items(items);
                let var = self.named_or(var.as_ref(), "item");
                let index = self.named_or(index.as_ref(), "index");
                let steps = self.steps(steps, context);
                out.extend((|| {
                    Some(Step::ForEach {
                        items: items?,
                        var: var?,
                        index: index?,
                        steps,
                    })
                })());
            }
            PlanStep::Random {
                strategy,
                choices,
                at,
            } => {
                if choices.iter().map(|(weight, _)| weight).sum::<f64>() <= 0.0 {
                    let message = "no choice has a weight above 0".to_owned();
                    let help = "leave `weight` out for 1".to_owned();
                    self.report.error(at, message, Some(help));
                }
                let id = self.randoms;
                self.randoms += 1;
                let choices = choices
                    .iter()
                    .map(|(weight, steps)| (*weight, self.steps(steps, context)))
                    .collect();
                out.push(Step::Random {
                    id,
                    strategy: *strategy,
                    choices,
                });
            }
            PlanStep::Switch {
                value,
                cases,
                default,
            } => {
                let value = self.template(value);
                let cases = cases
                    .iter()
                    .map(|(case, steps)| (case.as_bytes().into(), self.steps(steps, context)))
                    .collect();
                let default = self.steps(default, context);
                out.extend(value.map(|value| Step::Switch {
                    value,
                    cases,
                    default,
                }));
            }
            PlanStep::Parallel { branches, at } => {
                let branches: Vec<_> = branches
                    .iter()
                    .map(|steps| self.steps(steps, context))
                    .collect();
                if branches.len() > MAX_BRANCHES {
                    let message = format!(
                        "{} branches at once; there may be {MAX_BRANCHES}",
                        branches.len()
                    );
                    let help = "`foreach` does the same for many values, one after the other";
                    self.report.error(at, message, Some(help.to_owned()));
                }
                out.push(Step::Parallel { branches });
            }
            PlanStep::Rendezvous(rendezvous) => {
                let id = self.rendezvous(rendezvous);
                out.extend(id.map(|id| Step::Rendezvous {
                    id,
                    timeout: rendezvous.timeout.unwrap_or(RENDEZVOUS_TIMEOUT),
                }));
            }
            PlanStep::Retry {
                times,
                backoff,
                steps,
            } => {
                let steps = self.steps(steps, context);
                out.push(Step::Retry {
                    times: *times,
                    backoff: *backoff,
                    steps,
                });
            }
        }
    }

    /// The meeting place of this name.
    fn rendezvous(&mut self, of: &Rendezvous) -> Option<RendezvousId> {
        let known = self
            .rendezvous
            .iter()
            .position(|(known, _)| known.name == of.name.text);
        if let Some(at) = known {
            let (known, first) = &self.rendezvous[at];
            if known.users != of.users {
                let message = format!(
                    "the rendezvous `{}` has {} users here and {} at line {}",
                    shown(&of.name.text),
                    of.users,
                    known.users,
                    first.pos.line
                );
                let help = "steps of one name are one meeting place; give this one another name, or as many users";
                self.report
                    .error(&of.name.at, message, Some(help.to_owned()));
                return None;
            }
            return index(at).map(RendezvousId);
        }
        let id = index(self.rendezvous.len()).map(RendezvousId)?;
        let (name, users) = (of.name.text.clone(), of.users);
        let place = crate::program::Rendezvous { name, users };
        self.rendezvous.push((place, of.name.at.clone()));
        Some(id)
    }

    /// A pause, if it makes sense.
    pub(super) fn pause(&mut self, think: &Think) -> Option<Pause> {
        if let Pause::Uniform { min, max } = think.pause
            && min > max
        {
            let message = format!("`min` ({min:?}) is more than `max` ({max:?})");
            self.report.error(&think.at, message, None);
            return None;
        }
        Some(think.pause)
    }

    /// The slot of a variable that a step sets.
    fn named(&mut self, name: &Text) -> Option<VarId> {
        self.check_var_name(name);
        self.var(&name.text)
    }

    fn named_or(&mut self, name: Option<&Text>, default: &str) -> Option<VarId> {
        match name {
            Some(name) => self.named(name),
            None => self.var(default),
        }
    }

    fn template(&mut self, text: &Text) -> Option<Template> {
        let mut template = Builder::default();
        template.fragments(&self.fold(text)?, Escape::None);
        Some(template.finish())
    }

    fn items(&mut self, items: &PlanItems) -> Option<Items> {
        match items {
            PlanItems::List(items) => {
                // Every one is compiled before the first `?`, so that every error is found.
                let items: Vec<_> = items
                    .iter()
                    .map(|(item, is_json)| Some((self.template(item)?, *is_json)))
                    .collect();
                Some(Items::List(items.into_iter().collect::<Option<_>>()?))
            }
            PlanItems::Json(text) => {
                let template = self.template(text)?;
                let is_constant = template
                    .pieces
                    .iter()
                    .all(|piece| matches!(piece, crate::program::Piece::Literal(_)));
                let is_array = || {
                    matches!(
                        serde_json::from_slice(&bytes(&template)),
                        Ok(serde_json::Value::Array(_))
                    )
                };
                if is_constant && !is_array() {
                    let message =
                        format!("`{}` is neither a list nor a JSON array", shown(&text.text));
                    let help = "write a list, or a placeholder that yields a JSON array".to_owned();
                    self.report.error(&text.at, message, Some(help));
                    return None;
                }
                Some(Items::Json(template))
            }
        }
    }
}

/// The literal bytes of a template.
fn bytes(template: &Template) -> Vec<u8> {
    let literals = template.pieces.iter().map(|piece| match piece {
        crate::program::Piece::Literal(bytes) => bytes.as_ref(),
        _ => &[],
    });
    literals.collect::<Vec<_>>().concat()
}
