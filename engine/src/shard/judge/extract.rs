//! Extractions: a value out of a response into a variable.

use loadr_config::{Extract, ExtractSource, OnFailure, Pick, Program, Request};
use memchr::memmem;
use regex::bytes::{CaptureLocations, Regex};

use super::refine::{Refused, refine};
use super::{Judge, content_type, kind_of};
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::json::{Kind, write_compact, write_text};
use crate::shard::bodies::Unread;
use crate::shard::rng::Rng;
use crate::shard::tools::{Asked, Tools};

/// The longest that a pattern may go over a body for its matches: each match is found in linear time, all of them may
/// take the square.
const MATCHES_NS_MAX: u64 = 100_000_000;

/// Why an extraction failed.
pub(super) struct Failed {
    pub(super) kind: ErrorKind,
    /// What a chain's check asks for.
    pub(super) on_failure: OnFailure,
}

/// Why there is no value.
enum Miss {
    /// Nothing matched: the default stands in.
    Nothing(Option<(ErrorKind, String)>),
    /// No default helps.
    Broken(ErrorKind, String, OnFailure),
}

impl From<Unread> for Miss {
    fn from(unread: Unread) -> Self {
        Self::Nothing(Some(match unread {
            Unread::Body(text) => (ErrorKind::BodyParse, text),
            Unread::Expression(text) => (ErrorKind::Extract, text),
        }))
    }
}

impl Judge<'_> {
    pub(super) fn extract(
        &mut self,
        extract: &Extract,
        request: &Request,
        asked: &Asked<'_>,
    ) -> Result<(), Failed> {
        let var = extract.var;
        let mut value = self.vars.borrow_mut().take(var);
        value.clear();
        let mut found = self.find(extract, asked, &mut value);
        if let (Ok(is_json), Some(how)) = (&found, &extract.refine) {
            let is_json = how.is_json(*is_json);
            let judged = refine(
                how,
                &mut value,
                self.program,
                &self.vars.borrow(),
                self.tools,
            );
            found = judged.map(|()| is_json).map_err(|refused| match refused {
                Refused::Unusable(text) => Miss::Nothing(Some((ErrorKind::Extract, text))),
                Refused::Check(text) => {
                    let on_failure = how.check.as_ref().map(|check| check.on_failure);
                    Miss::Broken(ErrorKind::Assert, text, on_failure.unwrap_or_default())
                }
                Refused::Render(kind, text) => Miss::Broken(kind, text, OnFailure::Continue),
            });
        }
        let (kind, text, on_failure) = match (found, &extract.default) {
            (Ok(is_json), _) => {
                self.vars.borrow_mut().put(var, value, is_json);
                return Ok(());
            }
            (Err(Miss::Nothing(_)), Some(default)) => {
                value.clear();
                value.extend_from_slice(&default.bytes);
                self.vars.borrow_mut().put(var, value, default.is_json);
                return Ok(());
            }
            (Err(Miss::Nothing(why)), None) => {
                let (kind, text) = why.unwrap_or((ErrorKind::Extract, "nothing found".to_owned()));
                (kind, Some(text), OnFailure::Continue)
            }
            (Err(Miss::Broken(kind, text, on_failure)), _) => (kind, Some(text), on_failure),
        };
        // Its memory stays with the variable.
        self.vars.borrow_mut().put(var, value, false);
        self.vars.borrow_mut().unset(var);
        self.record.error(kind, || {
            let name = &self.program.vars[var.at()];
            match text.as_deref() {
                Some("nothing found") | None => {
                    format!("{}: nothing found for `{name}`", request.name)
                }
                Some(text) => format!("{}: `{name}`: {text}", request.name),
            }
        });
        Err(Failed { kind, on_failure })
    }

    /// Appends the value to `out`; whether it is a JSON value other than text.
    fn find(
        &mut self,
        extract: &Extract,
        asked: &Asked<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Miss> {
        let Self {
            program,
            plugins,
            tools,
            record,
            instances,
            ..
        } = self;
        let how = extract.pick;
        let found = match &extract.source {
            ExtractSource::Plugin(id) => {
                let site = (*id, &program.call_sites[id.at()]);
                tools
                    .extract(
                        plugins,
                        &mut instances.borrow_mut(),
                        site,
                        asked,
                        record,
                        out,
                    )
                    // A plugin that fails is no plugin that finds nothing: the default does not hide it.
                    .map_err(|error| {
                        Miss::Broken(kind_of(&error), error.to_string(), OnFailure::Continue)
                    })?
            }
            ExtractSource::Regex { regex, group } => {
                let Tools { regexes, rng, .. } = &mut **tools;
                let (regex, locations) = &mut regexes[regex.at()];
                let mut groups = Groups::new(regex, locations, *group, asked.body);
                let found = pick(&mut groups, how, rng, out);
                if groups.took_too_long {
                    let text = "the pattern takes too long for all its matches".to_owned();
                    return Err(Miss::Nothing(Some((ErrorKind::Extract, text))));
                }
                found
            }
            ExtractSource::Header { name } => {
                let values = asked
                    .headers
                    .iter()
                    .filter(|header| header.name.eq_ignore_ascii_case(name))
                    .map(|header| header.value);
                pick(values, how, &mut tools.rng, out)
            }
            ExtractSource::Boundary { left, right } => {
                let values = Between {
                    body: asked.body,
                    left,
                    right,
                };
                pick(values, how, &mut tools.rng, out)
            }
            ExtractSource::JsonPath(path) => {
                let found = json_path(tools, program, (*path, how), asked, out)?;
                return found.ok_or(Miss::Nothing(None));
            }
            ExtractSource::JmesPath(path) => {
                let found = tools.bodies.jmes_path(*path, asked.body, out)?;
                return found.ok_or(Miss::Nothing(None));
            }
            ExtractSource::XPath(path) => {
                let Tools { bodies, rng, .. } = &mut **tools;
                bodies.xpath(*path, content_type(asked), asked.body, |found, document| {
                    pick_text(&mut found.values(document), how, rng, out)
                })?
            }
            ExtractSource::Css {
                selector,
                attribute,
            } => {
                let Tools { bodies, rng, .. } = &mut **tools;
                let what = (&program.selectors[selector.at()], attribute.as_deref());
                bodies.css(what, how == Pick::First, asked.body, |values| {
                    pick_text(values, how, rng, out)
                })?
            }
        };
        if found {
            // All matches together are a JSON array of texts.
            Ok(how == Pick::All)
        } else {
            Err(Miss::Nothing(None))
        }
    }
}

/// `None` when there is no node, else whether it is another JSON value than text.
fn json_path(
    tools: &mut Tools,
    program: &Program,
    (path, how): (loadr_config::JsonPathId, Pick),
    asked: &Asked<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<bool>, Unread> {
    let Tools {
        bodies,
        regexes,
        rng,
        ..
    } = tools;
    let path = &program.json_paths[path.at()];
    let is_match = |regex: loadr_config::RegexId, text: &[u8]| regexes[regex.at()].0.is_match(text);
    bodies.json_path(path, asked.body, &is_match, |tape, nodes| {
        let last = nodes.len().checked_sub(1)?;
        let chosen = match how {
            Pick::First => 0,
            Pick::Last => last,
            Pick::Random => rng.below(nodes.len() as u64) as usize,
            Pick::All => {
                out.push(b'[');
                for (i, &node) in nodes.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_compact(tape, asked.body, node, out);
                }
                out.push(b']');
                return Some(true);
            }
        };
        write_text(tape, asked.body, nodes[chosen], out);
        let kind = tape.kind(nodes[chosen]);
        Some(!matches!(kind, Kind::Text | Kind::Escaped))
    })
}

fn pick_text(
    values: &mut dyn Iterator<Item = String>,
    how: Pick,
    rng: &mut Rng,
    out: &mut Vec<u8>,
) -> bool {
    pick(values.map(String::into_bytes), how, rng, out)
}

/// Takes one of several matches (or all of them); false when there is none.
fn pick<M: AsRef<[u8]>>(
    mut matches: impl Iterator<Item = M>,
    pick: Pick,
    rng: &mut Rng,
    out: &mut Vec<u8>,
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
            let all: Vec<_> = matches
                .map(|m| String::from_utf8_lossy(m.as_ref()).into_owned())
                .collect();
            if all.is_empty() {
                return false;
            }
            out.extend_from_slice(serde_json::json!(all).to_string().as_bytes());
            return true;
        }
    };
    match chosen {
        Some(bytes) => out.extend_from_slice(bytes.as_ref()),
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
    matches: u32,
    until_ns: u64,
    took_too_long: bool,
}

impl<'r, 'b> Groups<'r, 'b> {
    fn new(
        regex: &'r Regex,
        locations: &'r mut CaptureLocations,
        group: usize,
        body: &'b [u8],
    ) -> Self {
        Self {
            regex,
            locations,
            group,
            body,
            from: 0,
            matches: 0,
            until_ns: 0,
            took_too_long: false,
        }
    }
}

impl<'b> Iterator for Groups<'_, 'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        while self.from <= self.body.len() {
            self.matches += 1;
            // The clock is not looked at for the few matches that most bodies have.
            if self.matches.is_multiple_of(16) {
                let now_ns = now_ns();
                if self.until_ns == 0 {
                    self.until_ns = now_ns + MATCHES_NS_MAX;
                } else if now_ns > self.until_ns {
                    self.took_too_long = true;
                    return None;
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn picked<'b>(matches: impl Iterator<Item = &'b [u8]>, how: Pick) -> Option<String> {
        let mut out = Vec::new();
        let found = pick(matches, how, &mut Rng::new(3), &mut out);
        assert!(found || out.is_empty());
        found.then(|| String::from_utf8(out).unwrap())
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
        let groups = Groups::new(&regex, &mut locations, 1, b"a ab aab");
        assert_eq!(picked(groups, Pick::All).as_deref(), Some(r#"["b","b"]"#));
    }

    #[test]
    fn a_random_pick_takes_each_match_as_often() {
        let body = b"1;2;3;4;";
        let (mut rng, mut seen) = (Rng::new(1), [0; 4]);
        for _ in 0..4000 {
            let mut out = Vec::new();
            let between = body.chunks(2).map(|c| &c[..1]);
            assert!(pick(between, Pick::Random, &mut rng, &mut out));
            seen[usize::from(out[0] - b'1')] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }
}
