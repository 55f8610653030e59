//! A line a second that says how a run is going: where there is no terminal, or none that can be drawn on.

use loadr_engine::{Progress, figures};

use crate::voice::NOTES;

/// Writes the line to standard error.
pub(super) fn write(p: &Progress) {
    NOTES.write(line(p).into_bytes());
}

fn line(p: &Progress) -> String {
    let latency = if p.latency.count() == 0 {
        String::new()
    } else {
        format!(
            "  p50 {}  p99 {}",
            figures::duration(p.latency.percentile_ms(50.0)),
            figures::duration(p.latency.percentile_ms(99.0))
        )
    };
    format!(
        "{:>5.0}s  {:>9} req/s  {} VUs{latency}  {} requests, {} failed\n",
        p.elapsed_secs,
        figures::rate(p.requests_per_sec),
        p.vus,
        p.requests_total,
        p.failed_total
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadr_engine::Trend;

    #[test]
    fn a_second_is_one_line() {
        let mut latency = Trend::new();
        let mut second = Progress {
            elapsed_secs: 3.0,
            requests_per_sec: 1234.0,
            iterations_per_sec: 617.0,
            vus: 8,
            error_rate: 0.5,
            latency: latency.clone(),
            requests_total: 4000,
            failed_total: 2,
        };
        assert_eq!(
            line(&second),
            "    3s       1234 req/s  8 VUs  4000 requests, 2 failed\n"
        );
        latency.record(2_000_000);
        second.latency = latency;
        assert!(line(&second).contains("  p50 2.00ms  p99 2.00ms  "));
    }
}
