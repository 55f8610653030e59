//! Whether the offered load is what the plan says, by the target's own log, and whether the reported latency is what the
//! target's schedule implies.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::arrivals::{ArrivalLog, Stall};
use crate::machine::Machine;
use crate::process::run_pinned;
use crate::{Outcome, ScheduleArguments};

/// The target's stall: 1 s in every 5.
const STALL: Stall = Stall {
    period_ns: 5_000_000_000,
    stall_ns: 1_000_000_000,
};

/// What a run left.
struct Run {
    /// By the target: nanoseconds from the first request to each.
    log: Vec<u64>,
    summary: Value,
}

impl Run {
    fn figure(&self, metric: &str, figure: &str) -> f64 {
        let metrics = self.summary["metrics"].as_array();
        let one = metrics.and_then(|all| all.iter().find(|m| m["metric"] == metric));
        one.and_then(|m| m["agg"][figure].as_f64())
            .unwrap_or(f64::NAN)
    }

    fn dropped(&self) -> f64 {
        self.figure("dropped_iterations", "count")
    }
}

/// Prints figures beside what they should be.
struct Table {
    missed: u32,
}

impl Table {
    fn row(&mut self, what: &str, found: f64, unit: &str, holds: bool, wanted: &str) {
        self.missed += u32::from(!holds);
        let mark = if holds { '✓' } else { '✗' };
        println!("  {mark} {what:<44} {found:>12.3} {unit:<4} {wanted}");
    }
}

pub(crate) fn run(arguments: &ScheduleArguments) -> Outcome<()> {
    let harness = Harness {
        loadr: match &arguments.loadr {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("loadr-fast"),
        },
        arguments,
    };
    let machine = Machine::here();
    println!(
        "{} · Linux {} · client on core {}, target on core {} · load average {}",
        machine.cpu,
        machine.kernel,
        arguments.client_core,
        arguments.server_core,
        machine.load_before
    );
    let mut table = Table { missed: 0 };
    harness.gaps(&mut table)?;
    harness.drift(&mut table)?;
    harness.ramp(&mut table)?;
    harness.stall(&mut table)?;
    match table.missed {
        0 => Ok(()),
        n => {
            println!(
                "\n{n} figures are not what they should be; is anything else at work on these cores?"
            );
            Ok(())
        }
    }
}

struct Harness<'a> {
    loadr: PathBuf,
    arguments: &'a ScheduleArguments,
}

impl Harness<'_> {
    /// Runs one scenario against a fresh target.
    fn run(&self, scenario: &str, stall: Option<Stall>, expected: usize) -> Outcome<Run> {
        let target = ArrivalLog::start(self.arguments.server_core, stall, expected)?;
        let folder = tempfile::tempdir()?;
        let (plan, summary) = (
            folder.path().join("plan.yaml"),
            folder.path().join("s.json"),
        );
        let text = format!(
            "scenarios: {{ s: {{ {scenario}, flow: [ {{ request: {{ url: 'http://{}/' }} }} ] }} }}\n",
            target.address
        );
        std::fs::write(&plan, text)?;
        let mut command = Command::new(&self.loadr);
        command
            .args(["run", "--quiet", "--cores", "1", "--summary-export"])
            .args([&summary, &plan]);
        let limit = Duration::from_secs(self.arguments.seconds + 60);
        run_pinned(command, &[self.arguments.client_core], limit)?;
        let log = target.stop()?;
        let summary = serde_json::from_str(&std::fs::read_to_string(&summary)?)?;
        Ok(Run { log, summary })
    }

    /// Evenly spaced arrivals: the error of the gap between each two.
    fn gaps(&self, table: &mut Table) -> Outcome<()> {
        const RATE: u64 = 500;
        let seconds = self.arguments.seconds;
        let planned = RATE * seconds;
        println!("\n{RATE}/s for {seconds} s");
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {RATE}, duration: {seconds}s, pre_allocated_vus: 20, max_vus: 500"),
            None,
            planned as usize,
        )?;
        count(table, &run, planned);
        let due = 1e9 / RATE as f64;
        let mut errors: Vec<f64> = run
            .log
            .windows(2)
            .map(|pair| ((pair[1] - pair[0]) as f64 - due).abs() / 1e6)
            .collect();
        errors.sort_unstable_by(f64::total_cmp);
        let (p50, p90) = (percentile(&errors, 0.5), percentile(&errors, 0.9));
        table.row(
            "error of a gap, p50",
            p50,
            "ms",
            p50 <= 0.03,
            "at most 0.03",
        );
        table.row("error of a gap, p90", p90, "ms", p90 <= 0.1, "at most 0.1");
        lag(&run);
        Ok(())
    }

    /// A high rate: how far the number of arrivals ever is from the schedule, as time.
    fn drift(&self, table: &mut Table) -> Outcome<()> {
        const RATE: u64 = 20_000;
        let seconds = self.arguments.seconds;
        let planned = RATE * seconds;
        println!("\n{RATE}/s for {seconds} s");
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {RATE}, duration: {seconds}s, pre_allocated_vus: 200, max_vus: 2000"),
            None,
            planned as usize,
        )?;
        count(table, &run, planned);
        let off = |(k, came_ns): (usize, &u64)| {
            (*came_ns as f64 - k as f64 * 1e9 / RATE as f64).abs() / 1e6
        };
        let most = run.log.iter().enumerate().map(off).fold(0.0, f64::max);
        table.row(
            "count off the schedule, at most",
            most,
            "ms",
            most <= 5.0,
            "at most 5",
        );
        lag(&run);
        Ok(())
    }

    /// A linear ramp: the count in each second.
    fn ramp(&self, table: &mut Table) -> Outcome<()> {
        const TOP: u64 = 5_000;
        let seconds = self.arguments.seconds;
        println!("\n0 to {TOP}/s in {seconds} s");
        let planned = TOP * seconds / 2;
        let run = self.run(
            &format!("executor: ramping-arrival-rate, stages: [ {{ duration: {seconds}s, target: {TOP} }} ], pre_allocated_vus: 100, max_vus: 1000"),
            None,
            planned as usize,
        )?;
        count(table, &run, planned);
        let worst = (0..seconds)
            .map(|second| {
                let within = |came: &&u64| **came / 1_000_000_000 == second;
                let found = run.log.iter().filter(within).count() as f64;
                let wanted = TOP as f64 / seconds as f64 * (second as f64 + 0.5);
                (found - wanted).abs() / wanted * 100.0
            })
            .fold(0.0, f64::max);
        table.row(
            "count of a second, off by at most",
            worst,
            "%",
            worst <= 0.5,
            "at most 0.5",
        );
        Ok(())
    }

    /// A target that stalls: a fifth of all requests come in a stall and wait for its end, evenly from 0 to 1 s.
    fn stall(&self, table: &mut Table) -> Outcome<()> {
        const RATE: u64 = 200;
        let seconds = self.arguments.seconds.next_multiple_of(5);
        println!("\n{RATE}/s for {seconds} s, and the target stalls 1 s in every 5");
        let planned = RATE * seconds;
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {RATE}, duration: {seconds}s, pre_allocated_vus: 20, max_vus: 400"),
            Some(STALL),
            planned as usize,
        )?;
        count(table, &run, planned);
        for (figure, wanted, part) in [("p90", 500.0, 0.08), ("p99", 950.0, 0.05)] {
            let found = run.figure("http_req_response", figure);
            let holds = (found - wanted).abs() <= wanted * part;
            let bounds = format!("{wanted} ± {} %", part * 100.0);
            table.row(&format!("response, {figure}"), found, "ms", holds, &bounds);
        }
        println!(
            "    service, p90 {:.3} ms, p99 {:.3} ms",
            run.figure("http_req_duration", "p90"),
            run.figure("http_req_duration", "p99")
        );
        let closed = self.run(
            &format!("executor: constant-vus, vus: 1, duration: {seconds}s, pacing: {{ iterations_per_second: {RATE} }}"),
            Some(STALL),
            planned as usize,
        )?;
        println!(
            "    what a closed model of one user at that rate would report: p90 {:.3} ms, p99 {:.3} ms, of {} requests",
            closed.figure("http_req_duration", "p90"),
            closed.figure("http_req_duration", "p99"),
            closed.log.len()
        );
        Ok(())
    }
}

fn count(table: &mut Table, run: &Run, planned: u64) {
    let found = run.log.len() as u64;
    table.row(
        "requests that came",
        found as f64,
        "",
        found == planned,
        &format!("{planned}"),
    );
    table.row("dropped", run.dropped(), "", run.dropped() == 0.0, "0");
}

fn lag(run: &Run) {
    println!(
        "    the generator's own word: lag p50 {:.3} ms, p99 {:.3} ms; {} began more than 10 ms late",
        run.figure("generator_lag", "med"),
        run.figure("generator_lag", "p99"),
        run.summary["generator"]["late_iterations"]
    );
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
