//! A soak: a server that answers, resets, stalls, breaks off and is killed, at random, while what both sides count, the
//! client's memory and its descriptors are watched.
//!
//! Requests are `POST`, so that none is silently sent twice: a request is one on both sides. `LOADR_SOAK_SECONDS` and
//! `LOADR_SOAK_CONNECTIONS` make it longer and wider; `bench/soak.sh` runs it for a minute with 10,000 connections.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{loadr, wait_until};
use socket2::{Domain, Socket, Type};

/// Names the server's address to a process of this program that is to be it.
const SERVER: &str = "LOADR_SOAK_SERVER";
/// The time that a request has.
const TIMEOUT_S: u64 = 3;

/// What the server does with a request; the letters are those of its log.
mod said {
    pub(super) const OPENED: u8 = b'o';
    pub(super) const ENDED: u8 = b'e';
    pub(super) const RECEIVED: u8 = b'r';
    pub(super) const ANSWERED: u8 = b'a';
    pub(super) const STALLED: u8 = b's';
    pub(super) const RESET: u8 = b'x';
    pub(super) const BROKEN_OFF: u8 = b'p';
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Not a test: the server's process, which logs each event as one byte on standard error.
#[test]
#[ignore = "the server's process; the soak starts it"]
fn server() {
    let address: SocketAddr = std::env::var(SERVER).expect("an address").parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    for (number, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { continue };
        log(said::OPENED);
        let serve = move || {
            serve(stream, number as u64);
            log(said::ENDED);
        };
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(serve)
            .unwrap();
    }
}

fn log(event: u8) {
    let _ = std::io::stderr().write_all(&[event]);
}

fn serve(mut stream: TcpStream, number: u64) {
    stream.set_nodelay(true).unwrap();
    let mut chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    loop {
        // A head, and a body of ten bytes.
        let whole = |bytes: &[u8]| {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
            Some(end + 14).filter(|end| *end <= bytes.len())
        };
        let Some(end) = whole(&bytes) else {
            let mut more = [0; 1024];
            match stream.read(&mut more) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&more[..n]),
                _ => return,
            }
            continue;
        };
        bytes.drain(..end);
        log(said::RECEIVED);
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let size = chance >> 20 & 0x3fff;
        let body = vec![b'x'; size as usize];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
        match chance % 400 {
            0 => {
                log(said::STALLED);
                let _ = stream.read(&mut [0; 1]);
                return;
            }
            1 | 2 => {
                log(said::RESET);
                Socket::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                return;
            }
            3 | 4 => {
                log(said::BROKEN_OFF);
                let half = &body[..body.len() / 2];
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(half));
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            _ => {
                if stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body))
                    .is_err()
                {
                    return;
                }
                log(said::ANSWERED);
            }
        }
    }
}

type Counts = Arc<Mutex<BTreeMap<u8, u64>>>;

struct Served {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Served {
    fn start(address: SocketAddr, counts: &Counts) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server", "--ignored", "--nocapture"])
            .env(SERVER, address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut log, counts) = (child.stderr.take().unwrap(), Arc::clone(counts));
        let reader = std::thread::spawn(move || {
            let mut events = [0; 64 << 10];
            while let Ok(n @ 1..) = log.read(&mut events) {
                let mut counts = counts.lock().unwrap();
                for event in &events[..n] {
                    *counts.entry(*event).or_default() += 1;
                }
            }
        });
        wait_until(|| TcpStream::connect(address).is_ok());
        Self {
            child,
            reader: Some(reader),
        }
    }

    /// At once, and without a word to anybody; what it had logged is counted.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
    }
}

/// What a process has now: resident KiB, and open files.
fn usage(process: u32) -> Option<(u64, usize)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = line.split_whitespace().next()?.parse().ok()?;
    Some((
        kib,
        fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
    ))
}

struct Soaked {
    summary: serde_json::Value,
    server: BTreeMap<u8, u64>,
    /// At a third of the time, and near its end.
    early: (u64, usize),
    late: (u64, usize),
}

impl Soaked {
    fn server(&self, event: u8) -> u64 {
        self.server.get(&event).copied().unwrap_or(0)
    }

    fn errors(&self, kind: &str) -> u64 {
        let errors = self.summary["errors"].as_array().unwrap();
        let found = errors.iter().find(|error| error["kind"] == kind);
        found.map_or(0, |error| error["count"].as_u64().unwrap())
    }

    fn requests(&self) -> u64 {
        let metrics = self.summary["metrics"].as_array().unwrap();
        let found = metrics
            .iter()
            .find(|metric| metric["metric"] == "http_reqs");
        found.unwrap()["agg"]["count"].as_u64().unwrap()
    }
}

/// Loads the server for so long; it is killed and started again so often meanwhile.
fn soak(connections: u64, seconds: u64, kills: u64) -> Soaked {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let counts = Counts::default();
    let mut server = Served::start(address, &counts);
    // Ours, to see whether it is there.
    wait_until(|| {
        counts
            .lock()
            .unwrap()
            .get(&said::ENDED)
            .is_some_and(|n| *n == 1)
    });
    counts.lock().unwrap().clear();
    let plan = format!(
        "scenarios:\n  s:\n    executor: constant-vus\n    vus: {connections}\n    duration: {seconds}s\n    flow:\n      \
         - request: {{ url: \"http://{address}/\", body: 0123456789, timeout: {TIMEOUT_S}s, assert: [ {{ type: body_matches, pattern: '^x*$' }} ] }}\n      \
         - think_time: {{ type: uniform, min: 0, max: {}ms }}\n",
        // So that two cores are not the bottleneck, and time is not what requests fail for.
        connections / 4
    );
    let folder = tempfile::tempdir().unwrap();
    let (path, summary) = (
        folder.path().join("plan.yaml"),
        folder.path().join("summary.json"),
    );
    fs::write(&path, plan).unwrap();
    let mut client = loadr()
        .args(["run", "--quiet", "--cores", "1", "--summary-export"])
        .args([summary.as_path(), Path::new(&path)])
        .spawn()
        .unwrap();
    let part = Duration::from_secs(seconds) / 3;
    std::thread::sleep(part);
    let early = usage(client.id()).unwrap();
    for _ in 0..kills {
        std::thread::sleep(part / (kills as u32 + 1));
        server.kill();
        std::thread::sleep(Duration::from_millis(300));
        server = Served::start(address, &counts);
    }
    let mut late = early;
    while client.try_wait().unwrap().is_none() {
        // Up to its end: what was there last counts.
        late = usage(client.id()).unwrap_or(late);
        std::thread::sleep(Duration::from_millis(100));
    }
    let summary = serde_json::from_slice(&fs::read(summary).unwrap()).unwrap();
    if kills == 0 {
        // It has seen every connection end.
        wait_until(|| {
            let counts = counts.lock().unwrap();
            counts.get(&said::OPENED) == counts.get(&said::ENDED)
        });
    }
    server.kill();
    let server = std::mem::take(&mut *counts.lock().unwrap());
    Soaked {
        summary,
        server,
        early,
        late,
    }
}

/// What must hold of every soak.
fn assert_steady(soaked: &Soaked, connections: u64) {
    let errors = &soaked.summary["errors"];
    let kinds: Vec<&str> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    let known = [
        "reset",
        "closed",
        "timeout",
        "connect_refused",
        "connect_timeout",
    ];
    assert!(kinds.iter().all(|kind| known.contains(kind)), "{errors:#}");
    let ((early_kib, early_files), (late_kib, late_files)) = (soaked.early, soaked.late);
    println!(
        "{connections} connections: {} requests; memory {early_kib} KiB, then {late_kib}; files {early_files}, then {late_files}",
        soaked.requests()
    );
    // Histograms of what had not come yet may still be made.
    assert!(
        late_kib < early_kib + early_kib / 8 + 4096,
        "{early_kib} KiB, then {late_kib}"
    );
    assert!(
        late_files <= early_files + 4,
        "{early_files} files, then {late_files}"
    );
}

#[test]
fn both_sides_count_the_same_while_the_server_resets_stalls_and_breaks_off() {
    let connections = variable("LOADR_SOAK_CONNECTIONS", 200);
    let soaked = soak(connections, variable("LOADR_SOAK_SECONDS", 6), 0);
    assert_steady(&soaked, connections);
    let (received, answered) = (soaked.server(said::RECEIVED), soaked.server(said::ANSWERED));
    let spoiled = [said::STALLED, said::RESET, said::BROKEN_OFF].map(|event| soaked.server(event));
    let failed = ["timeout", "reset", "closed"].map(|kind| soaked.errors(kind));
    let what = format!("{:?} {:#}", soaked.server, soaked.summary["errors"]);
    // A connection that was not made brought no request; without a kill there is none but on a machine out of breath.
    let unmade = soaked.errors("connect_timeout");
    assert_eq!(soaked.requests(), received + unmade, "{what}");
    assert_eq!(answered + spoiled.iter().sum::<u64>(), received, "{what}");
    // A stall is a timeout; so is an answer that came too late.
    let late = failed[0].checked_sub(spoiled[0]).expect(&what);
    assert_eq!(failed[1] + failed[2], spoiled[1] + spoiled[2], "{what}");
    assert!(late <= answered / 1000, "{what}");
    assert!(
        spoiled.iter().all(|n| *n > 0),
        "there was something to see: {what}"
    );
}

#[test]
fn kills_of_the_server_lose_no_more_than_what_was_in_flight() {
    let connections = variable("LOADR_SOAK_CONNECTIONS", 200);
    let kills = 3;
    let soaked = soak(connections, variable("LOADR_SOAK_SECONDS", 6), kills);
    assert_steady(&soaked, connections);
    let what = format!("{:?} {:#}", soaked.server, soaked.summary["errors"]);
    let unmade = soaked.errors("connect_refused") + soaked.errors("connect_timeout");
    let failed: u64 = ["timeout", "reset", "closed"]
        .iter()
        .map(|kind| soaked.errors(kind))
        .sum();
    let sent = soaked.requests() - unmade;
    let good = sent - failed;
    let (received, answered) = (soaked.server(said::RECEIVED), soaked.server(said::ANSWERED));
    // A kill can hide one request of each connection: sent and not read, or answered and not logged.
    let hidden = kills * connections;
    assert!(
        received <= sent + hidden && sent <= received + hidden,
        "{sent} {what}"
    );
    assert!(
        good <= answered + hidden && answered <= good + hidden,
        "{good} {what}"
    );
    let spoiled: u64 = [said::STALLED, said::RESET, said::BROKEN_OFF]
        .map(|event| soaked.server(event))
        .iter()
        .sum();
    assert!(
        failed <= spoiled + hidden + answered / 1000,
        "{failed} {what}"
    );
    assert!(unmade > 0, "the server was away: {what}");
    assert!(good > 0, "{what}");
}
