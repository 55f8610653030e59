//! From series to the figures of the summary: each series for itself, and each metric over all its series.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::summary::{Aggregates, MetricSummary, SeriesSummary};
use crate::metrics::METRICS;
use crate::thresholds::Sum;

/// Takes series one by one, so that no more than one a metric is held.
pub(super) struct Figures {
    secs: f64,
    series: Vec<SeriesSummary>,
    totals: BTreeMap<Cow<'static, str>, Sum>,
}

impl Figures {
    /// `secs`: what counts per second are of.
    pub(super) fn new(secs: f64) -> Self {
        Self {
            secs,
            series: Vec::new(),
            totals: BTreeMap::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        metric: Cow<'static, str>,
        tags: BTreeMap<String, String>,
        sum: &Sum,
    ) {
        let (agg, interval_count, interval_sum) = aggregates(sum, self.secs);
        self.totals.entry(metric.clone()).or_default().merge(sum);
        self.series.push(SeriesSummary {
            metric,
            kind: kind(sum).into(),
            tags,
            agg,
            interval_count,
            interval_sum,
        });
    }

    /// Each metric over all its series.
    pub(super) fn totals(&self) -> &BTreeMap<Cow<'static, str>, Sum> {
        &self.totals
    }

    /// In the order of [`METRICS`]; those of a file that are not among them after them.
    pub(super) fn metrics(&self) -> Vec<MetricSummary> {
        let known = METRICS
            .iter()
            .filter_map(|info| self.totals.get_key_value(info.name));
        let is_known = |name: &str| METRICS.iter().any(|info| info.name == name);
        let others = self.totals.iter().filter(|(name, _)| !is_known(name));
        known
            .chain(others)
            .map(|(name, sum)| MetricSummary {
                metric: name.clone(),
                kind: kind(sum).into(),
                agg: aggregates(sum, self.secs).0,
            })
            .collect()
    }

    pub(super) fn distribution(&self) -> Distribution {
        let trends = self.totals.iter();
        Distribution::of(trends.filter_map(|(name, sum)| Some((&**name, sum.trend.as_ref()?))))
    }

    pub(super) fn into_series(self) -> Vec<SeriesSummary> {
        self.series
    }
}

fn kind(sum: &Sum) -> &'static str {
    match sum {
        Sum { trend: Some(_), .. } => "trend",
        Sum { rate: Some(_), .. } => "rate",
        Sum {
            counter: Some(_), ..
        } => "counter",
        _ => "gauge",
    }
}

/// The figures, and for the interval the count and the sum.
fn aggregates(sum: &Sum, secs: f64) -> (Aggregates, u64, f64) {
    let none = Aggregates::default();
    if let Some(trend) = &sum.trend {
        let agg = Aggregates {
            count: Some(trend.count()),
            sum: Some(trend.sum_ms()),
            avg: Some(trend.mean_ms()),
            min: Some(trend.min_ms()),
            max: Some(trend.max_ms()),
            med: Some(trend.percentile_ms(50.0)),
            p90: Some(trend.percentile_ms(90.0)),
            p95: Some(trend.percentile_ms(95.0)),
            p99: Some(trend.percentile_ms(99.0)),
            p999: Some(trend.percentile_ms(99.9)),
            per_second: Some(trend.count() as f64 / secs),
            ..none
        };
        return (agg, trend.count(), trend.sum_ms());
    }
    if let Some((passes, count)) = sum.rate {
        let rate = if count == 0 {
            0.0
        } else {
            passes as f64 / count as f64
        };
        let agg = Aggregates {
            count: Some(count),
            rate: Some(rate),
            ..none
        };
        return (agg, count, passes as f64);
    }
    if let Some(count) = sum.counter {
        let per_second = Some(count as f64 / secs);
        let agg = Aggregates {
            count: Some(count),
            sum: Some(count as f64),
            per_second,
            ..none
        };
        return (agg, count, count as f64);
    }
    let Some((last, min, max)) = sum.gauge else {
        return (none, 0, 0.0);
    };
    (
        Aggregates {
            last: Some(last),
            min: Some(min),
            max: Some(max),
            ..none
        },
        1,
        last,
    )
}
