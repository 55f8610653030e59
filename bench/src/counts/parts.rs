//! The parts that are counted.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use loadr_config::Options;
use loadr_engine::Trial;
use loadr_plugin_host::{Host, Limits};
use loadr_target::CANNED_RESPONSE;

use crate::Outcome;

/// One part of a request's way.
pub(crate) enum Part {
    /// By itself, in this program: [`run_part`].
    Alone { name: &'static str, times: u64 },
    /// A run of loadr-fast with one user: iterations of this plan. Each is a turn of the driver's loop for every request.
    Run {
        name: &'static str,
        plan: &'static str,
        /// Whether all is told that there is to tell, to everything that needs no program beside; else nothing is.
        tells: bool,
    },
}

/// How many iterations a run has.
const RUN_TIMES: u64 = 10_000;

impl Part {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Alone { name, .. } | Self::Run { name, .. } => name,
        }
    }

    pub(crate) fn times(&self) -> u64 {
        match self {
            Self::Alone { times, .. } => *times,
            Self::Run { .. } => RUN_TIMES,
        }
    }
}

const PARSE: &str = "parse a response of 100 bytes";
const PARSE_LONG: &str = "parse a response of 1 KiB with 8 headers";
const PARSE_AGAIN: &str = "parse a response with the head of the last one";
const RENDER: &str = "render a static request";
const RENDER_TEMPLATED: &str = "render a templated request";
const RECORD: &str = "record a sample";
const WAKE: &str = "wake a virtual user and poll it";
const JUDGE: &str = "judge a status";
const JSON_PATH: &str = "take a JSONPath out of 1 KiB";
const PLUGIN: &str = "call a plugin on 1 KiB with 8 headers";

const fn alone(name: &'static str, times: u64) -> Part {
    Part::Alone { name, times }
}

pub(crate) const PARTS: &[Part] = &[
    alone(PARSE, 10_000),
    alone(PARSE_LONG, 10_000),
    alone(PARSE_AGAIN, 10_000),
    alone(RENDER, 10_000),
    alone(RENDER_TEMPLATED, 10_000),
    alone(RECORD, 10_000),
    alone(WAKE, 10_000),
    alone(JUDGE, 10_000),
    alone(JSON_PATH, 2000),
    alone(PLUGIN, 5000),
    Part::Run {
        name: "a turn of the driver's loop with a whole request",
        plan: "one.yaml",
        tells: false,
    },
    Part::Run {
        name: "the same, with the page and every output",
        plan: "one.yaml",
        tells: true,
    },
    Part::Run {
        name: "an iteration of the correlation plan",
        plan: "correlation-one.yaml",
        tells: false,
    },
];

/// Does one part so often.
///
/// # Errors
/// When there is no such part, or what it needs cannot be had.
pub(crate) fn run_part(name: &str, times: u64) -> Outcome<()> {
    let mut done = 0;
    match name {
        PARSE | PARSE_LONG => {
            let long = long_response();
            let response = if name == PARSE {
                &CANNED_RESPONSE[..]
            } else {
                &long
            };
            let mut trial = trial("url: 'http://h/'")?;
            for _ in 0..times {
                done += u64::from(trial.parse(black_box(response)));
            }
        }
        PARSE_AGAIN => {
            let response = long_response();
            let mut trial = trial("url: 'http://h/'")?;
            for _ in 0..times {
                done += u64::from(trial.parse_again(black_box(&response)));
            }
        }
        RENDER | RENDER_TEMPLATED => {
            let mut trial = trial(if name == RENDER {
                "url: 'http://127.0.0.1:8080/'"
            } else {
                "method: POST, url: 'http://h/users/${vu}?page=${iteration}', headers: { x-id: 'a-${vu}' }, \
                 body: { json: { user: '${vu}', item: 'article ${iteration}' } }"
            })?;
            for _ in 0..times {
                done += u64::from(black_box(trial.render()) > 0);
            }
        }
        RECORD => {
            let mut trial = trial("url: 'http://h/'")?;
            for at in 0..times {
                // From 100 µs to 1.1 ms and over again.
                trial.record(black_box(100_000 + at % 1000 * 1000));
                done += 1;
            }
        }
        WAKE => done = Trial::wake_and_poll(times).ok_or("there is no executor to be had")?,
        JUDGE | JSON_PATH => {
            let mut trial = trial(if name == JUDGE {
                "url: 'http://h/', assert: [ { type: status, equals: 200 } ]"
            } else {
                "url: 'http://h/', extract: [ { type: jsonpath, name: a, expression: $.order.id } ]"
            })?;
            let body = json();
            for _ in 0..times {
                done += u64::from(trial.judge(black_box(&body)));
            }
        }
        PLUGIN => done = call_plugin(times)?,
        _ => return Err(format!("there is no part `{name}`").into()),
    }
    if done == times {
        Ok(())
    } else {
        Err(format!("`{name}` went well {done} times of {times}").into())
    }
}

/// A trial of a request with these keys.
fn trial(keys: &str) -> Outcome<Trial> {
    let plan = format!(
        "scenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1, flow: [ {{ request: {{ {keys} }} }} ] }} }}"
    );
    let compiled = loadr_config::compile(&plan, Path::new("p.yaml"), &Options::default())
        .map_err(|failure| failure.to_string())?;
    Ok(Trial::new(Arc::new(compiled.program)).ok_or("the plan has a plugin")?)
}

const HEADERS: [(&str, &str); 8] = [
    ("server", "nginx/1.27.0 (stable)"),
    ("date", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("connection", "keep-alive"),
    ("cache-control", "no-store, max-age=0"),
    ("x-request-id", "6f1f4f5e-7c1c-4a5a"),
    ("vary", "accept-encoding"),
];

fn long_response() -> Vec<u8> {
    let fields: String = HEADERS
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut response = format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
    response.extend([b'x'; 1024]);
    response
}

/// 1 KiB, with what is asked for at its end.
fn json() -> Vec<u8> {
    let item = r#"{"sku":"W-1001","count":2,"price":12.5,"note":"a \"quoted\" word"},"#;
    let tail = r#"{}],"order":{"id":4711}}"#;
    let mut json = String::from(r#"{"items":["#);
    while json.len() + item.len() + tail.len() <= 1024 {
        json += item;
    }
    (json + tail).into_bytes()
}

fn call_plugin(times: u64) -> Outcome<u64> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins/order-id/order_id.wasm");
    let plugin = Host::new()?.load(&path)?;
    let mut instance = plugin.instantiate(&Limits::default())?;
    let tail = b"id=ORDER-42;";
    let mut body = vec![b'x'; 1024 - tail.len()];
    body.extend_from_slice(tail);
    let (mut out, mut found) = (Vec::new(), 0);
    for _ in 0..times {
        let config = r#"{"left":"id=","right":";"}"#;
        let call = instance.extract(black_box(&body), &HEADERS, config, &mut out)?;
        found += u64::from(call);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_stands_alone_does_what_it_says() {
        for part in PARTS {
            if let Part::Alone { name, .. } = part {
                run_part(name, 3).unwrap();
            }
        }
        assert!(run_part("none", 1).is_err());
    }
}
