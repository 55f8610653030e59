//! `--bus`: a segment's place in a live fleet, and the flags that `run`, `watch` and `ctl` share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use loadr_config::{Diagnostic, Program};
use loadr_engine::segment::{load_hash, needs_talk};
use loadr_engine::{Control, LoadedPlugins, Segment, Start};
use loadr_fleet::{Bus, Joining, OnLost, Place, default_name, fleet_name};

use crate::cli::RunArgs;
use crate::parts::Part;
use crate::watch::terminal;

/// The longest name that is made of a launcher's.
const LAUNCH_MAX: usize = 90;

/// Which bus, and which fleet on it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Live, over NATS")]
pub(crate) struct BusArgs {
    /// A NATS server, `nats://HOST:PORT` or `tls://HOST:PORT`, with USER:PASSWORD@ or TOKEN@ before the host where it wants
    /// them; servers of one cluster with commas between.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LOADR_BUS",
        hide_env_values = true
    )]
    pub(crate) bus: Option<String>,

    /// A NATS `.creds` file.
    #[arg(long, global = true, value_name = "FILE", env = "LOADR_BUS_CREDS")]
    pub(crate) bus_creds: Option<PathBuf>,

    /// Trust these roots (PEM) instead of the system's, for `tls://`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) bus_ca: Option<PathBuf>,

    /// Show the server this certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "bus_key")]
    pub(crate) bus_cert: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "bus_cert")]
    pub(crate) bus_key: Option<PathBuf>,

    /// The fleet's name: letters, digits, `-` and `_`. Default, for `run`: the launcher's job, or made of plan and seed; for
    /// the others: the only fleet on the bus.
    #[arg(long, global = true, value_name = "NAME", env = "LOADR_FLEET", value_parser = fleet_name)]
    pub(crate) fleet: Option<String>,
}

impl BusArgs {
    /// The bus, if one was named.
    pub(crate) fn bus(&self) -> Option<Bus> {
        Some(Bus {
            url: self.bus.clone()?,
            credentials: self.bus_creds.clone(),
            ca: self.bus_ca.clone(),
            certificate: self.bus_cert.clone().zip(self.bus_key.clone()),
        })
    }
}

/// How a segment stands in its fleet.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Live, over NATS")]
pub(crate) struct FleetArgs {
    #[command(flatten)]
    pub(crate) bus: BusArgs,

    /// How long the other segments are waited for, from when this one is ready.
    #[arg(long, value_name = "D", default_value = "5m", value_parser = loadr_config::parse_duration)]
    pub(crate) bus_wait: Duration,

    /// What happens when a segment is lost: the others go on without its part of the load, or end.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Lost::Continue)]
    pub(crate) on_lost: Lost,
}

/// See [`OnLost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lost {
    /// Go on.
    Continue,
    /// End, with exit code 1.
    Abort,
}

/// Whether the run is one of a live fleet.
pub(crate) fn is_live(args: &RunArgs) -> bool {
    args.fleet.bus.bus.is_some()
}

/// What segments that talk cannot make of the plan either.
pub(crate) fn cannot(program: &Program) -> Vec<Diagnostic> {
    let mut problems = needs_talk(program);
    // What is told to all of them is.
    problems.retain(|problem| !problem.path.ends_with(".executor"));
    for problem in &mut problems {
        problem.help = Some(
            "run it in one process without --bus, or leave the step out: segments tell each other little and seldom, and a \
             meeting of users has to be at once"
                .to_owned(),
        );
    }
    problems
}

/// Takes the segment's place, where there is a bus.
pub(crate) fn join(
    args: &RunArgs,
    part: &Part,
    program: &Arc<Program>,
    plugins: &LoadedPlugins,
    seed: u64,
    cores: &[usize],
    control: &Control,
) -> Result<Option<Place>, String> {
    let Some(bus) = args.fleet.bus.bus() else {
        return Ok(None);
    };
    if part.has_instant() {
        return Err(
            "--bus and --start-at both say when the run begins: with --bus the segments agree on an instant, so leave \
             --start-at out"
                .to_owned(),
        );
    }
    let segment = part.segment.unwrap_or(Segment { index: 0, of: 1 });
    let load_hash = load_hash(program, plugins, seed);
    let fleet = match (&args.fleet.bus.fleet, part.launch()) {
        (Some(name), _) => name.clone(),
        (None, Some(launch)) => launch_name(launch),
        (None, None) => default_name(&load_hash),
    };
    let is_quiet = args.quiet;
    let say = move |line: &str| {
        if !is_quiet {
            terminal::say(line);
        }
    };
    say(&format!(
        "fleet {fleet}: segment {segment} on {}",
        bus.shown()
    ));
    let joining = Joining {
        bus,
        fleet,
        segment,
        program: Arc::clone(program),
        load_hash,
        seed,
        wait: args.fleet.bus_wait,
        on_lost: match args.fleet.on_lost {
            Lost::Continue => OnLost::Continue,
            Lost::Abort => OnLost::Abort,
        },
        cores: cores.to_vec(),
        say: Box::new(say),
    };
    Place::join(joining, control).map(Some)
}

/// The start that the fleet agrees on, or else the part's own.
pub(crate) fn start(place: Option<&Place>, part: &Part) -> Start {
    place.map_or_else(|| part.start(), |place| Start::When(place.gate()))
}

/// A fleet's name of what a launcher calls its job.
fn launch_name(launch: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = launch.chars().map(plain).take(LAUNCH_MAX).collect();
    format!("job-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launchers_name_makes_a_fleets() {
        let name = launch_name("3141.host/é x");
        assert_eq!(name, "job-3141_host___x");
        assert!(fleet_name(&name).is_ok());
        assert!(fleet_name(&launch_name(&"x".repeat(1_000))).is_ok());
    }
}
