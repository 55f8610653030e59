//! The plan's thresholds, judged on merged series.

use loadr_config::{Aggregation, Comparison, METRICS, MetricKind, Program, Threshold};

use crate::aggregate::Aggregate;
use crate::metrics::{Series, Trend, Values};

/// What came of one threshold.
#[derive(Clone, Debug)]
pub struct ThresholdResult {
    /// The metric with its selectors, as a person would write it.
    pub metric: String,
    /// As in the plan.
    pub expression: String,
    /// The figure; `None` without samples.
    pub observed: Option<f64>,
    /// Whether it holds; without samples it does.
    pub passed: bool,
    /// Whether its failure ends the run.
    pub abort_on_fail: bool,
}

/// Judges every threshold.
pub(crate) fn judge_all(program: &Program, aggregate: &Aggregate) -> Vec<ThresholdResult> {
    program
        .thresholds
        .iter()
        .map(|threshold| judge(threshold, aggregate))
        .collect()
}

/// The first failed threshold that ends the run, if its time has come.
pub(crate) fn first_to_abort(aggregate: &Aggregate) -> Option<String> {
    aggregate
        .program
        .thresholds
        .iter()
        .filter(|t| t.abort_on_fail && aggregate.elapsed_secs() >= t.delay_abort_eval.as_secs_f64())
        // A count of one segment says nothing about that of all; percentiles and shares do.
        .filter(|t| aggregate.is_whole() || !is_of_all(t))
        .map(|threshold| judge(threshold, aggregate))
        .find(|result| !result.passed)
        .map(|result| format!("{}: {}", result.metric, result.expression))
}

/// Whether it is about how much there is of something, over all segments.
fn is_of_all(threshold: &Threshold) -> bool {
    let named = METRICS.iter().find(|(name, _)| *name == threshold.metric);
    let kind = named.map(|(_, kind)| *kind);
    threshold.aggregation == Aggregation::Count
        || matches!(kind, Some(MetricKind::Counter))
        || matches!(&*threshold.metric, "vus" | "vus_max")
}

fn judge(threshold: &Threshold, aggregate: &Aggregate) -> ThresholdResult {
    let mut sum = Sum::default();
    aggregate.for_each_series(|series| {
        let matches = |(key, value): &(String, String)| series.tag(key) == Some(value);
        if series.metric == threshold.metric && threshold.tags.iter().all(matches) {
            sum.add(series);
        }
    });
    judge_sum(threshold, &sum, aggregate.elapsed_secs())
}

/// Judges the series that a threshold is about, merged.
pub(crate) fn judge_sum(threshold: &Threshold, sum: &Sum, elapsed_secs: f64) -> ThresholdResult {
    let observed = sum.figure(threshold.aggregation, elapsed_secs);
    let bound = threshold.bound;
    let passed = observed.is_none_or(|figure| match threshold.comparison {
        Comparison::Less => figure < bound,
        Comparison::LessOrEqual => figure <= bound,
        Comparison::Greater => figure > bound,
        Comparison::GreaterOrEqual => figure >= bound,
        Comparison::Equal => (figure - bound).abs() <= f64::EPSILON * bound.abs(),
        Comparison::NotEqual => (figure - bound).abs() > f64::EPSILON * bound.abs(),
    });
    ThresholdResult {
        metric: threshold.label(),
        expression: threshold.expression.clone(),
        observed,
        passed,
        abort_on_fail: threshold.abort_on_fail,
    }
}

/// Several series of one metric, merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) trend: Option<Trend>,
    pub(crate) counter: Option<u64>,
    /// Passes and all.
    pub(crate) rate: Option<(u64, u64)>,
    /// Last (added up), smallest, largest.
    pub(crate) gauge: Option<(f64, f64, f64)>,
}

impl Sum {
    pub(crate) fn add(&mut self, series: &Series<'_>) {
        // Not through a `Sum` of its own: a trend would be copied for it.
        if let Values::Trend(trend) = series.values {
            return self.trend.get_or_insert_default().add(trend);
        }
        let mut one = Self::default();
        match series.values {
            Values::Trend(_) => {}
            Values::Counter(count) => one.counter = Some(count),
            Values::Rate { passes, count } => one.rate = Some((passes, count)),
            Values::Gauge { last, min, max } => one.gauge = Some((last, min, max)),
        }
        self.merge(&one);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(trend) = &other.trend {
            self.trend.get_or_insert_default().add(trend);
        }
        if let Some(count) = other.counter {
            *self.counter.get_or_insert_default() += count;
        }
        if let Some((passes, count)) = other.rate {
            let rate = self.rate.get_or_insert_default();
            rate.0 += passes;
            rate.1 += count;
        }
        if let Some((last, min, max)) = other.gauge {
            self.gauge = Some(match self.gauge {
                None => (last, min, max),
                // One series a shard: the busiest is what counts.
                Some(g) => (g.0.max(last), g.1.min(min), g.2.max(max)),
            });
        }
    }

    fn figure(&self, aggregation: Aggregation, elapsed_secs: f64) -> Option<f64> {
        if let Some(trend) = self.trend.as_ref().filter(|t| t.count() > 0) {
            return Some(match aggregation {
                Aggregation::Avg => trend.mean_ms(),
                Aggregation::Min => trend.min_ms(),
                Aggregation::Max => trend.max_ms(),
                Aggregation::Med => trend.percentile_ms(50.0),
                Aggregation::Percentile(p) => trend.percentile_ms(p),
                Aggregation::Count => trend.count() as f64,
                Aggregation::Rate | Aggregation::Value => return None,
            });
        }
        if let Some((passes, count)) = self.rate.filter(|r| r.1 > 0) {
            return Some(match aggregation {
                Aggregation::Count => count as f64,
                _ => passes as f64 / count as f64,
            });
        }
        if let Some(count) = self.counter {
            return Some(match aggregation {
                Aggregation::Rate => count as f64 / elapsed_secs,
                _ => count as f64,
            });
        }
        let (last, min, max) = self.gauge?;
        Some(match aggregation {
            Aggregation::Min => min,
            Aggregation::Max => max,
            _ => last,
        })
    }
}
