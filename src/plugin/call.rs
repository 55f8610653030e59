//! `loadr-fast plugin call`: one call, and all that came of it.

use std::time::Instant;

use clap::Args;
use loadr_plugin_host::{Host, Printed};
use serde_json::{Value, json};

use super::response::{Answer, ResponseArgs};
use super::{Directory, load, print, print_json};

/// Nothing was found, or the assertion failed. Not 1, which is an error, nor 2, which is a command line that makes no sense.
const NO: u8 = 3;

pub(super) const HELP: &str = "\
What the plugin prints goes to standard error, its answer to standard output.

Examples:
  loadr-fast plugin call my-extractor --body page.html --config '{\"left\": \"id=\"}'
  curl -s http://localhost/ | loadr-fast plugin call ./my_check.wasm --body - --header 'content-type: text/html' --json

Exit codes:
  0 a value was found, or the assertion passed · 1 an error: no such plugin, or the call was cut or trapped ·
  3 nothing was found, or the assertion failed";

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    response: ResponseArgs,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CallArgs, directory: &Directory) -> Result<u8, String> {
    let host = Host::new().map_err(|error| error.to_string())?;
    let plugin = load(&host, directory, &args.response.plugin)?;
    let response = args.response.read(&plugin)?;
    let mut instance = plugin
        .instantiate(&args.response.limits())
        .map_err(|error| format!("{} cannot be started: {error}", plugin.name()))?;
    instance.keep_output();
    let began = Instant::now();
    let answer = response.answer(&mut instance);
    let duration_us = began.elapsed().as_nanos() as f64 / 1e3;
    let printed = instance.printed();
    if args.json {
        let mut out = json!({
            "plugin": plugin.name(),
            "version": plugin.version(),
            "as": response.kind.as_str(),
            "duration_us": duration_us,
            "stdout": String::from_utf8_lossy(&printed.stdout),
            "stderr": String::from_utf8_lossy(&printed.stderr),
        });
        let (key, value) = match &answer {
            Ok(Answer::Value(value)) => ("value", Value::from(String::from_utf8_lossy(value))),
            Ok(Answer::NoValue) => ("value", Value::Null),
            Ok(Answer::Verdict { pass, detail }) => {
                ("verdict", json!({ "pass": pass, "detail": detail }))
            }
            Err(error) => (
                "error",
                json!({ "kind": error.kind(), "message": error.to_string() }),
            ),
        };
        out[key] = value;
        print_json(&out);
    } else {
        show_printed(&printed);
        match &answer {
            Ok(Answer::Value(value)) => print(&format!("{}\n", String::from_utf8_lossy(value))),
            Ok(Answer::NoValue) => eprintln!("no value found"),
            Ok(Answer::Verdict { pass, detail }) => {
                let verdict = if *pass { "pass" } else { "fail" };
                let colon = if detail.is_empty() { "" } else { ": " };
                print(&format!("{verdict}{colon}{detail}\n"));
            }
            Err(error) => return Err(format!("{}: {}: {error}", plugin.name(), error.kind())),
        }
    }
    Ok(match answer {
        Ok(Answer::Value(_) | Answer::Verdict { pass: true, .. }) => 0,
        Ok(Answer::NoValue | Answer::Verdict { pass: false, .. }) => NO,
        Err(_) => 1,
    })
}

/// What the plugin printed, marked as its words: a terminal would obey some of its bytes, so those are escaped.
fn show_printed(printed: &Printed) {
    for (stream, bytes) in [("stdout", &printed.stdout), ("stderr", &printed.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            let line: String = line
                .chars()
                .map(|c| {
                    if c.is_control() && c != '\t' {
                        char::REPLACEMENT_CHARACTER
                    } else {
                        c
                    }
                })
                .collect();
            eprintln!("plugin {stream}: {line}");
        }
    }
    if printed.dropped_bytes > 0 {
        eprintln!("({} bytes more are not shown)", printed.dropped_bytes);
    }
}
