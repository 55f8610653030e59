//! StatsD over UDP: what each second added, as counters; the second's percentiles, as gauges.
//!
//! Percentiles are sent and not each value: a server that draws its own from a share of the values would be further from
//! the truth than those of the run's histograms, and a datagram for each request would cost more than the request.

use std::fmt::Write as _;
use std::net::{ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use loadr_config::StatsdTags;

use crate::file::figures;
use crate::second::{Key, Second, Value};
use crate::tally::Tally;
use crate::worker::Sink;

/// The most bytes of a datagram: what an Ethernet frame holds.
const DATAGRAM_BYTES_MAX: usize = 1432;
/// The order of tags in a name.
const IN_NAME: [&str; 9] = [
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

pub(crate) struct Statsd {
    socket: UdpSocket,
    prefix: String,
    tags: StatsdTags,
    /// Lines that are yet to be sent.
    datagram: String,
    line: String,
}

impl Statsd {
    pub(crate) fn open(address: &str, prefix: &str, tags: StatsdTags) -> Result<Self, String> {
        let fail = |error| format!("cannot send to {address}: {error}");
        let to = address
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve `{address}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{address}` has no address"))?;
        let from = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(from).map_err(fail)?;
        // So that a port where nobody listens is heard of.
        socket.connect(to).map_err(fail)?;
        // A datagram that has no room is dropped, as the network would.
        socket.set_nonblocking(true).map_err(fail)?;
        let prefix = prefix
            .chars()
            .map(|c| if is_plain(c) || c == '.' { c } else { '_' });
        Ok(Self {
            socket,
            prefix: prefix.collect(),
            tags,
            datagram: String::new(),
            line: String::new(),
        })
    }

    /// One line; it is sent when the datagram is full.
    fn put(&mut self, key: &Key, suffix: &str, value: &str, kind: &str) -> std::io::Result<()> {
        self.line.clear();
        self.line.push_str(&self.prefix);
        self.line.push_str(key.metric);
        match self.tags {
            StatsdTags::Name => {
                self.name_parts(key);
                self.line.push_str(suffix);
                let _ = write!(self.line, ":{value}|{kind}");
            }
            StatsdTags::Dogstatsd => {
                self.line.push_str(suffix);
                let _ = write!(self.line, ":{value}|{kind}");
                for (i, (key, value)) in key.tags.iter().enumerate() {
                    self.line.push_str(if i == 0 { "|#" } else { "," });
                    let inert = |c: char| match c {
                        '|' | ',' | '#' | '@' => '_',
                        c if c.is_control() || c.is_whitespace() => '_',
                        c => c,
                    };
                    let in_key = |c: char| if c == ':' { '_' } else { inert(c) };
                    self.line.extend(key.chars().map(in_key));
                    self.line.push(':');
                    self.line.extend(value.chars().map(inert));
                }
            }
        }
        let mut sent = Ok(());
        if !self.datagram.is_empty()
            && self.datagram.len() + 1 + self.line.len() > DATAGRAM_BYTES_MAX
        {
            sent = self.send();
        }
        if !self.datagram.is_empty() {
            self.datagram.push('\n');
        }
        self.datagram.push_str(&self.line);
        sent
    }

    /// The values of tags as parts of a name: those of the engine in a fixed order, then the plan's.
    fn name_parts(&mut self, key: &Key) {
        let own = IN_NAME.iter().filter_map(|name| key.tag(name));
        let others = key
            .tags
            .iter()
            .filter(|(k, _)| !IN_NAME.contains(&k.as_str()))
            .map(|(_, v)| v.as_str());
        for value in own.chain(others).filter(|value| !value.is_empty()) {
            self.line.push('.');
            let inert = |c: char| if is_plain(c) { c } else { '_' };
            self.line.extend(value.chars().map(inert));
        }
    }

    fn send(&mut self) -> std::io::Result<()> {
        if self.datagram.is_empty() {
            return Ok(());
        }
        let sent = self.socket.send(self.datagram.as_bytes());
        self.datagram.clear();
        sent.map(drop)
    }

    fn put_point(&mut self, key: &Key, value: &Value) -> std::io::Result<()> {
        match value {
            Value::Counter(0) => Ok(()),
            Value::Counter(n) => self.put(key, "", &n.to_string(), "c"),
            Value::Gauge(x) => self.put(key, "", &x.to_string(), "g"),
            Value::Rate { trues, count } => {
                let trues = self.put(key, ".trues", &trues.to_string(), "c");
                trues.and(self.put(key, ".count", &count.to_string(), "c"))
            }
            Value::Trend(trend) => {
                let mut sent = self.put(key, ".count", &trend.count.to_string(), "c");
                for (name, ms) in figures(trend) {
                    let suffix = format!(".{name}");
                    let kind = if name == "sum" { "c" } else { "g" };
                    sent = sent.and(self.put(key, &suffix, &ms.to_string(), kind));
                }
                sent
            }
        }
    }
}

/// What no server takes for anything but a part of a name.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl Sink for Statsd {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        for second in seconds {
            let mut failed = None;
            let mut lost = 0;
            for point in second.points.iter() {
                if let Err(error) = self.put_point(&point.series, &point.value) {
                    lost += 1;
                    failed.get_or_insert(error);
                }
            }
            if let Err(error) = self.send() {
                lost += 1;
                failed.get_or_insert(error);
            }
            // How many points were in a datagram that was lost is not known: at least one.
            tally.delivered(second.points.len().saturating_sub(lost));
            if let Some(error) = failed {
                tally.failed(error.to_string());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::second::tests::{key, second, trend};

    /// What a server gets of one second.
    fn heard(tags: StatsdTags, points: &[(&Arc<Key>, Value)]) -> Vec<String> {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let mut output = Statsd::open(&address, "loadr.", tags).unwrap();
        output.deliver(&[Arc::new(second(5, points))], &Tally::default());
        server.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        let mut bytes = [0; 65_536];
        while let Ok(n) = server.recv(&mut bytes) {
            assert!(n <= DATAGRAM_BYTES_MAX);
            let text = std::str::from_utf8(&bytes[..n]).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    #[test]
    fn tags_go_the_way_of_dogstatsd_and_hostile_ones_stay_in_their_place() {
        let reqs = key(0, "http_reqs", &[("k|:", "a|c\nx:1|g"), ("name", "home")]);
        assert_eq!(
            heard(StatsdTags::Dogstatsd, &[(&reqs, Value::Counter(7))]),
            ["loadr.http_reqs:7|c|#k__:a_c_x:1_g,name:home"]
        );
    }

    #[test]
    fn tags_can_be_parts_of_the_name() {
        let reqs = key(
            0,
            "http_reqs",
            &[("name", "GET /a.b:1|c"), ("scenario", "s"), ("team", "x")],
        );
        assert_eq!(
            heard(StatsdTags::Name, &[(&reqs, Value::Counter(7))]),
            ["loadr.http_reqs.s.GET__a_b_1_c.x:7|c"]
        );
    }

    #[test]
    fn distributions_are_counters_and_gauges_and_datagrams_fit_a_frame() {
        let keys: Vec<_> = (0..100)
            .map(|i| key(i, "http_req_duration", &[("name", "n")]))
            .collect();
        let points: Vec<_> = keys
            .iter()
            .map(|k| (k, trend(&[1_000_000, 3_000_000])))
            .collect();
        let lines = heard(StatsdTags::Dogstatsd, &points);
        assert_eq!(lines.len(), 1000);
        assert!(lines.contains(&"loadr.http_req_duration.sum:4|c|#name:n".to_owned()));
        assert!(lines.contains(&"loadr.http_req_duration.avg:2|g|#name:n".to_owned()));
    }

    #[test]
    fn a_port_where_nobody_listens_is_counted() {
        let address = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut output = Statsd::open(&address.to_string(), "", StatsdTags::Name).unwrap();
        let reqs = key(0, "http_reqs", &[]);
        let tally = Tally::default();
        let one = Arc::new(second(5, &[(&reqs, Value::Counter(3))]));
        for _ in 0..5 {
            output.deliver(&[Arc::clone(&one)], &tally);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(tally.failures().0 > 0);
    }
}
