//! The one clock of the data path.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: never steps back, about 25 ns to read through the vDSO.
#[must_use]
#[inline]
pub fn now_ns() -> u64 {
    ns_of(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of CPU that the calling thread has used, in user and system mode.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    ns_of(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

#[inline]
fn ns_of(clock: ClockId) -> u64 {
    // Neither clock can fail on Linux (clock_gettime(2): only an unknown clock or a bad pointer does).
    clock_gettime(clock).map_or(0, |t| {
        t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
    })
}
