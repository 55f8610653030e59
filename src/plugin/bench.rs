//! `loadr-fast plugin bench`: what a call costs.
//!
//! Each core has its own instance, as each shard has in a run. First the calls are made back to back, and only their
//! number and the time for all are looked at: that is the cost of a call. Then each is timed by itself, for the
//! percentiles; reading the clock twice is in those.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use loadr_engine::cores::{self, CoreChoice};
use loadr_plugin_host::{CallError, Host, Limits, Plugin};
use serde_json::json;

use super::response::{Response, ResponseArgs};
use super::{Directory, load, print, print_json};

pub(super) const HELP: &str = "\
Example:
  loadr-fast plugin bench my-extractor --body page.html --header 'content-type: text/html' --cores 1 --seconds 3

Exit codes:
  0 measured · 1 an error, also where three calls in a row were cut or trapped";

/// How many calls in a row may be cut or trap before the plugin is at fault. On a busy machine a call is cut now and then
/// because another process had the core.
const FAILURES_IN_A_ROW_MAX: u32 = 3;

/// How many calls are made between two looks at the clock.
const BATCH: u32 = 64;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    response: ResponseArgs,

    /// How long to measure, in seconds.
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = parse_seconds)]
    seconds: f64,

    /// How many cores to use, or which: `2-9,12`.
    #[arg(long, value_name = "N|LIST", default_value = "1")]
    cores: CoreChoice,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "write a number of seconds, such as 3".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be from 0.01 to 3600".into())
    }
}

/// What one core found.
struct Measured {
    calls: u64,
    errors: u64,
    elapsed: Duration,
    each_ns: Histogram<u64>,
}

pub(super) fn run(args: &BenchArgs, directory: &Directory) -> Result<u8, String> {
    let cores = cores::choose(Some(&args.cores), &cores::available(), false)?;
    let host = Host::new().map_err(|error| error.to_string())?;
    let plugin = load(&host, directory, &args.response.plugin)?;
    let response = args.response.read(&plugin)?;
    let limits = args.response.limits();
    let half = Duration::from_secs_f64(args.seconds / 2.0);
    let measured = thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|core| {
                let (plugin, response, limits) = (&plugin, &response, &limits);
                scope.spawn(move || {
                    // A core that cannot be pinned to is measured all the same.
                    core_affinity::set_for_current(core_affinity::CoreId { id: *core });
                    measure(plugin, response, limits, half)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| "a thread of the benchmark failed".to_owned())
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    let measured = measured
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {}: {error}", plugin.name(), error.kind()))?;

    let calls: u64 = measured.iter().map(|m| m.calls).sum();
    let errors: u64 = measured.iter().map(|m| m.errors).sum();
    let spent_ns: f64 = measured.iter().map(|m| m.elapsed.as_nanos() as f64).sum();
    let ns_per_call = spent_ns / calls as f64;
    let mut each_ns = histogram();
    for m in &measured {
        // All have the same bounds, which is the only thing that could keep them from being added.
        let _ = each_ns.add(&m.each_ns);
    }
    let percentile = |p| each_ns.value_at_quantile(p);
    if args.json {
        print_json(&json!({
            "plugin": plugin.name(),
            "version": plugin.version(),
            "as": response.kind.as_str(),
            "cores": cores,
            "calls": calls,
            "errors": errors,
            "ns_per_call": ns_per_call,
            "calls_per_second_per_core": 1e9 / ns_per_call,
            "percentiles_ns": {
                "p50": percentile(0.5),
                "p90": percentile(0.9),
                "p99": percentile(0.99),
                "p999": percentile(0.999),
                "max": each_ns.max(),
            },
        }));
    } else {
        print(&format!(
            "{} {} as {}, {} core(s), {calls} calls\n\n  ns per call                {ns_per_call:>12.0}\n  \
             calls per second per core  {:>12.0}\n\n  one call, in ns: p50 {}  p90 {}  p99 {}  p99.9 {}  max {}\n",
            plugin.name(),
            plugin.version(),
            response.kind.as_str(),
            cores.len(),
            1e9 / ns_per_call,
            percentile(0.5),
            percentile(0.9),
            percentile(0.99),
            percentile(0.999),
            each_ns.max(),
        ));
        if errors > 0 {
            print(&format!("  {errors} call(s) were cut or trapped\n"));
        }
    }
    Ok(0)
}

fn measure(
    plugin: &Plugin,
    response: &Response,
    limits: &Limits,
    half: Duration,
) -> Result<Measured, CallError> {
    let mut instance = plugin.instantiate(limits)?;
    let headers = response.headers();
    let mut text = (Vec::new(), String::new());
    let (mut errors, mut in_a_row) = (0, 0);
    let mut call = || {
        if let Err(error) = response.call(&mut instance, &headers, &mut text) {
            errors += 1;
            in_a_row += 1;
            if in_a_row == FAILURES_IN_A_ROW_MAX {
                return Err(error);
            }
        } else {
            in_a_row = 0;
        }
        Ok(())
    };
    // Faults in the guest's memory and fills the caches.
    let began = Instant::now();
    while began.elapsed() < half / 10 {
        call()?;
    }
    let mut calls = 0;
    let began = Instant::now();
    let elapsed = loop {
        for _ in 0..BATCH {
            call()?;
        }
        calls += u64::from(BATCH);
        let elapsed = began.elapsed();
        if elapsed >= half {
            break elapsed;
        }
    };
    let mut each_ns = histogram();
    let began = Instant::now();
    let mut before = began;
    while before.duration_since(began) < half {
        call()?;
        let now = Instant::now();
        each_ns.saturating_record(now.duration_since(before).as_nanos() as u64);
        before = now;
    }
    Ok(Measured {
        calls,
        errors,
        elapsed,
        each_ns,
    })
}

/// From a nanosecond to an hour, three digits.
fn histogram() -> Histogram<u64> {
    const HOUR_NS: u64 = 3_600_000_000_000;
    Histogram::new_with_bounds(1, HOUR_NS, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are good"))
}
