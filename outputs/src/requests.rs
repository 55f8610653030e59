//! A JSON line for each request: what hundreds of thousands a second must be written as, so it is put together by hand.

use loadr_config::Program;
use loadr_engine::RequestSample;
use serde_json::{Map, Value as Json, json};

/// Writes lines of one program's requests.
pub(crate) struct RequestLines {
    /// By step: the end of its lines, which is always the same.
    ends: Vec<Box<[u8]>>,
}

impl RequestLines {
    pub(crate) fn new(program: &Program) -> Self {
        let end = |request: &loadr_config::Request| {
            let mut step = Map::new();
            step.insert("name".to_owned(), json!(request.name));
            step.insert("method".to_owned(), json!(request.method));
            let scenario = &program.scenarios[request.scenario.at()].name;
            step.insert("scenario".to_owned(), json!(scenario));
            if !request.group.is_empty() {
                step.insert("group".to_owned(), json!(request.group));
            }
            let tags = request.tags.iter().cloned();
            let tags: Map<String, Json> = tags.map(|(k, v)| (k, Json::String(v))).collect();
            if !tags.is_empty() {
                step.insert("tags".to_owned(), Json::Object(tags));
            }
            // Without the brace that it begins with: it goes on where the figures end.
            let text = Json::Object(step).to_string();
            let mut end = text.replacen('{', ",", 1).into_bytes();
            end.push(b'\n');
            end.into_boxed_slice()
        };
        Self {
            ends: program.requests.iter().map(end).collect(),
        }
    }

    /// Adds a request's line. `started_ms`: when the run began, in milliseconds since 1970.
    pub(crate) fn add(&self, out: &mut Vec<u8>, sample: &RequestSample, started_ms: u64) {
        out.extend(b"{\"type\":\"Request\",\"time_ms\":");
        let time = started_ms.saturating_mul(10_000) + sample.end_ns / 100;
        milliseconds(out, time);
        out.extend(b",\"status\":");
        number(out, u64::from(sample.status), 1);
        if let Some(error) = sample.error {
            out.extend(b",\"error_kind\":\"");
            out.extend(error.as_str().as_bytes());
            out.push(b'"');
        }
        if sample.was_sent {
            out.extend(b",\"duration\":");
            let service = sample.phases[4..].iter().map(|tenths| u64::from(*tenths));
            milliseconds(out, service.sum());
        }
        for (name, tenths) in RequestSample::PHASES.iter().zip(sample.phases) {
            out.extend(b",\"");
            out.extend(name.as_bytes());
            out.extend(b"\":");
            milliseconds(out, u64::from(tenths));
        }
        out.extend(b",\"data_sent\":");
        number(out, u64::from(sample.sent_bytes), 1);
        out.extend(b",\"data_received\":");
        number(out, u64::from(sample.received_bytes), 1);
        match self.ends.get(sample.step.at()) {
            Some(end) => out.extend_from_slice(end),
            None => out.extend(b"}\n"),
        }
    }
}

/// Ten thousandths as milliseconds: 12345 is `1.2345`.
fn milliseconds(out: &mut Vec<u8>, tenths: u64) {
    number(out, tenths / 10_000, 1);
    let rest = tenths % 10_000;
    if rest > 0 {
        out.push(b'.');
        number(out, rest, 4);
    }
}

/// Decimal digits, at least so many.
fn number(out: &mut Vec<u8>, mut value: u64, least: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 || digits.len() - at < least {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use loadr_config::{Options, RequestId};
    use loadr_engine::ErrorKind;

    use super::*;

    #[test]
    fn a_line_is_json_and_has_every_figure() {
        let plan = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { name: \"a\\\"{b\", url: 'http://h/', tags: { k: v } } } ] } }";
        let options = Options::default();
        let program = loadr_config::compile(plan, Path::new("p"), &options)
            .unwrap()
            .program;
        let lines = RequestLines::new(&program);
        let mut sample = RequestSample {
            end_ns: 1_234_567_800,
            step: RequestId(0),
            status: 503,
            error: Some(ErrorKind::Assert),
            was_sent: true,
            phases: [0, 10, 200, 3_000, 40_000, 500_001, u32::MAX],
            sent_bytes: 7,
            received_bytes: u32::MAX,
        };
        let mut out = Vec::new();
        lines.add(&mut out, &sample, 1_700_000_000_000);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
        let read: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(read["name"], "a\"{b");
        assert_eq!(read["tags"]["k"], "v");
        assert_eq!(read["error_kind"], "assert");
        for (key, wanted) in [
            ("status", 503.0),
            ("blocked", 0.001),
            ("connecting", 0.02),
            ("tls_handshaking", 0.3),
            ("sending", 4.0),
            ("waiting", 50.0001),
            ("late", 0.0),
            ("data_sent", 7.0),
        ] {
            assert_eq!(read[key], wanted, "{key}");
        }
        let service = (40_000.0 + 500_001.0 + f64::from(u32::MAX)) / 1e4;
        assert!((read["duration"].as_f64().unwrap() - service).abs() < 1e-6);
        assert!(text.contains("\"time_ms\":1700000001234.5678,"), "{text}");
        (sample.was_sent, sample.error, sample.status) = (false, None, 0);
        let mut out = Vec::new();
        lines.add(&mut out, &sample, 0);
        let read: Json = serde_json::from_slice(&out).unwrap();
        assert!(read.get("duration").is_none() && read.get("error_kind").is_none());
    }
}
