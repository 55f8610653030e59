//! One plan made by several real processes: what a server gets of all of them is what the plan says, and one summary of
//! them is that of one run.
#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap or expect is a failed test"
)]

mod common;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{interrupt, loadr, wait_until};
use serde_json::Value;

/// A server that answers everything and keeps the target of each request, in order, with when it came.
struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let mut lines = BufReader::new(stream).lines();
                    let mut target = None;
                    while let Some(Ok(line)) = lines.next() {
                        if let Some(rest) = line.strip_prefix("GET ") {
                            let path = rest.split(' ').next().unwrap_or_default();
                            target = Some((Instant::now(), path.to_owned()));
                        } else if line.is_empty() {
                            log.lock().unwrap().extend(target.take());
                            if writer
                                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                                .is_err()
                            {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Self { address, log }
    }

    /// The targets of all requests of a scenario, split at their slashes.
    fn of(&self, scenario: &str) -> Vec<Vec<String>> {
        let log = self.log.lock().unwrap();
        let parts = log
            .iter()
            .map(|(_, target)| target.split('/').skip(1).map(str::to_owned).collect());
        parts
            .filter(|parts: &Vec<String>| parts[0] == scenario)
            .map(|parts| parts[1..].to_vec())
            .collect()
    }

    fn len(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Seconds since 1970, so far ahead that every process has loaded everything by then.
fn soon(ahead: Duration) -> String {
    let at = SystemTime::now() + ahead;
    format!(
        "{:.3}",
        at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    )
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a plan in as many segments as there are numbers of cores, all at once.
fn run_segments(plan: &Path, cores: &[&str], flags: &[&str], launch: &str) -> Vec<Output> {
    let of = cores.len();
    let children: Vec<Child> = (0..of)
        .map(|index| {
            let mut command = loadr();
            command
                .args(["run", "--quiet", "--oversubscribe", "--cores", cores[index]])
                .args(["--segment", &format!("{index}/{of}")])
                .args(flags)
                .arg(plan)
                .env("LOADR_LAUNCH", launch);
            spawn(&mut command)
        })
        .collect();
    children.into_iter().map(ended).collect()
}

fn assert_success(outputs: &[Output]) {
    for output in outputs {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

/// Merges a folder; the exit code, what was said, and the summary.
fn merge(folder: &Path, flags: &[&str]) -> (i32, String, Value) {
    let out = folder.join("merged.json");
    let _ = fs::remove_file(&out);
    let output = loadr()
        .args(["merge", "--quiet"])
        .args(flags)
        .arg("-o")
        .arg(&out)
        .arg(folder)
        .output()
        .unwrap();
    let summary = fs::read(&out).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
    (output.status.code().unwrap(), text(&output.stderr), summary)
}

/// A figure of a summary's counter.
fn count(summary: &Value, metric: &str) -> u64 {
    let metrics = summary["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|one| one["metric"] == metric);
    found.unwrap()["agg"]["count"].as_u64().unwrap()
}

/// One scenario of each kind whose work is counted.
const COUNTED: &str = "
data:
  row: { type: csv, path: rows.csv, on_eof: stop }
scenarios:
  uniform:
    executor: constant-arrival-rate
    rate: 150
    duration: 2s
    pre_allocated_vus: 7
    max_vus: 300
    flow: [ { request: { url: '/uniform/${vu}/${counter}/${data.row.n}' } } ]
  poisson:
    executor: constant-arrival-rate
    arrival: poisson
    rate: 100
    duration: 2s
    pre_allocated_vus: 250
    flow: [ { request: { url: '/poisson/${vu}/${counter}/${uuid}' } } ]
  shared:
    executor: shared-iterations
    vus: 4
    iterations: 101
    flow: [ { request: { url: '/shared/${vu}/${counter}/${uuid}' } } ]
  each:
    executor: per-vu-iterations
    vus: 5
    iterations: 3
    flow: [ { request: { url: '/each/${vu}/${iteration}' } } ]
  two:
    executor: per-vu-iterations
    vus: 2
    iterations: 1
    flow: [ { request: { url: '/two/${vu}' } } ]
";

/// The plan against a server, with its data.
fn counted(folder: &Path, server: &Server) -> PathBuf {
    let rows: String = (0..300).map(|n| format!("{n}\n")).collect();
    write(folder, "rows.csv", &format!("n\n{rows}"));
    let base = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}\nthresholds: {{ http_reqs: [ 'count>500' ] }}\n",
        server.address
    );
    write(folder, "plan.yaml", &(base + COUNTED))
}

/// What a server got of [`COUNTED`], whoever made it; how many Poisson arrivals there were.
fn check_counted(server: &Server) -> usize {
    // 150 a second for two seconds, each with a row that no other has.
    let uniform = server.of("uniform");
    assert_eq!(uniform.len(), 300);
    let rows: BTreeSet<&str> = uniform.iter().map(|parts| parts[2].as_str()).collect();
    assert_eq!(rows.len(), 300);
    let (poisson, shared) = (server.of("poisson"), server.of("shared"));
    assert_eq!(shared.len(), 101);
    let all = uniform.iter().chain(&poisson).chain(&shared);
    let numbers: BTreeSet<&str> = all.map(|parts| parts[1].as_str()).collect();
    assert_eq!(numbers.len(), 300 + 101 + poisson.len());
    let drawn: BTreeSet<&str> = poisson
        .iter()
        .chain(&shared)
        .map(|parts| parts[2].as_str())
        .collect();
    assert_eq!(drawn.len(), 101 + poisson.len());
    // Every user is there, and does what one user does.
    let mut each: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for parts in server.of("each") {
        let users = each.entry(parts[0].parse().unwrap()).or_default();
        users.push(parts[1].parse().unwrap());
    }
    let users: Vec<u32> = each.keys().copied().collect();
    assert_eq!(users, [1, 2, 3, 4, 5]);
    for iterations in each.values_mut() {
        iterations.sort_unstable();
        let first = iterations[0];
        assert_eq!(*iterations, [first, first + 1, first + 2]);
    }
    let mut two: Vec<String> = server
        .of("two")
        .into_iter()
        .map(|parts| parts[0].clone())
        .collect();
    two.sort_unstable();
    assert_eq!(two, ["1", "2"]);
    poisson.len()
}

#[test]
fn processes_of_different_sizes_make_between_them_what_one_makes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let alone = Server::start();
    let plan = counted(folder.path(), &alone);
    let output = loadr()
        .args(["run", "--quiet", "--seed", "11", "--cores", "1"])
        .arg(&plan)
        .output()
        .unwrap();
    assert_success(&[output]);
    let poisson = check_counted(&alone);

    let server = Server::start();
    let plan = counted(folder.path(), &server);
    // A folder that the first of them makes.
    let results = folder.path().join("results");
    let histograms = results.join("{segment}.hlog");
    let histograms = histograms.to_str().unwrap();
    let printed = loadr()
        .args([
            "run",
            "--print-plan",
            "--segment",
            "0/3",
            "--histograms",
            histograms,
        ])
        .arg(&plan)
        .output()
        .unwrap();
    assert_success(&[printed]);
    assert!(!results.exists(), "what runs nothing makes nothing");
    let lines = folder.path().join("{segment}.jsonl");
    let lines = lines.to_str().unwrap();
    // Three segments; the scenario `two` has fewer users than that.
    let outputs = run_segments(
        &plan,
        &["1", "3", "2"],
        &[
            "--seed",
            "11",
            "--histograms",
            histograms,
            "--output",
            &format!("json={lines}"),
        ],
        "",
    );
    // Each has less than the threshold asks for, which is about all of them.
    assert_success(&outputs);
    assert_eq!(
        check_counted(&server),
        poisson,
        "the schedule is that of the seed"
    );

    // A receiver of all of them would tell their series apart.
    let fed = fs::read_to_string(folder.path().join("2.jsonl")).unwrap();
    assert!(fed.contains("\"segment\":\"2\""), "{fed}");

    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(count(&all, "http_reqs"), server.len() as u64);
    assert_eq!(count(&all, "iterations"), server.len() as u64);
    assert_eq!(
        all["thresholds"][0]["observed"].as_f64(),
        Some(server.len() as f64)
    );
    assert_eq!(all["merged"]["segments"].as_array().unwrap().len(), 3);
    assert_eq!(all["load_hash"].as_str().unwrap().len(), 64);
    // Users of all: no more than the plan has.
    let most = all["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["metric"] == "vus_max");
    assert_eq!(
        most.unwrap()["agg"]["last"].as_f64(),
        Some(300.0 + 250.0 + 4.0 + 5.0 + 2.0)
    );
    fs::remove_file(results.join("1.hlog")).unwrap();
    let (code, stderr, _) = merge(&results, &[]);
    assert!(
        code == 1 && stderr.contains("segment 1 of 3 is missing"),
        "{stderr}"
    );
    let (_, _, part) = merge(&results, &["--allow-missing"]);
    assert_eq!(part["merged"]["missing"][0], "segment 1 of 3 is missing");
}

#[test]
fn a_segment_that_has_nothing_to_do_ends_and_counts_as_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios:
  loop: {{ executor: per-vu-iterations, vus: 1, iterations: 2, flow: [ {{ request: {{ url: '/loop' }} }} ] }}
  due: {{ executor: constant-arrival-rate, rate: 10, duration: 500ms, pre_allocated_vus: 1, flow: [ {{ request: {{ url: '/due' }} }} ] }}
  shared: {{ executor: shared-iterations, vus: 1, iterations: 3, flow: [ {{ request: {{ url: '/shared' }} }} ] }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let histograms = results.join("{segment}.hlog");
    let flags = ["--histograms", histograms.to_str().unwrap()];
    assert_success(&run_segments(&plan, &["1", "2", "1"], &flags, ""));
    let counts = ["loop", "shared"].map(|scenario| server.of(scenario).len());
    assert_eq!(counts, [2, 3]);
    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(count(&all, "http_reqs"), server.len() as u64);
}

#[test]
fn segments_that_are_given_an_instant_begin_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: per-vu-iterations, vus: 2, iterations: 1, flow: [ {{ request: {{ url: '/x' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let histograms = results.join("{segment}.hlog");
    let histograms = histograms.to_str().unwrap();
    // A machine that is busy with other things may take long to load a plan.
    let began = [3, 15, 60].into_iter().find_map(|secs| {
        let start_at = soon(Duration::from_secs(secs));
        let flags = ["--start-at", &start_at, "--histograms", histograms];
        let outputs = run_segments(&plan, &["1", "1"], &flags, "");
        let is_late =
            |output: &Output| text(&output.stderr).contains("everything was ready for it only");
        if outputs.iter().any(is_late) {
            return None;
        }
        assert_success(&outputs);
        Some(start_at)
    });
    let at_ms = began.unwrap().parse::<f64>().unwrap() * 1e3;
    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!((all["started_ms"].as_f64().unwrap() - at_ms).abs() <= 1.0);
    let reasons = all["generator"]["reasons"].to_string();
    assert!(!reasons.contains("did not begin together"), "{reasons}");
    assert!(all["clock"]["error_max_ms"].is_number(), "{}", all["clock"]);
}

#[test]
fn users_of_a_ramp_and_a_paced_scenario_are_split_and_each_is_one_of_a_kind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios:
  ramp:
    executor: ramping-vus
    start_vus: 3
    stages: [ {{ duration: 1s, target: 8 }}, {{ duration: 1s, target: 8 }} ]
    think_time: {{ type: constant, duration: 100ms }}
    flow: [ {{ request: {{ url: '/ramp/${{vu}}' }} }} ]
  paced:
    executor: constant-vus
    vus: 6
    duration: 2s
    pacing: {{ iterations_per_second: 50 }}
    flow: [ {{ request: {{ url: '/paced/${{vu}}' }} }} ]
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    assert_success(&run_segments(&plan, &["1", "2"], &[], ""));
    let users = |scenario: &str| -> BTreeSet<u32> {
        let parts = server.of(scenario).into_iter();
        parts.map(|parts| parts[0].parse().unwrap()).collect()
    };
    assert_eq!(users("ramp"), (1..=8).collect());
    assert_eq!(users("paced"), (1..=6).collect());
    // Never more than the rate, whatever the machine does; a slot at the end may be one too many.
    let paced = server.of("paced").len();
    assert!((6..=101).contains(&paced), "{paced}");
}

#[test]
fn segments_that_were_given_no_seed_draw_one_schedule_and_another_one_in_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: shared-iterations, vus: 2, iterations: 4, flow: [ {{ request: {{ url: '/s/${{uuid}}' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let mut seeds = Vec::new();
    for run in ["a", "b"] {
        let results = folder.path().join(run);
        fs::create_dir(&results).unwrap();
        let named = results.join("{segment}.json");
        let named = named.to_str().unwrap();
        assert_success(&run_segments(
            &plan,
            &["1", "1"],
            &["--summary-export", named],
            run,
        ));
        let seed = |index: u32| -> u64 {
            let text = fs::read(results.join(format!("{index}.json"))).unwrap();
            let summary: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(summary["segment"]["index"].as_u64(), Some(index.into()));
            summary["generator"]["seed"].as_u64().unwrap()
        };
        assert_eq!(seed(0), seed(1));
        seeds.push(seed(0));
    }
    assert_ne!(seeds[0], seeds[1]);
    let drawn: BTreeSet<Vec<String>> = server.of("s").into_iter().collect();
    assert_eq!(drawn.len(), 8);
}

/// The error of a run that cannot be.
fn refused(flags: &[&str], environment: &[(&str, &str)], plan: &Path) -> String {
    let mut command = loadr();
    command.arg("run").args(flags).arg(plan);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert_eq!(
        output.status.code(),
        if text(&output.stderr).contains("Usage") || text(&output.stderr).contains("--help") {
            Some(2)
        } else {
            Some(1)
        }
    );
    text(&output.stderr)
}

#[test]
fn what_is_no_part_of_this_plan_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let scenario = |text: &str| {
        let plan = format!(
            "defaults: {{ http: {{ base_url: 'http://{}' }} }}\nscenarios:\n  s: {text}\n",
            server.address
        );
        write(folder.path(), "plan.yaml", &plan)
    };
    let request = "{ request: { url: '/x' } }";
    let plan = scenario(&format!(
        "{{ executor: externally-controlled, max_vus: 4, flow: [ {request} ] }}"
    ));
    let error = refused(&["--segment", "0/2"], &[], &plan);
    assert!(
        error.contains("scenario `s` is `externally-controlled`")
            && error.contains("--segment none"),
        "{error}"
    );
    let plan = scenario(&format!(
        "{{ executor: constant-vus, vus: 4, duration: 1s, flow: [ {{ rendezvous: {{ name: gate, users: 2 }} }}, {request} ] }}"
    ));
    let error = refused(&["--segment", "0/2"], &[], &plan);
    assert!(
        error.contains("the rendezvous `gate` of scenario `s`"),
        "{error}"
    );

    let plan = scenario(&format!(
        "{{ executor: constant-vus, vus: 4, duration: 100ms, flow: [ {request} ] }}"
    ));
    for (flags, environment, says) in [
        (
            &["--segment", "2/2"][..],
            &[][..],
            "there is no segment 2 of 2",
        ),
        (&["--segment", "half"], &[], "expected `I/N`"),
        (
            &["--start-at", "2020-01-01T00:00:00Z"],
            &[],
            "s ago: name one that is still to come",
        ),
        (&["--start-at", "soon"], &[], "+30s"),
        // It takes longer than that to load anything.
        (
            &["--start-at", "+0s"],
            &[],
            "everything was ready for it only",
        ),
        (
            &["--segment", "0/2", "--embedded-target"],
            &[],
            "a target of its own",
        ),
        (&[], &[("JOB_COMPLETION_INDEX", "1")], "LOADR_SEGMENTS"),
        (
            &[],
            &[("PMI_RANK", "3"), ("PMI_SIZE", "3")],
            "there is no segment 3 of 3",
        ),
    ] {
        let error = refused(flags, environment, &plan);
        assert!(error.contains(says), "{flags:?}: {error}");
    }
    assert_eq!(server.len(), 0);

    // One of one is the whole plan, and so is `none`, whatever launched it.
    for segment in ["0/1", "none"] {
        let output = loadr()
            .args(["run", "--quiet", "--cores", "1", "--segment", segment])
            .arg(&plan)
            .envs([("PMI_RANK", "1"), ("PMI_SIZE", "3")])
            .output()
            .unwrap();
        assert_success(&[output]);
    }
}

#[test]
fn what_a_process_would_be_is_said_with_where_that_was_found() {
    let say = |environment: &[(&str, &str)], flags: &[&str]| {
        let mut command = loadr();
        command.args(["run", "--print-segment"]).args(flags);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(say(&[], &[]).starts_with("none: nothing in the environment"));
    assert_eq!(
        say(
            &[("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "8")],
            &[]
        ),
        "2/8: Open MPI (OMPI_COMM_WORLD_RANK=2, OMPI_COMM_WORLD_SIZE=8)\n"
    );
    assert_eq!(say(&[], &["--segment", "1/3"]), "1/3: --segment\n");
}

#[test]
fn a_run_that_waits_for_its_start_ends_at_once_when_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
scenarios: {{ s: {{ executor: constant-vus, vus: 4, duration: 60s, flow: [ {{ request: {{ url: '/x' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let summary = folder.path().join("summary.json");
    let mut command = loadr();
    command
        .args([
            "run",
            "--cores",
            "1",
            "--no-tui",
            "--start-at",
            "+1h",
            "--summary-export",
        ])
        .arg(&summary)
        .arg(&plan);
    let mut child = spawn(&mut command);
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("begins at ") {
        line.clear();
        assert!(
            stderr.read_line(&mut line).unwrap() > 0,
            "it never said when it begins"
        );
    }
    interrupt(child.id());
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(server.len(), 0);
    let summary: Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    assert_eq!(summary["aborted"], "interrupted");
}

#[test]
fn ranks_of_open_mpi_make_one_load() {
    let Some(mut mpirun) = tools::mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = counted(folder.path(), &server);
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let output = mpirun
        .args(["-n", "3"])
        .arg(env!("CARGO_BIN_EXE_loadr-fast"))
        .args(["run", "--quiet", "--cores", "1"])
        .arg("--histograms")
        .arg(results.join("{segment}.hlog"))
        .arg(&plan)
        .output()
        .unwrap();
    assert_success(&[output]);
    check_counted(&server);
    let (code, stderr, all) = merge(&results, &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(count(&all, "http_reqs"), server.len() as u64);
    assert_eq!(all["merged"]["segments"].as_array().unwrap().len(), 3);
}

#[test]
fn only_parts_of_one_load_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
data: {{ d: {{ type: csv, path: rows.csv }} }}
scenarios: {{ s: {{ executor: shared-iterations, vus: 4, iterations: 8, flow: [ {{ request: {{ url: '/s/${{data.d.n}}/${{env.WHO}}' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let run = |name: &str, rows: &str, who: &str, flags: &[&str]| -> PathBuf {
        write(folder.path(), "rows.csv", rows);
        let log = folder.path().join(name);
        let mut command = loadr();
        command
            .args(["run", "--quiet", "--cores", "1", "--histograms"])
            .arg(&log)
            .args(flags)
            .arg(&plan);
        assert_success(&[command.env("WHO", who).output().unwrap()]);
        log
    };
    let rows = "n\n1\n2\n";
    let seed = ["--seed", "5", "--segment"];
    let with = |segment| [&seed[..], &[segment]].concat();
    let first = run("first", rows, "a", &with("0/2"));
    let second = run("second", rows, "a", &with("1/2"));
    let merge = |other: &Path| {
        let output = loadr()
            .args(["merge", "--quiet"])
            .args([&first, other])
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output.stderr))
    };
    // They were not started together, which the verdict says and nothing fails for.
    assert_eq!(merge(&second).0, 0);
    for (other, says) in [
        (
            run(
                "other-seed",
                rows,
                "a",
                &["--seed", "6", "--segment", "1/2"],
            ),
            "their seeds are 6 and 5",
        ),
        (
            run("other-rows", "n\n3\n", "a", &with("1/2")),
            "not the data files",
        ),
        (
            run("other-name", rows, "b", &with("1/2")),
            "the variables of the environment",
        ),
        (
            run("whole", rows, "a", &["--seed", "5"]),
            "of a run of the whole plan",
        ),
        (
            run("again", rows, "a", &with("0/2")),
            "segment 0 of 2 is there twice",
        ),
        (
            run("of-three", rows, "a", &with("1/3")),
            "one of 3 segments, others are of 2",
        ),
    ] {
        let (code, stderr) = merge(&other);
        assert!(code == 1 && stderr.contains(says), "{stderr}");
    }
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let log = fs::read_to_string(&second).unwrap();
    assert!(log.contains(&version));
    let other = write(
        folder.path(),
        "other-version",
        &log.replacen(&version, "\"version\":\"0.0.1\"", 1),
    );
    let (code, stderr) = merge(&other);
    assert!(
        code == 1 && stderr.contains("made by loadr-fast 0.0.1"),
        "{stderr}"
    );
    let cut = write(folder.path(), "cut", &log[..log.len() * 2 / 3]);
    let (code, stderr) = merge(&cut);
    assert!(code == 1 && stderr.contains("cut"), "{stderr}");

    // Another hour: what is said of two segments that did not begin together.
    let started = log.find("\"started_ms\":").unwrap() + "\"started_ms\":".len();
    let digits = log[started..].find(',').unwrap();
    let at: u64 = log[started..started + digits].parse().unwrap();
    let later = format!(
        "{}{}{}",
        &log[..started],
        at + 2_400,
        &log[started + digits..]
    );
    let later = write(folder.path(), "later", &later);
    let out = folder.path().join("later.json");
    let output = loadr()
        .args(["merge", "--quiet", "-o"])
        .arg(&out)
        .args([&first, &later])
        .output()
        .unwrap();
    assert_success(&[output]);
    let summary: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let reasons = summary["generator"]["reasons"].to_string();
    assert!(reasons.contains("did not begin together"), "{reasons}");
    wait_until(|| server.len() >= 16);
}
