//! The target over TLS, against rustls's client.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use loadr_target::{CANNED_RESPONSE, Settings, Target};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn target() -> Target {
    Target::start(&Settings {
        is_tls: true,
        ..Settings::loopback()
    })
    .unwrap()
}

fn tcp(target: &Target) -> TcpStream {
    let stream = TcpStream::connect(target.address()).unwrap();
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    stream
}

fn connect(target: &Target, version: &'static SupportedProtocolVersion) -> Stream {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from(target.certificate().unwrap().to_vec());
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(target.address().ip());
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, tcp(target))
}

/// All there is until the server says that it was all; without that word rustls makes it an error.
fn rest(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn requests_are_answered_over_both_versions() {
    let target = target();
    for version in [&version::TLS12, &version::TLS13] {
        let mut stream = connect(&target, version);
        let mut answer = vec![0; CANNED_RESPONSE.len()];
        for _ in 0..3 {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, CANNED_RESPONSE);
        }
        stream
            .write_all(b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert!(rest(&mut stream).starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(target.requests(), 8);
}

#[test]
fn bodies_of_many_records_go_both_ways() {
    let target = target();
    let mut stream = connect(&target, &version::TLS13);
    let body: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    assert!(rest(&mut stream).ends_with(&body));

    // Streamed piece by piece, while the client reads slowly at first.
    let mut stream = connect(&target, &version::TLS13);
    let request = b"GET /bytes/3000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut first = [0; 1];
    for _ in 0..100 {
        stream.read_exact(&mut first).unwrap();
    }
    let all = rest(&mut stream);
    let body = all.split_at(all.len() - 2_999_000).1;
    let expected = (0..3_000_000u32).map(|i| b'a' + (i % 26) as u8);
    assert!(expected.skip(1000).eq(body.iter().copied()));
}

#[test]
fn requests_sent_together_are_all_answered_before_the_end() {
    let target = target();
    let mut stream = connect(&target, &version::TLS13);
    let requests = b"GET /bytes/20000 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40);
    stream.write_all(&requests).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let all = rest(&mut stream);
    assert!(all.len() > 40 * 20_000, "{}", all.len());
    assert_eq!(target.requests(), 40);
}

#[test]
fn what_is_not_tls_is_told_so_and_closed() {
    let target = target();
    let mut stream = tcp(&target);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // An alert (21), fatal (2).
    assert_eq!((answer[0], answer[5]), (21, 2), "{answer:?}");
    assert_eq!(target.requests(), 0);

    // Broken in mid-connection: what came before is answered.
    let mut stream = connect(&target, &version::TLS13);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = vec![0; CANNED_RESPONSE.len()];
    stream.read_exact(&mut answer).unwrap();
    stream.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
    stream.sock.write_all(&[0; 20]).unwrap();
    let error = stream.read_to_end(&mut answer).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    assert_eq!(target.requests(), 1);
}
