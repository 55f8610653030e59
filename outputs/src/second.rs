//! A second of a run in a form of its own, made once for all outputs: series with their tags and what they come to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_engine::{Moment, RequestSample, Series, Trend, Values};

use crate::distribution::Distribution;

/// The most series that are told apart. A target that answers with ever new statuses makes some; past this they are
/// folded into one a metric.
pub(crate) const SERIES_MAX: usize = 20_000;
/// The most bytes of a tag's key or value.
pub(crate) const TAG_BYTES_MAX: usize = 256;

/// A second that every shard has passed.
#[derive(Debug)]
pub(crate) struct Second {
    /// Its end, in milliseconds since 1970. No two are the same.
    pub(crate) unix_ms: u64,
    /// Since the start of the run.
    pub(crate) elapsed_secs: f64,
    /// Shared with the same second without its samples.
    pub(crate) points: Arc<Vec<Point>>,
    pub(crate) samples: Samples,
}

/// Every request of a second, where an output wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// When the run began, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    pub(crate) lines: Arc<Vec<RequestSample>>,
    /// More of them, that there was no room for.
    pub(crate) dropped: u64,
}

impl Second {
    /// The same second without its samples.
    pub(crate) fn without_samples(&self) -> Self {
        Self {
            unix_ms: self.unix_ms,
            elapsed_secs: self.elapsed_secs,
            points: Arc::clone(&self.points),
            samples: Samples::default(),
        }
    }
}

/// A series in one second.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) series: Arc<Key>,
    pub(crate) value: Value,
}

/// What tells a series from others.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// From 0, in the order in which series were first seen.
    pub(crate) id: usize,
    pub(crate) metric: &'static str,
    /// Sorted by key; each key once.
    pub(crate) tags: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) enum Value {
    Counter(u64),
    Rate { trues: u64, count: u64 },
    Gauge(f64),
    Trend(Box<Distribution>),
}

/// A metric and tags.
type Named = (&'static str, Vec<(String, String)>);

/// Makes seconds of moments.
#[derive(Debug, Default)]
pub(crate) struct Seconds {
    keys: HashMap<Named, Arc<Key>>,
    /// When the run began, in milliseconds since 1970: from then on the run's own clock counts.
    started_ms: Option<u64>,
    last_ms: u64,
    /// Whether there were more series than are told apart.
    pub(crate) has_folded: bool,
    /// What tells this process's series from those of the other segments of its run, at a receiver that gets all of them.
    pub(crate) segment: Option<String>,
}

/// The tag of a segment's series.
const SEGMENT: &str = "segment";

impl Seconds {
    pub(crate) fn take(&mut self, moment: &Moment<'_>) -> Second {
        let elapsed_secs = moment.progress().elapsed_secs;
        let elapsed_ms = (elapsed_secs * 1e3) as u64;
        let started_ms = *self
            .started_ms
            .get_or_insert_with(|| unix_ms().saturating_sub(elapsed_ms));
        self.last_ms = (started_ms + elapsed_ms).max(self.last_ms + 1);
        let mut points = Vec::new();
        let mut folded: BTreeMap<&'static str, Folded> = BTreeMap::new();
        moment.for_each_of_second(|series| match self.key(series) {
            Some(key) => points.push(Point {
                series: key,
                value: value(series),
            }),
            None => folded.entry(series.metric).or_default().add(series),
        });
        for (metric, folded) in folded {
            self.has_folded = true;
            points.push(Point {
                series: self.other(metric),
                value: folded.value(),
            });
        }
        let (lines, dropped) = moment.samples();
        Second {
            unix_ms: self.last_ms,
            elapsed_secs,
            points: Arc::new(points),
            samples: Samples {
                started_ms,
                lines: Arc::new(lines.to_vec()),
                dropped,
            },
        }
    }

    fn key(&mut self, series: &Series<'_>) -> Option<Arc<Key>> {
        let mut tags: Vec<(String, String)> = series
            .tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), bounded(value)))
            .collect();
        for (key, value) in series.plan_tags {
            // The engine's own are what they say.
            if !tags.iter().any(|(k, _)| k == key) {
                tags.push((bounded(key), bounded(value)));
            }
        }
        self.mark(&mut tags);
        tags.sort();
        let wanted = (series.metric, tags);
        if let Some(key) = self.keys.get(&wanted) {
            return Some(Arc::clone(key));
        }
        (self.keys.len() < SERIES_MAX).then(|| self.add(wanted))
    }

    fn other(&mut self, metric: &'static str) -> Arc<Key> {
        let mut tags = vec![("name".to_owned(), "other".to_owned())];
        self.mark(&mut tags);
        let wanted = (metric, tags);
        match self.keys.get(&wanted) {
            Some(key) => Arc::clone(key),
            None => self.add(wanted),
        }
    }

    fn mark(&self, tags: &mut Vec<(String, String)>) {
        if let Some(segment) = &self.segment {
            tags.retain(|(key, _)| key != SEGMENT);
            tags.push((SEGMENT.to_owned(), segment.clone()));
        }
    }

    fn add(&mut self, wanted: Named) -> Arc<Key> {
        let key = Arc::new(Key {
            id: self.keys.len(),
            metric: wanted.0,
            tags: wanted.1.clone(),
        });
        self.keys.insert(wanted, Arc::clone(&key));
        key
    }
}

impl Key {
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        let found = self.tags.iter().find(|(k, _)| k == key);
        found.map(|(_, value)| value.as_str())
    }
}

fn value(series: &Series<'_>) -> Value {
    match series.values {
        Values::Counter(n) => Value::Counter(n),
        Values::Rate { passes, count } => Value::Rate {
            trues: passes,
            count,
        },
        Values::Gauge { last, .. } => Value::Gauge(last),
        Values::Trend(trend) => Value::Trend(Box::new(Distribution::of(trend))),
    }
}

/// Series of one metric that are not told apart.
#[derive(Default)]
struct Folded {
    counter: u64,
    rate: Option<(u64, u64)>,
    gauge: Option<f64>,
    trend: Option<Trend>,
}

impl Folded {
    fn add(&mut self, series: &Series<'_>) {
        match series.values {
            Values::Counter(n) => self.counter += n,
            Values::Rate { passes, count } => {
                let (p, c) = self.rate.unwrap_or_default();
                self.rate = Some((p + passes, c + count));
            }
            Values::Gauge { last, .. } => self.gauge = Some(last),
            Values::Trend(trend) => self.trend.get_or_insert_default().add(trend),
        }
    }

    fn value(self) -> Value {
        if let Some(trend) = self.trend {
            Value::Trend(Box::new(Distribution::of(&trend)))
        } else if let Some((trues, count)) = self.rate {
            Value::Rate { trues, count }
        } else if let Some(gauge) = self.gauge {
            Value::Gauge(gauge)
        } else {
            Value::Counter(self.counter)
        }
    }
}

/// The text, or its beginning and what tells it from others with the same beginning.
fn bounded(text: &str) -> String {
    if text.len() <= TAG_BYTES_MAX {
        return text.to_owned();
    }
    // FNV-1a: the same in every run, so that series of two runs have the same tags.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let end = text.floor_char_boundary(TAG_BYTES_MAX - 20);
    format!("{}…{hash:016x}", &text[..end])
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A second made by hand.
    pub(crate) fn second(unix_ms: u64, points: &[(&Arc<Key>, Value)]) -> Second {
        Second {
            unix_ms,
            elapsed_secs: 1.0,
            points: Arc::new(
                points
                    .iter()
                    .map(|(key, value)| Point {
                        series: Arc::clone(key),
                        value: match value {
                            Value::Counter(n) => Value::Counter(*n),
                            Value::Rate { trues, count } => Value::Rate {
                                trues: *trues,
                                count: *count,
                            },
                            Value::Gauge(x) => Value::Gauge(*x),
                            Value::Trend(trend) => Value::Trend(trend.clone()),
                        },
                    })
                    .collect(),
            ),
            samples: Samples::default(),
        }
    }

    pub(crate) fn key(id: usize, metric: &'static str, tags: &[(&str, &str)]) -> Arc<Key> {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Arc::new(Key {
            id,
            metric,
            tags: tags.collect(),
        })
    }

    pub(crate) fn trend(values_ns: &[u64]) -> Value {
        let mut trend = Trend::new();
        values_ns.iter().for_each(|ns| trend.record(*ns));
        Value::Trend(Box::new(Distribution::of(&trend)))
    }

    #[test]
    fn long_tags_are_cut_and_stay_apart() {
        let long = "é".repeat(1000);
        let (one, two) = (bounded(&long), bounded(&(long.clone() + "x")));
        assert!(one.len() <= TAG_BYTES_MAX && two.len() <= TAG_BYTES_MAX);
        assert_ne!(one, two);
        assert_eq!(one, bounded(&long));
        assert_eq!(bounded("short"), "short");
    }

    fn series<'a>(
        metric: &'static str,
        tags: &'a [(&'static str, String)],
        plan_tags: &'a [(String, String)],
        values: Values<'a>,
    ) -> Series<'a> {
        Series {
            metric,
            tags,
            plan_tags,
            values,
        }
    }

    #[test]
    fn a_series_keeps_its_id_and_the_engines_tags_win() {
        let mut seconds = Seconds::default();
        let (tags, plan_tags) = (
            [("name", "a".to_owned())],
            [
                ("name".to_owned(), "forged".to_owned()),
                ("team".to_owned(), "x".to_owned()),
            ],
        );
        let one = seconds
            .key(&series("http_reqs", &tags, &plan_tags, Values::Counter(1)))
            .expect("there is room");
        let again = seconds
            .key(&series("http_reqs", &tags, &plan_tags, Values::Counter(1)))
            .expect("it is there");
        assert_eq!(one, again);
        assert_eq!((one.tag("name"), one.tag("team")), (Some("a"), Some("x")));
        let other = seconds
            .key(&series("iterations", &tags, &plan_tags, Values::Counter(1)))
            .expect("there is room");
        assert_eq!(other.id, 1);
    }

    #[test]
    fn series_past_the_bound_are_folded_and_nothing_is_lost() {
        let mut seconds = Seconds::default();
        for i in 0..SERIES_MAX {
            let tags = [("name", i.to_string())];
            let key = seconds.key(&series("http_reqs", &tags, &[], Values::Counter(1)));
            assert!(key.is_some());
        }
        let (one, tags) = (Trend::new(), [("name", "one more".to_owned())]);
        assert!(
            seconds
                .key(&series("http_reqs", &tags, &[], Values::Counter(1)))
                .is_none()
        );
        let mut folded = Folded::default();
        folded.add(&series("http_reqs", &tags, &[], Values::Counter(2)));
        folded.add(&series("http_reqs", &tags, &[], Values::Counter(3)));
        assert!(matches!(folded.value(), Value::Counter(5)));
        let mut folded = Folded::default();
        folded.add(&series(
            "http_req_duration",
            &tags,
            &[],
            Values::Trend(&one),
        ));
        assert!(matches!(folded.value(), Value::Trend(_)));
        let key = seconds.other("http_reqs");
        assert_eq!(key, seconds.other("http_reqs"));
    }
}
