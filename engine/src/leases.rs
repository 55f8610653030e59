//! What all shards of a process draw on together, by scenario: its own part of what the run has.

use std::sync::Arc;

use loadr_config::{Executor, Program};

use crate::schedule::{Deal, Lease, Pace, Slice};
use crate::segment::Segment;

/// What one scenario shares over the shards of a process.
#[derive(Clone, Debug)]
pub(crate) struct ScenarioLeases {
    /// Iterations that are counted over all users.
    pub(crate) iterations: Option<Arc<Lease>>,
    /// The rate of iterations.
    pub(crate) pacing: Option<Arc<Pace>>,
    /// The rate of requests.
    pub(crate) throttle: Option<Arc<Pace>>,
}

/// By [`ScenarioId`](loadr_config::ScenarioId).
pub(crate) fn leases(
    program: &Program,
    segment: Option<Segment>,
    shards: u32,
) -> Arc<[ScenarioLeases]> {
    program
        .scenarios
        .iter()
        .map(|scenario| {
            let deal = Deal::new(Slice::of(segment), scenario.executor.vus_max());
            let pace = |per_second| Pace::new(per_second, deal);
            ScenarioLeases {
                iterations: match scenario.executor {
                    Executor::SharedIterations { iterations, .. } => {
                        Some(Lease::new(deal.below(iterations), shards))
                    }
                    _ => None,
                },
                pacing: scenario.pacing.map(pace),
                throttle: scenario.throttle.map(pace),
            }
        })
        .collect()
}
