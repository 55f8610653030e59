//! `loadr-fast capacity`: how much load a system sustains within its objectives. The search is in `loadr-capacity`; here
//! are its flags, its probes and its files.

mod args;
mod probe;
mod sums;

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_capacity::{Finding, Probe, Settings, State, Subject, search};
use loadr_config::{Arrival, Compiled, Executor, Options};
use loadr_engine::{LoadedPlugins, cores, doctor};
use loadr_target::{Settings as TargetSettings, Target};

pub(crate) use args::{CapacityArgs, HELP};

use self::args::Refused;
use self::probe::{Engine, base_load};
use crate::export::Export;
use crate::run::{options, seed};
use crate::signals::Interrupt;
use crate::source::Source;

/// An objective contradicts itself.
const CONTRADICTION: u8 = 90;

/// Searches; the exit code, or what to tell a person.
pub(crate) fn capacity(args: &CapacityArgs) -> Result<u8, String> {
    let target = args
        .embedded_target
        .then(|| Target::start(&TargetSettings::loopback()))
        .transpose()
        .map_err(|error| format!("cannot start the built-in target: {error}"))?;
    let base_url = target
        .as_ref()
        .map(|target| format!("http://{}", target.address()));
    let source = Source::of_place(&args.plan)?;
    let options = options(args.env.as_deref(), base_url);
    let written = source.load(&options)?;
    let wanted = written.capacity.as_ref();
    let (settings, rules) = match args::settings(args, wanted) {
        Ok(both) => both,
        Err(Refused::Slo(why)) => {
            let _ = writeln!(stderr(), "error: {why}");
            return Ok(CONTRADICTION);
        }
        Err(Refused::Other(why)) => return Err(why),
    };
    let compared = args::target(args, wanted)?;
    let scenario = scenario(args, &written)?;
    let probed = source.load(&Options {
        probe: Some(base_load(&scenario, &settings)),
        ..options.clone()
    })?;
    let program = Arc::new(probed.program);
    let choice = args.cores.as_ref().or(program.engine.cores.as_ref());
    let cores = cores::choose(choice, &cores::available(), args.oversubscribe)?;
    let plugins = LoadedPlugins::load(&program, &args.plugins.sources())
        .map_err(|diagnostics| source.located("error", &diagnostics))?;
    let json = args.json.as_deref().map(Export::open).transpose()?;
    let report = args.report.as_deref().map(Export::open).transpose()?;
    let state_path = state_path(args);
    let mut state = starting_state(args, &state_path, &program.plan_hash, &settings)?;
    Export::open(&state_path)?;
    if !args.quiet {
        for warning in doctor::warnings(&cores) {
            let _ = writeln!(stderr(), "warning: {warning}");
        }
    }
    let interrupt =
        Interrupt::watch().map_err(|error| format!("cannot watch for signals: {error}"))?;
    let origins = program.origins.len().max(1) as u64;
    let lanes = program.scenarios.first().map_or(1, |s| s.lanes);
    let mut engine = Engine {
        source: &source,
        options,
        rules: &rules,
        plugins: Arc::new(plugins),
        cores,
        seed: state.seed,
        interrupt,
        is_even: program.scenarios.first().is_some_and(is_even),
        connections_per_user: origins * u64::from(lanes),
        scenario: scenario.clone(),
    };
    let started_ms = unix_ms();
    let past = std::mem::take(&mut state.probes);
    let mut keep = |probes: &[Probe]| {
        if !args.quiet
            && let Some(probe) = probes.last()
        {
            // Nothing can be done about a terminal that is gone.
            let _ = writeln!(stderr(), "{}", loadr_capacity::probe_line(probe));
        }
        state.probes = probes.to_vec();
        Export::open(&state_path)?.write(state.to_json().as_bytes())
    };
    let found = search(&settings, past, &mut engine, &mut keep)?;
    let subject = Subject {
        plan: program.name.clone(),
        plan_hash: program.plan_hash.clone(),
        scenario: scenario.clone(),
        seed: state.seed,
        started_ms,
        ended_ms: unix_ms(),
        notes: notes(&written, &scenario, &settings),
    };
    let finding = Finding::new(found, &settings, subject, compared);
    if args.quiet {
        if finding.exit_code != 0 {
            let _ = writeln!(stderr(), "{}", finding.sentence);
        }
    } else {
        // A reader that has gone away (`| head`) is no error of the search.
        let _ = stdout().write_all(loadr_capacity::text(&finding).as_bytes());
        if finding.exit_code != 0 && !finding.probes.is_empty() {
            let _ = writeln!(
                stderr(),
                "the probes are in {0}; `--resume {0}` goes on from them",
                state_path.display()
            );
        }
    }
    if let Some(json) = json {
        json.write(finding.to_json().as_bytes())?;
    }
    if let Some(report) = report {
        report.write(loadr_capacity::report(&finding).as_bytes())?;
    }
    Ok(finding.exit_code)
}

/// The one that is named, or the only one.
fn scenario(args: &CapacityArgs, written: &Compiled) -> Result<String, String> {
    let names: Vec<&str> = written
        .program
        .scenarios
        .iter()
        .map(|scenario| scenario.name.as_str())
        .collect();
    let in_plan = written.capacity.as_ref().and_then(|c| c.scenario.as_ref());
    let listed = || {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match (args.scenario.as_ref().or(in_plan), names.as_slice()) {
        (Some(name), _) if names.contains(&name.as_str()) => Ok(name.clone()),
        (Some(name), _) => {
            let help = loadr_config::did_you_mean(name, names.iter().copied())
                .unwrap_or_else(|| format!("there are {}", listed()));
            Err(format!("the plan has no scenario `{name}`: {help}"))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(format!(
            "a capacity is of one scenario: say which with --scenario, there are {}",
            listed()
        )),
    }
}

/// Whether arrivals come by the clock.
fn is_even(scenario: &loadr_config::Scenario) -> bool {
    matches!(
        scenario.executor,
        Executor::ArrivalRate {
            arrival: Arrival::Uniform,
            ..
        }
    )
}

/// Where the state is kept.
fn state_path(args: &CapacityArgs) -> PathBuf {
    if let Some(path) = &args.resume {
        return path.clone();
    }
    if let Some(json) = &args.json
        && !json.starts_with("/dev")
    {
        let mut name = json.clone().into_os_string();
        name.push(".state");
        return name.into();
    }
    let stem = match args.plan.to_str() {
        Some(text) if text.contains("://") => "url".into(),
        _ => args.plan.file_stem().unwrap_or_default().to_owned(),
    };
    let mut name = stem;
    name.push(".capacity-state.json");
    name.into()
}

/// A new one, or that of the search to go on with.
fn starting_state(
    args: &CapacityArgs,
    path: &Path,
    plan_hash: &str,
    settings: &Settings,
) -> Result<State, String> {
    let fresh = || {
        let seed = args.seed.unwrap_or_else(seed);
        State::new(plan_hash.to_owned(), settings.clone(), seed)
    };
    if args.resume.is_none() {
        return Ok(fresh());
    }
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot go on from {}: {error}", path.display()))?;
    State::read(&text, plan_hash, settings)
        .map_err(|why| format!("cannot go on from {}: it {why}", path.display()))
}

/// What was left out, and what was taken for granted.
fn notes(written: &Compiled, scenario: &str, settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(implied) = settings.slos.iter().find(|slo| slo.is_implied) {
        notes.push(format!(
            "nothing was said of failures, so `{}` is an objective, too: a system that refuses quickly is not fast",
            implied.text
        ));
    }
    let program = &written.program;
    if let Some(scenario) = program.scenarios.iter().find(|s| s.name == scenario) {
        if scenario.pacing.is_some() || scenario.throttle.is_some() {
            notes.push(
                "`pacing` and `throttle` of the scenario were left out: they hold load back"
                    .to_owned(),
            );
        }
        if !scenario.executor.is_open() {
            notes.push(
                "the scenario is of a closed model in the plan; its flow was driven at rates of arrivals".to_owned(),
            );
        }
    }
    notes
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
