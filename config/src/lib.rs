//! The loadr plan language: YAML text to [`Program`], which is what the engine runs.
//!
//! Data flows one way, a stage a module:
//!
//! | stage | module | makes |
//! |---|---|---|
//! | read the YAML, with positions | `document` | a tree of nodes |
//! | lay `env` and command-line overrides over it | `overlay`, `overrides` | the effective tree |
//! | hold it against the language | `language` | errors for keys and shapes |
//! | read it | `plan` | the plan as written |
//! | compile it | `compile` | the [`Program`] |
//!
//! Every stage reports all the errors it finds and the later stages go on with what is sound, so that
//! one run shows every mistake of a plan.
//!
//! What a plan can say is in the tables of `language`. What it says of the language but this version does not do is
//! refused by name and never passed over.
//!
//! ```
//! use std::path::Path;
//!
//! let plan = "
//! scenarios:
//!   api:
//!     executor: constant-vus
//!     vus: 10
//!     duration: 30s
//!     flow:
//!       - request: { url: 'http://localhost:8080/' }
//! ";
//! let options = loadr_config::Options::default();
//! let compiled = loadr_config::compile(plan, Path::new("plan.yaml"), &options)?;
//! assert_eq!(compiled.program.requests.len(), 1);
//! # Ok::<(), loadr_config::Failure>(())
//! ```

mod capacity;
mod compile;
mod cores;
mod data;
mod diagnostic;
mod document;
mod escape;
mod file;
mod hash;
mod language;
mod masked;
mod metrics;
mod node;
mod outline;
mod overlay;
mod overrides;
mod plan;
mod print;
mod program;
mod quick;
mod read;
mod secret;
mod template;
mod threshold;
mod units;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use capacity::{
    CapacityPlan, ProbeLoad, SloRule, parse_rate, parse_share, parse_slo, parse_step,
};
pub use cores::CoreChoice;
use diagnostic::Report;
pub use diagnostic::{Diagnostic, Failure, did_you_mean};
pub use hash::fingerprint;
pub use metrics::{BUILT_IN_TAGS, METRICS, MetricKind};
pub use outline::Outline;
pub use program::*;
pub use quick::{Quick, QuickBody};
pub use units::{MAX_DURATION, duration_text, parse_duration, parse_size};
pub use url::Authority;

/// The largest plan that is read, in bytes.
pub const MAX_PLAN_BYTES: u64 = 16 << 20;

/// What the command line and the process lay over a plan.
#[derive(Clone, Default)]
pub struct Options {
    /// The `env` overlay to use.
    pub env: Option<String>,
    /// Replaces `defaults.http.base_url`, wherever the plan or an overlay sets it.
    pub base_url: Option<String>,
    /// Takes any certificate, as `defaults.http.tls.insecure_skip_verify` does.
    pub is_insecure: bool,
    /// Replaces `engine.source_ips`.
    pub source_ips: Vec<String>,
    /// Replaces `vus` in every scenario that has a fixed number of them. One that applies to no scenario is an error, as
    /// with the next three.
    pub vus: Option<u32>,
    /// Replaces `duration`, or `max_duration` where the executor counts iterations; stages are stretched to it.
    pub duration: Option<Duration>,
    /// Replaces `iterations`: of each virtual user, or of all, as the executor has it.
    pub iterations: Option<u64>,
    /// Replaces `rate`, as iterations each second.
    pub rate: Option<f64>,
    /// Replaces `engine.spin`.
    pub spin: Option<Duration>,
    /// When there are any, only scenarios run that have one of them: the value of one of the scenario's `tags`, or
    /// `name=value`.
    pub tags: Vec<String>,
    /// Scenarios that have one of these do not run.
    pub exclude_tags: Vec<String>,
    /// What a probe of a capacity search is: nothing else of the plan's load is left.
    pub probe: Option<ProbeLoad>,
    /// More outputs than the plan's: `KIND=TARGET`, each as it was written.
    pub outputs: Vec<String>,
    /// Replaces `engine.pipeline`.
    pub pipeline: Option<u32>,
    /// Replaces `engine.max_body`.
    pub max_body_bytes: Option<u64>,
    /// Replaces `engine.max_headers`.
    pub max_headers: Option<u32>,
    /// The process environment, for `${env.NAME}`.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for Options {
    /// Without the environment's values: some of them are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("env", &self.env)
            .field("base_url", &self.base_url)
            .field("environment", &self.environment.len())
            .finish_non_exhaustive()
    }
}

/// A compiled plan and what is odd about it.
#[derive(Debug)]
pub struct Compiled {
    /// What the engine runs.
    pub program: Program,
    /// What `capacity` is to look for, if the plan says something of it.
    pub capacity: Option<CapacityPlan>,
    document: node::Node,
    /// Things that are allowed but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

impl Compiled {
    /// The effective plan as YAML: overlay and overrides in, scenarios that do not run out. It compiles to the same
    /// program, but for the password of a proxy that is spelled out in the plan: that is masked. Relative paths in it are still
    /// relative to the folder of the plan it came from.
    #[must_use]
    pub fn effective_plan(&self) -> String {
        print::print(&masked::masked(&self.document))
    }
}

/// Reads the plan at `path` and compiles it.
///
/// # Errors
/// When `path` is not a readable regular file of at most [`MAX_PLAN_BYTES`] of UTF-8, and as [`compile`].
pub fn load(path: &Path, options: &Options) -> Result<Compiled, Failure> {
    let text = read_file(path).map_err(|message| Failure::of_file(path, message, None))?;
    compile(&text, path, options)
}

fn read_file(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, MAX_PLAN_BYTES)
        .map_err(|error| error.replace("is larger", "the plan is larger"))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = file::bad_line(error.as_bytes()).unwrap_or_default();
        format!("is not UTF-8: line {line} has a byte that no UTF-8 text has there")
    })
}

/// Compiles a plan's text. `file` names it in errors, gives the plan its name when it has none, and is what relative
/// paths in it are relative to; it is not read, but the files that the plan names are.
///
/// # Errors
/// [`Failure`], with every error of the plan.
pub fn compile(text: &str, file: &Path, options: &Options) -> Result<Compiled, Failure> {
    if text.len() as u64 > MAX_PLAN_BYTES {
        let message = format!("the plan is larger than {} MiB", MAX_PLAN_BYTES >> 20);
        return Err(Failure::of_file(file, message, None));
    }
    let mut report = Report::default();
    match stages(text, file, options, &mut report) {
        Some((program, capacity, document)) if !report.has_errors() => Ok(Compiled {
            program,
            capacity,
            document,
            warnings: report.into_warnings(),
        }),
        _ => Err(report.failure(file)),
    }
}

/// The JSON Schema (2020-12) of plans, from the tables that reading uses.
#[must_use]
pub fn schema() -> serde_json::Value {
    language::schema()
}

/// Reads a threshold that stands in a summary: `http_req_duration{name:home}` and `p(95)<400`. It aborts nothing.
///
/// # Errors
/// What is wrong with it.
pub fn parse_threshold(metric: &str, expression: &str) -> Result<Threshold, String> {
    let selector = threshold::selector(metric).map_err(|(message, _)| message)?;
    let rule = threshold::rule(expression, selector.kind).map_err(|(message, _)| message)?;
    Ok(Threshold {
        metric: selector.metric.to_owned(),
        tags: selector.tags,
        expression: expression.to_owned(),
        aggregation: rule.aggregation,
        comparison: rule.comparison,
        bound: rule.bound,
        abort_on_fail: false,
        delay_abort_eval: Duration::ZERO,
        location: Location {
            path: "thresholds".to_owned(),
            line: 0,
            column: 0,
        },
    })
}

/// All stages after one another: the program, and the effective document. `None` when the text is no document, which
/// has then been reported.
fn stages(
    text: &str,
    file: &Path,
    options: &Options,
    report: &mut Report,
) -> Option<(Program, Option<CapacityPlan>, node::Node)> {
    let document = document::read(text, report)?;
    let (mut document, overlays) = overlay::apply(document, options, report);
    overrides::lay_over(&mut document, options, report);
    language::check_plan(&document, overlays.as_ref(), options.env.as_deref(), report);
    let mut plan = read::read(&document);
    compile::select(&mut plan, &mut document, options, report);
    let hash = hash::plan_hash(&document);
    let capacity = compile::capacity(&plan, report);
    let program = compile::compile(&plan, file, hash, options, report);
    Some((program, capacity, document))
}
