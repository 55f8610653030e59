//! How a ring is made, and what to tell a person when it cannot be.

use std::fmt;
use std::io;

use io_uring::{IoUring, cqueue, squeue};
use nix::errno::Errno;

use crate::buffers::BUFFERS_MAX;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many sockets it can hold at once; at least 1.
    pub sockets: u32,
    /// How many receive buffers it has; rounded up to a power of two, at most [`BUFFERS_MAX`].
    pub buffers: u16,
}

impl Settings {
    /// A ring for about `connections` open connections at once.
    #[must_use]
    pub fn for_connections(connections: u32) -> Self {
        let buffers = connections.clamp(256, u32::from(BUFFERS_MAX)) as u16;
        // A closed socket keeps its slot until the kernel has answered, which is in the next turn. A server may close
        // all of them in one, and each is to be replaced at once.
        let spare = connections.saturating_add(64);
        Self {
            sockets: connections.saturating_add(spare),
            buffers: buffers.next_power_of_two(),
        }
    }

    /// Entries of the completion queue: a turn in which every socket has something must fit.
    pub(crate) fn completions(&self) -> u32 {
        // The table has room for twice the connections: two for each.
        self.sockets.next_power_of_two().clamp(2048, 65_536)
    }
}

/// Why a ring could not be made. [`fmt::Display`] says what to do about it.
#[derive(Debug)]
pub struct SetupError {
    what: &'static str,
    error: io::Error,
}

impl SetupError {
    pub(crate) fn new(what: &'static str, error: io::Error) -> Self {
        Self { what, error }
    }

    /// The system's error.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)?;
        let help = match self.error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSYS) => {
                "this kernel has no io_uring, or a sandbox hides it: Linux 6.1 or later is needed, and in a container a seccomp \
                 profile that allows it, such as deploy/seccomp.json"
            }
            Some(Errno::EPERM | Errno::EACCES) => {
                "io_uring is forbidden here: set `sysctl kernel.io_uring_disabled=0`; in a container its default seccomp \
                 profile does that, and deploy/seccomp.json allows io_uring_setup, io_uring_enter and io_uring_register \
                 (`docker run --security-opt seccomp=deploy/seccomp.json`)"
            }
            Some(Errno::EINVAL) => {
                "this kernel's io_uring lacks what is needed: Linux 6.1 or later (see `uname -r`)"
            }
            Some(Errno::ENOMEM) => {
                "the kernel would not lock the memory: raise the limit with `ulimit -l unlimited`"
            }
            Some(Errno::EMFILE | Errno::ENFILE) => {
                "too few file descriptors are allowed for so many connections: raise the limit with `ulimit -n`"
            }
            _ => return Ok(()),
        };
        write!(f, "; {help}")
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Entries of the submission queue; when more are queued before a turn, they are submitted in parts. Every entry of the
/// queue is written in its turn, 64 bytes each: a long queue is so much of the cache.
const SUBMISSIONS: u32 = 256;

pub(crate) type Uring = IoUring<squeue::Entry, cqueue::Entry>;

/// A ring with the flags of the data path; `NO_SQARRAY` (6.6) only where the kernel has it.
pub(crate) fn build(settings: &Settings) -> Result<Uring, SetupError> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_cqsize(settings.completions());
    let mut newest = builder.clone();
    newest.setup_no_sqarray();
    newest
        .build(SUBMISSIONS)
        .or_else(|_| builder.build(SUBMISSIONS))
        .map_err(|e| SetupError::new("cannot set up an io_uring", e))
}
