//! Ctrl-C: the first ends the run gracefully, with its summary; the second stops at once.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use loadr_engine::{Control, StopReason};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

use crate::voice::NOTES;
use crate::watch::terminal;

/// What a shell expects of an interrupted program.
const INTERRUPTED: i32 = 130;
/// What was said before a second Ctrl-C is waited for no longer.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The watch for SIGINT and SIGTERM; it goes on until the process ends.
pub(crate) struct Signals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The run was asked to stop.
    is_asked: bool,
    /// The run is over, and what is left waits for a signal.
    is_waiting: bool,
    has_come: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signals {
    /// Watches from now on.
    pub(crate) fn watch(control: Control) -> io::Result<Self> {
        Self::saying(
            control,
            "\nstopping: iterations in flight may finish; once more stops at once",
        )
    }

    /// The same, with what a person is told at the first.
    pub(crate) fn saying(control: Control, said: &'static str) -> io::Result<Self> {
        let mut incoming = Incoming::new([SIGINT, SIGTERM])?;
        let shared = Arc::new(Shared::default());
        let signals = Self(Arc::clone(&shared));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in incoming.forever() {
                    let mut state = shared.state();
                    if state.is_waiting {
                        state.has_come = true;
                        shared.changed.notify_all();
                        continue;
                    }
                    if state.is_asked {
                        terminal::restore();
                        NOTES.finish_within(LAST_WORDS);
                        std::process::exit(INTERRUPTED);
                    }
                    state.is_asked = true;
                    drop(state);
                    control.stop(StopReason::Interrupted);
                    // After it, and without a panic: the same Ctrl-C has ended a `| tee` that read standard error.
                    terminal::say(said);
                }
            })?;
        Ok(signals)
    }

    /// The run is over, and something is waited for: from now on a signal ends the wait and nothing else.
    pub(crate) fn wait(&self) -> Wait<'_> {
        let mut state = self.0.state();
        state.is_waiting = true;
        state.has_come = false;
        Wait(&self.0)
    }

    /// Waits for a signal, which ends nothing else.
    pub(crate) fn wait_for_one(&self) {
        let wait = self.wait();
        let state = wait.0.state();
        let _state = wait
            .0
            .changed
            .wait_while(state, |state| !state.has_come)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// See [`Signals::wait`].
pub(crate) struct Wait<'s>(&'s Shared);

impl Wait<'_> {
    /// Whether a signal has come, in it or already in the run.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.0.state();
        state.has_come || state.is_asked
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_waiting = false;
        // The next one is the second.
        state.is_asked |= state.has_come;
    }
}

/// Ctrl-C for a command that makes several runs after each other: it ends the one there is, and no other begins.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<(bool, Option<Control>)>>);

impl Interrupt {
    pub(crate) fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        let shared = interrupt.clone();
        let mut incoming = Incoming::new([SIGINT, SIGTERM])?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in incoming.forever() {
                    let mut state = shared.state();
                    if state.0 {
                        NOTES.finish_within(LAST_WORDS);
                        std::process::exit(INTERRUPTED);
                    }
                    state.0 = true;
                    if let Some(control) = &state.1 {
                        control.stop(StopReason::Interrupted);
                    }
                    drop(state);
                    terminal::say(
                        "\nstopping: the probe is given up, and what is known so far is said; once more stops at once",
                    );
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
