//! Files that a line is added to for each series and second: JSON lines, and comma-separated values.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use loadr_engine::{METRICS, rfc3339_ms};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::distribution::Distribution;
use crate::requests::RequestLines;
use crate::second::{Key, Samples, Second, Value};
use crate::tally::Tally;
use crate::worker::Sink;

/// A file that holds whole lines, also after a write that failed halfway.
struct Lines {
    file: File,
    /// Bytes of whole lines, where the file can be cut back to them.
    whole: Option<u64>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, String> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        // Not a pipe or a device.
        let is_plain = file.metadata().is_ok_and(|m| m.is_file());
        let is_descriptor = path.starts_with("/dev") || path.starts_with("/proc");
        Ok(Self {
            file,
            whole: (is_plain && !is_descriptor).then_some(0),
        })
    }

    /// Adds whole lines: all of them or none.
    fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines);
        if let Some(whole) = &mut self.whole {
            match &written {
                Ok(()) => *whole += lines.len() as u64,
                Err(_) => {
                    self.file.set_len(*whole)?;
                    io::Seek::seek(&mut self.file, io::SeekFrom::Start(*whole))?;
                }
            }
        }
        written
    }
}

/// A file of JSON lines in the form of k6: one for each metric when it is first seen, then one for each series and
/// second.
pub(crate) struct JsonFile {
    lines: Lines,
    /// Metrics that have had their line.
    described: Vec<&'static str>,
    /// Where each request gets a line of its own.
    requests: Option<RequestLines>,
    buffer: Vec<u8>,
}

/// About how many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;

impl JsonFile {
    pub(crate) fn open(path: &Path, requests: Option<RequestLines>) -> Result<Self, String> {
        Ok(Self {
            lines: Lines::open(path)?,
            described: Vec::new(),
            requests,
            buffer: Vec::new(),
        })
    }

    fn add_requests(&mut self, samples: &Samples, tally: &Tally) {
        let Some(requests) = &self.requests else {
            return;
        };
        self.buffer.clear();
        let mut lines = 0;
        let mut samples_left = samples.lines.iter().peekable();
        while let Some(sample) = samples_left.next() {
            requests.add(&mut self.buffer, sample, samples.started_ms);
            lines += 1;
            if self.buffer.len() >= WRITE_BYTES || samples_left.peek().is_none() {
                match self.lines.add(&self.buffer) {
                    Ok(()) => tally.delivered(lines),
                    Err(error) => tally.failed(error.to_string()),
                }
                self.buffer.clear();
                lines = 0;
            }
        }
    }
}

impl Sink for JsonFile {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        for second in seconds {
            self.buffer.clear();
            let described = self.described.len();
            let time = rfc3339_ms(second.unix_ms);
            for point in second.points.iter() {
                let metric = point.series.metric;
                if !self.described.contains(&metric) {
                    self.described.push(metric);
                    json_line(&mut self.buffer, &MetricLine { metric });
                }
                json_line(
                    &mut self.buffer,
                    &PointLine {
                        time: &time,
                        key: &point.series,
                        value: &point.value,
                    },
                );
            }
            match self.lines.add(&self.buffer) {
                Ok(()) => tally.delivered(second.points.len()),
                Err(error) => {
                    self.described.truncate(described);
                    tally.failed(error.to_string());
                }
            }
            self.add_requests(&second.samples, tally);
        }
    }
}

fn json_line(out: &mut Vec<u8>, line: &impl Serialize) {
    // Cannot fail: all keys are strings, and a vector takes everything.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

struct MetricLine {
    metric: &'static str,
}

impl Serialize for MetricLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Data {
            name: &'static str,
            r#type: &'static str,
            contains: &'static str,
        }
        let info = METRICS.iter().find(|info| info.name == self.metric);
        let kind = info.map_or("counter", |info| info.kind.name());
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", "Metric")?;
        map.serialize_entry("metric", self.metric)?;
        map.serialize_entry(
            "data",
            &Data {
                name: self.metric,
                r#type: kind,
                contains: match info {
                    Some(info) if info.is_bytes => "data",
                    _ if kind == "trend" => "time",
                    _ => "default",
                },
            },
        )?;
        map.end()
    }
}

struct PointLine<'a> {
    time: &'a str,
    key: &'a Key,
    value: &'a Value,
}

impl Serialize for PointLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", "Point")?;
        map.serialize_entry("metric", self.key.metric)?;
        map.serialize_entry("data", &PointData(self))?;
        map.end()
    }
}

struct PointData<'a>(&'a PointLine<'a>);

impl Serialize for PointData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PointLine { time, key, value } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", time)?;
        match value {
            Value::Counter(n) => map.serialize_entry("value", n)?,
            Value::Gauge(x) => map.serialize_entry("value", x)?,
            Value::Rate { trues, count } => {
                map.serialize_entry("value", &share(*trues, *count))?;
                map.serialize_entry("trues", trues)?;
                map.serialize_entry("count", count)?;
            }
            Value::Trend(trend) => {
                map.serialize_entry("value", &trend.mean_ms())?;
                map.serialize_entry("count", &trend.count)?;
                for (name, ms) in figures(trend) {
                    map.serialize_entry(name, &ms)?;
                }
            }
        }
        map.serialize_entry("tags", &Tags(&key.tags))?;
        map.end()
    }
}

struct Tags<'a>(&'a [(String, String)]);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

pub(crate) fn share(trues: u64, count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        trues as f64 / count as f64
    }
}

/// A trend's figures in milliseconds, beside its count.
pub(crate) fn figures(trend: &Distribution) -> [(&'static str, f64); 9] {
    let [med, p90, p95, p99, p999] = trend.percentiles_ms;
    [
        ("sum", trend.sum_ms()),
        ("avg", trend.mean_ms()),
        ("min", trend.min_ms()),
        ("max", trend.max_ms()),
        ("med", med),
        ("p90", p90),
        ("p95", p95),
        ("p99", p99),
        ("p999", p999),
    ]
}

/// A file of comma-separated values: a row for each series and second. Tags that not every series can have are together
/// in the last column.
pub(crate) struct CsvFile {
    lines: Lines,
}

const COLUMNS: [&str; 15] = [
    "time_ms",
    "elapsed_secs",
    "metric",
    "value",
    "count",
    "trues",
    "sum",
    "avg",
    "min",
    "max",
    "med",
    "p90",
    "p95",
    "p99",
    "p999",
];
const TAG_COLUMNS: [&str; 9] = [
    "scenario",
    "group",
    "name",
    "method",
    "status",
    "error_kind",
    "check",
    "plugin",
    "shard",
];

impl CsvFile {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let mut lines = Lines::open(path)?;
        let columns = COLUMNS.iter().chain(&TAG_COLUMNS).chain(&["extra_tags"]);
        let header = rows(|writer| writer.write_record(columns));
        lines
            .add(&header)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self { lines })
    }
}

/// Rows in memory, where writing cannot fail.
fn rows(write: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let _ = write(&mut writer);
    writer.into_inner().unwrap_or_default()
}

impl Sink for CsvFile {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        for second in seconds {
            let bytes = rows(|writer| {
                for point in second.points.iter() {
                    write_row(writer, second, &point.series, &point.value)?;
                }
                Ok(())
            });
            match self.lines.add(&bytes) {
                Ok(()) => tally.delivered(second.points.len()),
                Err(error) => tally.failed(error.to_string()),
            }
        }
    }
}

fn write_row(
    writer: &mut csv::Writer<Vec<u8>>,
    second: &Second,
    key: &Key,
    value: &Value,
) -> csv::Result<()> {
    writer.write_field(second.unix_ms.to_string())?;
    writer.write_field(format!("{:.3}", second.elapsed_secs))?;
    writer.write_field(key.metric)?;
    let nothing = String::new;
    let mut fields = vec![nothing(); COLUMNS.len() - 3];
    match value {
        Value::Counter(n) => fields[0] = n.to_string(),
        Value::Gauge(x) => fields[0] = x.to_string(),
        Value::Rate { trues, count } => {
            fields[0] = share(*trues, *count).to_string();
            fields[1] = count.to_string();
            fields[2] = trues.to_string();
        }
        Value::Trend(trend) => {
            fields[0] = trend.mean_ms().to_string();
            fields[1] = trend.count.to_string();
            for (field, (_, ms)) in fields[3..].iter_mut().zip(figures(trend)) {
                *field = ms.to_string();
            }
        }
    }
    for field in fields {
        writer.write_field(field)?;
    }
    for tag in TAG_COLUMNS {
        writer.write_field(inert(key.tag(tag).unwrap_or_default()))?;
    }
    let extra = key
        .tags
        .iter()
        .filter(|(k, _)| !TAG_COLUMNS.contains(&k.as_str()));
    let extra: Vec<String> = extra.map(|(k, v)| format!("{k}={v}")).collect();
    writer.write_field(inert(&extra.join("&")))?;
    writer.write_record(None::<&[u8]>)
}

/// A text from outside that no spreadsheet takes for a formula.
fn inert(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::second::tests::{key, second, trend};

    const HOSTILE: &str = "=a\",b\n\u{1b}[31m<script>";

    #[test]
    fn json_lines_hold_hostile_names_and_every_figure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let mut file = JsonFile::open(&path, None).unwrap();
        let (reqs, checks) = (
            key(0, "http_reqs", &[("name", HOSTILE)]),
            key(1, "checks", &[("check", "c")]),
        );
        let duration = key(2, "http_req_duration", &[]);
        let one = second(
            1_700_000_000_123,
            &[
                (&reqs, Value::Counter(3)),
                (&checks, Value::Rate { trues: 1, count: 4 }),
                (&duration, trend(&[1_000_000, 3_000_000])),
            ],
        );
        let tally = Tally::default();
        file.deliver(&[Arc::new(one)], &tally);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0]["data"]["type"], "counter");
        assert_eq!(lines[1]["data"]["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(lines[1]["data"]["tags"]["name"], HOSTILE);
        assert_eq!(lines[1]["data"]["value"], 3);
        assert_eq!(lines[3]["data"]["value"], 0.25);
        assert_eq!(lines[5]["data"]["sum"], 4.0);
        assert_eq!(lines[5]["data"]["count"], 2);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn csv_rows_hold_hostile_names_and_have_as_many_fields_as_the_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mut file = CsvFile::open(&path).unwrap();
        let reqs = key(0, "http_reqs", &[("name", HOSTILE), ("team", "x")]);
        let duration = key(1, "http_req_duration", &[]);
        let one = second(
            5,
            &[(&reqs, Value::Counter(3)), (&duration, trend(&[1_000_000]))],
        );
        file.deliver(&[Arc::new(one)], &Tally::default());
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let of = |row: usize, name: &str| {
            rows[row][header.iter().position(|h| h == name).unwrap()].to_owned()
        };
        assert_eq!(of(0, "name"), format!("'{HOSTILE}"));
        assert_eq!(
            (of(0, "value"), of(0, "extra_tags")),
            ("3".into(), "team=x".into())
        );
        assert_eq!(
            (of(1, "count"), of(1, "sum"), of(1, "p99")),
            ("1".into(), "1".into(), "1".into())
        );
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a.json");
        let error = JsonFile::open(&path, None).err().unwrap();
        assert!(
            error.contains("missing/a.json") && error.contains("No such file"),
            "{error}"
        );
        assert!(CsvFile::open(Path::new("/dev/full")).is_err());
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let mut file = JsonFile::open(Path::new("/dev/full"), None).unwrap();
        let reqs = key(0, "http_reqs", &[]);
        let tally = Tally::default();
        let one = Arc::new(second(5, &[(&reqs, Value::Counter(3))]));
        file.deliver(&[one], &tally);
        let (failures, error) = tally.failures();
        assert_eq!(failures, 1);
        assert!(error.unwrap().contains("No space left"));
        assert_eq!(
            tally.delivered.load(std::sync::atomic::Ordering::Relaxed),
            0
        );
    }
}
