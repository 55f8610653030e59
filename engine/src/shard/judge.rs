//! What a step does with a whole response: extractions, asserts, checks.

use loadr_config::{Condition, Extract, ExtractSource, OnFailure, Pick, Program, Request, VarId};
use loadr_plugin_host::CallError;
use memchr::memmem;
use regex::bytes::{CaptureLocations, Regex};

use super::rng::Rng;
use super::tools::{Asked, Tools};
use super::vars::Vars;
use crate::error_kind::ErrorKind;
use crate::http::{Response, render};
use crate::instances::Instances;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Why the request failed, if it did: the first reason.
    pub(crate) failed: Option<ErrorKind>,
    /// The gravest of what the failed asserts ask for.
    pub(crate) on_failure: OnFailure,
    /// The assert that asks for it; by its place in the step.
    pub(crate) by_assert: Option<usize>,
}

/// What judging needs beside the response.
pub(crate) struct Judge<'s> {
    pub(crate) program: &'s Program,
    pub(crate) plugins: &'s LoadedPlugins,
    pub(crate) tools: &'s mut Tools,
    pub(crate) record: &'s mut Record,
    pub(crate) vars: &'s mut Vars,
    /// The virtual user's own plugin instances.
    pub(crate) instances: &'s mut Instances,
}

impl Judge<'_> {
    /// Runs the step's extractions, asserts and checks, in this order.
    #[inline]
    pub(crate) fn judge(
        &mut self,
        request: &Request,
        response: &Response<'_>,
        duration_ns: u64,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let asked = Asked {
            status: response.status,
            headers: response.headers,
            body: response.body,
            duration_ms: duration_ns as f64 / 1e6,
        };
        for extract in &request.extracts {
            if let Err(kind) = self.extract(extract, request, &asked) {
                verdict.failed.get_or_insert(kind);
            }
        }
        for (at, assert) in request.asserts.iter().enumerate() {
            match self.holds(&assert.condition, &asked) {
                Ok(true) => continue,
                Ok(false) => {
                    verdict.failed.get_or_insert(ErrorKind::Assert);
                    let found = self.found(&assert.condition, &asked);
                    self.record.error(ErrorKind::Assert, || {
                        format!("{}: {} ({found})", request.name, assert.name)
                    });
                }
                Err((kind, text)) => {
                    verdict.failed.get_or_insert(kind);
                    self.record.error(kind, || {
                        format!("{}: {}: {text}", request.name, assert.name)
                    });
                }
            }
            if verdict.by_assert.is_none()
                || gravity(assert.on_failure) > gravity(verdict.on_failure)
            {
                verdict.on_failure = assert.on_failure;
                verdict.by_assert = Some(at);
            }
        }
        for check in &request.checks {
            match self.holds(&check.condition, &asked) {
                Ok(true) => self.record.check(check.id, true, None),
                Ok(false) => {
                    let found = self.found(&check.condition, &asked);
                    self.record.check(check.id, false, Some(&found));
                }
                Err((kind, text)) => {
                    self.record.check(check.id, false, Some(kind.as_str()));
                    let name = &self.program.checks[check.id.at()];
                    self.record
                        .error(kind, || format!("{}: {name}: {text}", request.name));
                }
            }
        }
        verdict
    }

    fn extract(
        &mut self,
        extract: &Extract,
        request: &Request,
        asked: &Asked<'_>,
    ) -> Result<(), ErrorKind> {
        let Self {
            program,
            plugins,
            tools,
            record,
            vars,
            instances,
        } = self;
        let var = extract.var;
        let found: Result<bool, CallError> = match &extract.source {
            ExtractSource::Plugin(id) => {
                let site = (*id, &program.call_sites[id.at()]);
                vars.set_with(var, |out| {
                    tools.extract(plugins, instances, site, asked, record, out)
                })
            }
            ExtractSource::Regex { regex, group } => {
                let Tools { regexes, rng, .. } = &mut **tools;
                let (regex, locations) = &mut regexes[regex.at()];
                let groups = Groups {
                    regex,
                    locations,
                    group: *group,
                    body: asked.body,
                    from: 0,
                };
                Ok(pick(groups, extract.pick, rng, vars, var))
            }
            ExtractSource::Header { name } => {
                let values = asked
                    .headers
                    .iter()
                    .filter(|header| header.name.eq_ignore_ascii_case(name))
                    .map(|header| header.value);
                Ok(pick(values, extract.pick, &mut tools.rng, vars, var))
            }
            ExtractSource::Boundary { left, right } => {
                let values = Between {
                    body: asked.body,
                    left,
                    right,
                };
                Ok(pick(values, extract.pick, &mut tools.rng, vars, var))
            }
        };
        match found {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // A plugin that fails is no plugin that finds nothing: the default does not hide it.
            Err(error) => {
                vars.unset(var);
                let kind = kind_of(&error);
                record.error(kind, || format!("{}: {error}", request.name));
                return Err(kind);
            }
        }
        if let Some(default) = &extract.default {
            vars.set(var, default);
            return Ok(());
        }
        vars.unset(var);
        record.error(ErrorKind::Extract, || {
            format!(
                "{}: nothing found for `{}`",
                request.name,
                program.vars[var.at()]
            )
        });
        Err(ErrorKind::Extract)
    }

    /// Whether a condition holds; an error with its text when that could not be found out.
    #[inline]
    fn holds(
        &mut self,
        condition: &Condition,
        asked: &Asked<'_>,
    ) -> Result<bool, (ErrorKind, String)> {
        Ok(match condition {
            Condition::StatusIn(statuses) => statuses.contains(&asked.status),
            Condition::StatusMatches(regex) => {
                let digits = [
                    asked.status / 100,
                    asked.status / 10 % 10,
                    asked.status % 10,
                ];
                self.tools.is_match(*regex, &digits.map(|d| b'0' + d as u8))
            }
            Condition::BodyContains { value, negate } => {
                let mut scratch = std::mem::take(&mut self.tools.scratch);
                scratch.clear();
                let rendered = render(value, &*self.vars, 0, &mut scratch);
                let contains = rendered.is_ok() && memmem::find(asked.body, &scratch).is_some();
                self.tools.scratch = scratch;
                rendered.map_err(|error| (error.kind(), error.text(self.program)))?;
                contains != *negate
            }
            Condition::BodyMatches { regex, negate } => {
                self.tools.is_match(*regex, asked.body) != *negate
            }
            Condition::Plugin(id) => {
                let site = (*id, &self.program.call_sites[id.at()]);
                self.tools
                    .check(self.plugins, self.instances, site, asked, self.record)
                    .map_err(|error| (kind_of(&error), error.to_string()))?
            }
        })
    }

    /// What was found instead of what the condition, judged last, wants.
    #[cold]
    fn found(&self, condition: &Condition, asked: &Asked<'_>) -> String {
        match condition {
            Condition::StatusIn(_) | Condition::StatusMatches(_) => {
                format!("status was {}", asked.status)
            }
            Condition::BodyContains { .. } | Condition::BodyMatches { .. } => {
                format!("in a body of {} bytes", asked.body.len())
            }
            Condition::Plugin(_) => self.tools.detail().to_owned(),
        }
    }
}

/// Takes one of several matches (or all of them) into a variable; false when there is none.
fn pick<'b>(
    mut matches: impl Iterator<Item = &'b [u8]>,
    pick: Pick,
    rng: &mut Rng,
    vars: &mut Vars,
    var: VarId,
) -> bool {
    let chosen = match pick {
        Pick::First => matches.next(),
        Pick::Last => matches.last(),
        // Reservoir sampling (Vitter, 1985): each of n matches with chance 1/n, in one pass.
        Pick::Random => matches.enumerate().fold(None, |kept, (i, m)| {
            if rng.below(i as u64 + 1) == 0 {
                Some(m)
            } else {
                kept
            }
        }),
        Pick::All => {
            let all: Vec<_> = matches.map(String::from_utf8_lossy).collect();
            if all.is_empty() {
                return false;
            }
            vars.set(var, serde_json::json!(all).to_string().as_bytes());
            return true;
        }
    };
    match chosen {
        Some(bytes) => vars.set(var, bytes),
        None => return false,
    }
    true
}

/// A capture group of each match of a regex, where it took part in the match.
struct Groups<'r, 'b> {
    regex: &'r Regex,
    locations: &'r mut CaptureLocations,
    group: usize,
    body: &'b [u8],
    from: usize,
}

impl<'b> Iterator for Groups<'_, 'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        while self.from <= self.body.len() {
            let whole = self
                .regex
                .captures_read_at(self.locations, self.body, self.from)?;
            // An empty match must not be found again.
            self.from = if whole.is_empty() {
                whole.end() + 1
            } else {
                whole.end()
            };
            if let Some((start, end)) = self.locations.get(self.group) {
                return Some(&self.body[start..end]);
            }
        }
        None
    }
}

/// What stands between two markers, again and again.
struct Between<'b, 'm> {
    body: &'b [u8],
    left: &'m [u8],
    right: &'m [u8],
}

impl<'b> Iterator for Between<'b, '_> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let start = memmem::find(self.body, self.left)? + self.left.len();
        let end = start + memmem::find(&self.body[start..], self.right)?;
        let between = &self.body[start..end];
        self.body = &self.body[end + self.right.len()..];
        Some(between)
    }
}

fn kind_of(error: &CallError) -> ErrorKind {
    match error {
        CallError::Timeout => ErrorKind::PluginTimeout,
        CallError::Trap(_) => ErrorKind::PluginTrap,
    }
}

fn gravity(on_failure: OnFailure) -> u8 {
    match on_failure {
        OnFailure::Continue => 0,
        OnFailure::AbortIteration => 1,
        OnFailure::AbortScenario => 2,
        OnFailure::AbortTest => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Values;

    fn picked<'b>(matches: impl Iterator<Item = &'b [u8]>, how: Pick) -> Option<String> {
        let mut vars = Vars::new(1, 1);
        let found = pick(matches, how, &mut Rng::new(3), &mut vars, VarId(0));
        let value = vars
            .var(VarId(0))
            .map(|b| String::from_utf8(b.to_vec()).unwrap());
        assert_eq!(found, value.is_some());
        value
    }

    #[test]
    fn boundaries_are_found_one_after_another() {
        let between = || Between {
            body: b"id=1;x id=22; id=;id=4",
            left: b"id=",
            right: b";",
        };
        assert_eq!(picked(between(), Pick::First).as_deref(), Some("1"));
        assert_eq!(picked(between(), Pick::Last).as_deref(), Some(""));
        assert_eq!(
            picked(between(), Pick::All).as_deref(),
            Some(r#"["1","22",""]"#)
        );
        let none = Between {
            body: b"id=1",
            left: b"id=",
            right: b";",
        };
        assert_eq!(picked(none, Pick::First), None);
    }

    #[test]
    fn groups_skip_matches_they_took_no_part_in_and_empty_matches_end() {
        let regex = Regex::new("a(b)?|").unwrap();
        let mut locations = regex.capture_locations();
        let groups = Groups {
            regex: &regex,
            locations: &mut locations,
            group: 1,
            body: b"a ab aab",
            from: 0,
        };
        assert_eq!(picked(groups, Pick::All).as_deref(), Some(r#"["b","b"]"#));
    }

    #[test]
    fn a_random_pick_takes_each_match_as_often() {
        let body = b"1;2;3;4;";
        let (mut rng, mut seen) = (Rng::new(1), [0; 4]);
        for _ in 0..4000 {
            let mut vars = Vars::new(1, 1);
            let between = body.chunks(2).map(|c| &c[..1]);
            assert!(pick(between, Pick::Random, &mut rng, &mut vars, VarId(0)));
            seen[usize::from(vars.var(VarId(0)).unwrap()[0] - b'1')] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }
}
