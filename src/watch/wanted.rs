//! What a plan asks for at a moment of its run, for those who watch whether the run keeps to it.

use std::time::Duration;

use loadr_config::{Executor, Program, Scenario};
use loadr_engine::{Aim, Share};

/// The virtual users, over all scenarios that have a number of them, that there should have been at once in the second
/// before `at_secs` of the plan's clock. `None` when no scenario has one. `aims` is what the scenarios were told since.
pub(super) fn vus(
    program: &Program,
    share: Share,
    aims: &[Option<Aim>],
    at_secs: f64,
) -> Option<u32> {
    let mut sum = None;
    for (scenario, aim) in program.scenarios.iter().zip(aims) {
        let since = at_secs - scenario.start_time.as_secs_f64();
        let wanted = match (&scenario.executor, aim) {
            (_, Some(Aim::Vus(vus))) if since >= 0.0 => f64::from(*vus),
            (Executor::ArrivalRate { .. }, _) | (_, Some(Aim::Rate(_))) => continue,
            // What is shown beside it is the most of that second.
            (executor, _) => vus_of(executor, since).max(vus_of(executor, since - 1.0)),
        };
        sum = Some(sum.unwrap_or(0) + share.users(wanted.round() as u32));
    }
    sum
}

fn vus_of(executor: &Executor, since_secs: f64) -> f64 {
    match executor {
        Executor::RampingVus {
            start_vus, stages, ..
        } => {
            let stages = stages
                .iter()
                .map(|stage| (stage.duration, f64::from(stage.target)));
            on_line(f64::from(*start_vus), stages, since_secs)
        }
        // Until it is told otherwise.
        Executor::ExternallyControlled { .. } => 0.0,
        _ if since_secs >= 0.0 && length_secs(executor).is_some_and(|all| since_secs <= all) => {
            f64::from(executor.vus_max())
        }
        _ => 0.0,
    }
}

/// The iterations that should have begun in the second before `at_secs`, over all scenarios that have a rate. `None` when
/// there is none.
pub(super) fn iterations_per_sec(
    program: &Program,
    share: Share,
    aims: &[Option<Aim>],
    at_secs: f64,
) -> Option<f64> {
    let mut sum = None;
    for (scenario, aim) in program.scenarios.iter().zip(aims) {
        // The middle of the second: the mean of a line over it.
        let since = at_secs - 0.5 - scenario.start_time.as_secs_f64();
        let is_over = length_secs(&scenario.executor).is_some_and(|all| since > all);
        let wanted = match (&scenario.executor, aim) {
            (_, Some(Aim::Rate(_))) if is_over => 0.0,
            (_, Some(Aim::Rate(rate))) => *rate,
            (
                Executor::ArrivalRate {
                    start_rate, stages, ..
                },
                _,
            ) => {
                let stages = stages.iter().map(|stage| (stage.duration, stage.target));
                on_line(*start_rate, stages, since)
            }
            _ => continue,
        };
        let part = share.of_rate(scenario.executor.vus_max());
        sum = Some(sum.unwrap_or(0.0) + wanted * part);
    }
    sum
}

/// The height of a line from stage to stage; 0 before and after it.
fn on_line(start: f64, stages: impl Iterator<Item = (Duration, f64)>, since_secs: f64) -> f64 {
    if since_secs < 0.0 {
        return 0.0;
    }
    let (mut from, mut began) = (start, 0.0);
    for (duration, target) in stages {
        let secs = duration.as_secs_f64();
        if since_secs <= began + secs && secs > 0.0 {
            return from + (target - from) * (since_secs - began) / secs;
        }
        (from, began) = (target, began + secs);
    }
    0.0
}

/// How long the whole plan takes at most, without what iterations in flight get at its end. `None`: until it is stopped.
pub(super) fn length(program: &Program) -> Option<f64> {
    program.scenarios.iter().try_fold(0.0, |most: f64, s| {
        Some(most.max(s.start_time.as_secs_f64() + length_secs(&s.executor)?))
    })
}

fn length_secs(executor: &Executor) -> Option<f64> {
    Some(match executor {
        Executor::ConstantVus { duration, .. } => duration.as_secs_f64(),
        Executor::RampingVus { stages, .. } => stages
            .iter()
            .map(|stage| stage.duration.as_secs_f64())
            .sum(),
        Executor::PerVuIterations { max_duration, .. }
        | Executor::SharedIterations { max_duration, .. } => max_duration.as_secs_f64(),
        Executor::ArrivalRate { stages, .. } => stages
            .iter()
            .map(|stage| stage.duration.as_secs_f64())
            .sum(),
        Executor::ExternallyControlled { duration, .. } => duration.as_ref()?.as_secs_f64(),
    })
}

/// How many iterations the plan makes in all, where every scenario has such a number.
pub(super) fn iterations(program: &Program, share: Share) -> Option<u64> {
    let of = |s: &Scenario| match &s.executor {
        Executor::PerVuIterations {
            vus, iterations, ..
        } => Some(iterations.saturating_mul(u64::from(share.users(*vus)))),
        Executor::SharedIterations { iterations, .. } => {
            Some(share.iterations(s.executor.vus_max(), *iterations))
        }
        Executor::ConstantVus { .. }
        | Executor::RampingVus { .. }
        | Executor::ArrivalRate { .. }
        | Executor::ExternallyControlled { .. } => None,
    };
    program
        .scenarios
        .iter()
        .map(of)
        .try_fold(0u64, |sum, n| Some(sum.saturating_add(n?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(executors: &str) -> Program {
        let text = format!(
            "defaults: {{ http: {{ base_url: \"http://127.0.0.1:1\" }} }}\nscenarios:\n{executors}"
        );
        loadr_config::compile(
            &text,
            std::path::Path::new("plan.yaml"),
            &loadr_config::Options::default(),
        )
        .unwrap()
        .program
    }

    const FLOW: &str = "flow: [{ request: { url: / } }]";

    #[test]
    fn users_follow_every_scenario_and_ramps_their_line() {
        let program = program(&format!(
            "  a: {{ executor: constant-vus, vus: 3, duration: 10s, {FLOW} }}\n  \
             b: {{ executor: ramping-vus, start_vus: 0, start_time: 2s, stages: [{{ duration: 10s, target: 20 }}], {FLOW} }}\n"
        ));
        let at = |secs| vus(&program, Share::whole(), &[None, None], secs);
        assert_eq!(
            [at(1.0), at(7.0), at(11.0), at(13.0), at(14.0)],
            [3, 13, 21, 20, 0].map(Some)
        );
        assert_eq!(length(&program), Some(12.0));
        assert_eq!(
            (
                iterations(&program, Share::whole()),
                iterations_per_sec(&program, Share::whole(), &[None, None], 1.0)
            ),
            (None, None)
        );
    }

    #[test]
    fn rates_and_numbers_of_iterations_add_up() {
        let open = program(&format!(
            "  a: {{ executor: constant-arrival-rate, rate: 100, duration: 4s, pre_allocated_vus: 1, max_vus: 9, {FLOW} }}\n"
        ));
        let at = |aim, secs| iterations_per_sec(&open, Share::whole(), &[aim], secs);
        assert_eq!((at(None, 2.0), at(None, 6.0)), (Some(100.0), Some(0.0)));
        let steered = Some(Aim::Rate(7.0));
        assert_eq!((at(steered, 2.0), at(steered, 6.0)), (Some(7.0), Some(0.0)));
        assert_eq!(vus(&open, Share::whole(), &[None], 2.0), None);
        let counted = program(&format!(
            "  a: {{ executor: per-vu-iterations, vus: 3, iterations: 10, {FLOW} }}\n  \
             b: {{ executor: shared-iterations, vus: 3, iterations: 7, {FLOW} }}\n"
        ));
        assert_eq!(iterations(&counted, Share::whole()), Some(37));
    }

    #[test]
    fn what_is_steered_wants_what_it_was_told() {
        let program = program(&format!(
            "  a: {{ executor: externally-controlled, max_vus: 9, {FLOW} }}\n"
        ));
        assert_eq!(length(&program), None);
        let at = |aim| {
            (
                vus(&program, Share::whole(), &[aim], 5.0),
                iterations_per_sec(&program, Share::whole(), &[aim], 5.0),
            )
        };
        assert_eq!(at(None), (Some(0), None));
        assert_eq!(at(Some(Aim::Vus(4))), (Some(4), None));
        assert_eq!(at(Some(Aim::Rate(50.0))), (None, Some(50.0)));
    }
}
