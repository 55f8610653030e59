//! Holds a document against the tables: keys that do not exist or are not available, keys that are missing, values of
//! the wrong kind. What a value means is not looked at here.

use super::{A_STEP, Key, Kind, PLAN, Status, Table, count, duration, flag, number, size, text};
use crate::diagnostic::{Report, did_you_mean, shown};
use crate::node::{Content, Entry, Node, Path};

/// Reports everything in the effective document, and in the overlays that were not chosen, that does not fit.
pub(crate) fn check_plan(
    document: &Node,
    overlays: Option<&Entry>,
    chosen: Option<&str>,
    report: &mut Report,
) {
    let mut check = Check {
        report,
        partial: false,
    };
    check.value(document, &Kind::Table(&PLAN), &Path::Root);
    let Some(overlays) = overlays else { return };
    let env = Path::Root.key("env");
    for entry in check.mapping(&overlays.value, "a mapping", &env) {
        let is_mapping = matches!(entry.value.content, Content::Map(_));
        if is_mapping && chosen == Some(&entry.key) {
            // It is in the effective document; only what was dropped from it is left to say.
            check.no_env(&entry.value, &env.key(&entry.key));
        } else {
            check.value(&entry.value, &Kind::Overlay, &env.key(&entry.key));
        }
    }
}

pub(super) struct Check<'r> {
    pub(super) report: &'r mut Report,
    /// Nothing is required: an overlay.
    pub(super) partial: bool,
}

/// How what is most often written as if it were one word is written.
fn form(what: &str) -> Option<String> {
    let example = match what {
        "a think time" => "{ type: constant, duration: 2s }",
        "a step" => "request: { url: /path }",
        "a request" => "{ url: /path }",
        _ => return None,
    };
    Some(format!("write `{example}`"))
}

impl Check<'_> {
    fn value(&mut self, node: &Node, kind: &Kind, path: &Path<'_>) {
        match kind {
            Kind::Any | Kind::Opaque => {}
            Kind::Text | Kind::Template => self.judge(text(node).map(drop), node, path),
            Kind::Name => {
                let judged = text(node).and_then(|text| match text.trim() {
                    "" => Err("expected some text, found none".to_owned()),
                    _ => Ok(()),
                });
                self.judge(judged, node, path);
            }
            Kind::Flag => self.judge(flag(node).map(drop), node, path),
            Kind::Number(least, most) => {
                self.judge(number(node, *least, *most).map(drop), node, path);
            }
            Kind::Steps => self.value(node, &Kind::Some(&A_STEP), path),
            Kind::Count(least, most) => {
                self.judge(count(node, *least, *most).map(drop), node, path);
            }
            Kind::Duration(least, most) => {
                self.judge(duration(node, *least, *most).map(drop), node, path);
            }
            Kind::Size(least, most) => self.judge(size(node, *least, *most).map(drop), node, path),
            Kind::Word(choices) => self.word(node, choices, path),
            Kind::Object => {
                self.mapping(node, "a mapping", path);
            }
            Kind::SomeMap(inner) => {
                let entries = self.mapping(node, "a mapping", path);
                let is_mapping = matches!(node.content, Content::Map(_)) || node.is_null();
                if entries.is_empty() && is_mapping && !self.partial {
                    let message = "the mapping is empty".to_owned();
                    self.report.error(&path.at(node.pos), message, None);
                }
                self.value(node, &Kind::Map(inner), path);
            }
            Kind::Map(inner) => {
                for entry in self.mapping(node, "a mapping", path) {
                    self.value(&entry.value, inner, &path.key(&entry.key));
                }
            }
            Kind::List(inner) => self.list(node, inner, path),
            Kind::Some(inner) => {
                if matches!(&node.content, Content::List(items) if items.is_empty()) {
                    self.report
                        .error(&path.at(node.pos), "the list is empty".to_owned(), None);
                }
                self.list(node, inner, path);
            }
            Kind::OneOrMore(inner) => match &node.content {
                Content::List(_) => self.list(node, inner, path),
                Content::Scalar(_) | Content::Map(_) => self.value(node, inner, path),
            },
            Kind::TextOr(inner) => match &node.content {
                Content::Scalar(_) => self.judge(text(node).map(drop), node, path),
                Content::List(_) | Content::Map(_) => self.value(node, inner, path),
            },
            Kind::Table(table) => {
                let entries = self.mapping(node, table.what, path);
                self.keys(entries, table, &[], path);
                self.required(node, table, path);
            }
            Kind::OneKey(table) => self.one_key(node, table, path),
            Kind::Union(union) => self.union(node, union, path),
            Kind::Overlay => {
                let partial = std::mem::replace(&mut self.partial, true);
                let entries = self.mapping(node, "a partial plan", path);
                self.keys(entries, &PLAN, &[], path);
                self.no_env(node, path);
                self.partial = partial;
            }
        }
    }

    fn no_env(&mut self, node: &Node, path: &Path<'_>) {
        if let Some(entry) = node.entry("env") {
            let message = "an overlay cannot hold overlays".to_owned();
            self.report
                .error(&path.key("env").at(entry.pos), message, None);
        }
    }

    fn judge(&mut self, judged: Result<(), String>, node: &Node, path: &Path<'_>) {
        if let Err(message) = judged {
            self.report.error(&path.at(node.pos), message, None);
        }
    }

    /// The entries of a mapping; when it is none that is reported. An empty value is an empty mapping.
    pub(super) fn mapping<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        path: &Path<'_>,
    ) -> &'n [Entry] {
        match &node.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) if node.is_null() => &[],
            Content::Scalar(_) | Content::List(_) => {
                let of = if what == "a mapping" {
                    String::new()
                } else {
                    format!(" ({what})")
                };
                let message = format!("expected a mapping{of}, found {}", node.described());
                self.report.error(&path.at(node.pos), message, form(what));
                &[]
            }
        }
    }

    fn list(&mut self, node: &Node, inner: &Kind, path: &Path<'_>) {
        match &node.content {
            Content::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.value(item, inner, &path.item(i));
                }
            }
            Content::Scalar(_) | Content::Map(_) => {
                let message = format!("expected a list, found {}", node.described());
                let help = "begin each item with `- `".to_owned();
                self.report.error(&path.at(node.pos), message, Some(help));
            }
        }
    }

    pub(super) fn keys(
        &mut self,
        entries: &[Entry],
        table: &Table,
        also: &[&str],
        path: &Path<'_>,
    ) {
        for entry in entries {
            if also.contains(&entry.key.as_str()) {
                continue;
            }
            match table.key(&entry.key) {
                Some(key) => self.known(entry, key, &path.key(&entry.key)),
                None if self.report.is_full() => self.report.leave_out(),
                None => {
                    let names = table.keys().map(|key| key.name).chain(also.iter().copied());
                    let help = did_you_mean(&entry.key, names).unwrap_or_else(|| {
                        let ready = |key: &&Key| !matches!(key.status, Status::NotYet(_));
                        let names = table.keys().filter(ready).map(|key| key.name);
                        format!(
                            "{} has {}",
                            table.what,
                            listed(also.iter().copied().chain(names))
                        )
                    });
                    let message = format!("unknown key `{}`", shown(&entry.key));
                    self.report
                        .error(&path.key(&entry.key).at(entry.pos), message, Some(help));
                }
            }
        }
    }

    pub(super) fn known(&mut self, entry: &Entry, key: &Key, path: &Path<'_>) {
        match key.status {
            Status::Ready => self.value(&entry.value, &key.kind, path),
            Status::NotYet(instead) => {
                let message = format!("`{}` is not available in this version", key.name);
                self.report
                    .error(&path.at(entry.pos), message, Some(instead.to_owned()));
            }
            Status::Only(values, otherwise) => {
                let before = self.report.error_count();
                self.value(&entry.value, &key.kind, path);
                let written = text(&entry.value).unwrap_or_default();
                let allowed = values
                    .iter()
                    .any(|value| value.eq_ignore_ascii_case(written));
                if !allowed && self.report.error_count() == before {
                    let message = format!(
                        "`{}: {}` is not available in this version",
                        key.name,
                        shown(written)
                    );
                    self.report.error(
                        &path.at(entry.value.pos),
                        message,
                        Some(otherwise.to_owned()),
                    );
                }
            }
        }
    }

    pub(super) fn required(&mut self, node: &Node, table: &Table, path: &Path<'_>) {
        let is_mapping = matches!(node.content, Content::Map(_)) || node.is_null();
        if self.partial || !is_mapping {
            return;
        }
        for key in table
            .keys()
            .filter(|key| key.required && node.get(key.name).is_none())
        {
            // A key that only lacks the right spelling has been reported as that.
            let misspelt = |entry: &Entry| {
                table.key(&entry.key).is_none() && did_you_mean(&entry.key, [key.name]).is_some()
            };
            if node.entries().iter().any(misspelt) {
                continue;
            }
            let message = format!("{} needs `{}`", table.what, key.name);
            self.report
                .error(&path.at(node.pos), message, Some(key.doc.to_owned()));
        }
    }

    fn one_key(&mut self, node: &Node, table: &Table, path: &Path<'_>) {
        let entries = self.mapping(node, table.what, path);
        self.keys(entries, table, &[], path);
        let ready = |key: &&Key| !matches!(key.status, Status::NotYet(_));
        match entries {
            [] if matches!(node.content, Content::Map(_)) || node.is_null() => {
                let names = table.keys().filter(ready).map(|key| key.name);
                let message = format!("{} needs a key: {}", table.what, listed(names));
                self.report.error(&path.at(node.pos), message, None);
            }
            [] | [_] => {}
            // A second key is mostly one that should have been indented further.
            [first, others @ ..] => {
                for other in others
                    .iter()
                    .filter(|other| table.key(&other.key).is_some())
                {
                    let message = format!(
                        "{} has one key; this one has `{}` and `{}`",
                        table.what,
                        shown(&first.key),
                        shown(&other.key)
                    );
                    let help = "begin a new item with `- `, or check the indentation".to_owned();
                    self.report
                        .error(&path.key(&other.key).at(other.pos), message, Some(help));
                }
            }
        }
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
