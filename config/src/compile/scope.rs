//! What placeholders stand for: constants are folded into the text around them, the rest become holes.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use serde_json::Value as Json;

use super::builder::{Fragment, push_text};
use super::made::made;
use super::{Compiler, MAX_TEMPLATE_BYTES, index};
use crate::diagnostic::{did_you_mean, shown};
use crate::node::At;
use crate::plan::{Pair, Scenario, Step, Text};
use crate::program::{DataId, Made, Source, VarId};
use crate::template::{Part, parse};

/// A value of `variables`.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    /// What it is in text.
    pub(super) text: String,
    /// What it is where a JSON value stands.
    pub(super) json: Json,
}

/// What can be named where the compiler is.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    scenario: &'a str,
    /// Variables that the scenario's steps set.
    set: HashSet<&'a str>,
    /// Sources that the scenario's steps take rows of.
    pub(super) data: BTreeSet<DataId>,
}

/// What one placeholder stands for.
enum Meaning {
    Constant(Constant),
    Secret(Rc<str>),
    Value(Source),
}

/// Names that mean something of their own.
const RESERVED: [&str; 8] = [
    "vu",
    "iteration",
    "scenario",
    "uuid",
    "counter",
    "random",
    "now",
    "js",
];

impl<'a> Compiler<'a> {
    /// Makes the scenario's names the ones that placeholders can use.
    pub(super) fn enter(&mut self, scenario: &'a Scenario) {
        self.scope = Scope {
            scenario: &scenario.name,
            set: HashSet::new(),
            data: BTreeSet::new(),
        };
        self.enter_steps(&scenario.flow);
    }

    /// What the steps set, wherever they are nested: a variable outlives its step.
    fn enter_steps(&mut self, steps: &'a [Step]) {
        let named = |name: &'a Option<Text>, default: &'a str| {
            name.as_ref().map_or(default, |name| name.text.as_str())
        };
        for step in steps {
            match step {
                Step::Request(request) => {
                    for extract in &request.extracts {
                        self.scope.set.insert(&extract.name.text);
                    }
                }
                Step::Repeat {
                    counter: Some(counter),
                    ..
                } => {
                    self.scope.set.insert(&counter.text);
                }
                Step::During { counter, .. } => {
                    self.scope.set.insert(named(counter, "index"));
                }
                Step::ForEach { var, index, .. } => {
                    self.scope.set.insert(named(var, "item"));
                    self.scope.set.insert(named(index, "index"));
                }
                _ => {}
            }
            for steps in step.inner() {
                self.enter_steps(steps);
            }
        }
    }

    pub(super) fn parts<'t>(&mut self, text: &'t Text) -> Option<Vec<Part<'t>>> {
        match parse(&text.text) {
            Ok(parts) => Some(parts),
            Err(open) => {
                let message = format!("`{}` has no closing `}}`", shown(open));
                let help = "write `$${` for a literal `${`".to_owned();
                self.report.error(&text.at, message, Some(help));
                None
            }
        }
    }

    pub(super) fn environment(&mut self, name: &str, at: &At) -> Option<String> {
        let value = self.options.environment.get(name);
        if value.is_none() {
            let message = format!("the environment variable `{}` is not set", shown(name));
            let names = self.options.environment.keys().map(String::as_str);
            let help = self
                .report
                .suggest(name, names)
                .unwrap_or_else(|| format!("set it before the run: `export {}=…`", shown(name)));
            self.report.error(at, message, Some(help));
        }
        value.cloned()
    }

    /// A variable of the environment that is no secret: what it is counts as part of the plan.
    pub(super) fn plain_environment(&mut self, name: &str, at: &At) -> Option<String> {
        let value = self.environment(name, at)?;
        self.inputs.variable(name, &value);
        Some(value)
    }

    /// The variable's slot; a new name gets a new one.
    pub(super) fn var(&mut self, name: &str) -> Option<VarId> {
        if let Some(id) = self.var_ids.get(name) {
            return Some(*id);
        }
        let id = VarId(index(self.vars.len())?);
        self.vars.push(name.to_owned());
        self.var_ids.insert(name.to_owned(), id);
        Some(id)
    }

    /// Whether an extractor may set a variable of this name.
    pub(super) fn check_var_name(&mut self, name: &Text) {
        let text = name.text.as_str();
        if RESERVED.contains(&text) {
            let message = format!(
                "`${{{text}}}` has a meaning of its own, so a variable cannot be called that"
            );
            self.report.error(&name.at, message, None);
        } else if !is_name(text) {
            let message = format!("`{}` is not a variable name", shown(text));
            let help = "letters, digits, `_` and `-` make one".to_owned();
            self.report.error(&name.at, message, Some(help));
        }
    }

    fn meaning(&mut self, slot: &str, at: &At) -> Option<Meaning> {
        let text = |text: String| Constant {
            json: Json::String(text.clone()),
            text,
        };
        match slot {
            "vu" => return Some(Meaning::Value(Source::Vu)),
            "iteration" => return Some(Meaning::Value(Source::Iteration)),
            "scenario" => return Some(Meaning::Constant(text(self.scope.scenario.to_owned()))),
            _ => {}
        }
        if let Some(name) = slot.strip_prefix("env.") {
            return self
                .plain_environment(name, at)
                .map(|value| Meaning::Constant(text(value)));
        }
        if let Some(name) = slot.strip_prefix("vars.") {
            if let Some(constant) = self.constants.get(name) {
                return Some(Meaning::Constant(constant.clone()));
            }
            let message = format!("there is no variable `{}`", shown(name));
            let help = self
                .report
                .suggest(name, self.constants.keys().copied())
                .unwrap_or_else(|| {
                    "constants are set under `variables` at the top level".to_owned()
                });
            self.report.error(at, message, Some(help));
            return None;
        }
        if let Some(name) = slot.strip_prefix("secrets.") {
            return self.secret(name, at).map(Meaning::Secret);
        }
        if let Some(name) = slot.strip_prefix("data.") {
            return self.cell(name, at).map(Meaning::Value);
        }
        if let Some(made) = made(slot) {
            return match made {
                Ok(made) => Some(Meaning::Value(Source::Made(made))),
                Err((message, help)) => {
                    self.report.error(at, message, Some(help));
                    None
                }
            };
        }
        if let Some(instead) = not_yet(slot) {
            let message = format!("`${{{}}}` is not available in this version", shown(slot));
            self.report.error(at, message, Some(instead.to_owned()));
            return None;
        }
        if !is_name(slot) {
            let (message, help) = not_a_name(slot);
            self.report.error(at, message, Some(help));
            return None;
        }
        if !self.scope.set.contains(slot) {
            let message = format!(
                "nothing in this scenario sets `{}`: every request that needs it will fail",
                shown(slot)
            );
            let set = self.scope.set.iter().copied();
            let help = if self.constants.contains_key(slot) {
                Some(format!("`${{vars.{slot}}}` is the constant"))
            } else {
                self.report.suggest(
                    slot,
                    set.chain(["vu", "iteration", "scenario", "uuid", "counter"]),
                )
            };
            self.report.warning(at, message, help);
        }
        Some(Meaning::Value(Source::Var(self.var(slot)?)))
    }

    /// Folds the constants of a text; adjacent text is merged. `None` when something in it is wrong, which has then
    /// been reported.
    pub(super) fn fold(&mut self, text: &Text) -> Option<Vec<Fragment>> {
        let mut fragments = Vec::new();
        let mut sound = true;
        for part in self.parts(text)? {
            match part {
                Part::Literal(literal) => push_text(&mut fragments, literal),
                Part::Slot(slot) => match self.meaning(slot, &text.at) {
                    Some(Meaning::Constant(constant)) => {
                        self.spend(constant.text.len(), &text.at)?;
                        push_text(&mut fragments, &constant.text);
                    }
                    Some(Meaning::Secret(secret)) => {
                        self.spend(secret.len(), &text.at)?;
                        fragments.push(Fragment::Secret(secret));
                    }
                    Some(Meaning::Value(source)) => fragments.push(Fragment::Value(source)),
                    None => sound = false,
                },
            }
        }
        self.spend(text.text.len(), &text.at)?;
        sound.then_some(fragments)
    }

    /// Counts template bytes; an error once there are too many.
    pub(super) fn spend(&mut self, bytes: usize, at: &At) -> Option<()> {
        self.template_bytes = self.template_bytes.saturating_add(bytes);
        if self.template_bytes > MAX_TEMPLATE_BYTES {
            let message = format!(
                "the plan's requests come to more than {} MiB",
                MAX_TEMPLATE_BYTES >> 20
            );
            // One of these says it all.
            if self.template_bytes != usize::MAX {
                self.report.error(
                    at,
                    message,
                    Some("large constants count as often as they are used".to_owned()),
                );
            }
            self.template_bytes = usize::MAX;
            return None;
        }
        Some(())
    }

    /// Counts what a request's defaults add to it.
    pub(super) fn spend_fragments(&mut self, fragments: &[Fragment], at: &At) -> Option<()> {
        let bytes = fragments.iter().map(|fragment| match fragment {
            Fragment::Text(text) => text.len(),
            Fragment::Secret(secret) => secret.len(),
            Fragment::Value(_) => 1,
        });
        self.spend(bytes.sum(), at)
    }

    /// A text that must be known before the run.
    pub(super) fn constant_text(&mut self, text: &Text, what: &str) -> Option<String> {
        match self.fold(text)?.as_slice() {
            [] => Some(String::new()),
            [Fragment::Text(constant)] => Some(constant.clone()),
            fragments if fragments.iter().any(|f| matches!(f, Fragment::Secret(_))) => {
                let message = format!("{what} cannot hold a secret: `{}`", shown(&text.text));
                let help = "it is shown in results and messages: `${env.NAME}` can be".to_owned();
                self.report.error(&text.at, message, Some(help));
                None
            }
            _ => {
                let message = format!(
                    "{what} cannot depend on what is known only in the run: `{}`",
                    shown(&text.text)
                );
                let help = "constants can be used: `${env.NAME}`, `${vars.name}`, `${scenario}`"
                    .to_owned();
                self.report.error(&text.at, message, Some(help));
                None
            }
        }
    }

    /// A name for results: constants are folded, other placeholders stay as they are written, because one series for
    /// each value would be without bound.
    pub(super) fn name(&mut self, text: &Text) -> Option<String> {
        let mut name = String::new();
        let mut sound = true;
        for part in self.parts(text)? {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Slot(slot) => match self.meaning(slot, &text.at) {
                    Some(Meaning::Constant(constant)) => {
                        self.spend(constant.text.len(), &text.at)?;
                        name.push_str(&constant.text);
                    }
                    Some(Meaning::Value(_) | Meaning::Secret(_)) => {
                        name.push_str("${");
                        name.push_str(slot);
                        name.push('}');
                    }
                    None => sound = false,
                },
            }
        }
        sound.then_some(name)
    }

    /// The value of a JSON leaf that is one placeholder and nothing else: it keeps its JSON type.
    pub(super) fn lone_json(&mut self, text: &Text) -> Option<Lone> {
        let parts = self.parts(text)?;
        let [Part::Slot(slot)] = parts.as_slice() else {
            return Some(Lone::No);
        };
        Some(match self.meaning(slot, &text.at)? {
            Meaning::Constant(constant) => {
                self.spend(constant.text.len(), &text.at)?;
                Lone::Constant(constant.json)
            }
            Meaning::Secret(_) => Lone::No,
            Meaning::Value(source) => match source {
                Source::Vu | Source::Iteration => Lone::Raw(source),
                Source::Var(_) => Lone::Typed(source),
                Source::Data { source: id, .. } if self.has_types(id) => Lone::Typed(source),
                Source::Made(Made::Int { .. } | Made::Unix | Made::UnixMs | Made::Counter) => {
                    Lone::Raw(source)
                }
                Source::Data { .. } | Source::Made(_) => Lone::No,
            },
        })
    }

    /// Whether a source's cells can be something else than text.
    fn has_types(&self, source: DataId) -> bool {
        let source = self.sources.get(source.at());
        source.is_some_and(|source| !source.table.is_text())
    }

    /// Pairs with their values folded; those with errors are left out.
    pub(super) fn fold_pairs(&mut self, pairs: &[Pair]) -> Vec<(Vec<Fragment>, Vec<Fragment>)> {
        let mut folded = Vec::new();
        for pair in pairs {
            let name = self.fold(&pair.name);
            if let (Some(name), Some(value)) = (name, self.fold(&pair.value)) {
                folded.push((name, value));
            }
        }
        folded
    }
}

/// What a JSON text leaf is.
pub(super) enum Lone {
    /// Text with or without placeholders in it.
    No,
    /// A value that is JSON as it is.
    Raw(Source),
    /// A value that knows what it is.
    Typed(Source),
    Constant(Json),
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

/// What works instead of a placeholder that does not exist yet.
fn not_yet(slot: &str) -> Option<&'static str> {
    let head = slot.split(['.', ':', '(']).next().unwrap_or_default();
    (head == "js").then_some("there is no script engine; a plugin computes on responses")
}

fn not_a_name(slot: &str) -> (String, String) {
    if slot.is_empty() {
        let message = "`${}` names nothing".to_owned();
        return (message, "write `$${` for a literal `${`".to_owned());
    }
    if let Some((namespace, _)) = slot.split_once('.') {
        let help = did_you_mean(
            namespace,
            ["env", "vars", "data", "secrets", "random", "now"],
        )
        .unwrap_or_else(|| "there are `${env.NAME}`, `${vars.name}` and `${name}`".to_owned());
        return (
            format!(
                "unknown namespace `{}` in `${{{}}}`",
                shown(namespace),
                shown(slot)
            ),
            help,
        );
    }
    let help = "a name has letters, digits, `_` and `-`; write `$${` for a literal `${`";
    (format!("`{}` is not a name", shown(slot)), help.to_owned())
}
