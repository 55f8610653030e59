//! What can go wrong: making a host, loading a plugin, calling it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::sandbox::DeadlineReached;

/// The longest message of a trap that is kept, in bytes. A guest must not fill the summary.
const TRAP_MESSAGE_MAX: usize = 200;

/// The WebAssembly engine could not be set up; the message says why.
#[derive(Debug)]
pub struct HostError(pub(crate) String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the WebAssembly engine could not start: {}", self.0)
    }
}

impl std::error::Error for HostError {}

/// A plugin's instances could not be set aside; the message says why, in the form "what does not fit".
#[derive(Debug)]
pub struct PoolError(pub(crate) String);

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PoolError {}

/// A plugin was refused before the run: which file, what is wrong with it, and what to do.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    message: String,
}

impl LoadError {
    pub(crate) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// The file or directory the message is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong and what to do, without the path.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for LoadError {}

/// A call that did not return a result. The instance replaces itself before its next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The guest computed, slept or blocked past its deadline and was cut.
    Timeout,
    /// The guest trapped, exited, asked for more than it may, or returned what its type forbids. The sentence is at
    /// most 200 bytes.
    Trap(String),
}

impl CallError {
    /// The `error_kind` of a request that failed with this: `plugin_timeout` or `plugin_trap`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "plugin_timeout",
            Self::Trap(_) => "plugin_trap",
        }
    }

    /// Sorts an error of the engine: deadline or trap.
    pub(crate) fn from_engine(error: &wasmtime::Error) -> Self {
        if error.is::<DeadlineReached>() {
            return Self::Timeout;
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => Self::Timeout,
            Some(trap) => Self::Trap(short(&trap.to_string())),
            None => Self::Trap(short(&explain(&error.root_cause().to_string()))),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => {
                f.write_str("the call took longer than the plugin's call_timeout and was cut")
            }
            Self::Trap(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for CallError {}

/// Says in our words what the engine says in its own, where its words would not help the author of a plugin.
fn explain(message: &str) -> String {
    if message.contains("fuel allocated for hostcalls") {
        return format!(
            "the plugin handed over more than {} KiB of text or data in one go",
            crate::limits::GUEST_DATA_BYTES_MAX / 1024
        );
    }
    if message.contains("invalid utf-8") || message.contains("incomplete utf-8") {
        return format!(
            "the plugin returned bytes that are not UTF-8 where text is due ({message})"
        );
    }
    message.to_owned()
}

/// The first line, cut at a character boundary.
pub(crate) fn short(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let mut end = line.len().min(TRAP_MESSAGE_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}

/// An error of the system without the path that `tempfile` puts around it: a path that was only for a moment says
/// nothing to anybody.
pub(crate) fn of_system(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|wrapped| wrapped.source());
    let code = inner
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    code.map_or(error, io::Error::from_raw_os_error)
}
