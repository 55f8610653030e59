//! Runs that are paused, steered and stopped from outside, by the real client against the real binary.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{interrupt, loadr, plan, target, wait_until};
use loadr_target::Target;
use serde_json::Value;

/// A run that goes on.
struct Going {
    folder: tempfile::TempDir,
    child: Child,
}

/// What it left.
struct Gone {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    summary: Value,
}

impl Gone {
    fn metric(&self, metric: &str, figure: &str) -> f64 {
        let metrics = self.summary["metrics"].as_array();
        let metrics = metrics.unwrap_or_else(|| panic!("no summary: {}", self.stderr));
        let one = metrics.iter().find(|m| m["metric"] == metric);
        one.map_or(0.0, |m| m["agg"][figure].as_f64().unwrap())
    }

    fn count(&self, metric: &str) -> u64 {
        self.metric(metric, "count") as u64
    }

    fn interrupted(&self) -> u64 {
        self.summary["iterations_interrupted"].as_u64().unwrap()
    }

    fn secs(&self) -> f64 {
        self.summary["duration_secs"].as_f64().unwrap()
    }
}

impl Going {
    /// Starts a plan of one scenario `s` with these keys.
    fn start(target: &Target, keys: &str, path: &str, flags: &[&str]) -> Self {
        let keys = keys.split("; ").collect::<Vec<_>>().join("\n    ");
        let base = format!("http://{}", target.address());
        let flow = format!("      - request: {{ url: {path} }}\n");
        Self::start_plan(&plan(&base, &keys, &flow), flags)
    }

    fn start_plan(text: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.yaml");
        std::fs::write(&file, text).unwrap();
        let child = loadr()
            .args(["run", "--oversubscribe", "--control"])
            .arg(folder.path().join("c.sock"))
            .args(flags)
            .arg("--summary-export")
            .arg(folder.path().join("s.json"))
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let going = Self { folder, child };
        wait_until(|| {
            let status = going.ctl(&["status", "--json"]);
            status.status.success() && !text_of(&status.stdout).contains("starting")
        });
        going
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = loadr();
        command.arg("ctl").arg("--socket").arg(self.socket());
        command.args(arguments).output().unwrap()
    }

    /// What must work; the status after it.
    fn told(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", text_of(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What must not work; why it does not.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output.stdout));
        text_of(&output.stderr)
    }

    fn end(mut self) -> Gone {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(60) {
                let _ = self.child.kill();
                panic!("the run did not end");
            }
            sleep(Duration::from_millis(10));
        }
        let output = self.child.wait_with_output().unwrap();
        let summary = std::fs::read_to_string(self.folder.path().join("s.json"));
        let gone = Gone {
            code: output.status.code(),
            stdout: text_of(&output.stdout),
            stderr: text_of(&output.stderr),
            summary: summary.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()),
        };
        assert!(!gone.stderr.contains("panicked"), "{}", gone.stderr);
        gone
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The target's count when it has not changed for a while: what was in flight is done.
fn settled(target: &Target) -> u64 {
    let mut count = target.requests();
    loop {
        sleep(Duration::from_millis(150));
        let now = target.requests();
        if now == count {
            return count;
        }
        count = now;
    }
}

#[test]
fn users_and_rates_are_what_was_asked_for_and_counts_equal_on_both_sides() {
    for shards in ["1", "3"] {
        let target = target();
        let keys = "executor: externally-controlled; max_vus: 7";
        let run = Going::start(&target, keys, "/delay/1", &["--cores", shards]);
        sleep(Duration::from_millis(200));
        assert_eq!(target.requests(), 0, "nothing was asked for yet");
        let status = run.told(&["vus", "5"]);
        assert_eq!(status["scenarios"][0]["aim"]["vus"], 5);
        wait_until(|| target.requests() > 100);
        run.told(&["vus", "0"]);
        let looped = settled(&target);
        let status = run.told(&["rate", "100"]);
        assert_eq!(status["scenarios"][0]["aim"]["rate"], 100.0);
        wait_until(|| target.requests() > looped + 50);
        run.told(&["rate", "0"]);
        let called = settled(&target);
        run.told(&["vus", "7", "--scenario", "s"]);
        wait_until(|| target.requests() > called + 100);
        let told = run.refused(&["vus", "8"]);
        assert!(
            told.contains("may have 7 virtual users (`max_vus`), not 8"),
            "{told}"
        );
        // Little is in flight: it may be over before it is looked at again.
        let state = run.told(&["stop"])["state"].clone();
        assert!(state == "stopping" || state == "ended", "{state}");
        let gone = run.end();
        assert_eq!(gone.code, Some(0), "{}", gone.stderr);
        assert_eq!(
            (
                gone.count("iterations"),
                gone.interrupted(),
                gone.count("http_reqs")
            ),
            (target.requests(), 0, target.requests())
        );
        assert!(gone.metric("vus", "max") <= 7.0);
        assert!(gone.metric("vus", "max") >= 5.0);
        assert!(
            gone.stdout.contains("the load was set 5 times"),
            "{}",
            gone.stdout
        );
        assert!(gone.stdout.contains("stopped by whoever steered it"));
    }
}

#[test]
fn users_that_are_not_wanted_any_more_are_cancelled_after_their_grace() {
    let target = target();
    let keys = "executor: externally-controlled; max_vus: 4; duration: 5s; graceful_stop: 100ms";
    let run = Going::start(&target, keys, "/delay/60000", &["--cores", "2"]);
    run.told(&["vus", "4"]);
    wait_until(|| run.told(&["status"])["last_second"]["vus"] == 4);
    run.told(&["vus", "1"]);
    sleep(Duration::from_millis(600));
    // Three were cancelled, one goes on; whoever is cancelled for good can be called.
    run.told(&["rate", "10"]);
    let gone = run.end();
    // That one lost its place to the rate, the others ran into the end.
    assert!(gone.interrupted() >= 7, "{}", gone.stdout);
    assert_eq!(gone.count("iterations"), 0);
    assert!(gone.metric("vus", "max") <= 4.0);
    assert!(gone.secs() >= 5.0 && gone.secs() < 12.0);
}

#[test]
fn a_pause_moves_the_rest_of_an_arrival_schedule_and_drops_nothing() {
    for (shards, arrival) in [("1", "uniform"), ("3", "poisson")] {
        let target = target();
        let keys = format!(
            "executor: constant-arrival-rate; rate: 100; duration: 2s; arrival: {arrival}; pre_allocated_vus: 300"
        );
        let run = Going::start(&target, &keys, "/", &["--cores", shards, "--seed", "5"]);
        wait_until(|| target.requests() >= 30);
        assert_eq!(run.told(&["pause"])["state"], "paused");
        let before = settled(&target);
        sleep(Duration::from_millis(800));
        assert_eq!(target.requests(), before, "nothing starts in a pause");
        // Once more is no error.
        run.told(&["pause"]);
        let status = run.told(&["resume"]);
        assert_eq!(status["state"], "running");
        assert!(status["paused_secs"].as_f64().unwrap() >= 0.8);
        run.told(&["resume"]);
        let gone = run.end();
        assert_eq!(gone.code, Some(0), "{}", gone.stderr);
        assert_eq!(gone.count("dropped_iterations"), 0);
        assert_eq!(gone.count("iterations"), target.requests());
        if arrival == "uniform" {
            assert_eq!(target.requests(), 200);
        }
        assert!(gone.secs() >= 2.9, "{}", gone.secs());
        assert!(
            gone.stdout.contains("it was paused once"),
            "{}",
            gone.stdout
        );
        // A response that counted from before the pause would be as long as the pause.
        assert!(
            gone.metric("http_req_response", "max") < 800.0,
            "{}",
            gone.stdout
        );
    }
}

#[test]
fn a_pause_stops_users_of_every_closed_model_and_they_go_on_after_it() {
    for (keys, exact) in [
        ("executor: constant-vus; vus: 5; duration: 1500ms", None),
        (
            "executor: constant-vus; vus: 5; duration: 1500ms; pacing: { iterations_per_second: 200 }",
            None,
        ),
        (
            "executor: per-vu-iterations; vus: 5; iterations: 100",
            Some(500),
        ),
        (
            "executor: shared-iterations; vus: 5; iterations: 500",
            Some(500),
        ),
        (
            "executor: ramping-vus; start_vus: 5; stages: [ { duration: 1500ms, target: 2 } ]",
            None,
        ),
    ] {
        let target = target();
        let run = Going::start(&target, keys, "/delay/5", &["--cores", "2"]);
        wait_until(|| target.requests() >= 20);
        run.told(&["pause"]);
        let before = settled(&target);
        sleep(Duration::from_millis(500));
        assert_eq!(target.requests(), before, "{keys}");
        run.told(&["resume"]);
        let gone = run.end();
        assert_eq!(gone.code, Some(0), "{keys}: {}", gone.stderr);
        assert_eq!(
            (gone.count("iterations"), gone.interrupted()),
            (target.requests(), 0)
        );
        assert!(target.requests() > before, "{keys}");
        match exact {
            Some(exact) => assert_eq!(target.requests(), exact),
            // The schedule was held for as long.
            None => assert!(gone.secs() >= 2.1, "{keys}: {}", gone.secs()),
        }
        if keys.contains("pacing") {
            let most = 1.0 + 200.0 * (gone.secs() - 0.6);
            assert!(
                target.requests() as f64 <= most + 25.0,
                "{} of {most}",
                target.requests()
            );
        }
    }
}

#[test]
fn a_rate_that_is_set_replaces_the_rest_of_the_schedule() {
    let target = target();
    let keys = "executor: constant-arrival-rate; rate: 1; duration: 3s; pre_allocated_vus: 200";
    let run = Going::start(&target, keys, "/", &["--cores", "3"]);
    run.told(&["rate", "200"]);
    wait_until(|| target.requests() >= 100);
    let told = run.refused(&["vus", "3"]);
    assert!(
        told.contains("no scenario of the plan can do that"),
        "{told}"
    );
    let told = run.refused(&["vus", "3", "--scenario", "s"]);
    assert!(told.contains("`s` is `constant-arrival-rate`"), "{told}");
    let told = run.refused(&["rate", "3", "--scenario", "x"]);
    assert!(told.contains("no scenario `x`; there are `s`"), "{told}");
    let gone = run.end();
    assert_eq!(gone.code, Some(0));
    assert!(gone.secs() >= 3.0 && gone.secs() < 20.0);
    assert_eq!(
        (gone.count("iterations"), gone.interrupted()),
        (target.requests(), 0)
    );
    // 200 a second from some moment on, however long it took until there were a hundred.
    assert!((100..=603).contains(&(gone.count("iterations") + gone.count("dropped_iterations"))));
}

#[test]
fn a_paused_run_can_be_stopped_and_interrupted() {
    for by_signal in [false, true] {
        let target = target();
        let keys = "executor: constant-vus; vus: 3; duration: 60s";
        let run = Going::start(&target, keys, "/", &["--cores", "2"]);
        run.told(&["pause"]);
        let code = if by_signal {
            interrupt(run.child.id());
            130
        } else {
            run.told(&["stop"]);
            0
        };
        let gone = run.end();
        assert_eq!(gone.code, Some(code), "{}", gone.stderr);
        assert!(gone.secs() < 30.0);
        assert!(!gone.summary["aborted"].is_null());
    }
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_run() {
    let target = target();
    let keys = "executor: constant-vus; vus: 1; duration: 60s";
    let run = Going::start(&target, keys, "/delay/5", &["--quiet"]);
    let mode = std::fs::metadata(run.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // A second run on the same path is refused before it sends anything.
    let second = loadr()
        .args(["run", "--control"])
        .arg(run.socket())
        .arg(run.folder.path().join("plan.yaml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text_of(&second.stderr).contains("another run listens there"));
    // One that was killed leaves its socket; the next run takes its place.
    let path = run.socket();
    let Going { folder, mut child } = run;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(path.exists());
    let dead = loadr()
        .args(["ctl", "--socket"])
        .arg(&path)
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(dead.status.code(), Some(1));
    assert!(text_of(&dead.stderr).contains("has ended or was killed"));
    let child = loadr()
        .args(["run", "--quiet", "--control"])
        .arg(&path)
        .arg(folder.path().join("plan.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = Going { folder, child };
    wait_until(|| run.ctl(&["stop"]).status.success());
    let path = run.socket();
    let gone = run.end();
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    assert!(!path.exists());
    let none = loadr()
        .args(["ctl", "--socket"])
        .arg(&path)
        .arg("pause")
        .output()
        .unwrap();
    assert!(text_of(&none.stderr).contains("no such socket"));
}

#[test]
fn a_plan_that_is_steered_listens_by_itself_and_is_found() {
    let target = target();
    let runtime = tempfile::tempdir().unwrap();
    let file = runtime.path().join("plan.yaml");
    let base = format!("http://{}", target.address());
    let keys = "executor: externally-controlled\n    max_vus: 2";
    std::fs::write(&file, plan(&base, keys, "      - request: { url: / }\n")).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = loadr();
        command.env("XDG_RUNTIME_DIR", runtime.path()).arg("ctl");
        command.args(arguments).output().unwrap()
    };
    let none = ctl(&["status"]);
    assert!(text_of(&none.stderr).contains("no run of this user listens"));
    let child = loadr()
        .env("XDG_RUNTIME_DIR", runtime.path())
        .arg("run")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| ctl(&["vus", "2"]).status.success());
    wait_until(|| target.requests() > 10);
    wait_until(|| text_of(&ctl(&["status"]).stdout).contains("last second: 2 VUs"));
    let status = text_of(&ctl(&["status"]).stdout);
    assert!(
        status.contains("s (externally-controlled) · running · 2 VUs of at most 2"),
        "{status}"
    );
    assert!(ctl(&["stop"]).status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = text_of(&output.stderr);
    assert!(said.contains("control: loadr-fast ctl --socket"), "{said}");
}

#[test]
fn the_example_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("c.sock");
    let child = loadr()
        .args(["run", "--embedded-target", "--summary-export"])
        .arg(folder.path().join("s.json"))
        .arg("--control")
        .arg(&socket)
        .arg(common::repository("examples/steered.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let going = Going { folder, child };
    wait_until(|| going.ctl(&["vus", "20"]).status.success());
    let total = || going.told(&["status"])["last_second"]["requests_total"].as_u64();
    wait_until(|| total() > Some(20));
    for words in [&["rate", "500"][..], &["pause"], &["resume"], &["stop"]] {
        going.told(words);
    }
    let gone = going.end();
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    assert!(gone.count("iterations") > 20);
}

/// Sends a request as it is; the answer's status and body.
fn http(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

#[test]
fn the_http_api_is_for_this_machine_alone_and_for_no_other_site() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    let base = format!("http://{}", target.address());
    let keys = "executor: constant-vus\n    vus: 1\n    duration: 60s";
    std::fs::write(
        &file,
        plan(&base, keys, "      - request: { url: /delay/5 }\n"),
    )
    .unwrap();
    let run = |address: &str| {
        let mut command = loadr();
        command.args(["run", "--control-http", address]).arg(&file);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let wide = run("0.0.0.0:0").wait_with_output().unwrap();
    assert_eq!(wide.status.code(), Some(1));
    assert!(
        text_of(&wide.stderr).contains("no password"),
        "{}",
        text_of(&wide.stderr)
    );

    let mut child = run("127.0.0.1:0");
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    while !said.contains("control: http://") {
        said.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut said).unwrap() > 0);
    }
    let address = said.trim().rsplit_once("//").unwrap().1;
    let address = address.strip_suffix("/status").unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    wait_until(|| target.requests() > 0);
    let get = format!("GET /status HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let (status, body) = http(address, &get);
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["state"],
        "running"
    );
    for fields in [
        "Host: evil.test".to_owned(),
        format!("Host: {address}\r\nOrigin: http://evil.test"),
        format!("Host: {address}\r\nOrigin: null"),
        format!("Host: evil.test:{port}\r\nOrigin: http://{address}"),
        "X: y".to_owned(),
    ] {
        let (status, body) = http(address, &format!("POST /stop HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(status, 403, "{fields}: {body}");
    }
    assert!(
        child.try_wait().unwrap().is_none(),
        "nothing has stopped it"
    );
    let stop = format!(
        "POST /stop HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\r\n"
    );
    assert_eq!(http(address, &stop).0, 200);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
