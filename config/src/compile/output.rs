//! `outputs`: where each leads, known before the run. What must be opened or reached is left to whoever does it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::Compiler;
use super::builder::Fragment;
use crate::diagnostic::shown;
use crate::node::At;
use crate::plan::{InfluxDb, Output as PlanOutput, OutputTo as To, Receiver as PlanReceiver, Text};
use crate::program::{Escape, Histograms, Output, OutputTo, Receiver, StatsdTags};
use crate::secret::Hidden;
use crate::url::{Authority, authority, check_scheme, scheme};

/// The default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The default of `linger`.
const LINGER: Duration = Duration::from_secs(15);
/// The default of `prefix`.
const PREFIX: &str = "loadr.";
/// The most outputs of one plan.
const MAX_OUTPUTS: usize = 16;
/// The most bytes of one text of an output.
const MAX_TEXT: usize = 64 << 10;

/// A receiver's URL in its parts.
struct Url {
    authority: Authority,
    /// Scheme, host and port.
    origin: String,
    path: String,
    /// Without its `?`.
    query: String,
}

impl Compiler<'_> {
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        let plan = self.plan;
        if let Some(one) = plan.outputs.get(MAX_OUTPUTS) {
            let message = format!("a plan has at most {MAX_OUTPUTS} outputs");
            self.report.error(&one.at, message, None);
        }
        let mut outputs = Vec::new();
        let mut files: HashMap<PathBuf, ()> = HashMap::new();
        for output in plan.outputs.iter().take(MAX_OUTPUTS) {
            let Some((shown, to)) = self.output(output) else {
                continue;
            };
            if let OutputTo::Json { path, .. } | OutputTo::Csv { path } = &to
                && files.insert(path.clone(), ()).is_some()
            {
                let message = format!("two outputs write to {}", path.display());
                self.report.error(&output.at, message, None);
            }
            outputs.push(Output {
                location: output.at.location(),
                shown,
                to,
            });
        }
        outputs
    }

    /// What it is to people, and where it leads.
    fn output(&mut self, output: &PlanOutput) -> Option<(String, OutputTo)> {
        let histograms = |is_native: bool| match is_native {
            true => Histograms::Native,
            false => Histograms::Classic,
        };
        Some(match &output.to {
            To::Json { path, samples } => {
                let (shown, path) = self.output_path(path)?;
                let samples = *samples;
                (format!("json {shown}"), OutputTo::Json { path, samples })
            }
            To::Csv { path } => {
                let (shown, path) = self.output_path(path)?;
                (format!("csv {shown}"), OutputTo::Csv { path })
            }
            To::Prometheus {
                listen,
                is_native,
                linger,
                url,
                receiver,
            } => match (listen, url) {
                (Some(listen), None) => {
                    let text = self.private_text(listen)?;
                    self.host_and_port(&text, 0, listen)?;
                    let to = OutputTo::PrometheusScrape {
                        listen: text.clone(),
                        histograms: histograms(*is_native),
                        linger: linger.unwrap_or(LINGER),
                    };
                    (format!("prometheus at {text}"), to)
                }
                (None, Some(text)) => {
                    let url = self.receiver_url(text)?;
                    let mut path = url.path.clone();
                    if path.is_empty() || path == "/" {
                        path = "/api/v1/write".to_owned();
                    }
                    let whole = url.with(&path, &[]);
                    let to = OutputTo::PrometheusWrite {
                        receiver: self.receiver(receiver, &url, whole)?,
                        histograms: histograms(*is_native),
                    };
                    (format!("prometheus {}", url.origin), to)
                }
                (Some(_), Some(text)) => {
                    let message = "a `prometheus` output has `listen` or `url`, not both";
                    let help = "write two outputs to be scraped and to write";
                    self.report
                        .error(&text.at, message.to_owned(), Some(help.to_owned()));
                    return None;
                }
                (None, None) => {
                    let message = "a `prometheus` output needs `listen` or `url`";
                    let help = "`listen: 127.0.0.1:9464` to be scraped, `url: http://prometheus:9090` to write";
                    self.report
                        .error(&output.at, message.to_owned(), Some(help.to_owned()));
                    return None;
                }
            },
            To::Otlp { url, receiver } => {
                let url = self.receiver_url(url)?;
                let mut path = url.path.clone();
                if path.is_empty() || path == "/" {
                    path = "/v1/metrics".to_owned();
                }
                let whole = url.with(&path, &[]);
                let to = OutputTo::Otlp(self.receiver(receiver, &url, whole)?);
                (format!("otlp {}", url.origin), to)
            }
            To::InfluxDb(influxdb) => self.influxdb(influxdb, &output.at)?,
            To::Statsd {
                address,
                prefix,
                by_name,
            } => {
                let text = self.private_text(address)?;
                self.host_and_port(&text, 1, address)?;
                let prefix = match prefix {
                    Some(prefix) => self.private_text(prefix)?,
                    None => PREFIX.to_owned(),
                };
                let to = OutputTo::Statsd {
                    address: text.clone(),
                    prefix,
                    tags: if *by_name {
                        StatsdTags::Name
                    } else {
                        StatsdTags::Dogstatsd
                    },
                };
                (format!("statsd {text}"), to)
            }
        })
    }

    fn influxdb(&mut self, plan: &InfluxDb, at: &At) -> Option<(String, OutputTo)> {
        let InfluxDb {
            url,
            database,
            username,
            password,
            org,
            bucket,
            token,
            receiver,
        } = plan;
        let url = self.receiver_url(url)?;
        let mut text = |text: &Option<Text>| match text {
            Some(text) => self.private_text(text).map(Some),
            None => Some(None),
        };
        let (database, username, password) = (text(database)?, text(username)?, text(password)?);
        let (org, bucket, token) = (text(org)?, text(bucket)?, text(token)?);
        let is_v2 = bucket.is_some()
            || org.is_some()
            || url.path.ends_with("/api/v2/write")
            || url.query.split('&').any(|q| q.starts_with("bucket="));
        let base = url.path.trim_end_matches('/');
        let mut create = None;
        let (whole, authorization) = if is_v2 {
            if database.is_some() {
                let message =
                    "`database` is of a server of version 1, `bucket` and `org` of later ones";
                self.report.error(at, message.to_owned(), None);
                return None;
            }
            let has = |name: &str| url.query.split('&').any(|q| q.starts_with(name));
            if bucket.is_none() && !has("bucket=") {
                let message = "an `influxdb` output with an `org` needs a `bucket`";
                self.report.error(at, message.to_owned(), None);
                return None;
            }
            let path = match base.ends_with("/api/v2/write") {
                true => base.to_owned(),
                false => format!("{base}/api/v2/write"),
            };
            let mut query = vec![("precision", "ms")];
            query.extend(org.as_deref().map(|org| ("org", org)));
            query.extend(bucket.as_deref().map(|bucket| ("bucket", bucket)));
            let token = token.or_else(|| self.options.environment.get("INFLUX_TOKEN").cloned());
            let authorization = token.map(|token| format!("Token {token}"));
            (url.with(&path, &query), authorization)
        } else {
            let (path, name) = match &database {
                Some(name) => (base.to_owned(), Some(name.clone())),
                None if base.ends_with("/write") => (base.to_owned(), None),
                None => match base.rsplit_once('/') {
                    Some((before, name)) if !name.is_empty() => {
                        (before.to_owned(), Some(name.to_owned()))
                    }
                    _ => {
                        let message = "the `influxdb` output does not say where to write to";
                        let help = "end the URL with the database's name, such as `http://influx:8086/NAME`; in a plan `database: NAME` does as well, \
                                    or `org` and `bucket` for a server from version 2 on";
                        self.report
                            .error(at, message.to_owned(), Some(help.to_owned()));
                        return None;
                    }
                },
            };
            let (write, mut query) = (
                match path.ends_with("/write") {
                    true => path.clone(),
                    false => format!("{path}/write"),
                },
                vec![("precision", "ms")],
            );
            if let Some(name) = &name {
                query.push(("db", name));
                let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
                let statement = format!("CREATE DATABASE \"{quoted}\"");
                let path = format!("{}/query", path.trim_end_matches("/write"));
                create = Some(url.with(&path, &[("q", &statement)]));
            }
            let authorization = username.map(|name| {
                let pair = format!("{name}:{}", password.unwrap_or_default());
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            });
            (url.with(&write, &query), authorization)
        };
        let mut receiver = self.receiver(receiver, &url, whole)?;
        if let Some(authorization) = authorization {
            let value = Hidden::new(authorization.into_bytes());
            receiver.headers.push(("authorization".to_owned(), value));
        }
        let create = create.map(|url: String| Hidden::new(url.into_bytes()));
        Some((
            format!("influxdb {}", url.origin),
            OutputTo::InfluxDb { receiver, create },
        ))
    }

    /// The path as it is written, and from the plan's folder.
    fn output_path(&mut self, text: &Text) -> Option<(String, PathBuf)> {
        let written = self.private_text(text)?;
        let path = self.folder.join(&written);
        // Only fails when there is no current directory; then the path is as good as it gets.
        Some((written, std::path::absolute(&path).unwrap_or(path)))
    }

    /// A text that is known before the run and may hold secrets.
    fn private_text(&mut self, text: &Text) -> Option<String> {
        let mut out = String::new();
        for fragment in self.fold(text)? {
            match fragment {
                Fragment::Text(text) => out.push_str(&text),
                Fragment::Secret(secret) => out.push_str(&secret),
                Fragment::Value(_) => {
                    let message = format!(
                        "an output cannot depend on what is known only in the run: `{}`",
                        shown(&text.text)
                    );
                    let help =
                        "constants can be used: `${env.NAME}`, `${vars.name}`, `${secrets.name}`";
                    self.report.error(&text.at, message, Some(help.to_owned()));
                    return None;
                }
            }
        }
        let wrong = if out.is_empty() {
            Some("is empty".to_owned())
        } else if out.len() > MAX_TEXT {
            Some(format!("is longer than {} KiB", MAX_TEXT >> 10))
        } else if out.chars().any(char::is_control) {
            // In a header it would be another one.
            Some("holds a control character".to_owned())
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let message = format!("`{}` {wrong}", shown(&text.text));
            self.report.error(&text.at, message, None);
            return None;
        }
        Some(out)
    }

    /// Holds `host:port` to its form. `least`: the lowest port there is.
    fn host_and_port(&mut self, text: &str, least: u16, written: &Text) -> Option<()> {
        let wanted = "expected a host and a port, such as `127.0.0.1:8125`".to_owned();
        let judged = match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => match port.parse::<u16>() {
                Ok(port) if port >= least => authority(host, false).map(drop),
                _ => Err((wanted, None)),
            },
            _ => Err((wanted, None)),
        };
        match judged {
            Ok(()) => Some(()),
            Err((message, help)) => {
                let message = format!("`{}`: {message}", shown(&written.text));
                self.report.error(&written.at, message, help);
                None
            }
        }
    }

    fn receiver_url(&mut self, written: &Text) -> Option<Url> {
        let text = self.private_text(written)?;
        let judged = match scheme(&text) {
            Some((scheme, rest)) => check_scheme(scheme).and_then(|tls| {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let authority = authority(&rest[..end], tls)?;
                let rest = rest[end..].split('#').next().unwrap_or_default();
                let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
                if !rest.bytes().all(|b| b.is_ascii_graphic()) {
                    let message = "it has characters that no URL has".to_owned();
                    let help = Some("write them percent-encoded".to_owned());
                    return Err((message, help));
                }
                Ok(Url {
                    origin: format!(
                        "{}://{}",
                        if tls { "https" } else { "http" },
                        authority.text
                    ),
                    authority,
                    path: path.to_owned(),
                    query: query.to_owned(),
                })
            }),
            None => Err((
                "it is no URL".to_owned(),
                Some("write the whole URL, such as `http://127.0.0.1:4318`".to_owned()),
            )),
        };
        match judged {
            Ok(url) => Some(url),
            Err((message, help)) => {
                let message = format!("`{}`: {message}", shown(&written.text));
                self.report.error(&written.at, message, help);
                None
            }
        }
    }

    fn receiver(&mut self, plan: &PlanReceiver, url: &Url, whole: String) -> Option<Receiver> {
        let mut headers = Vec::new();
        for pair in &plan.headers {
            let name = pair.name.text.to_ascii_lowercase();
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(is_token) {
                let message = format!("`{}` is not a header name", shown(&pair.name.text));
                self.report.error(&pair.name.at, message, None);
                continue;
            }
            if [
                "content-type",
                "content-length",
                "content-encoding",
                "host",
                "transfer-encoding",
            ]
            .contains(&name.as_str())
            {
                let message = format!("the output itself sets `{name}`");
                self.report.error(&pair.name.at, message, None);
                continue;
            }
            let value = self.private_text(&pair.value)?;
            headers.push((name, Hidden::new(value.into_bytes())));
        }
        let ca_file = match &plan.ca_file {
            Some(text) => Some(self.output_path(text)?.1),
            None => None,
        };
        Some(Receiver {
            url: Hidden::new(whole.into_bytes()),
            host: url.authority.host.clone(),
            port: url.authority.port,
            tls: url.authority.tls,
            headers,
            timeout: plan.timeout.unwrap_or(TIMEOUT),
            ca_file,
            insecure_skip_verify: plan.insecure_skip_verify,
        })
    }
}

impl Url {
    /// The URL with another path, and more in its query.
    fn with(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut url = format!("{}{path}", self.origin);
        let mut mark = '?';
        if !self.query.is_empty() {
            url.push(mark);
            url.push_str(&self.query);
            mark = '&';
        }
        for (name, value) in more {
            let mut bytes = Vec::new();
            Escape::Component.write(value.as_bytes(), &mut bytes);
            url.push(mark);
            url.push_str(name);
            url.push('=');
            // Percent-encoding makes nothing but ASCII.
            url.push_str(&String::from_utf8_lossy(&bytes));
            mark = '&';
        }
        url
    }
}
