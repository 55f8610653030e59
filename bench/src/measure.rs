//! One run of one client against a target, as figures; and several in turn.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Serialize;

use crate::Outcome;
use crate::clients::{Client, Run};
use crate::serve::Server;
use crate::work::Work;

/// How long the uncounted first run and the runs that measure start-up take, in seconds.
pub(crate) const SHORT_SECONDS: u64 = 1;

/// One side of a comparison.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    pub(crate) work: Work,
    /// The target, where it is one that tells what it did.
    pub(crate) server: Option<Rc<RefCell<Server>>>,
}

/// One run of one contender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) client: &'static str,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) requests_per_second: f64,
    /// CPU of the client's process (user and system, all threads) per request, in microseconds.
    pub(crate) cpu_us_per_request: f64,
    /// Share of its cores that the client used.
    pub(crate) client_cpu_share: f64,
    /// The target's side, where it is one that tells.
    pub(crate) server: Option<ServerSample>,
}

/// What the target says of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ServerSample {
    /// CPU of the target's process per request, in microseconds.
    pub(crate) cpu_us_per_request: f64,
    /// Share of its cores that it used.
    pub(crate) cpu_share: f64,
    /// Requests that the target counted; the client may miss those in flight at its end.
    pub(crate) requests: u64,
}

/// Every contender once a round, in an order that rotates.
pub(crate) fn in_turn(
    contenders: &[Contender],
    rounds: u32,
    seconds: u64,
    subtract_startup: bool,
) -> Outcome<Vec<Vec<Sample>>> {
    let mut all = Vec::new();
    for round in 0..rounds as usize {
        let mut samples = Vec::new();
        for place in 0..contenders.len() {
            let contender = &contenders[(round + place) % contenders.len()];
            let sample = measure(contender, seconds, subtract_startup)?;
            eprintln!(
                "round {}/{rounds}: {:<18} {:>9.0} requests/s {:>7.3} µs",
                round + 1,
                sample.client,
                sample.requests_per_second,
                sample.cpu_us_per_request
            );
            samples.push(sample);
        }
        all.push(samples);
    }
    Ok(all)
}

fn measure(contender: &Contender, seconds: u64, subtract_startup: bool) -> Outcome<Sample> {
    let Contender { client, work, .. } = contender;
    let startup = if subtract_startup {
        Some(client.run(work, SHORT_SECONDS)?)
    } else {
        None
    };
    let server = contender.server.as_ref();
    let usage = || server.map(|s| s.borrow_mut().usage()).transpose();
    let before = usage()?;
    let run = client.run(work, seconds)?;
    let after = usage()?;
    let cores = work.cores.len() as f64;
    Ok(Sample {
        client: contender.name,
        requests: run.report.requests,
        failed: run.report.failed,
        requests_per_second: run.report.per_second,
        cpu_us_per_request: cpu_us_per_request(&run, startup.as_ref())?,
        client_cpu_share: run.cpu_us as f64 / 1e6 / run.wall_secs / cores,
        server: before.zip(after).map(|(before, after)| {
            let cpu_us = (after.cpu_us - before.cpu_us) as f64;
            let requests = after.requests - before.requests;
            ServerSample {
                cpu_us_per_request: cpu_us / requests.max(1) as f64,
                cpu_share: cpu_us / 1e6 / run.wall_secs / after.cores as f64,
                requests,
            }
        }),
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
