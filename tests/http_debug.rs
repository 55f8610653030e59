//! `--http-debug`: what people are shown of one virtual user.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{run_plan, target};

fn plan(base: &str, engine: &str, flow: &str) -> String {
    format!(
        "engine: {{ {engine} }}\nsecrets: {{ key: {{ env: LOADR_TEST_KEY }} }}\ndefaults: {{ http: {{ base_url: \"{base}\" }} }}\n\
         scenarios:\n  s:\n    executor: per-vu-iterations\n    vus: 3\n    iterations: 2\n    flow:\n{flow}"
    )
}

const FLOW: &str = r#"
      - request: { name: echo, url: "/echo?a=${vu}", headers: { x-key: "${secrets.key}", authorization: "Bearer abc" }, body: "\e[31m ${secrets.key} é" }
      - request: { name: long, url: /bytes/5000 }
"#;

#[test]
fn heads_and_the_beginnings_of_bodies_are_shown_without_secrets_and_control_bytes() {
    // Not of this process: a test beside this one may read the environment.
    let shown = |engine: &str, flags: &[&str]| {
        let target = target();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.yaml");
        let text = plan(&format!("http://{}", target.address()), engine, FLOW);
        std::fs::write(&path, text).unwrap();
        let output = common::loadr()
            .arg("run")
            .args(flags)
            .arg(&path)
            .env("LOADR_TEST_KEY", "hunter22")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        (String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    for engine in ["pipeline: 1", "pipeline: 4"] {
        let (text, _) = shown(engine, &["--http-debug", "--quiet", "--cores", "1"]);
        // One user, two iterations, two requests.
        let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!(
            (count("request "), count("response to request ")),
            (4, 4),
            "{text}"
        );
        assert_eq!(count("> POST /echo?a=1 HTTP/1.1"), 2, "{text}");
        assert_eq!(count("< HTTP/1.1 200 OK"), 4, "{text}");
        assert_eq!(count("> authorization: ***"), 2, "{text}");
        assert_eq!(count("> x-key: ***"), 2, "{text}");
        // Sent, and sent back.
        assert_eq!(count("> \\u{1b}[31m *** é"), 2, "{text}");
        assert_eq!(count("< \\u{1b}[31m *** é"), 2, "{text}");
        assert_eq!(count("< … 3976 bytes more"), 2, "{text}");
        assert!(
            !text.contains("hunter22") && !text.contains("abc\n"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let (text, _) = shown("pipeline: 1", &["--quiet", "--cores", "1"]);
    assert_eq!(text, "");
}

#[test]
fn a_connection_that_ends_and_standard_error_that_is_closed_do_no_harm() {
    let target = target();
    let flow = "      - request: { name: gone, url: /drop }\n      - request: { url: / }\n";
    let base = format!("http://{}", target.address());
    let text = plan(&base, "max_headers: 128", flow).replace("LOADR_TEST_KEY", "PATH");
    let run = run_plan(&text, &["--http-debug", "--cores", "1"]);
    assert_eq!(run.count("http_reqs"), 12);
    let lost = run
        .stderr
        .lines()
        .filter(|line| line.ends_with("(gone): no whole response"));
    // The second time its connection had been kept, and it is sent once more.
    assert_eq!(lost.count(), 3, "{}", run.stderr);
}
