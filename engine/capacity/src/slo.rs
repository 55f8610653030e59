//! An objective as a share: what fraction of the requests may be bad.

use serde::{Deserialize, Serialize};

/// What must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// As a person would write it: `http_req_response: p(99)<50ms`.
    pub text: String,
    /// The share that may be bad, from 0 (none may) to below 1.
    pub allowed: f64,
    /// The percentile, for one on durations: 99 for `p(99)`.
    pub percentile: Option<f64>,
    /// The duration, in milliseconds, for one on durations.
    pub bound_ms: Option<f64>,
    /// Whether nobody asked for it: that most requests do not fail is always an objective.
    pub is_implied: bool,
}
