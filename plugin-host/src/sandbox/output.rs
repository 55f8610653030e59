//! What a guest prints, for the one command that shows it. Everywhere else it is dropped unread.

use std::sync::{Arc, Mutex, PoisonError};

/// The most that is kept of each of the two streams, in bytes; what comes after is counted.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// The handles of the two streams; all others are dropped.
pub(crate) const STDOUT: u32 = 1;
pub(crate) const STDERR: u32 = 2;

/// Where an instance's output goes that was asked to keep it. A clone is the same place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    printed: Arc<Mutex<Printed>>,
}

/// What a guest printed, its first 64 KiB of each stream.
#[derive(Debug, Clone, Default)]
pub struct Printed {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How many bytes more there were.
    pub dropped_bytes: u64,
}

impl Output {
    pub(crate) fn write(&self, stream: u32, bytes: &[u8]) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let to = match stream {
            STDOUT => &mut printed.stdout,
            STDERR => &mut printed.stderr,
            _ => return,
        };
        let kept = bytes.len().min(KEPT_BYTES_MAX - to.len());
        to.extend_from_slice(&bytes[..kept]);
        printed.dropped_bytes += (bytes.len() - kept) as u64;
    }

    pub(crate) fn take(&self) -> Printed {
        std::mem::take(&mut self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
