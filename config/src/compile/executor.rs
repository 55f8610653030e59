//! What must fit together in a load model: numbers that are each good alone.

use std::time::Duration;

use super::Compiler;
use crate::language::MAX_RATE;
use crate::plan::{Load, Rate, Scenario};
use crate::program::Executor;

/// The most stages of a scenario.
const MAX_STAGES: usize = 10_000;

impl Compiler<'_> {
    /// The executor, when it makes sense.
    pub(super) fn executor(&mut self, scenario: &Scenario) -> Option<Executor> {
        let load = scenario.executor.as_ref()?;
        let before = self.report.error_count();
        match &load.executor {
            Executor::RampingVus { stages, .. } => {
                self.stages(load, stages.iter().map(|stage| stage.duration));
                if load.executor.vus_max() == 0 {
                    let at = load.stages_at.as_ref().unwrap_or(&load.at);
                    let message = "no stage has a virtual user".to_owned();
                    let help = "`target` is how many there are at a stage's end".to_owned();
                    self.report.error(at, message, Some(help));
                }
            }
            Executor::ArrivalRate {
                start_rate,
                stages,
                pre_allocated_vus,
                max_vus,
                ..
            } => {
                self.stages(load, stages.iter().map(|stage| stage.duration));
                let most = stages
                    .iter()
                    .map(|stage| stage.target)
                    .fold(*start_rate, f64::max);
                self.rate(load, most);
                self.pool(load, *pre_allocated_vus, *max_vus);
                self.no_pacing(scenario.pacing.as_ref());
            }
            Executor::ConstantVus { .. }
            | Executor::PerVuIterations { .. }
            | Executor::SharedIterations { .. }
            | Executor::ExternallyControlled { .. } => {}
        }
        (self.report.error_count() == before).then(|| load.executor.clone())
    }

    fn stages(&mut self, load: &Load, durations: impl ExactSizeIterator<Item = Duration>) {
        let at = load.stages_at.as_ref().unwrap_or(&load.at);
        if durations.len() > MAX_STAGES {
            let message = format!("a scenario has at most {MAX_STAGES} stages");
            self.report.error(at, message, None);
        }
        if durations.into_iter().all(|duration| duration.is_zero()) {
            let message = "the stages last no time at all".to_owned();
            let help = "a stage of 0s is a jump; give one a `duration`".to_owned();
            self.report.error(at, message, Some(help));
        }
    }

    fn rate(&mut self, load: &Load, most: f64) {
        let at = load.rate_at.as_ref().unwrap_or(&load.at);
        if most > MAX_RATE {
            let message = format!(
                "{most:.0} iterations per second are more than {MAX_RATE:.0}, the most there is"
            );
            self.report.error(at, message, None);
        } else if most <= 0.0 {
            let message = "the rate is never above zero".to_owned();
            let help = "`target` is the rate at a stage's end".to_owned();
            self.report.error(at, message, Some(help));
        }
    }

    fn pool(&mut self, load: &Load, pre_allocated: u32, most: u32) {
        let at = load.max_vus_at.as_ref().unwrap_or(&load.at);
        if most < pre_allocated {
            let message =
                format!("`max_vus` is {most}, and `pre_allocated_vus` is already {pre_allocated}");
            let help = format!("write `max_vus: {pre_allocated}` or more, or leave it out");
            self.report.error(at, message, Some(help));
        } else if most == 0 {
            let message = "there is no virtual user to run an iteration".to_owned();
            let help = "`pre_allocated_vus` is how many are ready, `max_vus` how many there may be";
            self.report.error(at, message, Some(help.to_owned()));
        }
    }

    fn no_pacing(&mut self, pacing: Option<&Rate>) {
        if let Some(pacing) = pacing {
            let message = "`pacing` would delay iterations that are due".to_owned();
            let help = "an arrival rate is a pacing of its own: leave it out".to_owned();
            self.report.error(&pacing.at, message, Some(help));
        }
    }
}
