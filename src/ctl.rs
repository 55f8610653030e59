//! `loadr-fast ctl`, and where `run` listens for it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use loadr_config::{Executor, Program};
use loadr_control::{Asked, Server, ask, find_socket, own_socket};
use loadr_engine::Control;
use loadr_engine::figures::inert;
use serde_json::Value;

use loadr_fleet::{Command as FleetCommand, Stop};

use crate::cli::{self, RunArgs};
use crate::fleet::BusArgs;
use crate::voice::NOTES;

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast ctl status
  loadr-fast ctl vus 50
  loadr-fast ctl rate 500 --scenario browse
  loadr-fast ctl --socket /run/user/1000/load.sock pause
  loadr-fast ctl --bus nats://bus.example:4222 --fleet night vus 5000

While a run is paused no iteration starts, those in flight go on, and the rest of its schedule moves by as long as the
pause; nothing is dropped. A new number or rate holds within 20 ms, from one instant on all cores.

Exit codes:
  0 done · 1 no run, or it cannot do that";

#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// The run's control socket. Default: that of the only run of this user with one in the default place.
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// Print the run's status as JSON.
    #[arg(long, global = true)]
    json: bool,

    #[command(flatten)]
    bus: BusArgs,

    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Print how the run goes.
    #[command(after_help = "Example:\n  loadr-fast ctl status --json")]
    Status,
    /// Have so many virtual users loop in an `externally-controlled` scenario.
    #[command(after_help = "Example:\n  loadr-fast ctl vus 50")]
    Vus {
        /// How many, up to its `max_vus`.
        vus: u32,
        #[command(flatten)]
        of: Scenario,
    },
    /// Start so many iterations a second in an `externally-controlled` or an arrival-rate scenario.
    #[command(after_help = "Example:\n  loadr-fast ctl rate 500 --scenario browse")]
    Rate {
        /// How many; 0 for none.
        #[arg(value_parser = cli::rate_or_none)]
        per_second: f64,
        #[command(flatten)]
        of: Scenario,
    },
    /// Start no iteration until `resume`.
    #[command(after_help = "Example:\n  loadr-fast ctl pause")]
    Pause,
    /// Go on after a `pause`.
    #[command(after_help = "Example:\n  loadr-fast ctl resume")]
    Resume,
    /// End the run gracefully, with its summary.
    #[command(after_help = "Example:\n  loadr-fast ctl stop")]
    Stop,
}

#[derive(Debug, Args)]
struct Scenario {
    /// Which one; it may be left out when only one can be meant.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
}

/// Asks the run; the exit code, or what to tell a person.
pub(crate) fn run(args: &CtlArgs) -> Result<u8, String> {
    if let (Some(bus), None) = (args.bus.bus(), &args.socket) {
        let status = loadr_fleet::ask(&bus, args.bus.fleet.as_deref(), &args.command.of_fleet())?;
        print_status(args, &status);
        return Ok(0);
    }
    let socket = match &args.socket {
        Some(path) => path.clone(),
        None => find_socket()?,
    };
    let asked = match &args.command {
        CtlCommand::Status => Asked::Status,
        CtlCommand::Vus { vus, of } => Asked::Vus(*vus, of.scenario.clone()),
        CtlCommand::Rate { per_second, of } => Asked::Rate(*per_second, of.scenario.clone()),
        CtlCommand::Pause => Asked::Pause,
        CtlCommand::Resume => Asked::Resume,
        CtlCommand::Stop => Asked::Stop,
    };
    print_status(args, &ask(&socket, &asked)?);
    Ok(0)
}

impl CtlCommand {
    /// The same, asked of all segments of a fleet.
    fn of_fleet(&self) -> FleetCommand {
        match self {
            Self::Status => FleetCommand::Status,
            Self::Vus { vus, of } => FleetCommand::Vus {
                scenario: of.scenario.clone(),
                vus: *vus,
            },
            Self::Rate { per_second, of } => FleetCommand::Rate {
                scenario: of.scenario.clone(),
                per_second: *per_second,
            },
            Self::Pause => FleetCommand::Pause,
            Self::Resume => FleetCommand::Resume,
            Self::Stop => FleetCommand::Stop { why: Stop::Steered },
        }
    }
}

fn print_status(args: &CtlArgs, status: &Value) {
    let text = if args.json {
        format!("{status:#}\n")
    } else {
        text(status)
    };
    crate::print(&text);
}

/// A status for people.
fn text(status: &Value) -> String {
    // What comes from a plan moves no cursor.
    let word = |value: &Value| inert(value.as_str().unwrap_or("?"));
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let mut out = format!(
        "{} · {} · {:.1} s",
        word(&status["name"]),
        word(&status["state"]),
        number(&status["elapsed_secs"])
    );
    let paused_secs = number(&status["paused_secs"]);
    // Writing to a String cannot fail.
    if paused_secs > 0.0 {
        let _ = write!(out, ", {paused_secs:.1} s of it paused");
    }
    out.push('\n');
    for scenario in status["scenarios"].as_array().into_iter().flatten() {
        let aim = &scenario["aim"];
        let does = match (aim["vus"].as_u64(), aim["rate"].as_f64()) {
            (Some(vus), _) => format!("{vus} VUs of at most {}", scenario["max_vus"]),
            (_, Some(rate)) => {
                format!("{rate}/s with at most {} VUs", scenario["max_vus"])
            }
            _ if scenario["takes_vus"] == true => "nothing was asked for yet".to_owned(),
            _ => "by the plan".to_owned(),
        };
        let _ = writeln!(
            out,
            "  {} ({}) · {} · {does}",
            word(&scenario["name"]),
            word(&scenario["executor"]),
            word(&scenario["phase"]),
        );
    }
    for segment in status["segments"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "  segment {} ({}) · {} · {} VUs · {:.0} req/s",
            segment["index"],
            word(&segment["place"]),
            word(&segment["state"]),
            segment["vus"],
            number(&segment["requests_per_sec"]),
        );
    }
    let second = &status["last_second"];
    if !second.is_null() {
        let _ = write!(
            out,
            "last second: {} VUs · {:.0} req/s · {:.2} % failed",
            second["vus"],
            number(&second["requests_per_sec"]),
            number(&second["error_rate"]) * 100.0
        );
        if let (Some(p50), Some(p99)) = (
            second["latency_p50_ms"].as_f64(),
            second["latency_p99_ms"].as_f64(),
        ) {
            let _ = write!(out, " · p50 {p50:.2} ms · p99 {p99:.2} ms");
        }
        out.push('\n');
    }
    out
}

/// Listens where the arguments say; a plan that is steered listens in any case.
pub(crate) fn listen(
    args: &RunArgs,
    program: &Program,
    control: &Control,
) -> Result<Vec<Server>, String> {
    let is_steered =
        |executor: &Executor| matches!(executor, Executor::ExternallyControlled { .. });
    let path = match &args.control {
        Some(path) => Some(path.clone()),
        None if program.scenarios.iter().any(|s| is_steered(&s.executor)) => Some(own_socket()?),
        None => None,
    };
    let mut servers = Vec::new();
    let say = |line: String| {
        if !args.quiet {
            NOTES.line(&line);
        }
    };
    if let Some(path) = path {
        servers.push(Server::unix(&path, control.clone())?);
        say(format!(
            "control: loadr-fast ctl --socket {}",
            path.display()
        ));
    }
    if let Some(address) = args.control_http {
        let server = Server::loopback(address, control.clone())?;
        if let Some(address) = server.address() {
            say(format!("control: http://{address}/status"));
        }
        servers.push(server);
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_moves_no_cursor() {
        let hostile = "a\u{1b}[2J\u{9b}m\n\u{202e}b";
        let said = text(&serde_json::json!({
            "name": hostile, "state": hostile, "elapsed_secs": 1.0,
            "scenarios": [ { "name": hostile, "executor": hostile, "phase": hostile, "aim": {} } ],
        }));
        assert_eq!(said.lines().count(), 2, "{said:?}");
        let is_inert = |line: &str| !line.chars().any(loadr_engine::figures::is_hidden);
        assert!(said.lines().all(is_inert), "{said:?}");
        assert!(said.contains("a\\u{1b}[2J\\u{9b}m\\n\\u{202e}b"), "{said}");
    }
}
