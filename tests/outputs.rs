//! Outputs: what they say against what the summary says, and receivers that are missing, slow or full.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Run, interrupt, loadr, plan, run_plan, target, wait_until};
use serde_json::Value;

/// A plan with hostile names that runs for about `secs` and makes some errors.
fn hostile_plan(secs: &str, outputs: &str) -> (loadr_target::Target, String) {
    let target = target();
    let flow = "      - request: { name: \"a\\\"b\\\\c,d=e {f}\\n<script>\", url: /, tags: { team: \"x|y\", le: z }, checks: [ { type: status, equals: 200 } ] }\n      - request: { name: missing, url: /status/404 }\n      - think_time: { type: constant, duration: 2ms }\n";
    let text = plan(
        &format!("http://{}", target.address()),
        &format!("executor: constant-vus\n    vus: 2\n    duration: {secs}"),
        flow,
    );
    (target, format!("{text}outputs:\n{outputs}\n"))
}

/// The counters, and counts and sums of distributions, of the summary by metric.
fn expected(run: &Run, metric: &str) -> (f64, f64) {
    let metrics = run.summary["metrics"].as_array().unwrap();
    let agg = &metrics.iter().find(|m| m["metric"] == metric).unwrap()["agg"];
    (
        agg["count"].as_f64().unwrap(),
        agg["sum"].as_f64().unwrap_or(0.0),
    )
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn outputs(run: &Run) -> &Vec<Value> {
    run.summary["outputs"]
        .as_array()
        .unwrap_or_else(|| panic!("no outputs: {}", run.stderr))
}

fn assert_all_taken(run: &Run) {
    for output in outputs(run) {
        assert_eq!(output["dropped"], 0, "{output}");
        assert!(output["points"].as_u64().unwrap() > 0, "{output}");
        assert_eq!(output["error"], Value::Null, "{output}");
    }
}

#[test]
fn files_add_up_to_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let (json, csv) = (folder.path().join("a.json"), folder.path().join("a.csv"));
    let list = format!(
        "  - {{ type: json, path: {} }}\n  - {{ type: csv, path: {} }}",
        json.display(),
        csv.display()
    );
    // Ends in the middle of a second, with a piece too short for the timeline.
    let (_target, plan) = hostile_plan("2100ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_all_taken(&run);
    assert!(run.stdout.contains("OUTPUTS"), "{}", run.stdout);

    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in fs::read_to_string(&json).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] == "Point" {
            let data = &line["data"];
            let sum = sums.entry(line["metric"].as_str().unwrap().to_owned());
            let sum = sum.or_default();
            sum.0 += data
                .get("count")
                .unwrap_or(&data["value"])
                .as_f64()
                .unwrap();
            sum.1 += data["sum"].as_f64().unwrap_or(0.0);
        }
    }
    let mut rows: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let text = fs::read_to_string(&csv).unwrap();
    let mut records = quoted_rows(&text).into_iter();
    let header = records.next().unwrap();
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let (metric, value, count, sum) = (at("metric"), at("value"), at("count"), at("sum"));
    for row in records {
        let number = |at: usize| row[at].parse::<f64>().ok();
        let into = rows.entry(row[metric].clone()).or_default();
        into.0 += number(count).or_else(|| number(value)).unwrap();
        into.1 += number(sum).unwrap_or(0.0);
    }
    for name in [
        "http_reqs",
        "http_req_duration",
        "http_req_waiting",
        "http_req_failed",
        "checks",
        "iterations",
        "iteration_duration",
        "data_sent",
        "data_received",
        "generator_lag",
    ] {
        let wanted = expected(&run, name);
        for (file, found) in [("json", sums[name]), ("csv", rows[name])] {
            assert_eq!(found.0, wanted.0, "{file} {name}");
            let is_trend = sums[name].1 > 0.0;
            assert!(
                !is_trend || close(found.1, wanted.1),
                "{file} {name}: {found:?} {wanted:?}"
            );
        }
    }
    let raw = fs::read_to_string(&json).unwrap();
    assert!(!raw.contains('\u{1b}'));
}

/// RFC 4180, read by other code than wrote it.
fn quoted_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    rows
}

#[test]
fn every_request_has_a_line_where_samples_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let list = format!(
        "  - {{ type: json, path: {}, samples: true }}",
        json.display()
    );
    let (_target, plan) = hostile_plan("1100ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_all_taken(&run);
    let (started, ended) = (
        run.summary["started_ms"].as_f64().unwrap(),
        run.summary["ended_ms"].as_f64().unwrap(),
    );
    let (mut requests, mut missing, mut sum) = (0, 0, 0.0);
    for line in fs::read_to_string(&json).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["type"] == "Request" {
            requests += 1;
            missing += u64::from(line["status"] == 404 && line["name"] == "missing");
            sum += line["duration"].as_f64().unwrap();
            let time = line["time_ms"].as_f64().unwrap();
            // The clock of the run is set by its first second.
            assert!((started - 1e3..=ended + 1e3).contains(&time), "{time}");
        }
    }
    assert_eq!(requests, run.count("http_reqs"));
    assert_eq!(missing, run.requests_with("status", "404"));
    // Each is cut off at a tenth of a microsecond in each of three phases.
    let whole = expected(&run, "http_req_duration").1;
    assert!(
        (whole - sum).abs() <= requests as f64 * 3e-4 + 1e-6,
        "{sum} and not {whole}"
    );
}

#[test]
fn flags_add_outputs_to_those_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.json"), folder.path().join("2.csv"));
    let (_target, plan) = hostile_plan(
        "200ms",
        &format!("  - {{ type: json, path: {} }}", one.display()),
    );
    let flag = format!("csv={}", two.display());
    let run = run_plan(&plan, &["--output", &flag]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(outputs(&run).len(), 2);
    assert!(one.exists() && two.exists());
    let run = run_plan(
        &plan,
        &["--output", "jsn=x", "-o", "otlp=nowhere", "-o", "csv"],
    );
    assert_eq!(run.code, 1);
    for part in [
        "unknown type `jsn`",
        "did you mean `json`",
        "`nowhere`: it is no URL",
        "`csv` is not a kind and a target",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_opened_is_known_before_the_run() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let list = format!(
        "  - {{ type: json, path: missing/folder/a.json }}\n  - {{ type: csv, path: /dev/full }}\n  - {{ type: prometheus, listen: '{address}' }}\n  - {{ type: otlp, url: 'https://127.0.0.1:9', ca_file: none.pem }}"
    );
    let (target, plan) = hostile_plan("60s", &list);
    let began = Instant::now();
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 1);
    for part in [
        "outputs[0]",
        "missing/folder/a.json: No such file",
        "/dev/full: No space left",
        &format!("cannot listen at {address}: Address already in use"),
        "none.pem: No such file",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "it ran");
    drop(target);
}

#[test]
fn a_disk_that_is_full_in_mid_run_costs_points_and_not_the_summary() {
    let (_target, plan) = hostile_plan("1500ms", "  - { type: json, path: /dev/full }");
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let output = &outputs(&run)[0];
    assert_eq!(output["dropped"], output["points"]);
    assert!(output["error"].as_str().unwrap().contains("No space left"));
    assert!(run.stdout.contains("DROPPED") && run.count("http_reqs") > 0);
}

/// The head and the body of a request.
type Delivery = (String, Vec<u8>);

/// A receiver of HTTP that answers each request as `answer` says; `None` never answers.
struct Receiver {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Delivery>>>,
}

impl Receiver {
    fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let own = Arc::clone(&own);
                thread::spawn(move || serve(stream, answer, &own));
            }
        });
        Self { address, bodies }
    }
}

fn serve(mut stream: TcpStream, answer: Option<&str>, bodies: &Mutex<Vec<Delivery>>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let Ok(n) = stream.read(&mut piece) else {
            return;
        };
        if n == 0 {
            return;
        }
        bytes.extend_from_slice(&piece[..n]);
        while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() < end + 4 + length {
                break;
            }
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let body = bytes[end + 4..end + 4 + length].to_vec();
            bytes.drain(..end + 4 + length);
            bodies.lock().unwrap().push((head, body));
            let Some(answer) = answer else { continue };
            let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\nno");
        }
    }
}

#[test]
fn receivers_that_are_dead_slow_or_refuse_cost_points_and_not_the_run() {
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (slow, refusing) = (
        Receiver::start(None),
        Receiver::start(Some("500 Internal Server Error")),
    );
    let mut list = String::new();
    for address in [dead, slow.address, refusing.address] {
        for kind in ["prometheus", "otlp", "influxdb"] {
            let rest = if kind == "influxdb" {
                ", database: d"
            } else {
                ""
            };
            list.push_str(&format!(
                "  - {{ type: {kind}, url: 'http://{address}'{rest} }}\n"
            ));
        }
    }
    let quiet = {
        let (_target, plan) = hostile_plan("2500ms", "  - { type: json, path: /dev/null }");
        run_plan(&plan, &[])
    };
    let (_target, plan) = hostile_plan("2500ms", &list);
    let began = Instant::now();
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // The run, and five seconds for what is left; a machine that does much else takes longer for the rest of it.
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    assert!(
        run.stderr.contains(&format!("cannot connect to {dead}")),
        "{}",
        run.stderr
    );
    for output in outputs(&run) {
        assert_eq!(output["dropped"], output["points"], "{output}");
        assert!(output["failures"].as_u64().unwrap() > 0, "{output}");
        assert!(output["error"].is_string(), "{output}");
    }
    assert!(
        outputs(&run)[6]["error"]
            .as_str()
            .unwrap()
            .contains("answered 500: no")
    );
    // The load was what it is without them: two users who rest 2 ms each time are far from any limit.
    let (with, without) = (
        run.count("iterations") as f64,
        quiet.count("iterations") as f64,
    );
    assert!(with > without * 0.5, "{with} iterations against {without}");
    assert!(run.summary["duration_secs"].as_f64().unwrap() < 10.0);
}

#[test]
fn a_secret_of_an_output_is_in_no_message() {
    let refusing = Receiver::start(Some("401 Unauthorized"));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cr3t-t0ken").unwrap();
    let list = format!(
        "  - {{ type: influxdb, url: 'http://{}', org: o, bucket: b, token: '${{secrets.t}}' }}\n  - {{ type: otlp, url: 'http://{}/${{secrets.t}}', headers: {{ x-key: '${{secrets.t}}' }} }}\nsecrets: {{ t: {{ file: {} }} }}",
        refusing.address,
        refusing.address,
        token.display()
    );
    let (_target, plan) = hostile_plan("1200ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let all = format!("{}{}{:#}", run.stdout, run.stderr, run.summary);
    assert!(!all.contains("s3cr3t"), "{all}");
    let bodies = refusing.bodies.lock().unwrap();
    let heads: String = bodies.iter().map(|(head, _)| head.as_str()).collect();
    assert!(
        heads
            .to_lowercase()
            .contains("authorization: token s3cr3t-t0ken"),
        "{heads}"
    );
    assert!(
        heads.contains("x-key: s3cr3t-t0ken") && heads.contains("POST /s3cr3t-t0ken "),
        "{heads}"
    );
}

#[test]
fn influxdb_2_gets_lines_that_add_up_to_the_summary() {
    let taking = Receiver::start(Some("204 No Content"));
    let list = format!(
        "  - {{ type: influxdb, url: 'http://{}', org: my org, bucket: b/1, token: t }}",
        taking.address
    );
    let (_target, plan) = hostile_plan("1300ms", &list);
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_all_taken(&run);
    let bodies = taking.bodies.lock().unwrap();
    let mut requests = 0;
    for (head, body) in bodies.iter() {
        assert!(
            head.starts_with("POST /api/v2/write?precision=ms&org=my%20org&bucket=b%2F1 HTTP/1.1"),
            "{head}"
        );
        for line in std::str::from_utf8(body).unwrap().lines() {
            if line.starts_with("http_reqs,") {
                let value = line.rsplit_once("value=").unwrap().1;
                requests += value.split_once('i').unwrap().0.parse::<u64>().unwrap();
            }
        }
    }
    assert_eq!(requests, run.count("http_reqs"));
}

#[test]
fn statsd_gets_counters_that_add_up_to_the_summary() {
    for (tags, is_dogstatsd) in [("dogstatsd", true), ("name", false)] {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let list = format!(
            "  - {{ type: statsd, address: '{}', tags: {tags} }}",
            server.local_addr().unwrap()
        );
        let (_target, plan) = hostile_plan("1300ms", &list);
        let run = run_plan(&plan, &[]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_all_taken(&run);
        server.set_nonblocking(true).unwrap();
        let (mut requests, mut bytes) = (0.0, [0; 65_536]);
        while let Ok(n) = server.recv(&mut bytes) {
            for line in std::str::from_utf8(&bytes[..n]).unwrap().lines() {
                // name:value|type, then fields of which each begins with `|`.
                let (name, rest) = line.split_once(':').unwrap();
                let mut fields = rest.split('|');
                let value: f64 = fields.next().unwrap().parse().unwrap();
                let kind = fields.next().unwrap();
                assert!(["c", "g"].contains(&kind), "{line}");
                let tags = fields.next();
                let has_tags = !name.contains("vus") && !name.contains("generator_lag");
                assert_eq!(
                    tags.is_some_and(|t| t.starts_with('#')),
                    is_dogstatsd && has_tags,
                    "{line}"
                );
                assert_eq!(fields.next(), None, "{line}");
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                assert!(name.chars().all(is_plain), "{line}");
                let is_requests = name == "loadr.http_reqs" || name.starts_with("loadr.http_reqs.");
                if is_requests {
                    requests += value;
                }
            }
        }
        assert_eq!(requests, run.count("http_reqs") as f64);
    }
}

#[test]
fn a_scrape_sees_the_run_and_a_last_one_its_end() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let list = format!("  - {{ type: prometheus, listen: '{port}', linger: 30s }}");
    let (_target, plan) = hostile_plan("2300ms", &list);
    let scraper = thread::spawn(move || {
        let mut last = String::new();
        let mut scrapes = 0;
        let began = Instant::now();
        let mut was_there = false;
        while began.elapsed() < Duration::from_secs(60) {
            match scrape(port) {
                Some(text) => {
                    was_there = true;
                    scrapes += 1;
                    last = text;
                }
                None if was_there => break,
                None => {}
            }
            thread::sleep(Duration::from_millis(100));
        }
        (scrapes, last)
    });
    let began = Instant::now();
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (scrapes, last) = scraper.join().unwrap();
    assert!(scrapes > 2 && began.elapsed() < Duration::from_secs(30));
    let requests: f64 = last
        .lines()
        .filter(|line| line.starts_with("loadr_http_reqs_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(requests, run.count("http_reqs") as f64);
}

fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

#[test]
fn a_run_without_a_scraper_waits_for_none() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_target, plan) = hostile_plan(
        "300ms",
        &format!("  - {{ type: prometheus, listen: '{port}', linger: 10m }}"),
    );
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr
            .contains(&format!("metrics are at http://{port}/metrics"))
    );
}

/// Does not outlive a test that fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_page_hears_of_the_end_at_once_and_ctrl_c_ends_the_wait_for_a_scrape_whatever_ended_the_run() {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (scraped, page) = (free(), free());
    let list = format!("  - {{ type: prometheus, listen: '{scraped}', linger: 10m }}");
    let (_target, plan) = hostile_plan("10m", &list);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    // It is over for a reason of its own before anybody presses a key.
    let threshold = "thresholds: { http_req_failed: [ { threshold: 'rate<0.01', abort_on_fail: true, delay_abort_eval: 2s } ] }\n";
    fs::write(&path, format!("{plan}{threshold}")).unwrap();
    let child = loadr()
        .args(["run", "--cores", "1", "--no-tui"])
        .arg(format!("--ui={page}"))
        .arg(&path)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    // What was scraped in the run is waited for at its end.
    wait_until(|| scrape(scraped).is_some());
    let mut reader = TcpStream::connect(page).unwrap();
    reader
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(reader, "GET /events HTTP/1.1\r\nHost: {page}\r\n\r\n").unwrap();
    let mut events = Vec::new();
    let began = Instant::now();
    // The stream ends behind the end of the run.
    let mut some = [0; 4096];
    while let Ok(len) = reader.read(&mut some)
        && len > 0
        && began.elapsed() < Duration::from_secs(60)
    {
        events.extend_from_slice(&some[..len]);
    }
    let events = String::from_utf8(events).unwrap();
    assert!(events.contains("event: end"), "{events}");
    assert!(events.contains("\"exit_code\": 99"), "{events}");
    let child = &mut child.0;
    assert!(
        child.try_wait().unwrap().is_none(),
        "nobody has scraped the end"
    );
    // The page comes before the wait begins, which it says on standard error.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting up to 600 s") {
        line.clear();
        assert_ne!(
            said.read_line(&mut line).unwrap(),
            0,
            "it waits for a scrape"
        );
    }
    interrupt(child.id());
    let mut code = None;
    wait_until(|| {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.and_then(|code| code.code()), Some(99));
}

#[test]
fn tls_receivers_are_held_to_the_certificate_that_the_plan_names() {
    let folder = tempfile::tempdir().unwrap();
    let named = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = folder.path().join("ca.pem");
    fs::write(&pem, named.cert.pem()).unwrap();
    let receiver = common_tls(&named);
    let list = |rest: &str| {
        format!(
            "  - {{ type: otlp, url: 'https://localhost:{}'{rest} }}",
            receiver.0.port()
        )
    };
    for (rest, is_taken) in [
        (format!(", ca_file: {}", pem.display()), true),
        (", insecure_skip_verify: true".to_owned(), true),
        (String::new(), false),
    ] {
        let (_target, plan) = hostile_plan("300ms", &list(&rest));
        let run = run_plan(&plan, &[]);
        if run.code == 1 && run.stderr.contains("no root certificates") {
            continue;
        }
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(
            outputs(&run)[0]["dropped"] == 0,
            is_taken,
            "{rest}: {}",
            outputs(&run)[0]
        );
    }
}

/// An HTTPS receiver that takes everything.
fn common_tls(named: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (SocketAddr,) {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(named.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![named.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let Ok(connection) = rustls::ServerConnection::new(config) else {
                    return;
                };
                let mut tls = rustls::StreamOwned::new(connection, stream);
                let mut bytes = Vec::new();
                let mut piece = [0; 65_536];
                while let Ok(n @ 1..) = tls.read(&mut piece) {
                    bytes.extend_from_slice(&piece[..n]);
                    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    let length = head
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: "));
                    let length: usize = length.map_or(0, |l| l.trim().parse().unwrap());
                    if bytes.len() >= end + 4 + length {
                        bytes.clear();
                        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    (address,)
}

#[test]
fn an_output_that_leads_to_a_file_is_relative_to_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (_target, plan) = hostile_plan("200ms", "  - { type: json, path: out.jsonl }");
    let path = folder.path().join("plan.yaml");
    fs::write(&path, plan).unwrap();
    let run = common::run_file(&path, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(Path::new(&folder.path().join("out.jsonl")).exists());
}
