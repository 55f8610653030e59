//! What a client does from one response to the next: redirects, cookies, content codings, connections.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::{End, Reply, Seen, Server, assert_no_failure, once, outcomes, run};

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .map(|s| {
            format!(
                "{} {} {}",
                s.method(),
                s.target(),
                String::from_utf8_lossy(&s.body)
            )
        })
        .collect()
}

#[test]
fn redirects_are_followed_with_the_method_their_status_asks_for_and_each_hop_is_a_sample() {
    let answer = |request: &Seen| match request.target() {
        "/a/301" => Reply::redirect(301, "../x?y#z"),
        "/302" => Reply::redirect(302, "/x"),
        "/303" => Reply::redirect(303, "x"),
        "/307" => Reply::redirect(307, "/308"),
        "/308" => Reply::redirect(308, "/x"),
        _ => Reply::ok("", b"there"),
    };
    let server = Server::start(move |request| {
        let reply = answer(request);
        if request.method() == "HEAD" {
            reply.without_body()
        } else {
            reply
        }
    });
    let step = |name: &str, path: &str, method: &str| {
        let body = if method == "POST" {
            ", body: \"b${vu}\""
        } else {
            ""
        };
        format!(
            "      - request: {{ name: {name}, url: {path}, method: {method}{body}, assert: [ {{ type: body_contains, value: there }}, {{ type: status, equals: 200 }} ] }}\n"
        )
    };
    let flow = step("n301", "/a/301", "POST")
        + &step("n302", "/302", "GET")
        + &step("n303", "/303", "POST")
        + &step("n307", "/307", "POST")
        + "      - request: { name: head, url: /302, method: HEAD }\n"
        + "      - request: { name: stays, url: /302, follow_redirects: false, assert: [ { type: status, equals: 302 } ] }\n";
    let summary = run(&once(&format!("base_url: \"{}\"", server.url()), &flow));
    assert_no_failure(&summary);
    assert_eq!(
        lines(&server.seen()),
        [
            "POST /a/301 b1",
            "GET /x?y ",
            "GET /302 ",
            "GET /x ",
            "POST /303 b1",
            "GET /x ",
            "POST /307 b1",
            "POST /308 b1",
            "POST /x b1",
            "HEAD /302 ",
            "HEAD /x ",
            "GET /302 "
        ]
    );
    // Nothing but one connection was needed.
    let seen = server.seen();
    assert!(seen.iter().all(|s| s.connection == seen[0].connection));
    let of = |name: &str| {
        let outcomes = outcomes(&summary);
        let mut found: Vec<_> = outcomes
            .into_iter()
            .filter(|o| o.0 == name)
            .map(|o| (o.1, o.3))
            .collect();
        found.sort();
        found
    };
    assert_eq!(
        of("n307"),
        [("200".into(), 1), ("307".into(), 1), ("308".into(), 1)]
    );
    assert_eq!(of("stays"), [("302".into(), 1)]);
}

#[test]
fn redirects_that_lead_nowhere_fail_their_request_and_the_next_one_works() {
    let server = Server::start(|request| match request.target() {
        "/loop" => Reply::redirect(302, "/loop"),
        "/ftp" => Reply::redirect(302, "ftp://h/"),
        "/none" => Reply::bytes("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"),
        "/name" => Reply::redirect(302, "http://no-such-host.invalid/"),
        _ => Reply::ok("", b""),
    });
    let flow: String = ["loop", "ok", "ftp", "ok", "none", "ok", "name", "ok"]
        .iter()
        .map(|path| format!("      - request: {{ url: /{path} }}\n"))
        .collect();
    let http = format!("base_url: \"{}\", max_redirects: 3", server.url());
    let summary = run(&once(&http, &flow));
    let mut outcomes = outcomes(&summary);
    outcomes.sort();
    outcomes.dedup();
    let expected = [
        ("/ftp", "302", "redirect", 1),
        ("/loop", "302", "", 3),
        ("/loop", "302", "redirect", 1),
        ("/name", "302", "redirect", 1),
        ("/none", "302", "", 1),
        // Steps that no tag tells apart are one series.
        ("/ok", "200", "", 4),
    ];
    assert_eq!(
        outcomes,
        expected.map(|(a, b, c, n)| (a.into(), b.into(), c.into(), n))
    );
    let error = summary
        .errors
        .iter()
        .find(|e| e.kind == "redirect")
        .unwrap();
    assert_eq!(error.count, 3);
}

#[test]
fn credentials_stay_with_their_origin() {
    let other = Server::start(|_| Reply::ok("", b""));
    let there = format!("{}/in", other.url());
    let server = Server::start(move |request| match request.target() {
        "/out" => Reply::redirect(307, &there),
        "/same" => Reply::redirect(307, "/in"),
        _ => Reply::ok("", b""),
    });
    let headers = "headers: { authorization: secret, cookie: a=b, x-a: kept }";
    let flow = format!(
        "      - request: {{ url: /out, {headers} }}\n      - request: {{ url: /same, {headers} }}\n      - request: {{ url: /out, {headers} }}\n"
    );
    assert_no_failure(&run(&once(
        &format!("base_url: \"{}\"", server.url()),
        &flow,
    )));
    let foreign = other.seen();
    assert_eq!(foreign.len(), 2);
    for request in &foreign {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("cookie"), None);
        assert_eq!(request.header("x-a"), Some("kept"));
        assert_eq!(
            request.header("host"),
            Some(other.address.to_string().as_str())
        );
    }
    assert_eq!(
        foreign[0].connection, foreign[1].connection,
        "the connection was kept"
    );
    let seen = server.seen();
    let same = seen.iter().find(|s| s.target() == "/in").unwrap();
    assert_eq!(same.header("authorization"), Some("secret"));
    assert_eq!(same.header("cookie"), Some("a=b"));
}

#[test]
fn each_virtual_user_has_cookies_of_its_own() {
    let server = Server::start(|request| match request.target() {
        // In pieces, so that the head is not in one run.
        "/login" => Reply {
            pieces: [
                &b"HTTP/1.1 302 Found\r\nset-cookie: id="[..],
                request.header("x-user").unwrap().as_bytes(),
                b"; Path=/\r\nset-cookie: deep=1; Path=/home/in\r\n",
                b"location: /home/in\r\ncontent-length: 2\r\n\r\n",
                b"ok",
            ]
            .map(<[u8]>::to_vec)
            .to_vec(),
            end: End::Stay,
        },
        "/logout" => Reply::ok("set-cookie: id=; Max-Age=0; Path=/\r\n", b""),
        _ => Reply::ok("", request.header("cookie").unwrap_or("none").as_bytes()),
    });
    let body = |value: &str| format!("assert: [ {{ type: body_matches, pattern: '^{value}$' }} ]");
    let flow = format!(
        "      - request: {{ url: /before, {} }}\n      - request: {{ url: /login, headers: {{ x-user: \"u${{vu}}\" }}, assert: [ {{ type: body_contains, value: \"deep=1; id=u${{vu}}\" }} ] }}\n      \
         - request: {{ url: /home, assert: [ {{ type: body_contains, value: \"id=u${{vu}}\" }}, {{ type: body_contains, value: deep, negate: true }} ] }}\n      \
         - request: {{ url: /own, headers: {{ cookie: own=1 }}, {} }}\n      - request: {{ url: /logout }}\n      - request: {{ url: /after, {} }}\n",
        body("none"),
        body("own=1"),
        body("none"),
    );
    let plan = once(&format!("base_url: \"{}\"", server.url()), &flow).replace("vus: 1", "vus: 3");
    assert_no_failure(&run(&plan));

    let off = once(
        &format!("base_url: \"{}\", cookies: false", server.url()),
        &format!(
            "      - request: {{ url: /login, headers: {{ x-user: a }}, {} }}\n",
            body("none")
        ),
    );
    assert_no_failure(&run(&off));
}

#[test]
fn bodies_are_decoded_when_something_reads_them() {
    let server = Server::start(|request| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        match request.target() {
            "/bomb" => encoder.write_all(&vec![b'x'; 80 << 20]).unwrap(),
            _ => encoder.write_all(b"the plain text").unwrap(),
        }
        let mut body = encoder.finish().unwrap();
        if request.target() == "/broken" {
            body.truncate(body.len() - 3);
        }
        Reply::ok("content-encoding: gzip\r\n", &body)
    });
    let reads = "assert: [ { type: body_contains, value: x } ]";
    let flow = format!(
        "      - request: {{ url: /plain, assert: [ {{ type: body_matches, pattern: '^the plain text$' }} ] }}\n      \
         - request: {{ url: /bomb, {reads} }}\n      - request: {{ url: /broken, {reads} }}\n      \
         - request: {{ name: unread, url: /bomb }}\n      - request: {{ name: again, url: /x, {reads} }}\n"
    );
    let summary = run(&once(&format!("base_url: \"{}\"", server.url()), &flow));
    let mut outcomes = outcomes(&summary);
    outcomes.sort();
    let expected = [
        ("/bomb", "200", "body_limit", 1),
        ("/broken", "200", "decode", 1),
        ("/plain", "200", "", 1),
        ("again", "200", "", 1),
        ("unread", "200", "", 1),
    ];
    assert_eq!(
        outcomes,
        expected.map(|(a, b, c, n)| (a.into(), b.into(), c.into(), n))
    );
    for request in server.seen() {
        assert_eq!(request.header("accept-encoding"), Some("gzip, deflate, br"));
    }
}

#[test]
fn connections_are_kept_unless_the_plan_says_otherwise_and_hosts_say_where_they_lead() {
    for (keep_alive, connections) in [(true, 1), (false, 3)] {
        let server = Server::start(|_| Reply::ok("", b""));
        let http = format!(
            "base_url: \"http://shop.test:81\", keep_alive: {keep_alive}, hosts: {{ \"shop.test:81\": \"{}\" }}",
            server.address
        );
        let flow = "      - request: { url: / }\n".repeat(3);
        assert_no_failure(&run(&once(&http, &flow)));
        let seen = server.seen();
        let mut numbers: Vec<usize> = seen.iter().map(|s| s.connection).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), connections);
        assert!(
            seen.iter()
                .all(|s| s.header("host") == Some("shop.test:81"))
        );
    }
}

#[test]
fn redirects_and_cookies_are_of_the_url_that_was_sent_not_of_one_rendered_again() {
    for http in ["", ", cache: true"] {
        let server = Server::start(|request| match request.target().rsplit('/').next() {
            Some("start") => Reply::redirect(302, "next"),
            // For what is below the directory that was asked for, and for nothing else.
            Some("login") => Reply::ok("set-cookie: id=7\r\n", b"in"),
            _ => Reply::ok("", b"there"),
        });
        let flow = "      - request: { url: \"/a/${uuid}/start\" }\n      - request: { url: \"/b/${counter}/login\" }\n      \
                    - request: { url: /b/1/inside }\n      - request: { url: /b/2/outside }\n";
        let summary = run(&once(
            &format!("base_url: \"{}\"{http}", server.url()),
            flow,
        ));
        assert_no_failure(&summary);
        let seen = server.seen();
        let place = |at: usize| seen[at].target().rsplit_once('/').unwrap().0.to_owned();
        assert_eq!(seen[1].target(), format!("{}/next", place(0)));
        let of = |target: &str| seen.iter().find(|s| s.target() == target).unwrap();
        assert_eq!(of("/b/1/inside").header("cookie"), Some("id=7"), "{http}");
        assert_eq!(of("/b/2/outside").header("cookie"), None, "{http}");
    }
}

#[test]
fn a_redirect_is_of_the_same_trace_as_its_request_also_with_a_cache() {
    for http in ["", ", cache: true"] {
        let server = Server::start(|request| match request.target() {
            "/start" => Reply::redirect(302, "/middle"),
            "/middle" => Reply::redirect(302, "/end"),
            _ => Reply::ok("", b"there"),
        });
        let flow = "      - request: { url: /start }\n";
        let http = format!("base_url: \"{}\", tracing: true{http}", server.url());
        assert_no_failure(&run(&once(&http, flow)));
        let seen = server.seen();
        let parts: Vec<Vec<&str>> = seen
            .iter()
            .map(|s| s.header("traceparent").unwrap().split('-').collect())
            .collect();
        assert_eq!(parts.len(), 3);
        for pair in parts.windows(2) {
            assert_eq!(pair[0][1], pair[1][1], "the trace: {http} {parts:?}");
            assert_ne!(pair[0][2], pair[1][2], "the span: {http} {parts:?}");
        }
    }
}
