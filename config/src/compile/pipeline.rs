//! Which scenarios are pipelined: those in which nothing waits for a response.

use super::Compiler;
use crate::diagnostic::shown;
use crate::plan::Scenario as PlanScenario;
use crate::program::{
    Condition, Executor, Extract, Items, OnFailure, OriginId, Piece, Refine, Request, Source, Step,
    Template, Transform, VarId,
};

/// Why a scenario is not pipelined, and what would have to change.
type Hindrance = (String, &'static str);

impl Compiler<'_> {
    /// How many requests the scenario's users may have in flight. What stands in the way of more than one is a warning,
    /// because the scenario runs all the same.
    pub(super) fn pipeline(
        &mut self,
        scenario: &PlanScenario,
        executor: &Executor,
        flow: &[Step],
    ) -> u32 {
        let Some((depth, at)) = self.plan.engine.pipeline.as_ref().filter(|(n, _)| *n > 1) else {
            return 1;
        };
        let hindrance = pace(scenario, executor).or_else(|| {
            let mut look = Look {
                requests: &self.requests,
                names: &self.vars,
                read: Vec::new(),
                set: Vec::new(),
                origin: None,
            };
            look.steps(flow).or_else(|| look.values())
        });
        let Some((why, help)) = hindrance else {
            return *depth;
        };
        let name = shown(&scenario.name);
        let message = format!("the scenario `{name}` is not pipelined: {why}");
        self.report.warning(at, message, Some(help.to_owned()));
        1
    }
}

/// Limits on how often something begins.
fn pace(scenario: &PlanScenario, executor: &Executor) -> Option<Hindrance> {
    if executor.is_open() {
        let why = "its iterations begin when they are due or asked for, on a user who is free";
        return Some((why.to_owned(), "pipelining is for the closed models"));
    }
    let limit = if scenario.pacing.is_some() {
        "pacing"
    } else if scenario.throttle.is_some() {
        "throttle"
    } else {
        return None;
    };
    let why = format!("it has a `{limit}`");
    Some((
        why,
        "a limited rate needs no requests in flight ahead of it",
    ))
}

/// What was seen of a flow so far.
struct Look<'p> {
    requests: &'p [Request],
    names: &'p [String],
    /// Variables that requests, loops and choices read, and that responses set.
    read: Vec<VarId>,
    set: Vec<VarId>,
    origin: Option<OriginId>,
}

impl Look<'_> {
    fn steps(&mut self, steps: &[Step]) -> Option<Hindrance> {
        steps.iter().find_map(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Option<Hindrance> {
        let waits = |what: &str, why: &str| {
            let help = "take the step out of the flow, or run it in a scenario of its own";
            Some((format!("`{what}` {why}"), help))
        };
        match step {
            Step::Request(id) => self.request(&self.requests[id.at()]),
            Step::Think(_) => waits("think_time", "begins when a response has come"),
            Step::Retry { .. } => waits("retry", "depends on whether its requests fail"),
            Step::Parallel { .. } => waits("parallel", "has connections of its own"),
            Step::Rendezvous { .. } => waits("rendezvous", "waits for other users"),
            Step::Repeat { steps, .. } | Step::During { steps, .. } => self.steps(steps),
            Step::ForEach { items, steps, .. } => {
                match items {
                    Items::List(items) => items.iter().for_each(|(item, _)| self.reads(item)),
                    Items::Json(items) => self.reads(items),
                }
                self.steps(steps)
            }
            Step::Random { choices, .. } => choices.iter().find_map(|(_, s)| self.steps(s)),
            Step::Switch {
                value,
                cases,
                default,
            } => {
                self.reads(value);
                let found = cases.iter().find_map(|(_, steps)| self.steps(steps));
                found.or_else(|| self.steps(default))
            }
        }
    }

    fn request(&mut self, request: &Request) -> Option<Hindrance> {
        let name = shown(&request.name);
        if *self.origin.get_or_insert(request.origin) != request.origin {
            let why = format!("`{name}` goes to another origin than the requests before it");
            return Some((why, "give each origin a scenario of its own"));
        }
        if !request.http.keep_alive {
            let why = "`keep_alive` is off";
            return Some((why.to_owned(), "pipelining needs connections that stay"));
        }
        if request.http.caches {
            let why = "`cache` is on: a response decides whether a later request is sent";
            return Some((why.to_owned(), "pipelining is for users without a cache"));
        }
        self.reads(&request.head);
        request.body.iter().for_each(|body| self.reads(body));
        self.set.extend(request.extracts.iter().map(|e| e.var));
        let aborts = |on_failure| on_failure == OnFailure::AbortIteration;
        let checks = request.extracts.iter().filter_map(value_check);
        if request.asserts.iter().any(|a| aborts(a.on_failure))
            || checks.clone().any(|check| aborts(check.on_failure))
        {
            let why = format!("`{name}` can end its iteration (`abort_iteration`)");
            return Some((why, "`continue`, `abort_scenario` and `abort_test` work"));
        }
        let conditions = request.asserts.iter().map(|a| &a.condition);
        let conditions = conditions.chain(request.checks.iter().map(|c| &c.condition));
        let templates = conditions.flat_map(condition_templates);
        let of_chains = request.extracts.iter().flat_map(chain_templates);
        let moves_on = |source| {
            matches!(
                source,
                Source::Var(_) | Source::Iteration | Source::Data { .. }
            )
        };
        if templates.chain(of_chains).flat_map(sources).any(moves_on) {
            let why = format!(
                "a condition or chain of `{name}` reads a value that is another one when its response comes"
            );
            return Some((why, "compare with constants or `${vu}`"));
        }
        None
    }

    fn reads(&mut self, template: &Template) {
        self.read.extend(sources(template).filter_map(|s| match s {
            Source::Var(var) => Some(var),
            _ => None,
        }));
    }

    /// Whether a request needs what a response gives.
    fn values(&self) -> Option<Hindrance> {
        let var = self.read.iter().find(|var| self.set.contains(var))?;
        let name = shown(&self.names[var.at()]);
        let why = format!("a step reads `${{{name}}}`, which a response sets");
        Some((why, "requests that need a response are sent after it"))
    }
}

fn sources(template: &Template) -> impl Iterator<Item = Source> + '_ {
    template.pieces.iter().filter_map(|piece| match piece {
        Piece::Value { source, .. } => Some(*source),
        _ => None,
    })
}

fn value_check(extract: &Extract) -> Option<&crate::program::ValueCheck> {
    extract.refine.as_ref()?.check.as_ref()
}

fn condition_templates(condition: &Condition) -> Vec<&Template> {
    match condition {
        Condition::BodyContains { value, .. } => vec![value],
        Condition::JsonPath { wants, .. }
        | Condition::XPath { wants, .. }
        | Condition::Header { wants, .. } => wants.equals.iter().chain(&wants.contains).collect(),
        Condition::StatusIn(_)
        | Condition::StatusMatches(_)
        | Condition::BodyMatches { .. }
        | Condition::Plugin(_)
        | Condition::DurationMax(_)
        | Condition::Size { .. } => Vec::new(),
    }
}

fn chain_templates(extract: &Extract) -> Vec<&Template> {
    let Some(Refine {
        transforms, check, ..
    }) = extract.refine.as_deref()
    else {
        return Vec::new();
    };
    let added = transforms.iter().filter_map(|transform| match transform {
        Transform::Append(text) | Transform::Prepend(text) => Some(text),
        _ => None,
    });
    added
        .chain(check.iter().filter_map(|check| check.equals.as_ref()))
        .collect()
}
