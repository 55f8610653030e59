//! Pass or fail rules over metrics.

use std::time::Duration;

use super::Location;

/// A pass or fail rule over a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The metric's name, such as `http_req_duration`; one of those the engine has.
    pub metric: String,
    /// Tags that a series must carry to count.
    pub tags: Vec<(String, String)>,
    /// As written, such as `p(95)<400`.
    pub expression: String,
    /// The figure on the left.
    pub aggregation: Aggregation,
    /// The comparison.
    pub comparison: Comparison,
    /// The bound; milliseconds for trends.
    pub bound: f64,
    /// End the run as soon as it fails.
    pub abort_on_fail: bool,
    /// How long after the run's start `abort_on_fail` begins to act.
    pub delay_abort_eval: Duration,
    /// Where it is written.
    pub location: Location,
}

impl Threshold {
    /// The metric with its selectors, as a person would write it.
    #[must_use]
    pub fn label(&self) -> String {
        if self.tags.is_empty() {
            return self.metric.clone();
        }
        let tags: Vec<String> = self.tags.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        format!("{}{{{}}}", self.metric, tags.join(","))
    }
}

/// The figure that a threshold judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregation {
    /// Trend: mean.
    Avg,
    /// Trend or gauge: smallest.
    Min,
    /// Trend or gauge: largest.
    Max,
    /// Trend: `p(50)`.
    Med,
    /// Trend: this percentile, 0 to 100.
    Percentile(f64),
    /// Rate: share of passes, 0 to 1; counter: per second.
    Rate,
    /// Counter, rate or trend: how many.
    Count,
    /// Gauge: last value.
    Value,
}

/// How a figure is held against its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}
