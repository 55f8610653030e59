//! `loadr-fast watch`: a live fleet as one run, on the terminal, on the page and in a summary.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use loadr_engine::{
    Control, Delta, ErrorSummary, GatheredRun, Gathering, MergedFrom, Segment, Steer, StopReason,
    Summary, TextStyle, figures,
};
use loadr_fleet::{About, Command, Remote, Seen, Stop, Watcher};

use crate::color::When;
use crate::export::Export;
use crate::fleet::BusArgs;
use crate::page::UiArgs;
use crate::signals::Signals;
use crate::voice::{NOTE_PATIENCE, NOTES, RESULTS, SUMMARY_PATIENCE};
use crate::watch::{Wanted, Watch, terminal};

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast watch --bus nats://bus.example:4222
  loadr-fast watch --bus nats://bus.example:4222 --fleet night --ui --no-tui
  loadr-fast watch --bus tls://bus.example:4222 --bus-creds watch.creds --summary-export summary.json
  loadr-fast ctl --bus nats://bus.example:4222 stop

It may come at any time, go and come again: a fleet runs with or without it, and what it missed it gets. While it is there,
thresholds with `abort_on_fail` are judged on all segments, and end all of them. Ctrl-C ends the watching, not the fleet.

Exit codes:
  as a run: 0 all held · 1 an error, or a segment was lost · 99 a threshold failed · 130 interrupted";

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Where the last segments are lost, they get so long to come back.
const RETURN: Duration = Duration::from_secs(3);
/// A stop that was not followed is asked for again.
const STOP_AGAIN: Duration = Duration::from_secs(3);
/// The most reasons of segments that are told; the rest are counted.
const REASONS_MAX: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    bus: BusArgs,

    /// How long a fleet is waited for.
    #[arg(long, value_name = "D", default_value = "5m", value_parser = loadr_config::parse_duration)]
    bus_wait: Duration,

    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,

    /// Print a line a second instead of drawing on the terminal.
    #[arg(long)]
    no_tui: bool,

    /// Write the summary of all segments as JSON to this file.
    #[arg(long, value_name = "FILE")]
    summary_export: Option<PathBuf>,

    /// Write every trend of all segments to this file, as `run --histograms` does.
    #[arg(long, value_name = "FILE")]
    histograms: Option<PathBuf>,

    /// Write thresholds and checks to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    #[command(flatten)]
    ui: UiArgs,
}

/// Watches; the exit code, or what to tell a person.
pub(crate) fn watch(args: &WatchArgs, color: When) -> Result<u8, String> {
    let bus = args
        .bus
        .bus()
        .ok_or("say which bus, as in --bus nats://127.0.0.1:4222")?;
    let open = |path: &Option<PathBuf>| path.as_deref().map(Export::open).transpose();
    let summary_file = open(&args.summary_export)?;
    let histograms_file = open(&args.histograms)?;
    let junit_file = open(&args.junit)?;
    let control = Control::new(0);
    let signals = Signals::saying(
        control.clone(),
        "\nwatching ends; the fleet goes on (`loadr-fast ctl --bus … stop` ends it)",
    )
    .map_err(|error| format!("cannot watch for signals: {error}"))?;
    let is_quiet = args.quiet;
    let say = move |line: &str| {
        if !is_quiet {
            terminal::say(line);
        }
    };
    let watcher = Watcher::join(bus, args.bus.fleet.clone(), args.bus_wait, &control, say)?;
    let about = watcher.about().clone();
    say(&format!(
        "fleet {}: {} segments",
        figures::inert(&about.fleet),
        about.of
    ));
    let segments: Vec<usize> = (0..about.of as usize).collect();
    let remote = watcher.remote();
    let steer: Arc<dyn Steer> = Arc::clone(&remote) as Arc<dyn Steer>;
    let wanted = Wanted {
        ui: &args.ui,
        is_quiet,
        has_lines: args.no_tui,
        is_colored: color.is_on(stderr().is_terminal()),
        rows: &segments,
        row_is: "segment",
        cores: &[],
    };
    let mut screens = Watch::start(&wanted, &about.program, &steer)?;
    let mut fleet = Fleet::new(about, remote);
    let is_interrupted = loop {
        if control.is_stopped() {
            break true;
        }
        if fleet.is_over() {
            break false;
        }
        if let Some(seen) = watcher.next(LOOK) {
            fleet.see(seen, &say);
        }
        let failed = fleet.gathering.show(|moment| screens.see(moment));
        fleet.failed = fleet.failed.take().or(failed);
        fleet.stop_if_failed(&say);
    };
    screens.end_screen();
    let notes = watcher.notes();
    drop(watcher);
    let (outcome, summary) = fleet.finish(is_interrupted, notes);
    if !is_quiet {
        let style = TextStyle {
            is_colored: color.is_on(stdout().is_terminal()),
            is_verbose: false,
        };
        let text = loadr_engine::summary_text(&summary, style);
        // So that they stand in order where both go to one place.
        NOTES.finish(NOTE_PATIENCE);
        RESULTS.write(text.into_bytes());
        RESULTS.finish(SUMMARY_PATIENCE);
    }
    let mut failed = Vec::new();
    let mut write = |file: Option<Export>, text: &dyn Fn() -> String| {
        if let Some(Err(error)) = file.map(|file| file.write(text().as_bytes())) {
            failed.push(error);
        }
    };
    write(summary_file, &|| summary.to_json());
    write(histograms_file, &|| {
        loadr_engine::histogram_log(&outcome, &summary)
    });
    write(junit_file, &|| loadr_report::junit(&summary));
    if is_interrupted {
        screens.leave_page();
    } else {
        screens.tell_page(&summary);
        screens.end_page(&signals);
    }
    if failed.is_empty() {
        Ok(summary.exit_code)
    } else {
        Err(failed.join("\n"))
    }
}

/// What is known of the fleet that is watched.
struct Fleet {
    about: About,
    remote: Arc<Remote>,
    gathering: Gathering,
    ended: BTreeMap<u32, Box<Summary>>,
    lost: BTreeMap<u32, String>,
    /// What is not in the figures, for people.
    missing: Vec<String>,
    changed: Instant,
    /// The threshold that ends the run.
    failed: Option<String>,
    stop: Option<(Instant, mpsc::Receiver<Result<(), String>>)>,
    was_stopped: bool,
}

impl Fleet {
    fn new(about: About, remote: Arc<Remote>) -> Self {
        Self {
            gathering: Gathering::new(Arc::clone(&about.program), about.of),
            about,
            remote,
            ended: BTreeMap::new(),
            lost: BTreeMap::new(),
            missing: Vec::new(),
            changed: Instant::now(),
            failed: None,
            stop: None,
            was_stopped: false,
        }
    }

    fn is_over(&self) -> bool {
        let gone = self
            .lost
            .keys()
            .filter(|index| !self.ended.contains_key(index))
            .count();
        let is_all = self.ended.len() + gone == self.about.of as usize;
        is_all && (gone == 0 || self.changed.elapsed() > RETURN)
    }

    fn see(&mut self, seen: Seen, say: &impl Fn(&str)) {
        match seen {
            Seen::Second { segment, bytes } => match Delta::read(&self.about.program, &bytes) {
                Ok(delta) => self.gathering.take(segment, &delta),
                Err(what) => self.miss(
                    format!("a second of segment {segment} cannot be read: {what}"),
                    say,
                ),
            },
            Seen::Ended { segment, summary } => {
                self.changed = Instant::now();
                self.gathering.ended(segment, summary.duration_secs);
                self.lost.remove(&segment);
                self.ended.insert(segment, summary);
            }
            Seen::Lost { segment, why } => {
                self.changed = Instant::now();
                say(&format!("segment {segment} is lost: {why}"));
                self.gathering.is_lost(segment, true);
                self.lost.insert(segment, why);
            }
            Seen::Back { segment } => {
                self.changed = Instant::now();
                if self.lost.remove(&segment).is_some() {
                    say(&format!("segment {segment} is heard again"));
                    self.gathering.is_lost(segment, false);
                }
            }
            Seen::Gap { segment, seconds } => {
                let what = format!(
                    "{seconds} s of segment {segment} can no longer be had from it; its own files have them"
                );
                self.miss(what, say);
            }
        }
    }

    fn miss(&mut self, what: String, say: &impl Fn(&str)) {
        say(&format!("warning: {what}"));
        if self.missing.len() < 20 {
            self.missing.push(what);
        }
    }

    /// A threshold that ends the run ends all segments. Asked on a thread, so that the view goes on.
    fn stop_if_failed(&mut self, say: &impl Fn(&str)) {
        let Some(failed) = self.failed.clone().filter(|_| !self.was_stopped) else {
            return;
        };
        match &self.stop {
            None => say(&format!("threshold failed: {failed}: the fleet is stopped")),
            Some((asked, answer)) => match answer.try_recv() {
                Ok(Ok(())) => {
                    self.was_stopped = true;
                    return;
                }
                _ if asked.elapsed() < STOP_AGAIN => return,
                Ok(Err(error)) => say(&format!("the fleet could not be stopped: {error}")),
                Err(_) => return,
            },
        }
        let (answer, answered) = mpsc::channel();
        let remote = Arc::clone(&self.remote);
        thread::spawn(move || {
            let why = Stop::Threshold(failed);
            let _ = answer.send(remote.order(Command::Stop { why }));
        });
        self.stop = Some((Instant::now(), answered));
    }

    /// What it comes to.
    fn finish(
        mut self,
        is_interrupted: bool,
        notes: Vec<String>,
    ) -> (loadr_engine::Outcome, Summary) {
        for (segment, why) in &self.lost {
            self.missing
                .push(format!("segment {segment} of {}: {why}", self.about.of));
        }
        if is_interrupted {
            let going = (0..self.about.of)
                .filter(|i| !self.ended.contains_key(i) && !self.lost.contains_key(i));
            let going: Vec<String> = going.map(|index| index.to_string()).collect();
            self.missing.push(format!(
                "what segment {} did after the watching ended",
                going.join(", ")
            ));
        }
        let ended = || self.ended.values();
        let run = GatheredRun {
            seed: self.about.seed,
            load_hash: self.about.load_hash.clone(),
            started_ms: ended().map(|s| s.started_ms).min().unwrap_or_default(),
            ended_ms: ended().map(|s| s.ended_ms).max().unwrap_or_default(),
            stopped: match self.failed {
                _ if is_interrupted => Some(StopReason::Interrupted),
                Some(failed) => Some(StopReason::Threshold(failed)),
                None => None,
            },
        };
        let outcome = self.gathering.finish(run);
        let mut summary = Summary::new(&outcome);
        summary.run_id = format!("{}-{}", self.about.fleet, summary.run_id);
        let generator = &mut summary.generator;
        (generator.cores, generator.cpu_max) = (Vec::new(), 0.0);
        (generator.late_iterations, generator.late_max_ms) = (0, 0.0);
        // Each knows best why it may have been in the way; all together only where none does.
        let of_all = std::mem::take(&mut generator.reasons);
        generator.notes.clear();
        generator.bottleneck = false;
        let mut reasons = 0;
        for (index, one) in &self.ended {
            let theirs = &one.generator;
            generator.cores.extend(&theirs.cores);
            generator.cpu_max = generator.cpu_max.max(theirs.cpu_max);
            generator.late_iterations = generator
                .late_iterations
                .saturating_add(theirs.late_iterations);
            generator.late_max_ms = generator.late_max_ms.max(theirs.late_max_ms);
            generator.bottleneck |= theirs.bottleneck;
            reasons += theirs.reasons.len();
            let room = REASONS_MAX.saturating_sub(generator.reasons.len());
            let named = |what: &String| format!("segment {index}: {}", figures::inert(what));
            generator
                .reasons
                .extend(theirs.reasons.iter().take(room).map(named));
            let room = REASONS_MAX.saturating_sub(generator.notes.len());
            generator
                .notes
                .extend(theirs.notes.iter().take(room).map(named));
        }
        if reasons > generator.reasons.len() {
            let more = reasons - generator.reasons.len();
            generator.reasons.push(format!("and {more} more"));
        }
        if reasons == 0 && self.ended.len() < self.about.of as usize {
            generator.bottleneck = !of_all.is_empty();
            generator.reasons = of_all;
        }
        generator.notes.extend(notes);
        add_dns(&mut summary, &self.ended);
        let first = self.ended.values().next();
        summary.environment = first.and_then(|one| one.environment.clone());
        let aborted = self.ended.values().filter_map(|one| one.aborted.clone());
        let mut aborted: Vec<String> = aborted.map(|why| figures::inert(&why)).collect();
        aborted.dedup();
        if summary.aborted.is_none() && !aborted.is_empty() {
            aborted.truncate(REASONS_MAX);
            summary.aborted = Some(aborted.join("; "));
        }
        let codes: Vec<u8> = self.ended.values().map(|one| one.exit_code).collect();
        summary.exit_code = match summary.exit_code {
            130 => 130,
            _ if codes.contains(&130) => 130,
            _ if codes.contains(&98) => 98,
            _ if !summary.thresholds_passed || codes.contains(&99) => 99,
            0 if codes.contains(&1) || !self.missing.is_empty() => 1,
            code => code,
        };
        let of = self.about.of;
        summary.merged = Some(MergedFrom {
            runs: self
                .ended
                .values()
                .map(|one| figures::inert(&one.run_id))
                .collect(),
            segments: self
                .ended
                .keys()
                .map(|&index| Segment { index, of })
                .collect(),
            missing: self.missing,
        });
        (outcome, summary)
    }
}

/// Names that could not be looked up again are counted when a segment ends, after its last second.
fn add_dns(summary: &mut Summary, ended: &BTreeMap<u32, Box<Summary>>) {
    let of_dns = |errors: &[ErrorSummary]| errors.iter().find(|error| error.kind == "dns").cloned();
    let mut all: Option<ErrorSummary> = None;
    for one in ended.values().filter_map(|one| of_dns(&one.errors)) {
        match &mut all {
            Some(all) => all.count = all.count.saturating_add(one.count),
            None => all = Some(one),
        }
    }
    if let Some(mut all) = all {
        all.example = figures::inert(&all.example);
        summary.errors.retain(|error| error.kind != "dns");
        summary.errors.push(all);
        summary
            .errors
            .sort_by_key(|error| std::cmp::Reverse(error.count));
    }
}
