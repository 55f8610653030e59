//! The engine all plugins of a process share.

use std::path::Path;
use std::sync::Arc;

use wasmtime::{Config, Engine};

use crate::compiled::{Cache, Keeping};
use crate::error::{HostError, LoadError};
use crate::plugin::Plugin;
use crate::ticker::Ticker;

/// The most stack a guest may use, in bytes; past it the call traps. The thread that calls needs this much and some
/// 128 KiB for the host's own frames.
const WASM_STACK_BYTES: usize = 512 << 10;

/// The WebAssembly engine and the thread that watches deadlines. One per process; a clone is the same host.
///
/// The thread stops when the last clone, plugin and instance is gone.
#[derive(Clone)]
pub struct Host {
    inner: Arc<HostInner>,
}

pub(crate) struct HostInner {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
}

impl Host {
    /// Sets up the engine.
    ///
    /// # Errors
    ///
    /// Where the processor or the operating system lacks what the engine needs, or no thread can be made.
    pub fn new() -> Result<Self, HostError> {
        let engine = Engine::new(&config()).map_err(|error| HostError(format!("{error:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| HostError(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(HostInner { engine, ticker }),
        })
    }

    /// Loads, checks and compiles a plugin: a bare `.wasm` component, for which a manifest is made from its
    /// `describe()`, or a package directory with a `plugin.toml`.
    ///
    /// Guest code runs here (its start functions and `describe()`), in the same sandbox as later and for at most a
    /// second.
    ///
    /// # Errors
    ///
    /// One sentence that names the file, what is wrong with it, and what to do.
    pub fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        crate::load::load(&self.inner, path, &Keeping::cache(&Cache::none()))
    }

    pub(crate) fn inner(&self) -> &Arc<HostInner> {
        &self.inner
    }
}

/// How every engine compiles and runs, whatever it allocates from.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    // A trap is told in one sentence; walking the stack for it would cost time and say nothing to a load test.
    config.wasm_backtrace_max_frames(None);
    // Memory that several threads share would not be counted by the caps, and 64-bit memories cost a check on each access.
    config.shared_memory(false);
    config.wasm_memory64(false);
    config
}
