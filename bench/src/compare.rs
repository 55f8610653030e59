//! The side-by-side run: every client once a round, in an order that rotates, against one target.

use serde::Serialize;

use crate::clients::{Client, Run, available};
use crate::machine::Machine;
use crate::report::{Comparison, print};
use crate::serve::Server;
use crate::{CompareArguments, Outcome};

/// How long the uncounted first run and the runs that measure start-up take, in seconds.
const SHORT_SECONDS: u64 = 1;

/// One run of one client.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) client: &'static str,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) requests_per_second: f64,
    /// CPU of the client's process (user and system, all threads) per request, in microseconds.
    pub(crate) cpu_us_per_request: f64,
    /// CPU of the target's process per request, in microseconds.
    pub(crate) server_cpu_us_per_request: f64,
    /// Share of their core that client and server used.
    pub(crate) client_cpu_share: f64,
    pub(crate) server_cpu_share: f64,
    /// Requests that the target counted; the client may miss those in flight at its end.
    pub(crate) server_requests: u64,
}

pub(crate) fn run(arguments: &CompareArguments) -> Outcome<()> {
    check(arguments)?;
    let (clients, notes) = available(arguments.loadr.as_deref(), arguments.pipeline)?;
    for note in &notes {
        eprintln!("note: {note}");
    }
    let machine = Machine::here();
    let mut server = Server::start(arguments.server_core)?;
    // Uncounted: what is slow once only is slow here.
    clients[0].run(server.address, SHORT_SECONDS, arguments)?;
    let mut rounds = Vec::new();
    for round in 0..arguments.pairs as usize {
        let mut samples = Vec::new();
        for place in 0..clients.len() {
            let client = &clients[(round + place) % clients.len()];
            let sample = measure(client, &mut server, arguments)?;
            eprintln!(
                "round {}/{}: {:<10} {:>9.0} requests/s {:>7.3} µs",
                round + 1,
                arguments.pairs,
                sample.client,
                sample.requests_per_second,
                sample.cpu_us_per_request
            );
            samples.push(sample);
        }
        rounds.push(samples);
    }
    drop(server);
    let comparison = Comparison::new(machine, arguments, &clients, rounds);
    print(&comparison);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&comparison)?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn check(arguments: &CompareArguments) -> Outcome<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    for core in [arguments.client_core, arguments.server_core] {
        if !cores.iter().any(|id| id.id == core) {
            let all: Vec<String> = cores.iter().map(|id| id.id.to_string()).collect();
            return Err(
                format!("there is no core {core} here; there are {}", all.join(", ")).into(),
            );
        }
    }
    if arguments.client_core == arguments.server_core {
        return Err(
            "client and server need a core each: give --client-core and --server-core".into(),
        );
    }
    if !arguments.path.starts_with('/')
        || arguments.path.contains(|c: char| c <= ' ' || c >= '\x7f')
    {
        return Err("--path must begin with / and be of printable ASCII".into());
    }
    if arguments.subtract_startup && arguments.seconds <= SHORT_SECONDS {
        return Err("--subtract-startup needs --seconds of at least 2".into());
    }
    Ok(())
}

fn measure(client: &Client, server: &mut Server, arguments: &CompareArguments) -> Outcome<Sample> {
    let startup = if arguments.subtract_startup {
        Some(client.run(server.address, SHORT_SECONDS, arguments)?)
    } else {
        None
    };
    let before = server.usage()?;
    let run = client.run(server.address, arguments.seconds, arguments)?;
    let after = server.usage()?;
    let server_cpu_us = (after.cpu_us - before.cpu_us) as f64;
    let server_requests = after.requests - before.requests;
    Ok(Sample {
        client: client.name(),
        requests: run.report.requests,
        failed: run.report.failed,
        requests_per_second: run.report.per_second,
        cpu_us_per_request: cpu_us_per_request(&run, startup.as_ref())?,
        server_cpu_us_per_request: server_cpu_us / server_requests.max(1) as f64,
        client_cpu_share: run.cpu_us as f64 / 1e6 / run.wall_secs,
        server_cpu_share: server_cpu_us / 1e6 / run.wall_secs,
        server_requests,
    })
}

/// With a short run to compare, only what the further requests cost, so that start-up drops out.
fn cpu_us_per_request(run: &Run, startup: Option<&Run>) -> Outcome<f64> {
    let (cpu_us, requests) = startup.map_or((0, 0), |s| (s.cpu_us, s.report.requests));
    if run.report.requests <= requests || run.cpu_us <= cpu_us {
        return Err("a long run did no more than a short one: this machine is too busy for --subtract-startup".into());
    }
    Ok((run.cpu_us - cpu_us) as f64 / (run.report.requests - requests) as f64)
}
