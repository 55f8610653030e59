//! `cache: true` against a server: what is asked again, with what, and what a kept response is worth to a step.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write as _;

use support::{Reply, Seen, Server, assert_no_failure, once, outcomes, run};

const FRESH: &str = "cache-control: max-age=600\r\n";

fn count(summary: &loadr_engine::Summary, metric: &str) -> u64 {
    summary.metric(metric).and_then(|m| m.count).unwrap_or(0)
}

fn step(name: &str, keys: &str) -> String {
    format!("      - request: {{ name: {name}, {keys} }}\n")
}

fn plan(server: &Server, flow: &str) -> String {
    once(
        &format!("base_url: \"{}\", cache: true", server.url()),
        flow,
    )
}

fn targets(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .map(|s| format!("{} {}", s.method(), s.target()))
        .collect()
}

#[test]
fn a_fresh_response_is_judged_and_extracted_from_again_and_nothing_is_sent() {
    let server = Server::start(|request| match request.target() {
        "/page" => Reply::ok(&format!("{FRESH}x-token: t1\r\n"), b"id=7;"),
        _ => Reply::ok("cache-control: no-store\r\n", b""),
    });
    let read = "url: /page, extract: [ { type: boundary, name: id, left: \"id=\", right: \";\" }, { type: header, name: token, header: x-token } ], \
                assert: [ { type: status, equals: 200 }, { type: header, header: age, exists: true } ]";
    // The first one has no age.
    let flow = step(
        "first",
        &read.replace(", { type: header, header: age, exists: true }", ""),
    ) + &step("again", read)
        + &step("again", read)
        + &step("use", "url: \"/use/${id}/${token}\"")
        + &step("use", "url: \"/use/${id}/${token}\"");
    let summary = run(&plan(&server, &flow));
    assert_no_failure(&summary);
    assert_eq!(
        targets(&server.seen()),
        ["GET /page", "GET /use/7/t1", "GET /use/7/t1"]
    );
    assert_eq!(count(&summary, "http_reqs"), 3);
    assert_eq!(count(&summary, "http_cache_hits"), 2);
    assert!(outcomes(&summary).iter().all(|o| o.0 != "again"));
}

#[test]
fn a_condition_that_fails_on_a_kept_response_still_ends_the_iteration() {
    let server = Server::start(|_| Reply::ok(FRESH, b"x"));
    let flow = step("a", "url: /")
        + &step(
            "b",
            "url: /, assert: [ { type: body_contains, value: y, on_failure: abort_iteration } ]",
        )
        + &step("c", "url: /c");
    let summary = run(&plan(&server, &flow));
    assert_eq!(targets(&server.seen()), ["GET /"]);
    // Nothing was sent that could have failed; the kind of error is told.
    assert_eq!(summary.metric("http_req_failed").unwrap().rate, Some(0.0));
    assert!(
        summary.errors.iter().any(|e| e.kind == "assert"),
        "{:#?}",
        summary.errors
    );
}

#[test]
fn a_stale_response_is_asked_about_and_a_304_stands_for_what_was_kept() {
    let server = Server::start(|request| match request.header("if-none-match") {
        Some("\"v1\"") => Reply::bytes(
            "HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\nx-count: 2\r\ncache-control: max-age=600\r\n\r\n",
        ),
        _ => Reply::ok(
            "etag: \"v1\"\r\nx-count: 1\r\ncache-control: no-cache\r\n",
            b"the body",
        ),
    });
    let judged = |n: u32| {
        format!(
            "url: /, assert: [ {{ type: status, equals: 200 }}, {{ type: body_contains, value: the body }}, \
             {{ type: size, equals: 8 }}, {{ type: header, header: x-count, equals: \"{n}\" }} ]"
        )
    };
    let flow = step("a", &judged(1)) + &step("b", &judged(2)) + &step("c", &judged(2));
    let summary = run(&plan(&server, &flow));
    assert_no_failure(&summary);
    let seen = server.seen();
    let asked: Vec<_> = seen.iter().map(|s| s.header("if-none-match")).collect();
    assert_eq!(asked, [None, Some("\"v1\"")]);
    // What was sent is counted as it was answered.
    let statuses: Vec<_> = outcomes(&summary).into_iter().map(|o| (o.0, o.1)).collect();
    let line = |name: &str, status: &str| (name.to_owned(), status.to_owned());
    assert_eq!(statuses, [line("a", "200"), line("b", "304")]);
    assert_eq!(count(&summary, "http_cache_hits"), 1);
}

#[test]
fn what_has_changed_takes_the_place_of_what_was_kept() {
    let server = Server::start(|request| match request.header("if-modified-since") {
        Some("Fri, 30 Jan 2026 00:00:00 GMT") => Reply::ok(FRESH, b"new"),
        _ => Reply::ok("last-modified: Fri, 30 Jan 2026 00:00:00 GMT\r\n", b"old"),
    });
    let body = |text: &str| format!("url: /, assert: [ {{ type: body_contains, value: {text} }} ]");
    let flow = step("a", &body("old")) + &step("b", &body("new")) + &step("c", &body("new"));
    assert_no_failure(&run(&plan(&server, &flow)));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_change_of_the_target_makes_it_be_asked_again() {
    let server = Server::start(|request| match (request.method(), request.target()) {
        ("POST", "/bad") => Reply::bytes("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
        ("POST", _) => Reply::ok("content-location: /other\r\n", b""),
        _ => Reply::ok(FRESH, b"x"),
    });
    let get = |path: &str| step("get", &format!("url: {path}"));
    let post = |path: &str| step("post", &format!("url: {path}, method: POST, body: x"));
    let flow = get("/a")
        + &get("/other")
        + &get("/bad")
        + &post("/a")
        + &post("/bad")
        + &get("/a")
        + &get("/other")
        + &get("/bad");
    run(&plan(&server, &flow));
    assert_eq!(
        targets(&server.seen()),
        [
            "GET /a",
            "GET /other",
            "GET /bad",
            "POST /a",
            "POST /bad",
            "GET /a",
            "GET /other"
        ]
    );
}

#[test]
fn coded_bodies_redirects_and_variants_are_kept_as_they_are() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"decoded twice").unwrap();
    let coded = encoder.finish().unwrap();
    let server = Server::start(move |request| match request.target() {
        "/coded" => Reply::ok(&format!("{FRESH}content-encoding: gzip\r\n"), &coded),
        "/moved" => Reply::bytes(format!(
            "HTTP/1.1 301 Moved\r\n{FRESH}location: /coded\r\ncontent-length: 0\r\n\r\n"
        )),
        _ => {
            let language = request.header("accept-language").unwrap_or("none");
            Reply::ok(
                &format!("{FRESH}vary: accept-language\r\n"),
                language.as_bytes(),
            )
        }
    });
    let coded = "url: /coded, assert: [ { type: body_contains, value: decoded twice }, { type: size, equals: 13 } ]";
    let moved = coded.replace("/coded", "/moved");
    let speaks = |language: &str| {
        format!(
            "url: /page, headers: {{ accept-language: {language} }}, assert: [ {{ type: body_contains, value: {language} }} ]"
        )
    };
    let flow = step("a", coded)
        + &step("b", coded)
        + &step("c", &moved)
        + &step("d", &moved)
        + &step("e", &speaks("de"))
        + &step("f", &speaks("en"))
        + &step("g", &speaks("de"))
        + &step("h", &speaks("en"));
    let summary = run(&plan(&server, &flow));
    assert_no_failure(&summary);
    assert_eq!(
        targets(&server.seen()),
        ["GET /coded", "GET /moved", "GET /page", "GET /page"]
    );
    // b; c's second hop; both of d's; g and h.
    assert_eq!(count(&summary, "http_cache_hits"), 6);
}

#[test]
fn a_body_in_pieces_is_kept_whole_and_cookies_of_a_kept_response_are_not_taken_again() {
    let server = Server::start(|request| {
        match request.target() {
        "/pieces" => Reply {
            pieces: vec![
                format!("HTTP/1.1 200 OK\r\n{FRESH}set-cookie: a=1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe").into(),
                b"llo\r\n6\r\n worl".to_vec(),
                b"d\r\n0\r\n\r\n".to_vec(),
            ],
            ..Reply::default()
        },
        "/forget" => Reply::ok("set-cookie: a=; max-age=0\r\n", b""),
        _ => Reply::ok("", b""),
    }
    });
    let read = "url: /pieces, assert: [ { type: body_contains, value: hello world }, { type: size, equals: 11 } ]";
    let flow =
        step("a", read) + &step("b", "url: /forget") + &step("c", read) + &step("d", "url: /end");
    assert_no_failure(&run(&plan(&server, &flow)));
    let seen = server.seen();
    assert_eq!(targets(&seen), ["GET /pieces", "GET /forget", "GET /end"]);
    assert_eq!(seen[1].header("cookie"), Some("a=1"));
    assert_eq!(seen[2].header("cookie"), None);
}

#[test]
fn each_virtual_user_keeps_its_own_and_its_branches_share_it() {
    let server = Server::start(|_| Reply::ok(FRESH, b"x"));
    let flow = step("a", "url: /")
        + "      - parallel: { branches: [ [ { request: { url: / } } ], [ { request: { url: / } } ] ] }\n";
    let plan = plan(&server, &flow).replace("vus: 1", "vus: 3");
    let summary = run(&plan);
    assert_no_failure(&summary);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(count(&summary, "http_cache_hits"), 6);
}

#[test]
fn a_flow_of_nothing_but_kept_responses_leaves_the_shard_to_others_and_ends() {
    let server = Server::start(|request| match request.target() {
        "/other" => Reply::ok("cache-control: no-store\r\n", b""),
        _ => Reply::ok(FRESH, b"x"),
    });
    let scenario = |name: &str, path: &str| {
        format!(
            "  {name}:\n    executor: constant-vus\n    vus: 2\n    duration: 1s\n    flow:\n      - request: {{ url: \"{}{path}\" }}\n",
            server.url()
        )
    };
    let plan = format!(
        "defaults: {{ http: {{ cache: true }} }}\nscenarios:\n{}{}",
        scenario("kept", "/"),
        scenario("sent", "/other")
    );
    let summary = run(&plan);
    assert_no_failure(&summary);
    let others = server
        .seen()
        .iter()
        .filter(|s| s.target() == "/other")
        .count();
    assert!(others > 10, "{others}");
    assert!(count(&summary, "http_cache_hits") > 10);
    assert_eq!(server.seen().len() - others, 2);
}
