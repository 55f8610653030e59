//! The plan's `thresholds`, and warnings about the ones that can never see a sample: no sample passes.

use std::collections::{BTreeSet, HashMap};

use super::Compiler;
use crate::diagnostic::shown;
use crate::metrics::{BUILT_IN_TAGS, MetricKind};
use crate::plan::Text;
use crate::program::{Aggregation, Threshold};
use crate::threshold::{Rule, rule, selector};

/// What tags there are.
struct Tags {
    /// Tags whose values are all known before the run.
    values: HashMap<&'static str, BTreeSet<String>>,
    /// The plan's own tags.
    own: BTreeSet<String>,
}

impl Compiler<'_> {
    pub(super) fn thresholds(&mut self) -> Vec<Threshold> {
        let tags = self.known_tags();
        let mut out = Vec::new();
        for threshold in &self.plan.thresholds {
            let selector = match selector(&threshold.selector.text) {
                Ok(selector) => selector,
                Err((message, help)) => {
                    self.report.error(&threshold.selector.at, message, help);
                    continue;
                }
            };
            let rule = match rule(&threshold.expression.text, selector.kind) {
                Ok(rule) => rule,
                Err((message, help)) => {
                    self.report.error(&threshold.expression.at, message, help);
                    continue;
                }
            };
            self.check_tags(&selector.tags, &tags, &threshold.selector);
            self.check_bound(&rule, selector.kind, &threshold.expression);
            out.push(Threshold {
                metric: selector.metric.to_owned(),
                tags: selector.tags,
                expression: threshold.expression.text.clone(),
                aggregation: rule.aggregation,
                comparison: rule.comparison,
                bound: rule.bound,
                abort_on_fail: threshold.abort_on_fail,
                delay_abort_eval: threshold.delay_abort_eval,
                location: threshold.expression.at.location(),
            });
        }
        out
    }

    fn known_tags(&self) -> Tags {
        let plan = self.plan;
        let mut own = BTreeSet::new();
        own.extend(plan.tags.iter().map(|pair| pair.name.text.clone()));
        for scenario in &plan.scenarios {
            own.extend(scenario.tags.iter().map(|pair| pair.name.text.clone()));
        }
        let requests = &self.requests;
        let tags = requests.iter().flat_map(|request| &request.tags);
        own.extend(tags.map(|(name, _)| name.clone()));
        let values = HashMap::from([
            (
                "scenario",
                plan.scenarios
                    .iter()
                    .map(|scenario| scenario.name.clone())
                    .collect(),
            ),
            (
                "name",
                requests
                    .iter()
                    .map(|request| request.name.clone())
                    .collect(),
            ),
            (
                "method",
                requests
                    .iter()
                    .map(|request| request.method.clone())
                    .collect(),
            ),
            ("check", self.checks.iter().cloned().collect()),
            (
                "plugin",
                plan.plugins
                    .iter()
                    .map(|plugin| plugin.name.text.clone())
                    .collect(),
            ),
        ]);
        Tags { values, own }
    }

    fn check_tags(&mut self, tags: &[(String, String)], known: &Tags, selector: &Text) {
        for (tag, value) in tags {
            if let Some(values) = known.values.get(tag.as_str()) {
                if !values.contains(value) {
                    let message = format!(
                        "no {tag} is `{}`, so this threshold always passes",
                        shown(value)
                    );
                    let help = self
                        .report
                        .suggest(value, values.iter().map(String::as_str));
                    self.report.warning(&selector.at, message, help);
                }
            } else if !BUILT_IN_TAGS.contains(&tag.as_str()) && !known.own.contains(tag) {
                let message = format!(
                    "nothing carries the tag `{}`, so this threshold always passes",
                    shown(tag)
                );
                let names = BUILT_IN_TAGS
                    .iter()
                    .copied()
                    .chain(known.own.iter().map(String::as_str));
                let help = self.report.suggest(tag, names);
                self.report.warning(&selector.at, message, help);
            }
        }
    }

    fn check_bound(&mut self, rule: &Rule, kind: MetricKind, expression: &Text) {
        if kind == MetricKind::Rate
            && rule.aggregation == Aggregation::Rate
            && !(0.0..=1.0).contains(&rule.bound)
        {
            let message = format!(
                "a rate goes from 0 to 1, so `{}` says nothing",
                shown(&expression.text)
            );
            let help = format!("write `{}` for {} %", rule.bound / 100.0, rule.bound);
            self.report.warning(&expression.at, message, Some(help));
        }
    }
}
