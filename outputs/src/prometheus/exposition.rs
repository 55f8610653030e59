//! What a scrape gets: the text format 0.0.4, or messages of `io.prometheus.client` where native histograms are wanted,
//! which the text format does not know.

use std::fmt::Write as _;

use super::names::{base, labels};
use crate::distribution::{BOUNDS_NS, Running, SCALE};
use crate::protobuf::Message;
use crate::totals::{Total, TotalValue, Totals};

/// What a value of zero is told apart by: below any that is measured.
pub(super) const ZERO_THRESHOLD: f64 = 1e-10;

/// The text format.
pub(super) fn text(totals: &Totals) -> String {
    let mut out = String::new();
    for series in totals
        .by_metric()
        .chunk_by(|a, b| a.key.metric == b.key.metric)
    {
        let Some(first) = series.first() else {
            continue;
        };
        let metric = first.key.metric;
        let base = base(metric);
        match &first.value {
            TotalValue::Counter(_) => {
                family(
                    &mut out,
                    &format!("{base}_total"),
                    "counter",
                    series,
                    |value| {
                        if let TotalValue::Counter(n) = value {
                            *n as f64
                        } else {
                            0.0
                        }
                    },
                );
            }
            TotalValue::Rate { .. } => {
                family(
                    &mut out,
                    &format!("{base}_trues_total"),
                    "counter",
                    series,
                    |value| {
                        if let TotalValue::Rate { trues, .. } = value {
                            *trues as f64
                        } else {
                            0.0
                        }
                    },
                );
                family(
                    &mut out,
                    &format!("{base}_samples_total"),
                    "counter",
                    series,
                    |value| {
                        if let TotalValue::Rate { count, .. } = value {
                            *count as f64
                        } else {
                            0.0
                        }
                    },
                );
            }
            TotalValue::Gauge(_) => {
                family(&mut out, &base, "gauge", series, |value| {
                    if let TotalValue::Gauge(x) = value {
                        *x
                    } else {
                        0.0
                    }
                });
            }
            TotalValue::Trend(_) => {
                let name = format!("{base}_seconds");
                let _ = writeln!(out, "# TYPE {name} histogram");
                for total in series {
                    if let TotalValue::Trend(trend) = &total.value {
                        histogram(&mut out, &name, total, trend);
                    }
                }
            }
        }
    }
    out
}

fn family(
    out: &mut String,
    name: &str,
    kind: &str,
    series: &[&Total],
    value: impl Fn(&TotalValue) -> f64,
) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# TYPE {name} {kind}");
    for total in series {
        out.push_str(name);
        label_set(out, total, None);
        let _ = writeln!(out, " {}", value(&total.value));
    }
}

fn histogram(out: &mut String, name: &str, total: &Total, trend: &Running) {
    for (bound, within) in classic(trend) {
        let _ = write!(out, "{name}_bucket");
        label_set(out, total, Some(&bound));
        let _ = writeln!(out, " {within}");
    }
    let _ = write!(out, "{name}_sum");
    label_set(out, total, None);
    let _ = writeln!(out, " {}", trend.sum_secs());
    let _ = write!(out, "{name}_count");
    label_set(out, total, None);
    let _ = writeln!(out, " {}", trend.count);
}

/// The upper bound in seconds and the count within it of each classic bucket, the last without bound.
pub(super) fn classic(trend: &Running) -> impl Iterator<Item = (String, u64)> + '_ {
    let bounds = BOUNDS_NS.iter().map(|ns| (*ns as f64 / 1e9).to_string());
    let mut within = 0;
    bounds
        .chain(["+Inf".to_owned()])
        .zip(trend.fixed)
        .map(move |(bound, n)| {
            within += n;
            (bound, within)
        })
}

fn label_set(out: &mut String, total: &Total, bound: Option<&str>) {
    let labels = labels(&total.key);
    if labels.is_empty() && bound.is_none() {
        return;
    }
    let mut mark = '{';
    for (name, value) in &labels {
        let _ = write!(out, "{mark}{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                // Prometheus would take them, terminals and pages that show labels might as well.
                c if c.is_control() => out.push('\u{fffd}'),
                c => out.push(c),
            }
        }
        out.push('"');
        mark = ',';
    }
    if let Some(bound) = bound {
        let _ = write!(out, "{mark}le=\"{bound}\"");
    }
    out.push('}');
}

/// A value of a label as both protobuf forms have it.
pub(super) fn inert(value: &str) -> String {
    let inert = |c: char| {
        let is_harmful = c.is_control() && c != '\n';
        if is_harmful { '\u{fffd}' } else { c }
    };
    value.chars().map(inert).collect()
}

/// Length-delimited `MetricFamily` messages, distributions as native histograms.
pub(super) fn protobuf(totals: &Totals) -> Vec<u8> {
    const COUNTER: u64 = 0;
    const GAUGE: u64 = 1;
    const HISTOGRAM: u64 = 4;
    let mut out = Message::new();
    for series in totals
        .by_metric()
        .chunk_by(|a, b| a.key.metric == b.key.metric)
    {
        let Some(first) = series.first() else {
            continue;
        };
        let base = base(first.key.metric);
        let mut family =
            |name: &str, kind: u64, data: &dyn Fn(&TotalValue) -> Option<(u64, Message)>| {
                let mut family = Message::new();
                family.text(1, name);
                family.uint(3, kind);
                for total in series {
                    let mut metric = Message::new();
                    for (name, value) in labels(&total.key) {
                        let mut pair = Message::new();
                        pair.text(1, &name);
                        pair.text(2, &inert(value));
                        metric.message(1, &pair);
                    }
                    if let Some((field, value)) = data(&total.value) {
                        metric.message(field, &value);
                        family.message(4, &metric);
                    }
                }
                out.delimited(&family);
            };
        let number = |field: u64, x: f64| {
            let mut value = Message::new();
            value.double(1, x);
            Some((field, value))
        };
        match &first.value {
            TotalValue::Counter(_) => {
                family(&format!("{base}_total"), COUNTER, &|value| match value {
                    TotalValue::Counter(n) => number(3, *n as f64),
                    _ => None,
                });
            }
            TotalValue::Rate { .. } => {
                family(
                    &format!("{base}_trues_total"),
                    COUNTER,
                    &|value| match value {
                        TotalValue::Rate { trues, .. } => number(3, *trues as f64),
                        _ => None,
                    },
                );
                family(
                    &format!("{base}_samples_total"),
                    COUNTER,
                    &|value| match value {
                        TotalValue::Rate { count, .. } => number(3, *count as f64),
                        _ => None,
                    },
                );
            }
            TotalValue::Gauge(_) => family(&base, GAUGE, &|value| match value {
                TotalValue::Gauge(x) => number(2, *x),
                _ => None,
            }),
            TotalValue::Trend(_) => {
                family(
                    &format!("{base}_seconds"),
                    HISTOGRAM,
                    &|value| match value {
                        TotalValue::Trend(trend) => Some((7, native(trend))),
                        _ => None,
                    },
                );
            }
        }
    }
    out.bytes().to_vec()
}

fn native(trend: &Running) -> Message {
    let mut histogram = Message::new();
    histogram.uint(1, trend.count);
    histogram.double(2, trend.sum_secs());
    histogram.sint(5, SCALE.into());
    histogram.double(6, ZERO_THRESHOLD);
    histogram.uint(7, trend.zeros);
    let (spans, deltas) = spans(trend);
    for span in spans {
        histogram.message(12, &span);
    }
    // proto2 has it unpacked.
    for delta in deltas {
        histogram.sint(13, delta);
    }
    histogram
}

/// Native buckets as both protobuf forms have them: `BucketSpan`s, and each count as the difference from the one before.
/// A bucket is counted by its upper end here and by its lower one in the distribution, so that an index is one more.
pub(super) fn spans(trend: &Running) -> (Vec<Message>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::new(), Vec::new());
    let (mut end, mut last) = (0, 0);
    for (first, counts) in trend.spans() {
        let first = first + 1;
        let mut span = Message::new();
        span.sint(1, i64::from(first - end));
        span.uint(2, counts.len() as u64);
        spans.push(span);
        end = first + counts.len() as i32;
        for count in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            deltas.push(count - last);
            last = count;
        }
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second::Value;
    use crate::second::tests::{key, second, trend};

    fn totals() -> Totals {
        let mut totals = Totals::default();
        let reqs = key(0, "http_reqs", &[("name", "a\"b\\c\nd\u{1b}")]);
        let checks = key(1, "checks", &[]);
        let duration = key(2, "http_req_duration", &[("name", "x")]);
        for _ in 0..2 {
            totals.add(&second(
                5,
                &[
                    (&reqs, Value::Counter(3)),
                    (&checks, Value::Rate { trues: 1, count: 4 }),
                    (&duration, trend(&[0, 1_000_000, 2_000_000_000])),
                ],
            ));
        }
        totals
    }

    #[test]
    fn the_text_has_every_total_and_hostile_labels_inert() {
        let text = text(&totals());
        for line in [
            "# TYPE loadr_checks_trues_total counter",
            "loadr_checks_trues_total 2",
            "loadr_checks_samples_total 8",
            "# TYPE loadr_http_req_duration_seconds histogram",
            "loadr_http_req_duration_seconds_bucket{name=\"x\",le=\"0.0005\"} 2",
            "loadr_http_req_duration_seconds_bucket{name=\"x\",le=\"0.001\"} 4",
            "loadr_http_req_duration_seconds_bucket{name=\"x\",le=\"+Inf\"} 6",
            "loadr_http_req_duration_seconds_sum{name=\"x\"} 4.002",
            "loadr_http_req_duration_seconds_count{name=\"x\"} 6",
            "loadr_http_reqs_total{name=\"a\\\"b\\\\c\\nd\u{fffd}\"} 6",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn spans_and_deltas_give_the_counts_back() {
        let mut running = Running::default();
        for (index, n) in [(-40, 3), (-39, 5), (-36, 1), (10, 7)] {
            running.exponential.insert(index, n);
        }
        let (spans, deltas) = spans(&running);
        assert_eq!(spans.len(), 2);
        // Zigzag of -39, five buckets; the second begins 43 after the first's end, at 11.
        assert_eq!(spans[0].bytes(), [0x08, 77, 0x10, 5]);
        assert_eq!(spans[1].bytes(), [0x08, 90, 0x10, 1]);
        assert_eq!(deltas, [3, 2, -5, 0, 1, 6]);
    }
}
