//! A run without a plan, for those who know wrk, oha or hey: one request, as a plan. It is printed and then compiled
//! as any other, so that what is run is what `--print-plan` shows.

use std::path::PathBuf;
use std::time::Duration;

use crate::node::{Content, Entry, Node, Pos, Scalar, Typed};
use crate::print::print;
use crate::units::duration_text;

/// The connections when nothing is said of them.
const VUS: u32 = 50;
/// How long a run takes when nothing is said of it.
const DURATION: Duration = Duration::from_secs(10);
/// The time that a number of requests gets when no other is given.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// The most virtual users that an arrival rate may grow to when no number is given.
const MAX_VUS: u32 = 10_000;

/// One request, and how often it is sent.
#[derive(Clone, Debug, Default)]
pub struct Quick {
    /// Absolute. It may hold placeholders, as all texts here.
    pub url: String,
    /// GET; POST with a body.
    pub method: Option<String>,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Option<QuickBody>,
    /// Virtual users, each with its connection; 50.
    pub vus: Option<u32>,
    /// 10 s, unless a number of requests is given.
    pub duration: Option<Duration>,
    /// How many requests in all.
    pub iterations: Option<u64>,
    /// How many requests a second, whatever the target does: an open model.
    pub rate: Option<f64>,
}

/// What a [`Quick`] sends.
#[derive(Clone, Debug)]
pub enum QuickBody {
    /// This.
    Text(String),
    /// What is in this file.
    File(PathBuf),
}

impl Quick {
    /// The plan it amounts to.
    ///
    /// # Errors
    /// A sentence, when what is asked for contradicts itself.
    pub fn plan(&self) -> Result<String, String> {
        let mut request = vec![("url", text(&self.url))];
        if let Some(method) = &self.method {
            request.push(("method", text(method)));
        }
        if !self.headers.is_empty() {
            request.push(("headers", self.header_map()?));
        }
        match &self.body {
            None => {}
            Some(QuickBody::Text(body)) => request.push(("body", text(body))),
            Some(QuickBody::File(path)) => {
                let path = text(&path.to_string_lossy());
                request.push(("body", map(vec![("file", path)])));
            }
        }
        let mut scenario = self.executor()?;
        let step = map(vec![("request", map(request))]);
        scenario.push(("flow", node(Content::List(vec![step]))));
        let http = map(vec![("cookies", plain("false", Typed::Flag(false)))]);
        let plan = map(vec![
            ("name", text(&self.url)),
            // As with those other tools: requests that know nothing of each other.
            ("defaults", map(vec![("http", http)])),
            ("scenarios", map(vec![("requests", map(scenario))])),
        ]);
        Ok(print(&plan))
    }

    fn executor(&self) -> Result<Vec<(&'static str, Node)>, String> {
        let duration = |duration: Duration| text(&duration_text(duration));
        let vus = self.vus.unwrap_or(VUS);
        Ok(match (self.rate, self.iterations) {
            (Some(_), Some(_)) => {
                return Err(
                    "a rate and a number of requests at once: say how long with --duration instead of how many"
                        .to_owned(),
                );
            }
            (Some(rate), None) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let enough = (rate.ceil() as u32).clamp(VUS, MAX_VUS);
                vec![
                    ("executor", text("constant-arrival-rate")),
                    ("rate", decimal(rate)),
                    ("duration", duration(self.duration.unwrap_or(DURATION))),
                    ("pre_allocated_vus", whole(vus.into())),
                    ("max_vus", whole(self.vus.unwrap_or(enough).into())),
                ]
            }
            (None, Some(iterations)) => vec![
                ("executor", text("shared-iterations")),
                ("vus", whole(u64::from(vus).min(iterations))),
                ("iterations", whole(iterations)),
                (
                    "max_duration",
                    duration(self.duration.unwrap_or(MAX_DURATION)),
                ),
            ],
            (None, None) => vec![
                ("executor", text("constant-vus")),
                ("vus", whole(vus.into())),
                ("duration", duration(self.duration.unwrap_or(DURATION))),
            ],
        })
    }

    fn header_map(&self) -> Result<Node, String> {
        let mut entries: Vec<Entry> = Vec::new();
        for (name, value) in &self.headers {
            if entries
                .iter()
                .any(|entry| entry.key.eq_ignore_ascii_case(name))
            {
                return Err(format!("the header `{name}` is given twice"));
            }
            entries.push(Entry {
                key: name.clone(),
                pos: Pos::default(),
                value: text(value),
            });
        }
        Ok(node(Content::Map(entries)))
    }
}

fn node(content: Content) -> Node {
    Node {
        pos: Pos::default(),
        content,
    }
}

fn plain(text: &str, typed: Typed) -> Node {
    node(Content::Scalar(Scalar {
        text: text.to_owned(),
        typed,
    }))
}

fn text(content: &str) -> Node {
    plain(content, Typed::Text)
}

fn whole(number: u64) -> Node {
    plain(&number.to_string(), Typed::Integer(number.into()))
}

fn decimal(number: f64) -> Node {
    plain(&number.to_string(), Typed::Float(number))
}

fn map(entries: Vec<(&'static str, Node)>) -> Node {
    let entry = |(key, value): (&str, Node)| Entry {
        key: key.to_owned(),
        pos: Pos::default(),
        value,
    };
    node(Content::Map(entries.into_iter().map(entry).collect()))
}
