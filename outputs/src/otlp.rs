//! OTLP metrics over HTTP as protobuf (OTLP 1.x, `opentelemetry/proto/metrics/v1/metrics.proto`): the run so far, once a
//! second. Sums are cumulative and so are distributions, which are exponential histograms: a delivery that fails costs a
//! point in time and no request.

use loadr_config::Receiver;

use crate::distribution::SCALE;
use crate::http::Client;
use crate::protobuf::Message;
use crate::second::Key;
use crate::so_far::{Failure, SoFar, Tell};
use crate::tally::Tally;
use crate::totals::{Total, TotalValue, Totals};

/// The most series of one request: collectors refuse requests of more than some MiB.
const SERIES_MAX: usize = 2_000;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

pub(crate) struct Otlp {
    client: Client,
    /// The plan's name.
    plan: String,
}

impl Otlp {
    pub(crate) fn new(receiver: &Receiver, plan: &str) -> Result<SoFar<Self>, String> {
        Ok(SoFar::new(Self {
            client: Client::new(receiver)?,
            plan: plan.to_owned(),
        }))
    }
}

impl Tell for Otlp {
    fn tell(&mut self, totals: &Totals, tally: &Tally) -> Result<(), Failure> {
        let all = totals.by_metric();
        for series in all.chunks(SERIES_MAX) {
            let body = request(&self.plan, totals, series);
            let headers = [("content-type", "application/x-protobuf")];
            let answer = self.client.post(&headers, body.bytes(), tally);
            let answer = answer.map_err(|failure| Failure {
                text: failure.text,
                is_worth_another: true,
            })?;
            if let Some(text) = rejected(&answer) {
                return Err(Failure {
                    text,
                    is_worth_another: false,
                });
            }
        }
        Ok(())
    }
}

/// Why a receiver took a part only: `ExportMetricsServiceResponse.partial_success`, when it says that points were
/// rejected.
fn rejected(answer: &[u8]) -> Option<String> {
    let mut reader = Reader(answer);
    while let Some((field, value)) = reader.field() {
        let (1, Field::Bytes(partial)) = (field, value) else {
            continue;
        };
        let (mut points, mut reason) = (0, String::new());
        let mut reader = Reader(partial);
        while let Some((field, value)) = reader.field() {
            match (field, value) {
                (1, Field::Number(n)) => points = n,
                (2, Field::Bytes(text)) => reason = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        if points > 0 {
            return Some(format!("it rejected {points} points: {reason}"));
        }
    }
    None
}

/// Reads a message's fields; ends at what it does not understand.
struct Reader<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(len)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn request(plan: &str, totals: &Totals, series: &[&Total]) -> Message {
    let mut resource = Message::new();
    resource.message(1, &attribute("service.name", "loadr-fast"));
    resource.message(1, &attribute("service.version", env!("CARGO_PKG_VERSION")));
    resource.message(1, &attribute("loadr.plan", plan));
    let mut scope = Message::new();
    scope.text(1, "loadr-fast");
    scope.text(2, env!("CARGO_PKG_VERSION"));
    let mut scope_metrics = Message::new();
    scope_metrics.message(1, &scope);
    for series in series.chunk_by(|a, b| a.key.metric == b.key.metric) {
        metric(&mut scope_metrics, totals, series);
    }
    let mut resource_metrics = Message::new();
    resource_metrics.message(1, &resource);
    resource_metrics.message(2, &scope_metrics);
    let mut request = Message::new();
    request.message(1, &resource_metrics);
    request
}

fn attribute(key: &str, value: &str) -> Message {
    let mut any = Message::new();
    any.text(1, value);
    let mut attribute = Message::new();
    attribute.text(1, key);
    attribute.message(2, &any);
    attribute
}

/// Adds the metric of these series, which have it in common; a rate is two.
fn metric(out: &mut Message, totals: &Totals, series: &[&Total]) {
    let Some(first) = series.first() else { return };
    let name = format!("loadr.{}", first.key.metric);
    let start = totals.first_ms.saturating_mul(1_000_000);
    let time = totals.last_ms.saturating_mul(1_000_000);
    let number = |key: &Key| {
        let mut point = Message::new();
        for (name, value) in &key.tags {
            point.message(7, &attribute(name, value));
        }
        point.fixed(2, start);
        point.fixed(3, time);
        point
    };
    let sum = |name: &str, unit: &str, value: &dyn Fn(&TotalValue) -> u64| {
        let mut sum = Message::new();
        for total in series {
            let mut point = number(&total.key);
            point.fixed(6, value(&total.value));
            sum.message(1, &point);
        }
        sum.uint(2, CUMULATIVE);
        sum.uint(3, 1);
        named(name, unit, 7, &sum)
    };
    match &first.value {
        TotalValue::Counter(_) => {
            let is_bytes = first.key.metric.starts_with("data_");
            let unit = if is_bytes { "By" } else { "1" };
            let value = |value: &TotalValue| match value {
                TotalValue::Counter(n) => *n,
                _ => 0,
            };
            out.message(2, &sum(&name, unit, &value));
        }
        TotalValue::Rate { .. } => {
            let value = |value: &TotalValue| match value {
                TotalValue::Rate { trues, .. } => *trues,
                _ => 0,
            };
            out.message(2, &sum(&format!("{name}.trues"), "1", &value));
            let value = |value: &TotalValue| match value {
                TotalValue::Rate { count, .. } => *count,
                _ => 0,
            };
            out.message(2, &sum(&format!("{name}.count"), "1", &value));
        }
        TotalValue::Gauge(_) => {
            let mut gauge = Message::new();
            for total in series {
                if let TotalValue::Gauge(x) = total.value {
                    let mut point = number(&total.key);
                    point.double(4, x);
                    gauge.message(1, &point);
                }
            }
            out.message(2, &named(&name, "1", 5, &gauge));
        }
        TotalValue::Trend(_) => {
            let mut histogram = Message::new();
            for total in series {
                histogram.message(1, &distribution(total, start, time));
            }
            histogram.uint(2, CUMULATIVE);
            out.message(2, &named(&name, "s", 10, &histogram));
        }
    }
}

fn named(name: &str, unit: &str, kind: u64, data: &Message) -> Message {
    let mut metric = Message::new();
    metric.text(1, name);
    metric.text(3, unit);
    metric.message(kind, data);
    metric
}

/// An `ExponentialHistogramDataPoint`, in seconds.
fn distribution(total: &Total, start: u64, time: u64) -> Message {
    let mut point = Message::new();
    for (name, value) in &total.key.tags {
        point.message(1, &attribute(name, value));
    }
    point.fixed(2, start);
    point.fixed(3, time);
    let TotalValue::Trend(trend) = &total.value else {
        return point;
    };
    point.fixed(4, trend.count);
    point.double(5, trend.sum_secs());
    point.sint(6, SCALE.into());
    point.fixed(7, trend.zeros);
    if let (Some((&first, _)), Some((&last, _))) = (
        trend.exponential.first_key_value(),
        trend.exponential.last_key_value(),
    ) {
        let mut buckets = Message::new();
        buckets.sint(1, first.into());
        let count = |index| trend.exponential.get(&index).copied().unwrap_or(0);
        buckets.uints(2, (first..=last).map(count));
        point.message(8, &buckets);
    }
    if trend.count > 0 {
        point.double(12, trend.min_ns as f64 / 1e9);
        point.double(13, trend.max_ns as f64 / 1e9);
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_told() {
        let mut partial = Message::new();
        partial.uint(1, 300);
        partial.text(2, "no room");
        let mut answer = Message::new();
        answer.message(1, &partial);
        let error = rejected(answer.bytes());
        assert_eq!(error.as_deref(), Some("it rejected 300 points: no room"));
        let mut warning = Message::new();
        warning.text(2, "a warning alone");
        let mut answer = Message::new();
        answer.message(1, &warning);
        assert_eq!(rejected(answer.bytes()), None);
    }

    #[test]
    fn an_answer_of_any_bytes_is_no_harm() {
        for len in 0..64 {
            for byte in [0, 0x0a, 0x7f, 0x80, 0xff] {
                assert_eq!(rejected(&vec![byte; len]), None);
            }
        }
    }
}
