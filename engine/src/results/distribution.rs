//! The percentile curve of each trend, as few points that make a smooth line on a logarithmic axis.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Trend;

/// The distance to 100 % is halved so many times: to 99.9939 %.
const HALVINGS: u32 = 14;
/// Points between one halving and the next.
const STEPS: u32 = 4;

/// Values at the same percentiles for each metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Distribution {
    /// Ascending, in percent; the last is 100.
    pub percentiles: Vec<f64>,
    /// By metric: milliseconds, as many as there are percentiles.
    pub metrics: BTreeMap<String, Vec<f64>>,
}

impl Distribution {
    pub(super) fn of<'t>(trends: impl Iterator<Item = (&'t str, &'t Trend)>) -> Self {
        let percentiles = percentiles();
        let curve = |trend: &Trend| {
            percentiles
                .iter()
                .map(|p| trend.percentile_ms(*p))
                .collect()
        };
        let metrics = trends
            .filter(|(_, trend)| trend.count() > 0)
            .map(|(name, trend)| (name.to_owned(), curve(trend)))
            .collect();
        Self {
            percentiles,
            metrics,
        }
    }
}

/// 0, then closer to 100 in steps that are even on a logarithmic axis, with those that people ask for.
fn percentiles() -> Vec<f64> {
    let mut all = vec![90.0, 95.0, 99.0, 99.9, 99.99, 100.0];
    for step in 0..HALVINGS * STEPS {
        let left = 0.5_f64.powf(f64::from(step) / f64::from(STEPS));
        // Three digits of what is left are enough, and short to write.
        let digits = 4.0 - left.log10().floor();
        let scale = 10f64.powf(digits);
        all.push(((1.0 - left) * 100.0 * scale).round() / scale);
    }
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_ascend_from_0_to_100_and_have_the_usual_ones() {
        let all = percentiles();
        assert_eq!((all.first(), all.last()), (Some(&0.0), Some(&100.0)));
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        for usual in [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99] {
            assert!(all.contains(&usual), "{usual}");
        }
        assert!(all.len() < 70);
    }

    #[test]
    fn a_curve_has_the_values_of_the_trend() {
        let mut trend = Trend::new();
        (1..=1000u64).for_each(|ms| trend.record(ms * 1_000_000));
        let curves = Distribution::of([("a", &trend), ("empty", &Trend::new())].into_iter());
        assert_eq!(curves.metrics.len(), 1);
        for (p, value) in curves.percentiles.iter().zip(&curves.metrics["a"]) {
            assert_eq!(*value, trend.percentile_ms(*p));
        }
    }
}
