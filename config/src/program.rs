//! The compiled plan: what a run executes. No names are left to look up here, only indices; the names
//! that remain are for output. Made by [`crate::compile`], read by the engine, never changed after.

mod json_path;
mod output;
mod response;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use json_path::{
    JsonPath, PathFilter, PathOperator, PathQuery, PathSegment, PathSelector, PathValue,
};
pub use output::{Histograms, Output, OutputTo, Receiver, StatsdTags};
use regex::bytes::Regex;
pub use response::{
    Assert, Cast, Check, Condition, Constant, Extract, ExtractSource, OnFailure, Pick, Refine,
    Transform, ValueCheck, Wants,
};
use scraper::Selector;
use serde_json::{Map, Value as Json};

use crate::cores::CoreChoice;
pub use crate::data::{Cell, Table};
pub use crate::secret::{Hidden, Secrets};

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
    /// Indexes [`Program::data`].
    DataId
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
    /// Indexes [`Program::rendezvous`].
    RendezvousId
}

/// A whole compiled plan.
#[derive(Debug)]
pub struct Program {
    /// The plan's `name`, or its file's stem.
    pub name: String,
    /// SHA-256 of the effective plan (after overlays and overrides), lower-case hexadecimal.
    pub plan_hash: String,
    /// SHA-256 of what the plan is given from outside: the content of each file that it reads and the value of each variable
    /// of the environment, but for secrets. Lower-case hexadecimal.
    pub inputs_hash: String,
    /// Every origin that a request can go to, each once.
    pub origins: Vec<Origin>,
    /// `defaults.http.tls`.
    pub tls: Tls,
    /// `defaults.http.hosts`.
    pub hosts: Vec<Route>,
    /// `defaults.http.proxy`: what every connection goes to.
    pub proxy: Option<Proxy>,
    /// How long the address of a name is good; for the whole run when absent.
    pub dns_ttl: Option<Duration>,
    /// The longest that making a connection may take, where that is shorter than the request's timeout.
    pub connect_timeout: Option<Duration>,
    /// Names of the virtual users' variables, by [`VarId`].
    pub vars: Vec<String>,
    /// The plan's `data`, by [`DataId`].
    pub data: Vec<DataSource>,
    /// The values that no output may show.
    pub secrets: Arc<Secrets>,
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
    /// Every meeting place of virtual users.
    pub rendezvous: Vec<Rendezvous>,
    /// Where the figures of each second go.
    pub outputs: Vec<Output>,
    /// The plan's `engine`.
    pub engine: Engine,
    /// What is taken of a response.
    pub limits: Limits,
}

/// What is taken of a response; past it the request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `engine.max_body`: of a body that something reads, decoded.
    pub body_bytes_max: u64,
    /// `engine.max_headers`.
    pub headers_max: u32,
}

/// How the generator itself runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// The processors to use, unless a flag says otherwise.
    pub cores: Option<CoreChoice>,
    /// How long before something is due a shard stays awake for it.
    pub spin: Duration,
    /// The addresses to dial from, in turn, each once; the system chooses when there are none.
    pub source_ips: Vec<IpAddr>,
    /// Where `source_ips` is.
    pub source_ips_at: Option<Location>,
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address, without the brackets of an IPv6 literal.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Both, for messages.
    pub authority: String,
    /// The value of `Proxy-Authorization`, where the plan has a user.
    pub authorization: Option<Hidden>,
    /// Where the plan has it.
    pub location: Location,
}

impl Program {
    /// Where a host is reached: its [`Route`], the one for the port before the one for all.
    #[must_use]
    pub fn route<'a>(&'a self, host: &'a str, port: u16) -> (&'a str, u16) {
        let of = |wanted: Option<u16>| {
            self.hosts
                .iter()
                .find(|route| route.port == wanted && route.host.eq_ignore_ascii_case(host))
        };
        of(Some(port))
            .or_else(|| of(None))
            .map_or((host, port), |route| {
                (&route.to_host, route.to_port.unwrap_or(port))
            })
    }
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
    /// Whether it is reached over TLS.
    pub tls: bool,
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
    /// How it is sent and its response is taken.
    pub http: Http,
    /// Run in order on each complete response.
    pub extracts: Vec<Extract>,
    /// Judged in order; a failure marks the request failed.
    pub asserts: Vec<Assert>,
    /// Judged in order; only feed the `checks` rate.
    pub checks: Vec<Check>,
    /// Whether anything above reads the response body: if not it is counted and dropped.
    pub reads_body: bool,
    /// Whether a condition is about the body's size.
    pub measures_body: bool,
    /// Whether anything above reads header fields.
    pub reads_headers: bool,
    /// Where the step is.
    pub location: Location,
}

/// How a request is sent and its response is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// The most redirects that are followed; 0: none is.
    pub redirects: u32,
    /// Whether cookies of its responses are kept.
    pub keeps_cookies: bool,
    /// Whether kept cookies go with it: not when it has a `cookie` header of its own.
    pub sends_cookies: bool,
    /// Whether a compressed body is decoded before it is read.
    pub decodes: bool,
    /// Whether its connection is used again.
    pub keep_alive: bool,
    /// Whether its responses are kept, and kept ones are used for it.
    pub caches: bool,
    /// Whether its head has a [`Made::TraceParent`].
    pub traces: bool,
}

/// How TLS connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// The roots to trust, in PEM form; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, in PEM form; there with `key_file` or not at all.
    pub cert_file: Option<PathBuf>,
    /// Its private key, in PEM form.
    pub key_file: Option<PathBuf>,
    /// What servers must be, and SNI says; the URL's host when absent.
    pub server_name: Option<String>,
    /// The oldest version to speak.
    pub min_version: TlsVersion,
    /// The newest version to speak; not older than `min_version`.
    pub max_version: TlsVersion,
    /// Where the plan has the settings, or would.
    pub location: Location,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Where a host is reached instead of where its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Lower case.
    pub host: String,
    /// Only this port of it.
    pub port: Option<u16>,
    /// A name or an address.
    pub to_host: String,
    /// The port as it is when absent.
    pub to_port: Option<u16>,
}

/// Bytes with holes. A template that is known before the run has no [`Piece::Value`] and no [`Piece::BodyLength`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Adjacent literals are merged.
    pub pieces: Vec<Piece>,
}

impl Template {
    /// The bytes of each piece, when all of them are known before the run.
    #[must_use]
    pub fn constant(&self) -> Option<Vec<&[u8]>> {
        self.pieces.iter().map(Piece::constant).collect()
    }
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sent as it is.
    Literal(Box<[u8]>),
    /// The same, but not to be shown: a secret, escaped for where it stands.
    Secret(Hidden),
    /// A file's content, read once before the run; every use of the file has the same bytes in memory.
    File(Arc<[u8]>),
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

impl Piece {
    /// Its bytes, when they are known before the run.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        match self {
            Self::Literal(bytes) => Some(bytes),
            Self::Secret(secret) => Some(secret.bytes()),
            Self::File(bytes) => Some(bytes),
            Self::Value { .. } | Self::BodyLength => None,
        }
    }
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
    /// `${data.source.column}`: a cell of the row that the iteration has of the source.
    Data {
        /// Which source.
        source: DataId,
        /// Which of its columns.
        column: u32,
    },
    /// Made afresh each time.
    Made(Made),
}

/// A value that is made afresh each time it is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// `${uuid}`: a random UUID, version 4 (RFC 9562 section 5.4), in lower case.
    Uuid,
    /// `${random.int(a,b)}`: a whole number, each from `least` to `most` as likely.
    Int {
        /// At most `most`.
        least: i64,
        /// Itself included.
        most: i64,
    },
    /// `${random.hex(n)}`: so many lower-case hexadecimal digits.
    Hex(u32),
    /// `${random.alnum(n)}`: so many ASCII letters and digits.
    Alnum(u32),
    /// `${now.unix}`: whole seconds since 1970.
    Unix,
    /// `${now.unix_ms}`: milliseconds since 1970.
    UnixMs,
    /// `${now.iso}`: the time in UTC to the millisecond, such as `2026-01-31T12:00:00.000Z` (RFC 3339).
    Iso,
    /// A fresh `traceparent` of version 00, sampled (W3C Trace Context, section 3.2).
    TraceParent,
    /// `${counter}`: a number from 1 that no other place of the run gets.
    Counter,
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
    /// A whole JSON value: a cell that is JSON as it is, text as a string with its quotes.
    JsonValue,
    /// A name in the head of a multipart part: CR, LF and `"` are percent-encoded, as browsers do (WHATWG HTML,
    /// multipart/form-data encoding algorithm; RFC 7578 section 4.2).
    PartName,
}

/// One source of `data`: rows that iterations take.
#[derive(Debug)]
pub struct DataSource {
    /// Its key in the plan.
    pub name: String,
    /// The rows.
    pub table: Table,
    /// Who goes through the rows.
    pub mode: DataMode,
    /// Which row is next.
    pub pick: DataPick,
    /// What happens after the last row.
    pub on_eof: OnEof,
}

/// Who goes through a source's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataMode {
    /// All virtual users of the run together: a row taken by one is not taken by another in the same lap.
    #[default]
    Shared,
    /// Each virtual user all of them.
    PerVu,
}

/// Which row is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataPick {
    /// In their order.
    #[default]
    Sequential,
    /// Any, each time anew: there is no end.
    Random,
    /// In an order drawn once: for the run when shared, for each virtual user else.
    Shuffle,
}

/// What happens after the last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnEof {
    /// The first one is next.
    #[default]
    Recycle,
    /// A virtual user that finds no row ends.
    Stop,
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
    /// The most iterations that start in a second, over all shards.
    pub pacing: Option<f64>,
    /// The most requests that start in a second, over all shards.
    pub throttle: Option<f64>,
    /// The steps of one iteration, in order.
    pub flow: Vec<Step>,
    /// The scenario's `tags`, sorted by key.
    pub tags: Vec<(String, String)>,
    /// How many steps of one virtual user can run at once, and so connections it can have to one origin; 1 without
    /// [`Step::Parallel`].
    pub lanes: u32,
    /// The meeting places that its flow has, each once.
    pub rendezvous: Vec<RendezvousId>,
    /// The sources of data that its flow takes rows of, each once.
    pub data: Vec<DataId>,
    /// How many requests a virtual user may have in flight on its connection. Above 1 only where nothing in the flow
    /// waits for a response: its steps are requests to one origin, loops and choices.
    pub pipeline: u32,
}

/// A meeting place of virtual users, over all shards and scenarios.
#[derive(Clone, Debug)]
pub struct Rendezvous {
    /// Its name in the plan.
    pub name: String,
    /// How many go on together; at least 1.
    pub users: u32,
}

/// A load model.
#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    /// A fixed number of virtual users that loop until the time is up.
    ConstantVus {
        /// At least 1.
        vus: u32,
        /// More than zero.
        duration: Duration,
    },
    /// A number of virtual users that follows a schedule.
    RampingVus {
        /// At the start.
        start_vus: u32,
        /// Not empty; together longer than zero.
        stages: Vec<UserStage>,
        /// What the iteration of a user that goes away gets before it is cancelled.
        graceful_ramp_down: Duration,
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
    /// All virtual users together run a fixed number of iterations.
    SharedIterations {
        /// At least 1.
        vus: u32,
        /// Of all; at least 1.
        iterations: u64,
        /// The time after which no new iteration starts.
        max_duration: Duration,
    },
    /// The open model: iterations start when they are due, whether or not earlier ones have ended.
    ArrivalRate {
        /// Iterations per second at the start.
        start_rate: f64,
        /// Not empty; together longer than zero. A constant rate is one stage that begins where it ends.
        stages: Vec<RateStage>,
        /// How arrivals are spaced.
        arrival: Arrival,
        /// Virtual users that are ready before the start.
        pre_allocated_vus: u32,
        /// The most there may be; at least 1 and at least `pre_allocated_vus`.
        max_vus: u32,
    },
    /// Whoever steers the run says how many virtual users loop, or at which rate iterations start; at first, none.
    ExternallyControlled {
        /// The most virtual users there may be; at least 1.
        max_vus: u32,
        /// `None`: until the run is stopped.
        duration: Option<Duration>,
    },
}

impl Executor {
    /// The most virtual users that there can be at once.
    #[must_use]
    pub fn vus_max(&self) -> u32 {
        match self {
            Self::ConstantVus { vus, .. }
            | Self::PerVuIterations { vus, .. }
            | Self::SharedIterations { vus, .. } => *vus,
            Self::RampingVus {
                start_vus, stages, ..
            } => stages.iter().map(|s| s.target).fold(*start_vus, u32::max),
            Self::ArrivalRate { max_vus, .. } | Self::ExternallyControlled { max_vus, .. } => {
                *max_vus
            }
        }
    }

    /// Whether there can be arrivals that do not wait for what is in flight: the open model.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Self::ArrivalRate { .. } | Self::ExternallyControlled { .. }
        )
    }

    /// What a plan calls it, or the nearest: a constant and a ramping arrival rate are one here.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConstantVus { .. } => "constant-vus",
            Self::RampingVus { .. } => "ramping-vus",
            Self::PerVuIterations { .. } => "per-vu-iterations",
            Self::SharedIterations { .. } => "shared-iterations",
            Self::ArrivalRate {
                start_rate, stages, ..
            } if stages.iter().all(|stage| stage.target == *start_rate) => "constant-arrival-rate",
            Self::ArrivalRate { .. } => "ramping-arrival-rate",
            Self::ExternallyControlled { .. } => "externally-controlled",
        }
    }
}

/// A stage of [`Executor::RampingVus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserStage {
    /// How long it takes; zero is a jump.
    pub duration: Duration,
    /// Virtual users at its end.
    pub target: u32,
}

/// A stage of [`Executor::ArrivalRate`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateStage {
    /// How long it takes; zero is a jump.
    pub duration: Duration,
    /// Iterations per second at its end; finite, not negative.
    pub target: f64,
}

/// How the arrivals of an open model are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Arrival {
    /// Evenly.
    #[default]
    Uniform,
    /// At random and independent of each other: a Poisson process.
    Poisson,
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
    /// Lists of steps at once; what follows begins when all have ended.
    Parallel {
        /// Not empty, and none of them is.
        branches: Vec<Vec<Step>>,
    },
    /// Wait until so many virtual users are here.
    Rendezvous {
        /// Where.
        id: RendezvousId,
        /// More than zero.
        timeout: Duration,
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
    /// These, each with whether it is JSON of another type than text.
    List(Vec<(Template, bool)>),
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

impl Threshold {
    /// The metric with its selectors, as a person would write it.
    #[must_use]
    pub fn label(&self) -> String {
        if self.tags.is_empty() {
            return self.metric.clone();
        }
        let tags: Vec<String> = self.tags.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        format!("{}{{{}}}", self.metric, tags.join(","))
    }
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
