//! Outputs against the real programs that take them: what they were told is asked of them and held against the summary.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Run, plan, repository, run_plan, said, target};
use serde_json::Value;

/// What every name of the plan holds that could break out of its place.
const HOSTILE: &str = "a\"b\\c,d=e {f}\n<script>";

/// A run of about two and a half seconds that makes some errors, with a tag to tell it by.
fn run(form: &str, output: &str) -> Run {
    let target = target();
    let flow = "      - request: { name: \"a\\\"b\\\\c,d=e {f}\\n<script>\", url: /, tags: { le: z, \"a-b\": \"\\\\\" }, checks: [ { type: status, equals: 200 } ] }\n      - request: { name: missing, url: /status/404 }\n      - think_time: { type: constant, duration: 2ms }\n";
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 4\n    duration: 2500ms",
        flow,
    );
    let text = text.replacen(
        "defaults: {",
        &format!("defaults: {{ tags: {{ form: {form} }},"),
        1,
    );
    let run = run_plan(&format!("{text}outputs: [ {output} ]\n"), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let fed = &run.summary["outputs"][0];
    assert_eq!(fed["error"], Value::Null, "{fed}");
    assert_eq!(fed["dropped"], 0, "{fed}");
    run
}

/// A program with a folder of its own; ended on drop.
struct Server {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The program, or a line that says that the test is skipped.
fn installed(test: &str, name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: {test} ({name} is not installed)");
    }
    found
}

impl Server {
    fn start(
        mut command: Command,
        address: SocketAddr,
        folder: tempfile::TempDir,
        ready: &str,
    ) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            address,
            _folder: folder,
        };
        let began = Instant::now();
        while server.get(ready).is_none() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// The body of a good answer.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: h\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let is_good = head.split(' ').nth(1)?.starts_with('2');
        is_good.then(|| body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let body = self.get(path).unwrap_or_else(|| panic!("{path} fails"));
        serde_json::from_str(&body).unwrap()
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn prometheus(test: &str, scraped: Option<SocketAddr>) -> Option<Server> {
    let program = installed(test, "prometheus")?;
    let folder = tempfile::tempdir().unwrap();
    let address = free();
    let mut config = "global: { scrape_interval: 500ms, scrape_timeout: 400ms }\n".to_owned();
    if let Some(scraped) = scraped {
        config.push_str(&format!(
            "scrape_configs: [ {{ job_name: loadr, static_configs: [ {{ targets: [ '{scraped}' ] }} ] }} ]\n"
        ));
    }
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .args([
            "--web.enable-remote-write-receiver",
            "--enable-feature=native-histograms",
            "--log.level=error",
        ]);
    let server = Server::start(command, address, folder, "/-/ready");
    // It looks for what there is to scrape some seconds after it is ready.
    let began = Instant::now();
    while scraped.is_some()
        && server.json("/api/v1/targets")["data"]["activeTargets"][0]["health"] != "down"
    {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not scrape"
        );
        thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

/// What a query comes to, one number.
fn ask(server: &Server, query: &str) -> Option<f64> {
    let answer = server.json(&format!("/api/v1/query?query={}", encoded(query)));
    let result = answer["data"]["result"].as_array().unwrap();
    assert!(result.len() <= 1, "{query}: {result:?}");
    result.first()?["value"][1].as_str()?.parse().ok()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Asks until the answer is the wanted one: what was told last may take a moment to be seen.
fn holds(server: &Server, query: &str, wanted: f64) {
    let began = Instant::now();
    loop {
        let found = ask(server, query);
        if found.is_some_and(|found| close(found, wanted)) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{query}: {found:?} and not {wanted}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Everything that Prometheus was told in one form, against the summary.
fn judge(server: &Server, run: &Run, form: &str, is_native: bool) {
    let of = |name: &str| format!("{name}{{form=\"{form}\"}}");
    holds(
        server,
        &format!("sum({})", of("loadr_http_reqs_total")),
        run.count("http_reqs") as f64,
    );
    holds(
        server,
        &format!("sum({})", of("loadr_http_req_failed_trues_total")),
        run.failed() as f64,
    );
    holds(
        server,
        &format!("sum({})", of("loadr_data_sent_bytes_total")),
        run.metric("data_sent", "count"),
    );
    let status =
        format!("sum(loadr_http_reqs_total{{form=\"{form}\",status=\"404\",tag_le!=\"z\"}})");
    holds(server, &status, run.requests_with("status", "404") as f64);
    let hostile = HOSTILE
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    let hostile = format!(
        "sum(loadr_http_reqs_total{{form=\"{form}\",name=\"{hostile}\",tag_le=\"z\",a_b=\"\\\\\"}})"
    );
    holds(server, &hostile, run.requests_with("status", "200") as f64);
    let (count, sum) = (
        run.metric("http_req_duration", "count"),
        run.metric("http_req_duration", "sum") / 1e3,
    );
    let median = run.metric("http_req_duration", "med") / 1e3;
    let duration = of("loadr_http_req_duration_seconds");
    if is_native {
        holds(server, &format!("histogram_count(sum({duration}))"), count);
        holds(server, &format!("histogram_sum(sum({duration}))"), sum);
        let found = ask(server, &format!("histogram_quantile(0.5, sum({duration}))")).unwrap();
        assert!(
            (found / median - 1.0).abs() < 0.04,
            "median {found}, and not {median}"
        );
    } else {
        holds(
            server,
            &format!("sum({})", of("loadr_http_req_duration_seconds_count")),
            count,
        );
        holds(
            server,
            &format!("sum({})", of("loadr_http_req_duration_seconds_sum")),
            sum,
        );
        let all =
            format!("sum(loadr_http_req_duration_seconds_bucket{{form=\"{form}\",le=\"+Inf\"}})");
        holds(server, &all, count);
        let buckets = of("loadr_http_req_duration_seconds_bucket");
        let found = ask(
            server,
            &format!("histogram_quantile(0.5, sum by (le) ({buckets}))"),
        )
        .unwrap();
        assert!(
            (median / 3.0..median * 3.0).contains(&found),
            "median {found}, and not {median}"
        );
    }
}

#[test]
fn prometheus_takes_remote_writes() {
    let Some(server) = prometheus("prometheus_takes_remote_writes", None) else {
        return;
    };
    for form in ["classic", "native"] {
        let output = format!(
            "{{ type: prometheus, url: 'http://{}', histograms: {form} }}",
            server.address
        );
        let run = run(form, &output);
        judge(&server, &run, form, form == "native");
    }
}

#[test]
fn prometheus_scrapes_during_and_after_the_run() {
    for form in ["classic", "native"] {
        let listen = free();
        let Some(server) = prometheus("prometheus_scrapes_during_and_after_the_run", Some(listen))
        else {
            return;
        };
        let output =
            format!("{{ type: prometheus, listen: '{listen}', histograms: {form}, linger: 60s }}");
        let run = run(form, &output);
        // The series end with the endpoint: what there was last is asked for.
        let of = |name: &str| format!("{name}{{form=\"{form}\"}}");
        let requests = format!("sum({})", of("loadr_http_reqs_total"));
        last_is(&server, &run, &requests, run.count("http_reqs") as f64);
        let count = run.metric("http_req_duration", "count");
        let seconds = "loadr_http_req_duration_seconds";
        let query = match form {
            "native" => format!("histogram_count(sum({}))", of(seconds)),
            _ => format!("sum({})", of(&format!("{seconds}_count"))),
        };
        last_is(&server, &run, &query, count);
    }
}

/// Asks until the last answer of the time around the run's end is the wanted one.
fn last_is(server: &Server, run: &Run, query: &str, wanted: f64) {
    let ended = run.summary["ended_ms"].as_f64().unwrap() / 1e3;
    let path = format!(
        "/api/v1/query_range?query={}&start={}&end={}&step=0.1",
        encoded(query),
        ended - 2.0,
        ended + 60.0
    );
    let began = Instant::now();
    loop {
        let answer = server.json(&path);
        let values = answer["data"]["result"][0]["values"].as_array();
        let found = values.and_then(|values| values.last()?[1].as_str()?.parse::<f64>().ok());
        if found == Some(wanted) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{query}: {found:?} and not {wanted}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn influxdb_takes_every_second() {
    let Some(program) = installed("influxdb_takes_every_second", "influxd") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (address, other) = (free(), free());
    let at = folder.path().display();
    let config = format!(
        "reporting-disabled = true\nbind-address = \"{other}\"\n[meta]\n  dir = \"{at}/meta\"\n[data]\n  dir = \"{at}/data\"\n  wal-dir = \"{at}/wal\"\n[http]\n  bind-address = \"{address}\"\n  log-enabled = false\n[monitor]\n  store-enabled = false\n"
    );
    let file = folder.path().join("influxdb.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.arg("run").arg("-config").arg(file);
    let server = Server::start(command, address, folder, "/ping");
    // Once with the database as a key, once in the path as k6 has it.
    for (database, output) in [
        (
            "one",
            format!("{{ type: influxdb, url: 'http://{address}', database: one }}"),
        ),
        (
            "two",
            format!("{{ type: influxdb, url: 'http://{address}/two' }}"),
        ),
    ] {
        let run = run(database, &output);
        let ask = |query: &str| {
            let path = format!("/query?db={database}&q={}", encoded(query));
            let answer = server.json(&path);
            let value = &answer["results"][0]["series"][0]["values"][0][1];
            value
                .as_f64()
                .unwrap_or_else(|| panic!("{query}: {answer}"))
        };
        assert_eq!(
            ask("SELECT sum(value) FROM http_reqs"),
            run.count("http_reqs") as f64
        );
        assert_eq!(
            ask("SELECT sum(value) FROM http_reqs WHERE status = '404'"),
            run.requests_with("status", "404") as f64
        );
        assert_eq!(
            ask("SELECT sum(trues) FROM http_req_failed"),
            run.failed() as f64
        );
        let (count, sum) = (
            ask("SELECT sum(count) FROM http_req_duration"),
            ask("SELECT sum(sum) FROM http_req_duration"),
        );
        assert_eq!(count, run.metric("http_req_duration", "count"));
        assert!(close(sum, run.metric("http_req_duration", "sum")), "{sum}");
        assert_eq!(
            ask("SELECT max(max) FROM http_req_duration"),
            run.metric("http_req_duration", "max")
        );
        let tags = server.json(&format!(
            "/query?db={database}&q={}",
            encoded("SHOW TAG VALUES FROM http_reqs WITH KEY = \"name\"")
        ));
        let names = tags["results"][0]["series"][0]["values"]
            .as_array()
            .unwrap();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[test]
fn otlp_is_what_the_protocols_own_reader_reads() {
    let own = repository("target/otlp/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    let has = |python: &Path| {
        let import = "import opentelemetry.proto.collector.metrics.v1.metrics_service_pb2";
        let output = Command::new(python).args(["-c", import]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !has(&python) {
        eprintln!(
            "SKIPPED: otlp_is_what_the_protocols_own_reader_reads (python3 has no opentelemetry-proto)"
        );
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let own = Arc::clone(&bodies);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let own = Arc::clone(&own);
            thread::spawn(move || {
                while let Some(body) = request(&mut stream) {
                    own.lock().unwrap().push(body);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    let run = run(
        "otlp",
        &format!("{{ type: otlp, url: 'http://{address}' }}"),
    );
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (i, body) in bodies.lock().unwrap().iter().enumerate() {
        let file = folder.path().join(format!("{i}"));
        fs::write(&file, body).unwrap();
        files.push(file);
    }
    assert!(files.len() >= 3);
    let mut command = Command::new(&python);
    command
        .arg(repository("tests/fixtures/otlp_read.py"))
        .args(files);
    let read = said(&mut command);
    let number = |name: &str| {
        read[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {read}"))
    };
    assert_eq!(number("loadr.http_reqs"), run.count("http_reqs") as f64);
    assert_eq!(number("loadr.http_req_failed.trues"), run.failed() as f64);
    assert_eq!(number("loadr.data_sent"), run.metric("data_sent", "count"));
    assert_eq!(number("loadr.vus_max"), 4.0);
    assert_eq!(
        number("loadr.http_req_duration.count"),
        run.metric("http_req_duration", "count")
    );
    assert!(close(
        number("loadr.http_req_duration.sum"),
        run.metric("http_req_duration", "sum") / 1e3
    ));
    let median = run.metric("http_req_duration", "med") / 1e3;
    assert!(
        (number("p50") / median - 1.0).abs() < 0.03,
        "{} and not {median}",
        number("p50")
    );
    let names = read["names"].as_array().unwrap();
    assert!(names.contains(&HOSTILE.into()), "{names:?}");
}

#[test]
fn statsd_is_what_a_parser_of_it_reads() {
    let test = "statsd_is_what_a_parser_of_it_reads";
    let (parser, Some(node)) = (
        Path::new("/usr/share/nodejs/statsd-parser"),
        installed(test, "node"),
    ) else {
        return;
    };
    if !parser.exists() {
        eprintln!("SKIPPED: {test} (node-statsd-parser is not installed)");
        return;
    }
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    // Read as they come: a socket holds only so many.
    server
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let (mut lines, mut datagram) = (Vec::new(), [0; 65_536]);
            loop {
                match server.recv(&mut datagram) {
                    Ok(n) => {
                        lines.extend_from_slice(&datagram[..n]);
                        lines.push(b'\n');
                    }
                    Err(_) if is_over.load(Ordering::Relaxed) => return lines,
                    Err(_) => {}
                }
            }
        }
    });
    // The plain form: DogStatsD's tags are beyond this parser.
    let run = run(
        "statsd",
        &format!("{{ type: statsd, address: '{address}', tags: name }}"),
    );
    is_over.store(true, Ordering::Relaxed);
    let lines = reader.join().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    fs::write(&file, lines).unwrap();
    let mut command = Command::new(node);
    command
        .arg(repository("tests/fixtures/statsd_read.js"))
        .arg(parser)
        .stdin(fs::File::open(file).unwrap());
    let read = said(&mut command);
    let counter = |name: &str| read["counters"][name].as_f64();
    assert_eq!(
        counter("loadr.http_reqs"),
        Some(run.count("http_reqs") as f64)
    );
    assert_eq!(
        counter("loadr.data_sent"),
        Some(run.metric("data_sent", "count"))
    );
    assert!(read["kinds"]["g"].as_u64() > Some(0), "{read}");
}

/// The body of the next request of a connection.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(
        head.starts_with("post /v1/metrics ")
            && head.contains("content-type: application/x-protobuf")
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}
