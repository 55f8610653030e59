//! How connections are made: through a proxy, from which addresses, to which, in what time, and again after failures.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadr_engine::{Resolve, StopReason, Summary};
use support::{
    End, Reply, Seen, Server, assert_no_failure, once, outcomes, run, run_watched, try_run,
};

fn count(summary: &Summary, metric: &str) -> u64 {
    summary.metric(metric).and_then(|m| m.count).unwrap_or(0)
}

/// How often an error of a kind came, and its most frequent text.
fn error<'s>(summary: &'s Summary, kind: &str) -> (u64, &'s str) {
    let error = summary.errors.iter().find(|e| e.kind == kind);
    error.map_or((0, ""), |e| (e.count, e.example.as_str()))
}

#[test]
fn requests_through_a_proxy_name_their_whole_target_and_share_its_connections() {
    let proxy = Server::start(|request| match request.target() {
        "http://shop.test:8080/go" => Reply::redirect(302, "http://other.test/there"),
        _ => Reply::ok("set-cookie: a=1\r\n", b"body"),
    });
    let http = format!(
        "base_url: \"http://shop.test:8080/\", proxy: \"http://me:p%40ss@{}\"",
        proxy.address
    );
    let flow = "      - request: { url: /static?x=1 }\n      - request: { url: \"/vu/${vu}\" }\n      \
                - request: { url: /post, body: \"b${vu}\" }\n      - request: { url: /go }\n      \
                - request: { url: \"http://[::1]:81/six\" }\n      - request: { url: /static?x=1 }\n";
    let summary = run(&once(&http, flow));
    assert_no_failure(&summary);
    let seen = proxy.seen();
    let lines: Vec<_> = seen
        .iter()
        .map(|s| (s.head.lines().next().unwrap(), s.header("host").unwrap()))
        .collect();
    let shop = "shop.test:8080";
    assert_eq!(
        lines,
        [
            ("GET http://shop.test:8080/static?x=1 HTTP/1.1", shop),
            ("GET http://shop.test:8080/vu/1 HTTP/1.1", shop),
            ("POST http://shop.test:8080/post HTTP/1.1", shop),
            ("GET http://shop.test:8080/go HTTP/1.1", shop),
            ("GET http://other.test/there HTTP/1.1", "other.test"),
            ("GET http://[::1]:81/six HTTP/1.1", "[::1]:81"),
            ("GET http://shop.test:8080/static?x=1 HTTP/1.1", shop),
        ]
    );
    assert_eq!(seen[2].body, b"b1");
    for request in &seen {
        // base64 of `me:p@ss`; once.
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic bWU6cEBzcw==")
        );
        assert_eq!(request.head.matches("proxy-authorization").count(), 1);
    }
    // Cookies are the targets', not the proxy's.
    let cookies: Vec<_> = seen.iter().map(|s| s.header("cookie")).collect();
    let (none, some) = (None, Some("a=1"));
    assert_eq!(cookies, [none, some, some, some, none, none, some]);
    let connections: Vec<_> = seen.iter().map(|s| s.connection).collect();
    assert!(
        connections[..4].iter().all(|c| *c == connections[0]),
        "{connections:?}"
    );
    assert_eq!(connections[6], connections[0], "it was kept");
}

#[test]
fn a_proxy_that_is_not_there_is_said_before_the_run_without_its_password() {
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let http = format!("base_url: \"http://shop.test/\", proxy: \"http://me:geheim@{dead}\"");
    let error = try_run(&once(&http, "      - request: { url: / }\n"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!(
            "defaults.http.proxy: the proxy: cannot connect to {dead}"
        )),
        "{error}"
    );
    assert!(!error.contains("geheim"), "{error}");
}

#[test]
fn an_answer_that_asks_for_other_credentials_is_a_response_like_others() {
    let proxy = Server::start(|_| {
        Reply::bytes("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n")
    });
    let http = format!(
        "base_url: \"http://shop.test/\", proxy: \"http://{}\"",
        proxy.address
    );
    let summary = run(&once(&http, "      - request: { name: a, url: / }\n"));
    let expected = ("a".to_owned(), "407".to_owned(), String::new(), 1);
    assert_eq!(outcomes(&summary), [expected]);
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), None);
}

/// A server that says `200` and notes who came.
fn note_peers(listener: TcpListener) -> Arc<Mutex<Vec<SocketAddr>>> {
    let peers = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&peers);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, log) = (stream.unwrap(), Arc::clone(&log));
            std::thread::spawn(move || {
                let peer = stream.peer_addr().unwrap();
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    log.lock().unwrap().push(peer);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    peers
}

#[test]
fn connections_begin_at_each_of_the_source_addresses_in_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let peers = note_peers(listener);
    let plan = format!(
        "engine: {{ source_ips: [127.0.0.17/32, 127.0.1.0/30, \"::1\"] }}\nscenarios:\n  s:\n    \
         executor: per-vu-iterations\n    vus: 9\n    iterations: 2\n    flow:\n      - request: {{ url: \"{url}\" }}\n"
    );
    assert_no_failure(&run(&plan));
    let mut by_ip: HashMap<IpAddr, usize> = HashMap::new();
    for peer in peers.lock().unwrap().iter() {
        *by_ip.entry(peer.ip()).or_default() += 1;
    }
    let mut by_ip: Vec<_> = by_ip
        .into_iter()
        .map(|(ip, n)| (ip.to_string(), n))
        .collect();
    by_ip.sort();
    let expected = ["127.0.0.17", "127.0.1.1", "127.0.1.2"].map(|ip| (ip.to_owned(), 6));
    assert_eq!(by_ip, expected);
}

#[test]
fn a_source_address_that_is_not_the_machines_is_said_before_the_run() {
    let server = Server::start(|_| Reply::ok("", b""));
    let plan = |ips: &str| {
        format!("engine: {{ source_ips: {ips} }}\n")
            + &once(
                "",
                &format!("      - request: {{ url: \"{}/\" }}\n", server.url()),
            )
    };
    let error = try_run(&plan("[127.0.0.2, 192.0.2.1]"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("engine.source_ips") && error.contains("cannot dial from 192.0.2.1"),
        "{error}"
    );
    let error = try_run(&plan("\"::1\"")).unwrap_err().to_string();
    assert!(
        error.contains("none of `engine.source_ips` reaches the host `127.0.0.1`"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn an_ipv6_target_is_reached_and_named_in_brackets() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    let peers = note_peers(listener);
    let plan = format!(
        "engine: {{ source_ips: \"::1\" }}\n{}",
        once(
            "",
            &format!("      - request: {{ url: \"http://{address}/\", headers: {{ x: y }} }}\n")
        )
    );
    assert_no_failure(&run(&plan));
    assert_eq!(peers.lock().unwrap().len(), 1);
    assert!(peers.lock().unwrap()[0].is_ipv6());
}

/// Names by a table that a test can change; `None`: the name server is down.
#[derive(Debug, Default)]
struct Names {
    table: Mutex<HashMap<String, Option<Vec<SocketAddr>>>>,
    asked: AtomicUsize,
}

impl Names {
    fn set(&self, name: &str, addresses: Option<Vec<SocketAddr>>) {
        self.table
            .lock()
            .unwrap()
            .insert(name.to_owned(), addresses);
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let table = self.table.lock().unwrap();
        let known = table
            .get(host)
            .ok_or_else(|| io::Error::other("no such name"))?;
        known.clone().ok_or_else(|| io::Error::other("no answer"))
    }
}

#[test]
fn of_a_names_addresses_the_first_that_takes_connections_is_used() {
    let server = Server::start(|_| Reply::ok("", b""));
    let dead = TcpListener::bind("[::1]:0")
        .map_or(SocketAddr::from(([127, 0, 0, 1], 1)), |listener| {
            listener.local_addr().unwrap()
        });
    let names = Names::default();
    names.set("both.test", Some(vec![dead, server.address]));
    let plan = once(
        "base_url: \"http://both.test\"",
        "      - request: { url: / }\n",
    );
    assert_no_failure(&run_watched(&plan, Arc::new(names), |_| ()).unwrap());
    assert_eq!(server.seen()[0].header("host"), Some("both.test"));

    let names = Names::default();
    let error = run_watched(&plan, Arc::new(names), |_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot resolve the host `both.test`: no such name"),
        "{error}"
    );
}

/// A plan whose every request has a connection of its own, until it is stopped.
fn restless(http: &str, url: &str) -> String {
    format!(
        "defaults: {{ http: {{ keep_alive: false, {http} }} }}\nscenarios:\n  s:\n    executor: constant-vus\n    \
         vus: 2\n    duration: 60s\n    graceful_stop: 1s\n    flow:\n      - request: {{ url: \"{url}\" }}\n      \
         - think_time: {{ type: constant, duration: 5ms }}\n"
    )
}

#[test]
fn new_connections_go_where_a_name_leads_when_its_time_is_up() {
    let first = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let second = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let names = Arc::new(Names::default());
    names.set("moving.test", Some(vec![first.address]));
    let plan = restless("dns: { ttl: 100ms }", "http://moving.test/");
    let resolver = Arc::clone(&names);
    let has_moved = AtomicBool::new(false);
    let summary = run_watched(&plan, resolver, |control| {
        if !has_moved.swap(true, Ordering::Relaxed) {
            assert!(!first.seen().is_empty() && second.seen().is_empty());
            names.set("moving.test", Some(vec![second.address]));
        } else if !second.seen().is_empty() {
            control.stop(StopReason::Interrupted);
        }
    });
    let summary = summary.unwrap();
    assert_no_failure(&summary);
    assert!(!second.seen().is_empty());
    assert_eq!(error(&summary, "dns").0, 0);
}

#[test]
fn an_origin_that_a_redirect_leads_to_is_looked_up_again_too() {
    let first = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let second = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let gate = Server::start(|_| Reply::redirect(302, "http://moving.test/"));
    let names = Arc::new(Names::default());
    names.set("moving.test", Some(vec![first.address]));
    let plan = restless("dns: { ttl: 100ms }", &gate.url());
    let resolver = Arc::clone(&names);
    let has_moved = AtomicBool::new(false);
    let summary = run_watched(&plan, resolver, |control| {
        if !has_moved.swap(true, Ordering::Relaxed) {
            names.set("moving.test", Some(vec![second.address]));
        } else if !second.seen().is_empty() {
            control.stop(StopReason::Interrupted);
        }
    });
    assert_no_failure(&summary.unwrap());
    assert!(!first.seen().is_empty() && !second.seen().is_empty());
}

#[test]
fn a_name_server_that_is_down_in_the_run_leaves_the_last_address_and_is_told() {
    let server = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let names = Arc::new(Names::default());
    names.set("lost.test", Some(vec![server.address]));
    let plan = restless("dns: { ttl: 100ms }", "http://lost.test/");
    let resolver = Arc::clone(&names);
    let asked_before = AtomicUsize::new(usize::MAX);
    let summary = run_watched(&plan, resolver, |control| {
        let asked = names.asked.load(Ordering::Relaxed);
        names.set("lost.test", None);
        if asked > asked_before.load(Ordering::Relaxed).saturating_add(1) {
            control.stop(StopReason::Interrupted);
        } else if asked_before.load(Ordering::Relaxed) == usize::MAX {
            asked_before.store(asked, Ordering::Relaxed);
        }
    });
    let summary = summary.unwrap();
    assert_no_failure(&summary);
    let (count, text) = error(&summary, "dns");
    assert!(count >= 1, "{:#?}", summary.errors);
    assert_eq!(text, "cannot resolve the host `lost.test`: no answer");
}

#[test]
fn names_are_looked_up_once_when_nothing_says_how_long_they_are_good() {
    let server = Server::start(|_| Reply::ok("connection: close\r\n", b""));
    let names = Arc::new(Names::default());
    names.set("once.test", Some(vec![server.address]));
    let plan =
        restless("timeout: 5s", "http://once.test/").replace("duration: 60s", "duration: 1s");
    let summary = run_watched(&plan, Arc::clone(&names) as Arc<dyn Resolve>, |_| ());
    assert_no_failure(&summary.unwrap());
    assert_eq!(names.asked.load(Ordering::Relaxed), 1);
}

/// A port whose queue takes `connections` and then leaves whoever comes waiting.
fn full(connections: i32) -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(connections - 1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_connection_that_is_not_made_in_its_time_fails_long_before_the_request_would() {
    // The probe before the run takes the one place.
    let (_socket, address) = full(1);
    let http = format!("base_url: \"http://{address}\", timeout: 10m, connect_timeout: 100ms");
    let summary = run(&once(&http, "      - request: { name: a, url: / }\n"));
    let expected = (
        "a".to_owned(),
        String::new(),
        "connect_timeout".to_owned(),
        1,
    );
    assert_eq!(outcomes(&summary), [expected]);
    let (_, text) = error(&summary, "connect_timeout");
    assert!(text.ends_with("no connection within 100ms"), "{text}");

    // TLS is part of it: here the connection is made, and nobody speaks.
    let (_socket, address) = full(8);
    let http = format!(
        "base_url: \"https://{address}\", timeout: 10m, connect_timeout: 100ms, tls: {{ insecure_skip_verify: true }}"
    );
    let summary = run(&once(&http, "      - request: { name: a, url: / }\n"));
    assert_eq!(error(&summary, "connect_timeout").0, 1);

    // And so is the way that a proxy makes.
    let http = format!(
        "base_url: \"https://shop.test\", proxy: \"http://{address}\", timeout: 10m, connect_timeout: 100ms"
    );
    let summary = run(&once(&http, "      - request: { name: a, url: / }\n"));
    assert_eq!(error(&summary, "connect_timeout").0, 1);
}

#[test]
fn the_time_for_connecting_ends_with_the_connection() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::ok("", b"")
    });
    let http = format!(
        "base_url: \"{}\", timeout: 60s, connect_timeout: 200ms",
        server.url()
    );
    let flow = "      - request: { url: / }\n      - request: { url: / }\n";
    assert_no_failure(&run(&once(&http, flow)));
}

#[test]
fn a_request_is_sent_again_once_on_a_connection_that_was_closed_and_that_is_counted() {
    let told = Mutex::new(HashMap::<usize, usize>::new());
    // Each connection carries one request; the next one is met with an end.
    let server = Server::start(move |request: &Seen| {
        let mut told = told.lock().unwrap();
        let count = told.entry(request.connection).or_default();
        *count += 1;
        match *count {
            1 => Reply::ok("", b""),
            _ => Reply {
                pieces: Vec::new(),
                end: End::Close,
            },
        }
    });
    let http = format!("base_url: \"{}\"", server.url());
    let flow =
        "      - request: { url: / }\n      - request: { url: / }\n      - request: { url: / }\n";
    let summary = run(&once(&http, flow));
    assert_no_failure(&summary);
    assert_eq!(count(&summary, "http_reqs"), 3);
    assert_eq!(count(&summary, "http_stale_retries"), 2);
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn a_target_that_takes_connections_and_drops_them_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let log = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The probe says nothing; whoever does is dropped for it.
            if let Ok(1..) = stream.read(&mut [0; 4096]) {
                log.fetch_add(1, Ordering::Relaxed);
                let socket = socket2::Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    });
    let plan = format!(
        "scenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    duration: 2s\n    flow:\n      \
         - request: {{ url: \"http://{address}/\" }}\n"
    );
    let summary = run(&plan);
    let taken = taken.load(Ordering::Relaxed) as u64;
    // Pauses double from half a millisecond or more: in two seconds there is room for a dozen.
    assert!((2..=30).contains(&taken), "{taken}");
    assert_eq!(
        error(&summary, "reset").0 + error(&summary, "closed").0,
        count(&summary, "http_reqs")
    );
}

#[test]
fn the_time_of_a_request_covers_the_decoding_of_its_body() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let zeros = vec![0; 1 << 20];
    for _ in 0..60 {
        encoder.write_all(&zeros).unwrap();
    }
    let body = encoder.finish().unwrap();
    let server = Server::start(move |_| Reply::ok("content-encoding: gzip\r\n", &body));
    // Sixty megabytes take longer than this on any machine, however fast the bytes come.
    let http = format!("base_url: \"{}\", timeout: 12ms", server.url());
    let flow = "      - request: { name: a, url: /, assert: [ { type: size, min: 1 } ] }\n      \
                - request: { name: b, url: /, timeout: 60s, assert: [ { type: size, equals: 62914560 } ] }\n";
    let summary = run(&once(&http, flow));
    let found = outcomes(&summary);
    let a = found.iter().find(|o| o.0 == "a").unwrap();
    assert_eq!(a.2, "timeout", "{found:?}");
    let b = found.iter().find(|o| o.0 == "b").unwrap();
    assert_eq!((b.1.as_str(), b.2.as_str()), ("200", ""), "{found:?}");
}

#[test]
fn each_request_carries_a_trace_of_its_own_and_its_redirects_are_of_the_same_trace() {
    let server = Server::start(|request| match request.target() {
        "/go" => Reply::redirect(302, "/there"),
        _ => Reply::ok("", b""),
    });
    let http = format!("base_url: \"{}\", tracing: true", server.url());
    let flow = "      - request: { url: / }\n      - request: { url: / }\n      - request: { url: /go }\n      \
                - request: { url: /own, headers: { TraceParent: mine } }\n";
    assert_no_failure(&run(&once(&http, flow)));
    let seen = server.seen();
    let traces: Vec<_> = seen
        .iter()
        .map(|s| s.header("traceparent").unwrap())
        .collect();
    assert_eq!(traces.len(), 5);
    assert_eq!(traces[4], "mine");
    let split = |trace: &str| -> (String, String) {
        let parts: Vec<_> = trace.split('-').collect();
        assert_eq!(
            (parts.len(), parts[0], parts[3]),
            (4, "00", "01"),
            "{trace}"
        );
        assert_eq!((parts[1].len(), parts[2].len()), (32, 16), "{trace}");
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        assert!(
            parts[1].bytes().chain(parts[2].bytes()).all(is_hex),
            "{trace}"
        );
        (parts[1].to_owned(), parts[2].to_owned())
    };
    let split: Vec<_> = traces[..4].iter().map(|trace| split(trace)).collect();
    assert!(split[0].0 != split[1].0 && split[1].0 != split[2].0);
    assert_eq!(split[2].0, split[3].0, "a hop is of the trace");
    let mut parents: Vec<_> = split.iter().map(|s| &s.1).collect();
    parents.sort();
    parents.dedup();
    assert_eq!(parents.len(), 4);
}

/// tinyproxy on a free port, which wants `me` and `geheim`; `None` where it is not installed.
struct TinyProxy {
    child: std::process::Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl TinyProxy {
    fn start() -> Option<Self> {
        if std::process::Command::new("tinyproxy")
            .arg("-v")
            .output()
            .is_err()
        {
            println!("skipped: `apt-get install tinyproxy`");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let file = folder.path().join("tinyproxy.conf");
        let text = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nBasicAuth me geheim\n",
            address.port()
        );
        std::fs::write(&file, text).unwrap();
        let child = std::process::Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1000 {
            if std::net::TcpStream::connect(address).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            child,
            address,
            _folder: folder,
        })
    }
}

impl Drop for TinyProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TLS server that answers every request with `sealed`.
fn tls_server() -> SocketAddr {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let session = rustls::ServerConnection::new(config).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsealed");
                }
            });
        }
    });
    address
}

#[test]
fn a_real_proxy_passes_requests_on_and_makes_tunnels() {
    let Some(proxy) = TinyProxy::start() else {
        return;
    };
    let server = Server::start(|request| Reply::ok("", request.target().as_bytes()));
    let sealed = tls_server();
    let http = format!(
        "base_url: \"{}\", proxy: \"http://me:geheim@{}\", tls: {{ insecure_skip_verify: true }}",
        server.url(),
        proxy.address
    );
    // It ends connections without a word beforehand: what crosses with that is sent again, as PUT may be.
    let flow = format!(
        "      - request: {{ name: a, url: \"/a?x=${{vu}}\", assert: [ {{ type: body_contains, value: /a?x=1 }} ] }}\n      \
         - request: {{ name: b, method: PUT, url: /b, body: \"content\" }}\n      \
         - request: {{ name: c, url: \"https://{sealed}/\", assert: [ {{ type: body_contains, value: sealed }} ] }}\n"
    );
    let plan = once(&http, &flow).replace("iterations: 1", "iterations: 3");
    let summary = run(&plan);
    assert_no_failure(&summary);
    let seen = server.seen();
    assert_eq!(seen.len(), 6);
    // In origin-form, and without what was for the proxy.
    assert_eq!(
        (seen[0].target(), seen[1].body.as_slice()),
        ("/a?x=1", &b"content"[..])
    );
    assert!(
        seen.iter()
            .all(|s| s.header("proxy-authorization").is_none())
    );

    let wrong = plan.replace("geheim", "verkehrt");
    let summary = run(&wrong);
    let found = outcomes(&summary);
    // It says 401 for what it does not know, and closes on content that it does not want.
    let refused = |o: &(String, String, String, u64)| o.0 == "a" && (o.1 == "401" || o.1 == "407");
    assert!(found.iter().any(refused), "{found:?}");
    assert!(found.iter().all(|o| o.1 != "200"), "{found:?}");
    assert!(
        found.iter().any(|o| o.0 == "c" && o.2 == "proxy"),
        "{found:?}"
    );
    assert!(!format!("{summary:?}").contains("verkehrt"));
}
