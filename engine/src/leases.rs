//! What all shards of a run draw on together, by scenario.

use std::sync::Arc;

use loadr_config::{Executor, Program};

use crate::schedule::{Lease, Pace};

/// What one scenario shares over the whole run.
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
pub(crate) fn leases(program: &Program, shards: u32) -> Arc<[ScenarioLeases]> {
    program
        .scenarios
        .iter()
        .map(|scenario| ScenarioLeases {
            iterations: match scenario.executor {
                Executor::SharedIterations { iterations, .. } => {
                    Some(Lease::new(iterations, shards))
                }
                _ => None,
            },
            pacing: scenario.pacing.map(Pace::new),
            throttle: scenario.throttle.map(Pace::new),
        })
        .collect()
}
