//! `loadr-fast run`: the plan, the target, the engine, the summary.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_config::{Diagnostic, Options};
use loadr_engine::{
    Control, LoadedPlugins, Outcome, RunError, RunSpec, Steer, Summary, TextStyle, cores, doctor,
};
use loadr_outputs::Outputs;

use crate::cli::RunArgs;
use crate::color::When;
use crate::ctl;
use crate::export::Exports;
use crate::fleet;
use crate::parts::Part;
use crate::signals::Signals;
use crate::source::Source;
use crate::voice::{NOTE_PATIENCE, NOTES, RESULTS, SUMMARY_PATIENCE};
use crate::watch::{Wanted, Watch};

/// Runs the plan; the exit code, or what to tell a person.
pub(crate) fn run(args: &mut RunArgs, color: When) -> Result<u8, String> {
    let mut part = Part::of(args)?;
    if args.part.print_segment {
        let _ = stdout().write_all(part.line().as_bytes());
        return Ok(0);
    }
    part.name_files(args);
    let args = &*args;
    if args.aim.embedded_target && part.segment.is_some() {
        return Err(
            "each segment would load a target of its own with --embedded-target: start one, and name it with --base-url"
                .to_owned(),
        );
    }
    let source = Source::of(args)?;
    let aim = args.aim.take(&source)?;
    let over = Options {
        outputs: args.outputs.clone(),
        spin: args.spin,
        pipeline: args.wire.pipeline,
        max_body_bytes: args.wire.max_body,
        max_headers: args.wire.max_headers,
        ..options(args.env.as_deref())
    };
    let compiled = source.compile(args, aim.over(over))?;
    let located = |diagnostics: Vec<Diagnostic>| source.located("error", &diagnostics);
    for warning in &compiled.warnings {
        let warning = source.located("warning", std::slice::from_ref(warning));
        NOTES.line(&format!("warning: {warning}"));
    }
    if args.print_plan {
        // A reader that has gone away is no error of the plan.
        let _ = stdout().write_all(compiled.effective_plan().as_bytes());
        return Ok(0);
    }
    let mut program = compiled.program;
    part.name_outputs(&mut program);
    let program = Arc::new(program);
    let cannot = if fleet::is_live(args) {
        fleet::cannot(&program)
    } else {
        part.cannot(&program)
    };
    if !cannot.is_empty() {
        return Err(located(cannot));
    }
    let choice = args.cores.as_ref().or(program.engine.cores.as_ref());
    let cores = cores::choose(choice, &cores::available(), args.oversubscribe)?;
    let sources = args.plugins.sources();
    let plugins = Arc::new(LoadedPlugins::load(&program, &sources).map_err(located)?);
    for warning in plugins.warnings() {
        NOTES.line(&format!("warning: {warning}"));
    }
    part.make_folders();
    let exports = Exports::open(args)?;

    if !args.quiet {
        for warning in doctor::warnings(&cores) {
            NOTES.line(&format!("warning: {warning}"));
        }
    }
    let control = Control::new(program.scenarios.len());
    let signals = Signals::watch(control.clone())
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    let _servers = ctl::listen(args, &program, &control)?;
    let seed = part.seed(&program, args);
    let place = fleet::join(args, &part, &program, &plugins, seed, &cores, &control)?;
    let wanted = Wanted {
        ui: &args.ui,
        is_quiet: args.quiet,
        // What --http-debug shows goes where the view would be.
        has_lines: args.no_tui || args.http_debug,
        is_colored: color.is_on(stderr().is_terminal()),
        rows: &cores,
        row_is: "core",
        cores: &cores,
    };
    let steer: Arc<dyn Steer> = Arc::new(control.clone());
    let mut watch = Watch::start(&wanted, &program, &steer)?;
    let spec = RunSpec {
        cores: cores.clone(),
        seed,
        is_strict: args.strict,
        shows_http: args.http_debug,
        keeps_seconds: args.histograms.is_some(),
        segment: part.segment,
        start: fleet::start(place.as_ref(), &part),
    };
    // Last of all that can fail before the run: files are emptied, ports are taken.
    let mut outputs = Outputs::open(&program, &spec.cores).map_err(located)?;
    if let Some(segment) = spec.segment {
        outputs.mark_segment(segment.index);
    }
    for warning in outputs.warnings() {
        let warning = source.located("warning", std::slice::from_ref(warning));
        NOTES.line(&format!("warning: {warning}"));
    }
    for note in outputs.notes().iter().filter(|_| !args.quiet) {
        NOTES.line(note);
    }
    NOTES.keep_off(&spec.cores);
    if !args.quiet
        && let Some(line) = part.waiting()
    {
        NOTES.line(&line);
    }
    let outcome = loadr_engine::run(program, &plugins, &spec, &control, |moment| {
        watch.see(moment);
        outputs.show(moment);
        if let Some(place) = &place {
            place.see(moment);
        }
    });
    watch.end_screen();
    let rest = outcome.as_ref().ok().and_then(Outcome::rest);
    if let (Some(place), Some(rest)) = (&place, &rest) {
        place.see(rest);
    }
    let fed = outputs.finish(rest.as_ref());
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            if let Some(place) = place {
                place.give_up(&error.to_string());
            }
            return Err(match error {
                RunError::Plan(diagnostics) => located(diagnostics),
                RunError::Machine(error) => error,
            });
        }
    };
    let mut summary = Summary::new(&outcome);
    if let Some(place) = &place {
        summary.generator.notes.extend(place.notes());
    }
    summary.outputs = fed;
    // Files first: no reader of what is printed holds them up. One that cannot be written costs neither the others who wait
    // for the end nor their figures.
    let written = exports.write(&outcome, &summary);
    watch.tell_page(&summary);
    if outputs.has_folded() {
        NOTES.line(
            "warning: there were too many series for outputs to tell apart: some are in `name=other`",
        );
    }
    if args.quiet {
        // Those of a part are not judged.
        let judged = summary.thresholds.iter().filter(|_| !part.is_part());
        for threshold in judged.filter(|t| !t.passed) {
            NOTES.line(&format!(
                "threshold failed: {}: {}",
                threshold.metric, threshold.expression
            ));
        }
        NOTES.finish(NOTE_PATIENCE);
    } else {
        let style = TextStyle {
            is_colored: color.is_on(stdout().is_terminal()),
            is_verbose: args.verbose,
        };
        let text = loadr_engine::summary_text(&summary, style);
        // So that they stand in order where both go to one place.
        NOTES.finish(NOTE_PATIENCE);
        RESULTS.write(text.into_bytes());
        RESULTS.finish(SUMMARY_PATIENCE);
    }
    if let Some(place) = place {
        place.end(&summary);
    }
    let wait = signals.wait();
    outputs.linger(
        |note| {
            if !args.quiet {
                NOTES.line(note);
            }
        },
        || wait.is_over(),
    );
    drop(wait);
    watch.end_page(&signals);
    written?;
    Ok(summary.exit_code)
}

/// What is laid over a plan: an overlay, a base URL, and the process environment.
pub(crate) fn options(env: Option<&str>) -> Options {
    // A variable that is not UTF-8 cannot stand in a plan.
    let utf8 = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Options {
        env: env.map(str::to_owned),
        environment: env::vars_os().filter_map(utf8).collect(),
        ..Options::default()
    }
}

/// Another one each run; nothing secret depends on it. Below 2^53, so that whatever reads the summary gets it whole.
pub(crate) fn seed() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos() as u64 & ((1 << 53) - 1))
}
