//! The compiled plan: what a run executes. No names are left to look up here, only indices; the names
//! that remain are for output. Made by [`crate::compile`], read by the engine, never changed after.

mod json_path;
mod response;

use std::path::PathBuf;
use std::time::Duration;

pub use json_path::{
    JsonPath, PathFilter, PathOperator, PathQuery, PathSegment, PathSelector, PathValue,
};
use regex::bytes::Regex;
pub use response::{
    Assert, Cast, Check, Condition, Extract, ExtractSource, OnFailure, Pick, Refine, Transform,
    ValueCheck, Wants,
};
use scraper::Selector;
use serde_json::{Map, Value as Json};

macro_rules! index_type {
    ($(#[$doc:meta] $name:ident)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// The index as what slices take.
            #[must_use]
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

index_type! {
    /// Indexes [`Program::origins`].
    OriginId
    /// Indexes [`Program::vars`]: a value each virtual user holds for itself.
    VarId
    /// Indexes [`Program::requests`].
    RequestId
    /// Indexes [`Program::scenarios`].
    ScenarioId
    /// Indexes [`Program::plugins`].
    PluginId
    /// Indexes [`Program::call_sites`].
    CallSiteId
    /// Indexes [`Program::checks`].
    CheckId
    /// Indexes [`Program::regexes`].
    RegexId
    /// Indexes [`Program::json_paths`].
    JsonPathId
    /// Indexes [`Program::jmes_paths`].
    JmesPathId
    /// Indexes [`Program::xpaths`].
    XPathId
    /// Indexes [`Program::selectors`].
    SelectorId
}

/// A whole compiled plan.
#[derive(Debug)]
pub struct Program {
    /// The plan's `name`, or its file's stem.
    pub name: String,
    /// SHA-256 of the effective plan (after overlays and overrides), lower-case hexadecimal.
    pub plan_hash: String,
    /// Every origin that a request can go to, each once.
    pub origins: Vec<Origin>,
    /// Names of the virtual users' variables, by [`VarId`].
    pub vars: Vec<String>,
    /// Every `request` step of every scenario, in the order of the plan.
    pub requests: Vec<Request>,
    /// The scenarios in the order of the plan.
    pub scenarios: Vec<Scenario>,
    /// The plan's `plugins` list.
    pub plugins: Vec<PluginUse>,
    /// Every place in the flow that calls a plugin.
    pub call_sites: Vec<CallSite>,
    /// Names of the checks, by [`CheckId`]; one name used twice is one check.
    pub checks: Vec<String>,
    /// Every regex of the plan. A shard clones the list, so that no cache is shared between cores.
    pub regexes: Vec<Regex>,
    /// Every JSONPath of the plan.
    pub json_paths: Vec<JsonPath>,
    /// Every JMESPath expression of the plan, known to compile: what it compiles to cannot leave its thread, so each
    /// shard does it once more before the run.
    pub jmes_paths: Vec<String>,
    /// Every XPath expression of the plan, known to compile; as `jmes_paths`.
    pub xpaths: Vec<String>,
    /// Every CSS selector of the plan.
    pub selectors: Vec<CssSelector>,
    /// The plan's `thresholds` in its order.
    pub thresholds: Vec<Threshold>,
    /// How many [`Step::Random`] there are: a virtual user keeps a turn for each.
    pub randoms: u32,
}

/// A compiled CSS selector.
#[derive(Clone, Debug)]
pub struct CssSelector {
    /// What the library makes of it.
    pub selector: Selector,
    /// It can take the square of the body: `~` and `:has()` look at other elements for each one.
    pub is_costly: bool,
}

/// Where a line of the plan is, for errors that are found after compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Such as `scenarios.api.flow[0].request.url`.
    pub path: String,
    /// From 1; 0 when it did not come from the file (a command-line override).
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// A scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host name or address literal, without the brackets of an IPv6 literal.
    pub host: String,
    /// The port, the scheme's default filled in.
    pub port: u16,
    /// What the `Host` header says.
    pub authority: String,
    /// Where the first request to it is, for "cannot connect" errors.
    pub location: Location,
}

/// One `request` step, rendered as far as it can be before the run.
#[derive(Debug)]
pub struct Request {
    /// The `name` tag: the step's `name`, else its URL as written (placeholders unrendered).
    pub name: String,
    /// The method, upper case.
    pub method: String,
    /// The scenario it belongs to.
    pub scenario: ScenarioId,
    /// The groups it is in, such as `::checkout::payment`; empty outside of any.
    pub group: String,
    /// The plan's own tags: `defaults.tags` overlaid with the scenario's and the step's `tags`, sorted by key.
    pub tags: Vec<(String, String)>,
    /// Where it goes.
    pub origin: OriginId,
    /// Request line and header fields, up to and with the empty line.
    pub head: Template,
    /// The content, when there is one.
    pub body: Option<Template>,
    /// From its start to the last byte of its response.
    pub timeout: Duration,
    /// Run in order on each complete response.
    pub extracts: Vec<Extract>,
    /// Judged in order; a failure marks the request failed.
    pub asserts: Vec<Assert>,
    /// Judged in order; only feed the `checks` rate.
    pub checks: Vec<Check>,
    /// Whether anything above reads the response body: if not it is counted and dropped.
    pub reads_body: bool,
    /// Whether anything above reads header fields.
    pub reads_headers: bool,
    /// Where the step is.
    pub location: Location,
}

/// Bytes with holes. A template without holes is exactly one [`Piece::Literal`] (or none, if empty).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Adjacent literals are merged.
    pub pieces: Vec<Piece>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sent as it is.
    Literal(Box<[u8]>),
    /// A value known only in the run.
    Value {
        /// Where it comes from.
        source: Source,
        /// What must be done to its bytes where it stands.
        escape: Escape,
    },
    /// The decimal length of the request's rendered body; only in a head.
    BodyLength,
}

/// A value known only in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A virtual user's variable; rendering fails while it is unset.
    Var(VarId),
    /// `${vu}`: the virtual user's number, from 1, unique over the scenario.
    Vu,
    /// `${iteration}`: the virtual user's iteration, from 0.
    Iteration,
}

/// What rendering does to a value's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Nothing: a body.
    None,
    /// A request target: every byte that RFC 3986 does not allow in a URI is percent-encoded;
    /// reserved characters and `%` stay as they are.
    Url,
    /// One name or value of a query or a form: every byte but letters, digits and `-._~` (RFC 3986's
    /// unreserved) is percent-encoded.
    Component,
    /// A header value: CR, LF and NUL make rendering fail (RFC 9110 section 5.5).
    Header,
    /// A string inside JSON: RFC 8259 section 7 escapes, without the quotes.
    Json,
}

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its key in the plan.
    pub name: String,
    /// How long after the run's start it begins.
    pub start_time: Duration,
    /// What iterations in flight get when the schedule has ended.
    pub graceful_stop: Duration,
    /// Its load model.
    pub executor: Executor,
    /// The steps of one iteration, in order.
    pub flow: Vec<Step>,
    /// The scenario's `tags`, sorted by key.
    pub tags: Vec<(String, String)>,
}

/// A load model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// A fixed number of virtual users that loop until the time is up.
    ConstantVus {
        /// At least 1.
        vus: u32,
        /// More than zero.
        duration: Duration,
    },
    /// Each virtual user runs a fixed number of iterations.
    PerVuIterations {
        /// At least 1.
        vus: u32,
        /// Of each virtual user; at least 1.
        iterations: u64,
        /// The time after which no new iteration starts.
        max_duration: Duration,
    },
}

/// One step of a flow. Groups are gone: their steps stand in the flow, and their requests know the names.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send a request and wait for its response.
    Request(RequestId),
    /// Do nothing for a while.
    Think(Pause),
    /// Steps a number of times.
    Repeat {
        /// At least 1.
        times: u64,
        /// Gets the number of the round, from 0.
        counter: Option<VarId>,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// Steps until a time has passed; a round that has begun is finished.
    During {
        /// More than zero.
        duration: Duration,
        /// Gets the number of the round, from 0.
        counter: VarId,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// Steps once for each item.
    ForEach {
        /// What it goes over.
        items: Items,
        /// Gets the item.
        var: VarId,
        /// Gets its position, from 0.
        index: VarId,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// One of several lists of steps.
    Random {
        /// Below [`Program::randoms`].
        id: u32,
        /// How it is chosen.
        strategy: Strategy,
        /// With what they weigh; not empty, and the weights add up to more than 0.
        choices: Vec<(f64, Vec<Step>)>,
    },
    /// The steps whose case equals a value.
    Switch {
        /// What is compared.
        value: Template,
        /// In the plan's order.
        cases: Vec<(Box<[u8]>, Vec<Step>)>,
        /// When none does.
        default: Vec<Step>,
    },
    /// Steps again, up to a number of attempts, while a request in them fails.
    Retry {
        /// At least 1.
        times: u64,
        /// Between two attempts.
        backoff: Duration,
        /// Not empty.
        steps: Vec<Step>,
    },
}

/// How long a pause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Always the same.
    Constant(Duration),
    /// Anything between two bounds, each as likely.
    Uniform {
        /// At most `max`.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Normally distributed; never below zero.
    Gaussian {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        std_dev: Duration,
    },
}

/// How a [`Step::Random`] chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// With a chance in proportion to the weight.
    #[default]
    Weighted,
    /// Each with the same chance.
    Uniform,
    /// In turn; each virtual user begins at another one.
    RoundRobin,
}

/// What a [`Step::ForEach`] goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// These.
    List(Vec<Template>),
    /// The elements of a JSON array that is known only in the run.
    Json(Template),
}

/// A plugin that the plan lists.
#[derive(Debug)]
pub struct PluginUse {
    /// Its name: what steps say.
    pub name: String,
    /// The component file or package directory, absolute (relative paths are taken from the plan's folder);
    /// `None`: the installed plugin of this name.
    pub path: Option<PathBuf>,
    /// The longest that a call may take; 50 ms by default.
    pub call_timeout: Duration,
    /// The most linear memory it may have, in bytes; 64 MiB by default.
    pub memory_bytes: u64,
    /// Who shares an instance of it.
    pub instance: InstancePer,
    /// Where it is listed.
    pub location: Location,
}

/// Who shares an instance of a plugin, and so what the plugin can remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InstancePer {
    /// `shared`: all virtual users of a shard. The fastest.
    #[default]
    Shard,
    /// `vu`: one virtual user, for the whole run.
    Vu,
    /// `call`: nobody; each call gets a fresh one.
    Call,
}

/// One place in the flow that calls a plugin.
#[derive(Debug)]
pub struct CallSite {
    /// Which plugin.
    pub plugin: PluginId,
    /// Which of its functions.
    pub kind: PluginKind,
    /// `plugins[].config` overlaid with the step's `config` (the manifest's defaults lie under both).
    pub config: Map<String, Json>,
    /// Where the call is written.
    pub location: Location,
}

/// What a plugin is called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginKind {
    /// `extractor.extract`
    Extractor,
    /// `assertion.check`
    Assertion,
}

/// A pass or fail rule over a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The metric's name, such as `http_req_duration`; one of those the engine has.
    pub metric: String,
    /// Tags that a series must carry to count.
    pub tags: Vec<(String, String)>,
    /// As written, such as `p(95)<400`.
    pub expression: String,
    /// The figure on the left.
    pub aggregation: Aggregation,
    /// The comparison.
    pub comparison: Comparison,
    /// The bound; milliseconds for trends.
    pub bound: f64,
    /// End the run as soon as it fails.
    pub abort_on_fail: bool,
    /// How long after the run's start `abort_on_fail` begins to act.
    pub delay_abort_eval: Duration,
    /// Where it is written.
    pub location: Location,
}

/// The figure that a threshold judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregation {
    /// Trend: mean.
    Avg,
    /// Trend or gauge: smallest.
    Min,
    /// Trend or gauge: largest.
    Max,
    /// Trend: `p(50)`.
    Med,
    /// Trend: this percentile, 0 to 100.
    Percentile(f64),
    /// Rate: share of passes, 0 to 1; counter: per second.
    Rate,
    /// Counter, rate or trend: how many.
    Count,
    /// Gauge: last value.
    Value,
}

/// How a figure is held against its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}
