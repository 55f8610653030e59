//! TLS against a rustls server with certificates of its own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod pki;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pki::Pki;
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use support::{assert_no_failure, once, outcomes, run};

/// A server that answers what it knows of the connection; the body has `size` more bytes.
fn serve(config: ServerConfig, size: usize) -> SocketAddr {
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, stream) = (Arc::clone(&config), stream.unwrap());
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut tls = StreamOwned::new(connection, stream);
                let mut bytes = Vec::new();
                loop {
                    let mut more = [0; 4096];
                    match tls.read(&mut more) {
                        Ok(n) if n > 0 => bytes.extend_from_slice(&more[..n]),
                        _ => return,
                    }
                    if !bytes.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let closes = bytes.starts_with(b"GET /close");
                    bytes.clear();
                    let body = format!(
                        "{:?} resumed={} sni={:?} alpn={:?} client={}{}",
                        tls.conn.protocol_version().unwrap(),
                        tls.conn.handshake_kind() == Some(HandshakeKind::Resumed),
                        tls.conn.server_name(),
                        tls.conn.alpn_protocol().map(String::from_utf8_lossy),
                        tls.conn.peer_certificates().map_or(0, <[_]>::len),
                        ".".repeat(size),
                    );
                    let connection = if closes { "connection: close\r\n" } else { "" };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\n{connection}content-length: {}\r\n\r\n",
                        body.len()
                    );
                    tls.write_all((head + &body).as_bytes()).unwrap();
                    tls.flush().unwrap();
                    if closes {
                        tls.conn.send_close_notify();
                        let _ = tls.flush();
                        return;
                    }
                }
            });
        }
    });
    address
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn http(address: SocketAddr, tls: &str) -> String {
    let port = address.port();
    format!(
        "base_url: \"https://shop.test:{port}\", hosts: {{ shop.test: 127.0.0.1 }}, tls: {{ {tls} }}"
    )
}

fn step(path: &str, says: &str) -> String {
    format!(
        "      - request: {{ url: {path}, assert: [ {{ type: body_contains, value: '{says}' }} ] }}\n"
    )
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let pki = Pki::new();
    let ca = pki.trust();
    let sni = r#"sni=Some("shop.test") alpn=Some("http/1.1")"#;
    for (versions, pin, version) in [
        (BOTH, "", "TLSv1_3"),
        (BOTH, ", max_version: \"1.2\"", "TLSv1_2"),
        (OLD, "", "TLSv1_2"),
    ] {
        // Bodies of many records.
        let address = serve(pki.server(versions, false), 100_000);
        let flow = step("/close", &format!("{version} resumed=false {sni}"))
            + &step("/close", &format!("{version} resumed=true {sni}"))
            + &step("/", &format!("{version} resumed=true"))
            + &step("/", &format!("{version} resumed=true"));
        let summary = run(&once(&http(address, &format!("{ca}{pin}")), &flow));
        assert_no_failure(&summary);
        let handshakes = summary.metric("http_req_tls_handshaking").unwrap();
        assert_eq!(handshakes.count, Some(4));
        assert!(handshakes.max.unwrap() > 0.0 && handshakes.min.unwrap() < 0.001);
    }
}

#[test]
fn who_is_trusted_and_shown_is_what_the_plan_says() {
    let pki = Pki::new();
    let ca = pki.trust();
    let own = format!("{ca}, {}", pki.show());
    let open = serve(pki.server(BOTH, false), 0);
    let mutual = serve(pki.server(BOTH, true), 0);
    for (address, tls, says) in [
        (open, "insecure_skip_verify: true", "client=0"),
        (mutual, own.as_str(), "client=1"),
    ] {
        assert_no_failure(&run(&once(&http(address, tls), &step("/", says))));
    }
    for (address, tls) in [
        // The system does not know the authority.
        (open, String::new()),
        (open, format!("{ca}, server_name: other.test")),
        (mutual, ca.clone()),
        (
            serve(pki.server(OLD, false), 0),
            format!("{ca}, min_version: \"1.3\""),
        ),
    ] {
        let summary = run(&once(&http(address, &tls), &step("/", "")));
        let kinds: Vec<String> = outcomes(&summary).into_iter().map(|o| o.2).collect();
        assert_eq!(kinds, ["tls"], "{tls}: {:?}", summary.errors);
    }
    // An address instead of a name: no SNI.
    let plan = once(
        &format!("base_url: \"https://{open}\", tls: {{ {ca} }}"),
        &step("/", "sni=None"),
    );
    assert_no_failure(&run(&plan));
}

#[test]
fn a_redirect_leads_from_plain_to_tls() {
    let pki = Pki::new();
    let address = serve(pki.server(BOTH, false), 0);
    let there = format!("https://shop.test:{}/in", address.port());
    let server = support::Server::start(move |_| support::Reply::redirect(302, &there));
    let http = format!(
        "base_url: \"{}\", hosts: {{ shop.test: 127.0.0.1 }}, tls: {{ ca_file: \"{}\" }}",
        server.url(),
        pki.file("ca.pem")
    );
    let summary = run(&once(
        &http,
        &(step("/", "sni=Some") + &step("/", "resumed=false")),
    ));
    assert_no_failure(&summary);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_server_that_is_not_trusted_is_told_so() {
    let (pki, others) = (Pki::new(), Pki::of("others"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (hears, told) = std::sync::mpsc::channel();
    let config = Arc::new(pki.server(BOTH, false));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let heard = StreamOwned::new(connection, stream.unwrap()).read(&mut [0; 99]);
            hears
                .send(heard.map_err(|error| error.to_string()))
                .unwrap();
        }
    });
    for pin in ["", ", max_version: \"1.2\""] {
        let tls = format!("{}{pin}", others.trust());
        let summary = run(&once(&http(address, &tls), &step("/", "")));
        let kinds: Vec<String> = outcomes(&summary).into_iter().map(|o| o.2).collect();
        assert_eq!(kinds, ["tls"]);
        // The probe before the run leaves without a word.
        let is_said = |why: &String| !why.contains("end of file");
        let hear = || told.recv_timeout(Duration::from_secs(20)).unwrap();
        let why = std::iter::repeat_with(hear)
            .find_map(|heard| heard.err().filter(is_said))
            .unwrap();
        assert!(why.contains("UnknownCA"), "{why}");
    }
}

/// A proxy that makes tunnels to where it is asked, or answers `refusal`; each `CONNECT` it got, from line to empty line.
fn tunnels(refusal: Option<&'static [u8]>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let mut client = client.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match client.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        // The probe before the run.
                        _ => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let port: u16 = head.split([':', ' ']).nth(2).unwrap().parse().unwrap();
                log.lock().unwrap().push(head);
                if let Some(refusal) = refusal {
                    let _ = client.write_all(refusal);
                    return;
                }
                let mut server = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                // In two pieces, after an interim answer.
                client
                    .write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 Conn")
                    .unwrap();
                std::thread::sleep(Duration::from_millis(20));
                client.write_all(b"ected\r\nx: y\r\n\r\n").unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut server, &mut client);
            });
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_makes_a_tunnel_that_is_kept_and_sees_nothing_of_what_goes_through() {
    let pki = Pki::new();
    let address = serve(pki.server(rustls::ALL_VERSIONS, false), 0);
    let (proxy, asked) = tunnels(None);
    let http = format!(
        "base_url: \"https://shop.test:{}\", proxy: \"http://me:pass@{proxy}\", tls: {{ ca_file: \"{}\" }}",
        address.port(),
        pki.file("ca.pem")
    );
    let flow = "      - request: { name: first, url: / }\n".repeat(3);
    let summary = run(&once(&http, &flow));
    assert_no_failure(&summary);
    let place = format!("shop.test:{}", address.port());
    let expected = format!(
        "CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nproxy-authorization: Basic bWU6cGFzcw==\r\n\r\n"
    );
    assert_eq!(*asked.lock().unwrap(), [expected]);
    // Making it is a part of connecting, and its bytes are counted.
    assert!(summary.metric("http_req_connecting").unwrap().max.unwrap() >= 20.0);
}

#[test]
fn a_proxy_that_makes_no_way_is_an_error_of_its_own() {
    for (refusal, why) in [
        (
            &b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n"[..],
            "with these credentials: it answered 407",
        ),
        (
            b"HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno",
            "to shop.test:443: it answered 502",
        ),
        (
            b"SSH-2.0-x\r\n",
            "the proxy's answer to CONNECT is not HTTP/1.1",
        ),
        (
            b"HTTP/1.1 200",
            "the proxy closed the connection when it was asked for a way to shop.test:443",
        ),
    ] {
        let (proxy, _) = tunnels(Some(refusal));
        let http = format!("base_url: \"https://shop.test\", proxy: \"http://me:pass@{proxy}\"");
        let summary = run(&once(&http, "      - request: { name: a, url: / }\n"));
        let expected = ("a".to_owned(), String::new(), "proxy".to_owned(), 1);
        assert_eq!(outcomes(&summary), [expected], "{why}");
        let text = &summary.errors[0].example;
        assert!(text.ends_with(why), "{text}");
    }
}
