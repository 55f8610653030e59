//! Ctrl-C: the first ends the run gracefully, with its summary; the second stops at once.

use std::io::{self, Write, stderr};
use std::thread;

use loadr_engine::{Control, StopReason};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell expects of an interrupted program.
const INTERRUPTED: i32 = 130;

/// Watches for SIGINT and SIGTERM until the process ends.
pub(crate) fn watch(control: Control) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            for _ in signals.forever() {
                if asked {
                    std::process::exit(INTERRUPTED);
                }
                asked = true;
                control.stop(StopReason::Interrupted);
                // After it, and without a panic: the same Ctrl-C has ended a `| tee` that read standard error.
                let _ = writeln!(
                    stderr(),
                    "\nstopping: iterations in flight may finish; once more stops at once"
                );
            }
        })?;
    Ok(())
}
