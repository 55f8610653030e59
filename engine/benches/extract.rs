//! What is done with one response, and one request's rendering, in nanoseconds: the parse of the body, the extraction,
//! and the variable that the value goes to.
//!
//! `cargo bench -p loadr-engine --bench extract`

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that cannot go on fails"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use loadr_config::Options;
use loadr_engine::Trial;

/// A trial of a request with these keys.
fn trial(keys: &str) -> Trial {
    let plan = format!(
        "scenarios: {{ s: {{ executor: constant-vus, vus: 1, duration: 1, flow: [ {{ request: {{ {keys} }} }} ] }} }}"
    );
    let compiled = loadr_config::compile(&plan, Path::new("p.yaml"), &Options::default()).unwrap();
    Trial::new(Arc::new(compiled.program)).unwrap()
}

/// JSON of at least `len` bytes, as services answer: a list of records, and what is looked for at the end.
fn json(len: usize) -> Vec<u8> {
    let mut body = String::from("{\"items\":[");
    for i in 0.. {
        body += &format!(
            "{{\"id\":{i},\"name\":\"Article number {i}\",\"price\":{i}.95,\"tags\":[\"a\",\"b\"],\"sold\":false}},"
        );
        if body.len() + 80 > len {
            break;
        }
    }
    body += "{\"id\":-1}],\"session\":{\"user\":{\"id\":42},\"token\":\"t-0123456789abcdef\"},\"id\":\"ORDER-42\"}";
    body.into_bytes()
}

/// HTML of at least `len` bytes: a list, and a form at the end.
fn html(len: usize) -> Vec<u8> {
    let mut body = String::from("<!DOCTYPE html><html><head><title>Shop</title></head><body><ul>");
    for i in 0.. {
        body += &format!("<li class=\"item\"><a href=\"/items/{i}\">Article number {i}</a></li>\n");
        if body.len() + 120 > len {
            break;
        }
    }
    body += "</ul><form action=\"/buy\"><input type=\"hidden\" name=\"csrf\" value=\"c-0123456789abcdef\"></form></body></html>";
    body.into_bytes()
}

fn extracting(criterion: &mut Criterion) {
    let url = "url: 'http://h/', extract: ";
    let cases = [
        (
            "boundary",
            r#"[{ type: boundary, name: a, left: 'token":"', right: '"' }]"#,
        ),
        (
            "regex",
            r#"[{ type: regex, name: a, expression: '"token":"([^"]+)"' }]"#,
        ),
        (
            "jsonpath",
            "[{ type: jsonpath, name: a, expression: $.session.token }]",
        ),
        (
            "four jsonpaths",
            "[{ type: jsonpath, name: a, expression: $.session.token }, { type: jsonpath, name: b, expression: $.id }, \
             { type: jsonpath, name: c, expression: '$.items[0].name' }, { type: jsonpath, name: d, expression: '$.items[-1].id' }]",
        ),
        (
            "jsonpath with a filter",
            "[{ type: jsonpath, name: a, expression: '$.items[?@.price > 2].id' }]",
        ),
        ("jmespath", "[{ chain: a, jmespath: session.token }]"),
    ];
    for (size, name) in [(1 << 10, "1 KiB"), (64 << 10, "64 KiB")] {
        let body = json(size);
        for (what, extract) in cases {
            let mut trial = trial(&format!("{url}{extract}"));
            assert!(trial.judge(&body), "{what}");
            criterion.bench_function(&format!("{what}, {name}"), |bencher| {
                bencher.iter(|| trial.judge(black_box(&body)));
            });
        }
        criterion.bench_function(&format!("serde_json::Value, {name}"), |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&body)).unwrap());
        });
        let body = html(size);
        for (what, extract) in [
            (
                "css",
                "[{ type: css, name: a, expression: 'input[name=csrf]', attribute: value }]",
            ),
            (
                "xpath over HTML",
                "[{ type: xpath, name: a, expression: '//input[@name=\"csrf\"]/@value' }]",
            ),
        ] {
            let mut trial = trial(&format!("{url}{extract}"));
            assert!(trial.judge(&body), "{what}");
            criterion.bench_function(&format!("{what}, {name}"), |bencher| {
                bencher.iter(|| trial.judge(black_box(&body)));
            });
        }
    }
    let mut nothing = trial("url: 'http://h/', assert: [{ type: status, equals: 200 }]");
    let body = json(1 << 10);
    criterion.bench_function("nothing but the status, 1 KiB", |bencher| {
        bencher.iter(|| nothing.judge(black_box(&body)));
    });
}

fn rendering(criterion: &mut Criterion) {
    let mut templated = trial(
        "method: POST, url: 'http://h/users/${vu}/orders?page=${iteration}', headers: { x-id: 'a-${vu}-${iteration}' }, \
         body: { json: { user: '${vu}', item: 'article ${iteration}', note: constant } }",
    );
    assert!(templated.render() > 100);
    criterion.bench_function("rendering a templated request", |bencher| {
        bencher.iter(|| templated.render());
    });
}

criterion_group!(benches, extracting, rendering);
criterion_main!(benches);
