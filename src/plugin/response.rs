//! The response that `call` and `bench` show a plugin, from the command line.

use std::fs;
use std::io::{Read, stdin};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadr_plugin_host::{CallError, Exports, Instance, Kind, Limits, Plugin};
use serde_json::{Map, Value};

/// The response, and how the plugin is called.
#[derive(Debug, Args)]
pub(crate) struct ResponseArgs {
    /// The name of an installed plugin, or the path of a .wasm file or package directory (with a `/` or `.` in it).
    #[arg(value_name = "NAME|PATH")]
    pub(super) plugin: String,

    /// The response's body, a file; `-` is standard input. Default: empty.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// A response header. Can be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,

    /// The configuration, a JSON object, laid over the manifest's.
    #[arg(long, value_name = "JSON", value_parser = parse_config)]
    config: Option<Config>,

    /// The response's status, for an assertion.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..1000))]
    status: u16,

    /// How long the response took, in milliseconds, for an assertion.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    duration_ms: f64,

    /// What to call it as. Default: what it exports; if that is both, its kind.
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<As>,

    /// How long a call may take.
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = loadr_config::parse_duration)]
    call_timeout: Duration,

    /// How much memory the plugin may have.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = loadr_config::parse_size)]
    memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum As {
    Extractor,
    Assertion,
}

impl As {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Extractor => "extractor",
            Self::Assertion => "assertion",
        }
    }
}

/// A JSON object.
type Config = Map<String, Value>;

fn parse_config(text: &str) -> Result<Config, String> {
    serde_json::from_str(text).map_err(|error| format!("is not a JSON object: {error}"))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// What a plugin is called with, ready.
pub(super) struct Response {
    pub(super) kind: As,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
    status: u16,
    duration_ms: f64,
    config: String,
}

/// What a call gave.
pub(super) enum Answer {
    Value(Vec<u8>),
    NoValue,
    Verdict { pass: bool, detail: String },
}

impl ResponseArgs {
    #[allow(
        clippy::needless_update,
        reason = "right again when there is another limit"
    )]
    pub(super) fn limits(&self) -> Limits {
        Limits {
            call_timeout: self.call_timeout,
            memory_bytes: self.memory,
            ..Limits::default()
        }
    }

    /// Reads the body and lays the configuration over the plugin's own.
    pub(super) fn read(&self, plugin: &Plugin) -> Result<Response, String> {
        let mut body = Vec::new();
        match &self.body {
            None => {}
            Some(path) if path.as_os_str() == "-" => {
                stdin()
                    .read_to_end(&mut body)
                    .map_err(|error| format!("standard input: {error}"))?;
            }
            Some(path) => {
                body = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        let mut config = plugin.default_config().clone();
        config.extend(self.config.clone().unwrap_or_default());
        Ok(Response {
            kind: self.kind(plugin)?,
            body,
            headers: self.header.clone(),
            status: self.status,
            duration_ms: self.duration_ms,
            config: Value::Object(config).to_string(),
        })
    }

    fn kind(&self, plugin: &Plugin) -> Result<As, String> {
        let exports = plugin.exports();
        match (self.kind, exports) {
            (
                Some(As::Extractor),
                Exports {
                    extractor: false, ..
                },
            ) => Err(format!(
                "{} is no extractor; it exports only an assertion",
                plugin.name()
            )),
            (
                Some(As::Assertion),
                Exports {
                    assertion: false, ..
                },
            ) => Err(format!(
                "{} is no assertion; it exports only an extractor",
                plugin.name()
            )),
            (Some(kind), _) => Ok(kind),
            (
                None,
                Exports {
                    assertion: false, ..
                },
            ) => Ok(As::Extractor),
            (
                None,
                Exports {
                    extractor: false, ..
                },
            ) => Ok(As::Assertion),
            (None, _) => Ok(match plugin.kind() {
                Kind::Extractor => As::Extractor,
                Kind::Assertion => As::Assertion,
            }),
        }
    }
}

impl Response {
    pub(super) fn headers(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// One call. `headers` are [`headers`](Self::headers), made once; `text` is what the answer is written to, so that a
    /// benchmark does not measure allocations of its own. True for a value or a pass.
    pub(super) fn call(
        &self,
        instance: &mut Instance,
        headers: &[(&str, &str)],
        text: &mut (Vec<u8>, String),
    ) -> Result<bool, CallError> {
        match self.kind {
            As::Extractor => instance.extract(&self.body, headers, &self.config, &mut text.0),
            As::Assertion => {
                let (status, duration_ms) = (self.status, self.duration_ms);
                instance.check(
                    status,
                    &self.body,
                    headers,
                    duration_ms,
                    &self.config,
                    &mut text.1,
                )
            }
        }
    }

    /// One call, its answer as a value.
    pub(super) fn answer(&self, instance: &mut Instance) -> Result<Answer, CallError> {
        let mut text = (Vec::new(), String::new());
        let yes = self.call(instance, &self.headers(), &mut text)?;
        Ok(match self.kind {
            As::Extractor if yes => Answer::Value(text.0),
            As::Extractor => Answer::NoValue,
            As::Assertion => Answer::Verdict {
                pass: yes,
                detail: text.1,
            },
        })
    }
}
