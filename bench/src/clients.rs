//! The clients that are compared: how each is run, and how its own report is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::process::{Finished, run_all_pinned, run_pinned};
use crate::work::{BASE_URL, Plan, Work};
use crate::{Outcome, floor};

/// What a client may take beyond its run, to start and to end.
const GRACE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
pub(crate) enum Client {
    Loadr(PathBuf),
    Wrk,
    Oha(PathBuf),
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Requests that failed, by status or by connection.
    pub(crate) failed: u64,
    /// Over the client's own idea of the run's length.
    pub(crate) per_second: f64,
}

/// The loadr-fast to measure: this one, or the one beside this program.
pub(crate) fn loadr(path: Option<&Path>) -> Outcome<Client> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("loadr-fast"),
    };
    if path.is_file() {
        return Ok(Client::Loadr(path));
    }
    Err(format!(
        "there is no loadr-fast at {}: build it with `cargo build --release`, or name one with --loadr",
        path.display()
    )
    .into())
}

/// The peers that there are here; for those that are not, what to do about it.
pub(crate) fn peers() -> (Vec<Client>, Vec<String>) {
    let mut notes = Vec::new();
    let mut peers = vec![
        (Client::Wrk, "Debian: `apt-get install wrk`"),
        (Client::Oha("oha".into()), "`cargo install oha`"),
    ];
    peers.retain(|(peer, how)| {
        let is_there = peer.version().is_some();
        if !is_there {
            notes.push(format!(
                "{} is left out: it is not installed ({how})",
                peer.name()
            ));
        }
        is_there
    });
    (peers.into_iter().map(|(peer, _)| peer).collect(), notes)
}

impl Client {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Loadr(_) => "loadr-fast",
            Self::Wrk => "wrk",
            Self::Oha(_) => "oha",
            Self::Floor => "floor",
        }
    }

    /// The version as the program tells it, or `None` when it cannot be run.
    pub(crate) fn version(&self) -> Option<String> {
        let (program, flag) = match self {
            Self::Loadr(path) | Self::Oha(path) => (path.as_path(), "--version"),
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

    /// Has it do this work for `seconds`, on the work's cores.
    pub(crate) fn run(&self, work: &Work, seconds: u64) -> Outcome<Run> {
        let limit = GRACE + Duration::from_secs(seconds);
        let url = work.url();
        let connections = work.connections;
        let run = |command| run_pinned(command, &work.cores, limit);
        match self {
            Self::Wrk => {
                let mut command = Command::new("wrk");
                command.arg("-t1").arg(format!("-c{connections}"));
                command.arg(format!("-d{seconds}s")).arg(url);
                let finished = run(command)?;
                let report = Report::of_wrk(&finished.stdout);
                finished.with(report.ok_or_else(|| unreadable(self, &finished.stdout))?)
            }
            Self::Oha(path) => {
                let mut command = Command::new(path);
                command.args(["--no-tui", "--output-format", "json", "--insecure"]);
                command.arg("-c").arg(connections.to_string());
                command.arg("-z").arg(format!("{seconds}s")).arg(url);
                let finished = run(command)?;
                let report = Report::of_oha(&finished.stdout);
                finished.with(report.ok_or_else(|| unreadable(self, &finished.stdout))?)
            }
            Self::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command
                    .arg("floor")
                    .args(["--address", &work.address.to_string()]);
                command.args(["--path", &work.path]);
                command.args(["--connections", &connections.to_string()]);
                command.args(["--seconds", &seconds.to_string()]);
                let finished = run(command)?;
                let told: floor::Told = serde_json::from_str(&finished.stdout)
                    .map_err(|_| unreadable(self, &finished.stdout))?;
                finished.with(Report {
                    requests: told.requests,
                    failed: told.failed,
                    per_second: told.requests as f64 / told.seconds,
                })
            }
            Self::Loadr(path) => {
                let folder = tempfile::tempdir()?;
                let together = if work.is_split { 1 } else { work.cores.len() };
                let processes = work.cores.len() / together;
                let (mut commands, mut summaries) = (Vec::new(), Vec::new());
                for cores in work.cores.chunks(together) {
                    let summary = folder.path().join(format!("{}.json", summaries.len()));
                    let mut command = loadr_command(path, folder.path(), work, seconds)?;
                    command.args(["--vus", &(connections / processes as u32).to_string()]);
                    command.args(["--cores", &core_list(cores)]);
                    command.arg("--summary-export").arg(&summary);
                    commands.push((command, cores.to_vec()));
                    summaries.push(summary);
                }
                let finished = run_all_pinned(commands, limit)?;
                let mut all = Report::default();
                for summary in summaries {
                    let text = std::fs::read_to_string(&summary)
                        .map_err(|error| format!("loadr-fast wrote no summary: {error}"))?;
                    let report = Report::of_loadr(&text).ok_or_else(|| unreadable(self, &text))?;
                    all.requests += report.requests;
                    all.failed += report.failed;
                    all.per_second += report.per_second;
                }
                finished.with(all)
            }
        }
    }
}

/// What is the same for every process of it.
fn loadr_command(
    program: &Path,
    folder: &Path,
    work: &Work,
    seconds: u64,
) -> std::io::Result<Command> {
    let mut command = Command::new(program);
    command.arg("run").arg("--quiet");
    match &work.plan {
        Plan::Simple => {
            let plan = folder.join("plan.yaml");
            std::fs::write(&plan, plan_text(&work.url()))?;
            command.arg(plan);
        }
        Plan::File(plan) => {
            command.arg(plan);
        }
    }
    command.args(["--duration", &format!("{seconds}s")]);
    command.env(BASE_URL, work.base_url());
    Ok(command)
}

/// As `--cores` takes them: with the last comma one core is a list, too.
fn core_list(cores: &[usize]) -> String {
    cores.iter().map(|core| format!("{core},")).collect()
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
fn plan_text(url: &str) -> String {
    format!(
        "name: side by side
defaults: {{ http: {{ tls: {{ insecure_skip_verify: true }} }} }}
scenarios:
  compare:
    executor: constant-vus
    vus: 1
    duration: 1s
    flow:
      - request:
          name: get
          url: {url}
          assert:
            - {{ type: status, equals: 200 }}
"
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

    /// From the JSON that oha prints.
    fn of_oha(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            summary: Summary,
            status_code_distribution: BTreeMap<String, u64>,
            error_distribution: BTreeMap<String, u64>,
        }
        #[derive(Deserialize)]
        struct Summary {
            total: f64,
        }
        let told: Told = serde_json::from_str(text).ok()?;
        let answered: u64 = told.status_code_distribution.values().sum();
        let good = told.status_code_distribution.get("200").copied();
        // Those that its end cut off were never finished, here as with the others.
        let errors = told.error_distribution.iter();
        let errors: u64 = errors
            .filter(|(text, _)| !text.contains("deadline"))
            .map(|(_, count)| count)
            .sum();
        (told.summary.total > 0.0).then(|| Self {
            requests: answered,
            failed: answered - good.unwrap_or(0) + errors,
            per_second: answered as f64 / told.summary.total,
        })
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
    fn the_report_of_oha_is_read() {
        let text = r#"{ "summary": { "successRate": 1.0, "total": 2.0, "slowest": 0.1, "requestsPerSec": 600.0 },
            "statusCodeDistribution": { "200": 1190, "500": 7 },
            "errorDistribution": { "aborted due to deadline": 64, "connection refused": 3 } }"#;
        let report = Report {
            requests: 1197,
            failed: 10,
            per_second: 598.5,
        };
        assert_eq!(Report::of_oha(text), Some(report));
        assert_eq!(Report::of_oha("{}"), None);
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
