//! `loadr-fast doctor`: what about this machine is in the way of a run, and what to change.

use std::io::{Write as _, stdout};
use std::time::Duration;

use clap::Args;
use loadr_engine::cores::{self, CoreChoice};
use loadr_engine::doctor::{Level, examine};

/// How long the cores are watched: ticks are 10 ms, so a tenth of a core shows.
const WATCH: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print for programs: a list of `check`, `level` (good, note, warning, fault), `found`, `advice`.
    #[arg(long)]
    json: bool,

    /// The cores that a run would use; see `run`.
    #[arg(long, value_name = "N|LIST")]
    cores: Option<CoreChoice>,
}

/// Looks at the machine; the exit code is 1 when no run is possible.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<u8, String> {
    let cores = cores::choose(args.cores.as_ref(), &cores::available(), false)?;
    let findings = examine(&cores, WATCH);
    let out = if args.json {
        let json = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
        json + "\n"
    } else {
        let line = |finding: &loadr_engine::doctor::Finding| {
            let mark = match finding.level {
                Level::Good => '✓',
                Level::Note => '·',
                Level::Warning => '!',
                Level::Fault => '✗',
            };
            format!("{mark} {finding}\n")
        };
        findings.iter().map(line).collect()
    };
    // A reader that has gone away is no fault of the machine.
    let _ = stdout().write_all(out.as_bytes());
    let is_possible = findings.iter().all(|finding| finding.level != Level::Fault);
    Ok(u8::from(!is_possible))
}
