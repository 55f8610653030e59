//! A server that says whatever bytes it likes. Every good response is asserted to the byte, every bad one to its
//! `error_kind`, and after each the same virtual user makes a request that works.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use support::{End, Reply, Server, outcomes, run};

/// What a response must come to.
enum Comes {
    /// This status and this body.
    To(u16, Vec<u8>),
    /// This `error_kind`.
    Wrong(&'static str),
}

struct Case {
    name: &'static str,
    method: &'static str,
    reply: Reply,
    comes: Comes,
}

fn case(name: &'static str, bytes: impl AsRef<[u8]>, comes: Comes) -> Case {
    Case {
        name,
        method: "GET",
        reply: Reply::bytes(bytes.as_ref()),
        comes,
    }
}

impl Case {
    /// The connection ends in this way after the bytes.
    fn then(mut self, end: End) -> Self {
        self.reply.end = end;
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Sent in pieces of so many bytes.
    fn in_pieces(mut self, size: usize) -> Self {
        self.reply.pieces = self
            .reply
            .pieces
            .concat()
            .chunks(size)
            .map(<[u8]>::to_vec)
            .collect();
        self
    }
}

fn ok(body: &str) -> Comes {
    Comes::To(200, body.as_bytes().to_vec())
}

const PROTOCOL: Comes = Comes::Wrong("protocol");
const CLOSED: Comes = Comes::Wrong("closed");
const HEADER_LIMIT: Comes = Comes::Wrong("header_limit");

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn with_length(length: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello")
}

fn chunked(body: &str) -> String {
    format!("{CHUNKED}{body}")
}

fn good() -> Vec<Case> {
    let all: Vec<u8> = (0..=255).collect();
    let binary = [&b"HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n"[..], &all].concat();
    let long = format!("{}{}", with_length("20005"), "x".repeat(20_000));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 1\r\n\r\nm",
        "a: b\r\n".repeat(127)
    );
    let wide = format!(
        "HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 1\r\n\r\nw",
        "b".repeat(60_000)
    );
    let chunks: String = (0..500)
        .map(|i| format!("1;n={i}\r\nx\r\n"))
        .collect::<String>()
        + "0\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    vec![
        case(
            "folded fields",
            "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length:\r\n\t5\r\n\r\nhello",
            ok("hello"),
        ),
        case("a length", with_length("5"), ok("hello")),
        case("a length, byte by byte", with_length("5"), ok("hello")).in_pieces(1),
        case("a length in two halves", with_length("5"), ok("hello")).in_pieces(22),
        case("every byte there is", binary, Comes::To(200, all)),
        case(
            "a long body",
            &long,
            Comes::To(200, format!("hello{}", "x".repeat(20_000)).into()),
        ),
        case(
            "a long body in pieces",
            &long,
            Comes::To(200, format!("hello{}", "x".repeat(20_000)).into()),
        )
        .in_pieces(7000),
        case(
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            ok(""),
        ),
        case("equal lengths in a list", with_length("5, 5"), ok("hello")),
        case(
            "equal lengths in two fields",
            with_length("5\r\nContent-Length: 5"),
            ok("hello"),
        ),
        case(
            "a length with zeros before it",
            with_length("0005"),
            ok("hello"),
        ),
        case(
            "a length with spaces around it",
            with_length("  5\t "),
            ok("hello"),
        ),
        case(
            "no reason phrase",
            "HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\nr",
            ok("r"),
        ),
        case(
            "no space for a reason phrase",
            "HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nr",
            ok("r"),
        ),
        case(
            "a reason phrase in Latin-1",
            b"HTTP/1.1 200 \xe9t\xe9\r\ncontent-length: 1\r\n\r\nr",
            ok("r"),
        ),
        case(
            "a value in Latin-1",
            b"HTTP/1.1 200 OK\r\nx: \xe9\r\ncontent-length: 1\r\n\r\nv",
            ok("v"),
        ),
        case(
            "an empty value",
            "HTTP/1.1 200 OK\r\nx:\r\ncontent-length: 1\r\n\r\nv",
            ok("v"),
        ),
        case("as many fields as are taken", many, ok("m")),
        case("a field of 60,000 bytes", wide, ok("w")),
        case(
            "an unknown status",
            "HTTP/1.1 299 Odd\r\ncontent-length: 1\r\n\r\no",
            Comes::To(299, b"o".to_vec()),
        ),
        case(
            "a failure with a body",
            "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy",
            Comes::To(503, b"busy".to_vec()),
        ),
        case(
            "chunks",
            chunked("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            ok("hello"),
        ),
        case(
            "chunks, byte by byte",
            chunked("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            ok("hello"),
        )
        .in_pieces(1),
        case(
            "extensions of a chunk",
            chunked("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"),
            ok("hello"),
        ),
        case(
            "trailers",
            chunked("5\r\nhello\r\n0\r\nx-sum: 1\r\nx: y\r\n\r\n"),
            ok("hello"),
        ),
        case(
            "trailers, byte by byte",
            chunked("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
            ok("hello"),
        )
        .in_pieces(1),
        case(
            "sizes in capitals and with zeros",
            chunked("00A\r\n0123456789\r\n000\r\n\r\n"),
            ok("0123456789"),
        ),
        case("no chunk", chunked("0\r\n\r\n"), ok("")),
        case("500 chunks", chunked(&chunks), ok(&"x".repeat(500))),
        case(
            "a chunk whose data looks like its end",
            chunked("7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n"),
            ok("0\r\n\r\n0\r"),
        ),
        case(
            "an interim response",
            format!("HTTP/1.1 100 Continue\r\n\r\n{}", with_length("5")),
            ok("hello"),
        ),
        case(
            "many interim responses",
            interim.repeat(20) + &with_length("5"),
            ok("hello"),
        ),
        case(
            "interim responses, byte by byte",
            interim.to_owned() + &with_length("5"),
            ok("hello"),
        )
        .in_pieces(1),
        case(
            "204 with a length",
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            Comes::To(204, Vec::new()),
        ),
        case(
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            Comes::To(304, Vec::new()),
        ),
        case(
            "HEAD with a length",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            ok(""),
        )
        .method("HEAD"),
        case("HEAD with chunks", CHUNKED, ok("")).method("HEAD"),
        case("until the end", "HTTP/1.1 200 OK\r\n\r\nhello", ok("hello")).then(End::Close),
        case(
            "until the end, byte by byte",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            ok("hello"),
        )
        .in_pieces(1)
        .then(End::Close),
        case("nothing until the end", "HTTP/1.1 200 OK\r\n\r\n", ok("")).then(End::Close),
        case(
            "HTTP/1.0 until the end",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            ok("hello"),
        )
        .then(End::Close),
        case(
            "HTTP/1.0 with a length",
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            ok("hello"),
        )
        .then(End::Close),
        case(
            "HTTP/1.0 that stays",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
            ok("hello"),
        ),
        case(
            "a length and the end",
            format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\n{}",
                &with_length("5")[17..]
            ),
            ok("hello"),
        )
        .then(End::Close),
        case(
            "the end without a word of it",
            with_length("5"),
            ok("hello"),
        )
        .then(End::Close),
        case("a reset after the response", with_length("5"), ok("hello")).then(End::Reset),
        case("bytes after the response", with_length("4"), ok("hell")),
        case(
            "a second response nobody asked for",
            with_length("5").repeat(2),
            ok("hello"),
        ),
        case(
            "bytes after the last chunk",
            chunked("1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"),
            ok("x"),
        ),
    ]
}

fn bad() -> Vec<Case> {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(129));
    let trailer = chunked(&format!("0\r\nx: {}\r\n\r\n", "y".repeat(20_000)));
    let extension = chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "y".repeat(2000)));
    vec![
        case(
            "two lengths",
            with_length("5\r\ncontent-length: 6"),
            PROTOCOL,
        ),
        case("two lengths in a list", with_length("5, 6"), PROTOCOL),
        case("a negative length", with_length("-5"), PROTOCOL),
        case("a length with a sign", with_length("+5"), PROTOCOL),
        case("a length in hexadecimal", with_length("0x5"), PROTOCOL),
        case("a length with a space in it", with_length("5 5"), PROTOCOL),
        case("an empty length", with_length(""), PROTOCOL),
        case(
            "a length that overflows",
            with_length("18446744073709551616"),
            PROTOCOL,
        ),
        case(
            "a length past what is read",
            with_length("99999999999"),
            Comes::Wrong("body_limit"),
        ),
        case(
            "a length and chunks",
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{}0\r\n\r\n",
                &CHUNKED[17..]
            ),
            PROTOCOL,
        ),
        case(
            "chunks twice",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "another transfer coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a transfer coding nobody knows",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a size that is no number",
            chunked("g\r\nx\r\n0\r\n\r\n"),
            PROTOCOL,
        ),
        case("no size", chunked("\r\nx\r\n0\r\n\r\n"), PROTOCOL),
        case("a negative size", chunked("-1\r\nx\r\n0\r\n\r\n"), PROTOCOL),
        case("a size with 0x", chunked("0x1\r\nx\r\n0\r\n\r\n"), PROTOCOL),
        case(
            "a size that overflows",
            chunked("11111111111111111\r\nx\r\n"),
            PROTOCOL,
        ),
        case(
            "a size line that ends in LF",
            chunked("1\nx\r\n0\r\n\r\n"),
            PROTOCOL,
        ),
        case(
            "a LF in an extension",
            chunked("1;a\nb\r\nx\r\n0\r\n\r\n"),
            PROTOCOL,
        ),
        case("an extension without end", extension, PROTOCOL),
        case(
            "a chunk longer than it says",
            chunked("1\r\nxy\r\n0\r\n\r\n"),
            PROTOCOL,
        ),
        case(
            "a trailer that ends in LF",
            chunked("0\r\na: b\n\r\n"),
            PROTOCOL,
        ),
        case("a trailer without end", trailer, HEADER_LIMIT),
        case("a field without end", &endless, HEADER_LIMIT),
        case("a field without end in pieces", &endless, HEADER_LIMIT).in_pieces(9000),
        case("too many fields", many, HEADER_LIMIT),
        case("another protocol", "SSH-2.0-OpenSSH_9.2\r\n", PROTOCOL),
        case("HTTP/2", "HTTP/2 200\r\n\r\n", PROTOCOL),
        case("HTTP/0.9", "<html>hello</html>", PROTOCOL),
        case(
            "a status of two digits",
            "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a status that is no number",
            "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a switch nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a NUL in a value",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a space before the colon",
            "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a field without a colon",
            "HTTP/1.1 200 OK\r\nx\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a fold of the first line",
            "HTTP/1.1 200 OK\r\n x: a\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case(
            "a field without a name",
            "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 0\r\n\r\n",
            PROTOCOL,
        ),
        case("nothing but the end", "", CLOSED).then(End::Close),
        case("the end in the status line", "HTTP/1.1 2", CLOSED).then(End::Close),
        case("the end in the head", "HTTP/1.1 200 OK\r\nx: y\r\n", CLOSED).then(End::Close),
        case(
            "the end after an interim response",
            "HTTP/1.1 100 Continue\r\n\r\n",
            CLOSED,
        )
        .then(End::Close),
        case("the end in the body", with_length("6"), CLOSED).then(End::Close),
        case("the end in a chunk", chunked("6\r\nhello"), CLOSED).then(End::Close),
        case(
            "the end before the last chunk",
            chunked("5\r\nhello\r\n"),
            CLOSED,
        )
        .then(End::Close),
        case(
            "the end in the trailers",
            chunked("5\r\nhello\r\n0\r\nx: y\r\n"),
            CLOSED,
        )
        .then(End::Close),
        case(
            "a reset in the body",
            with_length("6"),
            Comes::Wrong("reset"),
        )
        .then(End::Reset),
        case("silence", "", Comes::Wrong("timeout")).then(End::Stall),
        case(
            "silence in the head",
            "HTTP/1.1 200 OK\r\n",
            Comes::Wrong("timeout"),
        )
        .then(End::Stall),
        case(
            "silence in the body",
            with_length("6"),
            Comes::Wrong("timeout"),
        )
        .then(End::Stall),
    ]
}

/// A pattern that matches these bytes alone.
fn exactly(bytes: &[u8]) -> String {
    let mut pattern = r"(?s-u)\A".to_owned();
    // A run is counted: a pattern has a limit of its own.
    for run in bytes.chunk_by(|a, b| a == b) {
        write!(pattern, r"\x{:02x}", run[0]).unwrap();
        if run.len() > 1 {
            write!(pattern, "{{{}}}", run.len()).unwrap();
        }
    }
    pattern + r"\z"
}

#[test]
fn every_response_comes_to_what_it_is_and_the_next_request_works() {
    let cases: Vec<Case> = good().into_iter().chain(bad()).collect();
    let replies: Vec<Reply> = cases.iter().map(|case| case.reply.clone()).collect();
    let server = Server::start(
        move |request| match request.target().strip_prefix("/case/") {
            Some(number) => replies[number.parse::<usize>().unwrap()].clone(),
            None => Reply::ok("", b"fine"),
        },
    );
    let mut flow = String::new();
    for (i, case) in cases.iter().enumerate() {
        let (asserts, timeout) = match &case.comes {
            Comes::To(status, body) => (
                format!(
                    "assert: [ {{ type: status, equals: {status} }}, {{ type: body_matches, pattern: '{}' }} ]",
                    exactly(body)
                ),
                "10s",
            ),
            Comes::Wrong(kind) => (
                "assert: [ { type: body_contains, value: '' } ]".to_owned(),
                if *kind == "timeout" { "100ms" } else { "10s" },
            ),
        };
        let name = case.name;
        writeln!(flow, "      - request: {{ name: '{name}', url: /case/{i}, method: {}, timeout: {timeout}, {asserts} }}", case.method).unwrap();
        writeln!(flow, "      - request: {{ name: 'after {name}', url: /, assert: [ {{ type: body_matches, pattern: '^fine$' }} ] }}").unwrap();
    }
    let plan = support::once(&format!("base_url: \"{}\"", server.url()), &flow);
    let summary = run(&plan);
    let mut found = BTreeMap::new();
    for (name, status, kind, count) in outcomes(&summary) {
        let before = found.insert(name.clone(), (status, kind, count));
        assert!(before.is_none(), "{name} came to two things");
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let (status, kind, count) = &found[case.name];
        let is_right = *count == 1
            && match &case.comes {
                Comes::To(wanted, _) => *status == wanted.to_string() && kind.is_empty(),
                Comes::Wrong(wanted) => kind == wanted,
            };
        let after = &found[&format!("after {}", case.name)];
        if !is_right || *after != ("200".to_owned(), String::new(), 1) {
            wrong.push((case.name, (status, kind), after));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cases.len() >= 60);
}
