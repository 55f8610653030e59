//! Conditions: whether a statement about a response holds.

use std::time::Duration;

use loadr_config::{Condition, JsonPathId, RegexId, Template, Wants, XPathId};
use memchr::memmem;

use super::{Judge, content_type, kind_of};
use crate::error_kind::ErrorKind;
use crate::http::render;
use crate::json::{Kind, number_of, write_text};
use crate::markup::Found;
use crate::shard::bodies::Unread;
use crate::shard::tools::{Asked, Tools};

/// Why it cannot be found out whether a condition holds, with a text for people.
type Unknown = (ErrorKind, String);

impl Judge<'_> {
    /// Whether a condition holds; an error with its text when that could not be found out.
    #[inline]
    pub(super) fn holds(
        &mut self,
        condition: &Condition,
        asked: &Asked<'_>,
    ) -> Result<bool, Unknown> {
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
                let contains =
                    self.with_rendered(value, |value| memmem::find(asked.body, value).is_some())?;
                contains != *negate
            }
            Condition::BodyMatches { regex, negate } => {
                self.tools.is_match(*regex, asked.body) != *negate
            }
            Condition::Plugin(id) => {
                let site = (*id, &self.program.call_sites[id.at()]);
                self.tools
                    .check(
                        self.plugins,
                        &mut self.instances.borrow_mut(),
                        site,
                        asked,
                        self.record,
                    )
                    .map_err(|error| (kind_of(&error), error.to_string()))?
            }
            Condition::JsonPath { path, wants } => self.json_path(*path, wants, asked)?,
            Condition::XPath { path, wants } => self.xpath(*path, wants, asked)?,
            Condition::DurationMax(max) => u128::from(asked.duration_ns) <= max.as_nanos(),
            Condition::Size { min, max } => (*min..=*max).contains(&asked.body_len),
            Condition::Header { name, wants } => {
                let values = || {
                    let named = asked.headers.iter();
                    named
                        .filter(|header| header.name.eq_ignore_ascii_case(name))
                        .map(|header| header.value)
                };
                self.see(values().next());
                let mut holds = wants.exists == values().next().is_some();
                if let Some(equals) = &wants.equals {
                    holds &= self.with_rendered(equals, |equals| {
                        values().any(|value| value.trim_ascii() == equals)
                    })?;
                }
                if let Some(contains) = &wants.contains {
                    holds &= self.with_rendered(contains, |contains| {
                        values().any(|value| memmem::find(value, contains).is_some())
                    })?;
                }
                holds
            }
        })
    }

    fn json_path(
        &mut self,
        path: JsonPathId,
        wants: &Wants,
        asked: &Asked<'_>,
    ) -> Result<bool, Unknown> {
        let Tools {
            bodies,
            regexes,
            seen,
            ..
        } = &mut *self.tools;
        seen.clear();
        let path = &self.program.json_paths[path.at()];
        let is_match = |regex: RegexId, text: &[u8]| regexes[regex.at()].0.is_match(text);
        let found = bodies.json_path(path, asked.body, &is_match, |tape, nodes| {
            let node = *nodes.first()?;
            write_text(tape, asked.body, node, seen);
            Some(tape.kind(node) == Kind::Number)
        });
        self.is_wanted(found.map_err(unknown)?, wants)
    }

    fn xpath(&mut self, path: XPathId, wants: &Wants, asked: &Asked<'_>) -> Result<bool, Unknown> {
        let Tools { bodies, seen, .. } = &mut *self.tools;
        seen.clear();
        let found = bodies.xpath(path, content_type(asked), asked.body, |found, document| {
            let value = found.values(document).next()?;
            seen.extend_from_slice(value.as_bytes());
            // What is false is not there, unless somebody asks for the word.
            let is_there = wants.equals.is_some() || !matches!(found, Found::Truth(false));
            is_there.then_some(matches!(found, Found::Text(_)))
        });
        self.is_wanted(found.map_err(unknown)?, wants)
    }

    /// Whether what was found, and is in the tools' `seen`, is what is wanted; with whether it is a number.
    fn is_wanted(&mut self, found: Option<bool>, wants: &Wants) -> Result<bool, Unknown> {
        self.tools.has_seen = found.is_some();
        let Some(is_number) = found else {
            return Ok(!wants.exists);
        };
        let Some(equals) = &wants.equals else {
            return Ok(wants.exists);
        };
        let seen = std::mem::take(&mut self.tools.seen);
        let equal = self.with_rendered(equals, |equals| {
            seen == equals
                || is_number
                    && number_of(&seen)
                        .is_some_and(|seen| number_of(equals.trim_ascii()) == Some(seen))
        });
        self.tools.seen = seen;
        equal
    }

    /// Keeps what was found for the message of a failure.
    fn see(&mut self, value: Option<&[u8]>) {
        let Tools { seen, has_seen, .. } = &mut *self.tools;
        seen.clear();
        seen.extend_from_slice(value.unwrap_or_default());
        *has_seen = value.is_some();
    }

    fn with_rendered<R>(
        &mut self,
        template: &Template,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Unknown> {
        let mut scratch = std::mem::take(&mut self.tools.scratch);
        scratch.clear();
        let rendered = render(template, &*self.vars.borrow(), 0, &mut scratch);
        let read = rendered.map(|()| read(&scratch));
        self.tools.scratch = scratch;
        read.map_err(|error| (error.kind(), error.text(self.program)))
    }

    /// What was found instead of what the condition, judged last, wants.
    #[cold]
    pub(super) fn found(&self, condition: &Condition, asked: &Asked<'_>) -> String {
        match condition {
            Condition::StatusIn(_) | Condition::StatusMatches(_) => {
                format!("status was {}", asked.status)
            }
            Condition::BodyContains { .. } | Condition::BodyMatches { .. } => {
                format!("in a body of {} bytes", asked.body.len())
            }
            Condition::Plugin(_) => self.tools.detail().to_owned(),
            Condition::DurationMax(_) => {
                format!("took {:?}", Duration::from_nanos(asked.duration_ns))
            }
            Condition::Size { .. } => format!("the body has {} bytes", asked.body_len),
            Condition::JsonPath { .. } | Condition::XPath { .. } | Condition::Header { .. } => {
                if self.tools.has_seen {
                    format!("found `{}`", shortened(&self.tools.seen))
                } else {
                    "found nothing".to_owned()
                }
            }
        }
    }
}

fn unknown(unread: Unread) -> Unknown {
    match unread {
        Unread::Body(text) => (ErrorKind::BodyParse, text),
        Unread::Expression(text) => (ErrorKind::Assert, text),
    }
}

/// The beginning of a value, for messages.
pub(super) fn shortened(value: &[u8]) -> String {
    const MOST: usize = 80;
    let text = String::from_utf8_lossy(value);
    let mut chars = text.chars();
    let start: String = chars
        .by_ref()
        .take(MOST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if chars.next().is_some() {
        start + "…"
    } else {
        start
    }
}
