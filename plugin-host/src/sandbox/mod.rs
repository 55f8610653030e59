//! The sandbox: what a guest finds behind the WASI 0.2 interfaces it imports.
//!
//! The rule is an allow-list. Interfaces that only read a clock or make random numbers, and those whose answer is "there is
//! none", come from `wasmtime-wasi` (`wasi:random/*`, `wasi:clocks/wall-clock`, `wasi:cli/{environment,exit,terminal-*}`).
//! What can wait or be made to work without bound is our own, in [`io`]: streams, polling, the monotonic clock. All the
//! rest of `wasi:` is linked, so that guests which import more than they use can be loaded, and refuses when called
//! ([`refuse`]); that holds for interfaces nobody has thought of yet as well. No host call opens a file or a socket,
//! because there is no code here that could.

mod io;
pub(crate) mod output;
mod refuse;

use std::fmt;

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable, ResourceType};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::limits::{Caps, Limits};
use crate::ticker::TickerUser;

/// The most resource handles a guest may hold at a time.
pub(crate) const HANDLES_MAX: usize = 4096;

/// The most things the host remembers for a guest at a time (what it waits for).
const RESOURCES_MAX: usize = 1024;

/// The most random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// A wait that would end after the call's deadline was cut.
#[derive(Debug)]
pub(crate) struct DeadlineReached;

impl fmt::Display for DeadlineReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plugin waited past its deadline")
    }
}

impl std::error::Error for DeadlineReached {}

/// What the host keeps for one guest.
pub(crate) struct Guest {
    pub(crate) caps: Caps,
    ticker: TickerUser,
    deadline_tick: u64,
    wasi: WasiCtx,
    table: ResourceTable,
    /// Where what it prints is kept, if anybody wants to see it.
    pub(crate) output: Option<output::Output>,
}

impl Guest {
    pub(crate) fn new(ticker: TickerUser, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        // A context as it is made has no environment, arguments, directories or network.
        let wasi = WasiCtx::builder().max_random_size(RANDOM_BYTES_MAX).build();
        Self {
            caps: Caps::new(limits),
            ticker,
            deadline_tick: 0,
            wasi,
            table,
            output: None,
        }
    }

    /// As new, for another guest of the same limits. What the host's random numbers come from is all that stays.
    pub(crate) fn renewed(mut self, limits: &Limits) -> Self {
        self.caps = Caps::new(limits);
        if !self.table.is_empty() {
            self.table = ResourceTable::new();
            self.table.set_max_capacity(RESOURCES_MAX);
        }
        self
    }

    /// Notes the deadline of a call that begins now, for host calls. Guest code is stopped by the engine.
    pub(crate) fn arm(&mut self, ticks: u64) {
        self.deadline_tick = self.ticker.now() + ticks;
    }

    /// How long the current call still has, in nanoseconds.
    fn left_ns(&self) -> u64 {
        crate::ticker::ticks_to_ns(self.deadline_tick.saturating_sub(self.ticker.now()))
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The interfaces of `wasmtime-wasi` that are used as they are. Each was read for calls that wait or work without bound:
/// there are none but `get-random-bytes`, which is capped.
const FROM_LIBRARY: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

fn add_library(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    clocks::wall_clock::add_to_linker::<Guest, WasiClocks>(linker, Guest::clocks)?;
    random::random::add_to_linker::<Guest, WasiRandom>(linker, Guest::random)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(linker, Guest::random)?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, Guest::random)?;
    Ok(())
}

/// Gives a component all it imports. The error is one sentence.
pub(crate) fn link(engine: &Engine, component: &Component) -> Result<InstancePre<Guest>, String> {
    let mut linker = Linker::new(engine);
    let failed = |error: wasmtime::Error| {
        format!(
            "cannot be linked: {}; build it against WASI 0.2",
            crate::error::short(&format!("{error:#}"))
        )
    };
    add_library(&mut linker).map_err(failed)?;
    let mut defined = Vec::new();
    let ty = component.component_type();
    for (name, import) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            if matches!(import.ty, ComponentItem::Type(_)) {
                continue;
            }
            return Err(unknown(name));
        };
        let interface = name
            .split_once('@')
            .map_or(name, |(interface, _)| interface);
        if FROM_LIBRARY.contains(&interface) {
            continue;
        }
        let ours = interface.starts_with("wasi:");
        let mut target = linker.instance(name).map_err(failed)?;
        for (item_name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::Type(_) => {}
                ComponentItem::ComponentFunc(_) if ours => {
                    if !io::define(&mut target, interface, item_name).map_err(failed)? {
                        refuse::define(&mut target, interface, item_name).map_err(failed)?;
                    }
                }
                // An interface repeats the resources it uses of another; only the first place defines one.
                ComponentItem::Resource(resource) if ours => {
                    if !defined.contains(&resource) {
                        defined.push(resource);
                        define_resource(&mut target, interface, item_name).map_err(failed)?;
                    }
                }
                _ => return Err(unknown(name)),
            }
        }
    }
    linker.instantiate_pre(component).map_err(failed)
}

fn unknown(name: &str) -> String {
    format!(
        "imports {:?}, which loadr-fast does not provide; a plugin may import interfaces of WASI 0.2 (wasi:…) and nothing else",
        crate::error::short(name)
    )
}

fn define_resource(
    target: &mut wasmtime::component::LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    match (interface, name) {
        ("wasi:io/poll", "pollable") => target.resource(
            name,
            ResourceType::host::<io::Pollable>(),
            io::drop_pollable,
        ),
        ("wasi:io/streams", "input-stream") => nothing_to_drop::<io::InputStream>(target, name),
        ("wasi:io/streams", "output-stream") => nothing_to_drop::<io::OutputStream>(target, name),
        ("wasi:io/error", "error") => nothing_to_drop::<io::IoError>(target, name),
        _ => nothing_to_drop::<refuse::Nothing>(target, name),
    }
}

fn nothing_to_drop<R: 'static>(
    target: &mut wasmtime::component::LinkerInstance<'_, Guest>,
    name: &str,
) -> wasmtime::Result<()> {
    target.resource(name, ResourceType::host::<R>(), |_, _| Ok(()))
}
