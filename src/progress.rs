//! The line that shows how a run is going, on a terminal only.

use std::io::{IsTerminal, Write, stderr};

use loadr_engine::Progress;

/// Rewrites one line of standard error.
pub(crate) struct ProgressLine {
    is_shown: bool,
    is_drawn: bool,
}

impl ProgressLine {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            is_shown: !quiet && stderr().is_terminal(),
            is_drawn: false,
        }
    }

    pub(crate) fn show(&mut self, p: &Progress) {
        if !self.is_shown {
            return;
        }
        self.is_drawn = true;
        let latency = if p.latency.count() == 0 {
            String::new()
        } else {
            format!(
                "  p50 {:.2} ms  p99 {:.2} ms",
                p.latency.percentile_ms(50.0),
                p.latency.percentile_ms(99.0)
            )
        };
        // Nothing can be done about a terminal that is gone.
        let _ = write!(
            stderr(),
            "\r\x1b[2K{:>5.0}s  {:>9.0} req/s  {} VUs{latency}  {} requests, {} failed",
            p.elapsed_secs,
            p.requests_per_sec,
            p.vus,
            p.requests_total,
            p.failed_total
        );
    }

    /// Leaves the terminal on a line of its own.
    pub(crate) fn finish(&self) {
        if self.is_drawn {
            let _ = writeln!(stderr());
        }
    }
}
