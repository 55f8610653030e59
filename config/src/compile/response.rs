//! What is done with a response: extractors, asserts, checks.

use super::Compiler;
use super::builder::Builder;
use super::chain::flip;
use crate::diagnostic::shown;
use crate::escape::is_token;
use crate::node::At;
use crate::plan::{self, Text};
use crate::program::{
    Assert, Check, CheckId, Condition, Escape, Extract, ExtractSource, OnFailure, PluginKind, Wants,
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
        let refine = extract.refine.as_ref().map(|refine| self.refine(refine));
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
            plan::ExtractSource::Header(header) => ExtractSource::Header {
                name: self.header_name(header)?,
            },
            plan::ExtractSource::Boundary { left, right } => ExtractSource::Boundary {
                left: left.as_bytes().into(),
                right: right.as_bytes().into(),
            },
            plan::ExtractSource::JsonPath(path) => ExtractSource::JsonPath(self.json_path(path)?),
            plan::ExtractSource::JmesPath(path) => ExtractSource::JmesPath(self.jmes_path(path)?),
            plan::ExtractSource::XPath(path) => ExtractSource::XPath(self.xpath(path)?),
            plan::ExtractSource::Css {
                expression,
                attribute,
            } => ExtractSource::Css {
                selector: self.selector(expression)?,
                // HTML's attribute names are lower-cased as they are parsed.
                attribute: attribute
                    .as_ref()
                    .map(|attribute| attribute.text.trim().to_ascii_lowercase().into()),
            },
            plan::ExtractSource::NotOne(keys, at) => {
                self.not_one(keys, at);
                return None;
            }
        };
        Some(Extract {
            var: var?,
            source,
            pick: extract.pick,
            default: extract.default.clone(),
            refine: flip(refine)?.map(Box::new),
        })
    }

    fn header_name(&mut self, header: &Text) -> Option<Box<str>> {
        if is_token(&header.text) {
            return Some(header.text.to_ascii_lowercase().into());
        }
        let message = format!("`{}` is not a header name", shown(&header.text));
        self.report.error(&header.at, message, None);
        None
    }

    /// A chain without a source, or with several.
    fn not_one(&mut self, keys: &[&str], at: &At) {
        let (message, help) = match keys {
            [] => (
                "a chain needs a source".to_owned(),
                "there are `jmespath`, `jsonpath`, `regex`, `header`, `css`, `xpath`, and `left` with `right`",
            ),
            [one @ ("left" | "right")] => (
                format!("`{one}` alone is no source"),
                "`left` and `right` say what stands around the value",
            ),
            _ => {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                (
                    format!("a chain has one source; this one has {}", keys.join(", ")),
                    "make a chain of each",
                )
            }
        };
        self.report.error(at, message, Some(help.to_owned()));
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
            plan::Test::JsonPath { expression, wants } => {
                let described = described("jsonpath", &expression.text, wants);
                let wants = self.wants(wants, &condition.at);
                let path = self.json_path(expression)?;
                let wants = wants?;
                (described, Condition::JsonPath { path, wants })
            }
            plan::Test::XPath { expression, wants } => {
                let described = described("xpath", &expression.text, wants);
                let wants = self.wants(wants, &condition.at);
                let path = self.xpath(expression)?;
                let wants = wants?;
                (described, Condition::XPath { path, wants })
            }
            plan::Test::DurationMax(max) => (
                format!("duration is at most {max:?}"),
                Condition::DurationMax(*max),
            ),
            plan::Test::Size { min, max, equals } => self.size(condition, *min, *max, *equals)?,
            plan::Test::Header { header, wants } => {
                let described = described("header", &header.text, wants);
                let wants = self.wants(wants, &condition.at);
                let name = self.header_name(header)?;
                let wants = wants?;
                (described, Condition::Header { name, wants })
            }
        };
        Some((named.unwrap_or(Some(described))?, test))
    }

    fn wants(&mut self, wants: &plan::Wants, at: &At) -> Option<Wants> {
        let equals = wants.equals.as_ref().map(|text| self.raw_template(text));
        let contains = wants.contains.as_ref().map(|text| self.raw_template(text));
        let exists = wants.exists.unwrap_or(true);
        if !exists && (equals.is_some() || contains.is_some()) {
            let message = "what must not exist has no value to compare".to_owned();
            let help = "leave `exists: false` out, or the comparison".to_owned();
            self.report.error(at, message, Some(help));
            return None;
        }
        Some(Wants {
            exists,
            equals: flip(equals)?,
            contains: flip(contains)?,
        })
    }

    fn size(
        &mut self,
        condition: &plan::Condition,
        min: Option<u64>,
        max: Option<u64>,
        equals: Option<u64>,
    ) -> Option<(String, Condition)> {
        let (message, help) = match (min, max, equals) {
            (None, None, Some(bytes)) => {
                let (min, max) = (bytes, bytes);
                return Some((format!("size is {bytes}"), Condition::Size { min, max }));
            }
            (None, None, None) => ("a `size` condition needs `min`, `max` or `equals`", None),
            (Some(min), Some(max), None) if min > max => {
                ("`min` is more than `max`: no size is both", None)
            }
            (min, max, None) => {
                let described = match (min, max) {
                    (Some(min), Some(max)) => format!("size is {min} to {max}"),
                    (Some(min), None) => format!("size is at least {min}"),
                    _ => format!("size is at most {}", max.unwrap_or(u64::MAX)),
                };
                let test = Condition::Size {
                    min: min.unwrap_or(0),
                    max: max.unwrap_or(u64::MAX),
                };
                return Some((described, test));
            }
            _ => (
                "a `size` condition has `equals`, or `min` and `max`",
                Some("make a condition of each".to_owned()),
            ),
        };
        self.report.error(&condition.at, message.to_owned(), help);
        None
    }

    fn status(
        &mut self,
        condition: &plan::Condition,
        equals: Option<u16>,
        one_of: Option<&[u16]>,
        matches: Option<&Text>,
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

/// What a condition is called that has no name.
fn described(what: &str, which: &str, wants: &plan::Wants) -> String {
    let which = shown(which);
    match (&wants.equals, &wants.contains) {
        (Some(equals), _) => format!("{what} `{which}` is `{}`", shown(&equals.text)),
        (None, Some(contains)) => {
            format!("{what} `{which}` contains `{}`", shown(&contains.text))
        }
        (None, None) if wants.exists == Some(false) => format!("{what} `{which}` does not exist"),
        (None, None) => format!("{what} `{which}` exists"),
    }
}
