//! What is said to people on a terminal, in a pipe or in a file, without waiting for who reads it: a thread of its own does
//! that, and it alone hangs on a terminal that takes nothing (Ctrl-S, a pseudoterminal that nobody reads). A run goes on,
//! ends and writes its files all the same.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loadr_engine::cores;

/// What waits to be written; more of what comes while a run goes on is left out.
const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// What is written at once: so much at least is taken of a reader who is there, however slow.
const PIECE_BYTES: usize = 1024;
/// A terminal that takes nothing for so long when all is over will not: what is left for it is lost.
pub(crate) const NOTE_PATIENCE: Duration = Duration::from_secs(2);
/// The same of the summary, which a person may want who has stopped the terminal to read.
pub(crate) const SUMMARY_PATIENCE: Duration = Duration::from_secs(15);

/// Standard error: warnings, progress, the view.
pub(crate) static NOTES: Voice = Voice::new(To::Notes);
/// Standard output: results.
pub(crate) static RESULTS: Voice = Voice::new(To::Results);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Notes,
    Results,
}

/// A stream and the thread that writes to it.
pub(crate) struct Voice {
    to: To,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// `None` until something is said; false when there can be no thread.
    has_thread: Option<bool>,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    is_writing: bool,
    /// Pieces that were taken.
    written: u64,
    left_out: u64,
    /// How many pieces there were when a wait was given up: who has taken nothing since is not waited for again.
    given_up: Option<u64>,
    /// Processors to keep off from now on.
    keep_off: Vec<usize>,
}

impl Voice {
    const fn new(to: To) -> Self {
        Self {
            to,
            state: Mutex::new(State {
                has_thread: None,
                queue: VecDeque::new(),
                queued_bytes: 0,
                is_writing: false,
                written: 0,
                left_out: 0,
                given_up: None,
                keep_off: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says a line, after all that was said before.
    pub(crate) fn line(&'static self, line: &str) {
        self.write(format!("{line}\n").into_bytes());
    }

    /// Writes, after all that was said before; leaves it out, and says so later, where too much waits already.
    pub(crate) fn write(&'static self, bytes: Vec<u8>) {
        let mut state = self.state();
        if state.queued_bytes >= QUEUE_BYTES_MAX {
            state.left_out += 1;
            return;
        }
        if state.has_thread.is_none() {
            let thread = thread::Builder::new().name("voice".to_owned());
            state.has_thread = Some(thread.spawn(move || self.write_on()).is_ok());
        }
        if state.has_thread == Some(false) {
            drop(state);
            self.put(&bytes);
            return;
        }
        state.queued_bytes += bytes.len();
        state.queue.push_back(bytes);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether all that was said has been taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    /// From now on it is written off these processors, where there are others.
    pub(crate) fn keep_off(&self, cores: &[usize]) {
        self.state().keep_off = cores.to_vec();
    }

    /// Waits until all that was said has been taken: by a terminal as long as it takes something in this time, by whatever
    /// else reads as long as that likes.
    pub(crate) fn finish(&self, patience: Duration) {
        let is_patient = match self.to {
            To::Notes => !stderr().is_terminal(),
            To::Results => !stdout().is_terminal(),
        };
        self.wait(|since, _| is_patient || since < patience);
    }

    /// Waits for all that was said, and for no longer than this.
    pub(crate) fn finish_within(&self, limit: Duration) {
        self.wait(|_, began| began < limit);
    }

    /// Waits while it is worth it, by how long nothing was taken and how long it has waited.
    fn wait(&self, is_worth_it: impl Fn(Duration, Duration) -> bool) {
        let mut state = self.state();
        let began = Instant::now();
        let (mut seen, mut since) = (state.written, began);
        while !state.is_idle() && state.given_up != Some(state.written) {
            if !is_worth_it(since.elapsed(), began.elapsed()) {
                state.given_up = Some(state.written);
                return;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            if state.written != seen {
                (seen, since) = (state.written, Instant::now());
            }
        }
    }

    /// Who reads may be gone, which is no error of what is said.
    fn put(&self, bytes: &[u8]) {
        let _ = match self.to {
            To::Notes => stderr().write_all(bytes),
            To::Results => stdout().write_all(bytes).and_then(|()| stdout().flush()),
        };
    }

    fn write_on(&self) {
        let mut state = self.state();
        loop {
            if !state.keep_off.is_empty() {
                // For the rest of its life.
                std::mem::forget(cores::stand_aside(&std::mem::take(&mut state.keep_off)));
            }
            let Some(bytes) = state.queue.pop_front() else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.queued_bytes -= bytes.len();
            state.is_writing = true;
            drop(state);
            for piece in bytes.chunks(PIECE_BYTES) {
                self.put(piece);
                self.state().written += 1;
            }
            state = self.state();
            state.is_writing = false;
            if state.queue.is_empty() && state.left_out > 0 {
                let left_out = std::mem::take(&mut state.left_out);
                let note = format!("… {left_out} lines are missing: nobody took them\n");
                state.queued_bytes += note.len();
                state.queue.push_back(note.into_bytes());
            }
            self.changed.notify_all();
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_writing
    }
}

/// For a library that writes to a stream.
#[derive(Debug, Default)]
pub(crate) struct Buffered(Vec<u8>);

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.0.is_empty() {
            NOTES.write(std::mem::take(&mut self.0));
        }
        Ok(())
    }
}
