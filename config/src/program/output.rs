//! Where the figures of a run go while it goes on.

use std::path::PathBuf;
use std::time::Duration;

use super::Location;
use crate::secret::Hidden;

/// An entry of `outputs`.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where it is in the plan, for errors about what cannot be opened.
    pub location: Location,
    /// What it is to people: its type and where it leads, without secrets.
    pub shown: String,
    /// Where it leads.
    pub to: OutputTo,
}

/// Where an output leads.
#[derive(Clone, Debug)]
pub enum OutputTo {
    /// A file of JSON lines.
    Json {
        /// The file.
        path: PathBuf,
        /// Whether each request gets a line of its own.
        samples: bool,
    },
    /// A file of comma-separated values.
    Csv {
        /// The file.
        path: PathBuf,
    },
    /// An endpoint that Prometheus scrapes.
    PrometheusScrape {
        /// Host and port to listen at.
        listen: String,
        /// How distributions are told.
        histograms: Histograms,
        /// How long the end of the run waits for a last scrape.
        linger: Duration,
    },
    /// A receiver of Prometheus remote writes.
    PrometheusWrite {
        /// The receiver.
        receiver: Receiver,
        /// How distributions are told.
        histograms: Histograms,
    },
    /// A receiver of OTLP metrics over HTTP.
    Otlp(Receiver),
    /// An InfluxDB.
    InfluxDb {
        /// Where lines are written to, query and all.
        receiver: Receiver,
        /// What is asked of it first: the URL of the statement that makes the database, where there is one to make.
        create: Option<Hidden>,
    },
    /// A StatsD server.
    Statsd {
        /// Host and port.
        address: String,
        /// What each name begins with.
        prefix: String,
        /// How tags are told.
        tags: StatsdTags,
    },
}

/// Who takes deliveries over HTTP.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The URL, which may hold secrets.
    pub url: Hidden,
    /// Its host, for connecting before the run.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// Header fields; values may hold secrets.
    pub headers: Vec<(String, Hidden)>,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// Certificates that the receiver's is held to; the system's when there are none.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// How Prometheus is told distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histograms {
    /// Fixed buckets.
    Classic,
    /// Exponential ones, in one series.
    Native,
}

/// How a StatsD server is told tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsdTags {
    /// `|#key:value,…`, as DogStatsD has it.
    Dogstatsd,
    /// Their values are parts of the name.
    Name,
}
