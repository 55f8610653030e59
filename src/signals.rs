//! Ctrl-C: the first ends the run gracefully, with its summary; the second stops at once.

use std::io::{self, Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use loadr_engine::{Control, StopReason};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell expects of an interrupted program.
const INTERRUPTED: i32 = 130;

/// Watches for SIGINT and SIGTERM until the process ends.
pub(crate) fn watch(control: Control) -> io::Result<()> {
    let said = "stopping: iterations in flight may finish; once more stops at once";
    on_interrupt(said, move || control.stop(StopReason::Interrupted))
}

/// Calls `stop` at the first signal, and ends the process at the second.
fn on_interrupt(said: &'static str, stop: impl Fn() + Send + 'static) -> io::Result<()> {
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
                stop();
                // After it, and without a panic: the same Ctrl-C has ended a `| tee` that read standard error.
                let _ = writeln!(stderr(), "\n{said}");
            }
        })?;
    Ok(())
}

/// Ctrl-C for a command that makes several runs after each other: it ends the one there is, and no other begins.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<(bool, Option<Control>)>>);

impl Interrupt {
    pub(crate) fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        let shared = interrupt.clone();
        let said = "stopping: the probe is given up, and what is known so far is said; once more stops at once";
        on_interrupt(said, move || {
            let mut state = shared.state();
            state.0 = true;
            if let Some(control) = &state.1 {
                control.stop(StopReason::Interrupted);
            }
        })?;
        Ok(interrupt)
    }

    /// From now on it ends this run; whether it has not been asked for already.
    pub(crate) fn ends(&self, control: &Control) -> bool {
        let mut state = self.state();
        state.1 = Some(control.clone());
        !state.0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.state().0
    }

    fn state(&self) -> MutexGuard<'_, (bool, Option<Control>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
