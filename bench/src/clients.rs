//! The clients that are compared: how each is run, and how its own report is read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::process::{Finished, run_pinned};
use crate::{CompareArguments, Outcome, floor};

/// What a client may take beyond its run, to start and to end.
const GRACE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
pub(crate) enum Client {
    Loadr(PathBuf),
    /// The same, though others have more than one request in flight.
    Unpipelined(PathBuf),
    Wrk,
    Floor,
}

/// One run as the client tells it, with what it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) report: Report,
    pub(crate) cpu_us: u64,
    pub(crate) wall_secs: f64,
}

/// What a client says that it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Requests that failed, by status or by connection.
    pub(crate) failed: u64,
    /// Over the client's own idea of the run's length.
    pub(crate) per_second: f64,
}

/// The clients that there are here, `loadr-fast` first; for those that are not, what to do about it.
pub(crate) fn available(
    loadr: Option<&Path>,
    pipeline: u32,
) -> Outcome<(Vec<Client>, Vec<String>)> {
    let mut clients = Vec::new();
    let mut notes = Vec::new();
    let beside = std::env::current_exe()?.with_file_name("loadr-fast");
    match loadr {
        Some(path) if path.is_file() => clients.push(Client::Loadr(path.to_owned())),
        Some(path) => return Err(format!("there is no loadr-fast at {}", path.display()).into()),
        None if beside.is_file() => clients.push(Client::Loadr(beside)),
        None => notes.push(format!(
            "loadr-fast is left out: there is no {}; build it with `cargo build --release`, or name one with --loadr",
            beside.display()
        )),
    }
    if Client::Wrk.version().is_some() {
        clients.push(Client::Wrk);
    } else {
        notes.push("wrk is left out: it is not installed (Debian: `apt-get install wrk`)".into());
    }
    if pipeline > 1 {
        if let Some(Client::Loadr(path)) = clients.first() {
            clients.push(Client::Unpipelined(path.clone()));
        }
    } else {
        clients.push(Client::Floor);
    }
    if clients.is_empty() {
        return Err("there is no client to run".into());
    }
    Ok((clients, notes))
}

impl Client {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Loadr(_) => "loadr-fast",
            Self::Unpipelined(_) => "unpipelined",
            Self::Wrk => "wrk",
            Self::Floor => "floor",
        }
    }

    /// The version as the program tells it, or `None` when it cannot be run.
    pub(crate) fn version(&self) -> Option<String> {
        let (program, flag) = match self {
            Self::Loadr(path) | Self::Unpipelined(path) => (path.as_path(), "--version"),
            // wrk prints its version and then its usage, and fails.
            Self::Wrk => (Path::new("wrk"), "-v"),
            Self::Floor => return Some(env!("CARGO_PKG_VERSION").into()),
        };
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.lines().next()?;
        let words = text.split_whitespace().skip(1).take(1);
        Some(words.collect())
    }

    /// Runs it for `seconds`.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        seconds: u64,
        arguments: &CompareArguments,
    ) -> Outcome<Run> {
        let limit = GRACE + Duration::from_secs(seconds);
        let core = arguments.client_core;
        let url = format!("http://{address}{}", arguments.path);
        let connections = arguments.connections;
        match self {
            Self::Wrk => {
                let mut command = Command::new("wrk");
                command.arg("-t1").arg(format!("-c{connections}"));
                command.arg(format!("-d{seconds}s"));
                let folder = tempfile::tempdir()?;
                if arguments.pipeline > 1 {
                    let script = folder.path().join("pipeline.lua");
                    std::fs::write(&script, wrk_script(arguments.pipeline))?;
                    command.arg("-s").arg(script);
                }
                command.arg(url);
                let finished = run_pinned(command, core, limit)?;
                let report = Report::of_wrk(&finished.stdout);
                finished.with(report.ok_or_else(|| unreadable(self, &finished.stdout))?)
            }
            Self::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .arg("floor")
                    .args(["--address", &address.to_string()]);
                command.args(["--path", &arguments.path]);
                command.args(["--connections", &connections.to_string()]);
                command.args(["--seconds", &seconds.to_string()]);
                let finished = run_pinned(command, core, limit)?;
                let told: floor::Told = serde_json::from_str(&finished.stdout)
                    .map_err(|_| unreadable(self, &finished.stdout))?;
                finished.with(Report {
                    requests: told.requests,
                    failed: told.failed,
                    per_second: told.requests as f64 / told.seconds,
                })
            }
            Self::Loadr(path) | Self::Unpipelined(path) => {
                let pipeline = match self {
                    Self::Unpipelined(_) => 1,
                    _ => arguments.pipeline,
                };
                let folder = tempfile::tempdir()?;
                let plan = folder.path().join("plan.yaml");
                let summary = folder.path().join("summary.json");
                std::fs::write(&plan, plan_text(&url, (connections, pipeline), seconds))?;
                let mut command = Command::new(path);
                command.arg("run").arg(&plan).arg("--quiet");
                command.args(["--cores", &format!("{core}-{core}")]);
                command.arg("--summary-export").arg(&summary);
                let finished = run_pinned(command, core, limit)?;
                let text = std::fs::read_to_string(&summary)
                    .map_err(|error| format!("loadr-fast wrote no summary: {error}"))?;
                finished.with(Report::of_loadr(&text).ok_or_else(|| unreadable(self, &text))?)
            }
        }
    }
}

impl Finished {
    fn with(&self, report: Report) -> Outcome<Run> {
        if report.requests == 0 {
            return Err("a client made no request at all".into());
        }
        Ok(Run {
            report,
            cpu_us: self.cpu_us,
            wall_secs: self.wall_secs,
        })
    }
}

fn unreadable(client: &Client, text: &str) -> String {
    format!(
        "cannot make sense of the report of {}:\n{text}",
        client.name()
    )
}

/// The plan for loadr-fast: what the others do, with the status checked.
fn plan_text(url: &str, (connections, pipeline): (u32, u32), seconds: u64) -> String {
    format!(
        "name: side by side
engine: {{ pipeline: {pipeline} }}
scenarios:
  compare:
    executor: constant-vus
    vus: {connections}
    duration: {seconds}s
    flow:
      - request:
          name: get
          url: {url}
          assert:
            - {{ type: status, equals: 200 }}
"
    )
}

/// So many requests at once for wrk, which sends the next when all of them are answered.
fn wrk_script(pipeline: u32) -> String {
    format!(
        "init = function(args)\n  local all = {{}}\n  for i = 1, {pipeline} do all[i] = wrk.format() end\n  \
         requests = table.concat(all)\nend\nrequest = function() return requests end\n"
    )
}

impl Report {
    /// From what wrk prints.
    fn of_wrk(text: &str) -> Option<Self> {
        let mut report = Self {
            requests: 0,
            failed: 0,
            per_second: 0.0,
        };
        for line in text.lines().map(str::trim) {
            if let Some((requests, _)) = line.split_once(" requests in ") {
                report.requests = requests.parse().ok()?;
            } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
                report.per_second = rate.trim().parse().ok()?;
            } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
                report.failed += count.trim().parse::<u64>().ok()?;
            } else if let Some(errors) = line.strip_prefix("Socket errors:") {
                // "connect 0, read 12, write 0, timeout 0"
                for error in errors.split(',') {
                    report.failed += error.split_whitespace().nth(1)?.parse::<u64>().ok()?;
                }
            }
        }
        (report.per_second > 0.0).then_some(report)
    }

    /// From the summary file of loadr-fast.
    fn of_loadr(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Summary {
            duration_secs: f64,
            metrics: Vec<Metric>,
        }
        #[derive(Deserialize)]
        struct Metric {
            metric: String,
            agg: Aggregate,
        }
        #[derive(Deserialize)]
        struct Aggregate {
            count: Option<u64>,
            rate: Option<f64>,
        }
        let summary: Summary = serde_json::from_str(text).ok()?;
        let find = |name: &str| summary.metrics.iter().find(|m| m.metric == name);
        let requests = find("http_reqs")?.agg.count?;
        let failed = find("http_req_failed").map_or(0.0, |metric| {
            metric.agg.rate.unwrap_or(0.0) * metric.agg.count.unwrap_or(0) as f64
        });
        Some(Self {
            requests,
            failed: failed.round() as u64,
            per_second: requests as f64 / summary.duration_secs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_wrk_is_read() {
        let text = "Running 3s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   452.62us  121.27us   6.35ms   89.07%
    Req/Sec   141.15k     4.37k  149.28k    83.33%
  421337 requests in 3.00s, 40.18MB read
  Socket errors: connect 0, read 12, write 0, timeout 1
  Non-2xx or 3xx responses: 7
Requests/sec: 140445.67
Transfer/sec:     13.39MB
";
        let report = Report {
            requests: 421_337,
            failed: 20,
            per_second: 140_445.67,
        };
        assert_eq!(Report::of_wrk(text), Some(report));
        assert_eq!(Report::of_wrk("unable to connect"), None);
    }

    #[test]
    fn the_summary_of_loadr_fast_is_read() {
        let text = r#"{ "name": "side by side", "run_id": "1", "started_ms": 0, "ended_ms": 4000, "duration_secs": 4.0,
            "scenarios": ["compare"],
            "metrics": [
              { "metric": "http_req_duration", "kind": "trend",
                "agg": { "count": 1000, "sum": 300.0, "avg": 0.3, "min": 0.1, "max": 2.0, "med": 0.3, "p90": 0.4,
                         "p95": 0.5, "p99": 0.9, "p999": 1.7, "rate": null, "last": null, "per_second": 250.0 } },
              { "metric": "http_reqs", "kind": "counter",
                "agg": { "count": 1000, "sum": 1000.0, "avg": null, "min": null, "max": null, "med": null, "p90": null,
                         "p95": null, "p99": null, "p999": null, "rate": null, "last": null, "per_second": 250.0 } },
              { "metric": "http_req_failed", "kind": "rate",
                "agg": { "count": 1000, "sum": null, "avg": null, "min": null, "max": null, "med": null, "p90": null,
                         "p95": null, "p99": null, "p999": null, "rate": 0.003, "last": null, "per_second": null } }
            ],
            "checks": [], "thresholds": [], "thresholds_passed": true, "aborted": null, "format": 1, "exit_code": 0 }"#;
        let report = Report {
            requests: 1000,
            failed: 3,
            per_second: 250.0,
        };
        assert_eq!(Report::of_loadr(text), Some(report));
        assert_eq!(Report::of_loadr("{}"), None);
    }
}
