//! The tables of scenarios and the steps of their flows.

use std::time::Duration;

use super::check::listed;
use super::plan::{ANY_DURATION, NO_SCRIPT, POSITIVE};
use super::request::REQUEST;
use super::{Key, Kind, Status, Table, Union, Variant, key, not_yet, required, word};

/// More virtual users than any machine holds; keeps products of them in range.
const MAX_VUS: u64 = 10_000_000;
/// Keeps `vus` times `iterations` in 64 bits.
const MAX_ITERATIONS: u64 = 1_000_000_000_000;

/// The most iterations per second that a plan can ask for: one every 10 ns.
pub(crate) const MAX_RATE: f64 = 1e8;
/// The least: one in a century and a half. Below it a number is more likely a slip.
const MIN_RATE: f64 = 1e-6;
/// What `time_unit` can be.
const TIME_UNIT: Kind = Kind::Duration(Duration::from_millis(1), Duration::from_secs(86_400));

/// A scenario: its keys depend on the executor.
pub(super) static SCENARIO: Union = Union {
    what: "a scenario",
    tag: "executor",
    lenient: true,
    variants: &[
        variant("constant-vus", &CONSTANT_VUS, Status::Ready),
        variant("ramping-vus", &RAMPING_VUS, Status::Ready),
        variant("per-vu-iterations", &PER_VU_ITERATIONS, Status::Ready),
        variant("shared-iterations", &SHARED_ITERATIONS, Status::Ready),
        variant(
            "constant-arrival-rate",
            &CONSTANT_ARRIVAL_RATE,
            Status::Ready,
        ),
        variant("ramping-arrival-rate", &RAMPING_ARRIVAL_RATE, Status::Ready),
        variant(
            "externally-controlled",
            &EXTERNALLY_CONTROLLED,
            Status::Ready,
        ),
    ],
    forms: &[],
};

const fn variant(name: &'static str, table: &'static Table, status: Status) -> Variant {
    Variant {
        name,
        table,
        status,
    }
}

const VUS: Key = required("vus", Kind::Count(1, MAX_VUS), "How many virtual users");
const MAX_DURATION: Key = key(
    "max_duration",
    POSITIVE,
    "When no new iteration starts any more; 10m",
);

static CONSTANT_VUS: Table = Table {
    what: "a `constant-vus` scenario",
    groups: &[
        &[VUS, required("duration", POSITIVE, "How long they loop")],
        SCENARIO_KEYS,
    ],
};

static RAMPING_VUS: Table = Table {
    what: "a `ramping-vus` scenario",
    groups: &[
        &[
            key(
                "start_vus",
                Kind::Count(0, MAX_VUS),
                "How many virtual users there are at the start; 0",
            ),
            required(
                "stages",
                Kind::Some(&Kind::Table(&USER_STAGE)),
                "To how many virtual users it goes, and how long that takes",
            ),
            key(
                "graceful_ramp_down",
                ANY_DURATION,
                "What the iteration of a virtual user that goes away gets; 30s",
            ),
        ],
        SCENARIO_KEYS,
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
            MAX_DURATION,
        ],
        SCENARIO_KEYS,
    ],
};

static SHARED_ITERATIONS: Table = Table {
    what: "a `shared-iterations` scenario",
    groups: &[
        &[
            VUS,
            required(
                "iterations",
                Kind::Count(1, MAX_ITERATIONS),
                "How often the flow is run by all virtual users together",
            ),
            MAX_DURATION,
        ],
        SCENARIO_KEYS,
    ],
};

static CONSTANT_ARRIVAL_RATE: Table = Table {
    what: "a `constant-arrival-rate` scenario",
    groups: &[
        &[
            required(
                "rate",
                Kind::Number(MIN_RATE, MAX_RATE),
                "Iterations started in each time unit",
            ),
            required("duration", POSITIVE, "How long they are started"),
        ],
        ARRIVAL_KEYS,
        SCENARIO_KEYS,
    ],
};

static RAMPING_ARRIVAL_RATE: Table = Table {
    what: "a `ramping-arrival-rate` scenario",
    groups: &[
        &[
            key(
                "start_rate",
                Kind::Number(0.0, MAX_RATE),
                "Iterations started in each time unit at the start; 0",
            ),
            required(
                "stages",
                Kind::Some(&Kind::Table(&RATE_STAGE)),
                "To which rate it goes, and how long that takes",
            ),
        ],
        ARRIVAL_KEYS,
        SCENARIO_KEYS,
    ],
};

const ARRIVAL_KEYS: &[Key] = &[
    key("time_unit", TIME_UNIT, "What the rate counts in; 1s"),
    required(
        "pre_allocated_vus",
        Kind::Count(0, MAX_VUS),
        "How many virtual users are ready before the start",
    ),
    key(
        "max_vus",
        Kind::Count(1, MAX_VUS),
        "How many there may be when those do not suffice; `pre_allocated_vus`",
    ),
    key(
        "arrival",
        Kind::Word(&[word("uniform"), word("poisson")]),
        "How arrivals are spaced; uniform",
    ),
];

const STAGE_DURATION: Key = required("duration", ANY_DURATION, "How long it takes; 0s is a jump");

static USER_STAGE: Table = Table {
    what: "a stage of users",
    groups: &[&[
        STAGE_DURATION,
        required(
            "target",
            Kind::Count(0, MAX_VUS),
            "How many virtual users there are at its end",
        ),
    ]],
};

static RATE_STAGE: Table = Table {
    what: "a stage of a rate",
    groups: &[&[
        STAGE_DURATION,
        required(
            "target",
            Kind::Number(0.0, MAX_RATE),
            "The rate at its end, in iterations each time unit",
        ),
    ]],
};

static EXTERNALLY_CONTROLLED: Table = Table {
    what: "an `externally-controlled` scenario",
    groups: &[
        &[
            required(
                "max_vus",
                Kind::Count(1, MAX_VUS),
                "The most virtual users that can be asked for; `loadr-fast ctl` says how many there are, or at which rate",
            ),
            key(
                "duration",
                POSITIVE,
                "How long iterations can start; until the run is stopped",
            ),
        ],
        SCENARIO_KEYS,
    ],
};

static PACING: Table = Table {
    what: "a pacing",
    groups: &[&[required(
        "iterations_per_second",
        Kind::Number(MIN_RATE, MAX_RATE),
        "The most iterations that all virtual users together start in a second",
    )]],
};

static THROTTLE: Table = Table {
    what: "a throttle",
    groups: &[&[required(
        "requests_per_second",
        Kind::Number(MIN_RATE, MAX_RATE),
        "The most requests that all virtual users together send in a second",
    )]],
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
    required("flow", Kind::Steps, "The steps of one iteration"),
    key(
        "think_time",
        Kind::Union(&THINK_TIME),
        "A pause after every request",
    ),
    key(
        "tags",
        Kind::Map(&Kind::Template),
        "Tags on every sample of the scenario",
    ),
    key(
        "pacing",
        Kind::Table(&PACING),
        "A limit on iterations, over all cores",
    ),
    key(
        "throttle",
        Kind::Table(&THROTTLE),
        "A limit on requests, over all cores",
    ),
    not_yet("exec", NO_SCRIPT, "A script's function"),
];

static STEP: Table = Table {
    what: "a step",
    groups: &[STEP_KEYS],
};

const NO_CONDITION: &str = "there is no script engine; `switch` chooses by a value";

const STEP_KEYS: &[Key] = &[
    key(
        "request",
        Kind::Table(&REQUEST),
        "Send a request and wait for its response",
    ),
    key("think_time", Kind::Union(&THINK_TIME), "Pause"),
    key("group", Kind::Table(&GROUP), "Steps under a name"),
    key("repeat", Kind::Table(&REPEAT), "Steps a number of times"),
    key("during", Kind::Table(&DURING), "Steps for a time"),
    key("foreach", Kind::Table(&FOREACH), "Steps for each item"),
    key(
        "random",
        Kind::Table(&RANDOM),
        "One of several lists of steps",
    ),
    key("switch", Kind::Table(&SWITCH), "Steps chosen by a value"),
    key("retry", Kind::Table(&RETRY), "Steps until they succeed"),
    key(
        "parallel",
        Kind::Table(&PARALLEL),
        "Several lists of steps at once",
    ),
    key(
        "rendezvous",
        Kind::Table(&RENDEZVOUS),
        "Wait until so many virtual users have come here",
    ),
    not_yet("js", NO_SCRIPT, "A script"),
    not_yet("while", NO_CONDITION, "Steps while something holds"),
    not_yet("if", NO_CONDITION, "Steps when something holds"),
];

/// Which keys an executor of this name has; `None` when there is none.
pub(crate) fn executor_keys(name: &str) -> Option<impl Fn(&str) -> bool + use<>> {
    let variant = SCENARIO
        .variants
        .iter()
        .find(|variant| variant.name == name)?;
    let has = |key: &str| {
        let key = variant.table.key(key);
        key.is_some_and(|key| !matches!(key.status, Status::NotYet(_)))
    };
    Some(has)
}

/// The executors that have one of these keys, for people.
pub(crate) fn executors_with(keys: &[&str]) -> String {
    let has = |variant: &&Variant| {
        matches!(variant.status, Status::Ready)
            && executor_keys(variant.name).is_some_and(|has| keys.iter().any(|key| has(key)))
    };
    listed(
        SCENARIO
            .variants
            .iter()
            .filter(has)
            .map(|variant| variant.name),
    )
}

/// One step of a flow.
pub(crate) static A_STEP: Kind = Kind::OneKey(&STEP);

/// The table of [`A_STEP`].
pub(crate) fn a_step() -> &'static Table {
    &STEP
}

/// A pause: its keys depend on its type.
pub(crate) static THINK_TIME: Union = Union {
    what: "a think time",
    tag: "type",
    lenient: false,
    variants: &[
        variant("constant", &CONSTANT_PAUSE, Status::Ready),
        variant("uniform", &UNIFORM_PAUSE, Status::Ready),
        variant("gaussian", &GAUSSIAN_PAUSE, Status::Ready),
    ],
    forms: &[],
};

const TYPE: Key = required("type", Kind::Text, "How it varies");

static CONSTANT_PAUSE: Table = Table {
    what: "a `constant` think time",
    groups: &[&[TYPE, required("duration", ANY_DURATION, "How long it is")]],
};

static UNIFORM_PAUSE: Table = Table {
    what: "a `uniform` think time",
    groups: &[&[
        TYPE,
        required("min", ANY_DURATION, "How long it is at least"),
        required("max", ANY_DURATION, "How long it is at most"),
    ]],
};

static GAUSSIAN_PAUSE: Table = Table {
    what: "a `gaussian` think time",
    groups: &[&[
        TYPE,
        required("mean", ANY_DURATION, "How long it is in the middle"),
        required("std_dev", ANY_DURATION, "How much it varies"),
    ]],
};

const STEPS: Key = required("steps", Kind::Steps, "What is done, in order");

static GROUP: Table = Table {
    what: "a group",
    groups: &[&[
        required("name", Kind::Name, "What the `group` tag says"),
        STEPS,
    ]],
};

static REPEAT: Table = Table {
    what: "a repeat",
    groups: &[&[
        required("times", Kind::Count(1, MAX_ITERATIONS), "How often"),
        key("counter", Kind::Name, "A variable for the round, from 0"),
        STEPS,
    ]],
};

static DURING: Table = Table {
    what: "a during",
    groups: &[&[
        required("duration", POSITIVE, "How long new rounds begin"),
        key(
            "counter",
            Kind::Name,
            "A variable for the round, from 0; `index`",
        ),
        STEPS,
    ]],
};

static FOREACH: Table = Table {
    what: "a foreach",
    groups: &[&[
        required(
            "items",
            Kind::Any,
            "A list, or a placeholder that yields a JSON array",
        ),
        key("var", Kind::Name, "A variable for the item; `item`"),
        key(
            "index",
            Kind::Name,
            "A variable for its position, from 0; `index`",
        ),
        STEPS,
    ]],
};

static RANDOM: Table = Table {
    what: "a random",
    groups: &[&[
        key(
            "strategy",
            Kind::Word(&[word("weighted"), word("uniform"), word("round_robin")]),
            "How one is chosen; weighted",
        ),
        required(
            "choices",
            Kind::Some(&Kind::Table(&CHOICE)),
            "What is chosen from",
        ),
    ]],
};

static CHOICE: Table = Table {
    what: "a choice",
    groups: &[&[
        key(
            "weight",
            Kind::Number(0.0, 1e9),
            "Its share of the chance; 1",
        ),
        key("name", Kind::Name, "What it is called"),
        STEPS,
    ]],
};

static SWITCH: Table = Table {
    what: "a switch",
    groups: &[&[
        required("value", Kind::Template, "What is compared"),
        required(
            "cases",
            Kind::SomeMap(&Kind::Steps),
            "The steps for each value",
        ),
        key("default", Kind::Steps, "The steps for any other value"),
    ]],
};

static PARALLEL: Table = Table {
    what: "a parallel",
    groups: &[&[required(
        "branches",
        Kind::Some(&Kind::Steps),
        "Lists of steps; each has connections of its own, and all see the same variables",
    )]],
};

static RENDEZVOUS: Table = Table {
    what: "a rendezvous",
    groups: &[&[
        required(
            "name",
            Kind::Name,
            "What it is called; steps of one name are one meeting place",
        ),
        required(
            "users",
            Kind::Count(1, MAX_VUS),
            "How many virtual users go on together",
        ),
        key(
            "timeout",
            POSITIVE,
            "How long one waits for the others before those there go on without; 30s",
        ),
    ]],
};

static RETRY: Table = Table {
    what: "a retry",
    groups: &[&[
        key(
            "times",
            Kind::Count(1, 1_000_000),
            "How many attempts there are; 3",
        ),
        key(
            "backoff",
            ANY_DURATION,
            "A pause between two attempts; none",
        ),
        not_yet(
            "until",
            "an attempt is over when no request in it failed: write `assert`",
            "When an attempt has succeeded",
        ),
        STEPS,
    ]],
};
