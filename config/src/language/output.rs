//! The tables of `outputs`: where the figures of each second go.

use std::time::Duration;

use super::plan::ANY_DURATION;
use super::{Choice, Key, Kind, Status, Table, Union, Variant, key, required, word};

pub(super) static AN_OUTPUT: Kind = Kind::Union(&OUTPUT);

static OUTPUT: Union = Union {
    what: "an output",
    tag: "type",
    lenient: true,
    variants: &[
        ready("json", &JSON),
        ready("csv", &CSV),
        ready("prometheus", &PROMETHEUS),
        ready("otlp", &OTLP),
        ready("influxdb", &INFLUXDB),
        ready("statsd", &STATSD),
        not_here("prometheus-remote-write", WRITES),
        not_here("experimental-prometheus-rw", WRITES),
        not_here("opentelemetry", "`type: otlp` does that"),
        not_here(
            "datadog",
            "its agent takes `type: statsd`, which has its tags unless `tags: name` is set",
        ),
        not_here(
            "graphite",
            "`type: statsd` with `tags: name` does, through a StatsD server",
        ),
        not_here("cloud", HERE),
        not_here("elasticsearch", HERE),
        not_here("html", FILES),
        not_here("junit", FILES),
        not_here("kafka", HERE),
        not_here("newrelic", "`type: otlp` with an `api-key` header does"),
        not_here("plugin", HERE),
        not_here("timescaledb", HERE),
    ],
    forms: &[],
};

const WRITES: &str = "`type: prometheus` with a `url` writes there";
const HERE: &str = "there are `json`, `csv`, `prometheus`, `otlp`, `influxdb` and `statsd`; most collectors take one of them";
const FILES: &str = "`--summary-export FILE` writes the results as JSON";

const fn ready(name: &'static str, table: &'static Table) -> Variant {
    Variant {
        name,
        table,
        status: Status::Ready,
    }
}

const fn not_here(name: &'static str, instead: &'static str) -> Variant {
    Variant {
        name,
        table: &NOTHING,
        status: Status::NotYet(instead),
    }
}

static NOTHING: Table = Table {
    what: "an output that is not available",
    groups: &[&[]],
};

static JSON: Table = Table {
    what: "a `json` output",
    groups: &[&[
        PATH,
        key(
            "samples",
            Kind::Flag,
            "Whether each request gets a line of its own beside those of each second; false",
        ),
    ]],
};

static CSV: Table = Table {
    what: "a `csv` output",
    groups: &[&[PATH]],
};

const PATH: Key = required(
    "path",
    Kind::Template,
    "The file, from the plan's folder; what was in it is replaced",
);

static PROMETHEUS: Table = Table {
    what: "a `prometheus` output",
    groups: &[
        &[
            key(
                "listen",
                Kind::Template,
                "The address, such as `127.0.0.1:9464`, at which `/metrics` can be scraped during the run",
            ),
            key(
                "histograms",
                Kind::Word(&[word("classic"), word("native")]),
                "How distributions are told: fixed buckets, or exponential ones; classic",
            ),
            key(
                "linger",
                ANY_DURATION,
                "How long the end of the run waits for a last scrape, where there were scrapes before; 15s",
            ),
            key(
                "url",
                Kind::Template,
                "Where to write to instead, such as `http://prometheus:9090/api/v1/write`",
            ),
        ],
        RECEIVER,
    ],
};

static OTLP: Table = Table {
    what: "an `otlp` output",
    groups: &[
        &[required(
            "url",
            Kind::Template,
            "The receiver, such as `http://collector:4318`; `/v1/metrics` is added where it has no path",
        )],
        RECEIVER,
    ],
};

static INFLUXDB: Table = Table {
    what: "an `influxdb` output",
    groups: &[
        &[
            required(
                "url",
                Kind::Template,
                "The server, such as `http://influx:8086`; without `database` or `bucket` its path names the database",
            ),
            key(
                "database",
                Kind::Template,
                "The database of a server of version 1; made where it is missing",
            ),
            key("username", Kind::Template, "Of a server of version 1"),
            key("password", Kind::Template, "Of a server of version 1"),
            key("org", Kind::Template, "The organization, from version 2 on"),
            key("bucket", Kind::Template, "The bucket, from version 2 on"),
            key(
                "token",
                Kind::Template,
                "What allows it, from version 2 on: `${secrets.NAME}`; the environment's `INFLUX_TOKEN` when absent",
            ),
        ],
        RECEIVER,
    ],
};

/// The longest that one delivery may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

const RECEIVER: &[Key] = &[
    key(
        "headers",
        Kind::Map(&Kind::Template),
        "Header fields of every delivery; may hold secrets",
    ),
    key(
        "timeout",
        Kind::Duration(Duration::from_millis(1), MAX_TIMEOUT),
        "How long one delivery may take; 3s",
    ),
    key(
        "ca_file",
        Kind::Template,
        "A PEM file with the certificates that the receiver's is held to",
    ),
    key(
        "insecure_skip_verify",
        Kind::Flag,
        "Whether any certificate will do; false",
    ),
];

static STATSD: Table = Table {
    what: "a `statsd` output",
    groups: &[&[
        required(
            "address",
            Kind::Template,
            "Host and port of the server, such as `127.0.0.1:8125`",
        ),
        key(
            "prefix",
            Kind::Template,
            "What each name begins with; `loadr.`",
        ),
        key(
            "tags",
            Kind::Word(TAGS),
            "Whether tags go the way of DogStatsD or as parts of the name; dogstatsd",
        ),
    ]],
};

const TAGS: &[Choice] = &[word("dogstatsd"), word("name")];
