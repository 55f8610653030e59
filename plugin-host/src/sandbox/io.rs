//! Streams, polling and the monotonic clock, made so that no call outlasts the guest's deadline.
//!
//! Standard input is at its end, standard output and error take everything and keep nothing, so no stream ever waits. The
//! only wait there is, is for the clock, and one that cannot end before the deadline is cut at once: waiting for the
//! deadline first would hold a shard's core for nothing.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, WasmList};

use super::output::{STDERR, STDOUT};
use super::{DeadlineReached, Guest};

/// Zero of the guests' monotonic clock.
static CLOCK_ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What an output stream says it takes at a time, in bytes. All of it is dropped.
const WRITE_BYTES_MAX: u64 = 64 << 10;

/// The most things one `poll` may wait for.
const POLL_MAX: usize = super::RESOURCES_MAX;

/// Something to wait for: a reading of the guest's monotonic clock, in nanoseconds. Zero is always past.
pub(super) struct Pollable {
    ready_ns: u64,
}

/// Standard input; its handles carry nothing.
pub(super) struct InputStream;

/// Standard output or error; its handles carry nothing.
pub(super) struct OutputStream;

/// A failed stream operation. None is ever made: a stream here only ends.
pub(super) struct IoError;

/// `stream-error` of `wasi:io/streams`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the interface has it; our streams only ever end")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Cx<'a> = StoreContextMut<'a, Guest>;
type In = Resource<InputStream>;
type Out = Resource<OutputStream>;

/// Defines the function of one of our interfaces; false where it is none of ours.
pub(super) fn define(
    to: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    match interface {
        "wasi:io/poll" => poll_functions(to, name),
        "wasi:io/streams" if name.contains("input-stream") => input_functions(to, name),
        "wasi:io/streams" => output_functions(to, name),
        "wasi:clocks/monotonic-clock" => clock_functions(to, name),
        "wasi:cli/stdin" if name == "get-stdin" => {
            to.func_wrap(name, |_: Cx<'_>, (): ()| Ok((In::new_own(0),)))?;
            Ok(true)
        }
        "wasi:cli/stdout" if name == "get-stdout" => {
            to.func_wrap(name, |_: Cx<'_>, (): ()| Ok((Out::new_own(STDOUT),)))?;
            Ok(true)
        }
        "wasi:cli/stderr" if name == "get-stderr" => {
            to.func_wrap(name, |_: Cx<'_>, (): ()| Ok((Out::new_own(STDERR),)))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn poll_functions(to: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "[method]pollable.ready" => {
            to.func_wrap(name, |cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
                Ok((cx.data().table.get(&pollable)?.ready_ns <= now_ns(),))
            })?;
        }
        "[method]pollable.block" => {
            to.func_wrap(name, |cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
                let guest = cx.data();
                wait(guest, guest.table.get(&pollable)?.ready_ns)
            })?;
        }
        "poll" => to.func_wrap(
            name,
            |cx: Cx<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
                Ok((poll(cx.data(), &pollables)?,))
            },
        )?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Waits for the first of them, then says which are ready.
fn poll(guest: &Guest, pollables: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
    wasmtime::ensure!(!pollables.is_empty(), "the plugin polls an empty list");
    wasmtime::ensure!(
        pollables.len() <= POLL_MAX,
        "the plugin polls more than {POLL_MAX} things at once"
    );
    let mut readies = Vec::with_capacity(pollables.len());
    for pollable in pollables {
        readies.push(guest.table.get(pollable)?.ready_ns);
    }
    wait(guest, readies.iter().copied().min().unwrap_or(0))?;
    let now = now_ns();
    Ok((0_u32..)
        .zip(&readies)
        .filter(|(_, ready)| **ready <= now)
        .map(|(index, _)| index)
        .collect())
}

/// Sleeps until the clock reads `ready_ns`, or cuts the call where that is past its deadline.
fn wait(guest: &Guest, ready_ns: u64) -> wasmtime::Result<()> {
    let Some(wait_ns) = ready_ns
        .checked_sub(now_ns())
        .filter(|wait_ns| *wait_ns > 0)
    else {
        return Ok(());
    };
    if wait_ns > guest.left_ns() {
        return Err(DeadlineReached.into());
    }
    std::thread::sleep(Duration::from_nanos(wait_ns));
    Ok(())
}

fn now_ns() -> u64 {
    u64::try_from(CLOCK_ZERO.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn clock_functions(to: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "now" => to.func_wrap(name, |_: Cx<'_>, (): ()| Ok((now_ns(),)))?,
        "resolution" => to.func_wrap(name, |_: Cx<'_>, (): ()| Ok((1_u64,)))?,
        "subscribe-instant" => {
            to.func_wrap(name, |cx: Cx<'_>, (when,): (u64,)| pollable(cx, when))?;
        }
        "subscribe-duration" => to.func_wrap(name, |cx: Cx<'_>, (duration,): (u64,)| {
            pollable(cx, now_ns().saturating_add(duration))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn pollable(mut cx: Cx<'_>, ready_ns: u64) -> wasmtime::Result<(Resource<Pollable>,)> {
    Ok((cx.data_mut().table.push(Pollable { ready_ns })?,))
}

/// Forgets a pollable whose last handle is gone.
pub(super) fn drop_pollable(mut cx: Cx<'_>, rep: u32) -> wasmtime::Result<()> {
    cx.data_mut()
        .table
        .delete(Resource::<Pollable>::new_own(rep))?;
    Ok(())
}

fn input_functions(to: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<bool> {
    match name {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            to.func_wrap(name, |_: Cx<'_>, (_, _): (In, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            to.func_wrap(name, |_: Cx<'_>, (_, _): (In, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.subscribe" => {
            to.func_wrap(name, |cx: Cx<'_>, (_,): (In,)| pollable(cx, 0))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn output_functions(to: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<bool> {
    const DONE: Result<(), StreamError> = Ok(());
    match name {
        "[method]output-stream.check-write" => {
            to.func_wrap(name, |_: Cx<'_>, (_,): (Out,)| {
                Ok((Ok::<_, StreamError>(WRITE_BYTES_MAX),))
            })?;
        }
        // The list is looked at where it lies, and copied only where somebody wants to see it.
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            to.func_wrap(name, |cx: Cx<'_>, (out, list): (Out, WasmList<u8>)| {
                if let Some(output) = &cx.data().output {
                    output.write(out.rep(), list.as_le_slice(&cx));
                }
                Ok((DONE,))
            })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            to.func_wrap(name, |_: Cx<'_>, (_,): (Out,)| Ok((DONE,)))?;
        }
        "[method]output-stream.write-zeroes"
        | "[method]output-stream.blocking-write-zeroes-and-flush" => {
            to.func_wrap(name, |_: Cx<'_>, (_, _): (Out, u64)| Ok((DONE,)))?;
        }
        "[method]output-stream.splice" | "[method]output-stream.blocking-splice" => {
            to.func_wrap(name, |_: Cx<'_>, (_, _, _): (Out, In, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            })?;
        }
        "[method]output-stream.subscribe" => {
            to.func_wrap(name, |cx: Cx<'_>, (_,): (Out,)| pollable(cx, 0))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
