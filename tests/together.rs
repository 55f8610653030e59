//! Steps that run at once, and virtual users that wait for each other, by what a server gets to see.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Run, plan, run_plan};

/// What came: on which connection, for which path, from when to when.
#[derive(Clone)]
struct Seen {
    connection: SocketAddr,
    path: String,
    came: Instant,
    answered: Instant,
}

/// A server that takes its time for `/slow…`, fails `/bad…`, and writes down what it is asked.
struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// How long `/slow…` takes.
const SLOW: Duration = Duration::from_millis(300);

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let record = Arc::clone(&record);
                std::thread::spawn(move || serve(stream.unwrap(), &record));
            }
        });
        Self { address, seen }
    }

    fn run(&self, executor: &str, flow: &str, flags: &[&str]) -> Run {
        let base_url = format!("http://{}", self.address);
        run_plan(&plan(&base_url, executor, flow), flags)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request for a path.
    fn only(&self, path: &str) -> Seen {
        let seen = self.seen();
        let mut of = seen.into_iter().filter(|seen| seen.path == path);
        let one = of
            .next()
            .unwrap_or_else(|| panic!("nobody asked for {path}"));
        assert!(of.next().is_none(), "{path} twice");
        one
    }

    fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }
}

fn serve(stream: TcpStream, record: &Mutex<Vec<Seen>>) {
    let connection = stream.peer_addr().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|n| n > 0)
    } {
        let came = Instant::now();
        let path = line.split(' ').nth(1).unwrap().to_owned();
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        if path.starts_with("/slow") {
            std::thread::sleep(SLOW);
        }
        let status = if path.starts_with("/bad") { 500 } else { 200 };
        let body = format!("<{path}>");
        let answered = Instant::now();
        record.lock().unwrap().push(Seen {
            connection,
            path,
            came,
            answered,
        });
        let answer = format!(
            "HTTP/1.1 {status} S\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

const ONCE: &str = "executor: per-vu-iterations\n    vus: 1\n    iterations: 1";

#[test]
fn branches_overlap_and_what_they_extract_is_there_after_them() {
    let server = Recorder::start();
    let run = server.run(
        ONCE,
        r#"
      - request: { url: /before }
      - parallel:
          branches:
            - - request: { url: /slow/a, extract: [{ type: boundary, name: a, left: "/slow/", right: ">" }] }
              - request: { url: "/then/${a}" }
            - - request: { url: /slow/b, extract: [{ type: boundary, name: b, left: "/slow/", right: ">" }] }
            - - request: { url: /slow/c }
      - request: { url: "/after/${a}${b}" }
"#,
        &["--cores", "1"],
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    let slow = ["/slow/a", "/slow/b", "/slow/c"].map(|path| server.only(path));
    // Each came before any was answered.
    let last_came = slow.iter().map(|seen| seen.came).max().unwrap();
    assert!(slow.iter().all(|seen| seen.answered > last_came));
    let connections: HashSet<_> = slow.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections.len(), 3, "each branch has its own");
    assert_eq!(server.only("/then/a").connection, slow[0].connection);
    let after = server.only("/after/ab");
    assert!(slow.iter().all(|seen| seen.answered < after.came));
    assert_eq!(after.connection, server.only("/before").connection);
}

#[test]
fn the_connections_of_branches_are_kept_between_iterations() {
    let server = Recorder::start();
    let run = server.run(
        "executor: per-vu-iterations\n    vus: 2\n    iterations: 20",
        "      - parallel: { branches: [ [ { request: { url: /a } } ], [ { request: { url: /b } }, { request: { url: /c } } ] ] }\n",
        &["--cores", "1"],
    );
    assert_eq!((run.count("iterations"), run.failed()), (40, 0));
    let seen = server.seen();
    assert_eq!(seen.len(), 120);
    let connections: HashSet<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections.len(), 4, "two users of two branches each");
}

#[test]
fn a_failed_assert_ends_its_branch_at_once_and_the_iteration_after_the_others() {
    let server = Recorder::start();
    let run = server.run(
        "executor: per-vu-iterations\n    vus: 1\n    iterations: 2",
        r#"
      - parallel:
          branches:
            - - request: { url: /bad, assert: [{ type: status, equals: 200, on_failure: abort_iteration }] }
              - request: { url: /never }
            - - request: { url: /slow }
              - request: { url: /still }
      - request: { url: /never }
"#,
        &["--cores", "1"],
    );
    let counts = ["/bad", "/slow", "/still", "/never"].map(|path| server.count(path));
    assert_eq!(counts, [2, 2, 2, 0]);
    assert_eq!((run.count("iterations"), run.failed()), (2, 2));
}

#[test]
fn a_failure_in_a_branch_is_one_for_the_retry_around_it_and_branches_can_nest() {
    let server = Recorder::start();
    server.run(
        ONCE,
        r#"
      - retry:
          times: 3
          steps:
            - parallel:
                branches:
                  - - parallel: { branches: [ [ { request: { url: /bad } } ], [ { request: { url: /good } } ] ] }
                  - - request: { url: /good }
"#,
        &["--cores", "1"],
    );
    assert_eq!([server.count("/bad"), server.count("/good")], [3, 6]);
}

#[test]
fn a_cancel_reaches_every_branch() {
    let server = Recorder::start();
    let began = Instant::now();
    let run = server.run(
        "executor: constant-vus\n    vus: 2\n    duration: 200ms\n    graceful_stop: 100ms",
        r#"
      - parallel:
          branches:
            - - think_time: { type: constant, duration: 10m }
            - - request: { url: / }
              - think_time: { type: constant, duration: 10m }
"#,
        &["--cores", "1"],
    );
    assert_eq!((run.code, server.count("/")), (0, 2), "{}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(run.summary["iterations_interrupted"], 2);
}

/// Groups of three users of six, on two shards, for five rounds.
#[test]
fn a_rendezvous_holds_across_shards() {
    let server = Recorder::start();
    let run = server.run(
        "executor: per-vu-iterations\n    vus: 6\n    iterations: 5",
        r#"
      - think_time: { type: uniform, min: 0s, max: 40ms }
      - request: { url: "/come/${vu}/${iteration}" }
      - rendezvous: { name: all, users: 6 }
      - request: { url: "/go/${vu}/${iteration}" }
"#,
        &["--cores", "2", "--oversubscribe"],
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    assert_eq!(run.errors("flow"), 0, "{:#}", run.summary["errors"]);
    let mut came: HashMap<String, Instant> = HashMap::new();
    let mut went: HashMap<String, Instant> = HashMap::new();
    for seen in server.seen() {
        let mut parts = seen.path.split('/').skip(1);
        let (what, round) = (parts.next().unwrap(), parts.nth(1).unwrap().to_owned());
        if what == "come" {
            let last = came.entry(round).or_insert(seen.answered);
            *last = (*last).max(seen.answered);
        } else {
            let first = went.entry(round).or_insert(seen.came);
            *first = (*first).min(seen.came);
        }
    }
    assert_eq!((came.len(), went.len()), (5, 5));
    for (round, last_came) in came {
        assert!(
            went[&round] > last_came,
            "round {round}: one went before all had come"
        );
    }
}

#[test]
fn a_group_that_does_not_fill_goes_on_after_the_timeout_and_that_is_counted() {
    let server = Recorder::start();
    let run = server.run(
        "executor: per-vu-iterations\n    vus: 3\n    iterations: 1",
        r#"
      - switch:
          value: "${vu}"
          cases: { "1": [ { think_time: { type: constant, duration: 2s } } ] }
          default: [ { rendezvous: { name: three, users: 3, timeout: 200ms } } ]
      - request: { url: "/${vu}" }
"#,
        &["--cores", "2", "--oversubscribe"],
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    assert_eq!(run.errors("flow"), 1, "{:#}", run.summary["errors"]);
    let text = run.summary["errors"][0]["example"].as_str().unwrap();
    assert!(
        text.contains("rendezvous three: 2 of 3 users had come"),
        "{text}"
    );
    let (second, third) = (server.only("/2"), server.only("/3"));
    assert!(second.came < server.only("/1").came && third.came < server.only("/1").came);
}

/// Five users meet in pairs: whoever is left over goes on when no partner can come any more, long before the timeout.
#[test]
fn who_is_left_over_does_not_wait_for_the_end() {
    let server = Recorder::start();
    let began = Instant::now();
    let run = server.run(
        "executor: per-vu-iterations\n    vus: 5\n    iterations: 3",
        "      - rendezvous: { name: pairs, users: 2, timeout: 10m }\n      - request: { url: / }\n",
        &["--cores", "2", "--oversubscribe"],
    );
    assert_eq!((run.code, server.count("/")), (0, 15), "{}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(run.errors("flow"), 0);
}

#[test]
fn more_users_than_there_are_wait_for_nobody() {
    let server = Recorder::start();
    let began = Instant::now();
    let run = server.run(
        "executor: constant-vus\n    vus: 2\n    duration: 300ms",
        "      - rendezvous: { name: many, users: 100, timeout: 10m }\n      - request: { url: / }\n",
        &["--cores", "1"],
    );
    assert!(run.code == 0 && server.count("/") > 2, "{}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(60));
}
