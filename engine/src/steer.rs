//! What can be changed of a run while it goes on, and what whoever changes it can see. Pure but for the locks of
//! [`crate::Control`], which holds one [`Steering`] for all shards.

use std::fmt;

use loadr_config::{Executor, Program};
use serde::{Deserialize, Serialize};

use crate::aggregate::Progress;
use crate::schedule::PlanClock;

/// How long after it was given an order holds: every shard has seen it by then, so that all of them change at one
/// instant.
const LEAD_NS: u64 = 20_000_000;
/// The most orders of a run, so that what is kept of them is bounded.
const ORDERS_MAX: usize = 100_000;
/// The highest rate that can be asked for, as in a plan.
const RATE_MAX: f64 = 1e8;

/// What a scenario is to do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// So many virtual users loop.
    Vus(u32),
    /// So many iterations start in a second, whatever became of earlier ones.
    Rate(f64),
}

/// An aim and when it begins to hold, by the plan's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) aim: Aim,
    pub(crate) from_ns: u64,
}

/// Why a run does not do what it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum SteerError {
    /// Its shards are not ready yet.
    NotStarted,
    /// It is over, or ends.
    Ended,
    /// No scenario has this name; those there are.
    UnknownScenario(String, Vec<String>),
    /// No scenario was named, and not just one can do it; those that can.
    WhichScenario(Vec<String>),
    /// No scenario can do it; what would.
    NoScenario(&'static str),
    /// This scenario (its name and executor) cannot do it; what would.
    CannotTake(String, &'static str, &'static str),
    /// This scenario starts no iterations any more.
    ScenarioEnded(String),
    /// More virtual users than this scenario's `max_vus`: its name, how many, and how many there may be.
    TooManyVus(String, u32, u32),
    /// Not a rate that can be kept.
    BadRate(f64),
    /// It was steered so often that nothing more is taken.
    TooManyOrders,
    /// It is in other processes, and they did not do it, or not all of them; why.
    Elsewhere(String),
}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        match self {
            Self::NotStarted => f.write_str("the run has not started yet: try again in a moment"),
            Self::Ended => f.write_str("the run is ending"),
            Self::UnknownScenario(name, there) => {
                write!(
                    f,
                    "there is no scenario `{name}`; there are {}",
                    list(there)
                )
            }
            Self::WhichScenario(can) => {
                write!(f, "say which scenario: {} could be meant", list(can))
            }
            Self::NoScenario(what) => write!(f, "no scenario of the plan can do that: {what}"),
            Self::CannotTake(name, executor, what) => {
                write!(f, "the scenario `{name}` is `{executor}`: {what}")
            }
            Self::ScenarioEnded(name) => {
                write!(f, "the scenario `{name}` starts no iterations any more")
            }
            Self::TooManyVus(name, vus, most) => write!(
                f,
                "the scenario `{name}` may have {most} virtual users (`max_vus`), not {vus}"
            ),
            Self::BadRate(rate) => {
                write!(
                    f,
                    "the rate {rate} is not between 0 and {RATE_MAX:.0} a second"
                )
            }
            Self::Elsewhere(why) => f.write_str(why),
            Self::TooManyOrders => {
                write!(
                    f,
                    "the run was steered {ORDERS_MAX} times, and takes no more"
                )
            }
        }
    }
}

impl std::error::Error for SteerError {}

const WANTS_VUS: &str = "only `externally-controlled` takes a number of virtual users";
const WANTS_RATE: &str =
    "`externally-controlled`, `constant-arrival-rate` and `ramping-arrival-rate` take a rate";

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its shards are not ready yet.
    Starting,
    /// Its schedule goes on.
    Running,
    /// Its schedule stands still.
    Paused,
    /// It was told to end; iterations in flight may finish.
    Stopping,
    /// It is over.
    Ended,
}

/// Where a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioPhase {
    /// Its `start_time` has not come.
    Waiting,
    /// Iterations start.
    Running,
    /// None start any more.
    Ended,
}

/// A run as whoever steers it sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The plan's name.
    pub name: String,
    /// Where the run is.
    pub state: RunState,
    /// Since its start, pauses included.
    pub elapsed_secs: f64,
    /// How long it was paused in all.
    pub paused_secs: f64,
    /// In the plan's order.
    pub scenarios: Vec<ScenarioStatus>,
    /// Of the last whole second; `None` before the first has passed.
    pub last_second: Option<SecondStatus>,
}

impl Status {
    /// Of a run of which nothing is known yet.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            name: String::new(),
            state: RunState::Starting,
            elapsed_secs: 0.0,
            paused_secs: 0.0,
            scenarios: Vec::new(),
            last_second: None,
        }
    }
}

/// What can be done to a run, wherever it is: in this process ([`crate::Control`]), or in many others.
pub trait Steer: Send + Sync {
    /// The run as it is now.
    fn status(&self) -> Status;

    /// Holds the schedule of every scenario.
    ///
    /// # Errors
    /// Why not, for people, as with all that follow.
    fn pause(&self) -> Result<(), SteerError>;

    /// Goes on after a pause.
    #[allow(clippy::missing_errors_doc, reason = "as above")]
    fn resume(&self) -> Result<(), SteerError>;

    /// From now on so many virtual users of this scenario loop; without a name the only one that takes a number of them.
    #[allow(clippy::missing_errors_doc, reason = "as above")]
    fn set_vus(&self, scenario: Option<&str>, vus: u32) -> Result<(), SteerError>;

    /// From now on so many iterations of this scenario start in a second.
    #[allow(clippy::missing_errors_doc, reason = "as above")]
    fn set_rate(&self, scenario: Option<&str>, per_second: f64) -> Result<(), SteerError>;

    /// Ends the run gracefully.
    #[allow(clippy::missing_errors_doc, reason = "as above")]
    fn stop(&self) -> Result<(), SteerError>;
}

/// A scenario as whoever steers the run sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioStatus {
    /// Its name in the plan.
    pub name: String,
    /// As in the plan.
    pub executor: &'static str,
    /// Where it is.
    pub phase: ScenarioPhase,
    /// The most virtual users there can be.
    pub max_vus: u32,
    /// What it was last told to do; `None` while it does what the plan says.
    pub aim: Option<Aim>,
    /// Whether it can be told a number of virtual users.
    pub takes_vus: bool,
    /// Whether it can be told a rate.
    pub takes_rate: bool,
}

/// The figures of a second. Latencies are service times, `None` when nothing finished.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it; figures in milliseconds")]
pub struct SecondStatus {
    pub elapsed_secs: f64,
    pub vus: u32,
    pub requests_per_sec: f64,
    pub iterations_per_sec: f64,
    pub error_rate: f64,
    pub latency_p50_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    pub requests_total: u64,
    pub failed_total: u64,
}

impl SecondStatus {
    pub(crate) fn of(progress: &Progress) -> Self {
        let latency = &progress.latency;
        let percentile = |p| (latency.count() > 0).then(|| latency.percentile_ms(p));
        Self {
            elapsed_secs: progress.elapsed_secs,
            vus: progress.vus,
            requests_per_sec: progress.requests_per_sec,
            iterations_per_sec: progress.iterations_per_sec,
            error_rate: progress.error_rate,
            latency_p50_ms: percentile(50.0),
            latency_p99_ms: percentile(99.0),
            requests_total: progress.requests_total,
            failed_total: progress.failed_total,
        }
    }
}

/// A scenario and what it was told.
#[derive(Debug)]
struct Steered {
    name: String,
    executor: &'static str,
    max_vus: u32,
    takes_vus: bool,
    takes_rate: bool,
    phase: ScenarioPhase,
    orders: Vec<Order>,
}

/// What was done to a run, for its summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Steps {
    pub(crate) orders: usize,
    pub(crate) pauses: u32,
    pub(crate) paused_secs: f64,
}

/// What is known of the run that is steered.
#[derive(Debug)]
pub(crate) struct Steering {
    pub(crate) clock: PlanClock,
    name: String,
    /// By [`ScenarioId`](loadr_config::ScenarioId).
    scenarios: Vec<Steered>,
    /// The common start of all shards, once they are ready.
    start_ns: Option<u64>,
    /// When it was over; the run's clock stops there.
    ended_ns: Option<u64>,
    pauses: u32,
    last_second: Option<SecondStatus>,
}

impl Steering {
    pub(crate) fn new(program: &Program) -> Self {
        let scenarios = program.scenarios.iter().map(|scenario| {
            let executor = &scenario.executor;
            let takes_vus = matches!(executor, Executor::ExternallyControlled { .. });
            Steered {
                name: scenario.name.clone(),
                executor: executor.name(),
                max_vus: executor.vus_max(),
                takes_vus,
                takes_rate: takes_vus || matches!(executor, Executor::ArrivalRate { .. }),
                phase: ScenarioPhase::Waiting,
                orders: Vec::new(),
            }
        });
        Self {
            clock: PlanClock::new(),
            name: program.name.clone(),
            scenarios: scenarios.collect(),
            start_ns: None,
            ended_ns: None,
            pauses: 0,
            last_second: None,
        }
    }

    pub(crate) fn begin(&mut self, start_ns: u64) {
        self.start_ns = Some(start_ns);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.start_ns.is_some()
    }

    pub(crate) fn pause(&mut self, now_ns: u64) -> bool {
        let paused = self.clock.hold(now_ns);
        self.pauses += u32::from(paused);
        paused
    }

    /// Gives a scenario an aim; without a name the only one that can take it.
    pub(crate) fn order(
        &mut self,
        scenario: Option<&str>,
        aim: Aim,
        now_ns: u64,
    ) -> Result<(), SteerError> {
        let at = self.find(scenario, aim)?;
        let orders: usize = self.scenarios.iter().map(|s| s.orders.len()).sum();
        let clock = self.clock;
        let scenario = &mut self.scenarios[at];
        match aim {
            Aim::Vus(vus) if vus > scenario.max_vus => {
                let name = scenario.name.clone();
                return Err(SteerError::TooManyVus(name, vus, scenario.max_vus));
            }
            Aim::Rate(rate) if !(0.0..=RATE_MAX).contains(&rate) => {
                return Err(SteerError::BadRate(rate));
            }
            Aim::Vus(_) | Aim::Rate(_) => {}
        }
        if scenario.phase == ScenarioPhase::Ended {
            return Err(SteerError::ScenarioEnded(scenario.name.clone()));
        }
        if orders >= ORDERS_MAX {
            return Err(SteerError::TooManyOrders);
        }
        // While the clock stands still no shard passes any instant of it.
        let lead_ns = if clock.is_held() { 0 } else { LEAD_NS };
        let last_ns = scenario.orders.last().map_or(0, |order| order.from_ns);
        scenario.orders.push(Order {
            aim,
            from_ns: clock.at(now_ns).saturating_add(lead_ns).max(last_ns),
        });
        Ok(())
    }

    fn find(&self, name: Option<&str>, aim: Aim) -> Result<usize, SteerError> {
        let wants = match aim {
            Aim::Vus(_) => WANTS_VUS,
            Aim::Rate(_) => WANTS_RATE,
        };
        let takes = |s: &Steered| match aim {
            Aim::Vus(_) => s.takes_vus,
            Aim::Rate(_) => s.takes_rate,
        };
        let Some(name) = name else {
            let can: Vec<usize> = (0..self.scenarios.len())
                .filter(|at| takes(&self.scenarios[*at]))
                .collect();
            return match can[..] {
                [] => Err(SteerError::NoScenario(wants)),
                [at] => Ok(at),
                _ => {
                    let names = can.iter().map(|at| self.scenarios[*at].name.clone());
                    Err(SteerError::WhichScenario(names.collect()))
                }
            };
        };
        let at = self.scenarios.iter().position(|s| s.name == name);
        let at = at.ok_or_else(|| {
            let there = self.scenarios.iter().map(|s| s.name.clone()).collect();
            SteerError::UnknownScenario(name.to_owned(), there)
        })?;
        let scenario = &self.scenarios[at];
        if takes(scenario) {
            Ok(at)
        } else {
            Err(SteerError::CannotTake(
                name.to_owned(),
                scenario.executor,
                wants,
            ))
        }
    }

    /// The orders that the scenario got since there were `seen`.
    pub(crate) fn orders(&self, scenario: usize, seen: usize) -> &[Order] {
        self.scenarios
            .get(scenario)
            .and_then(|s| s.orders.get(seen..))
            .unwrap_or(&[])
    }

    /// A shard has come so far with a scenario.
    pub(crate) fn reached(&mut self, scenario: usize, phase: ScenarioPhase) {
        if let Some(scenario) = self.scenarios.get_mut(scenario) {
            scenario.phase = scenario.phase.max(phase);
        }
    }

    pub(crate) fn passed(&mut self, progress: &Progress) {
        self.last_second = Some(SecondStatus::of(progress));
    }

    pub(crate) fn end(&mut self, now_ns: u64) {
        self.clock.go(now_ns);
        self.ended_ns.get_or_insert(now_ns);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended_ns.is_some()
    }

    pub(crate) fn steps(&self, now_ns: u64) -> Steps {
        Steps {
            orders: self.scenarios.iter().map(|s| s.orders.len()).sum(),
            pauses: self.pauses,
            paused_secs: self.clock.paused_ns(now_ns) as f64 / 1e9,
        }
    }

    pub(crate) fn status(&self, is_stopped: bool, now_ns: u64) -> Status {
        let now_ns = self.ended_ns.unwrap_or(now_ns);
        Status {
            name: self.name.clone(),
            state: match () {
                () if self.ended_ns.is_some() => RunState::Ended,
                () if self.start_ns.is_none() => RunState::Starting,
                () if is_stopped => RunState::Stopping,
                () if self.clock.is_held() => RunState::Paused,
                () => RunState::Running,
            },
            elapsed_secs: now_ns.saturating_sub(self.start_ns.unwrap_or(now_ns)) as f64 / 1e9,
            paused_secs: self.clock.paused_ns(now_ns) as f64 / 1e9,
            scenarios: self
                .scenarios
                .iter()
                .map(|s| ScenarioStatus {
                    name: s.name.clone(),
                    executor: s.executor,
                    phase: s.phase,
                    max_vus: s.max_vus,
                    aim: s.orders.last().map(|order| order.aim),
                    takes_vus: s.takes_vus,
                    takes_rate: s.takes_rate,
                })
                .collect(),
            last_second: self.last_second.clone(),
        }
    }
}
