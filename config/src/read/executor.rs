//! A scenario's load model.

use std::time::Duration;

use super::reader::Reader;
use crate::plan::{Load, Rate};
use crate::program::{Arrival, Executor, RateStage, UserStage};

/// The default of `max_duration`.
const MAX_DURATION: Duration = Duration::from_secs(600);
/// The default of `graceful_ramp_down`.
const GRACEFUL_RAMP_DOWN: Duration = Duration::from_secs(30);
/// The default of `time_unit`.
const TIME_UNIT: Duration = Duration::from_secs(1);

/// The executor of this name; `None` when a part of it is missing or wrong, which has been reported.
pub(super) fn read_executor(name: &str, reader: &Reader<'_>) -> Option<Load> {
    let users = |name| u32::try_from(reader.count(name)?).ok();
    let max_duration = || reader.duration("max_duration").unwrap_or(MAX_DURATION);
    let mut rate_at = None;
    let executor = match name {
        "constant-vus" => Executor::ConstantVus {
            vus: users("vus")?,
            duration: reader.duration("duration")?,
        },
        "ramping-vus" => Executor::RampingVus {
            start_vus: users("start_vus").unwrap_or(0),
            stages: user_stages(reader)?,
            graceful_ramp_down: reader
                .duration("graceful_ramp_down")
                .unwrap_or(GRACEFUL_RAMP_DOWN),
        },
        "per-vu-iterations" => Executor::PerVuIterations {
            vus: users("vus")?,
            iterations: reader.count("iterations")?,
            max_duration: max_duration(),
        },
        "shared-iterations" => Executor::SharedIterations {
            vus: users("vus")?,
            iterations: reader.count("iterations")?,
            max_duration: max_duration(),
        },
        "constant-arrival-rate" => {
            let rate = reader.number("rate")? / time_unit_secs(reader);
            rate_at = reader.at("rate");
            let stage = RateStage {
                duration: reader.duration("duration")?,
                target: rate,
            };
            arrivals(reader, rate, vec![stage])?
        }
        "ramping-arrival-rate" => {
            let start_rate = reader.number("start_rate").unwrap_or(0.0) / time_unit_secs(reader);
            rate_at = reader.at("stages");
            arrivals(reader, start_rate, rate_stages(reader)?)?
        }
        "externally-controlled" => Executor::ExternallyControlled {
            max_vus: users("max_vus")?,
            duration: match reader.node.get("duration") {
                Some(_) => Some(reader.duration("duration")?),
                None => None,
            },
        },
        _ => return None,
    };
    Some(Load {
        executor,
        at: reader.path.at(reader.node.pos),
        stages_at: reader.at("stages"),
        max_vus_at: reader.at("max_vus"),
        rate_at,
    })
}

fn arrivals(reader: &Reader<'_>, start_rate: f64, stages: Vec<RateStage>) -> Option<Executor> {
    let users = |name| u32::try_from(reader.count(name)?).ok();
    let pre_allocated_vus = users("pre_allocated_vus")?;
    let is_poisson = reader
        .text("arrival")
        .is_some_and(|word| word.text == "poisson");
    Some(Executor::ArrivalRate {
        start_rate,
        stages,
        arrival: if is_poisson {
            Arrival::Poisson
        } else {
            Arrival::Uniform
        },
        pre_allocated_vus,
        max_vus: match reader.node.get("max_vus") {
            Some(_) => users("max_vus")?,
            None => pre_allocated_vus,
        },
    })
}

fn time_unit_secs(reader: &Reader<'_>) -> f64 {
    reader
        .duration("time_unit")
        .unwrap_or(TIME_UNIT)
        .as_secs_f64()
}

/// `None` when there is none, or one of them could not be read.
fn user_stages(reader: &Reader<'_>) -> Option<Vec<UserStage>> {
    let mut stages = Some(Vec::new());
    reader.items("stages", |stage| {
        let read = || {
            Some(UserStage {
                duration: stage.duration("duration")?,
                target: u32::try_from(stage.count("target")?).ok()?,
            })
        };
        stages = stages.take().zip(read()).map(|(mut stages, stage)| {
            stages.push(stage);
            stages
        });
    });
    stages.filter(|stages| !stages.is_empty())
}

fn rate_stages(reader: &Reader<'_>) -> Option<Vec<RateStage>> {
    let unit_secs = time_unit_secs(reader);
    let mut stages = Some(Vec::new());
    reader.items("stages", |stage| {
        let read = || {
            Some(RateStage {
                duration: stage.duration("duration")?,
                target: stage.number("target")? / unit_secs,
            })
        };
        stages = stages.take().zip(read()).map(|(mut stages, stage)| {
            stages.push(stage);
            stages
        });
    });
    stages.filter(|stages| !stages.is_empty())
}

/// The number under `name` of the mapping under `key`.
pub(super) fn read_rate(reader: &Reader<'_>, key: &str, name: &str) -> Option<Rate> {
    let mut rate = None;
    reader.table(key, |table| {
        rate = table
            .number(name)
            .zip(reader.at(key))
            .map(|(per_second, at)| Rate { per_second, at });
    });
    rate
}
