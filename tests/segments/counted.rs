//! A plan whose work is counted: however many processes make it, and whoever launched them, it is what one makes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::common::loadr;
use super::server::Server;
use super::{assert_success, count, merge, run_segments, tools, write};

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
