//! Descriptors and local ports that run out: said before the run where it can be seen, a kind of error where it is met.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{interrupt, loadr, plan, target, wait_until};

/// Whether this process may have a network of its own: with 10 local ports, which are quickly used up.
fn may_unshare() -> bool {
    let status = Command::new("unshare")
        .args(["--net", "true"])
        .stderr(Stdio::null())
        .status();
    let may = status.is_ok_and(|status| status.success());
    if !may {
        println!("skipped: a network of its own needs root and `unshare`");
    }
    may
}

/// Runs a script in a network of its own with ten local ports; `$LOADR` is the binary.
fn in_small_network(script: &str, folder: &Path) -> Output {
    let script = format!(
        "set -e; ip link set lo up 2>/dev/null || ifconfig lo up; \
         echo '40000 40009' > /proc/sys/net/ipv4/ip_local_port_range; {script}"
    );
    Command::new("unshare")
        .args(["--net", "bash", "-c", &script])
        .env("LOADR", loadr().get_program())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_descriptor_limit_that_cannot_be_raised_is_said_before_the_run() {
    let target = target();
    let base = format!("http://{}", target.address());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let load = "executor: constant-vus\n    vus: 500\n    duration: 1s";
    std::fs::write(&path, plan(&base, load, "      - request: { url: / }\n")).unwrap();
    let script = format!(
        "ulimit -n 200 && exec '{}' run --cores 1 '{}'",
        loadr().get_program().display(),
        path.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("500 virtual users") && stderr.contains("raise the limit with `ulimit -n "),
        "{stderr}"
    );
    assert_eq!(target.requests(), 0);
}

#[test]
fn descriptors_that_run_out_in_the_run_are_a_kind_of_error_and_it_goes_on_when_there_are_some() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        println!("skipped: there is no `prlimit`");
        return;
    }
    let target = target();
    let base = format!("http://{}", target.address());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let load = "executor: constant-vus\n    vus: 4\n    duration: 10m";
    let text_of_plan = plan(&base, load, "      - request: { url: / }\n").replacen(
        "http: {",
        "http: { keep_alive: false,",
        1,
    );
    assert!(text_of_plan.contains("keep_alive: false"), "{text_of_plan}");
    std::fs::write(&path, text_of_plan).unwrap();
    let child = loadr()
        .args(["run", "--cores", "1"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let limit = |soft: &str| {
        let status = Command::new("prlimit")
            .args([
                "--pid",
                &child.id().to_string(),
                &format!("--nofile={soft}:"),
            ])
            .status();
        assert!(status.unwrap().success());
    };
    wait_until(|| target.requests() > 100);
    limit("3");
    // What is under way ends; then nothing new can begin.
    let mut before = 0;
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, target.requests()) == target.requests()
    });
    limit("1024");
    let stalled = target.requests();
    wait_until(|| target.requests() > stalled + 100);
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("fd_exhausted") && stdout.contains("raise the limit with `ulimit -n`"),
        "{stdout}"
    );
    assert!(!stdout.contains("no_resources"), "{stdout}");
}

#[test]
fn ports_that_cannot_suffice_are_said_before_the_run_and_more_source_addresses_mend_it() {
    if !may_unshare() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let load = "executor: per-vu-iterations\n    vus: 45\n    iterations: 20";
    let text_of_plan = plan("http://unused", load, "      - request: { url: / }\n");
    std::fs::write(folder.path().join("plan.yaml"), text_of_plan).unwrap();
    let run = "\"$LOADR\" run --cores 1 --embedded-target --summary-export s.json";
    let output = in_small_network(&format!("{run} plan.yaml"), folder.path());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("the plan can have 45 connections open to 127.0.0.1:")
            && stderr.contains("there are 10 local ports")
            && stderr.contains("sysctl -w net.ipv4.ip_local_port_range"),
        "{stderr}"
    );
    // Each of these has ten ports of its own: they are bound when the destination is known.
    let more = format!("{run} --source-ips 127.0.0.2,127.0.0.8/29 plan.yaml");
    let output = in_small_network(&more, folder.path());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let summary = std::fs::read(folder.path().join("s.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["errors"], serde_json::json!([]));
}

#[test]
fn ports_that_run_out_in_the_run_are_a_kind_of_error() {
    if !may_unshare() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let load = "executor: constant-vus\n    vus: 6\n    duration: 1s";
    let text_of_plan = plan(
        "http://127.0.0.1:8000",
        load,
        "      - request: { url: / }\n",
    );
    std::fs::write(folder.path().join("plan.yaml"), text_of_plan).unwrap();
    // Others hold all but one or two of the ports, which nothing can know before.
    let script = "python3 -m http.server 8000 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!; \
        trap 'kill $server' EXIT; \
        until (exec 9<>/dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.05; done; \
        for i in 3 4 5 6 7 8 9; do eval \"exec $i<>/dev/tcp/127.0.0.1/8000\"; done; \
        \"$LOADR\" run --cores 1 plan.yaml";
    let output = in_small_network(script, folder.path());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        stdout.contains("port_exhausted") && stdout.contains("no local port is left"),
        "{stdout}\n{stderr}"
    );
}
