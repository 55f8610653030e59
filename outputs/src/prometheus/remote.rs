//! Remote writes (protocol 1.0: `prometheus.WriteRequest`, compressed with Snappy).

use loadr_config::{Histograms, Receiver};

use super::exposition::{ZERO_THRESHOLD, classic, inert, spans};
use super::names::{base, labels};
use crate::distribution::{Running, SCALE};
use crate::http::Client;
use crate::protobuf::Message;
use crate::so_far::{Failure, SoFar, Tell};
use crate::tally::Tally;
use crate::totals::{Total, TotalValue, Totals};

/// The most series of one request, a bucket being one.
const SERIES_MAX: usize = 5_000;

const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

pub(crate) struct RemoteWrite {
    client: Client,
    histograms: Histograms,
}

impl RemoteWrite {
    pub(crate) fn new(receiver: &Receiver, histograms: Histograms) -> Result<SoFar<Self>, String> {
        Ok(SoFar::new(Self {
            client: Client::new(receiver)?,
            histograms,
        }))
    }
}

impl Tell for RemoteWrite {
    fn tell(&mut self, totals: &Totals, tally: &Tally) -> Result<(), Failure> {
        let mut batch = Batch {
            request: Message::new(),
            series: 0,
            time_ms: totals.last_ms,
        };
        let mut encoder = snap::raw::Encoder::new();
        let all = totals.by_metric();
        let mut all = all.iter().peekable();
        while let Some(total) = all.next() {
            batch.add(total, self.histograms);
            if batch.series < SERIES_MAX && all.peek().is_some() {
                continue;
            }
            let request = std::mem::take(&mut batch.request);
            batch.series = 0;
            let sent = match encoder.compress_vec(request.bytes()) {
                Ok(body) => self.client.post(HEADERS, &body, tally).map_err(|f| f.text),
                Err(error) => Err(error.to_string()),
            };
            sent.map_err(|text| Failure {
                text,
                is_worth_another: true,
            })?;
        }
        Ok(())
    }
}

/// A request that is being written.
struct Batch {
    request: Message,
    series: usize,
    time_ms: u64,
}

impl Batch {
    fn add(&mut self, total: &Total, histograms: Histograms) {
        let base = base(total.key.metric);
        match &total.value {
            TotalValue::Counter(n) => self.sample(&format!("{base}_total"), total, None, *n as f64),
            TotalValue::Rate { trues, count } => {
                self.sample(&format!("{base}_trues_total"), total, None, *trues as f64);
                self.sample(&format!("{base}_samples_total"), total, None, *count as f64);
            }
            TotalValue::Gauge(x) => self.sample(&base, total, None, *x),
            TotalValue::Trend(trend) if histograms == Histograms::Native => {
                let mut series = self.series(&format!("{base}_seconds"), total, None);
                series.message(4, &self.native(trend));
                self.request.message(1, &series);
            }
            TotalValue::Trend(trend) => {
                let name = format!("{base}_seconds");
                for (bound, within) in classic(trend) {
                    self.sample(
                        &format!("{name}_bucket"),
                        total,
                        Some(&bound),
                        within as f64,
                    );
                }
                self.sample(&format!("{name}_sum"), total, None, trend.sum_secs());
                self.sample(&format!("{name}_count"), total, None, trend.count as f64);
            }
        }
    }

    fn sample(&mut self, name: &str, total: &Total, bound: Option<&str>, value: f64) {
        let mut sample = Message::new();
        sample.double(1, value);
        sample.uint(2, self.time_ms);
        let mut series = self.series(name, total, bound);
        series.message(2, &sample);
        self.request.message(1, &series);
    }

    /// A `TimeSeries` with its labels, which must be sorted.
    fn series(&mut self, name: &str, total: &Total, bound: Option<&str>) -> Message {
        self.series += 1;
        let mut all: Vec<(String, String)> = labels(&total.key)
            .into_iter()
            .map(|(name, value)| (name, inert(value)))
            // A label without a value is none.
            .filter(|(_, value)| !value.is_empty())
            .collect();
        all.push(("__name__".to_owned(), name.to_owned()));
        all.extend(bound.map(|bound| ("le".to_owned(), bound.to_owned())));
        all.sort();
        let mut series = Message::new();
        for (name, value) in all {
            let mut label = Message::new();
            label.text(1, &name);
            label.text(2, &value);
            series.message(1, &label);
        }
        series
    }

    /// A `prometheus.Histogram`.
    fn native(&self, trend: &Running) -> Message {
        let mut histogram = Message::new();
        histogram.uint(1, trend.count);
        histogram.double(3, trend.sum_secs());
        histogram.sint(4, SCALE.into());
        histogram.double(5, ZERO_THRESHOLD);
        histogram.uint(6, trend.zeros);
        let (spans, deltas) = spans(trend);
        for span in spans {
            histogram.message(11, &span);
        }
        histogram.sints(12, deltas);
        histogram.uint(15, self.time_ms);
        histogram
    }
}
