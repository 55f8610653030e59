//! When things are due: arrivals, numbers of virtual users, paced slots. Pure: time is an argument, in nanoseconds since
//! the scenario's start, so that an hour runs in a millisecond of a test.
//!
//! Every shard computes the one schedule of the whole run and takes what is its own of it ([`slice`]), however many
//! processes the run is made by. Nothing is accumulated from one arrival to the next, so nothing drifts, and nothing
//! crosses cores.

mod arrivals;
mod lease;
mod plan_clock;
mod pool;
mod rate;
#[cfg(test)]
mod simulation;
mod slice;
mod users;

pub(crate) use arrivals::Arrivals;
pub(crate) use lease::{Lease, Leased, Pace, Paced};
pub(crate) use plan_clock::PlanClock;
pub(crate) use pool::{Pool, Seat};
pub(crate) use rate::RateCurve;
pub(crate) use slice::{Deal, Slice};
pub(crate) use users::{UserCurve, UserSteps};

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
