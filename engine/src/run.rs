//! A run: preparation, shards, aggregation, outcome.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::SystemTime;

use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, Placement};
use loadr_config::{Diagnostic, Program};

use crate::addresses::{Refresher, Resolve, SystemResolver};
use crate::aggregate::Aggregate;
use crate::control::{Control, StopReason};
use crate::cores::stand_aside;
use crate::error_kind::ErrorKind;
use crate::instances::Fleet;
use crate::leases::leases;
use crate::metrics::Record;
use crate::moment::Moment;
use crate::plugins::LoadedPlugins;
use crate::preflight;
use crate::rendezvous::Places;
use crate::results::Clock;
use crate::schedule::Slice;
use crate::segment::{Segment, load_hash};
use crate::shard::{self, ShardSpec, Shared};
use crate::start::{Start, Started, unix_ms};
use crate::steer::Steps;
use crate::thresholds::{self, ThresholdResult};

/// What a run needs beside its program.
#[derive(Clone, Debug, Default)]
pub struct RunSpec {
    /// One shard for each entry, pinned to that processor; an entry may repeat (oversubscription).
    pub cores: Vec<usize>,
    /// The seed of every random choice.
    pub seed: u64,
    /// Whether it is a failure of the run when the generator may have been the bottleneck.
    pub is_strict: bool,
    /// Whether what the first virtual user sends and gets is written to standard error.
    pub shows_http: bool,
    /// Whether all service times of each second are kept for [`crate::histogram_log`]: some KiB a second.
    pub keeps_seconds: bool,
    /// Which part of the plan's load this process makes; all of it where there is none.
    pub segment: Option<Segment>,
    /// When it begins.
    pub start: Start,
}

/// Why a run could not begin. One that has begun has an [`Outcome`], whatever becomes of it.
#[derive(Debug)]
pub enum RunError {
    /// The plan cannot be run here; each problem where the plan says it.
    Plan(Vec<Diagnostic>),
    /// The machine does not allow it; a sentence for people.
    Machine(String),
}

/// What a run has measured.
pub struct Outcome {
    /// What was run.
    pub program: Arc<Program>,
    /// The shards' processors.
    pub cores: Vec<usize>,
    /// See [`RunSpec`].
    pub seed: u64,
    /// See [`RunSpec`].
    pub is_strict: bool,
    /// See [`RunSpec`].
    pub segment: Option<Segment>,
    /// See [`load_hash`].
    pub load_hash: String,
    /// How well the machine's clock was kept at the start.
    pub clock: Option<Clock>,
    /// Whether the run began by that clock, as others did by theirs.
    pub(crate) is_timed: bool,
    pub(crate) aggregate: Aggregate,
    /// In the plan's order.
    pub thresholds: Vec<ThresholdResult>,
    /// Why it ended early, if it did.
    pub stopped: Option<StopReason>,
    pub(crate) steps: Steps,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
}

impl Outcome {
    /// Calls `f` for every series of the run, gauges included.
    pub fn for_each_series(&self, f: impl FnMut(&crate::metrics::Series<'_>)) {
        self.aggregate.for_each_series(f);
    }

    /// Iterations that `graceful_stop` did not suffice for.
    #[must_use]
    pub fn interrupted(&self) -> u64 {
        let scenarios = &self.aggregate.total.scenarios;
        scenarios.iter().map(|scenario| scenario.interrupted).sum()
    }

    /// The kinds of errors, most frequent first.
    #[must_use]
    pub fn errors(&self) -> Vec<crate::results::ErrorSummary> {
        crate::results::errors(&self.aggregate.total)
    }

    /// What was measured after the last moment that `on_moment` was called for: a last piece of a second too short for a
    /// point of the timeline. The seconds of all moments and this one add up to the totals.
    #[must_use]
    pub fn rest(&self) -> Option<Moment<'_>> {
        self.aggregate.rest()
    }
}

/// Runs a program to its end. The calling thread aggregates; `on_moment` is called on it about once a second;
/// what it does there holds up no shard, but should be short of a second.
///
/// # Errors
/// See [`RunError`]; nothing is sent in that case but the probing connections of the preparation.
pub fn run(
    program: Arc<Program>,
    plugins: &Arc<LoadedPlugins>,
    spec: &RunSpec,
    control: &Control,
    on_moment: impl FnMut(&Moment<'_>),
) -> Result<Outcome, RunError> {
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
    run_resolving(program, plugins, spec, control, &resolver, on_moment)
}

/// [`run`] with names looked up by `resolver` instead of the system's.
///
/// # Errors
/// See [`RunError`].
pub fn run_resolving(
    program: Arc<Program>,
    plugins: &Arc<LoadedPlugins>,
    spec: &RunSpec,
    control: &Control,
    resolver: &Arc<dyn Resolve>,
    on_moment: impl FnMut(&Moment<'_>),
) -> Result<Outcome, RunError> {
    let load_hash = load_hash(&program, plugins, spec.seed);
    let slice = Slice::of(spec.segment);
    let fleet = Fleet::new(&program, plugins, slice, spec.cores.len()).map_err(RunError::Plan)?;
    let fleet = Arc::new(fleet);
    preflight::check_machine(&program, slice, spec.cores.len()).map_err(RunError::Machine)?;
    let tls = preflight::tls(&program).map_err(RunError::Plan)?;
    let addresses = preflight::resolve(&program, &**resolver).map_err(RunError::Plan)?;
    preflight::check_ports(&program, slice, &addresses).map_err(RunError::Machine)?;
    let shared = Arc::new(Shared::new(&program, spec.segment));
    let line = Arc::new(StartLine::new(spec.cores.len()));
    let leases = leases(&program, spec.segment, spec.cores.len() as u32);
    let places = Arc::new(Places::new(&program, spec.cores.len()));
    let (handovers, inbox) = channel();
    let mut empties: Vec<Sender<Box<Record>>> = Vec::new();
    let mut handles = Vec::new();
    let mut name_changes = Vec::new();
    let mut unmade = None;
    control.prepare(&program);
    for (index, &core) in spec.cores.iter().enumerate() {
        let (give_back, empty) = channel();
        empties.push(give_back);
        let (changes, fresh_addresses) = channel();
        name_changes.push(changes);
        let shard = ShardSpec {
            index: index as u32,
            count: spec.cores.len() as u32,
            slice: slice.shard(index as u32, spec.cores.len() as u32),
            shows: spec.shows_http && index == 0,
            program: Arc::clone(&program),
            plugins: Arc::clone(plugins),
            fleet: Arc::clone(&fleet),
            addresses: Arc::clone(&addresses),
            fresh_addresses,
            resolver: Arc::clone(resolver),
            tls: tls.clone(),
            control: control.clone(),
            seed: spec.seed,
            shared: Arc::clone(&shared),
            leases: Arc::clone(&leases),
            places: Arc::clone(&places),
            handovers: handovers.clone(),
            empty,
            start: StartLine::place(&line, control),
        };
        let spawned = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("shard-{index}"))
            // glommio's own file I/O is not used here.
            .io_memory(64 << 10)
            .spawn(move || shard::run(shard));
        match spawned {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                unmade.get_or_insert(format!("cannot start a shard on core {core}: {error}"));
            }
        }
    }
    drop(handovers);
    let names = Refresher::start(&program, resolver, addresses, name_changes);
    let _aside = stand_aside(&spec.cores);
    let mut started = None;
    if line.wait_ready() {
        match spec.start.wait(control) {
            Ok(start) => started = Some(start),
            Err(error) => {
                unmade.get_or_insert(error);
            }
        }
    }
    let clock = Clock::now();
    // Before a shard can begin: whoever steers the run does not come too early.
    if let Some(start) = started {
        control.begin(start.ns);
    }
    line.release(started.map(|start| start.ns));
    let Started {
        ns: start_ns,
        unix_ms: started_ms,
    } = started.unwrap_or_else(Started::now);
    let mut aggregate = Aggregate::new(Arc::clone(&program), slice, spec.cores.len(), start_ns)
        .keeping_seconds(spec.keeps_seconds);
    aggregate.collect(&inbox, &empties, control, on_moment);
    let ended_ms = unix_ms(SystemTime::now()).max(started_ms);
    let steps = control.end();
    if let Some((count, error)) = names.as_ref().and_then(Refresher::failures) {
        aggregate.total.errors_of(ErrorKind::Dns, count, &error);
    }
    let mut broken = Vec::new();
    for (index, handle) in handles.into_iter().enumerate() {
        match handle.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                unmade.get_or_insert(error);
            }
            Err(error) => broken.push((index, why(error))),
        }
    }
    if started.is_none() {
        let of_shard = |(index, why): &(usize, String)| format!("shard {index} broke off: {why}");
        if let Some(error) = unmade.or_else(|| broken.first().map(of_shard)) {
            return Err(RunError::Machine(error));
        }
    }
    // What was measured until then is as good as ever.
    let stopped = match broken.first() {
        Some(first) => Some(StopReason::Broken(broke_off(
            first,
            (broken.len(), spec.cores.len()),
        ))),
        None => control.reason(),
    };
    let thresholds = thresholds::judge_all(&program, &aggregate);
    Ok(Outcome {
        program,
        cores: spec.cores.clone(),
        seed: spec.seed,
        is_strict: spec.is_strict,
        segment: spec.segment,
        load_hash,
        clock,
        is_timed: spec.segment.is_some_and(Segment::is_part)
            || !matches!(spec.start, Start::AtOnce),
        aggregate,
        thresholds,
        stopped,
        steps,
        started_ms,
        ended_ms,
    })
}

/// What a shard's thread ended with.
fn why(error: GlommioError<()>) -> String {
    let GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(panic)) = error else {
        return error.to_string();
    };
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or("its thread panicked", |message| message)
            .to_owned(),
    }
}

/// A sentence for people.
fn broke_off((index, why): &(usize, String), (broken, shards): (usize, usize)) -> String {
    let who = if broken > 1 {
        format!("{broken} of {shards} shards broke off, shard {index} with")
    } else {
        format!("shard {index} of {shards} broke off:")
    };
    format!("{who} {why}; from then on its load is missing, and the others were ended")
}

/// Where shards wait for each other, so that all begin at one instant.
pub(crate) struct StartLine {
    state: Mutex<Line>,
    changed: Condvar,
}

struct Line {
    waiting_for: usize,
    failed: bool,
    /// What the run's own thread said: the start, or that there is none.
    said: Option<Option<u64>>,
}

impl StartLine {
    fn new(shards: usize) -> Self {
        Self {
            state: Mutex::new(Line {
                waiting_for: shards,
                failed: false,
                said: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// One of the places on the line.
    fn place(line: &Arc<Self>, control: &Control) -> Place {
        Place {
            line: Arc::clone(line),
            control: control.clone(),
            has_arrived: false,
            has_ended: false,
        }
    }

    fn arrive(&self, ok: bool) {
        let mut line = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting_for -= 1;
        line.failed |= !ok;
        if line.waiting_for == 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until every shard has arrived; whether all of them are ready.
    fn wait_ready(&self) -> bool {
        let line = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = self
            .changed
            .wait_while(line, |line| line.waiting_for > 0)
            .unwrap_or_else(PoisonError::into_inner);
        !line.failed
    }

    /// Lets the shards go, to begin at an instant that may be to come; without one none of them begins.
    fn release(&self, start_ns: Option<u64>) {
        let mut line = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        line.said = Some(start_ns);
        self.changed.notify_all();
    }

    fn wait_start(&self) -> Option<u64> {
        let line = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = self
            .changed
            .wait_while(line, |line| line.said.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        line.said.flatten()
    }
}

/// A shard's place on the start line, from before its thread is made until it ends. A shard that cannot be started,
/// panics or breaks off drops it, and is neither waited for nor run on without.
pub(crate) struct Place {
    line: Arc<StartLine>,
    control: Control,
    has_arrived: bool,
    has_ended: bool,
}

impl Place {
    /// The shard is ready, or (`ok` false) never will be. Waits for all and for the start's hour; the common start, which may
    /// be a little ahead, or `None` when there is none.
    pub(crate) fn ready(&mut self, ok: bool) -> Option<u64> {
        self.has_arrived = true;
        self.line.arrive(ok);
        self.line.wait_start()
    }

    /// The shard has done all that it had to.
    pub(crate) fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Whether it has.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.has_arrived {
            self.line.arrive(false);
        } else if !self.has_ended {
            self.control.break_off();
        }
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(error) => f.write_str(error),
            Self::Plan(problems) => {
                for (i, problem) in problems.iter().enumerate() {
                    if i > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{}: {}", problem.path, problem.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for RunError {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use loadr_config::Options;
    use loadr_plugin_host::Cache;
    use loadr_target::{Settings, Target};

    use super::*;
    use crate::plugins::PluginSources;
    use crate::results::Summary;

    #[test]
    fn what_was_measured_until_a_shard_breaks_off_is_the_outcome() {
        let target = Target::start(&Settings::loopback()).unwrap();
        let plan = format!(
            "scenarios:\n  s: {{ executor: constant-vus, vus: 2, duration: 60s, flow: [ {{ request: {{ url: \
             'http://{}/' }} }} ] }}",
            target.address()
        );
        let compiled = loadr_config::compile(&plan, Path::new("plan.yaml"), &Options::default());
        let program = Arc::new(compiled.unwrap().program);
        let sources = PluginSources {
            store: None,
            cache: Cache::none(),
        };
        let plugins = Arc::new(LoadedPlugins::load(&program, &sources).unwrap());
        let core = crate::cores::available()[0];
        let spec = RunSpec {
            cores: vec![core; 2],
            seed: 1,
            is_strict: true,
            ..RunSpec::default()
        };
        let control = Control::new(1);
        let mut seconds = 0;
        let outcome = run(program, &plugins, &spec, &control, |_| {
            seconds += 1;
            if seconds == 2 {
                control.break_shard(1);
            }
        })
        .unwrap();
        let rest = outcome
            .rest()
            .map_or(0, |rest| rest.progress().requests_total);
        let summary = Summary::new(&outcome);
        let why = summary.aborted.as_deref().unwrap();
        assert!(
            why.starts_with("shard 1 of 2 broke off: as a test wants it;"),
            "{why}"
        );
        assert_eq!(
            summary.generator.reasons.first().map(String::as_str),
            Some(why)
        );
        assert!(summary.generator.bottleneck);
        assert_eq!(summary.exit_code, 1);
        // Also what the broken shard had not handed over: every request of the totals is in a second that was shown.
        let count = summary.metric("http_reqs").unwrap().count.unwrap();
        let last = outcome.aggregate.timeline.last().unwrap();
        assert!(count > 0 && count == last.requests_total.max(rest));
        assert!(outcome.aggregate.timeline.len() >= 2);
        assert!(summary.duration_secs >= 2.0 && summary.duration_secs < 60.0);
        assert!(outcome.aggregate.have_handed_over_last(), "both shards");
    }

    #[test]
    fn a_place_that_is_lost_before_the_start_fails_the_start_and_after_it_ends_the_run() {
        let line = Arc::new(StartLine::new(2));
        let control = Control::new(1);
        let first = StartLine::place(&line, &control);
        drop(StartLine::place(&line, &control));
        let shard = std::thread::spawn({
            let mut first = first;
            move || first.ready(true)
        });
        assert!(!line.wait_ready());
        line.release(None);
        assert_eq!(shard.join().unwrap(), None);

        let begin = |control: &Control| {
            let line = Arc::new(StartLine::new(1));
            let mut place = StartLine::place(&line, control);
            // Said before it arrives: a place waits for what is said, whenever that was.
            line.release(Some(7));
            assert_eq!(place.ready(true), Some(7));
            assert!(line.wait_ready());
            place
        };
        let control = Control::new(1);
        drop(begin(&control));
        assert!(control.is_stopped());

        let control = Control::new(1);
        let mut place = begin(&control);
        place.ended();
        drop(place);
        assert!(!control.is_stopped());
    }
}
