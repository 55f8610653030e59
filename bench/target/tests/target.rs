//! The target against plain clients of the standard library.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use loadr_target::{BODY_BYTES_MAX, CANNED_RESPONSE, HEAD_BYTES_MAX, Settings, Target};

fn target() -> Target {
    Target::start(&Settings::loopback()).unwrap()
}

fn connect(target: &Target) -> TcpStream {
    connect_to(target.address())
}

fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one byte at a time: slow, and never more than the response.
fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn read_head(stream: &mut TcpStream) -> (u16, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &read_line(stream);
    }
    (head[9..12].parse().unwrap(), head)
}

fn read(stream: &mut TcpStream) -> Response {
    let (status, head) = read_head(stream);
    let mut response = Response {
        status,
        head,
        body: Vec::new(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        loop {
            let line = read_line(stream);
            let size = line.trim_end().split(';').next().unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            assert_eq!(&chunk[size..], b"\r\n");
            response.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let line = read_line(stream);
            if line == "\r\n" {
                break;
            }
            response.head += &format!("trailer-{line}");
        }
    } else {
        let length = response
            .header("content-length")
            .map_or(0, |v| v.parse().unwrap());
        response.body = vec![0; length];
        stream.read_exact(&mut response.body).unwrap();
    }
    response
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Response {
    stream.write_all(request).unwrap();
    read(stream)
}

/// Whether the target has closed, by FIN or reset.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn is_alphabet(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .all(|(i, &b)| b == b'a' + (i % 26) as u8)
}

#[test]
fn the_canned_response_comes_back_on_every_request_of_a_connection() {
    let target = target();
    let mut stream = connect(&target);
    for _ in 0..100 {
        stream.write_all(&get("/")).unwrap();
        let mut bytes = [0; CANNED_RESPONSE.len()];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, CANNED_RESPONSE);
    }
    assert_eq!(target.requests(), 100);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_counted() {
    let target = target();
    let mut stream = connect(&target);
    let mut requests = Vec::new();
    for i in 0..500 {
        requests.extend(match i % 5 {
            0 => get("/"),
            1 => get(&format!("/bytes/{i}")),
            2 => get("/order"),
            3 => get("/delay/1"),
            _ => b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        });
    }
    let mut writer = stream.try_clone().unwrap();
    let writer = thread::spawn(move || writer.write_all(&requests).unwrap());
    for i in 0..500 {
        let response = read(&mut stream);
        assert_eq!(response.status, 200);
        match i % 5 {
            0 => assert_eq!(response.body.len(), 35),
            1 => assert!(response.body.len() == i && is_alphabet(&response.body)),
            2 => assert!(response.text().contains("id=ORDER-")),
            3 => assert_eq!(response.text(), "OK"),
            _ => assert_eq!(response.text(), "abc"),
        }
    }
    writer.join().unwrap();
    assert_eq!(target.requests(), 500);
}

#[test]
fn many_pipelined_requests_for_long_bodies_are_all_answered() {
    let target = target();
    let mut stream = connect(&target);
    let requests: Vec<u8> = (0..200).flat_map(|_| get("/bytes/300000")).collect();
    stream.write_all(&requests).unwrap();
    for _ in 0..200 {
        let response = read(&mut stream);
        assert!(response.body.len() == 300_000 && is_alphabet(&response.body));
    }
    assert_eq!(target.requests(), 200);
}

#[test]
fn requests_that_arrive_byte_by_byte_are_understood() {
    let target = target();
    let mut stream = connect(&target);
    let mut requests = get("/");
    requests.extend(b"POST /echo?q=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    requests.extend(b"4;a=b\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: x\r\n\r\n");
    requests.extend(get("/bytes/30"));
    for byte in requests {
        stream.write_all(&[byte]).unwrap();
        // Lets it arrive alone.
        thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(read(&mut stream).body.len(), 35);
    let echo = read(&mut stream);
    assert_eq!(echo.text(), "Wikipedia");
    assert_eq!(echo.header("x-method"), Some("POST"));
    assert_eq!(echo.header("x-target"), Some("/echo?q=1"));
    assert_eq!(read(&mut stream).body.len(), 30);
}

#[test]
fn long_bodies_go_both_ways_whole() {
    let target = target();
    let mut stream = connect(&target);
    for length in [0, 1, 65_535, 65_536, 1 << 20, BODY_BYTES_MAX as usize] {
        let response = ask(&mut stream, &get(&format!("/bytes/{length}")));
        assert_eq!(response.body.len(), length);
        assert!(is_alphabet(&response.body));
    }
    for length in [1, 100_000, BODY_BYTES_MAX as usize] {
        let body: Vec<u8> = (0..length).map(|i| (i / 1000) as u8).collect();
        let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        assert!(read(&mut stream).body == body);
    }
}

#[test]
fn chunked_bodies_have_extensions_and_trailers_now_and_then() {
    let target = target();
    let mut stream = connect(&target);
    for length in [0, 1, 3, 1000, 1001, 70_000, 1_000_001] {
        let response = ask(&mut stream, &get(&format!("/chunked/{length}")));
        assert_eq!(response.body.len(), length);
        assert!(is_alphabet(&response.body));
        let trailer = length.to_string();
        assert_eq!(
            response.header("trailer-x-total"),
            (length % 2 == 1).then_some(trailer.as_str())
        );
    }
    stream.write_all(&get("/chunked/100")).unwrap();
    let mut raw = [0; 250];
    let mut len = 0;
    while !raw[..len].ends_with(b"0\r\n\r\n") {
        len += stream.read(&mut raw[len..]).unwrap();
    }
    assert!(String::from_utf8_lossy(&raw).contains("\r\n19;index=1\r\n"));
}

#[test]
fn delays_overlap_and_hold_up_no_one() {
    let target = target();
    let start = Instant::now();
    let mut waiting: Vec<(u64, TcpStream)> = (0..50)
        .map(|i| {
            let ms = 300 - i % 3 * 50;
            let mut stream = connect(&target);
            stream.write_all(&get(&format!("/delay/{ms}"))).unwrap();
            (ms, stream)
        })
        .collect();
    let mut other = connect(&target);
    for _ in 0..100 {
        assert_eq!(ask(&mut other, &get("/")).status, 200);
    }
    assert!(start.elapsed() < Duration::from_millis(200));
    waiting.sort_by_key(|(ms, _)| *ms);
    for (ms, stream) in &mut waiting {
        assert_eq!(read(stream).status, 200);
        assert!(start.elapsed() >= Duration::from_millis(*ms));
    }
    assert!(start.elapsed() < Duration::from_millis(1500));
}

#[test]
fn statuses_headers_and_unknown_paths() {
    let target = target();
    let mut stream = connect(&target);
    for status in [200, 201, 204, 302, 304, 404, 418, 500, 599] {
        let response = ask(&mut stream, &get(&format!("/status/{status}")));
        assert_eq!(response.status, status);
    }
    assert_eq!(ask(&mut stream, &get("/nowhere")).status, 404);
    assert_eq!(ask(&mut stream, &get("/status/99")).status, 404);
    let headers = ask(&mut stream, &get("/headers"));
    assert_eq!(headers.header("x-mixed-case"), Some("Four"));
    assert_eq!(headers.header("x-padded"), Some("padded"));
    assert_eq!(
        headers.head.to_lowercase().matches("x-repeated:").count(),
        3
    );
}

#[test]
fn an_order_that_was_given_out_is_confirmed_and_no_other() {
    let target = target();
    let mut stream = connect(&target);
    let mut seen = Vec::new();
    for _ in 0..100 {
        let page = ask(&mut stream, &get("/order"));
        assert!(
            (900..1200).contains(&page.body.len()),
            "{}",
            page.body.len()
        );
        let text = page.text();
        let from = text.find("id=ORDER-").unwrap() + 3;
        let order = text[from..].split(';').next().unwrap().to_owned();
        let confirmed = ask(&mut stream, &get(&format!("/orders/{order}")));
        assert_eq!(confirmed.status, 200);
        assert_eq!(
            confirmed.text(),
            format!("{{\"order\":\"{order}\",\"state\":\"confirmed\"}}")
        );
        assert!(!seen.contains(&order));
        seen.push(order);
    }
    for wrong in [
        "ORDER-1",
        "ORDER-",
        "ORDER-x",
        "1000000000000000",
        "ORDER-99999999999999999999",
    ] {
        assert_eq!(
            ask(&mut stream, &get(&format!("/orders/{wrong}"))).status,
            404
        );
    }
    let other = self::target();
    let elsewhere = ask(&mut connect(&other), &get(&format!("/orders/{}", seen[0])));
    assert_eq!(elsewhere.status, 404);
}

#[test]
fn head_is_answered_without_a_body() {
    let target = target();
    let mut stream = connect(&target);
    for path in ["/", "/bytes/1000000", "/chunked/5", "/order", "/status/404"] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let _ = read_head(&mut stream);
    }
    // A body would be taken for this response's head.
    assert_eq!(ask(&mut stream, &get("/")).status, 200);
}

#[test]
fn connections_close_when_they_should_and_only_then() {
    let target = target();
    let close = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".as_slice();
    for request in [&get("/close")[..], close, b"GET / HTTP/1.0\r\n\r\n"] {
        let mut stream = connect(&target);
        let response = ask(&mut stream, request);
        assert_eq!((response.status, response.body.len()), (200, 35));
        assert_eq!(response.header("connection"), Some("close"));
        assert!(is_closed(&mut stream));
    }
    let mut stream = connect(&target);
    stream.write_all(&get("/drop")).unwrap();
    assert!(is_closed(&mut stream));
    let mut stream = connect(&target);
    for _ in 0..2 {
        let old = ask(
            &mut stream,
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        );
        assert_eq!(old.header("connection"), Some("keep-alive"));
    }
    assert_eq!(target.requests(), 5);
}

#[test]
fn a_long_body_arrives_whole_before_its_connection_closes() {
    let target = target();
    for path in ["/bytes/5000000", "/chunked/5000000"] {
        let mut stream = connect(&target);
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let _ = read_head(&mut stream);
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        assert!(body.len() == 5_000_000 && is_alphabet(&body));
    }
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answers() {
    let target = target();
    let mut stream = connect(&target);
    let requests = [get("/"), get("/delay/50"), get("/bytes/1000000")].concat();
    stream.write_all(&requests).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for length in [35, 2, 1_000_000] {
        assert_eq!(read(&mut stream).body.len(), length);
    }
    assert!(is_closed(&mut stream));
}

#[test]
fn what_is_no_request_or_too_large_is_refused_and_closed() {
    let target = target();
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}",
        "b".repeat(HEAD_BYTES_MAX)
    );
    let body = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\nsome of it";
    let chunk =
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4000001\r\nsome";
    let coding = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n";
    for (request, status) in [
        ("\u{0}\u{1}\u{2}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (&long, 431),
        (body, 413),
        (chunk, 413),
        (coding, 501),
    ] {
        let mut stream = connect(&target);
        let response = ask(&mut stream, request.as_bytes());
        assert_eq!(response.status, status, "{request:.60}");
        assert_eq!(response.header("connection"), Some("close"));
        assert!(is_closed(&mut stream));
    }
}

#[test]
fn a_client_that_expects_100_continue_gets_it() {
    let target = target();
    let mut stream = connect(&target);
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .unwrap();
    assert_eq!(read_head(&mut stream).0, 100);
    assert_eq!(ask(&mut stream, b"hi").text(), "hi");
}

#[test]
fn many_connections_over_several_threads_are_served_and_counted() {
    let target = Target::start(&Settings {
        threads: 3,
        ..Settings::loopback()
    })
    .unwrap();
    let address = target.address();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let mut streams: Vec<_> = (0..100).map(|_| connect_to(address)).collect();
                for _ in 0..5 {
                    for stream in &mut streams {
                        stream.write_all(&get("/")).unwrap();
                    }
                    for stream in &mut streams {
                        assert_eq!(read(stream).status, 200);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(target.requests(), 4000);
    target.stop();
}

#[test]
fn stopping_closes_open_connections_and_frees_the_port() {
    let target = target();
    let address = target.address();
    let mut idle: Vec<_> = (0..20).map(|_| connect(&target)).collect();
    for stream in &mut idle {
        assert_eq!(ask(stream, &get("/")).status, 200);
    }
    let mut busy = connect(&target);
    busy.write_all(&get("/delay/60000")).unwrap();
    let mut unread = connect(&target);
    unread.write_all(&get("/bytes/60000000")).unwrap();
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    target.stop();
    for mut stream in idle.into_iter().chain([busy]) {
        assert!(is_closed(&mut stream));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    // The ring itself is torn down by the kernel a moment later.
    for attempt in 0.. {
        match TcpStream::connect(address) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                break;
            }
            Ok(_) => assert!(attempt < 100, "still listening"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_ipv6_loopback_serves_too() {
    let Ok(target) = Target::start(&Settings {
        address: "[::1]:0".parse().unwrap(),
        ..Settings::loopback()
    }) else {
        eprintln!("skipped: no IPv6 here");
        return;
    };
    assert_eq!(ask(&mut connect(&target), &get("/")).status, 200);
}

#[test]
fn an_address_that_is_not_ours_and_a_core_that_is_not_there_are_errors() {
    let start = |settings: &Settings| Target::start(settings).unwrap_err().to_string();
    let elsewhere = start(&Settings {
        address: "192.0.2.1:80".parse().unwrap(),
        ..Settings::loopback()
    });
    assert!(elsewhere.contains("192.0.2.1:80"), "{elsewhere}");
    let core = start(&Settings {
        cores: Some(vec![1000]),
        ..Settings::loopback()
    });
    assert!(core.contains("core 1000"), "{core}");
}

#[test]
fn slots_are_reused_over_thousands_of_connections() {
    let target = target();
    for i in 0..3000u32 {
        let mut stream = connect(&target);
        let path = if i % 2 == 0 { "/" } else { "/close" };
        assert_eq!(ask(&mut stream, &get(path)).status, 200);
    }
    assert_eq!(target.requests(), 3000);
}
