//! Requests in flight ahead of their responses: in order, each with its own response and time, and none lost or sent
//! twice when the connection is.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use loadr_engine::Summary;
use support::{End, Reply, Seen, Server, assert_no_failure, outcomes, run};

/// The number of the first connection that carries requests: the run's preparation has made one before.
const FIRST: usize = 1;

/// A plan whose users each go through the flow so often, with so many requests in flight.
fn plan(base: &str, (vus, iterations, pipeline): (u32, u32, u32), flow: &str) -> String {
    format!(
        "engine: {{ pipeline: {pipeline} }}\ndefaults: {{ http: {{ base_url: \"{base}\" }} }}\n\
         scenarios:\n  s:\n    executor: per-vu-iterations\n    vus: {vus}\n    iterations: {iterations}\n    flow:\n{flow}"
    )
}

fn get(path: &str, more: &str) -> String {
    format!("      - request: {{ name: \"{path}\", url: \"{path}\"{more} }}\n")
}

fn count(summary: &Summary, metric: &str) -> u64 {
    summary.metric(metric).unwrap().count.unwrap()
}

/// How often each target was seen.
fn times(seen: &[Seen]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for request in seen {
        *times.entry(request.target().to_owned()).or_default() += 1;
    }
    times
}

#[test]
fn each_response_goes_to_its_request_whatever_its_framing_and_its_packets() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n";
    let chunked = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x};a\r\n{body}\r\n0\r\nt: u\r\n\r\n",
            body.len()
        )
    };
    let server = Server::start(move |request| {
        let target = request.target().to_owned();
        let number: usize = target[2..].parse().unwrap();
        let body = format!("<{target}>{}", "x".repeat(number * 97));
        let bytes = match &target[..2] {
            "/l" => Reply::ok("", body.as_bytes()).pieces.concat(),
            "/c" => chunked(&body).into_bytes(),
            "/i" => [interim.as_bytes(), chunked(&body).as_bytes()].concat(),
            "/n" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/m" => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n".to_vec(),
        };
        Reply {
            pieces: bytes.chunks(number * 13 + 1).map(<[u8]>::to_vec).collect(),
            end: End::Stay,
        }
    });
    let mut flow = String::new();
    for number in 0..8 {
        for kind in ["l", "c", "h", "i", "n", "m"] {
            let path = format!("/{kind}{number}");
            let more = match kind {
                "l" | "c" | "i" => {
                    format!(", assert: [ {{ type: body_matches, pattern: '^<{path}>x*$' }} ]")
                }
                "h" => ", method: HEAD, assert: [ { type: size, equals: 0 } ]".to_owned(),
                "n" => ", assert: [ { type: status, equals: 204 } ]".to_owned(),
                _ => ", assert: [ { type: status, equals: 304 } ]".to_owned(),
            };
            flow += &get(&path, &more);
        }
    }
    let summary = run(&plan(&server.url(), (1, 2, 16), &flow));
    assert_no_failure(&summary);
    let seen = server.seen();
    assert_eq!((seen.len(), count(&summary, "iterations")), (96, 2));
    assert!(seen.iter().all(|s| s.connection == FIRST));
    assert_eq!(count(&summary, "http_reqs"), 96);
    // In the flow's order, the first alone, and then ahead of the responses.
    let order: Vec<&str> = seen.iter().map(Seen::target).collect();
    assert_eq!(order[..48], order[48..]);
    assert_eq!(order[..3], ["/l0", "/c0", "/h0"]);
    assert_eq!(seen[0].behind, 0);
    assert!(seen[1].behind > 10 * 20, "{}", seen[1].behind);
}

#[test]
fn requests_behind_the_end_of_a_connection_are_sent_once_more_if_they_may_be_and_alone() {
    for (end, says_so) in [(End::Close, true), (End::Close, false), (End::Reset, false)] {
        let server = Server::start(move |request| {
            if request.target() != "/4" || request.connection != FIRST {
                return Reply::ok("", b"fine");
            }
            let fields = if says_so { "connection: close\r\n" } else { "" };
            let reply = Reply::ok(fields, b"last");
            Reply { end, ..reply }
        });
        let flow: String = (0..10).map(|n| get(&format!("/{n}"), "")).collect();
        let summary = run(&plan(&server.url(), (1, 1, 8), &flow));
        let what = format!("{end:?} {says_so}: {:#?}", summary.errors);
        assert_eq!(
            (count(&summary, "http_reqs"), count(&summary, "iterations")),
            (10, 1),
            "{what}"
        );
        let seen = server.seen();
        let answered: Vec<&Seen> = seen
            .iter()
            .filter(|s| s.connection > FIRST || s.target() <= "/4")
            .collect();
        // Each that the first connection did not answer came once over another one.
        if end == End::Close {
            assert_no_failure(&summary);
            assert_eq!(answered.len(), 10, "{what}");
        }
        // A reset may take the response with it that was on its way.
        let most = if end == End::Reset { 2 } else { 1 };
        assert!(times(&seen).values().all(|n| *n <= most), "{what}");
        // Those that were in flight come one by one.
        let again: Vec<&&Seen> = answered
            .iter()
            .filter(|s| s.connection == FIRST + 1)
            .collect();
        assert!(
            again.len() >= 4 && again[..4].iter().all(|s| s.behind == 0),
            "{what}"
        );
    }
}

#[test]
fn requests_that_may_not_be_sent_twice_fail_when_their_connection_ends_before_them() {
    let server = Server::start(|request| {
        let reply = Reply::ok("", b"fine");
        let is_last = request.target() == "/3" && request.connection == FIRST;
        let end = if is_last { End::Close } else { End::Stay };
        Reply { end, ..reply }
    });
    let flow: String = (0..8)
        .map(|n| get(&format!("/{n}"), ", body: \"${iteration}\""))
        .collect();
    let summary = run(&plan(&server.url(), (1, 1, 8), &flow));
    let outcomes = outcomes(&summary);
    for (name, _, kind, n) in &outcomes {
        // The socket is closed with unread requests in it, which the client sees as an end or as a reset.
        let is_lost = name.as_str() > "/3";
        let is_right = if is_lost {
            kind == "closed" || kind == "reset"
        } else {
            kind.is_empty()
        };
        // A reset may take a response with it that was on its way.
        assert!(
            *n == 1 && (is_right || name.as_str() > "/0"),
            "{outcomes:?}"
        );
    }
    assert_eq!(outcomes.len(), 8);
    let failed = outcomes.iter().filter(|o| !o.2.is_empty()).count();
    assert!((4..8).contains(&failed), "{outcomes:?}");
    assert!(server.seen().iter().all(|s| s.method() == "POST"));
    assert!(times(&server.seen()).values().all(|n| *n == 1));
}

#[test]
fn a_bad_response_fails_its_request_and_those_behind_it_are_answered_after_all() {
    for (bytes, kind) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "protocol"),
        ("SSH-2.0-x\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "closed"),
        ("HTTP/1.1 200", "closed"),
    ] {
        let server = Server::start(move |request| {
            if request.target() != "/3" {
                return Reply::ok("", b"fine");
            }
            let end = if kind == "closed" {
                End::Close
            } else {
                End::Stay
            };
            Reply {
                end,
                ..Reply::bytes(bytes)
            }
        });
        let flow: String = (0..6).map(|n| get(&format!("/{n}"), "")).collect();
        let summary = run(&plan(&server.url(), (1, 1, 8), &flow));
        let outcomes = outcomes(&summary);
        for (name, status, found, n) in &outcomes {
            let is_reset = kind == "closed" && found == "reset";
            let wanted = if name == "/3" { kind } else { "" };
            assert!(
                *n == 1 && (found == wanted || name == "/3" && is_reset),
                "{bytes}: {outcomes:?}"
            );
            assert_eq!(status == "200", name != "/3", "{outcomes:?}");
        }
        assert_eq!(outcomes.len(), 6);
    }
}

#[test]
fn a_request_past_its_time_fails_alone() {
    let server = Server::start(|request| match request.target() {
        "/2" => Reply {
            end: End::Stall,
            ..Reply::default()
        },
        _ => Reply::ok("", b"fine"),
    });
    let flow: String = (0..6)
        .map(|n| {
            let timeout = if n == 2 { "150ms" } else { "20s" };
            get(&format!("/{n}"), &format!(", timeout: {timeout}"))
        })
        .collect();
    let summary = run(&plan(&server.url(), (1, 2, 4), &flow));
    for (name, _, kind, n) in outcomes(&summary) {
        assert_eq!(
            (kind.as_str(), n),
            (if name == "/2" { "timeout" } else { "" }, 2),
            "{name}"
        );
    }
    assert_eq!(count(&summary, "iterations"), 2);
}

#[test]
fn unasked_bytes_after_the_last_response_cost_the_connection_and_no_request() {
    let server =
        Server::start(|_| Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfinex"));
    let flow: String = (0..6).map(|n| get(&format!("/{n}"), "")).collect();
    let summary = run(&plan(&server.url(), (1, 1, 4), &flow));
    // The extra byte is where the next status line should be: that response is the wrong one.
    let wrong = outcomes(&summary)
        .iter()
        .filter(|o| o.2 == "protocol")
        .count();
    assert_eq!(count(&summary, "http_reqs"), 6);
    assert!(wrong < 6);
    assert!(times(&server.seen()).values().all(|n| *n <= 2));
}

#[test]
fn the_time_of_each_request_is_from_its_own_start_to_its_own_last_byte() {
    let server = Server::start(|request| {
        if request.target() != "/0" {
            std::thread::sleep(Duration::from_millis(60));
        }
        Reply::ok("", b"fine")
    });
    let flow: String = (0..5).map(|n| get(&format!("/{n}"), "")).collect();
    let summary = run(&plan(&server.url(), (1, 1, 4), &flow));
    assert_no_failure(&summary);
    let duration_ms = |name: &str| {
        let series = summary.snapshot.series.iter();
        let mut series = series.filter(|s| s.metric == "http_req_duration");
        let series = series.find(|s| s.tags.get("name").is_some_and(|n| n == name));
        series.unwrap().agg.min.unwrap()
    };
    // Four are in flight at once, and the server answers one after another.
    for n in 1..=4 {
        let ms = duration_ms(&format!("/{n}"));
        assert!(ms >= 59.0 * f64::from(n), "/{n} {ms}");
    }
    assert!(count(&summary, "http_req_waiting") == 5);
}

#[test]
fn redirects_and_cookies_work_and_what_is_sent_again_is_what_was_sent() {
    let server = Server::start(|request| match request.target() {
        "/login" => Reply::ok("set-cookie: id=7\r\n", b"in"),
        "/moved" => Reply::redirect(307, "/there"),
        "/away" => Reply::redirect(302, "/there"),
        _ => Reply::ok("", &request.body),
    });
    let flow = get("/login", "")
        + &get(
            "/moved",
            ", method: PUT, body: \"i${iteration} ${uuid}\", assert: [ { type: body_matches, pattern: '^i[0-9]+ ' } ]",
        )
        + &get("/away", "")
        + &get("/plain", "");
    let summary = run(&plan(&server.url(), (1, 20, 16), &flow));
    assert_no_failure(&summary);
    let seen = server.seen();
    // Each hop is a request.
    assert_eq!((seen.len(), count(&summary, "http_reqs")), (120, 120));
    assert_eq!(count(&summary, "iterations"), 20);
    let bodies = |target: &str| {
        let of = seen
            .iter()
            .filter(|s| s.target() == target && s.method() == "PUT");
        of.map(|s| s.body.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bodies("/moved"), bodies("/there"));
    let uncookied = seen.iter().filter(|s| s.header("cookie") != Some("id=7"));
    // The jar is as the last response left it when a request is sent.
    assert!(uncookied.count() <= 1 + 16);
}

#[test]
fn loops_choices_rows_and_iterations_are_as_without_pipelining() {
    let server = Server::start(|_| Reply::ok("", b"fine"));
    let flow = r#"
      - repeat: { times: 2, counter: round, steps: [ { request: { name: loop, url: "/loop/${vu}/${iteration}/${round}" } } ] }
      - foreach: { items: [a, b], var: item, steps: [ { request: { name: each, url: "/each/${item}/${data.d.n}" } } ] }
      - switch: { value: "${iteration}", cases: { "3": [ { request: { url: /third } } ] } }
"#;
    let text = plan(&server.url(), (3, 10, 8), flow)
        + "data: { d: { type: inline, rows: [ { n: r0 }, { n: r1 }, { n: r2 }, { n: r3 }, { n: r4 } ] } }\n";
    let summary = run(&text);
    assert_no_failure(&summary);
    let seen = server.seen();
    assert_eq!(
        (seen.len() as u64, count(&summary, "iterations")),
        (3 * (10 * 4 + 1), 30)
    );
    let times = times(&seen);
    for vu in 1..=3 {
        for iteration in 0..10 {
            for round in 0..2 {
                assert_eq!(times[&format!("/loop/{vu}/{iteration}/{round}")], 1);
            }
        }
    }
    // 30 iterations over five rows: each row six times, with both items.
    for row in 0..5 {
        assert_eq!(
            (
                times[&format!("/each/a/r{row}")],
                times[&format!("/each/b/r{row}")]
            ),
            (6, 6)
        );
    }
    assert_eq!(times["/third"], 3);
}

#[test]
fn shared_iterations_are_as_many_as_the_plan_says() {
    let server = Server::start(|request| {
        // Every so many requests the connection ends.
        let ends = request.target().ends_with("99");
        let end = if ends && request.behind % 2 == 0 {
            End::Close
        } else {
            End::Stay
        };
        Reply {
            end,
            ..Reply::ok("", b"fine")
        }
    });
    let text = plan(&server.url(), (5, 1000, 16), &get("/x/${counter}", ""))
        .replace("per-vu-iterations", "shared-iterations");
    let summary = run(&text);
    assert_eq!(
        (count(&summary, "iterations"), count(&summary, "http_reqs")),
        (1000, 1000)
    );
}

#[test]
fn a_stop_of_the_run_lets_what_is_in_flight_be_answered() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Reply::ok("", b"fine")
    });
    let text = plan(&server.url(), (2, 1, 8), &get("/", "")).replace(
        "executor: per-vu-iterations\n    vus: 2\n    iterations: 1",
        "executor: constant-vus\n    vus: 2\n    duration: 300ms",
    );
    let summary = run(&text);
    assert_no_failure(&summary);
    let requests = count(&summary, "http_reqs");
    assert!(requests >= 4);
    assert_eq!(
        (requests, requests),
        (server.seen().len() as u64, count(&summary, "iterations"))
    );
}

#[test]
fn a_failed_assert_that_ends_the_test_ends_it() {
    let server = Server::start(|request| match request.target() {
        "/x/40" => Reply::ok("", b"bad"),
        _ => Reply::ok("", b"fine"),
    });
    let more = ", assert: [ { type: body_contains, value: fine, on_failure: abort_test } ]";
    let text = plan(
        &server.url(),
        (1, 100_000, 8),
        &get("/x/${iteration}", more),
    );
    let summary = run(&text);
    let seen = server.seen().len() as u64;
    assert!((41..=41 + 16).contains(&seen), "{seen}");
    assert_eq!(count(&summary, "http_reqs"), seen);
    assert!(summary.aborted.is_some());
}

#[test]
fn what_is_cancelled_is_not_counted() {
    let server = Server::start(|request| match request.target() {
        "/0" => Reply::ok("", b"fine"),
        _ => Reply {
            end: End::Stall,
            ..Reply::default()
        },
    });
    let text = plan(&server.url(), (1, 1, 8), &get("/${iteration}", "")).replace(
        "executor: per-vu-iterations\n    vus: 1\n    iterations: 1",
        "executor: constant-vus\n    vus: 1\n    duration: 200ms\n    graceful_stop: 100ms",
    );
    let summary = run(&text);
    assert_eq!(
        (count(&summary, "http_reqs"), count(&summary, "iterations")),
        (1, 1)
    );
}

#[test]
fn a_response_that_ends_with_its_connection_is_over_when_that_ends_and_is_of_what_was_sent() {
    // The first request of a connection goes alone; the next one is in the pipeline.
    let server = Server::start(|request| match request.target().rsplit('/').next() {
        Some("until") => Reply {
            pieces: vec![
                b"HTTP/1.1 302 Found\r\nlocation: next\r\n\r\nab".to_vec(),
                Vec::new(),
            ],
            end: End::Linger,
        },
        _ => Reply::ok("", b"fine"),
    });
    let flow = get("/first", "") + &get("/${uuid}/until", "") + &get("/last", "");
    let summary = run(&plan(&server.url(), (1, 1, 4), &flow));
    assert_no_failure(&summary);
    let seen = server.seen();
    let until = seen
        .iter()
        .find(|s| s.target().ends_with("/until"))
        .unwrap();
    let next = seen.iter().find(|s| s.target().ends_with("/next")).unwrap();
    let place = |s: &Seen| s.target().rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(place(until), place(next));
    let slowest = summary.metric("http_req_receiving").unwrap().max.unwrap();
    assert!(slowest >= 190.0, "{slowest}");
}
