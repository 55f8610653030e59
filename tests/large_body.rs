//! A download far larger than memory should be: what nobody reads is dropped as it comes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use common::{loadr, plan};

/// The most memory, in KiB, that a run needed which downloads so much.
fn peak_kib(base: &str, path: &str, http: &str) -> (u64, serde_json::Value) {
    let flow = format!(
        "      - request: {{ url: {path}, timeout: 10m, assert: [ {{ type: status, equals: 200 }} ] }}\n"
    );
    let text = plan(
        base,
        "executor: per-vu-iterations\n    vus: 1\n    iterations: 1",
        &flow,
    )
    .replace("http: {", &format!("http: {{ {http}"));
    let folder = tempfile::tempdir().unwrap();
    let (path, summary) = (
        folder.path().join("plan.yaml"),
        folder.path().join("summary.json"),
    );
    std::fs::write(&path, text).unwrap();
    let mut child = loadr()
        .args(["run", "--quiet", "--cores", "1", "--summary-export"])
        .args([&summary, &path])
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        // Of a process that is ending there is none any more.
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let summary = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    (peak, summary)
}

/// A server whose responses have as many bytes as their path says; the base URL.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let len = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..len]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                let (kind, size) = path[1..].split_once('/').unwrap();
                let mut left: usize = size.parse().unwrap();
                let is_chunked = kind == "chunked";
                let framing = if is_chunked {
                    "transfer-encoding: chunked".to_owned()
                } else {
                    format!("content-length: {left}")
                };
                let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
                let mut sent = stream.write_all(head.as_bytes());
                let piece = vec![b'x'; 64 * 1024];
                while left > 0 && sent.is_ok() {
                    let len = left.min(piece.len());
                    left -= len;
                    if is_chunked {
                        sent = write!(stream, "{len:x}\r\n")
                            .and_then(|()| stream.write_all(&piece[..len]))
                            .and_then(|()| stream.write_all(b"\r\n"));
                    } else {
                        sent = stream.write_all(&piece[..len]);
                    }
                }
                if is_chunked {
                    let _ = stream.write_all(b"0\r\n\r\n");
                }
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    base
}

#[test]
fn a_gibibyte_that_nobody_reads_needs_no_more_memory_than_a_kibibyte() {
    let base = server();
    let gib: u64 = 1 << 30;
    for (path, http) in [
        (format!("/bytes/{gib}"), "discard_response_bodies: true, "),
        (format!("/chunked/{gib}"), ""),
    ] {
        let (small, _) = peak_kib(&base, &path.replace(&gib.to_string(), "1024"), http);
        let (large, summary) = peak_kib(&base, &path, http);
        let received = summary["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .find(|metric| metric["metric"] == "data_received")
            .unwrap();
        assert!(
            received["agg"]["sum"].as_f64().unwrap() > gib as f64,
            "{received}"
        );
        assert!(small > 1000, "the memory was read: {small} KiB");
        // Receive buffers come into use while the target is ahead, and no more of them than there are.
        assert!(
            large < small + 16 * 1024,
            "{path}: {large} KiB after {small} KiB"
        );
    }
}
