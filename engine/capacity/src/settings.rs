//! What the search is told.

use serde::{Deserialize, Serialize};

use crate::slo::Slo;
use crate::system::Phase;

/// What to look for, and how hard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What must hold; at least one.
    pub slos: Vec<Slo>,
    /// The rate of the first probe, in iterations a second.
    pub min_rate: f64,
    /// The highest rate that is tried.
    pub max_rate: f64,
    /// Half the width of the interval that is good enough, as a share of the rate.
    pub precision: f64,
    /// Judged seconds of a probe.
    pub step_secs: u32,
    /// Judged seconds of the probe that confirms.
    pub confirm_secs: u32,
    /// The most probes before the search settles for what it knows.
    pub probes_max: u32,
}

impl Settings {
    /// The time before each probe's judged time in which queues fill and caches warm, at least a second: a fifth of it,
    /// and two fifths near the boundary, where queues take longest to become what they will be.
    pub(crate) fn warm_up_secs(judged_secs: u32, phase: Phase) -> u32 {
        let share = match phase {
            Phase::Double | Phase::CloseIn | Phase::Confirm => judged_secs.div_ceil(5),
            Phase::Repeat => (judged_secs * 2).div_ceil(5),
        };
        share.clamp(1, 30)
    }

    /// Judged seconds while the rate doubles, where only the order of magnitude is asked.
    pub(crate) fn short_secs(&self) -> u32 {
        self.step_secs.div_ceil(4).max(1)
    }
}
