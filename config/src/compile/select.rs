//! Which scenarios run: `--tags` and `--exclude-tags` against the scenarios' `tags`.

use std::collections::BTreeSet;

use super::Compiler;
use crate::Options;
use crate::diagnostic::{Report, shown};
use crate::node::{Content, Layer, Node, Path, Pos};
use crate::plan::Plan;

/// Takes the scenarios that are not selected out of the plan and of the document it was read from.
pub(crate) fn select(plan: &mut Plan, document: &mut Node, options: &Options, report: &mut Report) {
    if options.tags.is_empty() && options.exclude_tags.is_empty() {
        return;
    }
    let tags = scenario_tags(plan, options, report);
    let is_wanted = |tags: &Tags| {
        let carries = |wanted: &String| tags.iter().any(|tag| is(tag, wanted));
        (options.tags.is_empty() || options.tags.iter().any(carries))
            && !options.exclude_tags.iter().any(carries)
    };
    let wanted: Vec<bool> = tags.iter().map(is_wanted).collect();
    let all: BTreeSet<&str> = tags
        .iter()
        .flatten()
        .map(|(_, value)| value.as_str())
        .collect();
    for (flag, given) in [
        ("--tags", &options.tags),
        ("--exclude-tags", &options.exclude_tags),
    ] {
        for given in given {
            if !tags.iter().flatten().any(|tag| is(tag, given)) {
                let message = format!("no scenario has the tag `{}`", shown(given));
                let help = report
                    .suggest(given, all.iter().copied())
                    .unwrap_or_else(|| there(&all));
                report.warning(&of_flag(flag), message, Some(help));
            }
        }
    }
    if !wanted.contains(&true) && !wanted.is_empty() {
        let flag = if options.tags.is_empty() {
            "--exclude-tags"
        } else {
            "--tags"
        };
        report.error(
            &of_flag(flag),
            "no scenario is left to run".to_owned(),
            Some(there(&all)),
        );
        return;
    }
    let mut wanted = wanted.iter();
    let mut dropped = Vec::new();
    plan.scenarios.retain(|scenario| {
        let keep = wanted.next().copied().unwrap_or(true);
        if !keep {
            dropped.push(scenario.name.clone());
        }
        keep
    });
    if let Content::Map(entries) = &mut document.content
        && let Some(scenarios) = entries.iter_mut().find(|entry| entry.key == "scenarios")
        && let Content::Map(scenarios) = &mut scenarios.value.content
    {
        scenarios.retain(|scenario| !dropped.contains(&scenario.key));
    }
}

/// A scenario's tags: names and values.
type Tags = Vec<(String, String)>;

/// `wanted` is a value, or `name=value`.
fn is((name, value): &(String, String), wanted: &str) -> bool {
    let by_name = || {
        let rest = wanted.strip_prefix(name.as_str())?;
        rest.strip_prefix('=').filter(|rest| *rest == value)
    };
    value == wanted || by_name().is_some()
}

fn scenario_tags(plan: &Plan, options: &Options, report: &mut Report) -> Vec<Tags> {
    // What is wrong with a tag is reported once, here or later.
    let mut compiler = Compiler::new(plan, std::path::Path::new(""), options, report);
    compiler.variables();
    plan.scenarios
        .iter()
        .map(|scenario| {
            compiler.enter(scenario);
            compiler.tags(&[&scenario.tags])
        })
        .collect()
}

fn of_flag(flag: &'static str) -> crate::node::At {
    Path::Root.at(Pos {
        layer: Layer::Flag(flag),
        ..Pos::default()
    })
}

/// What tags there are, for people.
fn there(all: &BTreeSet<&str>) -> String {
    const MOST_NAMED: usize = 20;
    if all.is_empty() {
        return "no scenario has `tags`".to_owned();
    }
    let names: Vec<String> = all
        .iter()
        .take(MOST_NAMED)
        .map(|tag| format!("`{}`", shown(tag)))
        .collect();
    let more = if all.len() > MOST_NAMED {
        " and more"
    } else {
        ""
    };
    format!("there are {}{more}", names.join(", "))
}
