//! The one clock of the data path, and how well the machine's other one is kept.

use std::io;

use nix::libc;
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

/// What the kernel knows of how well the machine's calendar clock (`CLOCK_REALTIME`) is kept, adjtimex(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discipline {
    /// Whether somebody keeps it by a better one.
    pub is_synchronised: bool,
    /// How far off it is, as estimated by whoever keeps it, in microseconds.
    pub error_us: u64,
    /// How far off it can be at most, in microseconds; grows by 500 in a second without news.
    pub error_max_us: u64,
}

impl Discipline {
    /// That of this machine, now.
    ///
    /// # Errors
    /// The system's, where a sandbox forbids the call.
    #[allow(
        unsafe_code,
        reason = "no crate that is here reads the clock's state by a safe call"
    )]
    pub fn now() -> io::Result<Self> {
        // SAFETY: `timex` is numbers alone, for which zero is a value.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a `timex` of our own, which the call fills; no `modes` are set, so it changes nothing.
        let state = unsafe { libc::adjtimex(&raw mut timex) };
        if state == -1 {
            return Err(io::Error::last_os_error());
        }
        let us = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
        Ok(Self {
            is_synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
            error_us: us(timex.esterror),
            error_max_us: us(timex.maxerror),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_well_the_clock_is_kept() {
        let discipline = Discipline::now().expect("it may be read here");
        // It can be off by no less than it is thought to be, where anybody thinks so.
        assert!(!discipline.is_synchronised || discipline.error_max_us > 0);
    }
}
