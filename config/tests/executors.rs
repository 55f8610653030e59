//! The load models: what each key means, and numbers that do not fit together.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use loadr_config::{Arrival, Executor, Options, RateStage, Scenario, UserStage};
use support::{errors, good, options, warnings};

/// A plan of one scenario with these keys, which begin on line 2 in column 8.
fn plan(keys: &str) -> String {
    format!("scenarios:\n  s: {{ {keys}, flow: [ {{ request: {{ url: 'http://h' }} }} ] }}\n")
}

fn scenario(keys: &str) -> Scenario {
    let compiled = good(&plan(keys));
    assert_eq!(compiled.warnings, []);
    compiled.program.scenarios.into_iter().next().unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn closed_models_are_what_the_plan_says() {
    assert_eq!(
        scenario("executor: shared-iterations, vus: 3, iterations: 10").executor,
        Executor::SharedIterations {
            vus: 3,
            iterations: 10,
            max_duration: secs(600)
        }
    );
    let ramp = "executor: ramping-vus, start_vus: 2, graceful_ramp_down: 3s, \
                stages: [ { duration: 10s, target: 5 }, { duration: 0s, target: 0 }, { duration: 1m, target: 1e1 } ]";
    let stage = |duration, target| UserStage { duration, target };
    let executor = scenario(ramp).executor;
    assert_eq!((executor.vus_max(), executor.is_open()), (10, false));
    assert_eq!(
        executor,
        Executor::RampingVus {
            start_vus: 2,
            stages: vec![stage(secs(10), 5), stage(secs(0), 0), stage(secs(60), 10)],
            graceful_ramp_down: secs(3)
        }
    );
    let short =
        scenario("executor: ramping-vus, stages: [ { duration: 10s, target: 5 } ]").executor;
    assert!(
        matches!(short, Executor::RampingVus { start_vus: 0, graceful_ramp_down, .. } if graceful_ramp_down == secs(30))
    );
}

#[test]
fn rates_are_per_second_whatever_they_are_written_in() {
    let stage = |duration, target| RateStage { duration, target };
    assert_eq!(
        scenario("executor: constant-arrival-rate, rate: 90, time_unit: 1m, duration: 10s, pre_allocated_vus: 4").executor,
        Executor::ArrivalRate {
            start_rate: 1.5,
            stages: vec![stage(secs(10), 1.5)],
            arrival: Arrival::Uniform,
            pre_allocated_vus: 4,
            max_vus: 4
        }
    );
    let ramp = "executor: ramping-arrival-rate, start_rate: 2.5, time_unit: 500ms, pre_allocated_vus: 0, max_vus: 9, \
                arrival: poisson, stages: [ { duration: 10s, target: 50 }, { duration: 5s, target: 0 } ]";
    let executor = scenario(ramp).executor;
    assert_eq!((executor.vus_max(), executor.is_open()), (9, true));
    assert_eq!(
        executor,
        Executor::ArrivalRate {
            start_rate: 5.0,
            stages: vec![stage(secs(10), 100.0), stage(secs(5), 0.0)],
            arrival: Arrival::Poisson,
            pre_allocated_vus: 0,
            max_vus: 9
        }
    );
}

#[test]
fn limits_on_iterations_and_requests_are_numbers_per_second() {
    let limited = scenario(
        "executor: constant-vus, vus: 1, duration: 1s, pacing: { iterations_per_second: 0.5 }, \
         throttle: { requests_per_second: 200 }",
    );
    assert_eq!((limited.pacing, limited.throttle), (Some(0.5), Some(200.0)));
    let free = scenario("executor: constant-vus, vus: 1, duration: 1s");
    assert_eq!((free.pacing, free.throttle), (None, None));
}

#[test]
fn load_models_must_make_sense() {
    for (keys, expected) in [
        (
            "executor: constant-arrival-rate, rate: 10, duration: 1s, pre_allocated_vus: 5, max_vus: 4",
            "2:96: scenarios.s.max_vus: `max_vus` is 4, and `pre_allocated_vus` is already 5 | write `max_vus: 5` or more, or leave it out",
        ),
        (
            "executor: constant-arrival-rate, rate: 10, duration: 1s, pre_allocated_vus: 0",
            "2:6: scenarios.s: there is no virtual user to run an iteration | `pre_allocated_vus` is how many are ready, `max_vus` how many there may be",
        ),
        (
            "executor: constant-arrival-rate, rate: .nan, duration: 1s, pre_allocated_vus: 1",
            "2:47: scenarios.s.rate: `NaN` is not between 0.000001 and 100000000",
        ),
        (
            "executor: constant-arrival-rate, rate: -5, duration: 1s, pre_allocated_vus: 1",
            "2:47: scenarios.s.rate: `-5` is not between 0.000001 and 100000000",
        ),
        (
            "executor: constant-arrival-rate, rate: 0, duration: 1s, pre_allocated_vus: 1",
            "2:47: scenarios.s.rate: `0` is not between 0.000001 and 100000000",
        ),
        (
            "executor: constant-arrival-rate, rate: .inf, duration: 1s, pre_allocated_vus: 1",
            "2:47: scenarios.s.rate: `inf` is not between 0.000001 and 100000000",
        ),
        (
            "executor: constant-arrival-rate, rate: 1e8, time_unit: 1ms, duration: 1s, pre_allocated_vus: 1",
            "2:47: scenarios.s.rate: 100000000000 iterations per second are more than 100000000, the most there is",
        ),
        (
            "executor: constant-arrival-rate, rate: 10, time_unit: 1us, duration: 1s, pre_allocated_vus: 1",
            "2:62: scenarios.s.time_unit: the duration must be at least 1ms",
        ),
        (
            "executor: constant-arrival-rate, rate: 10, duration: 1s",
            "2:6: scenarios.s: a `constant-arrival-rate` scenario needs `pre_allocated_vus` | How many virtual users are ready before the start",
        ),
        (
            "executor: ramping-arrival-rate, pre_allocated_vus: 1, stages: [ { duration: 0s, target: 5 } ]",
            "2:70: scenarios.s.stages: the stages last no time at all | a stage of 0s is a jump; give one a `duration`",
        ),
        (
            "executor: ramping-arrival-rate, pre_allocated_vus: 1, stages: [ { duration: 5s, target: 0 } ]",
            "2:70: scenarios.s.stages: the rate is never above zero | `target` is the rate at a stage's end",
        ),
        (
            "executor: ramping-arrival-rate, pre_allocated_vus: 1, stages: [ { duration: 5s, target: -1 } ]",
            "2:96: scenarios.s.stages[0].target: `-1` is not between 0 and 100000000",
        ),
        (
            "executor: ramping-arrival-rate, pre_allocated_vus: 1, stages: []",
            "2:70: scenarios.s.stages: the list is empty",
        ),
        (
            "executor: ramping-vus, stages: [ { duration: 5s, target: 0 } ]",
            "2:39: scenarios.s.stages: no stage has a virtual user | `target` is how many there are at a stage's end",
        ),
        (
            "executor: ramping-vus, stages: [ { duration: 5s, target: 1.5 } ]",
            "2:65: scenarios.s.stages[0].target: expected a whole number, found `1.5`",
        ),
        (
            "executor: ramping-vus, stages: [ { duraton: 5s, target: 1 } ]",
            "2:43: scenarios.s.stages[0].duraton: unknown key `duraton` | did you mean `duration`?",
        ),
        (
            "executor: ramping-vus, stages: [ { target: 1 } ]",
            "2:41: scenarios.s.stages[0]: a stage of users needs `duration` | How long it takes; 0s is a jump",
        ),
        (
            "executor: shared-iterations, vus: 1, iterations: 0",
            "2:57: scenarios.s.iterations: `0` is less than 1, the least there is",
        ),
        (
            "executor: constant-vus, vus: 1, duration: 1s, throttle: { requests_per_second: 0 }",
            "2:87: scenarios.s.throttle.requests_per_second: `0` is not between 0.000001 and 100000000",
        ),
        (
            "executor: constant-arrival-rate, rate: 1, duration: 1s, pre_allocated_vus: 1, pacing: { iterations_per_second: 1 }",
            "2:94: scenarios.s.pacing: `pacing` would delay iterations that are due | an arrival rate is a pacing of its own: leave it out",
        ),
        (
            "executor: constant-arrival-rate, rate: 1, duration: 1s, pre_allocated_vus: 1, arrival: even",
            "2:95: scenarios.s.arrival: unknown value `even` | there are `uniform` and `poisson`",
        ),
    ] {
        assert_eq!(errors(&plan(keys)), [expected], "in the keys: {keys}");
    }
}

#[test]
fn more_stages_than_a_person_writes_are_refused() {
    let stages = vec!["{ duration: 1ms, target: 1 }"; 10_001].join(", ");
    let found = errors(&plan(&format!(
        "executor: ramping-vus, stages: [ {stages} ]"
    )));
    assert_eq!(
        found,
        ["2:39: scenarios.s.stages: a scenario has at most 10000 stages"]
    );
}

#[test]
fn a_key_of_another_executor_is_worth_a_warning() {
    assert_eq!(
        warnings(&plan(
            "executor: constant-vus, vus: 1, duration: 1s, rate: 5"
        )),
        [
            "2:54: scenarios.s.rate: `rate` does nothing in a `constant-vus` scenario | `executor: constant-arrival-rate` has it"
        ]
    );
}

#[test]
fn the_command_line_stretches_stages_to_its_duration() {
    let options = Options {
        duration: Some(Duration::from_millis(1000)),
        ..options()
    };
    let compiled = |keys: &str| {
        let compiled = loadr_config::compile(&plan(keys), Path::new("p.yaml"), &options).unwrap();
        compiled
            .program
            .scenarios
            .into_iter()
            .next()
            .unwrap()
            .executor
    };
    let Executor::RampingVus { stages, .. } = compiled(
        "executor: ramping-vus, stages: [ { duration: 1m, target: 5 }, { duration: 0, target: 7 }, { duration: 30s, target: 1 }, { duration: 1m30s, target: 1 } ]",
    ) else {
        panic!()
    };
    let lengths: Vec<u128> = stages.iter().map(|s| s.duration.as_nanos()).collect();
    assert_eq!(lengths, [333_333_333, 0, 166_666_667, 500_000_000]);
    let Executor::ArrivalRate { stages, .. } =
        compiled("executor: constant-arrival-rate, rate: 5, duration: 1h, pre_allocated_vus: 1")
    else {
        panic!()
    };
    assert_eq!(stages[0].duration, secs(1));
}

#[test]
fn what_is_steered_has_a_most_and_may_have_an_end() {
    let keys = "executor: externally-controlled, max_vus: 40";
    let executor = |keys: &str| scenario(keys).executor;
    let steered = |duration| Executor::ExternallyControlled {
        max_vus: 40,
        duration,
    };
    assert_eq!(executor(keys), steered(None));
    assert_eq!(
        executor(&format!("{keys}, duration: 1m")),
        steered(Some(secs(60)))
    );
    assert_eq!(executor(keys).vus_max(), 40);
    for (keys, says) in [
        ("executor: externally-controlled", "max_vus"),
        ("executor: externally-controlled, max_vus: 0", "less than 1"),
        (
            "executor: externally-controlled, max_vus: 1, duration: 0s",
            "more than zero",
        ),
        ("executor: externally-controlled, max_vus: 1, vus: 1", "vus"),
    ] {
        let found = match loadr_config::compile(&plan(keys), Path::new("p.yaml"), &options()) {
            Ok(compiled) => compiled.warnings,
            Err(failure) => failure.diagnostics,
        };
        assert!(
            found
                .iter()
                .any(|d| d.line == 2 && d.message.contains(says)),
            "{keys}: {found:?}"
        );
    }
}
