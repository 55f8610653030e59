//! What became of what an output was given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Counted by the housekeeping thread, which gives, and by the output's own, which delivers. What was given and has not
/// been delivered in the end was dropped.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) given: AtomicU64,
    pub(crate) delivered: AtomicU64,
    failures: AtomicU64,
    /// The last failure's text.
    error: Mutex<Option<String>>,
    /// When the output must be done, once that is known.
    pub(crate) deadline: OnceLock<Instant>,
}

impl Tally {
    pub(crate) fn delivered(&self, points: usize) {
        self.delivered.fetch_add(points as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn failures(&self) -> (u64, Option<String>) {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        (self.failures.load(Ordering::Relaxed), error.clone())
    }

    /// How long one delivery may take that is given `most` otherwise; `None` when there is no time left.
    pub(crate) fn time_for(&self, most: Duration) -> Option<Duration> {
        let Some(deadline) = self.deadline.get() else {
            return Some(most);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        (left > Duration::from_millis(20)).then(|| left.min(most))
    }
}
