//! `loadr-fast capacity`: how much load a system sustains within its objectives. The search is in `loadr-capacity`; here
//! are its flags, its probes and its files.

mod args;
mod probe;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_capacity::{Finding, Probe, Settings, State, Subject, search};
use loadr_config::{Arrival, Compiled, Executor, Options};
use loadr_engine::figures::inert;
use loadr_engine::{LoadedPlugins, cores, doctor};

pub(crate) use args::{CapacityArgs, HELP};

use self::args::Refused;
use self::probe::{Engine, base_load};
use crate::export::{Export, all_written, check_places};
use crate::run::{options, seed};
use crate::signals::Interrupt;
use crate::source::Source;
use crate::voice::{NOTE_PATIENCE, NOTES, RESULTS, SUMMARY_PATIENCE};

/// An objective contradicts itself.
const CONTRADICTION: u8 = 90;

/// Searches; the exit code, or what to tell a person.
pub(crate) fn capacity(args: &CapacityArgs) -> Result<u8, String> {
    let source = Source::of_place(&args.plan)?;
    let aim = args.aim.take(&source)?;
    let options = aim.over(options(args.env.as_deref()));
    let written = source.load(&options)?;
    let wanted = written.capacity.as_ref();
    let (settings, rules) = match args::settings(args, wanted) {
        Ok(both) => both,
        Err(Refused::Slo(why)) => {
            NOTES.line(&format!("error: {why}"));
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
    let state_path = state_path(args);
    check_places(
        &[
            ("--json", args.json.as_deref()),
            ("--report", args.report.as_deref()),
            ("the state of the search", Some(&state_path)),
        ],
        &[("the plan", &args.plan)],
    )?;
    let json = args.json.as_deref().map(Export::open).transpose()?;
    let report = args.report.as_deref().map(Export::open).transpose()?;
    let mut state = starting_state(args, &state_path, &program.plan_hash, &settings)?;
    Export::open(&state_path)?;
    if args.resume.is_none() && state_path.is_file() {
        let old = old_state_path(&state_path);
        fs::rename(&state_path, &old).map_err(|error| {
            format!(
                "cannot move the state of an earlier search out of the way, {} to {}: {error}",
                state_path.display(),
                old.display()
            )
        })?;
        if !args.quiet {
            NOTES.line(&format!(
                "the state of an earlier search is now {0}; `--resume {0}` would have gone on from it",
                old.display()
            ));
        }
    }
    if !args.quiet {
        for warning in doctor::warnings(&cores) {
            NOTES.line(&format!("warning: {warning}"));
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
    let mut unkept = None;
    let mut keep = |probes: &[Probe]| {
        if !args.quiet
            && let Some(probe) = probes.last()
        {
            NOTES.line(&loadr_capacity::probe_line(probe));
        }
        state.probes = probes.to_vec();
        let kept =
            Export::open(&state_path).and_then(|export| export.write(state.to_json().as_bytes()));
        // What the probes have found is worth more than the file that they could be gone on from.
        if let Err(error) = &kept
            && unkept.is_none()
        {
            NOTES.line(&format!(
                "warning: the search goes on, but could not be gone on from: {error}"
            ));
        }
        unkept = kept.err();
        Ok(())
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
    // Files first, each also when another cannot be written.
    let written = all_written([
        unkept.map(Err),
        json.map(|json| json.write(finding.to_json().as_bytes())),
        report.map(|report| report.write(loadr_capacity::report(&finding).as_bytes())),
    ]);
    if args.quiet {
        if finding.exit_code != 0 {
            NOTES.line(&inert(&finding.sentence));
        }
    } else {
        NOTES.finish(NOTE_PATIENCE);
        RESULTS.write(loadr_capacity::text(&finding).into_bytes());
        RESULTS.finish(SUMMARY_PATIENCE);
        if finding.exit_code != 0 && !finding.probes.is_empty() && state_path.is_file() {
            NOTES.line(&format!(
                "the probes are in {0}; `--resume {0}` goes on from them",
                state_path.display()
            ));
        }
    }
    written?;
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

/// Where the state of the search before goes.
fn old_state_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
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
    if !program.outputs.is_empty() {
        notes.push(
            "the plan's `outputs` were left out: they would have had every probe as a run of its own"
                .to_owned(),
        );
    }
    if !program.thresholds.is_empty() {
        notes.push(
            "the plan's `thresholds` were left out: what must hold is what `--slo` or the plan's `capacity` says"
                .to_owned(),
        );
    }
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
