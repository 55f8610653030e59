//! The compiled plan: what a run executes. No names are left to look up here, only indices; the names
//! that remain are for output. Made by [`crate::compile`], read by the engine, never changed after.
//! Here are the whole and the indices that hold it together; each module has a part of it.

mod data;
mod dial;
mod flow;
mod json_path;
mod output;
mod plugin;
mod request;
mod response;
mod scenario;
mod template;
mod threshold;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use data::{DataMode, DataPick, DataSource, OnEof};
pub use dial::{Origin, Proxy, Route, Tls, TlsVersion};
pub use flow::{Items, Pause, Rendezvous, Step, Strategy};
pub use json_path::{
    JsonPath, PathFilter, PathOperator, PathQuery, PathSegment, PathSelector, PathValue,
};
pub use output::{Histograms, Output, OutputTo, Receiver, StatsdTags};
pub use plugin::{CallSite, InstancePer, PluginKind, PluginUse};
use regex::bytes::Regex;
pub use request::{Http, Request};
pub use response::{
    Assert, Cast, Check, Condition, Constant, Extract, ExtractSource, OnFailure, Pick, Refine,
    Transform, ValueCheck, Wants,
};
pub use scenario::{Arrival, Executor, RateStage, Scenario, UserStage};
use scraper::Selector;
pub use template::{Escape, Made, Piece, Source, Template};
pub use threshold::{Aggregation, Comparison, Threshold};

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
