//! The file of `--histograms`: an HdrHistogram interval log (V2 compressed) that the standard tools read, and that has in
//! its comments what they do not need and an exact merge does: the summary, and what a histogram alone does not keep.
//!
//! - `#[Summary: {…}]`: the summary file, on one line.
//! - `Tag=metric{tag:value;…}`: each series of a trend over the whole run, in nanoseconds, after `#[Series: {…}]` with its
//!   tags and exact figures.
//! - without a tag: `http_req_duration` of all requests, each second.
//! - `#[End: {…}]`: how many histograms there are, so that a file that was cut off is known for one.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::read::ReadError;
use super::summary::Summary;
use crate::metrics::{Exact, Spread, Trend, Values};
use crate::run::Outcome;

const FIRST_LINE: &str = "#[Histogram log format version 1.3]";
const SUMMARY: &str = "#[Summary: ";
const SERIES: &str = "#[Series: ";
const END: &str = "#[End: ";

/// What a series' comment says.
#[derive(Serialize, Deserialize)]
struct SeriesComment {
    metric: String,
    tags: BTreeMap<String, String>,
    zeros: u64,
    /// Decimal: it can be beyond what a number in JSON is safe for.
    sum_ns: String,
    min_ns: u64,
    max_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct EndComment {
    histograms: u64,
}

/// A log while it is written.
pub(super) struct LogWriter {
    out: String,
    /// The whole run.
    secs: f64,
    histograms: u64,
}

impl LogWriter {
    pub(super) fn new(summary: &Summary) -> Self {
        let start = summary.started_ms as f64 / 1e3;
        let json = serde_json::to_string(summary).unwrap_or_default();
        let out = format!(
            "{FIRST_LINE}\n\
             #[StartTime: {start:.3} (seconds since epoch), by loadr-fast]\n\
             #[BaseTime: {start:.3} (seconds since epoch)]\n\
             #Values are nanoseconds, Interval_Max milliseconds. Lines with a tag are series of the whole run, lines without \
             one http_req_duration of all requests in each second.\n\
             {SUMMARY}{json}]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        Self {
            out,
            secs: summary.duration_secs,
            histograms: 0,
        }
    }

    /// One series over the whole run.
    pub(super) fn series(&mut self, metric: &str, tags: BTreeMap<String, String>, trend: &Trend) {
        let tag = tag(metric, &tags);
        let exact = trend.exact();
        let comment = SeriesComment {
            metric: metric.to_owned(),
            tags,
            zeros: exact.zeros,
            sum_ns: exact.sum_ns.to_string(),
            min_ns: exact.min_ns,
            max_ns: exact.max_ns,
        };
        let json = serde_json::to_string(&comment).unwrap_or_default();
        let _ = writeln!(self.out, "{SERIES}{json}]");
        let secs = self.secs;
        self.line(&format!("Tag={tag},"), 0.0, secs, trend);
    }

    /// The service times of one second.
    pub(super) fn second(&mut self, start_secs: f64, secs: f64, trend: &Trend) {
        self.line("", start_secs, secs, trend);
    }

    fn line(&mut self, tag: &str, start_secs: f64, secs: f64, trend: &Trend) {
        // None: more than can be written, which no run and no merge comes to.
        let Some(bytes) = trend.encode() else { return };
        let max_ms = trend.max_ms();
        let _ = write!(self.out, "{tag}{start_secs:.3},{secs:.3},{max_ms:.6},");
        STANDARD.encode_string(bytes, &mut self.out);
        self.out.push('\n');
        self.histograms += 1;
    }

    pub(super) fn finish(mut self) -> String {
        let histograms = self.histograms;
        let _ = writeln!(self.out, "{END}{{\"histograms\":{histograms}}}]");
        self.out
    }
}

/// The log of a run; of its seconds where they were kept, see [`crate::RunSpec`].
#[must_use]
pub fn histogram_log(outcome: &Outcome, summary: &Summary) -> String {
    let mut log = LogWriter::new(summary);
    outcome.aggregate.for_each_series(|series| {
        if let Values::Trend(trend) = series.values {
            let own = series
                .tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()));
            let tags = series.plan_tags.iter().cloned().chain(own).collect();
            log.series(series.metric, tags, trend);
        }
    });
    let mut start = 0.0;
    for point in &outcome.aggregate.timeline {
        if let Some(durations) = point.durations() {
            log.second(start, point.elapsed_secs - start, &durations);
        }
        start = point.elapsed_secs;
    }
    log.finish()
}

/// A metric and tags as a log's tag, which has no comma, space or line break: what is not plain is percent-encoded.
fn tag(metric: &str, tags: &BTreeMap<String, String>) -> String {
    let mut out = metric.to_owned();
    for (i, (key, value)) in tags.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ';' });
        encode(&mut out, key);
        out.push(':');
        encode(&mut out, value);
    }
    if !tags.is_empty() {
        out.push('}');
    }
    out
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What a log says, as it is merged.
pub(super) struct RunLog {
    pub(super) summary: Summary,
    /// By metric and tags.
    pub(super) series: Vec<(SeriesKey, Spread)>,
    pub(super) seconds: Vec<LogSecond>,
}

/// A metric and its tags.
pub(super) type SeriesKey = (String, BTreeMap<String, String>);

/// Service times of a second.
pub(super) struct LogSecond {
    pub(super) end_secs: f64,
    pub(super) spread: Spread,
}

/// The summary in a log; `None` when the bytes are no log.
pub(super) fn embedded_summary(bytes: &[u8]) -> Option<Result<&[u8], ReadError>> {
    if !bytes.starts_with(FIRST_LINE.as_bytes()) {
        return None;
    }
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Some(line) = lines.find(|line| line.starts_with(SUMMARY.as_bytes())) else {
        let what = "a histogram log without the summary that loadr-fast puts into it";
        return Some(Err(ReadError::Wrong(what.to_owned())));
    };
    let json = &line[SUMMARY.len()..];
    Some(Ok(json.strip_suffix(b"]").unwrap_or(json)))
}

/// Reads a whole log.
pub(super) fn read_log(bytes: &[u8]) -> Result<RunLog, ReadError> {
    let wrong = |line: usize, what: &str| ReadError::Wrong(format!("line {line}: {what}"));
    let json = embedded_summary(bytes).ok_or_else(|| {
        let what = "it is not what `--histograms` writes, and only that can be merged exactly";
        ReadError::Wrong(what.to_owned())
    })??;
    let mut log = RunLog {
        summary: Summary::from_json(json)?,
        series: Vec::new(),
        seconds: Vec::new(),
    };
    let mut next: Option<(SeriesKey, Exact)> = None;
    let (mut histograms, mut end) = (0, None);
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = i + 1;
        let text = || std::str::from_utf8(line).map_err(|_| wrong(number, "no UTF-8"));
        if line.starts_with(SERIES.as_bytes()) {
            next = Some(series_comment(text()?).ok_or_else(|| wrong(number, "a damaged comment"))?);
        } else if line.starts_with(END.as_bytes()) {
            end = comment::<EndComment>(text()?, END).map(|end| end.histograms);
        } else if !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"\"") {
            if end.is_some() {
                return Err(wrong(number, "a histogram after the end"));
            }
            let (second, max_ns) = match interval(text()?) {
                Ok(interval) => interval,
                // The last line of a file that was cut off.
                Err(_) if !bytes.ends_with(b"\n") => return Err(ReadError::Truncated),
                Err(what) => return Err(wrong(number, what)),
            };
            match next.take() {
                Some((key, exact)) => {
                    let spread = second.spread.with_exact(exact);
                    log.series
                        .push((key, spread.map_err(|what| wrong(number, what))?));
                }
                None => log.seconds.push(LogSecond {
                    spread: second.spread.with_max_ns(max_ns),
                    ..second
                }),
            }
            histograms += 1;
        }
    }
    match end {
        Some(said) if said == histograms => Ok(log),
        _ => Err(ReadError::Truncated),
    }
}

fn comment<'a, T: Deserialize<'a>>(line: &'a str, name: &str) -> Option<T> {
    serde_json::from_str(line.strip_prefix(name)?.strip_suffix(']')?).ok()
}

fn series_comment(line: &str) -> Option<(SeriesKey, Exact)> {
    let said: SeriesComment = comment(line, SERIES)?;
    let exact = Exact {
        zeros: said.zeros,
        sum_ns: said.sum_ns.parse().ok()?,
        min_ns: said.min_ns,
        max_ns: said.max_ns,
    };
    Some(((said.metric, said.tags), exact))
}

/// `[Tag=…,]start,length,max,histogram`: with the maximum in nanoseconds.
fn interval(line: &str) -> Result<(LogSecond, u64), &'static str> {
    let fields = match line.strip_prefix("Tag=") {
        Some(rest) => rest.split_once(',').ok_or("a tag and no histogram")?.1,
        None => line,
    };
    let mut fields = fields.splitn(4, ',');
    let mut number = || {
        let number: f64 = fields.next()?.parse().ok()?;
        // A century.
        (0.0..=3.2e9).contains(&number).then_some(number)
    };
    let (Some(start), Some(secs), Some(max_ms)) = (number(), number(), number()) else {
        return Err("no interval");
    };
    let payload = fields.next().ok_or("an interval without a histogram")?;
    let bytes = STANDARD
        .decode(payload.trim_end())
        .map_err(|_| "a histogram that is no base64")?;
    let second = LogSecond {
        end_secs: start + secs,
        spread: Spread::decode(&bytes)?,
    };
    Ok((second, (max_ms * 1e6).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_nothing_that_ends_it() {
        let tags = BTreeMap::from([
            ("name".to_owned(), "a, b\n{é}".to_owned()),
            ("status".to_owned(), "200".to_owned()),
        ]);
        let tag = tag("http_req_duration", &tags);
        assert_eq!(
            tag,
            "http_req_duration{name:a%2C%20b%0A%7B%C3%A9%7D;status:200}"
        );
    }
}
