//! The tables of a plan's outer parts: top level, defaults, plugins, thresholds.

use std::time::Duration;

use super::data::{A_SECRET, A_SOURCE};
use super::engine::ENGINE;
use super::output::AN_OUTPUT;
use super::scenario::{SCENARIO, THINK_TIME};
use super::{Choice, Key, Kind, Status, Table, key, not_yet, only, required, word};
use crate::units::MAX_DURATION;

pub(super) const MOMENT: Duration = Duration::from_nanos(1);
pub(super) const POSITIVE: Kind = Kind::Duration(MOMENT, MAX_DURATION);
pub(super) const ANY_DURATION: Kind = Kind::Duration(Duration::ZERO, MAX_DURATION);

/// The least memory a plugin can be held to: one page.
const MIN_PLUGIN_MEMORY: u64 = 64 << 10;
/// The most a 32-bit component can address.
const MAX_PLUGIN_MEMORY: u64 = 4 << 30;
/// Past this a call would outlast any request.
const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(3600);

/// The whole document.
pub(crate) static PLAN: Table = Table {
    what: "a plan",
    groups: &[PLAN_KEYS],
};

const PLAN_KEYS: &[Key] = &[
    key(
        "name",
        Kind::Name,
        "What the run is called; the file's stem when absent",
    ),
    key("description", Kind::Text, "For people"),
    key(
        "defaults",
        Kind::Table(&DEFAULTS),
        "What holds for every request",
    ),
    key(
        "env",
        Kind::Map(&Kind::Overlay),
        "Partial plans, laid over this one with `-e NAME`",
    ),
    key(
        "variables",
        Kind::Map(&Kind::Any),
        "Constants: `${vars.NAME}`",
    ),
    key(
        "secrets",
        Kind::Map(&A_SECRET),
        "Values that are never shown: `${secrets.NAME}`",
    ),
    key(
        "data",
        Kind::Map(&A_SOURCE),
        "Tables to take rows from: `${data.SOURCE.COLUMN}`",
    ),
    key(
        "metrics",
        Kind::Map(&Kind::Any),
        "Metrics of the plan's own: only scripts fill them, and there are none here, so that they stay empty",
    ),
    required(
        "scenarios",
        Kind::SomeMap(&A_SCENARIO),
        "What runs: all of them at once",
    ),
    key(
        "thresholds",
        Kind::Map(&THRESHOLD_LIST),
        "What must hold for the run to pass",
    ),
    key(
        "outputs",
        Kind::List(&AN_OUTPUT),
        "Where the figures of each second go",
    ),
    key(
        "plugins",
        Kind::List(&A_PLUGIN),
        "The plugins that steps use",
    ),
    key(
        "engine",
        Kind::Table(&ENGINE),
        "How the generator itself runs",
    ),
    key(
        "capacity",
        Kind::Table(&CAPACITY),
        "What `loadr-fast capacity` looks for; `run` passes it over",
    ),
    not_yet("js", NO_SCRIPT, "A script"),
    not_yet(
        "observe",
        "watch the target with its own tools",
        "Metrics of the target",
    ),
];

pub(super) const NO_SCRIPT: &str =
    "there is no script engine; a plugin of kind `extractor` or `assertion` computes on responses";

static CAPACITY: Table = Table {
    what: "`capacity`",
    groups: &[CAPACITY_KEYS],
};

const CAPACITY_KEYS: &[Key] = &[
    key(
        "slo",
        Kind::OneOrMore(&Kind::Name),
        "What must hold: `p(99)<50ms`, `http_req_failed<0.01`, `checks>0.99`",
    ),
    key("min_rate", Kind::Name, "The first rate, such as `10/s`"),
    key("max_rate", Kind::Name, "The highest rate that is tried"),
    key(
        "precision",
        Kind::Name,
        "How close to the boundary is close enough, such as `2%`",
    ),
    key(
        "step_duration",
        Kind::Name,
        "The judged time of a probe, in whole seconds",
    ),
    key(
        "confirm",
        Kind::Name,
        "The judged time of the probe that confirms, in whole seconds",
    ),
    key(
        "target",
        Kind::Name,
        "A rate to compare with, such as `1500/s`",
    ),
    key("growth", Kind::Name, "Its growth a month, such as `3%`"),
    key(
        "scenario",
        Kind::Name,
        "Whose flow is driven, where there are several",
    ),
];

static DEFAULTS: Table = Table {
    what: "`defaults`",
    groups: &[DEFAULTS_KEYS],
};

const DEFAULTS_KEYS: &[Key] = &[
    key("http", Kind::Table(&HTTP), "HTTP settings"),
    key("tags", Kind::Map(&Kind::Template), "Tags on every sample"),
    key(
        "think_time",
        Kind::Union(&THINK_TIME),
        "A pause after every request",
    ),
];

static HTTP: Table = Table {
    what: "`defaults.http`",
    groups: &[HTTP_KEYS],
};

/// The most that `max_redirects` may be.
const MAX_REDIRECTS: u64 = 100;

const HTTP_KEYS: &[Key] = &[
    key(
        "base_url",
        Kind::Template,
        "What relative URLs are relative to",
    ),
    key(
        "headers",
        Kind::Map(&Kind::Template),
        "Header fields of every request; a request's own go over them",
    ),
    key(
        "timeout",
        POSITIVE,
        "From a request's start to the last byte of its response; 30s",
    ),
    key(
        "connect_timeout",
        POSITIVE,
        "From a connection's start until it can carry a request, its proxy's tunnel and TLS included; never longer than `timeout`, and as long when absent",
    ),
    key(
        "follow_redirects",
        Kind::Flag,
        "Whether redirects are followed; true",
    ),
    key(
        "max_redirects",
        Kind::Count(0, MAX_REDIRECTS),
        "The most redirects that a request follows; 10",
    ),
    only(
        "version",
        Kind::Word(VERSIONS),
        &["auto", "http1"],
        "this version speaks HTTP/1.1: write `http1`",
        "The HTTP version",
    ),
    key(
        "compression",
        Kind::Flag,
        "Whether compressed responses are asked for and decoded; true",
    ),
    key(
        "keep_alive",
        Kind::Flag,
        "Whether connections are used again; true",
    ),
    key(
        "proxy",
        Kind::Template,
        "A proxy that all requests go through: `http://HOST:PORT`, or `http://USER:PASSWORD@HOST:PORT`",
    ),
    key(
        "cookies",
        Kind::Flag,
        "Whether each virtual user keeps cookies (RFC 6265); true",
    ),
    key(
        "cache",
        Kind::Flag,
        "Whether each virtual user keeps responses and asks again only when it must (RFC 9111); false",
    ),
    key(
        "discard_response_bodies",
        Kind::Flag,
        "Whether bodies are dropped; those that nothing in their step reads always are, and those that something reads never",
    ),
    key(
        "tracing",
        Kind::Flag,
        "Whether each request that sets no `traceparent` carries a fresh one (W3C Trace Context); false",
    ),
    key(
        "hosts",
        Kind::Map(&Kind::Text),
        "Where a `host` or `host:port` is reached: an address with an optional port; `Host` and SNI stay",
    ),
    key(
        "dns",
        Kind::Table(&DNS),
        "How long looked-up names are good; for the whole run when absent",
    ),
    key("tls", Kind::Table(&TLS), "TLS settings"),
];

static DNS: Table = Table {
    what: "`dns`",
    groups: &[DNS_KEYS],
};

/// A shorter one would do nothing but look up.
const DNS_TTL_MIN: Duration = Duration::from_millis(100);

const DNS_KEYS: &[Key] = &[required(
    "ttl",
    Kind::Duration(DNS_TTL_MIN, MAX_DURATION),
    "How long new connections use an address before its name is looked up again",
)];

static TLS: Table = Table {
    what: "`tls`",
    groups: &[TLS_KEYS],
};

const TLS_KEYS: &[Key] = &[
    key(
        "insecure_skip_verify",
        Kind::Flag,
        "Whether any certificate is taken",
    ),
    key(
        "ca_file",
        Kind::Name,
        "The roots to trust, in PEM form; the system's when absent",
    ),
    key(
        "cert_file",
        Kind::Name,
        "The client's certificate, in PEM form",
    ),
    key("key_file", Kind::Name, "Its private key, in PEM form"),
    key(
        "server_name",
        Kind::Name,
        "What servers must be, and SNI says; the URL's host when absent",
    ),
    key(
        "min_version",
        Kind::Word(TLS_VERSIONS),
        "The oldest version to speak; 1.2",
    ),
    key(
        "max_version",
        Kind::Word(TLS_VERSIONS),
        "The newest version to speak; 1.3",
    ),
];

const TLS_VERSIONS: &[Choice] = &[word("1.2"), word("1.3")];

const VERSIONS: &[Choice] = &[
    word("auto"),
    word("http1"),
    Choice {
        name: "http2",
        status: Status::NotYet("write `http1`"),
    },
    Choice {
        name: "http2-prior-knowledge",
        status: Status::NotYet("write `http1`"),
    },
];

static PLUGIN: Table = Table {
    what: "a plugin",
    groups: &[PLUGIN_KEYS],
};

const PLUGIN_KEYS: &[Key] = &[
    required("name", Kind::Name, "What steps call it"),
    key(
        "path",
        Kind::Name,
        "The component or package; the installed plugin of this name when absent",
    ),
    key("config", Kind::Object, "Laid over the manifest's `config`"),
    only(
        "enabled",
        Kind::Flag,
        &["true"],
        "take the plugin out of the list",
        "Whether it is loaded",
    ),
    key("limits", Kind::Table(&LIMITS), "What a call may use"),
    key(
        "instance",
        Kind::Word(INSTANCES),
        "Who shares an instance, and what it remembers: a core's virtual users, one of them, nobody; shared",
    ),
];

const INSTANCES: &[Choice] = &[word("shared"), word("vu"), word("call")];

static LIMITS: Table = Table {
    what: "`limits`",
    groups: &[LIMITS_KEYS],
};

const LIMITS_KEYS: &[Key] = &[
    key(
        "call_timeout",
        Kind::Duration(MOMENT, MAX_CALL_TIMEOUT),
        "The longest a call may take; 50ms",
    ),
    key(
        "memory",
        Kind::Size(MIN_PLUGIN_MEMORY, MAX_PLUGIN_MEMORY),
        "The most memory it may have; 64MiB",
    ),
];

static THRESHOLD: Table = Table {
    what: "a threshold",
    groups: &[THRESHOLD_KEYS],
};

const THRESHOLD_KEYS: &[Key] = &[
    required("threshold", Kind::Name, "The rule, such as `p(95)<400`"),
    key(
        "abort_on_fail",
        Kind::Flag,
        "Whether the run ends as soon as it fails",
    ),
    key(
        "delay_abort_eval",
        ANY_DURATION,
        "How long after the start that begins",
    ),
];

static A_PLUGIN: Kind = Kind::Table(&PLUGIN);
static A_SCENARIO: Kind = Kind::Union(&SCENARIO);
static A_THRESHOLD: Kind = Kind::Table(&THRESHOLD);
static THRESHOLD_OR_TEXT: Kind = Kind::TextOr(&A_THRESHOLD);
static THRESHOLD_LIST: Kind = Kind::OneOrMore(&THRESHOLD_OR_TEXT);
