//! What is done with a response: extractors, asserts, checks.

use super::Compiler;
use super::builder::Builder;
use crate::diagnostic::shown;
use crate::escape::is_token;
use crate::plan;
use crate::program::{
    Assert, Check, CheckId, Condition, Escape, Extract, ExtractSource, OnFailure, PluginKind,
};

impl Compiler<'_> {
    pub(super) fn extracts(&mut self, extracts: &[plan::Extract]) -> Vec<Extract> {
        extracts
            .iter()
            .filter_map(|extract| self.extract(extract))
            .collect()
    }

    fn extract(&mut self, extract: &plan::Extract) -> Option<Extract> {
        self.check_var_name(&extract.name);
        let var = self.var(&extract.name.text);
        let source = match &extract.source {
            plan::ExtractSource::Plugin(call) => {
                ExtractSource::Plugin(self.call_site(call, PluginKind::Extractor)?)
            }
            plan::ExtractSource::Regex { expression, group } => {
                let regex = self.regex(&expression.text, &expression.at)?;
                let groups = self.regexes.get(regex.at())?.captures_len();
                if *group >= groups {
                    let message = format!("`{}` has no group {group}", shown(&expression.text));
                    let help = if groups == 1 {
                        "put parentheses around what to take, or write `group: 0` for the whole match".to_owned()
                    } else {
                        format!("its groups are 0 to {}", groups - 1)
                    };
                    self.report.error(&expression.at, message, Some(help));
                    return None;
                }
                ExtractSource::Regex {
                    regex,
                    group: *group,
                }
            }
            plan::ExtractSource::Header(header) => {
                if !is_token(&header.text) {
                    let message = format!("`{}` is not a header name", shown(&header.text));
                    self.report.error(&header.at, message, None);
                    return None;
                }
                ExtractSource::Header {
                    name: header.text.to_ascii_lowercase().into(),
                }
            }
            plan::ExtractSource::Boundary { left, right } => ExtractSource::Boundary {
                left: left.as_bytes().into(),
                right: right.as_bytes().into(),
            },
        };
        let default = extract
            .default
            .as_ref()
            .map(|default| default.as_bytes().into());
        Some(Extract {
            var: var?,
            source,
            pick: extract.pick,
            default,
        })
    }

    pub(super) fn asserts(&mut self, conditions: &[plan::Condition]) -> Vec<Assert> {
        let mut asserts = Vec::new();
        for condition in conditions {
            if let Some((name, test)) = self.condition(condition) {
                let on_failure = condition
                    .on_failure
                    .as_ref()
                    .map_or(OnFailure::Continue, |(action, _)| *action);
                asserts.push(Assert {
                    name,
                    condition: test,
                    on_failure,
                });
            }
        }
        asserts
    }

    pub(super) fn checks(&mut self, conditions: &[plan::Condition]) -> Vec<Check> {
        let mut checks = Vec::new();
        for condition in conditions {
            if let Some((
                OnFailure::AbortIteration | OnFailure::AbortScenario | OnFailure::AbortTest,
                at,
            )) = &condition.on_failure
            {
                let message = "a check is only counted: its `on_failure` does nothing".to_owned();
                let help = "put it under `assert` to act on it".to_owned();
                self.report.warning(at, message, Some(help));
            }
            if let Some((name, test)) = self.condition(condition)
                && let Some(id) = self.check_id(name)
            {
                checks.push(Check {
                    id,
                    condition: test,
                });
            }
        }
        checks
    }

    fn check_id(&mut self, name: String) -> Option<CheckId> {
        if let Some(id) = self.check_ids.get(&name) {
            return Some(*id);
        }
        let id = CheckId(super::index(self.checks.len())?);
        self.checks.push(name.clone());
        self.check_ids.insert(name, id);
        Some(id)
    }

    /// The condition and its name.
    fn condition(&mut self, condition: &plan::Condition) -> Option<(String, Condition)> {
        let named = condition.name.as_ref().map(|name| self.name(name));
        let (described, test) = match &condition.test {
            plan::Test::Status {
                equals,
                one_of,
                matches,
            } => self.status(condition, *equals, one_of.as_deref(), matches.as_ref())?,
            plan::Test::BodyContains { value, negate } => {
                let mut template = Builder::default();
                template.fragments(&self.fold(value)?, Escape::None);
                let value_shown = shown(&value.text);
                let described = if *negate {
                    format!("body does not contain `{value_shown}`")
                } else {
                    format!("body contains `{value_shown}`")
                };
                (
                    described,
                    Condition::BodyContains {
                        value: template.finish(),
                        negate: *negate,
                    },
                )
            }
            plan::Test::BodyMatches { pattern, negate } => {
                let regex = self.regex(&pattern.text, &pattern.at)?;
                let pattern = shown(&pattern.text);
                let described = if *negate {
                    format!("body does not match `{pattern}`")
                } else {
                    format!("body matches `{pattern}`")
                };
                (
                    described,
                    Condition::BodyMatches {
                        regex,
                        negate: *negate,
                    },
                )
            }
            plan::Test::Plugin(call) => {
                let site = self.call_site(call, PluginKind::Assertion)?;
                (
                    format!("plugin {}", call.plugin.text),
                    Condition::Plugin(site),
                )
            }
        };
        Some((named.unwrap_or(Some(described))?, test))
    }

    fn status(
        &mut self,
        condition: &plan::Condition,
        equals: Option<u16>,
        one_of: Option<&[u16]>,
        matches: Option<&plan::Text>,
    ) -> Option<(String, Condition)> {
        match (equals, one_of, matches) {
            (Some(status), None, None) => Some((
                format!("status is {status}"),
                Condition::StatusIn(vec![status]),
            )),
            (None, Some(statuses), None) => {
                let list: Vec<String> = statuses.iter().map(u16::to_string).collect();
                let described = format!("status is one of {}", list.join(", "));
                Some((described, Condition::StatusIn(statuses.to_vec())))
            }
            (None, None, Some(pattern)) => {
                let regex = self.regex(&pattern.text, &pattern.at)?;
                Some((
                    format!("status matches `{}`", shown(&pattern.text)),
                    Condition::StatusMatches(regex),
                ))
            }
            (None, None, None) => {
                let message =
                    "a `status` condition needs `equals`, `one_of` or `matches`".to_owned();
                self.report.error(&condition.at, message, None);
                None
            }
            _ => {
                let message =
                    "a `status` condition has one of `equals`, `one_of` and `matches`".to_owned();
                let help = "make a condition of each".to_owned();
                self.report.error(&condition.at, message, Some(help));
                None
            }
        }
    }
}
