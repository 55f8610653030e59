//! What is run: a plan in a file, or the one that a URL and its flags amount to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use loadr_config::{Compiled, Diagnostic, Options, Quick, QuickBody};

use crate::cli::RunArgs;
use crate::findings::Shown;

/// Where a run's plan comes from.
pub(crate) enum Source {
    /// It is in this file.
    File(PathBuf),
    /// It was made of a URL and flags: its text.
    Quick(String),
}

impl Source {
    /// What the arguments say.
    pub(crate) fn of(args: &RunArgs) -> Result<Self, String> {
        let plan = args.plan.as_deref().ok_or("name a plan, or a URL")?;
        let Some(url) = url(plan) else {
            let request = &args.request;
            if !request.headers.is_empty() || request.method.is_some() || request.body.is_some() {
                return Err(format!(
                    "--header, --method and --body go with a URL; {} is a plan and says itself what is sent",
                    plan.display()
                ));
            }
            return Ok(Self::File(plan.to_owned()));
        };
        if args.env.is_some() || !args.load.tags.is_empty() || !args.load.exclude_tags.is_empty() {
            return Err(
                "--env, --tags and --exclude-tags choose from a plan; a URL has none".to_owned(),
            );
        }
        let body = args
            .request
            .body
            .as_deref()
            .map(|body| match body.strip_prefix('@') {
                // The plan lies nowhere, so that nothing can be relative to it.
                Some(file) => {
                    QuickBody::File(std::path::absolute(file).unwrap_or_else(|_| file.into()))
                }
                None => QuickBody::Text(body.to_owned()),
            });
        let quick = Quick {
            url: url.to_owned(),
            method: args.request.method.clone(),
            headers: args.request.headers.clone(),
            body,
            vus: args.load.vus,
            duration: args.load.duration,
            iterations: args.load.iterations,
            rate: args.load.rate,
        };
        quick.plan().map(Self::Quick)
    }

    /// A plan's file, or the requests that a URL alone amounts to, in the open model.
    pub(crate) fn of_place(place: &Path) -> Result<Self, String> {
        let Some(url) = url(place) else {
            return Ok(Self::File(place.to_owned()));
        };
        let quick = Quick {
            url: url.to_owned(),
            rate: Some(1.0),
            ..Quick::default()
        };
        quick.plan().map(Self::Quick)
    }

    /// Compiles it with just these options.
    pub(crate) fn load(&self, options: &Options) -> Result<Compiled, String> {
        match self {
            Self::File(path) => loadr_config::load(path, options),
            Self::Quick(text) => loadr_config::compile(text, Path::new("url"), options),
        }
        .map_err(|failure| self.located("error", &failure.diagnostics))
    }

    /// Compiles it. `options` holds what is laid over any plan, and nothing of the load.
    pub(crate) fn compile(&self, args: &RunArgs, options: Options) -> Result<Compiled, String> {
        let options = Options {
            source_ips: args.source_ips.clone(),
            ..options
        };
        match self {
            Self::File(path) => {
                let load = &args.load;
                let options = Options {
                    vus: load.vus,
                    duration: load.duration,
                    iterations: load.iterations,
                    rate: load.rate,
                    tags: load.tags.clone(),
                    exclude_tags: load.exclude_tags.clone(),
                    ..options
                };
                loadr_config::load(path, &options).map_err(|failure| {
                    let told = self.located("error", &failure.diagnostics);
                    told + missing(path).unwrap_or_default()
                })
            }
            Self::Quick(_) => self.load(&options),
        }
    }

    /// Findings for people, each with the line of the plan that it is about; `severity` comes before all but the first.
    pub(crate) fn located(&self, severity: &str, diagnostics: &[Diagnostic]) -> String {
        let mut out = String::new();
        let shown = match self {
            Self::File(path) => Some(Shown::of(path, diagnostics)),
            Self::Quick(_) => None,
        };
        for (i, diagnostic) in diagnostics.iter().enumerate() {
            if i > 0 {
                out.push_str(severity);
                out.push_str(": ");
            }
            // Writing to a String cannot fail.
            let _ = match &shown {
                Some(shown) => shown.write(&mut out, diagnostic),
                // Lines and columns of a plan that nobody wrote tell nobody anything.
                None => write_bare(&mut out, diagnostic),
            };
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn write_bare(out: &mut String, diagnostic: &Diagnostic) -> std::fmt::Result {
    // A number alone says nothing; what a flag or an argument is about is in the plan's key for it.
    let key = diagnostic.path.rsplit('.').next().unwrap_or_default();
    if [
        "vus",
        "max_vus",
        "pre_allocated_vus",
        "iterations",
        "rate",
        "duration",
    ]
    .contains(&key)
    {
        write!(out, "{key}: ")?;
    }
    writeln!(out, "{}", diagnostic.message)?;
    match &diagnostic.help {
        Some(help) => writeln!(out, "  help: {help}"),
        None => Ok(()),
    }
}

/// What to add where there is no such file: what somebody who comes from another tool may have meant.
fn missing(path: &Path) -> Option<&'static str> {
    if path.exists() {
        return None;
    }
    let text = path.to_str()?;
    let is_like_plan = text.ends_with(".yaml") || text.ends_with(".yml");
    Some(if text == "-" {
        "\n  help: a plan is read from a file, not from standard input"
    } else if !is_like_plan && text.contains([':', '.']) && !text.starts_with(['.', '/']) {
        "\n  help: a URL begins with `http://` or `https://`"
    } else {
        return None;
    })
}

/// The argument as a URL, when it is one.
fn url(argument: &Path) -> Option<&str> {
    let text = argument.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    is_scheme.then_some(text)
}
