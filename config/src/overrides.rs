//! The command line's flags over the effective document: what each replaces, and what it cannot.

use std::time::Duration;

use crate::Options;
use crate::capacity::ProbeLoad;
use crate::diagnostic::{Report, shown};
use crate::language::{executor_keys, executors_with};
use crate::node::{Content, Entry, Layer, Node, Path, Pos, Typed};
use crate::units::{duration_text, parse_duration};

/// Puts the command line's overrides into the document, so that everything after sees one plan, its hash included.
pub(crate) fn lay_over(document: &mut Node, options: &Options, report: &mut Report) {
    if let Some(url) = &options.base_url {
        let value = Node::flag("--base-url", url.clone(), Typed::Text);
        set(document, &["defaults", "http", "base_url"], value);
    }
    if options.is_insecure {
        let value = Node::flag("--insecure", "true".to_owned(), Typed::Flag(true));
        let place = ["defaults", "http", "tls", "insecure_skip_verify"];
        set(document, &place, value);
    }
    if let Some(probe) = &options.probe {
        lay_probe(document, probe);
    }
    let engine = [
        ("--pipeline", "pipeline", options.pipeline.map(u64::from)),
        ("--max-body", "max_body", options.max_body_bytes),
        (
            "--max-headers",
            "max_headers",
            options.max_headers.map(u64::from),
        ),
    ];
    for (flag, key, number) in engine {
        if let Some(number) = number {
            let value = Node::flag(flag, number.to_string(), Typed::Integer(number.into()));
            set(document, &["engine", key], value);
        }
    }
    if !options.source_ips.is_empty() {
        let text = options.source_ips.join(",");
        let value = Node::flag("--source-ips", text, Typed::Text);
        set(document, &["engine", "source_ips"], value);
    }
    add_outputs(document, &options.outputs, report);
    if let Some(spin) = options.spin {
        let value = Node::flag("--spin", duration_text(spin), Typed::Text);
        set(document, &["engine", "spin"], value);
    }
    let Content::Map(entries) = &mut document.content else {
        return;
    };
    let Some(scenarios) = entries.iter_mut().find(|entry| entry.key == "scenarios") else {
        return;
    };
    let Content::Map(scenarios) = &mut scenarios.value.content else {
        return;
    };
    let overrides = [
        options.vus.map(|vus| Override {
            flag: "--vus",
            keys: &["vus"],
            value: (vus.to_string(), Typed::Integer(vus.into())),
        }),
        options.duration.map(|duration| Override {
            flag: "--duration",
            keys: &["duration", "max_duration", "stages"],
            value: (duration_text(duration), Typed::Text),
        }),
        options.iterations.map(|iterations| Override {
            flag: "--iterations",
            keys: &["iterations"],
            value: (iterations.to_string(), Typed::Integer(iterations.into())),
        }),
        options.rate.map(|rate| Override {
            flag: "--rate",
            keys: &["rate"],
            value: number(rate),
        }),
    ];
    for over in overrides.into_iter().flatten() {
        over.lay_over(scenarios, report);
    }
}

/// Leaves one scenario, with its flow and a rate of arrivals in place of its load; and nothing that would end the run
/// early or hold it back.
fn lay_probe(document: &mut Node, probe: &ProbeLoad) {
    const LEFT_OUT: [&str; 3] = ["thresholds", "capacity", "outputs"];
    const KEPT: [&str; 4] = ["flow", "tags", "think_time", "arrival"];
    let Content::Map(entries) = &mut document.content else {
        return;
    };
    entries.retain(|entry| !LEFT_OUT.contains(&entry.key.as_str()));
    let Some(scenarios) = entries.iter_mut().find(|entry| entry.key == "scenarios") else {
        return;
    };
    let Content::Map(scenarios) = &mut scenarios.value.content else {
        return;
    };
    scenarios.retain(|entry| entry.key == probe.scenario);
    let Some(scenario) = scenarios.first_mut() else {
        return;
    };
    let max_vus = scenario.value.get("max_vus").map(|written| {
        let written = crate::language::count(written, 1, u64::from(u32::MAX));
        written.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX))
    });
    let max_vus = max_vus.unwrap_or(0).max(probe.max_vus);
    if let Content::Map(keys) = &mut scenario.value.content {
        keys.retain(|entry| KEPT.contains(&entry.key.as_str()));
    }
    let text = |text: String| (text, Typed::Text);
    let whole = |n: u32| (n.to_string(), Typed::Integer(n.into()));
    for (key, (text, typed)) in [
        ("executor", text("constant-arrival-rate".to_owned())),
        ("rate", number(probe.rate)),
        ("duration", text(duration_text(probe.duration))),
        // Users are made when they are needed.
        ("pre_allocated_vus", whole(1)),
        ("max_vus", whole(max_vus)),
        ("graceful_stop", text(duration_text(probe.drain))),
    ] {
        set(
            &mut scenario.value,
            &[key],
            Node::flag("capacity", text, typed),
        );
    }
}

/// Adds the command line's outputs to the plan's.
fn add_outputs(document: &mut Node, outputs: &[String], report: &mut Report) {
    const FLAG: &str = "--output";
    let pos = Pos {
        layer: Layer::Flag(FLAG),
        ..Pos::default()
    };
    let mut items = Vec::new();
    for output in outputs {
        let Some((kind, target)) = output.split_once('=').filter(|(_, t)| !t.is_empty()) else {
            let message = format!("`{}` is not a kind and a target", shown(output));
            let help = "such as `json=results.jsonl` or `prometheus=127.0.0.1:9464`".to_owned();
            report.error(&Path::Root.at(pos), message, Some(help));
            continue;
        };
        let key = match kind {
            "prometheus" if !target.contains("://") => "listen",
            "prometheus" | "otlp" | "influxdb" => "url",
            "statsd" => "address",
            _ => "path",
        };
        let target = match key {
            // The shell's folder, as for every other file of the command line.
            "path" => std::path::absolute(target)
                .map_or_else(|_| target.to_owned(), |path| path.to_string_lossy().into()),
            _ => target.to_owned(),
        };
        let entry = |key: &str, text: String| Entry {
            key: key.to_owned(),
            pos,
            // It is a text of the shell's, not a template.
            value: Node::flag(FLAG, text.replace("${", "$${"), Typed::Text),
        };
        items.push(Node {
            pos,
            content: Content::Map(vec![entry("type", kind.to_owned()), entry(key, target)]),
        });
    }
    if items.is_empty() {
        return;
    }
    if let Content::Map(entries) = &mut document.content
        && let Some(Entry {
            value:
                Node {
                    content: Content::List(there),
                    ..
                },
            ..
        }) = entries.iter_mut().find(|entry| entry.key == "outputs")
    {
        there.extend(items);
    } else {
        let list = Node {
            pos,
            content: Content::List(items),
        };
        set(document, &["outputs"], list);
    }
}

/// A whole number as YAML has it, where it is one.
fn number(x: f64) -> (String, Typed) {
    #[allow(clippy::cast_possible_truncation)]
    if x.fract() == 0.0 && x.abs() < 1e15 {
        (format!("{x:.0}"), Typed::Integer(x as i128))
    } else {
        (x.to_string(), Typed::Float(x))
    }
}

/// A flag that replaces a key of every scenario that has one.
struct Override {
    flag: &'static str,
    /// The first one that the scenario's executor knows is replaced.
    keys: &'static [&'static str],
    value: (String, Typed),
}

impl Override {
    fn lay_over(self, scenarios: &mut [Entry], report: &mut Report) {
        let mut untouched = Vec::new();
        let mut is_of_use = false;
        for scenario in scenarios {
            let executor = scenario.value.get("executor").and_then(Node::scalar);
            let Some(knows) = executor.and_then(|executor| executor_keys(&executor.text)) else {
                // It has no executor, or none that there is: an error of its own.
                is_of_use = true;
                continue;
            };
            let Some(key) = self.keys.iter().find(|key| knows(key)) else {
                let executor = executor.map_or("", |executor| executor.text.as_str());
                untouched.push(format!("`{}` is `{executor}`", shown(&scenario.key)));
                continue;
            };
            is_of_use = true;
            let (text, typed) = self.value.clone();
            if *key == "stages" {
                scale(&mut scenario.value, &text);
            } else {
                let value = Node::flag(self.flag, text, typed);
                set(&mut scenario.value, &[key], value);
            }
            if self.flag == "--rate" {
                let second = Node::flag(self.flag, "1s".to_owned(), Typed::Text);
                set(&mut scenario.value, &["time_unit"], second);
            }
        }
        if untouched.is_empty() {
            return;
        }
        let at = Path::Root.at(Pos {
            layer: Layer::Flag(self.flag),
            ..Pos::default()
        });
        const MOST_NAMED: usize = 5;
        let more = untouched.len().saturating_sub(MOST_NAMED);
        untouched.truncate(MOST_NAMED);
        let mut named = untouched.join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        let of = executors_with(self.keys);
        let help = format!("it replaces `{}` in {of}", self.keys.join("` or `"));
        if is_of_use {
            report.warning(&at, format!("does nothing here: {named}"), Some(help));
        } else {
            let message = format!("no scenario has anything for it to replace: {named}");
            report.error(&at, message, Some(help));
        }
    }
}

/// Stretches or shrinks a scenario's stages to last so long together, each by the same factor. Leaves what is no list of
/// stages with durations, which is an error of its own.
fn scale(scenario: &mut Node, duration: &str) {
    let (Ok(duration), Content::Map(entries)) = (parse_duration(duration), &mut scenario.content)
    else {
        return;
    };
    let Some(stages) = entries.iter_mut().find(|entry| entry.key == "stages") else {
        return;
    };
    let Content::List(stages) = &mut stages.value.content else {
        return;
    };
    let written = |stage: &Node| {
        let scalar = stage.get("duration")?.scalar()?;
        parse_duration(&scalar.text).ok()
    };
    let Some(lengths) = stages.iter().map(written).collect::<Option<Vec<_>>>() else {
        return;
    };
    let total_ns: u128 = lengths.iter().map(Duration::as_nanos).sum();
    if total_ns == 0 {
        return;
    }
    // From the ends of the stages, so that what is cut off each does not add up.
    let mut passed_ns = 0;
    let mut start_ns = 0;
    for (stage, length) in stages.iter_mut().zip(lengths) {
        passed_ns += length.as_nanos();
        // Below 2^109: a duration is at most 366 days, and there are fewer stages than bytes in a plan.
        let end_ns = passed_ns * duration.as_nanos() / total_ns;
        let length_ns = u64::try_from(end_ns - start_ns).unwrap_or(u64::MAX);
        let text = duration_text(Duration::from_nanos(length_ns));
        set(
            stage,
            &["duration"],
            Node::flag("--duration", text, Typed::Text),
        );
        start_ns = end_ns;
    }
}

/// Sets the value at `path`, making mappings on the way; gives up where something else is in the way, which is an
/// error of its own.
fn set(node: &mut Node, path: &[&str], value: Node) {
    let Some((key, rest)) = path.split_first() else {
        *node = value;
        return;
    };
    if node.is_null() {
        node.content = Content::Map(Vec::new());
    }
    let Content::Map(entries) = &mut node.content else {
        return;
    };
    if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
        set(&mut entry.value, rest, value);
        if rest.is_empty() {
            entry.pos = entry.value.pos;
        }
    } else {
        let mut inner = Node {
            pos: value.pos,
            content: Content::Map(Vec::new()),
        };
        let pos = value.pos;
        set(&mut inner, rest, value);
        entries.push(Entry {
            key: (*key).to_owned(),
            pos,
            value: inner,
        });
    }
}
