//! `engine.max_body` and `engine.max_headers`: what is taken of a response, and the error past it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::{Reply, Server, once, outcomes, run};

/// What requests come to, with `engine` in the plan: their `error_kind`s, empty where nothing is wrong.
fn kinds(engine: &str, steps: &[(&str, &str)]) -> Vec<String> {
    let server = Server::start(|request| {
        let (kind, size) = request.target()[1..].split_once('/').unwrap();
        let size: usize = size.parse().unwrap();
        match kind {
            "bytes" => Reply::ok("", &vec![b'x'; size]),
            "chunks" => {
                let mut body = String::new();
                for _ in 0..size / 100 {
                    body += &format!("64\r\n{}\r\n", "x".repeat(100));
                }
                Reply::bytes(format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
                ))
            }
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&vec![b'x'; size]).unwrap();
                Reply::ok("content-encoding: gzip\r\n", &encoder.finish().unwrap())
            }
            "fields" => Reply::ok(&"a: b\r\n".repeat(size - 1), b"x"),
            _ => Reply::ok(&format!("a: {}\r\n", "b".repeat(size)), b"x"),
        }
    });
    let flow: String = steps
        .iter()
        .enumerate()
        .map(|(i, (path, asserts))| {
            format!("      - request: {{ name: n{i}, url: {path}, {asserts} }}\n")
        })
        .collect();
    let plan = once(&format!("base_url: \"{}\"", server.url()), &flow);
    let mut outcomes = outcomes(&run(&format!("engine: {{ {engine} }}\n{plan}")));
    outcomes.sort_by_key(|o| o.0[1..].parse::<usize>().unwrap());
    assert_eq!(outcomes.len(), steps.len());
    outcomes.into_iter().map(|o| o.2).collect()
}

const READS: &str = "assert: [ { type: body_contains, value: x } ]";
const DROPS: &str = "assert: [ { type: status, equals: 200 } ]";
/// XPath reads header fields.
const READS_FIELDS: &str = "assert: [ { type: header, header: a, exists: true } ]";

#[test]
fn a_body_past_the_limit_fails_the_request_only_where_it_is_read() {
    let steps = [
        ("/bytes/1000", READS),
        ("/bytes/1001", READS),
        ("/bytes/1001", DROPS),
        ("/chunks/1000", READS),
        ("/chunks/1100", READS),
        ("/chunks/100000", DROPS),
        ("/gzip/1000", READS),
        ("/gzip/1001", READS),
        ("/gzip/50000000", READS),
        ("/gzip/50000000", DROPS),
    ];
    let past = "body_limit";
    assert_eq!(
        kinds("max_body: 1000", &steps),
        ["", past, "", "", past, "", "", past, past, ""]
    );
    let long = [("/bytes/70000000", READS)];
    assert_eq!(kinds("max_body: 80MB", &long), [""]);
    assert_eq!(
        kinds("max_headers: 128", &long),
        [past],
        "64 MiB without it"
    );
}

#[test]
fn more_header_fields_than_the_limit_or_than_64_kib_fail_the_request() {
    let steps = [
        ("/fields/5", DROPS),
        ("/fields/6", DROPS),
        ("/fields/5", READS_FIELDS),
    ];
    let past = "header_limit";
    assert_eq!(kinds("max_headers: 5", &steps), ["", past, ""]);
    let steps = [
        ("/fields/128", READS_FIELDS),
        ("/fields/129", READS_FIELDS),
        ("/wide/60000", DROPS),
        ("/wide/66000", DROPS),
    ];
    assert_eq!(kinds("pipeline: 1", &steps), ["", past, "", past]);
    let steps = [
        ("/fields/1000", READS_FIELDS),
        ("/fields/1001", DROPS),
        ("/fields/1000", DROPS),
        ("/wide/66000", DROPS),
    ];
    assert_eq!(kinds("max_headers: 1000", &steps), ["", past, "", past]);
}
