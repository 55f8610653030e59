//! Every series' values, added up.

use std::collections::{BTreeMap, HashMap};

use crate::metrics::{Spread, Trend};
use crate::results::histograms::{LogWriter, SeriesKey};
use crate::results::summary::{SeriesSummary, Summary};
use crate::thresholds::Sum;

/// All series of the runs so far.
#[derive(Default)]
pub(super) struct Tallies(BTreeMap<SeriesKey, Tally>);

/// One series' values while they are added up.
pub(super) enum Tally {
    Trend(Spread),
    Counter(u64),
    Rate { passes: u64, count: u64 },
    Gauge { last: f64, min: f64, max: f64 },
}

impl Tally {
    pub(super) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        match self {
            Self::Trend(spread) => sum.trend = Some(Trend::from_spread(spread)),
            Self::Counter(count) => sum.counter = Some(*count),
            Self::Rate { passes, count } => sum.rate = Some((*passes, *count)),
            Self::Gauge { last, min, max } => sum.gauge = Some((*last, *min, *max)),
        }
        sum
    }
}

impl Tallies {
    /// Adds what a summary has, with the histograms of its trends. Takes it out of the summary.
    pub(super) fn add(
        &mut self,
        summary: &mut Summary,
        trends: Vec<(SeriesKey, Spread)>,
    ) -> Result<(), String> {
        let mut trends: HashMap<SeriesKey, Spread> = trends.into_iter().collect();
        for one in std::mem::take(&mut summary.snapshot.series) {
            let SeriesSummary {
                metric,
                kind,
                tags,
                agg,
                interval_sum,
                ..
            } = one;
            let count = agg.count.unwrap_or(0);
            let gauge = |value: Option<f64>| value.unwrap_or(0.0);
            let key = (metric.into_owned(), tags);
            let value = match &*kind {
                "trend" => {
                    let spread = trends.remove(&key).filter(|spread| spread.count() == count);
                    Tally::Trend(spread.ok_or_else(|| {
                        format!("`{}` has no histogram of its {count} values", key.0)
                    })?)
                }
                "counter" => Tally::Counter(count),
                "rate" => {
                    // Exact up to 2^53.
                    let passes = interval_sum as u64;
                    if passes > count {
                        return Err(format!("`{}` has more passes than samples", key.0));
                    }
                    Tally::Rate { passes, count }
                }
                "gauge" => Tally::Gauge {
                    last: gauge(agg.last),
                    min: gauge(agg.min),
                    max: gauge(agg.max),
                },
                other => return Err(format!("`{}` is of an unknown kind `{other}`", key.0)),
            };
            self.add_one(key, value)?;
        }
        match trends.into_keys().next() {
            Some((metric, _)) => Err(format!(
                "a histogram of `{metric}` is in no series of its summary"
            )),
            None => Ok(()),
        }
    }

    fn add_one(&mut self, key: SeriesKey, value: Tally) -> Result<(), String> {
        let Some(known) = self.0.get_mut(&key) else {
            self.0.insert(key, value);
            return Ok(());
        };
        let sum = |a: u64, b: u64| {
            a.checked_add(b)
                .ok_or_else(|| format!("`{}` is more than can be counted", key.0))
        };
        match (known, value) {
            (Tally::Trend(mine), Tally::Trend(theirs)) => {
                mine.add(&theirs)
                    .map_err(|what| format!("`{}` has {what}", key.0))?;
            }
            (Tally::Counter(mine), Tally::Counter(theirs)) => *mine = sum(*mine, theirs)?,
            (
                Tally::Rate { passes, count },
                Tally::Rate {
                    passes: p,
                    count: c,
                },
            ) => {
                (*passes, *count) = (sum(*passes, p)?, sum(*count, c)?);
            }
            (
                Tally::Gauge { last, min, max },
                Tally::Gauge {
                    last: l,
                    min: n,
                    max: x,
                },
            ) => {
                // Users of all runs are there together; of anything else the largest is what counts.
                (*last, *min, *max) = if matches!(&*key.0, "vus" | "vus_max") {
                    (*last + l, *min + n, *max + x)
                } else {
                    (last.max(l), min.min(n), max.max(x))
                };
            }
            _ => {
                return Err(format!(
                    "`{}` is of another kind than in the files before",
                    key.0
                ));
            }
        }
        Ok(())
    }

    /// The least and the most virtual users are those of the seconds of all runs.
    pub(super) fn set_users(&mut self, users: impl Iterator<Item = f64> + Clone) {
        if let Some(Tally::Gauge { min, max, .. }) =
            self.0.get_mut(&("vus".to_owned(), BTreeMap::new()))
        {
            *min = users.clone().fold(*max, f64::min);
            *max = users.fold(0.0, f64::max);
        }
    }

    /// Sums over all series of a metric, which the figures have, fit as well.
    pub(super) fn check_totals(&self) -> Result<(), String> {
        let mut totals: HashMap<&str, u64> = HashMap::new();
        for ((metric, _), tally) in &self.0 {
            let count = match tally {
                Tally::Trend(spread) => spread.count(),
                Tally::Counter(count) | Tally::Rate { count, .. } => *count,
                Tally::Gauge { .. } => continue,
            };
            let total = totals.entry(metric).or_default();
            *total = total
                .checked_add(count)
                .filter(|total| i64::try_from(*total).is_ok())
                .ok_or_else(|| format!("`{metric}` is more than can be counted"))?;
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SeriesKey, &Tally)> {
        self.0.iter()
    }

    pub(super) fn write(&self, log: &mut LogWriter) {
        for ((metric, tags), tally) in &self.0 {
            if let Tally::Trend(spread) = tally {
                log.series(metric, tags.clone(), &Trend::from_spread(spread));
            }
        }
    }
}
