//! The live page, in a real browser and byte by byte: what it shows is what the summary says, who may see and steer it,
//! and that nobody who reads it holds the run up.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Output, Stdio};
use std::time::{Duration, Instant};

use browser::Browser;
use common::{interrupt, loadr, plan, target};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A run with a page.
struct Live {
    process: Child,
    errors: BufReader<ChildStderr>,
    /// `127.0.0.1:PORT`
    address: String,
    folder: TempDir,
}

impl Live {
    fn start(plan: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.yaml");
        std::fs::write(&path, plan).unwrap();
        let mut process = loadr()
            .args(["run", "--cores", "1", "--no-tui"])
            .args(flags)
            .arg("--summary-export")
            .arg(folder.path().join("summary.json"))
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "no page");
            if let Some(url) = line.strip_prefix("live page: http://") {
                break url.split('/').next().unwrap().to_owned();
            }
        };
        Self {
            process,
            errors,
            address,
            folder,
        }
    }

    /// Sends bytes as they are; the whole answer.
    fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// The status of a request with these header lines, each ended.
    fn status(&self, line: &str, headers: &str, body: &str) -> u16 {
        let length = body.len();
        let answer = self.exchange(&format!(
            "{line} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the end: the exit code, what it printed, and its summary file.
    fn end(mut self) -> (i32, String, Value) {
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        let Output { status, stdout, .. } = self.process.wait_with_output().unwrap();
        let summary: PathBuf = self.folder.path().join("summary.json");
        let summary = std::fs::read_to_string(summary)
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        (
            status.code().unwrap_or(-1),
            said + &String::from_utf8(stdout).unwrap(),
            summary,
        )
    }
}

fn figure(summary: &Value, metric: &str, figure: &str) -> f64 {
    let metrics = summary["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|m| m["metric"] == metric).unwrap();
    found["agg"][figure].as_f64().unwrap()
}

/// What a person reads, as a number.
fn number(text: &str) -> f64 {
    let digits: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number: {text}"))
}

const HOSTILE: &str = "<img src=x onerror='document.title=1'>";

#[test]
fn the_page_shows_what_the_summary_says_during_the_run_and_after_it() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let target = target();
    let mut text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 8\n    duration: 6s",
        &format!(
            "      - request: {{ name: \"{HOSTILE}\", url: / }}\n      \
             - request: {{ name: slow, url: /delay/20 }}\n      \
             - request: {{ name: lost, url: /status/503 }}\n"
        ),
    );
    text +=
        "thresholds: { http_req_duration: [\"p(99)<5000\"], http_req_failed: [\"rate<0.01\"] }\n";
    let live = Live::start(&text, &["--ui"]);
    browser.look((1280, 1500), false);
    browser.open(&format!("http://{}/", live.address));
    browser.wait_for("points.length >= 3");
    // Read together, in one turn of the page's events.
    let seen = browser.value(
        "({ total: document.getElementById('total').textContent, clock: document.getElementById('clock').textContent, \
            phase: document.getElementById('phase').textContent, rps: document.getElementById('rps').textContent, \
            users: document.getElementById('users').textContent, requests: latest.requests, \
            lines: document.querySelectorAll('#chart-rps svg path').length, fails: document.querySelectorAll('#thresholds .bad').length })",
    );
    let during = number(seen["total"].as_str().unwrap());
    assert_eq!(during, seen["requests"].as_f64().unwrap(), "{seen}");
    assert_eq!(
        (
            &seen["phase"],
            &seen["users"],
            &seen["lines"],
            &seen["fails"]
        ),
        (&json!("running"), &json!("8"), &json!(1), &json!(1)),
        "{seen}"
    );
    browser.screenshot("live-light.png");
    browser.look((1280, 1500), true);
    browser.screenshot("live-dark.png");
    browser.look((390, 844), false);
    assert_eq!(
        browser.value("document.documentElement.scrollWidth <= 390"),
        true,
        "the page is wider than a phone"
    );
    browser.screenshot("live-phone.png");
    browser.look((1280, 1500), false);
    browser.wait_for("!document.getElementById('verdict').hidden");
    let points = browser.value("points.map((p) => [p.at_secs, p.rps])");
    let after = |browser: &mut Browser, id: &str| browser.text(&format!("#{id}"));
    let total = number(&after(&mut browser, "total"));
    let (rps, failed, p99) = (
        after(&mut browser, "rps"),
        after(&mut browser, "failed-more"),
        after(&mut browser, "p99"),
    );
    let verdict = after(&mut browser, "verdict");
    let request = browser.text("#final tbody tr:last-child th");
    let hostile =
        browser.value("[...document.querySelectorAll('#final bdi')].map((b) => b.textContent)");
    assert_eq!(browser.value("document.images.length"), 0);
    browser.screenshot("end-light.png");
    browser.look((1280, 1500), true);
    browser.screenshot("end-dark.png");
    browser.look((390, 844), true);
    assert_eq!(
        browser.value("document.documentElement.scrollWidth <= 390"),
        true
    );
    browser.screenshot("end-phone.png");
    let (code, said, summary) = live.end();
    assert_eq!(code, 99, "{said}");
    assert_eq!(total, figure(&summary, "http_reqs", "count"));
    assert!(during <= total && during > 0.0);
    let per_second = figure(&summary, "http_reqs", "per_second");
    assert!(
        (number(&rps) - per_second).abs() <= 0.5,
        "{rps} {per_second}"
    );
    let share =
        figure(&summary, "http_req_failed", "rate") * figure(&summary, "http_req_failed", "count");
    assert_eq!(number(&failed), share.round());
    let p99_ms = figure(&summary, "http_req_duration", "p99");
    assert!(
        (number(&p99) - p99_ms).abs() <= p99_ms * 0.01,
        "{p99} {p99_ms}"
    );
    assert!(
        verdict.contains("Exit code 99") && verdict.contains("1 of 2 thresholds failed"),
        "{verdict}"
    );
    assert!(!request.is_empty());
    let hostile = hostile.as_array().unwrap();
    assert!(
        hostile.contains(&json!(format!("GET {HOSTILE}"))),
        "{hostile:?}"
    );
    // Each second of the page is one of the summary's timeline, figure by figure.
    let timeline: Vec<Value> = summary["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| json!([point["elapsed_secs"], point["rps"]]))
        .collect();
    let points = points.as_array().unwrap();
    assert_eq!(points.len(), timeline.len());
    for (point, at) in points.iter().zip(&timeline) {
        for field in 0..2 {
            let (a, b) = (point[field].as_f64().unwrap(), at[field].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * b, "{point} {at}");
        }
    }
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn the_stop_button_asks_once_more_and_ends_the_run_with_its_summary() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 2\n    duration: 10m",
        "      - request: { url: /delay/5 }\n",
    );
    let token = "a-token-of-this-test";
    let live = Live::start(&text, &["--ui", "--ui-token", token]);
    browser.open(&format!("http://{}/?token={token}", live.address));
    browser.wait_for("points.length >= 1");
    browser.value("document.getElementById('stop').click()");
    assert_eq!(browser.text("#stop"), "Really stop?");
    browser.value("document.getElementById('stop').click()");
    browser.wait_for("!document.getElementById('verdict').hidden");
    assert!(
        browser
            .text("#verdict")
            .contains("Ended early: stopped by whoever steered it")
    );
    assert_eq!(
        browser.value("document.getElementById('controls').hidden"),
        true
    );
    let (code, said, summary) = live.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(summary["aborted"], "stopped by whoever steered it");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn the_page_pauses_the_run_and_sets_its_virtual_users() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: externally-controlled\n    max_vus: 20",
        "      - request: { url: /delay/5 }\n",
    );
    let live = Live::start(&text, &["--ui"]);
    browser.look((900, 900), false);
    browser.open(&format!("http://{}/", live.address));
    browser.wait_for("document.getElementById('vus-0')");
    let set = |browser: &mut Browser, vus: u32| {
        let field = "document.getElementById('vus-0')";
        browser.value(&format!(
            "{field}.value = {vus}; {field}.nextSibling.click()"
        ));
    };
    set(&mut browser, 21);
    browser.wait_for("document.getElementById('said').textContent.includes('from 0 to 20')");
    set(&mut browser, 7);
    browser.wait_for(
        "latest.point.vus === 7 && latest.point.vus_wanted === 7 && latest.point.rps > 0",
    );
    browser.screenshot("steered.png");
    browser.value("document.getElementById('pause').click()");
    browser.wait_for("document.getElementById('phase').textContent === 'paused'");
    browser.wait_for("latest.point.rps === 0");
    assert_eq!(browser.text("#pause"), "Go on");
    browser.value("document.getElementById('pause').click()");
    browser.wait_for("state === 'running' && latest.point.rps > 0");
    browser
        .value("document.getElementById('stop').click(); document.getElementById('stop').click()");
    browser.wait_for("!document.getElementById('verdict').hidden");
    let (code, said, summary) = live.end();
    assert_eq!(code, 0, "{said}");
    let notes = summary["generator"]["notes"].to_string();
    assert!(
        notes.contains("set once") && notes.contains("paused once"),
        "{notes}"
    );
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

fn endless() -> (loadr_target::Target, String) {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 2\n    duration: 10m",
        "      - request: { url: /delay/5 }\n",
    );
    (target, text)
}

#[test]
fn foreign_names_and_origins_are_refused_and_nothing_but_the_page_itself_stops_the_run() {
    let (_target, text) = endless();
    let live = Live::start(&text, &["--ui"]);
    let own = format!("Host: {}\r\n", live.address);
    let kind = "Content-Type: application/json\r\n";
    let stop = "{\"do\":\"stop\"}";
    assert_eq!(live.status("GET /", &own, ""), 200);
    assert_eq!(live.status("GET /", "Host: evil.example\r\n", ""), 403);
    assert_eq!(
        live.status("GET /events", "Host: evil.example\r\n", ""),
        403
    );
    assert_eq!(live.status("GET /nowhere", &own, ""), 404);
    assert_eq!(live.status("PUT /", &own, ""), 405);
    assert_eq!(live.status("GET /control", &own, ""), 405);
    assert_eq!(live.status("GET /summary.json", &own, ""), 404);
    let foreign = "Origin: http://evil.example\r\n";
    for headers in [
        format!("{own}{kind}"),
        format!("{own}{kind}{foreign}"),
        format!("{own}{kind}Origin: null\r\n"),
        format!("Host: evil.example\r\n{kind}{foreign}"),
    ] {
        assert_eq!(
            live.status("POST /control", &headers, stop),
            403,
            "{headers}"
        );
    }
    let origin = format!("Origin: http://{}\r\n", live.address);
    assert_eq!(
        live.status("POST /control", &format!("{own}{origin}"), stop),
        415
    );
    let all = format!("{own}{kind}{origin}");
    assert_eq!(
        live.status("POST /control", &all, "{\"do\":\"dance\"}"),
        400
    );
    let page = live.exchange(&format!("GET / HTTP/1.1\r\n{own}\r\n"));
    assert!(
        page.contains("default-src 'none'") && page.contains("X-Content-Type-Options: nosniff")
    );
    assert!(!page.contains("{{"), "a part of the page is missing");
    let vus = "{\"do\":\"vus\",\"vus\":3,\"scenario\":\"s\"}";
    assert_eq!(
        live.status("POST /control", &all, vus),
        409,
        "not steered by hand"
    );
    assert_eq!(live.status("POST /control", &all, stop), 200);
    let (code, said, _) = live.end();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn behind_a_token_nothing_is_shown_without_it() {
    let (_target, text) = endless();
    let token = "a-token-of-this-test";
    let live = Live::start(&text, &["--ui=0.0.0.0", "--ui-token", token]);
    let own = format!("Host: {}\r\n", live.address.replace("0.0.0.0", "127.0.0.1"));
    for path in [
        "/",
        "/events",
        "/summary.json",
        "/?token=",
        "/?token=a-token-of-this-tes",
    ] {
        assert_eq!(live.status(&format!("GET {path}"), &own, ""), 401, "{path}");
    }
    assert_eq!(live.status(&format!("GET /?token={token}"), &own, ""), 200);
    let bearer =
        format!("{own}Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    assert_eq!(
        live.status("POST /control", &bearer, "{\"do\":\"stop\"}"),
        200
    );
    let (code, said, _) = live.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains(token), "{said}");
}

#[test]
fn readers_that_read_nothing_do_not_hold_the_run_up() {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 2\n    duration: 2s",
        "      - request: { url: /delay/5 }\n",
    );
    let live = Live::start(&text, &["--ui"]);
    let connect = || TcpStream::connect(&live.address).unwrap();
    // More than there is room for: silent ones, and readers that never read.
    let mut streams: Vec<TcpStream> = (0..80).map(|_| connect()).collect();
    for stream in streams.iter_mut().take(40) {
        let _ = write!(stream, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    }
    let last = streams.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = String::new();
    let _ = last.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let (code, said, summary) = live.end();
    assert_eq!(code, 0, "{said}");
    let secs = summary["duration_secs"].as_f64().unwrap();
    assert!((2.0..4.0).contains(&secs), "{secs}");
    drop(streams);
}

#[test]
fn the_page_stays_after_the_run_when_asked_to_and_ctrl_c_ends_it_with_the_runs_code() {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 1\n    duration: 300ms",
        "      - request: { url: / }\n",
    );
    let mut live = Live::start(&text, &["--ui", "--ui-keep"]);
    let mut line = String::new();
    while !line.contains("the run is over") {
        line.clear();
        assert!(live.errors.read_line(&mut line).unwrap() > 0);
    }
    let request = format!(
        "GET /summary.json HTTP/1.1\r\nHost: {}\r\n\r\n",
        live.address
    );
    let answer = live.exchange(&request);
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let served: Value = serde_json::from_str(body).unwrap();
    // A reader that comes late is told the end at once.
    let events = live.exchange(&format!(
        "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n",
        live.address
    ));
    assert!(
        events.contains("event: past\n") && events.contains("event: end\n"),
        "{events}"
    );
    interrupt(live.process.id());
    let (code, said, summary) = live.end();
    assert_eq!((code, &served), (0, &summary), "{said}");
}

#[test]
fn a_page_that_cannot_be_served_is_an_error_before_the_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = |flags: &[&str]| {
        let output = loadr()
            .args(["run", "--cores", "1", "-n", "1"])
            .args(flags)
            .arg("http://127.0.0.1:9/")
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let cases: [(&[&str], i32, &str); 5] = [
        (&[&format!("--ui={port}")], 1, "is in use"),
        (&["--ui=0.0.0.0:0"], 1, "--ui-token"),
        (
            &["--ui", "--quiet"],
            1,
            "name one, as in --ui=127.0.0.1:7070",
        ),
        (&["--ui=nowhere"], 2, "write a port such as 7070"),
        (&["--ui", "--ui-token=short"], 2, "it must have 16 to 256"),
    ];
    for (flags, code, text) in cases {
        let (got, said) = run(flags);
        assert!(
            got == code && said.contains(text),
            "{flags:?}: {got} {said}"
        );
    }
}

#[test]
fn a_run_that_nobody_watches_ends_when_it_is_over() {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: per-vu-iterations\n    vus: 1\n    iterations: 1",
        "      - request: { url: / }\n",
    );
    let began = Instant::now();
    let (code, said, _) = Live::start(&text, &["--ui"]).end();
    assert_eq!(code, 0, "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
