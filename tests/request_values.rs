//! What requests are made of, by what a server gets to see: rows, secrets, made values, files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use common::{Run, loadr, plan, run_file};
use tempfile::TempDir;

/// One request as it came: its request line, its other lines, its content.
#[derive(Clone)]
struct Seen {
    line: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// A server of the standard library that writes down whole requests, and answers with the `authorization` header.
struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let record = Arc::clone(&record);
                std::thread::spawn(move || serve(&stream.unwrap(), &record));
            }
        });
        Self { address, seen }
    }

    /// Runs `flow` with these top-level lines, in a folder with the test's files.
    fn run(
        &self,
        folder: &TempDir,
        above: &str,
        executor: &str,
        flow: &str,
        flags: &[&str],
    ) -> Run {
        let executor = format!("executor: {executor}");
        let text = plan(&format!("http://{}", self.address), &executor, flow);
        let path = folder.path().join("plan.yaml");
        fs::write(&path, format!("{above}\n{text}")).unwrap();
        run_file(&path, flags)
    }

    fn bodies(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let text = |seen: &Seen| String::from_utf8(seen.body.clone()).unwrap();
        seen.iter().map(text).collect()
    }
}

fn serve(stream: &TcpStream, record: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|n| n > 0)
    } {
        let first = line.trim_end().to_owned();
        let mut headers = HashMap::new();
        while {
            line.clear();
            reader.read_line(&mut line).unwrap();
            !line.trim_end().is_empty()
        } {
            let (name, value) = line.trim_end().split_once(": ").unwrap();
            headers.insert(name.to_owned(), value.to_owned());
        }
        let len = headers
            .get("content-length")
            .map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        let answer = headers.get("authorization").cloned().unwrap_or_default();
        record.lock().unwrap().push(Seen {
            line: first,
            headers,
            body,
        });
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

const TWO_SHARDS: &[&str] = &["--cores", "2", "--oversubscribe"];
const ONE_SHARD: &[&str] = &["--cores", "1"];

#[test]
fn shared_rows_are_used_exactly_once_a_lap_across_shards() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..200).map(|row| format!("u{row},p{row}\n")).collect();
    fs::write(
        folder.path().join("users.csv"),
        format!("user,pass\n{rows}"),
    )
    .unwrap();
    for pick in ["sequential", "shuffle"] {
        let server = Recorder::start();
        let run = server.run(
            &folder,
            &format!("data: {{ users: {{ type: csv, path: users.csv, pick: {pick} }} }}"),
            "per-vu-iterations\n    vus: 4\n    iterations: 100",
            "      - request: { url: /, body: '${data.users.user}' }\n      - request: { url: /, body: '${data.users.user} ${data.users.pass}' }\n",
            TWO_SHARDS,
        );
        assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
        let mut seen: HashMap<String, u32> = HashMap::new();
        for body in server.bodies() {
            *seen.entry(body).or_default() += 1;
        }
        // 400 iterations are two laps; both requests of one have the same row.
        for row in 0..200 {
            assert_eq!(seen.get(&format!("u{row}")), Some(&2), "{pick} {row}");
            assert_eq!(
                seen.get(&format!("u{row} p{row}")),
                Some(&2),
                "{pick} {row}"
            );
        }
        assert_eq!(seen.len(), 400, "{pick}");
    }
}

#[test]
fn a_user_that_finds_no_row_ends_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (flow, flags) in [
        (
            "      - request: { url: /, body: '${data.jobs.n}' }\n",
            TWO_SHARDS,
        ),
        (
            "      - switch: { value: '${data.jobs.n}', cases: { x: [ { request: { url: / } } ] }, default: [ { request: { url: /, body: '${data.jobs.n}' } } ] }\n",
            ONE_SHARD,
        ),
    ] {
        let server = Recorder::start();
        let rows: Vec<String> = (0..25).map(|row| format!("{{ n: {row} }}")).collect();
        let run = server.run(
            &folder,
            &format!(
                "data: {{ jobs: {{ type: inline, on_eof: stop, rows: [ {} ] }} }}",
                rows.join(", ")
            ),
            "per-vu-iterations\n    vus: 3\n    iterations: 1000",
            flow,
            flags,
        );
        assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
        assert_eq!((run.count("iterations"), run.count("http_reqs")), (25, 25));
        let mut bodies: Vec<u32> = server.bodies().iter().map(|b| b.parse().unwrap()).collect();
        bodies.sort_unstable();
        assert!(bodies.into_iter().eq(0..25));
        assert!(run.summary["errors"].as_array().unwrap().is_empty());
    }
}

#[test]
fn each_user_goes_through_all_rows_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let above = "data:\n  a: { type: inline, mode: per_vu, rows: [ { n: 0 }, { n: 1 }, { n: 2 } ] }\n  \
                 b: { type: inline, mode: per_vu, pick: shuffle, rows: [ { n: 0 }, { n: 1 }, { n: 2 } ] }\n  \
                 c: { type: inline, pick: random, on_eof: stop, rows: [ { n: 0 }, { n: 1 }, { n: 2 } ] }";
    let flow = "      - request: { url: '/${vu}/${data.a.n}/${data.b.n}/${data.c.n}' }\n";
    let executor = "per-vu-iterations\n    vus: 2\n    iterations: 6";
    let run = server.run(&folder, above, executor, flow, TWO_SHARDS);
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    let seen = server.seen.lock().unwrap();
    for vu in ["1", "2"] {
        let rows: Vec<Vec<&str>> = seen
            .iter()
            .map(|seen| seen.line.split(' ').nth(1).unwrap().split('/').collect())
            .filter(|parts: &Vec<&str>| parts[1] == vu)
            .collect();
        let in_order: Vec<&str> = rows.iter().map(|parts| parts[2]).collect();
        assert_eq!(in_order, ["0", "1", "2", "0", "1", "2"]);
        let shuffled: Vec<&str> = rows.iter().map(|parts| parts[3]).collect();
        assert_eq!(shuffled[..3], shuffled[3..], "the order is drawn once");
        let mut lap = shuffled[..3].to_vec();
        lap.sort_unstable();
        assert_eq!(lap, ["0", "1", "2"]);
    }
}

#[test]
fn counters_and_uuids_differ_across_shards() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let run = server.run(
        &folder,
        "",
        "per-vu-iterations\n    vus: 4\n    iterations: 200",
        "      - request: { url: '/${counter}', headers: { x-id: '${uuid}' } }\n",
        TWO_SHARDS,
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    let seen = server.seen.lock().unwrap();
    let mut lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    let mut ids: Vec<&str> = seen
        .iter()
        .map(|seen| seen.headers["x-id"].as_str())
        .collect();
    for list in [&mut lines, &mut ids] {
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), 800);
    }
}

#[test]
fn no_output_shows_a_secret_even_when_the_target_sends_it_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "f1le s3cret\n").unwrap();
    let server = Recorder::start();
    let text = format!(
        "secrets: {{ key: {{ file: key }}, token: {{ env: LOADR_TEST_TOKEN }} }}\n{}",
        plan(
            &format!("http://{}", server.address),
            "executor: per-vu-iterations\n    vus: 1\n    iterations: 1",
            r#"
      - request:
          name: "with ${secrets.token}"
          url: "/${secrets.token}"
          params: { k: "${secrets.key}" }
          headers: { authorization: "${secrets.token} ${secrets.key}" }
          body: { json: { k: "${secrets.key}" } }
          extract: [ { type: regex, name: echo, expression: "(.+)" } ]
          assert: [ { type: body_contains, value: "not ${secrets.key}" } ]
          checks: [ { type: body_contains, value: "nor ${secrets.token}" } ]
      - foreach: { items: "${echo}", steps: [ { request: { url: / } } ] }
      - request: { url: "/${unset}", headers: { a: "${secrets.key}" } }
"#,
        )
    );
    let path = folder.path().join("plan.yaml");
    fs::write(&path, text).unwrap();
    let summary = folder.path().join("summary.json");
    let plan = path.to_str().unwrap();
    let export = [
        "--cores",
        "1",
        "--summary-export",
        summary.to_str().unwrap(),
    ];
    let mut outputs = String::new();
    for args in [
        &[&["run"], &export[..], &[plan]].concat()[..],
        &["run", "--quiet", "--cores", "1", plan],
        &["validate", plan],
        &["validate", "--format", "json", plan],
    ] {
        let output = loadr()
            .args(args)
            .env("LOADR_TEST_TOKEN", "t0k/en&s3cret")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        outputs.push_str(&String::from_utf8(said).unwrap());
    }
    outputs.push_str(&fs::read_to_string(&summary).unwrap());
    // They were sent, and the target's answer got into a message.
    let seen = server.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.headers["authorization"], "t0k/en&s3cret f1le s3cret");
    assert_eq!(seen.body, br#"{"k":"f1le s3cret"}"#);
    assert!(seen.line.contains("k=f1le%20s3cret"), "{}", seen.line);
    assert!(outputs.contains("not a JSON array: *** ***"), "{outputs}");
    for secret in ["s3cret", "t0k", "f1le"] {
        assert!(!outputs.contains(secret), "{secret} is in:\n{outputs}");
    }
}

#[test]
fn a_secret_that_is_not_there_is_said_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Recorder::start();
    let run = server.run(
        &folder,
        "secrets: { key: { file: gone }, token: { env: LOADR_TEST_UNSET } }",
        "per-vu-iterations\n    vus: 1\n    iterations: 1",
        "      - request: { url: '/${secrets.key}${secrets.token}' }\n",
        ONE_SHARD,
    );
    assert_eq!(run.code, 1);
    for part in [
        "plan.yaml:1:25: secrets.key.file",
        "`gone`",
        "plan.yaml:1:47: secrets.token.env",
        "`LOADR_TEST_UNSET` is not set",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(server.bodies().is_empty());
}

/// Prints each part of a multipart request: name, filename, type and content, in Python's notation.
const PARSE: &str = "
import sys, email
from email import policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=policy.HTTP)
for p in m.iter_parts():
    d = p['content-disposition'].params
    print(repr((d.get('name'), d.get('filename'), p.get_content_type(), p.get_payload(decode=True))))
";

#[test]
fn a_multipart_body_is_what_another_parser_takes_it_for() {
    let folder = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(folder.path().join("all.bin"), &file).unwrap();
    let server = Recorder::start();
    let run = server.run(
        &folder,
        "",
        "per-vu-iterations\n    vus: 1\n    iterations: 2",
        "      - request: { url: /, body: { multipart: [ { name: title, value: 'n ${iteration}' }, { name: meta, value: '{}', content_type: application/json }, { name: f, file: all.bin, filename: \"a b.bin\" } ] } }\n",
        ONE_SHARD,
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (iteration, seen) in seen.iter().enumerate() {
        let at = seen
            .body
            .windows(file.len())
            .position(|window| window == file);
        assert!(at.is_some(), "the file's bytes are there as they are");
        let python = Command::new("python3")
            .args(["-c", PARSE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut python) = python else {
            eprintln!(
                "SKIPPED: a_multipart_body_is_what_another_parser_takes_it_for (needs python3)"
            );
            return;
        };
        let mut message =
            format!("content-type: {}\r\n\r\n", seen.headers["content-type"]).into_bytes();
        // Python's parser takes lone line breaks in binary content for line ends: the file is told by its length here.
        let text = vec![b'x'; file.len()];
        let start = at.unwrap();
        message.extend_from_slice(&seen.body[..start]);
        message.extend_from_slice(&text);
        message.extend_from_slice(&seen.body[start + file.len()..]);
        python.stdin.take().unwrap().write_all(&message).unwrap();
        let output = python.wait_with_output().unwrap();
        let parsed = String::from_utf8(output.stdout).unwrap();
        let parts: Vec<&str> = parsed.lines().collect();
        assert_eq!(parts.len(), 3, "{parsed}");
        assert_eq!(
            parts[0],
            format!("('title', None, 'text/plain', b'n {iteration}')")
        );
        assert_eq!(parts[1], "('meta', None, 'application/json', b'{}')");
        let expected = format!(
            "('f', 'a b.bin', 'application/octet-stream', b'{}')",
            String::from_utf8(text).unwrap()
        );
        assert_eq!(parts[2], expected);
    }
}

#[test]
fn a_value_that_is_all_of_a_json_leaf_keeps_its_type() {
    let recorder = Recorder::start();
    let folder = tempfile::tempdir().unwrap();
    // The server answers with what this header says.
    let flow = r#"
      - request:
          url: /get
          headers: { authorization: '{"n": 7, "t": "7", "f": true, "l": [1, "a"], "z": null}' }
          extract:
            - { type: jsonpath, name: number, expression: $.n }
            - { type: jsonpath, name: text, expression: $.t }
            - { type: jsonpath, name: flag, expression: $.f }
            - { type: jsonpath, name: list, expression: $.l }
            - { type: jsonpath, name: nothing, expression: $.z }
            - { type: jsonpath, name: all, expression: '$.l[*]', index: all }
            - { type: regex, name: digits, expression: '(\d)' }
            - { type: jsonpath, name: absent, expression: $.none, default: 12 }
            - { type: jsonpath, name: word, expression: $.none, default: '12' }
            - { chain: whole, jsonpath: $.t, as: int }
            - { chain: string, jsonpath: $.n, as: string }
            - { chain: edited, jsonpath: $.n, transform: [trim] }
            - { chain: queried, jmespath: l }
      - foreach:
          items: [1, 'x']
          steps:
            - request:
                method: POST
                url: /post
                body: { json: { number: '${number}', text: '${text}', flag: '${flag}', list: '${list}', nothing: '${nothing}', all: '${all}',
                                digits: '${digits}', absent: '${absent}', word: '${word}', whole: '${whole}', string: '${string}',
                                edited: '${edited}', queried: '${queried}', item: '${item}', index: '${index}', both: 'n ${number}' } }
"#;
    let executor = "per-vu-iterations, vus: 1, iterations: 1";
    let executor = executor.replace(", ", "\n    ");
    let run = recorder.run(&folder, "", &executor, flow, &["--cores", "1"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let same = r#""number":7,"text":"7","flag":true,"list":[1,"a"],"nothing":null,"all":[1,"a"],"digits":"7","absent":12,"word":"12","whole":7,"string":"7","edited":"7","queried":[1,"a"]"#;
    let bodies = recorder.bodies();
    assert_eq!(
        bodies[1..],
        [
            format!(r#"{{{same},"item":1,"index":0,"both":"n 7"}}"#),
            format!(r#"{{{same},"item":"x","index":1,"both":"n 7"}}"#),
        ]
    );
}
