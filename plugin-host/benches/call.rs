//! What one call costs, in nanoseconds: a Rust extractor with a 1 KiB body, with and without eight headers, and the host's
//! share of it, measured by a guest that returns at once.
//!
//! `cargo bench -p loadr-plugin-host`

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that cannot go on fails"
)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use loadr_plugin_host::{Host, Limits, Plugin, Turnover};

/// A guest whose functions return at once: what is left is the host's share and the handing over of the arguments.
const EMPTY: &str = include_str!("empty.wat");

const CONFIG: &str = r#"{"left":"id=","right":";"}"#;

const HEADERS: [(&str, &str); 8] = [
    ("server", "nginx/1.27.0 (stable)"),
    ("date", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("connection", "keep-alive"),
    ("cache-control", "no-store, max-age=0"),
    ("x-request-id", "6f1f4f5e-7c1c-4a5a"),
    ("vary", "accept-encoding"),
];

fn body() -> Vec<u8> {
    let tail = b"id=ORDER-42;";
    let mut body = vec![b'x'; 1024 - tail.len()];
    body.extend_from_slice(tail);
    body
}

fn extract(criterion: &mut Criterion, name: &str, plugin: &Plugin) {
    let body = body();
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    let mut out = Vec::new();
    for count in [0, 8] {
        criterion.bench_function(&format!("{name}, 1 KiB body, {count} headers"), |bencher| {
            bencher.iter(|| {
                instance
                    .extract(
                        black_box(&body),
                        black_box(&HEADERS[..count]),
                        CONFIG,
                        &mut out,
                    )
                    .unwrap()
            });
        });
    }
}

fn calls(criterion: &mut Criterion) {
    let host = Host::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.wasm");
    std::fs::write(&path, wat::parse_str(EMPTY).unwrap()).unwrap();
    extract(criterion, "empty guest", &host.load(&path).unwrap());
    let rust =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins/order-id/order_id.wasm");
    // The bare component, so that all headers are handed over.
    let rust = host.load(&rust).unwrap();
    extract(criterion, "order-id", &rust);
    criterion.bench_function("a fresh order-id instance", |bencher| {
        bencher.iter(|| rust.instantiate(&Limits::default()).unwrap());
    });
    for (turnover, name) in [(Turnover::Run, "given back"), (Turnover::Call, "kept")] {
        let pool = rust.pooled(1, &Limits::default(), turnover).unwrap();
        criterion.bench_function(&format!("the same from a pool, memory {name}"), |bencher| {
            bencher.iter(|| pool.instantiate(&Limits::default()).unwrap());
        });
        let mut instance = pool.fresh_each_call(&Limits::default());
        let (body, mut out) = (body(), Vec::new());
        criterion.bench_function(&format!("a fresh instance each call, memory {name}"), |b| {
            b.iter(|| instance.extract(&body, &HEADERS, CONFIG, &mut out).unwrap());
        });
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
