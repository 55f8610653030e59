//! Runs of a URL without a plan, the flags laid over plans, and the small commands around them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::path::Path;

use loadr_target::{Settings, Target};

use common::{output, repository, run_file, run_plan, target};

#[test]
fn a_url_is_run_without_a_plan() {
    let target = target();
    let url = format!("http://{}/echo?x=1", target.address());
    let flags = [
        "--cores", "1", "-c", "4", "-n", "37", "-m", "PUT", "-b", "hello",
    ];
    let run = run_file(Path::new(&url), &flags);
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    assert_eq!(run.count("http_reqs"), 37);
    assert_eq!(run.requests_with("method", "PUT"), 37);
    assert_eq!(run.metric("vus_max", "max") as u64, 4);
    assert!(run.stdout.contains(&url), "{}", run.stdout);
    assert!(
        run.stdout.contains("\n  STATUS\n    200 × 37\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_body_can_come_from_a_file() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.bin");
    fs::write(&file, vec![b'x'; 5000]).unwrap();
    let url = format!("http://{}/echo", target.address());
    let body = format!("@{}", file.display());
    let run = run_file(
        Path::new(&url),
        &["--cores", "1", "-n", "3", "-c", "1", "-b", &body],
    );
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stderr);
    assert_eq!(run.requests_with("method", "POST"), 3);
    assert!(run.metric("data_sent", "count") > 15_000.0);
    let run = run_file(Path::new(&url), &["-n", "1", "-b", "@/no/such/file"]);
    assert!(
        run.code == 1 && run.stderr.contains("/no/such/file"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_url_is_run_at_a_rate() {
    let target = target();
    let url = format!("http://{}/", target.address());
    let run = run_file(
        Path::new(&url),
        &["--cores", "1", "--rate", "200", "-d", "500ms"],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.count("iterations"), 100);
}

#[test]
fn the_printed_plan_is_sound_and_gives_the_same_run() {
    let target = target();
    let url = format!("http://{}/echo", target.address());
    let flags = [
        "-c",
        "3",
        "-n",
        "9",
        "-H",
        "X-A: yes",
        "-H",
        "accept: text/html",
        "-b",
        "a: ${vu}",
    ];
    let (code, plan, said) = output(&[&["run", "--print-plan", &url], &flags[..]].concat());
    assert_eq!((code, said.as_str()), (0, ""));
    let from_plan = run_plan(&plan, &["--cores", "1"]);
    let from_url = run_file(Path::new(&url), &[&["--cores", "1"], &flags[..]].concat());
    assert_eq!(
        (from_plan.count("http_reqs"), from_url.count("http_reqs")),
        (9, 9)
    );
    assert_eq!(
        from_plan.summary["plan_hash"],
        from_url.summary["plan_hash"]
    );
    assert_eq!(from_plan.summary["name"], url.as_str());
}

#[test]
fn the_plan_that_would_run_is_printed_with_overlay_and_flags_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    fs::write(
        &path,
        "env: { big: { scenarios: { s: { vus: 9 } } } }\nscenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    \
         duration: 1s\n    flow: [ { request: { url: \"http://127.0.0.1:1/\" } } ]\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let (code, plan, _) = output(&["run", path, "-e", "big", "-d", "90", "--print-plan"]);
    assert_eq!(code, 0);
    assert_eq!(
        plan,
        "scenarios:\n  s:\n    executor: constant-vus\n    vus: 9\n    duration: 1m30s\n    flow:\n      - request:\n          \
         url: http://127.0.0.1:1/\n"
    );
}

/// The built-in target with TLS.
fn tls_target() -> Target {
    Target::start(&Settings {
        is_tls: true,
        ..Settings::loopback()
    })
    .unwrap()
}

#[test]
fn a_target_with_a_certificate_of_its_own_is_loaded_insecurely() {
    let target = tls_target();
    let url = format!("https://{}/", target.address());
    let flags = ["--cores", "1", "-c", "1", "-n", "5"];
    let run = run_file(Path::new(&url), &flags);
    assert_eq!(run.failed(), 5, "{}", run.stdout);
    assert!(
        run.stdout.contains("`--insecure` trusts anyone"),
        "{}",
        run.stdout
    );
    let run = run_file(Path::new(&url), &[&flags[..], &["-k"]].concat());
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stdout);
    assert_eq!(run.count("http_reqs"), 5);

    // The same over a plan, which has another base URL.
    let plan = "defaults: { http: { base_url: 'http://127.0.0.1:1' } }\nscenarios:\n  s: { executor: shared-iterations, vus: 1, \
                iterations: 5, flow: [ { request: { url: /echo } } ] }\n";
    let base = format!("https://{}", target.address());
    let run = run_plan(plan, &["--cores", "1", "--base-url", &base, "--insecure"]);
    assert_eq!((run.code, run.failed()), (0, 0), "{}", run.stdout);
    assert_eq!(run.requests_with("method", "GET"), 5);
}

#[test]
fn tls_where_there_is_none_and_the_other_way_round_are_told() {
    let (plain, tls) = (target(), tls_target());
    for (url, kind, told) in [
        (
            format!("https://{}/", plain.address()),
            " tls ",
            "what answers there speaks no TLS: write `http://`",
        ),
        (
            format!("http://{}/", tls.address()),
            " protocol ",
            "what answers there speaks TLS: write `https://`",
        ),
    ] {
        let run = run_file(Path::new(&url), &["--cores", "1", "-c", "1", "-n", "3"]);
        assert_eq!(run.failed(), 3, "{}", run.stdout);
        assert!(
            run.stdout.contains(kind) && run.stdout.contains(told),
            "{url}: {}",
            run.stdout
        );
    }
}

#[test]
fn what_looks_like_a_url_without_its_scheme_is_told() {
    for (plan, help) in [
        ("127.0.0.1:8080", "a URL begins with `http://`"),
        ("localhost:8080/orders", "a URL begins with `http://`"),
        ("-", "not from standard input"),
    ] {
        let (code, _, said) = output(&["run", plan]);
        assert_eq!(code, 1);
        assert!(
            said.contains("cannot be read") && said.contains(help),
            "{said}"
        );
    }
    let (_, _, said) = output(&["run", "no-such-plan.yaml"]);
    assert!(!said.contains("help"), "{said}");
}

#[test]
fn the_folder_of_histograms_is_made() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results/host.hlog");
    let url = format!("http://{}/", target.address());
    let flags = ["-n", "1", "--histograms", file.to_str().unwrap()];
    let run = run_file(Path::new(&url), &flags);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(file.is_file());
}

#[test]
fn flags_that_do_not_fit_are_said_to() {
    let quickstart = repository("examples/quickstart.yaml");
    let quickstart = quickstart.to_str().unwrap();
    for (args, part) in [
        (&["run", quickstart, "-H", "a: b"][..], "go with a URL"),
        (&["run", "http://127.0.0.1:1/", "-e", "x"], "a URL has none"),
        (
            &["run", "http://127.0.0.1:1/", "-n", "5", "--rate", "5"],
            "--duration",
        ),
        (&["run", "ftp://127.0.0.1/"], "`ftp://`"),
        (
            &["run", "http://127.0.0.1:1/", "-c", "4000000000"],
            "vus: `4000000000` is more than",
        ),
        (
            &["run", "http://127.0.0.1:1/", "--embedded-target"],
            "--embedded-target is for plans",
        ),
        (
            &["run", "http://127.0.0.1:1/", "--base-url", "http://h"],
            "--base-url is for plans",
        ),
        (
            &["run", "http://127.0.0.1:1/${vars.x}"],
            "there is no variable `x`",
        ),
        (
            &["run", "http://127.0.0.1:1/", "-H", "a: 1", "-H", "A: 2"],
            "given twice",
        ),
        (
            &["run", quickstart, "--rate", "5"],
            "no scenario has anything for it to replace",
        ),
        (
            &["run", quickstart, "--iterations", "5"],
            "`orders` is `constant-vus`",
        ),
        (
            &["run", quickstart, "--tags", "x"],
            "no scenario has `tags`",
        ),
    ] {
        let (code, out, said) = output(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(part),
            "{args:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
    // These clap itself refuses, with the code for wrong arguments.
    for args in [
        &["run", quickstart, "--rate", "-1"][..],
        &["run", quickstart, "--rate", "nan"],
        &["run", quickstart, "--vus", "0"],
        &["run", quickstart, "-d", "soon"],
        &["run", "http://h/", "-H", "no colon"],
        &[
            "run",
            quickstart,
            "--embedded-target",
            "--base-url",
            "http://h",
        ],
    ] {
        assert_eq!(output(args).0, 2, "{args:?}");
    }
}

#[test]
fn a_mistake_is_shown_with_its_line_before_a_run_too() {
    let run = run_plan(
        "scenarios:\n  s:\n    executor: constant-vus\n    vus: 0\n    duration: x\n    flow: []\n",
        &[],
    );
    assert_eq!(run.code, 1);
    for part in [
        "plan.yaml:4:10: scenarios.s.vus: ",
        "\n  4 |     vus: 0\n    |          ^\n",
        "\nerror: ",
        "plan.yaml:5:15: scenarios.s.duration: ",
    ] {
        assert!(
            run.stderr.contains(part),
            "{part:?} is not in:\n{}",
            run.stderr
        );
    }
}

#[test]
fn the_schema_is_json_and_completions_are_scripts() {
    let (code, schema, _) = output(&["schema"]);
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(schema["$defs"]["request"]["properties"]["url"]["description"].is_string());
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef loadr-fast"),
        ("fish", "complete -c loadr-fast"),
    ] {
        let (code, script, _) = output(&["completions", shell]);
        assert!(code == 0 && script.contains(part), "{shell}");
    }
}

#[test]
fn every_command_has_an_example_in_its_help() {
    for command in ["run", "validate", "schema", "completions"] {
        let (code, help, _) = output(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(
            help.contains("Example") && help.contains(&format!("loadr-fast {command}")),
            "{help}"
        );
    }
    let (_, help, _) = output(&["--help"]);
    assert!(help.contains("loadr-fast run http://"), "{help}");
}
