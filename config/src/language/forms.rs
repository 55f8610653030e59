//! Checks what comes in one of several forms: words, and mappings whose keys depend on one of them.

use super::check::{Check, listed};
use super::{Choice, Kind, Status, Table, Union, Variant, text};
use crate::diagnostic::{did_you_mean, shown};
use crate::node::{Content, Entry, Node, Path};

impl Check<'_> {
    pub(super) fn word(&mut self, node: &Node, choices: &[Choice], path: &Path<'_>) {
        let ready = |choice: &&Choice| !matches!(choice.status, Status::NotYet(_));
        let names = || choices.iter().filter(ready).map(|choice| choice.name);
        let Ok(written) = text(node) else {
            let message = format!("expected {}, found {}", listed(names()), node.described());
            self.report.error(&path.at(node.pos), message, None);
            return;
        };
        match choices.iter().find(|choice| choice.name == written) {
            Some(Choice {
                status: Status::NotYet(instead),
                ..
            }) => {
                let message = format!("`{}` is not available in this version", shown(written));
                self.report
                    .error(&path.at(node.pos), message, Some((*instead).to_owned()));
            }
            Some(_) => {}
            None => {
                let help = did_you_mean(written, choices.iter().map(|choice| choice.name))
                    .unwrap_or_else(|| format!("there are {}", listed(names())));
                let message = format!("unknown value `{}`", shown(written));
                self.report.error(&path.at(node.pos), message, Some(help));
            }
        }
    }

    pub(super) fn union(&mut self, node: &Node, union: &Union, path: &Path<'_>) {
        let entries = self.mapping(node, union.what, path);
        if !matches!(node.content, Content::Map(_)) && !node.is_null() {
            return;
        }
        let ready = union
            .variants
            .iter()
            .filter(|v| !matches!(v.status, Status::NotYet(_)));
        let names = || listed(ready.clone().map(|variant| variant.name));
        let Some(tag) = node.entry(union.tag) else {
            if let Some((entry, key)) = union
                .forms
                .iter()
                .find_map(|key| node.entry(key.name).map(|entry| (entry, key)))
            {
                if let (Status::Ready, Kind::Table(table)) = (key.status, &key.kind) {
                    self.keys(entries, table, &[], path);
                    self.required(node, table, path);
                } else {
                    self.known(entry, key, &path.key(&entry.key));
                }
            } else if self.partial {
                self.any_variant(entries, union, path);
            } else {
                // The tag may only be misspelt.
                let slip = entries.iter().find(|entry| {
                    did_you_mean(&entry.key, [union.tag]).is_some()
                        && !union
                            .variants
                            .iter()
                            .any(|v| v.table.key(&entry.key).is_some())
                });
                if let Some(entry) = slip {
                    let message = format!("unknown key `{}`", shown(&entry.key));
                    let help = did_you_mean(&entry.key, [union.tag]);
                    self.report
                        .error(&path.key(&entry.key).at(entry.pos), message, help);
                    if let Ok(written) = text(&entry.value) {
                        self.meant(node, entries, Some(&entry.key), union, written, path);
                    }
                } else {
                    let message = format!("{} needs `{}`", union.what, union.tag);
                    self.report.error(
                        &path.at(node.pos),
                        message,
                        Some(format!("there are {}", names())),
                    );
                }
            }
            return;
        };
        let tag_path = path.key(union.tag);
        let written = match text(&tag.value) {
            Ok(written) => written,
            Err(message) => {
                self.report.error(
                    &tag_path.at(tag.value.pos),
                    message,
                    Some(format!("there are {}", names())),
                );
                return;
            }
        };
        let Some(variant) = union
            .variants
            .iter()
            .find(|variant| variant.name == written)
        else {
            let help = did_you_mean(written, union.variants.iter().map(|variant| variant.name))
                .unwrap_or_else(|| format!("there are {}", names()));
            let message = format!("unknown {} `{}`", union.tag, shown(written));
            self.report
                .error(&tag_path.at(tag.value.pos), message, Some(help));
            self.meant(node, entries, None, union, written, path);
            return;
        };
        if let Status::NotYet(instead) = variant.status {
            let message = format!(
                "`{}: {}` is not available in this version",
                union.tag, variant.name
            );
            self.report.error(
                &tag_path.at(tag.value.pos),
                message,
                Some(instead.to_owned()),
            );
        }
        self.variant(entries, union, variant.table, path);
        // What is missing under something that is not available is not worth a word.
        if matches!(variant.status, Status::Ready) {
            self.required(node, variant.table, path);
        }
    }

    /// The rest of what is misspelt in its tag, or in the name of its tag (`slip`), by the variant that must have been meant:
    /// else its other mistakes would come to light one run later.
    fn meant(
        &mut self,
        node: &Node,
        entries: &[Entry],
        slip: Option<&str>,
        union: &Union,
        written: &str,
        path: &Path<'_>,
    ) {
        let ready = |v: &&Variant| matches!(v.status, Status::Ready);
        let known = union.variants.iter().filter(ready);
        let Some(variant) = known.clone().find(|v| v.name == written).or_else(|| {
            known
                .clone()
                .find(|v| did_you_mean(written, [v.name]).is_some())
        }) else {
            return;
        };
        for entry in entries
            .iter()
            .filter(|entry| slip != Some(entry.key.as_str()))
        {
            self.variant(std::slice::from_ref(entry), union, variant.table, path);
        }
        self.required(node, variant.table, path);
    }

    /// Keys of one variant; one that belongs to another is told apart from one that does not exist.
    fn variant(&mut self, entries: &[Entry], union: &Union, table: &Table, path: &Path<'_>) {
        for entry in entries {
            let elsewhere = union.variants.iter().find(|v| {
                matches!(v.status, Status::Ready)
                    && v.table
                        .key(&entry.key)
                        .is_some_and(|key| matches!(key.status, Status::Ready))
            });
            match elsewhere {
                Some(owner) if table.key(&entry.key).is_none() => {
                    let (key, at) = (shown(&entry.key), path.key(&entry.key).at(entry.pos));
                    let help = Some(format!("`{}: {}` has it", union.tag, owner.name));
                    if union.lenient {
                        let message = format!("`{key}` does nothing in {}", table.what);
                        self.report.warning(&at, message, help);
                    } else {
                        let message = format!("{} has no `{key}`", table.what);
                        self.report.error(&at, message, help);
                    }
                }
                _ => self.keys(std::slice::from_ref(entry), table, &[union.tag], path),
            }
        }
    }

    /// A part of an overlay: the tag may be in what it is laid over, so a key of any variant will do.
    fn any_variant(&mut self, entries: &[Entry], union: &Union, path: &Path<'_>) {
        for entry in entries {
            let key = union
                .variants
                .iter()
                .find_map(|variant| variant.table.key(&entry.key));
            match (key, union.variants.first()) {
                (Some(key), _) => self.known(entry, key, &path.key(&entry.key)),
                (None, Some(first)) => {
                    self.keys(std::slice::from_ref(entry), first.table, &[union.tag], path);
                }
                (None, None) => {}
            }
        }
    }
}
