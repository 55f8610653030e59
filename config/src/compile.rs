//! The plan as written to the [`Program`]: names become indices, templates become bytes with holes. Goes on after every
//! error, so that all of them are found; the Program counts only when there were none.

mod body;
mod builder;
mod capacity;
mod chain;
mod data;
mod dial;
mod engine;
mod executor;
mod expressions;
mod flow;
mod head;
mod made;
mod multipart;
mod output;
mod pipeline;
mod request;
mod response;
mod scope;
mod select;
mod target;
mod thresholds;
mod tls;
mod variables;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::RegexBuilder;

use self::expressions::Expressions;
use crate::Options;
use crate::diagnostic::{Report, shown};
use crate::hash::Inputs;
use crate::node::At;
use crate::plan::{Pair, Plan, PluginCall, Scenario as PlanScenario, Text};
use crate::program::{
    CallSite, CallSiteId, CheckId, CssSelector, DataSource, JsonPath, Limits, Origin, OriginId,
    PluginId, PluginKind, PluginUse, Program, RegexId, Rendezvous, Request, Route, Scenario,
    ScenarioId, Secrets, VarId,
};
use crate::url::{Authority, route_end};
pub(crate) use capacity::capacity;
pub(crate) use select::select;

/// The default of `defaults.http.timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The default of `defaults.http.max_redirects`.
const MAX_REDIRECTS: u32 = 10;
/// The default of `graceful_stop`.
const GRACEFUL_STOP: Duration = Duration::from_secs(30);
/// The default of `limits.call_timeout`.
const CALL_TIMEOUT: Duration = Duration::from_millis(50);
/// The default of `limits.memory`.
const PLUGIN_MEMORY: u64 = 64 << 20;
/// The default of `engine.max_body`.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// The default of `engine.max_headers`.
const HEADERS_MAX: u32 = 128;
/// The most bytes that all templates may come to: what a small plan with large constants can grow into is bounded.
const MAX_TEMPLATE_BYTES: usize = 256 << 20;
/// The most steps of one virtual user that can run at once.
const MAX_LANES: u64 = 256;
/// The most different patterns.
const MAX_REGEXES: usize = 1000;
/// The most that one pattern may compile to, in bytes.
const MAX_REGEX_BYTES: usize = 2 << 20;

/// Compiles `plan`, which is in `file` and has the fingerprint `plan_hash`.
pub(crate) fn compile(
    plan: &Plan,
    file: &Path,
    plan_hash: String,
    options: &Options,
    report: &mut Report,
) -> Program {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut compiler = Compiler::new(plan, folder, options, report);
    compiler.variables();
    compiler.secrets();
    compiler.data();
    let plugins = compiler.plugins();
    let outputs = compiler.outputs();
    let scenarios = plan
        .scenarios
        .iter()
        .enumerate()
        .filter_map(|(i, scenario)| compiler.scenario(index(i).map(ScenarioId)?, scenario))
        .collect();
    let thresholds = compiler.thresholds();
    let hosts = compiler.hosts();
    let tls = compiler.tls(file);
    compiler.own_metrics();
    let (proxy, credentials) = compiler.proxy().unzip();
    let credentials = credentials.unwrap_or_default();
    let engine = compiler.engine();
    let stem = || {
        file.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    Program {
        name: plan
            .name
            .as_ref()
            .map(|name| name.text.clone())
            .or_else(stem)
            .unwrap_or_default(),
        plan_hash,
        inputs_hash: compiler.inputs.hash(),
        origins: compiler.origins,
        tls,
        hosts,
        proxy,
        dns_ttl: plan.http.dns_ttl,
        connect_timeout: plan.http.connect_timeout,
        vars: compiler.vars,
        data: compiler.sources,
        secrets: Arc::new(Secrets::new(
            compiler
                .secrets
                .values()
                .flatten()
                .map(|value| &**value)
                .chain(credentials.iter().map(String::as_str)),
        )),
        requests: compiler.requests,
        scenarios,
        plugins,
        call_sites: compiler.call_sites,
        checks: compiler.checks,
        regexes: compiler.regexes,
        json_paths: compiler.json_paths.list,
        jmes_paths: compiler.jmes_paths.list,
        xpaths: compiler.xpaths.list,
        selectors: compiler.selectors.list,
        thresholds,
        randoms: compiler.randoms,
        rendezvous: compiler
            .rendezvous
            .into_iter()
            .map(|(place, _)| place)
            .collect(),
        limits: Limits {
            body_bytes_max: plan.engine.body_bytes_max.unwrap_or(BODY_BYTES_MAX),
            headers_max: plan.engine.headers_max.unwrap_or(HEADERS_MAX),
        },
        engine,
        outputs,
    }
}

/// What has been compiled so far.
struct Compiler<'a> {
    plan: &'a Plan,
    options: &'a Options,
    report: &'a mut Report,
    /// Where the plan is: what relative paths begin at.
    folder: &'a Path,
    constants: HashMap<&'a str, scope::Constant>,
    /// `None`: it could not be read, which has been reported.
    secrets: HashMap<&'a str, Option<Rc<str>>>,
    sources: Vec<DataSource>,
    source_ids: HashMap<&'a str, data::KnownSource>,
    data_bytes: u64,
    inputs: Inputs,
    /// Files that are sent; `None`: not to be read, which has been reported.
    files: HashMap<PathBuf, Option<Arc<[u8]>>>,
    scope: scope::Scope<'a>,
    vars: Vec<String>,
    var_ids: HashMap<String, VarId>,
    origins: Vec<Origin>,
    origin_ids: HashMap<Authority, OriginId>,
    requests: Vec<Request>,
    plugin_ids: HashMap<&'a str, PluginId>,
    /// How large each plugin's `config` is: every call site gets a copy.
    config_bytes: Vec<usize>,
    call_sites: Vec<CallSite>,
    checks: Vec<String>,
    check_ids: HashMap<String, CheckId>,
    regexes: Vec<regex::bytes::Regex>,
    /// `None`: it does not compile, which has been reported.
    regex_ids: HashMap<String, Option<RegexId>>,
    json_paths: Expressions<JsonPath>,
    jmes_paths: Expressions<String>,
    xpaths: Expressions<String>,
    selectors: Expressions<CssSelector>,
    template_bytes: usize,
    randoms: u32,
    /// With where each is first named.
    rendezvous: Vec<(Rendezvous, At)>,
    /// The groups that the step being compiled is in.
    group: String,
}

impl<'a> Compiler<'a> {
    fn new(plan: &'a Plan, folder: &'a Path, options: &'a Options, report: &'a mut Report) -> Self {
        Self {
            plan,
            options,
            report,
            folder,
            constants: HashMap::new(),
            secrets: HashMap::new(),
            sources: Vec::new(),
            source_ids: HashMap::new(),
            data_bytes: 0,
            inputs: Inputs::default(),
            files: HashMap::new(),
            scope: scope::Scope::default(),
            vars: Vec::new(),
            var_ids: HashMap::new(),
            origins: Vec::new(),
            origin_ids: HashMap::new(),
            requests: Vec::new(),
            plugin_ids: HashMap::new(),
            config_bytes: Vec::new(),
            call_sites: Vec::new(),
            checks: Vec::new(),
            check_ids: HashMap::new(),
            regexes: Vec::new(),
            regex_ids: HashMap::new(),
            json_paths: Expressions::default(),
            jmes_paths: Expressions::default(),
            xpaths: Expressions::default(),
            selectors: Expressions::default(),
            template_bytes: 0,
            randoms: 0,
            rendezvous: Vec::new(),
            group: String::new(),
        }
    }

    fn hosts(&mut self) -> Vec<Route> {
        let mut hosts = Vec::new();
        for pair in &self.plan.http.hosts {
            let mut end = |text: &Text| match route_end(&text.text) {
                Ok(end) => Some(end),
                Err((message, help)) => {
                    self.report.error(&text.at, message, help);
                    None
                }
            };
            if let (Some((host, port)), Some((to_host, to_port))) =
                (end(&pair.name), end(&pair.value))
            {
                hosts.push(Route {
                    host,
                    port,
                    to_host,
                    to_port,
                });
            }
        }
        hosts
    }

    fn plugins(&mut self) -> Vec<PluginUse> {
        let mut uses = Vec::new();
        for plugin in &self.plan.plugins {
            let name = plugin.name.text.as_str();
            let Some(id) = index(uses.len()) else { break };
            if self.plugin_ids.insert(name, PluginId(id)).is_some() {
                let message = format!("the plugin `{}` is listed twice", shown(name));
                self.report.error(&plugin.name.at, message, None);
            }
            let path = plugin.path.as_ref().map(|path| {
                let path = self.folder.join(&path.text);
                // Only fails when there is no current directory; then the path is as good as it gets.
                std::path::absolute(&path).unwrap_or(path)
            });
            let json = serde_json::to_string(&plugin.config);
            self.config_bytes.push(json.map_or(0, |json| json.len()));
            uses.push(PluginUse {
                name: name.to_owned(),
                path,
                call_timeout: plugin.call_timeout.unwrap_or(CALL_TIMEOUT),
                memory_bytes: plugin.memory_bytes.unwrap_or(PLUGIN_MEMORY),
                instance: plugin.instance,
                location: plugin.name.at.location(),
            });
        }
        uses
    }

    fn scenario(&mut self, id: ScenarioId, scenario: &'a PlanScenario) -> Option<Scenario> {
        self.enter(scenario);
        let defaults = self.defaults();
        let think_time = scenario
            .think_time
            .as_ref()
            .or(self.plan.think_time.as_ref());
        let context = flow::Context {
            id,
            defaults: &defaults,
            tags: &scenario.tags,
            pause: think_time.and_then(|think| self.pause(think)),
        };
        let flow = self.steps(&scenario.flow, &context);
        let tags = self.tags(&[&scenario.tags]);
        let lanes = flow::lanes(&flow);
        if lanes > MAX_LANES {
            let message = format!(
                "the scenario `{}` does up to {lanes} things at once for each virtual user",
                shown(&scenario.name)
            );
            let help = format!("`parallel` steps in `parallel` steps come to at most {MAX_LANES}");
            self.report.error(&scenario.at, message, Some(help));
        }
        let mut rendezvous = BTreeSet::new();
        flow::meetings(&flow, &mut rendezvous);
        let executor = self.executor(scenario)?;
        Some(Scenario {
            pipeline: self.pipeline(scenario, &executor, &flow),
            lanes: u32::try_from(lanes).unwrap_or(u32::MAX),
            rendezvous: rendezvous.into_iter().collect(),
            data: std::mem::take(&mut self.scope.data).into_iter().collect(),
            name: scenario.name.clone(),
            start_time: scenario.start_time,
            graceful_stop: scenario.graceful_stop.unwrap_or(GRACEFUL_STOP),
            executor,
            pacing: scenario.pacing.as_ref().map(|rate| rate.per_second),
            throttle: scenario.throttle.as_ref().map(|rate| rate.per_second),
            flow,
            tags,
        })
    }

    /// Tags of several layers, later ones first in rank, sorted by key.
    fn tags(&mut self, layers: &[&[Pair]]) -> Vec<(String, String)> {
        let mut tags = std::collections::BTreeMap::new();
        for pair in layers.iter().copied().flatten() {
            let Some(value) = self.constant_text(&pair.value, "a tag's value") else {
                continue;
            };
            tags.insert(pair.name.text.clone(), value);
        }
        tags.into_iter().collect()
    }

    fn call_site(&mut self, call: &PluginCall, kind: PluginKind) -> Option<CallSiteId> {
        let Some(plugin) = self.plugin_ids.get(call.plugin.text.as_str()).copied() else {
            let message = format!(
                "the plugin `{}` is not listed under `plugins`",
                shown(&call.plugin.text)
            );
            let names = self
                .plan
                .plugins
                .iter()
                .map(|plugin| plugin.name.text.as_str());
            let help = self
                .report
                .suggest(&call.plugin.text, names)
                .unwrap_or_else(|| {
                    format!(
                        "add `plugins: [ {{ name: {} }} ]` at the top level",
                        shown(&call.plugin.text)
                    )
                });
            self.report.error(&call.plugin.at, message, Some(help));
            return None;
        };
        let id = CallSiteId(index(self.call_sites.len())?);
        let plan = self.plan;
        let defaults = &plan.plugins.get(plugin.at())?.config;
        self.spend(*self.config_bytes.get(plugin.at())?, &call.at)?;
        let mut config = defaults.clone();
        config.extend(call.config.clone());
        self.call_sites.push(CallSite {
            plugin,
            kind,
            config,
            location: call.at.location(),
        });
        Some(id)
    }

    fn regex(&mut self, pattern: &str, at: &At) -> Option<RegexId> {
        if let Some(id) = self.regex_ids.get(pattern) {
            return *id;
        }
        let id = match RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX_BYTES)
            .build()
        {
            Ok(_) if self.regexes.len() >= MAX_REGEXES => {
                let message = format!("a plan has at most {MAX_REGEXES} patterns");
                self.report.error(at, message, None);
                None
            }
            Ok(regex) => {
                let id = index(self.regexes.len()).map(RegexId);
                self.regexes.push(regex);
                id
            }
            Err(error) => {
                let (message, help) = regex_error(pattern, &error);
                self.report.error(at, message, help);
                None
            }
        };
        self.regex_ids.insert(pattern.to_owned(), id);
        id
    }
}

fn regex_error(pattern: &str, error: &regex::Error) -> (String, Option<String>) {
    let text = error.to_string();
    // The last line says what is wrong; those before it draw the pattern.
    let reason = text.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    let help = ["look-around", "backreferences"]
        .iter()
        .any(|what| reason.contains(what))
        .then(|| {
            "patterns are matched in linear time, which look-around and backreferences do not allow"
                .to_owned()
        });
    (
        format!("`{}` is not a pattern: {}", shown(pattern), shown(reason)),
        help,
    )
}

/// A position in a list as an index of the Program.
fn index(n: usize) -> Option<u32> {
    u32::try_from(n).ok()
}
