//! What a TLS server says about the connection once the handshake looks finished: that its keys change, and that it does not
//! take the client.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod pki;
mod sealing;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pki::Pki;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::{assert_no_failure, once, outcomes, run};

/// The parts of a download, and how long each is: no multiple of a record's length.
const PARTS: usize = 12;
const PART_BYTES: usize = 100_001;
const REQUESTS: usize = 12;

fn part(number: usize) -> Vec<u8> {
    vec![b'a' + number as u8; PART_BYTES]
}

fn head() -> String {
    let len = PARTS * PART_BYTES;
    format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n")
}

/// Downloads one after another, on one connection.
fn downloads(address: SocketAddr, pki: &Pki) -> String {
    // The letters around a change of keys, and the last ones.
    let step = format!(
        "      - request: {{ name: a, url: /, assert: [ {{ type: size, equals: {} }}, \
         {{ type: body_contains, value: aaabbb }}, {{ type: body_contains, value: kkklll }} ] }}\n",
        PARTS * PART_BYTES
    );
    let http = format!(
        "base_url: \"https://{address}\", tls: {{ {} }}",
        pki.trust()
    );
    once(&http, &step.repeat(REQUESTS))
}

/// rustls changes its keys, and asks for ours, within each download and at its end; how many connections were made.
fn refreshing(config: ServerConfig) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, made) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&made);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, count) = (Arc::clone(&config), Arc::clone(&count));
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut tls = StreamOwned::new(connection, stream.unwrap());
                let (mut bytes, mut more) = (Vec::new(), [0; 4096]);
                let mut is_first = true;
                while let Ok(len @ 1..) = tls.read(&mut more) {
                    count.fetch_add(usize::from(is_first), Ordering::Relaxed);
                    is_first = false;
                    bytes.extend_from_slice(&more[..len]);
                    while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                        bytes.drain(..end + 4);
                        tls.write_all(head().as_bytes()).unwrap();
                        for number in 0..PARTS {
                            tls.write_all(&part(number)).unwrap();
                            tls.conn.refresh_traffic_keys().unwrap();
                        }
                        tls.flush().unwrap();
                    }
                }
            });
        }
    });
    (address, made)
}

#[test]
fn keys_that_change_within_downloads_and_are_asked_for_go_on_with_the_connection() {
    let pki = Pki::new();
    for pipeline in [1, 4] {
        let (address, made) = refreshing(pki.server(&[&TLS13], false));
        let plan = format!("engine: {{ pipeline: {pipeline} }}\n");
        let summary = run(&(plan + &downloads(address, &pki)));
        assert_no_failure(&summary);
        let expected = ("a".into(), "200".into(), String::new(), REQUESTS as u64);
        assert_eq!(outcomes(&summary), [expected]);
        assert_eq!(made.load(Ordering::Relaxed), 1, "connections");
    }
}

#[test]
fn each_download_that_asks_for_keys_is_answered_once_and_one_that_does_not_never() {
    let pki = Pki::new();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&answers);
    let address = sealing::serve(pki.server(&[&TLS13], false), move |mut client| {
        for request in 0.. {
            client.take_request()?;
            log.lock().unwrap().push(client.updates);
            client.updates = 0;
            client.say(head().as_bytes());
            for number in 0..PARTS {
                client.say(&part(number));
                // The last may come after the client has asked for more.
                let asks = match request % 3 {
                    0 => false,
                    1 => number < PARTS - 1,
                    _ => number % 2 == 0,
                };
                client.update_keys(asks);
            }
            client.flush()?;
        }
        None
    });
    let summary = run(&downloads(address, &pki));
    assert_no_failure(&summary);
    // None before the first download, then what each but the last one got.
    let expected: Vec<u32> = [0, 0, 1, 1]
        .into_iter()
        .chain([0, 1, 1].repeat(3))
        .collect();
    assert_eq!(*answers.lock().unwrap(), expected[..REQUESTS]);
}

#[test]
fn a_client_whose_certificate_is_refused_says_so_once_for_each_request() {
    let (pki, others) = (Pki::new(), Pki::of("others"));
    let large = "x".repeat(8 << 20);
    for (version, tls, refusal) in [
        (
            &TLS13,
            String::new(),
            "CertificateRequired: the server wants a client certificate: set `tls.cert_file` and `tls.key_file`",
        ),
        (
            &TLS13,
            others.show(),
            "UnknownCA: the server does not take the client certificate, or misses one: see `tls.cert_file`",
        ),
        (
            &TLS12,
            String::new(),
            "CertificateRequired: the server wants a client certificate: set `tls.cert_file` and `tls.key_file`",
        ),
        (
            &TLS12,
            others.show(),
            "UnknownCA: the server does not take the client certificate, or misses one: see `tls.cert_file`",
        ),
    ] {
        let config = Arc::new(pki.server(&[version], true));
        let address = refusing(config);
        // What is sent with the end of the handshake is of no interest any more; a large content is still on its way then.
        for (pipeline, body) in [(1, "x"), (4, "x"), (1, large.as_str())] {
            let http = format!(
                "base_url: \"https://{address}\", tls: {{ {}, {tls} }}",
                pki.trust()
            );
            let step =
                format!("      - request: {{ name: a, method: POST, url: /, body: \"{body}\" }}\n");
            let plan = format!("engine: {{ pipeline: {pipeline} }}\n");
            let flow = once(&http, &step).replace("iterations: 1", "iterations: 4");
            let summary = run(&(plan + &flow));
            let expected = ("a".into(), String::new(), "tls".into(), 4);
            let errors = &summary.errors;
            assert_eq!(outcomes(&summary), [expected], "{version:?} {errors:?}");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!((&*errors[0].kind, errors[0].count), ("tls", 4));
            let text = format!("a ({address}): received fatal alert: {refusal}");
            assert_eq!(errors[0].example, text);
        }
    }
}

/// A server that talks to nobody without a certificate.
fn refusing(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream.unwrap());
            // Up to the end of the handshake, which fails here, and is told the client.
            let _ = tls.read(&mut [0; 4096]);
        }
    });
    address
}
