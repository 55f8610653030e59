//! The effective document to a [`Plan`]. What does not fit the language has been reported by `language::check`, so here
//! it is passed over in silence: the same functions judge a value there and read it here.

mod data;
mod executor;
mod flow;
mod output;
mod reader;
mod request;
mod response;

use std::time::Duration;

use crate::language::{self, Kind, PLAN, Union};
use crate::node::{Content, Entry, Node, Path};
use crate::plan::{Capacity, Engine, Http, Plan, Plugin, Scenario, Text, Threshold, Tls, Variable};
use crate::program::{InstancePer, TlsVersion};
use executor::{read_executor, read_rate};
use flow::{read_steps, read_think};
use reader::{Reader, variant};

/// Reads the whole document.
pub(crate) fn read(document: &Node) -> Plan {
    let root = Reader {
        node: document,
        path: &Path::Root,
        table: &PLAN,
    };
    let mut plan = Plan {
        name: root.text("name"),
        base_url: None,
        headers: Vec::new(),
        timeout: None,
        http: Http::default(),
        tags: Vec::new(),
        think_time: None,
        variables: Vec::new(),
        secrets: data::read_secrets(&root),
        data: data::read_sources(&root),
        scenarios: Vec::new(),
        thresholds: Vec::new(),
        plugins: Vec::new(),
        capacity: None,
        metrics: Vec::new(),
        engine: Engine::default(),
        outputs: output::read_outputs(&root),
    };
    root.table("defaults", |defaults| {
        plan.tags = defaults.pairs("tags");
        plan.think_time = read_think(&defaults);
        defaults.table("http", |http| {
            plan.base_url = http.text("base_url");
            plan.headers = http.pairs("headers");
            plan.timeout = http.duration("timeout");
            plan.http = Http {
                follow_redirects: http.flag("follow_redirects"),
                max_redirects: http
                    .count("max_redirects")
                    .and_then(|n| u32::try_from(n).ok()),
                compression: http.flag("compression"),
                keep_alive: http.flag("keep_alive"),
                cookies: http.flag("cookies"),
                connect_timeout: http.duration("connect_timeout"),
                cache: http.flag("cache").unwrap_or(false),
                tracing: http.flag("tracing").unwrap_or(false),
                proxy: http.text("proxy"),
                dns_ttl: None,
                hosts: http.pairs("hosts"),
                tls: Tls::default(),
            };
            http.table("dns", |dns| plan.http.dns_ttl = dns.duration("ttl"));
            http.table("tls", |tls| plan.http.tls = read_tls(&tls));
        });
    });
    root.table("engine", |engine| plan.engine = read_engine(&engine));
    root.entries("variables", |entry, path| {
        let value = entry.value.clone();
        plan.variables.push(Variable {
            name: entry.key.clone(),
            at: path.at(entry.pos),
            value,
        });
    });
    root.entries("scenarios", |entry, path| {
        if let Some(Kind::Union(union)) = root.inner("scenarios") {
            plan.scenarios.push(scenario(entry, path, union));
        }
    });
    root.entries("thresholds", |entry, path| {
        thresholds(entry, path, &root, &mut plan.thresholds);
    });
    root.table("capacity", |capacity| {
        plan.capacity = Some(Capacity {
            slos: capacity.one_or_more("slo"),
            min_rate: capacity.text("min_rate"),
            max_rate: capacity.text("max_rate"),
            precision: capacity.text("precision"),
            step_duration: capacity.text("step_duration"),
            confirm: capacity.text("confirm"),
            target: capacity.text("target"),
            growth: capacity.text("growth"),
            scenario: capacity.text("scenario"),
        });
    });
    root.entries("metrics", |entry, path| {
        plan.metrics.push(Text {
            text: entry.key.clone(),
            at: path.at(entry.pos),
        });
    });
    root.items("plugins", |plugin| plan.plugins.extend(read_plugin(plugin)));
    plan
}

fn read_engine(reader: &Reader<'_>) -> Engine {
    let count = |name| reader.count(name).and_then(|n| u32::try_from(n).ok());
    Engine {
        cores: reader.text("cores"),
        source_ips: reader.one_or_more("source_ips"),
        spin: reader.duration("spin"),
        pipeline: count("pipeline").zip(reader.at("pipeline")),
        body_bytes_max: reader.size("max_body"),
        headers_max: count("max_headers"),
    }
}

fn read_tls(reader: &Reader<'_>) -> Tls {
    let version = |name| match reader.text(name)?.text.as_str() {
        "1.2" => Some(TlsVersion::V1_2),
        "1.3" => Some(TlsVersion::V1_3),
        _ => None,
    };
    Tls {
        at: Some(reader.path.at(reader.node.pos)),
        insecure_skip_verify: reader.flag("insecure_skip_verify").unwrap_or(false),
        ca_file: reader.text("ca_file"),
        cert_file: reader.text("cert_file"),
        key_file: reader.text("key_file"),
        server_name: reader.text("server_name"),
        min_version: version("min_version"),
        max_version: version("max_version"),
    }
}

fn scenario(entry: &Entry, path: &Path<'_>, union: &Union) -> Scenario {
    let mut scenario = Scenario {
        name: entry.key.clone(),
        at: path.at(entry.pos),
        executor: None,
        pacing: None,
        throttle: None,
        start_time: Duration::ZERO,
        graceful_stop: None,
        tags: Vec::new(),
        think_time: None,
        flow: Vec::new(),
    };
    // Without a known executor the shared keys are still read, by the first one's table.
    let known = variant(&entry.value, union);
    let Some(table) = known
        .map(|(_, table)| table)
        .or(union.variants.first().map(|v| v.table))
    else {
        return scenario;
    };
    let reader = Reader {
        node: &entry.value,
        path,
        table,
    };
    scenario.executor = known.and_then(|(name, _)| read_executor(name, &reader));
    scenario.pacing = read_rate(&reader, "pacing", "iterations_per_second");
    scenario.throttle = read_rate(&reader, "throttle", "requests_per_second");
    scenario.start_time = reader.duration("start_time").unwrap_or_default();
    scenario.graceful_stop = reader.duration("graceful_stop");
    scenario.tags = reader.pairs("tags");
    scenario.think_time = read_think(&reader);
    scenario.flow = read_steps(&reader, "flow");
    scenario
}

fn thresholds(entry: &Entry, path: &Path<'_>, root: &Reader<'_>, out: &mut Vec<Threshold>) {
    let Some(Kind::OneOrMore(Kind::TextOr(Kind::Table(table)))) = root.inner("thresholds") else {
        return;
    };
    let selector = Text {
        text: entry.key.clone(),
        at: path.at(entry.pos),
    };
    let mut read = |node: &Node, path: &Path<'_>| {
        if let Ok(text) = language::text(node) {
            out.push(Threshold {
                selector: selector.clone(),
                expression: Text {
                    text: text.to_owned(),
                    at: path.at(node.pos),
                },
                abort_on_fail: false,
                delay_abort_eval: Duration::ZERO,
            });
            return;
        }
        let reader = Reader { node, path, table };
        if let Some(expression) = reader.text("threshold") {
            out.push(Threshold {
                selector: selector.clone(),
                expression,
                abort_on_fail: reader.flag("abort_on_fail").unwrap_or(false),
                delay_abort_eval: reader.duration("delay_abort_eval").unwrap_or_default(),
            });
        }
    };
    match &entry.value.content {
        Content::List(items) => {
            for (i, item) in items.iter().enumerate() {
                read(item, &path.item(i));
            }
        }
        Content::Scalar(_) | Content::Map(_) => read(&entry.value, path),
    }
}

fn read_plugin(reader: Reader<'_>) -> Option<Plugin> {
    let mut plugin = Plugin {
        name: reader.text("name")?,
        path: reader.text("path"),
        config: reader.object("config"),
        call_timeout: None,
        memory_bytes: None,
        instance: match reader
            .text("instance")
            .as_ref()
            .map(|word| word.text.as_str())
        {
            Some("vu") => InstancePer::Vu,
            Some("call") => InstancePer::Call,
            _ => InstancePer::Shard,
        },
    };
    reader.table("limits", |limits| {
        plugin.call_timeout = limits.duration("call_timeout");
        plugin.memory_bytes = limits.size("memory");
    });
    Some(plugin)
}
