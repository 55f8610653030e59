//! What the samples add up to: medians, ratios pair by pair, who was saturated. As a table and as JSON.

use serde::Serialize;

use crate::CompareArguments;
use crate::machine::Machine;
use crate::measure::{Contender, Sample, ServerSample};

/// A core that is used this much had nothing left to give.
const SATURATED_SHARE: f64 = 0.95;
/// The pairs that are compared: the first's figure over the second's.
const PAIRS: [(&str, &str); 4] = [
    ("loadr-fast", "floor"),
    ("loadr-fast", "wrk"),
    ("loadr-fast", "oha"),
    ("wrk", "floor"),
];

#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    machine: Machine,
    settings: Settings,
    clients: Vec<ClientFigures>,
    ratios: Vec<Ratio>,
    /// Every sample, in the order in which they ran.
    rounds: Vec<Vec<Sample>>,
}

#[derive(Debug, Serialize)]
struct Settings {
    seconds: u64,
    pairs: u32,
    connections: u32,
    path: String,
    client_core: usize,
    server_core: usize,
    /// Whether the CPU of starting up is in the figures.
    startup_included: bool,
}

#[derive(Debug, Serialize)]
struct ClientFigures {
    client: &'static str,
    version: Option<String>,
    requests_per_second: Spread,
    cpu_us_per_request: Spread,
    server_cpu_us_per_request: Spread,
    client_cpu_share: Spread,
    server_cpu_share: Spread,
    /// `client`, `server`, `both` or `neither`.
    saturated: &'static str,
    failed: u64,
    /// The largest difference between the client's count of a run and the target's.
    count_difference: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    of: &'static str,
    to: &'static str,
    pub(crate) cpu_per_request: Spread,
    pub(crate) requests_per_second: Spread,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self {
            min: at(0),
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            max: at(last),
        }
    }
}

impl Comparison {
    pub(crate) fn new(
        machine: Machine,
        arguments: &CompareArguments,
        contenders: &[Contender],
        rounds: Vec<Vec<Sample>>,
    ) -> Self {
        let settings = Settings {
            seconds: arguments.seconds,
            pairs: arguments.pairs,
            connections: arguments.connections,
            path: arguments.path.clone(),
            client_core: arguments.client_core,
            server_core: arguments.server_core,
            startup_included: !arguments.subtract_startup,
        };
        let figures = contenders
            .iter()
            .map(|c| ClientFigures::new(c.name, c.client.version(), &rounds))
            .collect();
        let ratios = PAIRS
            .iter()
            .filter_map(|&(of, to)| Ratio::new(of, to, &rounds))
            .collect();
        Self {
            machine,
            settings,
            clients: figures,
            ratios,
            rounds,
        }
    }
}

impl ClientFigures {
    fn new(client: &'static str, version: Option<String>, rounds: &[Vec<Sample>]) -> Self {
        let samples: Vec<&Sample> = rounds
            .iter()
            .flatten()
            .filter(|s| s.client == client)
            .collect();
        let spread =
            |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(|s| value(s)).collect());
        let server = |value: fn(&ServerSample) -> f64| {
            let told = samples.iter().filter_map(|s| s.server.as_ref());
            Spread::of(told.map(value).collect())
        };
        let client_cpu_share = spread(|s| s.client_cpu_share);
        let server_cpu_share = server(|s| s.cpu_share);
        Self {
            client,
            version,
            requests_per_second: spread(|s| s.requests_per_second),
            cpu_us_per_request: spread(|s| s.cpu_us_per_request),
            server_cpu_us_per_request: server(|s| s.cpu_us_per_request),
            client_cpu_share,
            server_cpu_share,
            saturated: saturated(client_cpu_share.median, server_cpu_share.median),
            failed: samples.iter().map(|s| s.failed).sum(),
            count_difference: samples
                .iter()
                .filter_map(|s| Some(s.requests.abs_diff(s.server?.requests)))
                .max()
                .unwrap_or(0),
        }
    }
}

fn saturated(client: f64, server: f64) -> &'static str {
    match (client >= SATURATED_SHARE, server >= SATURATED_SHARE) {
        (true, true) => "both",
        (true, false) => "client",
        (false, true) => "server",
        (false, false) => "neither",
    }
}

impl Ratio {
    /// `None` when one of the two did not run.
    pub(crate) fn new(of: &'static str, to: &'static str, rounds: &[Vec<Sample>]) -> Option<Self> {
        let pairs: Vec<(&Sample, &Sample)> = rounds
            .iter()
            .filter_map(|samples| {
                let find = |name: &str| samples.iter().find(|s| s.client == name);
                Some((find(of)?, find(to)?))
            })
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let spread = |value: fn(&Sample) -> f64| {
            Spread::of(pairs.iter().map(|(a, b)| value(a) / value(b)).collect())
        };
        Some(Self {
            of,
            to,
            cpu_per_request: spread(|s| s.cpu_us_per_request),
            requests_per_second: spread(|s| s.requests_per_second),
        })
    }
}

pub(crate) fn print(comparison: &Comparison) {
    let Comparison {
        machine, settings, ..
    } = comparison;
    println!(
        "{} · {} cores · Linux {} · tcp {} · load {:.2} before",
        machine.cpu, machine.cores, machine.kernel, machine.congestion_control, machine.load_before
    );
    println!(
        "GET {} · {} connections · {} rounds of {} s · client on core {}, server on core {}",
        settings.path,
        settings.connections,
        settings.pairs,
        settings.seconds,
        settings.client_core,
        settings.server_core
    );
    println!();
    println!(
        "{:<12}{:>12}   {:>25}   {:>14}   {:>13}   saturated",
        "client", "requests/s", "CPU µs per request", "client/server", "server µs"
    );
    println!(
        "{:<12}{:>12}   {:>25}   {:>14}   {:>13}",
        "", "median", "min / median / max", "share of core", "per request"
    );
    for figures in &comparison.clients {
        let cpu = figures.cpu_us_per_request;
        println!(
            "{:<12}{:>12.0}   {:>25}   {:>14}   {:>13.2}   {}",
            figures.client,
            figures.requests_per_second.median,
            format!("{:.2} / {:.2} / {:.2}", cpu.min, cpu.median, cpu.max),
            format!(
                "{:.0} % / {:.0} %",
                figures.client_cpu_share.median * 100.0,
                figures.server_cpu_share.median * 100.0
            ),
            figures.server_cpu_us_per_request.median,
            figures.saturated
        );
    }
    println!();
    for ratio in &comparison.ratios {
        let cpu = ratio.cpu_per_request;
        println!(
            "{:<24} CPU per request {:.3} ({:.3} – {:.3})   requests/s {:.3}",
            format!("{} / {}", ratio.of, ratio.to),
            cpu.median,
            cpu.min,
            cpu.max,
            ratio.requests_per_second.median
        );
    }
    print_notes(comparison);
}

fn print_notes(comparison: &Comparison) {
    println!();
    println!(
        "Ratios are medians over the rounds (min – max). CPU is user + system time of the client's process; {}.",
        if comparison.settings.startup_included {
            "starting up is in it"
        } else {
            "starting up is not in it"
        }
    );
    for figures in &comparison.clients {
        let name = figures.client;
        if figures.saturated == "server" {
            println!("{name}: the server was the bottleneck, so requests/s is the server's.");
        }
        if figures.saturated == "neither" {
            println!("{name}: neither core was full: were others at work on this machine?");
        }
        if figures.failed > 0 {
            println!("{name}: {} requests failed.", figures.failed);
        }
        // A client that stops in mid-flight leaves up to one request per connection uncounted.
        if figures.count_difference > u64::from(comparison.settings.connections) {
            println!(
                "{name}: it and the target differ by {} requests in a run.",
                figures.count_difference
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(client: &'static str, cpu: f64) -> Sample {
        Sample {
            client,
            requests: 10,
            failed: 0,
            requests_per_second: 1.0 / cpu,
            cpu_us_per_request: cpu,
            client_cpu_share: 1.0,
            server: Some(ServerSample {
                cpu_us_per_request: 1.0,
                cpu_share: 0.5,
                requests: 12,
            }),
        }
    }

    #[test]
    fn a_spread_has_the_middle_or_the_mean_of_the_two_middles() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        let even = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((even.min, even.median, even.max), (1.0, 2.5, 4.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds: Vec<Vec<Sample>> = [(2.0, 1.0), (30.0, 10.0), (4.0, 1.0)]
            .map(|(wrk, floor)| vec![sample("wrk", wrk), sample("floor", floor)])
            .into();
        let ratio = Ratio::new("wrk", "floor", &rounds).unwrap();
        assert_eq!(ratio.cpu_per_request.median, 3.0);
        assert!(Ratio::new("loadr-fast", "wrk", &rounds).is_none());
        let figures = ClientFigures::new("wrk", None, &rounds);
        assert_eq!((figures.saturated, figures.count_difference), ("client", 2));
    }
}
