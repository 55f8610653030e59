//! The steps of a flow.

use std::time::Duration;

use super::{RendezvousId, RequestId, Template, VarId};

/// One step of a flow. Groups are gone: their steps stand in the flow, and their requests know the names.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send a request and wait for its response.
    Request(RequestId),
    /// Do nothing for a while.
    Think(Pause),
    /// Steps a number of times.
    Repeat {
        /// At least 1.
        times: u64,
        /// Gets the number of the round, from 0.
        counter: Option<VarId>,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// Steps until a time has passed; a round that has begun is finished.
    During {
        /// More than zero.
        duration: Duration,
        /// Gets the number of the round, from 0.
        counter: VarId,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// Steps once for each item.
    ForEach {
        /// What it goes over.
        items: Items,
        /// Gets the item.
        var: VarId,
        /// Gets its position, from 0.
        index: VarId,
        /// Not empty.
        steps: Vec<Step>,
    },
    /// One of several lists of steps.
    Random {
        /// Below [`Program::randoms`](super::Program::randoms).
        id: u32,
        /// How it is chosen.
        strategy: Strategy,
        /// With what they weigh; not empty, and the weights add up to more than 0.
        choices: Vec<(f64, Vec<Step>)>,
    },
    /// The steps whose case equals a value.
    Switch {
        /// What is compared.
        value: Template,
        /// In the plan's order.
        cases: Vec<(Box<[u8]>, Vec<Step>)>,
        /// When none does.
        default: Vec<Step>,
    },
    /// Lists of steps at once; what follows begins when all have ended.
    Parallel {
        /// Not empty, and none of them is.
        branches: Vec<Vec<Step>>,
    },
    /// Wait until so many virtual users are here.
    Rendezvous {
        /// Where.
        id: RendezvousId,
        /// More than zero.
        timeout: Duration,
    },
    /// Steps again, up to a number of attempts, while a request in them fails.
    Retry {
        /// At least 1.
        times: u64,
        /// Between two attempts.
        backoff: Duration,
        /// Not empty.
        steps: Vec<Step>,
    },
}

/// How long a pause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Always the same.
    Constant(Duration),
    /// Anything between two bounds, each as likely.
    Uniform {
        /// At most `max`.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Normally distributed; never below zero.
    Gaussian {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        std_dev: Duration,
    },
}

/// How a [`Step::Random`] chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// With a chance in proportion to the weight.
    #[default]
    Weighted,
    /// Each with the same chance.
    Uniform,
    /// In turn; each virtual user begins at another one.
    RoundRobin,
}

/// What a [`Step::ForEach`] goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// These, each with whether it is JSON of another type than text.
    List(Vec<(Template, bool)>),
    /// The elements of a JSON array that is known only in the run.
    Json(Template),
}

/// A meeting place of virtual users, over all shards and scenarios.
#[derive(Clone, Debug)]
pub struct Rendezvous {
    /// Its name in the plan.
    pub name: String,
    /// How many go on together; at least 1.
    pub users: u32,
}
