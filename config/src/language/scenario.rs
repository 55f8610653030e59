//! The tables of scenarios and the steps of their flows.

use super::plan::{ANY_DURATION, NO_SCRIPT, NO_THINK_TIME, POSITIVE};
use super::request::REQUEST;
use super::{Key, Kind, Status, Table, Union, Variant, key, not_yet, required};

/// More virtual users than any machine holds; keeps products of them in range.
const MAX_VUS: u64 = 10_000_000;
/// Keeps `vus` times `iterations` in 64 bits.
const MAX_ITERATIONS: u64 = 1_000_000_000_000;

/// A scenario: its keys depend on the executor.
pub(super) static SCENARIO: Union = Union {
    what: "a scenario",
    tag: "executor",
    lenient: true,
    variants: &[
        executor("constant-vus", &CONSTANT_VUS, Status::Ready),
        executor("per-vu-iterations", &PER_VU_ITERATIONS, Status::Ready),
        executor("ramping-vus", &OTHER_EXECUTOR, Status::NotYet(NO_EXECUTOR)),
        executor(
            "shared-iterations",
            &OTHER_EXECUTOR,
            Status::NotYet("`per-vu-iterations` gives each virtual user its own"),
        ),
        executor(
            "constant-arrival-rate",
            &OTHER_EXECUTOR,
            Status::NotYet(NO_EXECUTOR),
        ),
        executor(
            "ramping-arrival-rate",
            &OTHER_EXECUTOR,
            Status::NotYet(NO_EXECUTOR),
        ),
        executor(
            "externally-controlled",
            &OTHER_EXECUTOR,
            Status::NotYet(NO_EXECUTOR),
        ),
    ],
    forms: &[],
};

const NO_EXECUTOR: &str = "there are `constant-vus` and `per-vu-iterations`";

const fn executor(name: &'static str, table: &'static Table, status: Status) -> Variant {
    Variant {
        name,
        table,
        status,
    }
}

const VUS: Key = required("vus", Kind::Count(1, MAX_VUS), "How many virtual users");

static CONSTANT_VUS: Table = Table {
    what: "a `constant-vus` scenario",
    groups: &[
        &[VUS, required("duration", POSITIVE, "How long they loop")],
        SCENARIO_KEYS,
        NOT_YET_KEYS,
    ],
};

static PER_VU_ITERATIONS: Table = Table {
    what: "a `per-vu-iterations` scenario",
    groups: &[
        &[
            VUS,
            required(
                "iterations",
                Kind::Count(1, MAX_ITERATIONS),
                "How often each virtual user runs the flow",
            ),
            key(
                "max_duration",
                POSITIVE,
                "When no new iteration starts any more; 10m",
            ),
        ],
        SCENARIO_KEYS,
        NOT_YET_KEYS,
    ],
};

/// The shared keys are still looked at under an executor that is not available.
static OTHER_EXECUTOR: Table = Table {
    what: "a scenario",
    groups: &[
        SCENARIO_KEYS,
        &[
            key("vus", Kind::Any, "How many virtual users"),
            key("duration", Kind::Any, "How long"),
            key("iterations", Kind::Any, "How often"),
            key("max_duration", Kind::Any, "How long at most"),
            key(
                "start_vus",
                Kind::Any,
                "How many virtual users at the start",
            ),
            key("stages", Kind::Any, "How the load changes"),
            key("rate", Kind::Any, "Iterations started in each time unit"),
            key("start_rate", Kind::Any, "The rate at the start"),
            key("time_unit", Kind::Any, "What the rate counts in; 1s"),
            key(
                "pre_allocated_vus",
                Kind::Any,
                "Virtual users ready at the start",
            ),
            key("max_vus", Kind::Any, "The most virtual users"),
            key(
                "graceful_ramp_down",
                Kind::Any,
                "What virtual users that go away get; 30s",
            ),
            key("arrival", Kind::Any, "How arrivals are spaced"),
        ],
        NOT_YET_SHARED,
    ],
};

const SCENARIO_KEYS: &[Key] = &[
    key(
        "start_time",
        ANY_DURATION,
        "How long after the run's start it begins",
    ),
    key(
        "graceful_stop",
        ANY_DURATION,
        "What iterations in flight get at the end; 30s",
    ),
    required("flow", Kind::Some(&A_STEP), "The steps of one iteration"),
    key(
        "tags",
        Kind::Map(&Kind::Template),
        "Tags on every sample of the scenario",
    ),
];

const NOT_YET_SHARED: &[Key] = &[
    not_yet("think_time", NO_THINK_TIME, "A pause after every request"),
    not_yet(
        "pacing",
        "leave it out: iterations follow each other at once",
        "Iterations each second",
    ),
    not_yet(
        "throttle",
        "fewer `vus` make less load",
        "The most requests each second",
    ),
    not_yet("exec", NO_SCRIPT, "A script's function"),
];

const NOT_YET_KEYS: &[Key] = &[
    not_yet("stages", NO_EXECUTOR, "How the load changes"),
    not_yet(
        "start_vus",
        NO_EXECUTOR,
        "How many virtual users at the start",
    ),
    not_yet(
        "graceful_ramp_down",
        "`graceful_stop` is what iterations get at the end",
        "What virtual users that go away get",
    ),
    not_yet("rate", NO_EXECUTOR, "Iterations started in each time unit"),
    not_yet("start_rate", NO_EXECUTOR, "The rate at the start"),
    not_yet("time_unit", NO_EXECUTOR, "What the rate counts in"),
    not_yet(
        "pre_allocated_vus",
        "write `vus`",
        "Virtual users ready at the start",
    ),
    not_yet("max_vus", "write `vus`", "The most virtual users"),
    not_yet("arrival", NO_EXECUTOR, "How arrivals are spaced"),
    not_yet("think_time", NO_THINK_TIME, "A pause after every request"),
    not_yet(
        "pacing",
        "leave it out: iterations follow each other at once",
        "Iterations each second",
    ),
    not_yet(
        "throttle",
        "fewer `vus` make less load",
        "The most requests each second",
    ),
    not_yet("exec", NO_SCRIPT, "A script's function"),
];

static STEP: Table = Table {
    what: "a step",
    groups: &[STEP_KEYS],
};

const FLAT: &str = "write the steps out one after the other: `request` is the only step there is";

const STEP_KEYS: &[Key] = &[
    key(
        "request",
        Kind::Table(&REQUEST),
        "Send a request and wait for its response",
    ),
    not_yet("think_time", NO_THINK_TIME, "Pause"),
    not_yet(
        "group",
        "write its steps straight into the flow and give each request a tag",
        "Steps under a name",
    ),
    not_yet("repeat", FLAT, "Steps a number of times"),
    not_yet("during", FLAT, "Steps for a time"),
    not_yet("foreach", FLAT, "Steps for each item"),
    not_yet(
        "random",
        "make a scenario of each choice",
        "One of several lists of steps",
    ),
    not_yet(
        "switch",
        "make a scenario of each case",
        "Steps chosen by a value",
    ),
    not_yet("retry", FLAT, "Steps until they succeed"),
    not_yet(
        "parallel",
        "make a scenario of each branch",
        "Steps at the same time",
    ),
    not_yet("rendezvous", FLAT, "Wait for other virtual users"),
    not_yet("js", NO_SCRIPT, "A script"),
    not_yet("while", FLAT, "Steps while something holds"),
    not_yet("if", FLAT, "Steps when something holds"),
];

static A_STEP: Kind = Kind::OneKey(&STEP);
