//! One scenario, and its load model.

use std::time::Duration;

use super::{DataId, RendezvousId, Step};

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its key in the plan.
    pub name: String,
    /// How long after the run's start it begins.
    pub start_time: Duration,
    /// What iterations in flight get when the schedule has ended.
    pub graceful_stop: Duration,
    /// Its load model.
    pub executor: Executor,
    /// The most iterations that start in a second, over all shards.
    pub pacing: Option<f64>,
    /// The most requests that start in a second, over all shards.
    pub throttle: Option<f64>,
    /// The steps of one iteration, in order.
    pub flow: Vec<Step>,
    /// The scenario's `tags`, sorted by key.
    pub tags: Vec<(String, String)>,
    /// How many steps of one virtual user can run at once, and so connections it can have to one origin; 1 without
    /// [`Step::Parallel`].
    pub lanes: u32,
    /// The meeting places that its flow has, each once.
    pub rendezvous: Vec<RendezvousId>,
    /// The sources of data that its flow takes rows of, each once.
    pub data: Vec<DataId>,
    /// How many requests a virtual user may have in flight on its connection. Above 1 only where nothing in the flow
    /// waits for a response: its steps are requests to one origin, loops and choices.
    pub pipeline: u32,
}

/// A load model.
#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    /// A fixed number of virtual users that loop until the time is up.
    ConstantVus {
        /// At least 1.
        vus: u32,
        /// More than zero.
        duration: Duration,
    },
    /// A number of virtual users that follows a schedule.
    RampingVus {
        /// At the start.
        start_vus: u32,
        /// Not empty; together longer than zero.
        stages: Vec<UserStage>,
        /// What the iteration of a user that goes away gets before it is cancelled.
        graceful_ramp_down: Duration,
    },
    /// Each virtual user runs a fixed number of iterations.
    PerVuIterations {
        /// At least 1.
        vus: u32,
        /// Of each virtual user; at least 1.
        iterations: u64,
        /// The time after which no new iteration starts.
        max_duration: Duration,
    },
    /// All virtual users together run a fixed number of iterations.
    SharedIterations {
        /// At least 1.
        vus: u32,
        /// Of all; at least 1.
        iterations: u64,
        /// The time after which no new iteration starts.
        max_duration: Duration,
    },
    /// The open model: iterations start when they are due, whether or not earlier ones have ended.
    ArrivalRate {
        /// Iterations per second at the start.
        start_rate: f64,
        /// Not empty; together longer than zero. A constant rate is one stage that begins where it ends.
        stages: Vec<RateStage>,
        /// How arrivals are spaced.
        arrival: Arrival,
        /// Virtual users that are ready before the start.
        pre_allocated_vus: u32,
        /// The most there may be; at least 1 and at least `pre_allocated_vus`.
        max_vus: u32,
    },
    /// Whoever steers the run says how many virtual users loop, or at which rate iterations start; at first, none.
    ExternallyControlled {
        /// The most virtual users there may be; at least 1.
        max_vus: u32,
        /// `None`: until the run is stopped.
        duration: Option<Duration>,
    },
}

impl Executor {
    /// The most virtual users that there can be at once.
    #[must_use]
    pub fn vus_max(&self) -> u32 {
        match self {
            Self::ConstantVus { vus, .. }
            | Self::PerVuIterations { vus, .. }
            | Self::SharedIterations { vus, .. } => *vus,
            Self::RampingVus {
                start_vus, stages, ..
            } => stages.iter().map(|s| s.target).fold(*start_vus, u32::max),
            Self::ArrivalRate { max_vus, .. } | Self::ExternallyControlled { max_vus, .. } => {
                *max_vus
            }
        }
    }

    /// Whether there can be arrivals that do not wait for what is in flight: the open model.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Self::ArrivalRate { .. } | Self::ExternallyControlled { .. }
        )
    }

    /// What a plan calls it, or the nearest: a constant and a ramping arrival rate are one here.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConstantVus { .. } => "constant-vus",
            Self::RampingVus { .. } => "ramping-vus",
            Self::PerVuIterations { .. } => "per-vu-iterations",
            Self::SharedIterations { .. } => "shared-iterations",
            Self::ArrivalRate {
                start_rate, stages, ..
            } if stages.iter().all(|stage| stage.target == *start_rate) => "constant-arrival-rate",
            Self::ArrivalRate { .. } => "ramping-arrival-rate",
            Self::ExternallyControlled { .. } => "externally-controlled",
        }
    }
}

/// A stage of [`Executor::RampingVus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserStage {
    /// How long it takes; zero is a jump.
    pub duration: Duration,
    /// Virtual users at its end.
    pub target: u32,
}

/// A stage of [`Executor::ArrivalRate`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateStage {
    /// How long it takes; zero is a jump.
    pub duration: Duration,
    /// Iterations per second at its end; finite, not negative.
    pub target: f64,
}

/// How the arrivals of an open model are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Arrival {
    /// Evenly.
    #[default]
    Uniform,
    /// At random and independent of each other: a Poisson process.
    Poisson,
}
