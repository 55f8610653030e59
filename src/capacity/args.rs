//! What can be said to `loadr-fast capacity`, and what it amounts to with the plan's `capacity` block under it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadr_capacity::{Settings, Slo};
use loadr_config::{CapacityPlan, SloRule, parse_rate, parse_share, parse_slo, parse_step};
use loadr_engine::cores::CoreChoice;

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast capacity plan.yaml --slo 'p(99)<50ms' --slo 'http_req_failed<0.01'
  loadr-fast capacity plan.yaml --scenario checkout --slo 'p(95)<300ms' --target 1500/s --growth 3% --report capacity.html
  loadr-fast capacity http://127.0.0.1:8080/ --slo 'p(99)<20ms' --min-rate 100 --step-duration 5s --confirm 30s
  loadr-fast capacity plan.yaml --resume plan.capacity-state.json      # a search that was ended goes on

Probes are of the open model: iterations start at a rate whatever became of earlier ones, and response times count from when a
request was due. The rate doubles until an objective breaks, the bracket is closed, both sides of the boundary are probed
until its 90 % interval is narrow enough, and a rate just below is held for --confirm.

Exit codes:
  0 a rate was found and confirmed · 1 an error · 2 wrong arguments · 90 an objective contradicts itself (nothing was sent)
  91 an objective breaks at --min-rate · 92 nothing breaks up to --max-rate · 93 the target cannot be reached
  94 the target stopped answering · 95 no rate held for --confirm · 98 limited by this generator · 130 interrupted";

#[derive(Debug, Args)]
pub(crate) struct CapacityArgs {
    /// The plan, a YAML file; or a URL that requests are sent to without one.
    #[arg(value_name = "PLAN|URL")]
    pub(crate) plan: PathBuf,

    /// What must hold, such as `p(99)<50ms` (response times), `http_req_failed<0.01` or `checks>0.99`; a request is chosen
    /// with `http_req_response{name:buy}: p(95)<300ms`. May be given again. That at most 1 % of the requests fail is
    /// implied when nothing is said of failures.
    #[arg(long, value_name = "RULE")]
    pub(crate) slo: Vec<String>,

    /// The first rate, in iterations a second. Default: 10/s.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) min_rate: Option<f64>,

    /// The highest rate that is tried. Default: 1000000/s.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) max_rate: Option<f64>,

    /// Half the width of the interval that is good enough. Default: 2%.
    #[arg(long, value_name = "SHARE", value_parser = precision)]
    pub(crate) precision: Option<f64>,

    /// The judged time of a probe, in whole seconds; warm-up and drain come on top. Longer ones see what comes seldom.
    /// Default: 10s.
    #[arg(long, value_name = "TIME", value_parser = parse_step)]
    pub(crate) step_duration: Option<Duration>,

    /// The judged time of the probe that confirms. Default: 60s.
    #[arg(long, value_name = "TIME", value_parser = parse_step)]
    pub(crate) confirm: Option<Duration>,

    /// A rate to compare with, such as `1500/s`: how much of the capacity it uses.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) target: Option<f64>,

    /// The target's growth a month, such as `3%`: when it is full.
    #[arg(long, value_name = "SHARE", value_parser = growth)]
    pub(crate) growth: Option<f64>,

    /// The scenario whose flow is driven. Default: the plan's only one.
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<String>,

    /// Write the result as JSON to this file (`loadr-fast schema --capacity` describes it).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a page with the curve and every probe to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Go on from the state that a search left, and keep it there. Without it the state is kept beside the result
    /// (`FILE.state`), or as `PLAN.capacity-state.json` in the current directory; that of the search before is moved to
    /// the same name with `.old` behind it.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// How many cores to use (the first N that this process may use), or which: `2-9,12` (one core: `3-3`).
    /// Default: all, but for one when there are more than two.
    #[arg(long, value_name = "N|LIST")]
    pub(crate) cores: Option<CoreChoice>,

    /// Allow more shards than there are cores.
    #[arg(long)]
    pub(crate) oversubscribe: bool,

    /// What all random choices come from.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Lay the plan's overlay of this name (`env.<NAME>`) over it.
    #[arg(short = 'e', long = "env", value_name = "NAME")]
    pub(crate) env: Option<String>,

    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) aim: crate::aim::AimArgs,

    #[command(flatten)]
    pub(crate) plugins: crate::plugin::Directory,
}

fn precision(text: &str) -> Result<f64, String> {
    parse_share(text, 0.5)
}

fn growth(text: &str) -> Result<f64, String> {
    parse_share(text, 10.0)
}

/// What nothing else was said of.
const MIN_RATE: f64 = 10.0;
const MAX_RATE: f64 = 1e6;
const PRECISION: f64 = 0.02;
const STEP_SECS: u32 = 10;
const CONFIRM_SECS: u32 = 60;
/// What may fail when nothing is said of failures: a system that refuses quickly is not fast.
const IMPLIED: &str = "http_req_failed<0.01";
/// The most probes before a confirmation is tried with what is known.
const PROBES_MAX: u32 = 60;

/// Why there is nothing to search with.
pub(crate) enum Refused {
    /// An objective; a sentence.
    Slo(String),
    /// Something else.
    Other(String),
}

/// The flags over the plan's block: what to search for, and the rules by which samples are judged.
pub(crate) fn settings(
    args: &CapacityArgs,
    plan: Option<&CapacityPlan>,
) -> Result<(Settings, Vec<SloRule>), Refused> {
    let none = CapacityPlan::default();
    let plan = plan.unwrap_or(&none);
    let mut rules = Vec::new();
    for text in &args.slo {
        let rule = parse_slo(text).map_err(|(message, help)| {
            let help = help.map_or(String::new(), |help| format!("\n  help: {help}"));
            Refused::Slo(format!("--slo {text}: {message}{help}"))
        })?;
        rules.push(rule);
    }
    if rules.is_empty() {
        rules.clone_from(&plan.slos);
    }
    if rules.is_empty() {
        return Err(Refused::Other(
            "nothing says what must hold: give an objective, such as --slo 'p(99)<50ms', or write it into the plan's \
             `capacity: { slo: … }`"
                .to_owned(),
        ));
    }
    let says_failures = |rule: &SloRule| matches!(rule.metric, "http_req_failed" | "checks");
    let is_implied = !rules.iter().any(says_failures);
    if is_implied {
        rules.extend(parse_slo(IMPLIED));
    }
    let last = rules.len() - 1;
    let slos = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| Slo {
            text: rule.text.clone(),
            allowed: rule.allowed,
            percentile: rule.bound.map(|(_, percentile)| percentile),
            bound_ms: rule.bound.map(|(ms, _)| ms),
            is_implied: is_implied && at == last,
        })
        .collect();
    let secs = |flag: Option<Duration>, plan: Option<Duration>, default| {
        let given = flag.or(plan).map(|d| d.as_secs());
        given.map_or(default, |secs| u32::try_from(secs).unwrap_or(u32::MAX))
    };
    let settings = Settings {
        slos,
        min_rate: args.min_rate.or(plan.min_rate).unwrap_or(MIN_RATE),
        max_rate: args.max_rate.or(plan.max_rate).unwrap_or(MAX_RATE),
        precision: args.precision.or(plan.precision).unwrap_or(PRECISION),
        step_secs: secs(args.step_duration, plan.step_duration, STEP_SECS),
        confirm_secs: secs(args.confirm, plan.confirm, CONFIRM_SECS),
        probes_max: PROBES_MAX,
    };
    if settings.min_rate > settings.max_rate {
        return Err(Refused::Other(format!(
            "the lowest rate is above the highest: --min-rate {} and --max-rate {}",
            settings.min_rate, settings.max_rate
        )));
    }
    Ok((settings, rules))
}

/// The target rate and its growth.
pub(crate) fn target(
    args: &CapacityArgs,
    plan: Option<&CapacityPlan>,
) -> Result<Option<(f64, Option<f64>)>, String> {
    let rate = args.target.or(plan.and_then(|plan| plan.target));
    let growth = args.growth.or(plan.and_then(|plan| plan.growth));
    if rate.is_none() && growth.is_some() {
        return Err("--growth is of a rate: give it with --target".to_owned());
    }
    Ok(rate.map(|rate| (rate, growth)))
}
