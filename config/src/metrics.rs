//! The metrics that a run has, for thresholds and for whoever prints them.

/// What kind of figure a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A sum.
    Counter,
    /// A last value.
    Gauge,
    /// A share of passes, 0 to 1.
    Rate,
    /// A distribution of times.
    Trend,
}

impl MetricKind {
    /// The word for it: `counter`, `gauge`, `rate`, `trend`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Rate => "rate",
            Self::Trend => "trend",
        }
    }
}

use MetricKind::{Counter, Gauge, Rate, Trend};

/// Every metric and its kind.
pub const METRICS: &[(&str, MetricKind)] = &[
    ("http_reqs", Counter),
    ("http_req_duration", Trend),
    ("http_req_response", Trend),
    ("http_req_blocked", Trend),
    ("http_req_connecting", Trend),
    ("http_req_tls_handshaking", Trend),
    ("http_req_sending", Trend),
    ("http_req_waiting", Trend),
    ("http_req_receiving", Trend),
    ("http_req_failed", Rate),
    ("http_cache_hits", Counter),
    ("http_stale_retries", Counter),
    ("iterations", Counter),
    ("iteration_duration", Trend),
    ("dropped_iterations", Counter),
    ("vus", Gauge),
    ("vus_max", Gauge),
    ("checks", Rate),
    ("data_sent", Counter),
    ("data_received", Counter),
    ("plugin_calls", Counter),
    ("plugin_errors", Counter),
    ("plugin_duration", Trend),
    ("generator_lag", Trend),
    ("generator_cpu", Gauge),
];

/// The tags that the engine itself puts on samples.
pub const BUILT_IN_TAGS: &[&str] = &[
    "scenario",
    "name",
    "method",
    "status",
    "group",
    "check",
    "error_kind",
    "plugin",
];
