//! What is measured: each row with who runs in it and which ratio is to be reached.

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) what: &'static str,
    pub(crate) sides: &'static [Side],
    pub(crate) goals: &'static [Goal],
}

/// Who runs, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) client: Who,
    pub(crate) connections: u32,
    pub(crate) target: Target,
    pub(crate) path: &'static str,
    /// A plan in `bench/plans`, for loadr-fast.
    pub(crate) plan: Option<&'static str>,
    /// Whether a process of its own runs on each core, with its share of the connections.
    pub(crate) is_split: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Loadr,
    Wrk,
    Oha,
    Floor,
}

/// What is loaded, and where both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The built-in target on a core of its own, the client on another.
    Apart,
    /// The built-in target with TLS on a core of its own, the client on another.
    Tls,
    /// nginx with TLS 1.3 on a core of its own, the client on another.
    Nginx,
    /// The built-in target on the client's core.
    Together,
    /// The built-in target on both cores, and the client as well.
    TogetherOnBoth,
}

/// A ratio: the figure of one side over that of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) figure: Figure,
    /// `None`: there is no goal, it is there to compare with.
    pub(crate) at_most: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    CpuPerRequest,
    RequestsPerSecond,
}

const fn side(name: &'static str, client: Who, connections: u32) -> Side {
    Side {
        name,
        client,
        connections,
        target: Target::Apart,
        path: "/",
        plan: None,
        is_split: false,
    }
}

const fn planned(name: &'static str, plan: &'static str) -> Side {
    Side {
        plan: Some(plan),
        ..side(name, Who::Loadr, 64)
    }
}

const fn placed(side: Side, target: Target) -> Side {
    Side { target, ..side }
}

const fn cpu(of: &'static str, to: &'static str, at_most: f64) -> Goal {
    Goal {
        of,
        to,
        figure: Figure::CpuPerRequest,
        at_most: Some(at_most),
    }
}

const fn rate(of: &'static str, to: &'static str, at_most: f64) -> Goal {
    Goal {
        of,
        to,
        figure: Figure::RequestsPerSecond,
        at_most: Some(at_most),
    }
}

/// One to compare with.
const fn beside(figure: Figure, of: &'static str, to: &'static str) -> Goal {
    Goal {
        of,
        to,
        figure,
        at_most: None,
    }
}

/// Who speaks TLS, against one target and another; the goals are the same.
const fn over_tls(target: Target) -> [Side; 3] {
    [
        placed(side("loadr-fast", Who::Loadr, 64), target),
        placed(side("wrk", Who::Wrk, 64), target),
        placed(side("oha", Who::Oha, 64), target),
    ]
}

const TLS_GOALS: &[Goal] = &[
    cpu("loadr-fast", "wrk", 0.75),
    cpu("loadr-fast", "oha", 0.70),
];

/// The row that no ratio is in: the memory of idle users.
pub(crate) const IDLE: &str = "idle";
pub(crate) const IDLE_WHAT: &str = "9,500 idle users with open connections";
/// As many as fit into 20,000 open files, which many machines stop at.
pub(crate) const IDLE_VUS: u32 = 9_500;
pub(crate) const IDLE_BYTES_MAX: f64 = 1500.0;

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "plain",
        what: "64 connections, a response of 100 bytes",
        sides: &[
            side("loadr-fast", Who::Loadr, 64),
            side("floor", Who::Floor, 64),
            side("wrk", Who::Wrk, 64),
            side("oha", Who::Oha, 64),
        ],
        goals: &[
            cpu("loadr-fast", "floor", 1.08),
            cpu("loadr-fast", "wrk", 0.72),
            cpu("loadr-fast", "oha", 0.50),
        ],
    },
    Row {
        name: "1000",
        what: "1,000 connections",
        sides: &[
            side("loadr-fast", Who::Loadr, 1000),
            side("wrk", Who::Wrk, 1000),
        ],
        goals: &[cpu("loadr-fast", "wrk", 0.70)],
    },
    Row {
        name: "5000",
        what: "5,000 connections",
        sides: &[
            side("loadr-fast", Who::Loadr, 5000),
            side("wrk", Who::Wrk, 5000),
            side("floor", Who::Floor, 5000),
        ],
        goals: &[
            rate("wrk", "loadr-fast", 0.52),
            beside(Figure::RequestsPerSecond, "wrk", "floor"),
        ],
    },
    Row {
        name: "plugin",
        what: "64, each request calls a WASM plugin on a body of 1 KiB",
        sides: &[
            planned("without plugin", "order-without-plugin.yaml"),
            planned("with plugin", "order-with-plugin.yaml"),
        ],
        goals: &[rate("without plugin", "with plugin", 1.20)],
    },
    Row {
        name: "correlation",
        what: "64, JSON posted, JSONPath, a header from it",
        sides: &[
            planned("correlation", "correlation.yaml"),
            side("floor", Who::Floor, 64),
        ],
        goals: &[cpu("correlation", "floor", 1.6)],
    },
    Row {
        name: "pipeline",
        what: "64, 16 requests at once on each",
        sides: &[
            planned("pipelined", "pipelined.yaml"),
            side("one at a time", Who::Loadr, 64),
        ],
        goals: &[cpu("pipelined", "one at a time", 0.22)],
    },
    Row {
        name: "tls",
        what: "64, TLS 1.3",
        sides: &over_tls(Target::Tls),
        goals: TLS_GOALS,
    },
    Row {
        name: "nginx",
        what: "64, TLS 1.3, nginx, which is slower than its clients",
        sides: &over_tls(Target::Nginx),
        goals: TLS_GOALS,
    },
    Row {
        name: "shards",
        what: "64, two shards on two cores and one on one, the target on the same cores",
        sides: &[
            placed(side("two shards", Who::Loadr, 64), Target::TogetherOnBoth),
            placed(side("one shard", Who::Loadr, 64), Target::Together),
            Side {
                is_split: true,
                ..placed(
                    side("two processes", Who::Loadr, 64),
                    Target::TogetherOnBoth,
                )
            },
        ],
        goals: &[
            cpu("two shards", "one shard", 1.05),
            // What two that share nothing cost on the same cores is the machine's doing.
            cpu("two shards", "two processes", 1.05),
            beside(Figure::CpuPerRequest, "two processes", "one shard"),
        ],
    },
    Row {
        name: "16k",
        what: "64, bodies of 16 KiB",
        sides: &[
            Side {
                path: "/bytes/16384",
                ..side("loadr-fast", Who::Loadr, 64)
            },
            Side {
                path: "/bytes/16384",
                ..side("wrk", Who::Wrk, 64)
            },
        ],
        goals: &[cpu("loadr-fast", "wrk", 1.0)],
    },
    Row {
        name: "1m",
        what: "64, bodies of 1 MiB",
        sides: &[
            Side {
                path: "/bytes/1048576",
                ..side("loadr-fast", Who::Loadr, 64)
            },
            Side {
                path: "/bytes/1048576",
                ..side("wrk", Who::Wrk, 64)
            },
        ],
        goals: &[cpu("loadr-fast", "wrk", 1.0)],
    },
];
