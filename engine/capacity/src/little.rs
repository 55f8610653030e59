//! Little's law as a cross-check: the iterations in flight on average are their rate times their time from due to end
//! (Little 1961), whatever the system is. One side is computed from clocks, the other is counted, so that a mismatch says
//! that something was not measured: a schedule that was not kept, or iterations that were lost.

use serde::Serialize;

use crate::finding::rate_text;
use crate::record::Probe;

/// The difference that is none: of the larger figure, and in iterations.
const SHARE: f64 = 0.1;
const ITERATIONS: f64 = 3.0;
/// Counts are taken when a shard hands over, which is up to so much late.
const LATE_SECS: f64 = 0.001;

/// One probe's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Little {
    /// Probes in which both figures were there.
    pub probes: usize,
    /// Those in which they differ, by number.
    pub mismatches: Vec<u32>,
    /// For people.
    pub sentence: String,
}

impl Little {
    /// Compares.
    #[must_use]
    pub fn of(probes: &[Probe]) -> Self {
        let mut compared = 0;
        let mut mismatches = Vec::new();
        let mut worst: Option<(f64, f64, f64)> = None;
        // A backlog that grows has no average.
        for probe in probes.iter().filter(|p| p.held() && p.abandoned.is_none()) {
            let (computed, Some(counted)) = (
                probe.measured.concurrency,
                probe.measured.concurrency_counted,
            ) else {
                continue;
            };
            compared += 1;
            let slack =
                (SHARE * computed.max(counted)).max(ITERATIONS + LATE_SECS * probe.ask.rate);
            let gap = (computed - counted).abs();
            if gap > slack {
                mismatches.push(probe.ask.number);
                if worst.is_none_or(|w| gap > (w.1 - w.2).abs()) {
                    worst = Some((probe.ask.rate, computed, counted));
                }
            }
        }
        let sentence = match (compared, worst) {
            (0, _) => {
                "Little's law was not checked: arrivals were random, or no probe held".to_owned()
            }
            (_, None) => format!(
                "Little's law holds in all {compared} probes that held: as many iterations were in flight as rate × time \
                 says"
            ),
            (_, Some((rate, computed, counted))) => format!(
                "Little's law does not hold in {} of {compared} probes: at {}/s rate × time says {computed:.1} \
                 iterations in flight and {counted:.1} were counted, so iterations were lost, or the schedule was not kept",
                mismatches.len(),
                rate_text(rate)
            ),
        };
        Self {
            probes: compared,
            mismatches,
            sentence,
        }
    }
}
