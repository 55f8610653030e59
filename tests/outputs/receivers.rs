//! Outputs that are sent: to receivers that take everything, and to some that are dead, slow or refuse.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::common::run_plan;
use super::{assert_all_taken, hostile_plan, outputs};

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
fn tls_receivers_are_held_to_the_certificate_that_the_plan_names() {
    let folder = tempfile::tempdir().unwrap();
    let named = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = folder.path().join("ca.pem");
    fs::write(&pem, named.cert.pem()).unwrap();
    let receiver = tls_receiver(&named);
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
fn tls_receiver(named: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (SocketAddr,) {
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
