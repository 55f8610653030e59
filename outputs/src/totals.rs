//! The run so far, summed up by an output for itself: for receivers that are told totals and not seconds.

use std::sync::Arc;

use crate::distribution::Running;
use crate::second::{Key, Second, Value};

/// Every series so far.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// By id.
    series: Vec<Option<Total>>,
    /// When the first of them were measured, and the last.
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

/// One series so far.
#[derive(Debug)]
pub(crate) struct Total {
    pub(crate) key: Arc<Key>,
    pub(crate) value: TotalValue,
}

#[derive(Debug)]
pub(crate) enum TotalValue {
    Counter(u64),
    Rate { trues: u64, count: u64 },
    Gauge(f64),
    Trend(Box<Running>),
}

impl Totals {
    pub(crate) fn add(&mut self, second: &Second) {
        if self.first_ms == 0 {
            let elapsed_ms = (second.elapsed_secs * 1e3) as u64;
            self.first_ms = second.unix_ms.saturating_sub(elapsed_ms);
        }
        self.last_ms = second.unix_ms;
        for point in second.points.iter() {
            let id = point.series.id;
            if self.series.len() <= id {
                self.series.resize_with(id + 1, || None);
            }
            let total = self.series[id].get_or_insert_with(|| Total {
                key: Arc::clone(&point.series),
                value: match point.value {
                    Value::Counter(_) => TotalValue::Counter(0),
                    Value::Rate { .. } => TotalValue::Rate { trues: 0, count: 0 },
                    Value::Gauge(_) => TotalValue::Gauge(0.0),
                    Value::Trend(_) => TotalValue::Trend(Box::default()),
                },
            });
            match (&mut total.value, &point.value) {
                (TotalValue::Counter(mine), Value::Counter(n)) => *mine += n,
                (TotalValue::Rate { trues, count }, Value::Rate { trues: t, count: c }) => {
                    *trues += t;
                    *count += c;
                }
                (TotalValue::Gauge(mine), Value::Gauge(x)) => *mine = *x,
                (TotalValue::Trend(mine), Value::Trend(trend)) => mine.add(trend),
                // A metric has one kind.
                _ => {}
            }
        }
    }

    /// Every series, those of one metric together.
    pub(crate) fn by_metric(&self) -> Vec<&Total> {
        let mut all: Vec<&Total> = self.series.iter().flatten().collect();
        all.sort_by_key(|total| (total.key.metric, total.key.id));
        all
    }
}
