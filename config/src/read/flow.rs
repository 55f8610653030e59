//! The steps of a flow.

use std::time::Duration;

use super::reader::{Reader, variant};
use super::request::read_request;
use crate::language::{self, THINK_TIME};
use crate::node::{Content, Node, Path, Scalar};
use crate::plan::{Items, Rendezvous, Step, Text, Think};
use crate::program::{Pause, Strategy};

/// The default of `retry.times`.
const RETRY_TIMES: u64 = 3;

/// The list of steps under `name`.
pub(super) fn read_steps(reader: &Reader<'_>, name: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    reader.items(name, |step| steps.extend(read_step(&step)));
    steps
}

/// The think time under `think_time`.
pub(super) fn read_think(reader: &Reader<'_>) -> Option<Think> {
    let node = reader.node.get("think_time")?;
    let (name, table) = variant(node, &THINK_TIME)?;
    let path = &reader.path.key("think_time");
    let pause = Reader { node, path, table };
    let pause = match name {
        "constant" => Pause::Constant(pause.duration("duration")?),
        "uniform" => Pause::Uniform {
            min: pause.duration("min")?,
            max: pause.duration("max")?,
        },
        _ => Pause::Gaussian {
            mean: pause.duration("mean")?,
            std_dev: pause.duration("std_dev")?,
        },
    };
    Some(Think {
        pause,
        at: path.at(node.pos),
    })
}

fn read_step(step: &Reader<'_>) -> Option<Step> {
    if let Some(think) = read_think(step) {
        return Some(Step::Think(think));
    }
    let mut read = None;
    step.table("request", |r| {
        read = Some(Step::Request(Box::new(read_request(&r))));
    });
    step.table("group", |r| {
        read = Some(Step::Group {
            name: r.text("name"),
            steps: read_steps(&r, "steps"),
        });
    });
    step.table("repeat", |r| {
        read = Some(Step::Repeat {
            times: r.count("times").unwrap_or(1),
            counter: r.text("counter"),
            steps: read_steps(&r, "steps"),
        });
    });
    step.table("during", |r| {
        read = Some(Step::During {
            duration: r.duration("duration").unwrap_or_default(),
            counter: r.text("counter"),
            steps: read_steps(&r, "steps"),
        });
    });
    step.table("foreach", |r| read = read_foreach(&r));
    step.table("random", |r| read = Some(read_random(&r)));
    step.table("switch", |r| read = read_switch(&r));
    step.table("parallel", |r| read = Some(read_parallel(&r)));
    step.table("rendezvous", |r| read = read_rendezvous(&r));
    step.table("retry", |r| {
        read = Some(Step::Retry {
            times: r.count("times").unwrap_or(RETRY_TIMES),
            backoff: r.duration("backoff").unwrap_or(Duration::ZERO),
            steps: read_steps(&r, "steps"),
        });
    });
    read
}

fn read_foreach(reader: &Reader<'_>) -> Option<Step> {
    let node = reader.node.get("items")?;
    let path = &reader.path.key("items");
    let text = |node: &Node, path: &Path<'_>| Text {
        // What is no scalar goes in as JSON.
        text: match language::text(node) {
            Ok(text) => text.to_owned(),
            Err(_) => node.to_json().to_string(),
        },
        at: path.at(node.pos),
    };
    let items = match &node.content {
        Content::List(items) => {
            let items = items.iter().enumerate();
            let typed = |item: &Node| item.scalar().is_none_or(Scalar::is_json);
            Items::List(
                items
                    .map(|(i, item)| (text(item, &path.item(i)), typed(item)))
                    .collect(),
            )
        }
        Content::Scalar(_) | Content::Map(_) => Items::Json(text(node, path)),
    };
    Some(Step::ForEach {
        items,
        var: reader.text("var"),
        index: reader.text("index"),
        steps: read_steps(reader, "steps"),
    })
}

/// A list of steps that stands where the tables have no key for it.
fn read_list(node: &Node, path: &Path<'_>) -> Vec<Step> {
    let Content::List(items) = &node.content else {
        return Vec::new();
    };
    let table = language::a_step();
    let read = |(i, node)| {
        let path = &path.item(i);
        read_step(&Reader { node, path, table })
    };
    items.iter().enumerate().filter_map(read).collect()
}

fn read_parallel(reader: &Reader<'_>) -> Step {
    let path = reader.path.key("branches");
    let branches = match reader.node.get("branches").map(|node| &node.content) {
        Some(Content::List(branches)) => {
            let branches = branches.iter().enumerate();
            branches
                .map(|(i, node)| read_list(node, &path.item(i)))
                .collect()
        }
        _ => Vec::new(),
    };
    Step::Parallel {
        branches,
        at: reader.path.at(reader.node.pos),
    }
}

fn read_rendezvous(reader: &Reader<'_>) -> Option<Step> {
    Some(Step::Rendezvous(Rendezvous {
        name: reader.text("name")?,
        users: u32::try_from(reader.count("users")?).ok()?,
        timeout: reader.duration("timeout"),
    }))
}

fn read_random(reader: &Reader<'_>) -> Step {
    let strategy = reader.text("strategy").map(|strategy| strategy.text);
    let mut choices = Vec::new();
    reader.items("choices", |choice| {
        let weight = choice.number("weight").unwrap_or(1.0);
        choices.push((weight, read_steps(&choice, "steps")));
    });
    Step::Random {
        strategy: match strategy.as_deref() {
            Some("uniform") => Strategy::Uniform,
            Some("round_robin") => Strategy::RoundRobin,
            _ => Strategy::Weighted,
        },
        choices,
        at: reader.path.at(reader.node.pos),
    }
}

fn read_switch(reader: &Reader<'_>) -> Option<Step> {
    let mut cases = Vec::new();
    reader.entries("cases", |entry, path| {
        cases.push((entry.key.clone(), read_list(&entry.value, path)));
    });
    Some(Step::Switch {
        value: reader.text("value")?,
        cases,
        default: read_steps(reader, "default"),
    })
}
