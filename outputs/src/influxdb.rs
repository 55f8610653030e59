//! InfluxDB: line protocol over HTTP, a line for each series and second. What a server does not take is kept for a
//! while and tried again; a line written twice is one point to it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use loadr_config::{Hidden, Receiver};

use crate::file::{figures, share};
use crate::http::{Client, text};
use crate::second::{Key, Second, Value};
use crate::tally::Tally;
use crate::worker::Sink;

/// The most lines of one request.
const LINES_MAX: usize = 5_000;
/// The most bytes that wait for a server that does not answer.
const WAITING_BYTES_MAX: usize = 16 << 20;

pub(crate) struct InfluxDb {
    client: Client,
    /// The statement that makes the database, until it was sent.
    create: Option<String>,
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
}

struct Batch {
    lines: String,
    points: usize,
}

impl InfluxDb {
    pub(crate) fn new(receiver: &Receiver, create: Option<&Hidden>) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(receiver)?,
            create: create.map(text),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        })
    }

    fn add(&mut self, second: &Second) {
        for points in second.points.chunks(LINES_MAX) {
            let mut lines = String::new();
            for point in points {
                line(&mut lines, &point.series, &point.value, second.unix_ms);
            }
            self.waiting_bytes += lines.len();
            self.waiting.push_back(Batch {
                lines,
                points: points.len(),
            });
        }
        while self.waiting_bytes > WAITING_BYTES_MAX {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> Option<Batch> {
        let batch = self.waiting.pop_front()?;
        self.waiting_bytes -= batch.lines.len();
        Some(batch)
    }

    fn send(&mut self, tally: &Tally) {
        const PLAIN: &[(&str, &str)] = &[("content-type", "text/plain; charset=utf-8")];
        if let Some(url) = &self.create {
            // Whoever may not do this may still write; whether there is a database shows then.
            match self.client.post_to(url, &[], b"", tally) {
                Err(failure) if !failure.is_final => return tally.failed(failure.text),
                Ok(_) | Err(_) => self.create = None,
            }
        }
        while let Some(batch) = self.waiting.front() {
            match self.client.post(PLAIN, batch.lines.as_bytes(), tally) {
                Ok(_) => {
                    tally.delivered(batch.points);
                    self.drop_first();
                }
                Err(failure) => {
                    tally.failed(failure.text);
                    if !failure.is_final {
                        return;
                    }
                    self.drop_first();
                }
            }
        }
    }
}

impl Sink for InfluxDb {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        seconds.iter().for_each(|second| self.add(second));
        self.send(tally);
    }

    fn finish(&mut self, tally: &Tally) {
        if !self.waiting.is_empty() {
            self.send(tally);
        }
    }
}

fn line(out: &mut String, key: &Key, value: &Value, unix_ms: u64) {
    out.push_str(key.metric);
    for (name, value) in key.tags.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(',');
        // Names that mean something else to it.
        if matches!(name.as_str(), "time" | "_field" | "_measurement") {
            out.push_str("tag_");
        }
        escape(out, name);
        out.push('=');
        escape(out, value);
    }
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Counter(n) => write!(out, " value={n}i"),
        Value::Gauge(x) => write!(out, " value={x}"),
        Value::Rate { trues, count } => {
            let value = share(*trues, *count);
            write!(out, " value={value},trues={trues}i,count={count}i")
        }
        Value::Trend(trend) => {
            let _ = write!(out, " count={}i", trend.count);
            figures(trend)
                .iter()
                .try_for_each(|(name, ms)| write!(out, ",{name}={ms}"))
        }
    };
    let _ = writeln!(out, " {unix_ms}");
}

/// A tag's key or value. What no escape exists for is replaced: a backslash at the end would escape what follows, and a
/// control character could end the line.
fn escape(out: &mut String, text: &str) {
    let end = text.trim_end_matches('\\').len();
    for (at, c) in text.char_indices() {
        match c {
            ',' | '=' | ' ' => out.extend(['\\', c]),
            '\\' if at >= end => out.push('/'),
            // A backslash before what is escaped would escape the escape.
            '\\' if text[at + 1..].starts_with([',', '=', ' ', '\\']) => out.push('/'),
            c if c.is_control() => out.push('_'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second::tests::{key, trend};

    #[test]
    fn lines_are_those_of_the_protocol() {
        let tags = [("name", "a b,c=d"), ("scenario", "s"), ("time", "x")];
        let mut out = String::new();
        line(
            &mut out,
            &key(0, "http_reqs", &tags),
            &Value::Counter(3),
            1_700_000_000_123,
        );
        let rate = Value::Rate { trues: 1, count: 4 };
        line(&mut out, &key(1, "checks", &[]), &rate, 5);
        line(&mut out, &key(2, "vus", &[]), &Value::Gauge(2.5), 5);
        line(
            &mut out,
            &key(3, "http_req_duration", &[]),
            &trend(&[1_000_000, 3_000_000]),
            5,
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines[..3],
            [
                r"http_reqs,name=a\ b\,c\=d,scenario=s,tag_time=x value=3i 1700000000123",
                "checks value=0.25,trues=1i,count=4i 5",
                "vus value=2.5 5",
            ]
        );
        assert!(lines[3].starts_with("http_req_duration count=2i,sum=4,avg=2,min=1,max=3,med="));
    }

    #[test]
    fn hostile_tags_stay_in_their_place() {
        let mut out = String::new();
        for text in [
            "a\nb value=1 5",
            r"end\",
            r"a\,b",
            r"a\\ b",
            "",
            "\u{1b}[2J",
        ] {
            line(
                &mut out,
                &key(0, "m", &[("k", text), ("z", "1")]),
                &Value::Counter(1),
                5,
            );
        }
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            [
                r"m,k=a_b\ value\=1\ 5,z=1 value=1i 5",
                "m,k=end/,z=1 value=1i 5",
                r"m,k=a/\,b,z=1 value=1i 5",
                r"m,k=a//\ b,z=1 value=1i 5",
                "m,z=1 value=1i 5",
                "m,k=_[2J,z=1 value=1i 5",
            ]
        );
    }
}
