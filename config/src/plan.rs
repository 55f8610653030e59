//! The plan as written, in types: what the reader makes of the effective document and the compiler makes a Program of.
//! Texts are as the user wrote them, placeholders and all, and know their place.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::node::{At, Node};
use crate::program::{
    Cast, Constant, DataMode, DataPick, InstancePer, OnEof, OnFailure, Pause, Pick, Strategy,
    TlsVersion,
};

/// Text and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) at: At,
}

/// An entry of a mapping from names to texts; the name's place is the key's.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) name: Text,
    pub(crate) value: Text,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<Text>,
    pub(crate) base_url: Option<Text>,
    pub(crate) headers: Vec<Pair>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) http: Http,
    pub(crate) tags: Vec<Pair>,
    /// After every request of a scenario that has none of its own.
    pub(crate) think_time: Option<Think>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) data: Vec<Data>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) capacity: Option<Capacity>,
    pub(crate) outputs: Vec<Output>,
    /// The plan's own metrics: their names.
    pub(crate) metrics: Vec<Text>,
    pub(crate) engine: Engine,
}

/// `capacity`, as it is written.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    pub(crate) slos: Vec<Text>,
    pub(crate) min_rate: Option<Text>,
    pub(crate) max_rate: Option<Text>,
    pub(crate) precision: Option<Text>,
    pub(crate) step_duration: Option<Text>,
    pub(crate) confirm: Option<Text>,
    pub(crate) target: Option<Text>,
    pub(crate) growth: Option<Text>,
    pub(crate) scenario: Option<Text>,
}

/// `engine`.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) cores: Option<Text>,
    pub(crate) source_ips: Vec<Text>,
    pub(crate) spin: Option<Duration>,
    /// With where it is said.
    pub(crate) pipeline: Option<(u32, At)>,
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) headers_max: Option<u32>,
}

/// The rest of `defaults.http`.
#[derive(Debug, Default)]
pub(crate) struct Http {
    pub(crate) follow_redirects: Option<bool>,
    pub(crate) max_redirects: Option<u32>,
    pub(crate) compression: Option<bool>,
    pub(crate) keep_alive: Option<bool>,
    pub(crate) cookies: Option<bool>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) cache: bool,
    pub(crate) tracing: bool,
    pub(crate) proxy: Option<Text>,
    pub(crate) dns_ttl: Option<Duration>,
    pub(crate) hosts: Vec<Pair>,
    pub(crate) tls: Tls,
}

/// `defaults.http.tls`.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    pub(crate) at: Option<At>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) ca_file: Option<Text>,
    pub(crate) cert_file: Option<Text>,
    pub(crate) key_file: Option<Text>,
    pub(crate) server_name: Option<Text>,
    pub(crate) min_version: Option<TlsVersion>,
    pub(crate) max_version: Option<TlsVersion>,
}

#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) value: Node,
}

#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) name: Text,
    pub(crate) from: SecretFrom,
}

#[derive(Debug)]
pub(crate) enum SecretFrom {
    Env(Text),
    File(Text),
}

/// A source of `data`.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) name: Text,
    /// `None` when it could not be read; its uses are no errors then.
    pub(crate) rows: Option<Rows>,
    pub(crate) mode: DataMode,
    pub(crate) pick: DataPick,
    pub(crate) on_eof: OnEof,
}

/// Where a source's rows are.
#[derive(Debug)]
pub(crate) enum Rows {
    Csv {
        path: Text,
        delimiter: Option<Text>,
        has_header: bool,
    },
    Json {
        path: Text,
    },
    Inline {
        rows: Vec<Node>,
        at: At,
    },
}

/// An entry of `outputs`.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) at: At,
    pub(crate) to: OutputTo,
}

#[derive(Debug)]
pub(crate) enum OutputTo {
    Json {
        path: Text,
        samples: bool,
    },
    Csv {
        path: Text,
    },
    Prometheus {
        listen: Option<Text>,
        is_native: bool,
        linger: Option<Duration>,
        url: Option<Text>,
        receiver: Receiver,
    },
    Otlp {
        url: Text,
        receiver: Receiver,
    },
    InfluxDb(Box<InfluxDb>),
    Statsd {
        address: Text,
        prefix: Option<Text>,
        by_name: bool,
    },
}

/// An InfluxDB of version 1, or from version 2 on.
#[derive(Debug)]
pub(crate) struct InfluxDb {
    pub(crate) url: Text,
    pub(crate) database: Option<Text>,
    pub(crate) username: Option<Text>,
    pub(crate) password: Option<Text>,
    pub(crate) org: Option<Text>,
    pub(crate) bucket: Option<Text>,
    pub(crate) token: Option<Text>,
    pub(crate) receiver: Receiver,
}

/// What every output has that delivers over HTTP.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) headers: Vec<Pair>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ca_file: Option<Text>,
    pub(crate) insecure_skip_verify: bool,
}

#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: Text,
    pub(crate) path: Option<Text>,
    pub(crate) config: Map<String, Json>,
    pub(crate) call_timeout: Option<Duration>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) instance: InstancePer,
}

#[derive(Debug)]
pub(crate) struct Threshold {
    /// The mapping's key: the metric and its tags.
    pub(crate) selector: Text,
    pub(crate) expression: Text,
    pub(crate) abort_on_fail: bool,
    pub(crate) delay_abort_eval: Duration,
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) at: At,
    /// `None` when it could not be read; the flow is still worth compiling for its errors.
    pub(crate) executor: Option<Load>,
    pub(crate) pacing: Option<Rate>,
    pub(crate) throttle: Option<Rate>,
    pub(crate) start_time: Duration,
    pub(crate) graceful_stop: Option<Duration>,
    pub(crate) tags: Vec<Pair>,
    /// After every request.
    pub(crate) think_time: Option<Think>,
    pub(crate) flow: Vec<Step>,
}

/// An executor and the places of what must fit together in it.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) executor: crate::program::Executor,
    /// Of the scenario's value.
    pub(crate) at: At,
    pub(crate) stages_at: Option<At>,
    pub(crate) max_vus_at: Option<At>,
    /// The highest rate is judged where it is.
    pub(crate) rate_at: Option<At>,
}

/// So many in a second, and where that is written.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) at: At,
}

#[derive(Debug)]
pub(crate) enum Step {
    Request(Box<Request>),
    Think(Think),
    Group {
        name: Option<Text>,
        steps: Vec<Step>,
    },
    Repeat {
        times: u64,
        counter: Option<Text>,
        steps: Vec<Step>,
    },
    During {
        duration: Duration,
        counter: Option<Text>,
        steps: Vec<Step>,
    },
    ForEach {
        items: Items,
        var: Option<Text>,
        index: Option<Text>,
        steps: Vec<Step>,
    },
    Random {
        strategy: Strategy,
        choices: Vec<(f64, Vec<Step>)>,
        at: At,
    },
    Switch {
        value: Text,
        cases: Vec<(String, Vec<Step>)>,
        default: Vec<Step>,
    },
    Retry {
        times: u64,
        backoff: Duration,
        steps: Vec<Step>,
    },
    Parallel {
        branches: Vec<Vec<Step>>,
        at: At,
    },
    Rendezvous(Rendezvous),
}

/// A meeting of virtual users.
#[derive(Clone, Debug)]
pub(crate) struct Rendezvous {
    pub(crate) name: Text,
    pub(crate) users: u32,
    pub(crate) timeout: Option<Duration>,
}

impl Step {
    /// The lists of steps in it.
    pub(crate) fn inner(&self) -> Vec<&[Step]> {
        match self {
            Step::Request(_) | Step::Think(_) | Step::Rendezvous(_) => Vec::new(),
            Step::Group { steps, .. }
            | Step::Repeat { steps, .. }
            | Step::During { steps, .. }
            | Step::ForEach { steps, .. }
            | Step::Retry { steps, .. } => vec![steps],
            Step::Random { choices, .. } => choices.iter().map(|(_, s)| s.as_slice()).collect(),
            Step::Parallel { branches, .. } => branches.iter().map(Vec::as_slice).collect(),
            Step::Switch { cases, default, .. } => {
                let cases = cases.iter().map(|(_, steps)| steps.as_slice());
                cases.chain([default.as_slice()]).collect()
            }
        }
    }
}

/// A pause and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Think {
    pub(crate) pause: Pause,
    pub(crate) at: At,
}

#[derive(Debug)]
pub(crate) enum Items {
    /// Each with whether it is JSON of another type than text.
    List(Vec<(Text, bool)>),
    Json(Text),
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) at: At,
    pub(crate) name: Option<Text>,
    pub(crate) method: Option<Text>,
    /// `None` when it is missing; the rest is still worth compiling for its errors.
    pub(crate) url: Option<Text>,
    pub(crate) params: Vec<Pair>,
    pub(crate) headers: Vec<Pair>,
    pub(crate) body: Option<Body>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) follow_redirects: Option<bool>,
    pub(crate) tags: Vec<Pair>,
    pub(crate) extracts: Vec<Extract>,
    pub(crate) asserts: Vec<Condition>,
    pub(crate) checks: Vec<Condition>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Text(Text),
    Json(Node, At),
    Form(Vec<Pair>),
    File(Text),
    Multipart(Vec<Part>),
}

/// One part of a multipart body.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) at: At,
    pub(crate) name: Option<Text>,
    pub(crate) value: Option<Text>,
    pub(crate) file: Option<Text>,
    pub(crate) filename: Option<Text>,
    pub(crate) content_type: Option<Text>,
}

#[derive(Debug)]
pub(crate) struct Extract {
    pub(crate) name: Text,
    pub(crate) default: Option<Constant>,
    pub(crate) pick: Pick,
    pub(crate) source: ExtractSource,
    /// Of a chain.
    pub(crate) refine: Option<Refine>,
}

/// What a chain does with the value it found.
#[derive(Debug)]
pub(crate) struct Refine {
    pub(crate) transforms: Vec<Transform>,
    pub(crate) cast: Option<Cast>,
    pub(crate) check: Option<ValueCheck>,
}

#[derive(Debug)]
pub(crate) enum Transform {
    /// One of those that take nothing.
    Word(Text),
    Append(Text),
    Prepend(Text),
    /// What is replaced and by what: two texts, if it is sound.
    Replace(Vec<String>, At),
    /// The first character and how many: one or two numbers, if it is sound.
    Substring(Vec<u64>, At),
}

#[derive(Debug)]
pub(crate) struct ValueCheck {
    pub(crate) at: At,
    pub(crate) equals: Option<Text>,
    pub(crate) matches: Option<Text>,
    pub(crate) one_of: Vec<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) not_empty: bool,
    pub(crate) on_failure: OnFailure,
}

#[derive(Debug)]
pub(crate) enum ExtractSource {
    Regex {
        expression: Text,
        group: usize,
    },
    Header(Text),
    Boundary {
        left: String,
        right: String,
    },
    Plugin(PluginCall),
    JsonPath(Text),
    JmesPath(Text),
    XPath(Text),
    Css {
        expression: Text,
        attribute: Option<Text>,
    },
    /// A chain that has none, or several: their keys.
    NotOne(Vec<&'static str>, At),
}

#[derive(Debug)]
pub(crate) struct PluginCall {
    pub(crate) plugin: Text,
    pub(crate) config: Map<String, Json>,
    /// The whole step's place.
    pub(crate) at: At,
}

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) at: At,
    pub(crate) name: Option<Text>,
    /// With the key's place.
    pub(crate) on_failure: Option<(OnFailure, At)>,
    pub(crate) test: Test,
}

#[derive(Debug)]
pub(crate) enum Test {
    Status {
        equals: Option<u16>,
        one_of: Option<Vec<u16>>,
        matches: Option<Text>,
    },
    BodyContains {
        value: Text,
        negate: bool,
    },
    BodyMatches {
        pattern: Text,
        negate: bool,
    },
    Plugin(PluginCall),
    JsonPath {
        expression: Text,
        wants: Wants,
    },
    XPath {
        expression: Text,
        wants: Wants,
    },
    DurationMax(Duration),
    Size {
        min: Option<u64>,
        max: Option<u64>,
        equals: Option<u64>,
    },
    Header {
        header: Text,
        wants: Wants,
    },
}

#[derive(Debug)]
pub(crate) struct Wants {
    pub(crate) exists: Option<bool>,
    pub(crate) equals: Option<Text>,
    pub(crate) contains: Option<Text>,
}
