//! The steady state allocates nothing: the same run with more iterations makes no more allocations.
//!
//! Prints the figures: `cargo test --release -p loadr-engine --test allocations -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod pki;
mod sealing;

use std::alloc::System;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use loadr_config::Options;
use loadr_engine::{Control, LoadedPlugins, PluginSources, RunSpec, Summary};
use loadr_plugin_host::Cache;
use loadr_target::{Settings, Target};
use pki::Pki;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VUS: u64 = 8;
const SHORT: u64 = 2_000;
const LONG: u64 = 12_000;

/// Once a second, and as a histogram grows, something is allocated.
const NOTHING: f64 = 0.01;
/// The same where a second has fewer requests, because their rate is given.
const NOTHING_AT_A_RATE: f64 = 0.03;

/// So many iterations of each virtual user.
fn closed(iterations: u64) -> String {
    format!("executor: per-vu-iterations\n    vus: {VUS}\n    iterations: {iterations}")
}

/// As many iterations as `closed` has, or fewer when the machine is busy: what no user is free for is dropped.
fn open(iterations: u64) -> String {
    let millis = iterations * VUS / 16;
    format!(
        "executor: constant-arrival-rate\n    rate: 16000\n    duration: {millis}ms\n    pre_allocated_vus: {VUS}"
    )
}

/// Allocations and requests of a run, the whole process counted.
fn run(http: &str, flow: &str, executor: &str, pipeline: u32) -> (f64, f64) {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let text = format!(
        "engine: {{ pipeline: {pipeline} }}\ndefaults: {{ http: {{ {http} }} }}\n\
         data:\n  d: {{ type: inline, rows: [ {{ a: 1, b: x }}, {{ a: 2, b: y }} ] }}\n  e: {{ type: inline, mode: per_vu, pick: shuffle, rows: [ {{ a: 1 }}, {{ a: 2 }} ] }}\n\
         plugins:\n  - {{ name: order-id, path: \"{0}/order-id\" }}\n  - {{ name: order-check, path: \"{0}/order-check\" }}\n\
         scenarios:\n  s:\n    {executor}\n    flow:\n{flow}",
        plugins.display()
    );
    let compiled =
        loadr_config::compile(&text, Path::new("plan.yaml"), &Options::default()).unwrap();
    let program = Arc::new(compiled.program);
    let plugins = Arc::new(
        LoadedPlugins::load(
            &program,
            &PluginSources {
                store: None,
                cache: Cache::none(),
            },
        )
        .unwrap(),
    );
    let control = Control::new(1);
    let cores = vec![loadr_engine::cores::available()[0]];
    let before = ALLOCATOR.stats();
    let outcome = loadr_engine::run(
        program,
        &plugins,
        &RunSpec {
            cores,
            seed: 1,
            is_strict: false,
            shows_http: false,
            keeps_seconds: false,
            ..RunSpec::default()
        },
        &control,
        |_| (),
    )
    .unwrap();
    let after = ALLOCATOR.stats();
    let summary = Summary::new(&outcome);
    assert_eq!(
        summary.metric("http_req_failed").unwrap().rate,
        Some(0.0),
        "{:#?}",
        summary.errors
    );
    let allocations =
        after.allocations + after.reallocations - before.allocations - before.reallocations;
    (
        allocations as f64,
        summary.metric("http_reqs").unwrap().count.unwrap() as f64,
    )
}

/// A TLS 1.3 server that allocates nothing for an answer with so many bytes of content.
fn secure(pki: &Pki, body_len: usize) -> SocketAddr {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {body_len}\r\n\r\n");
    let answer: Arc<[u8]> = [head.as_bytes(), &vec![b'x'; body_len]].concat().into();
    let config = pki.server(&[&rustls::version::TLS13], false);
    sealing::serve(config, move |mut client| {
        loop {
            client.take_request()?;
            client.say(&answer);
            client.flush()?;
        }
    })
}

#[test]
fn the_steady_state_allocates_nothing() {
    let flows = [
        (
            "static",
            closed as fn(u64) -> String,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
        ),
        (
            "static, in the open model",
            open,
            NOTHING_AT_A_RATE,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
        ),
        (
            "templated and extracting",
            closed,
            NOTHING,
            r#"
      - request: { url: /order, extract: [{ type: regex, name: id, expression: "id=(ORDER-[0-9]+);" }, { type: boundary, name: id2, left: "id=", right: ";" }] }
      - request: { url: "/orders/${id}", headers: { x-id: "${id2} ${vu} ${iteration}" }, checks: [{ type: body_contains, value: "${id}" }] }
"#,
        ),
        (
            "telling each request by itself",
            closed,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\noutputs: [ { type: json, path: /dev/null, samples: true } ]\n",
        ),
        (
            "pipelined",
            closed,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
        ),
        (
            "pipelined and templated",
            closed,
            NOTHING,
            r#"
      - request: { url: "/echo?n=${iteration}", headers: { x-id: "${vu} ${uuid}" }, body: "${data.d.b}", checks: [{ type: size, min: 1 }] }
      - request: { url: /bytes/2000, assert: [{ type: size, equals: 2000 }] }
"#,
        ),
        (
            "reading JSON",
            closed,
            NOTHING,
            r#"
      - request:
          url: /echo
          body: '{"user":{"id":${vu},"name":"a\u00e9"},"items":[{"id":4,"price":9.5},{"id":7,"price":30}]}'
          extract:
            - { type: jsonpath, name: id, expression: $.user.id }
            - { chain: last, jsonpath: "$.items[-1].id", as: int, transform: { append: "0" }, check: { equals: "70", min: 1 } }
          assert:
            - { type: jsonpath, expression: $.user.id, equals: "${vu}" }
            - { type: size, min: 10 }
            - { type: header, header: content-length, exists: true }
"#,
        ),
        (
            "querying JSON",
            closed,
            NOTHING,
            r#"
      - request:
          url: /echo
          body: '{"items":[{"id":4,"price":9.5},{"id":7,"price":30}]}'
          extract:
            - { type: jsonpath, name: dear, expression: "$.items[?@.price > 10].id" }
            - { type: jsonpath, name: all, expression: "$..id", index: all }
"#,
        ),
        (
            "with rows and made values",
            closed,
            NOTHING,
            r#"
      - request: { url: "/?a=${data.d.a}&e=${data.e.a}&at=${now.iso}", params: { at: "${now.iso}" }, headers: { x-id: "${uuid} ${counter} ${random.hex(20)}" }, body: { json: { a: "${data.d.a}", b: "${data.d.b}", i: "${random.int(1,9)}", t: "${random.alnum(9)}" } } }
"#,
        ),
        (
            "traced, through a proxy",
            closed,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n      - request: { url: \"/order?${vu}\" }\n",
        ),
        (
            "static, over TLS 1.3",
            closed,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
        ),
        (
            "reading bodies of several records, over TLS 1.3",
            closed,
            NOTHING,
            "      - request: { url: /, headers: { x-id: \"${vu}\" }, checks: [{ type: body_contains, value: x }] }\n",
        ),
        (
            "pipelined, over TLS 1.3",
            closed,
            NOTHING,
            "      - request: { url: /, assert: [{ type: status, equals: 200 }] }\n",
        ),
        (
            "calling plugins",
            closed,
            NOTHING,
            r#"
      - request: { url: /order, extract: [{ type: plugin, name: id, plugin: order-id }] }
      - request: { url: "/orders/${id}", assert: [{ type: plugin, plugin: order-check }] }
"#,
        ),
    ];
    let pki = Pki::new();
    for (name, executor, most, flow) in flows {
        let target = Target::start(&Settings::loopback()).unwrap();
        let base_url = format!("http://{}", target.address());
        // The target takes whole URLs as well, so that it can stand for a proxy.
        let http = if name.contains("proxy") {
            format!("base_url: \"http://shop.test\", tracing: true, proxy: \"{base_url}\"")
        } else if name.contains("TLS") {
            let body_len = if name.contains("bodies") { 17_000 } else { 2 };
            let (address, tls) = (secure(&pki, body_len), pki.trust());
            format!("base_url: \"https://{address}\", tls: {{ {tls} }}")
        } else {
            format!("base_url: \"{base_url}\"")
        };
        // What is loaded and grown once is paid before.
        let pipeline = if name.starts_with("pipelined") { 16 } else { 1 };
        let run = |iterations| run(&http, flow, &executor(iterations), pipeline);
        run(SHORT);
        let (short, fewer) = run(SHORT);
        let (long, more) = run(LONG);
        let each = (long - short) / (more - fewer);
        println!(
            "{name}: {each:.5} allocations a request ({short} in {fewer}, {long} in {more} requests)"
        );
        assert!(each < most, "{name}: {each} allocations a request");
        target.stop();
    }
}
