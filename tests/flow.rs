//! Loops, choices and pauses, by what a server gets to see.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::{Run, plan, run_plan};

/// A server of the standard library that writes down what it is asked, in order.
struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Recorder {
    /// Answers 200, but 503 to the first `failures` requests of a path that begins with `/flaky`.
    fn start(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let record = Arc::clone(&record);
                std::thread::spawn(move || serve(stream.unwrap(), &record, failures));
            }
        });
        Self { address, seen }
    }

    fn run(&self, iterations: &str, flow: &str, flags: &[&str]) -> Run {
        let executor = format!("executor: per-vu-iterations\n    {iterations}");
        run_plan(
            &plan(&format!("http://{}", self.address), &executor, flow),
            flags,
        )
    }

    fn paths(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(path, _)| path.clone())
            .collect()
    }
}

fn serve(stream: TcpStream, record: &Mutex<Vec<(String, Instant)>>, failures: usize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|n| n > 0)
    } {
        let path = line.split(' ').nth(1).unwrap().to_owned();
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        let mut seen = record.lock().unwrap();
        let flaky = seen.iter().filter(|(p, _)| p.starts_with("/flaky")).count();
        let status = if path.starts_with("/flaky") && flaky < failures {
            503
        } else {
            200
        };
        seen.push((path, Instant::now()));
        drop(seen);
        let body = r#"["x", 2, {"a": 1}]"#;
        let answer = format!(
            "HTTP/1.1 {status} S\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn loops_run_in_order_with_their_counters() {
    let server = Recorder::start(0);
    let run = server.run(
        "vus: 1\n    iterations: 2",
        r#"
      - repeat:
          times: 2
          counter: outer
          steps:
            - foreach: { items: [ a, "b${vu}" ], steps: [ { request: { url: "/${iteration}/${outer}/${item}/${index}" } } ] }
      - request: { url: "/end/${outer}" }
"#,
        &["--cores", "1"],
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    let one = |i| {
        vec![
            format!("/{i}/0/a/0"),
            format!("/{i}/0/b1/1"),
            format!("/{i}/1/a/0"),
            format!("/{i}/1/b1/1"),
            "/end/1".to_owned(),
        ]
    };
    assert_eq!(server.paths(), [one(0), one(1)].concat());
}

#[test]
fn an_extracted_json_array_is_gone_over_and_anything_else_is_an_error() {
    let server = Recorder::start(0);
    let run = server.run(
        "vus: 1\n    iterations: 1",
        r#"
      - request: { url: /list, extract: [{ type: regex, name: list, expression: "(.*)" }, { type: regex, name: word, expression: "x" , group: 0 }] }
      - foreach: { items: "${list}", var: it, steps: [ { request: { url: "/${it}" } } ] }
      - foreach: { items: "${word}", steps: [ { request: { url: "/never" } } ] }
"#,
        &["--cores", "1"],
    );
    assert_eq!(server.paths(), ["/list", "/x", "/2", "/%7B%22a%22:1%7D"]);
    assert_eq!((run.failed(), run.errors("flow")), (0, 1));
}

#[test]
fn a_switch_takes_the_case_that_equals_and_else_the_default() {
    let server = Recorder::start(0);
    server.run(
        "vus: 1\n    iterations: 3",
        r#"
      - switch:
          value: "i${iteration}"
          cases: { i0: [ { request: { url: /zero } } ], i1: [ { request: { url: /one } }, { request: { url: /one-more } } ] }
          default: [ { request: { url: /other } } ]
"#,
        &["--cores", "1"],
    );
    assert_eq!(server.paths(), ["/zero", "/one", "/one-more", "/other"]);
}

#[test]
fn choices_are_made_as_the_strategy_says() {
    let server = Recorder::start(0);
    server.run(
        "vus: 3\n    iterations: 40",
        r#"
      - random: { strategy: round_robin, choices: [ { steps: [ { request: { url: /a } } ] }, { steps: [ { request: { url: /b } } ] } ] }
      - random: { choices: [ { weight: 3, steps: [ { request: { url: /often } } ] }, { weight: 1, steps: [ { request: { url: /seldom } } ] }, { weight: 0, steps: [ { request: { url: /never } } ] } ] }
"#,
        &["--cores", "2", "--oversubscribe"],
    );
    let paths = server.paths();
    let count = |path: &str| paths.iter().filter(|p| *p == path).count();
    assert_eq!((count("/a"), count("/b"), count("/never")), (60, 60, 0));
    // 120 draws at 3/4: outside of this in less than one of a million runs.
    assert!((65..=112).contains(&count("/often")), "{}", count("/often"));
}

#[test]
fn a_retry_stops_at_the_first_attempt_without_a_failure() {
    let flow = r#"
      - retry: { times: 4, backoff: 1ms, steps: [ { request: { url: "/flaky/1" } }, { request: { url: /second } } ] }
      - request: { url: /after }
"#;
    let server = Recorder::start(2);
    let run = server.run("vus: 1\n    iterations: 1", flow, &["--cores", "1"]);
    let attempt = ["/flaky/1", "/second"];
    assert_eq!(
        server.paths(),
        [&attempt[..], &attempt, &attempt, &["/after"]].concat()
    );
    assert_eq!(run.failed(), 2);
    // All attempts used up: the flow goes on.
    let server = Recorder::start(100);
    server.run("vus: 1\n    iterations: 1", flow, &["--cores", "1"]);
    assert_eq!(server.paths().len(), 9);
}

#[test]
fn pauses_and_times_last_as_long_as_they_say() {
    let server = Recorder::start(0);
    let run = server.run(
        "vus: 1\n    iterations: 1",
        r#"
      - request: { url: /a }
      - think_time: { type: constant, duration: 120ms }
      - request: { url: /b }
      - during: { duration: 100ms, counter: n, steps: [ { request: { url: "/${n}" } }, { think_time: { type: uniform, min: 20ms, max: 30ms } } ] }
"#,
        &["--cores", "1"],
    );
    let seen = server.seen.lock().unwrap();
    assert!((seen[1].1 - seen[0].1).as_millis() >= 119);
    let rounds = seen.len() - 2;
    assert!((1..=5).contains(&rounds), "{rounds}");
    assert_eq!(seen[2].0, "/0");
    // Thinking is in the iteration and in no request.
    assert!(run.metric("iteration_duration", "max") >= 219.0);
}

#[test]
fn groups_are_tags_in_the_results() {
    let server = Recorder::start(0);
    let run = server.run(
        "vus: 1\n    iterations: 2",
        "      - group: { name: outer, steps: [ { group: { name: inner, steps: [ { request: { url: / } } ] } }, { request: { url: / } } ] }\n",
        &["--cores", "1"],
    );
    assert_eq!(run.requests_with("group", "::outer::inner"), 2);
    assert_eq!(run.requests_with("group", "::outer"), 2);
}

#[test]
fn a_loop_without_requests_does_not_hold_up_the_others() {
    let server = Recorder::start(0);
    let run = server.run(
        "vus: 2\n    iterations: 1\n    graceful_stop: 200ms",
        r#"
      - switch:
          value: "${vu}"
          cases: { "1": [ { repeat: { times: 1000000000000, steps: [ { switch: { value: "", cases: { x: [ { request: { url: / } } ] } } } ] } } ] }
          default: [ { request: { url: /other } } ]
"#,
        &["--cores", "1", "--duration", "300ms"],
    );
    // The first user never sends anything and is cancelled after its grace; the second is served meanwhile.
    assert_eq!((run.code, server.paths()), (0, vec!["/other".to_owned()]));
}

#[test]
fn iterations_that_do_nothing_hold_up_neither_other_users_nor_the_end() {
    let server = Recorder::start(0);
    let flow = r#"
      - switch:
          value: "${vu}"
          cases: { "2": [ { request: { url: /other } }, { think_time: { type: constant, duration: 50ms } } ] }
"#;
    let executor = "executor: constant-vus\n    vus: 2\n    duration: 400ms";
    let run = run_plan(
        &plan(&format!("http://{}", server.address), executor, flow),
        &["--cores", "1"],
    );
    assert_eq!(run.code, 0);
    assert!(server.paths().len() > 1, "{:?}", server.paths());
}
