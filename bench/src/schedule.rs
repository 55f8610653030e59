//! Whether the offered load is what the plan says, by the target's own log, and whether the reported latency is what the
//! target's schedule implies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use serde::Serialize;
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

/// The rate at which gaps are looked at.
const GAP_RATE: u64 = 500;

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

/// Prints figures beside what they should be, and keeps them.
#[derive(Default, Serialize)]
struct Table {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    what: String,
    found: f64,
    unit: &'static str,
    goal: String,
    /// `null`: nothing is asked of it.
    holds: Option<bool>,
}

impl Table {
    fn run(&mut self, name: &str) -> Rows<'_> {
        println!("\n{name}");
        Rows {
            table: self,
            run: name.to_owned(),
        }
    }

    fn missed(&self) -> usize {
        let missed = |row: &&Row| row.holds == Some(false);
        self.rows.iter().filter(missed).count()
    }
}

/// The rows of one run.
struct Rows<'t> {
    table: &'t mut Table,
    run: String,
}

impl Rows<'_> {
    fn row(&mut self, what: &str, found: f64, unit: &'static str, holds: bool, goal: &str) {
        self.add(what, found, unit, goal, Some(holds));
    }

    /// A figure to compare the others with.
    fn note(&mut self, what: &str, found: f64, unit: &'static str, about: &str) {
        self.add(what, found, unit, about, None);
    }

    fn add(&mut self, what: &str, found: f64, unit: &'static str, goal: &str, holds: Option<bool>) {
        let mark = match holds {
            Some(true) => '✓',
            Some(false) => '✗',
            None => ' ',
        };
        println!("  {mark} {what:<44} {found:>12.3} {unit:<4} {goal}");
        self.table.rows.push(Row {
            run: self.run.clone(),
            what: what.to_owned(),
            found,
            unit,
            goal: goal.to_owned(),
            holds,
        });
    }
}

/// Everything, as JSON.
#[derive(Serialize)]
struct Report<'t> {
    machine: &'t Machine,
    seconds: u64,
    rounds: u32,
    spin: &'t str,
    #[serde(flatten)]
    table: &'t Table,
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
    let mut table = Table::default();
    // In turn, so that what else the machine does meets all of them alike.
    for round in 1..=arguments.rounds {
        harness.bare(&mut table, round)?;
        harness.gaps(&mut table, round, None)?;
        harness.gaps(&mut table, round, Some(&arguments.spin))?;
    }
    harness.drift(&mut table)?;
    harness.ramp(&mut table)?;
    harness.stall(&mut table)?;
    if let Some(file) = &arguments.json {
        let report = Report {
            machine: &machine,
            seconds: arguments.seconds,
            rounds: arguments.rounds,
            spin: &arguments.spin,
            table: &table,
        };
        std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    match table.missed() {
        0 => println!("\nevery figure is what it should be"),
        n => println!(
            "\n{n} figures are not what they should be; is anything else at work on these cores?"
        ),
    }
    Ok(())
}

struct Harness<'a> {
    loadr: PathBuf,
    arguments: &'a ScheduleArguments,
}

impl Harness<'_> {
    /// Runs one scenario against a fresh target.
    fn run(
        &self,
        scenario: &str,
        stall: Option<Stall>,
        expected: usize,
        flags: &[&str],
    ) -> Outcome<Run> {
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
            .args(["run", "--quiet", "--cores", "1"])
            .args(flags)
            .arg("--summary-export")
            .args([&summary, &plan]);
        let limit = Duration::from_secs(self.arguments.seconds + 30);
        run_pinned(command, &[self.arguments.client_core], limit)?;
        let log = target.stop()?;
        let summary = serde_json::from_str(&std::fs::read_to_string(&summary)?)?;
        Ok(Run { log, summary })
    }

    /// What a bare loop does that sleeps until each request is due: what this machine allows at this time.
    fn bare(&self, table: &mut Table, round: u32) -> Outcome<()> {
        let seconds = self.arguments.seconds;
        let mut rows = table.run(&format!(
            "round {round}: a bare loop that sleeps until the due time, {GAP_RATE}/s for {seconds} s"
        ));
        let target = ArrivalLog::start(
            self.arguments.server_core,
            None,
            (GAP_RATE * seconds) as usize,
        )?;
        let (address, core) = (target.address, self.arguments.client_core);
        let sent = std::thread::spawn(move || send_by_sleeping(address, core, seconds)).join();
        sent.map_err(|_| "the bare loop broke off")??;
        let (p50, p90) = gap_errors(&target.stop()?);
        rows.note("error of a gap, p50", p50, "ms", "");
        rows.note("error of a gap, p90", p90, "ms", "");
        Ok(())
    }

    /// Evenly spaced arrivals: the error of the gap between each two.
    fn gaps(&self, table: &mut Table, round: u32, spin: Option<&str>) -> Outcome<()> {
        let seconds = self.arguments.seconds;
        let planned = GAP_RATE * seconds;
        let flags = spin.map_or(Vec::new(), |spin| vec!["--spin", spin]);
        let mut rows = table.run(&format!(
            "round {round}: {GAP_RATE}/s for {seconds} s{}",
            spin.map_or(String::new(), |spin| format!(", --spin {spin}"))
        ));
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {GAP_RATE}, duration: {seconds}s, pre_allocated_vus: 20, max_vus: 500"),
            None,
            planned as usize,
            &flags,
        )?;
        count(&mut rows, &run, planned);
        let (p50, p90) = gap_errors(&run.log);
        rows.row(
            "error of a gap, p50",
            p50,
            "ms",
            p50 <= 0.03,
            "at most 0.03",
        );
        rows.row("error of a gap, p90", p90, "ms", p90 <= 0.1, "at most 0.1");
        lag(&mut rows, &run);
        Ok(())
    }

    /// A high rate: how far the number of arrivals ever is from the schedule, as time.
    fn drift(&self, table: &mut Table) -> Outcome<()> {
        const RATE: u64 = 20_000;
        let seconds = self.arguments.seconds;
        let planned = RATE * seconds;
        let mut rows = table.run(&format!("{RATE}/s for {seconds} s"));
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {RATE}, duration: {seconds}s, pre_allocated_vus: 200, max_vus: 2000"),
            None,
            planned as usize,
            &[],
        )?;
        count(&mut rows, &run, planned);
        let off = |(k, came_ns): (usize, &u64)| {
            (*came_ns as f64 - k as f64 * 1e9 / RATE as f64).abs() / 1e6
        };
        let most = run.log.iter().enumerate().map(off).fold(0.0, f64::max);
        rows.row(
            "count off the schedule, at most",
            most,
            "ms",
            most <= 5.0,
            "at most 5",
        );
        lag(&mut rows, &run);
        Ok(())
    }

    /// A linear ramp: the count in each second.
    fn ramp(&self, table: &mut Table) -> Outcome<()> {
        const TOP: u64 = 5_000;
        let seconds = self.arguments.seconds;
        let mut rows = table.run(&format!("0 to {TOP}/s in {seconds} s"));
        let planned = TOP * seconds / 2;
        let run = self.run(
            &format!("executor: ramping-arrival-rate, stages: [ {{ duration: {seconds}s, target: {TOP} }} ], pre_allocated_vus: 100, max_vus: 1000"),
            None,
            planned as usize,
            &[],
        )?;
        count(&mut rows, &run, planned);
        let worst = (0..seconds)
            .map(|second| {
                let within = |came: &&u64| **came / 1_000_000_000 == second;
                let found = run.log.iter().filter(within).count() as f64;
                let wanted = TOP as f64 / seconds as f64 * (second as f64 + 0.5);
                (found - wanted).abs() / wanted * 100.0
            })
            .fold(0.0, f64::max);
        rows.row(
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
        let mut rows = table.run(&format!(
            "{RATE}/s for {seconds} s, and the target stalls 1 s in every 5"
        ));
        let planned = RATE * seconds;
        let run = self.run(
            &format!("executor: constant-arrival-rate, rate: {RATE}, duration: {seconds}s, pre_allocated_vus: 20, max_vus: 400"),
            Some(STALL),
            planned as usize,
            &[],
        )?;
        count(&mut rows, &run, planned);
        for (figure, wanted, part) in [("p90", 500.0, 0.08), ("p99", 950.0, 0.05)] {
            let found = run.figure("http_req_response", figure);
            let holds = (found - wanted).abs() <= wanted * part;
            let bounds = format!("{wanted} ± {} %", part * 100.0);
            rows.row(&format!("response, {figure}"), found, "ms", holds, &bounds);
        }
        for figure in ["p90", "p99"] {
            let found = run.figure("http_req_duration", figure);
            let about = "the service time: what the target took once it was asked";
            rows.note(&format!("service, {figure}"), found, "ms", about);
        }
        let closed = self.run(
            &format!("executor: constant-vus, vus: 1, duration: {seconds}s, pacing: {{ iterations_per_second: {RATE} }}"),
            Some(STALL),
            planned as usize,
            &[],
        )?;
        for figure in ["p90", "p99"] {
            let found = closed.figure("http_req_duration", figure);
            let about = "what one user that waits for each answer would report";
            rows.note(&format!("closed model, {figure}"), found, "ms", about);
        }
        let about = format!("of {planned} that the schedule has");
        rows.note(
            "closed model, requests",
            closed.log.len() as f64,
            "",
            &about,
        );
        Ok(())
    }
}

fn count(rows: &mut Rows<'_>, run: &Run, planned: u64) {
    let found = run.log.len() as u64;
    rows.row(
        "requests that came",
        found as f64,
        "",
        found == planned,
        &format!("{planned}"),
    );
    rows.row("dropped", run.dropped(), "", run.dropped() == 0.0, "0");
}

fn lag(rows: &mut Rows<'_>, run: &Run) {
    for (name, figure) in [("p50", "med"), ("p99", "p99")] {
        let found = run.figure("generator_lag", figure);
        let about = "the generator's own word";
        rows.note(&format!("generator lag, {name}"), found, "ms", about);
    }
    let late = run.summary["generator"]["late_iterations"].as_f64();
    let about = "began more than 10 ms after they were due";
    rows.note("late iterations", late.unwrap_or(f64::NAN), "", about);
}

/// The 50th and 90th percentile of how far gaps are off, in milliseconds.
fn gap_errors(log: &[u64]) -> (f64, f64) {
    let due = 1e9 / GAP_RATE as f64;
    let mut errors: Vec<f64> = log
        .windows(2)
        .map(|pair| ((pair[1] - pair[0]) as f64 - due).abs() / 1e6)
        .collect();
    errors.sort_unstable_by(f64::total_cmp);
    (percentile(&errors, 0.5), percentile(&errors, 0.9))
}

/// One request after the other on one connection, each when it is due.
fn send_by_sleeping(address: SocketAddr, core: usize, seconds: u64) -> std::io::Result<()> {
    core_affinity::set_for_current(CoreId { id: core });
    // As loadr-fast has it; where it is not allowed, sleeps end a little later.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    let start = Instant::now();
    for k in 0..GAP_RATE * seconds {
        let due = start + Duration::from_nanos(k * 1_000_000_000 / GAP_RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bare\r\n\r\n")?;
        if stream.read(&mut buffer)? == 0 {
            break;
        }
    }
    Ok(())
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
