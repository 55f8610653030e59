//! What is wrong is said once, clearly, with exit code 1, and before anything is sent.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use common::{loadr, repository, run_file, run_plan};

/// A plan that is right but for what a test puts in.
fn plan(base_url: &str, plugins: &str, request: &str) -> String {
    format!(
        "defaults:\n  http:\n    base_url: {base_url}\nplugins: [{plugins}]\nscenarios:\n  s:\n    \
         executor: per-vu-iterations\n    vus: 1\n    iterations: 1\n    flow:\n      - request: {{ {request} }}\n"
    )
}

/// Runs a plan that cannot be run: the one message.
fn refused(text: &str, flags: &[&str]) -> String {
    let run = run_plan(text, flags);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    // What is said of this machine, which may be busy, comes first.
    let mut lines = run.stderr.lines();
    let first = lines.find(|line| !line.starts_with("warning: "));
    assert!(
        first.is_some_and(|line| line.starts_with("error: ")),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("stack backtrace"), "{}", run.stderr);
    run.stderr
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let run = run_file(Path::new("/no/such/plan.yaml"), &[]);
    assert_eq!(run.code, 1);
    assert_says(&run.stderr, &["/no/such/plan.yaml", "No such file"]);
}

#[test]
fn bad_yaml_is_located() {
    let message = refused("scenarios:\n  s: [unclosed\n", &[]);
    assert_says(&message, &["plan.yaml:"]);
}

#[test]
fn an_unknown_key_is_located_and_the_right_one_named() {
    let message = refused(&plan("http://127.0.0.1:1", "", "urll: /"), &[]);
    assert_says(
        &message,
        &["plan.yaml:11:", "scenarios.s.flow[0].request.urll", "`url`"],
    );
}

#[test]
fn a_feature_that_does_not_exist_yet_is_refused_by_name_and_not_ignored() {
    let text =
        plan("http://127.0.0.1:1", "", "url: /") + "      - while: { condition: x, steps: [] }\n";
    assert_says(&refused(&text, &[]), &["plan.yaml:12:", "while"]);
}

#[test]
fn a_host_that_has_no_address_is_named_where_it_is_written() {
    let message = refused(&plan("http://no-such-host.invalid:8080", "", "url: /"), &[]);
    assert_says(&message, &["plan.yaml:", "no-such-host.invalid", "help:"]);
}

#[test]
fn a_port_that_refuses_is_named_where_it_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let message = refused(&plan(&format!("http://{address}"), "", "url: /"), &[]);
    assert_says(
        &message,
        &[
            "plan.yaml:11:",
            &address.to_string(),
            "Connection refused",
            "help:",
        ],
    );
}

/// A plugin file with these bytes, in a plan that uses it as an extractor.
fn refused_plugin(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.wasm"), bytes).unwrap();
    let text = plan(
        "http://127.0.0.1:1",
        "{ name: p, path: p.wasm }",
        "url: /, extract: [{ type: plugin, name: x, plugin: p }]",
    );
    let path = folder.path().join("plan.yaml");
    fs::write(&path, text).unwrap();
    let run = run_file(&path, &[]);
    assert_eq!(run.code, 1);
    run.stderr
}

#[test]
fn a_plugin_that_is_no_component_is_named_with_what_it_is() {
    let message = refused_plugin(b"#!/bin/sh\n");
    assert_says(&message, &["plan.yaml:4:", "plugin `p`", "p.wasm"]);
    let message = refused_plugin(&wat::parse_str("(module)").unwrap());
    assert_says(&message, &["plugin `p`", "p.wasm", "component"]);
}

#[test]
fn a_component_with_the_wrong_exports_is_named_with_what_it_lacks() {
    let message = refused_plugin(&wat::parse_str("(component)").unwrap());
    assert_says(&message, &["plugin `p`", "p.wasm", "loadr:plugin/"]);
}

#[test]
fn an_assertion_used_as_an_extractor_is_named_where_it_is_used() {
    let path = repository("examples/plugins/order-check");
    let text = plan(
        "http://127.0.0.1:1",
        &format!("{{ name: p, path: \"{}\" }}", path.display()),
        "url: /, extract: [{ type: plugin, name: x, plugin: p }]",
    );
    let message = refused(&text, &[]);
    assert_says(
        &message,
        &["plan.yaml:11:", "`p` is no extractor", "assertion"],
    );
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let text = plan(
        "http://127.0.0.1:1",
        "{ name: p, path: ./gone.wasm }",
        "url: /",
    );
    assert_says(
        &refused(&text, &[]),
        &["plan.yaml:4:", "plugin `p`", "gone.wasm"],
    );
}

#[test]
fn more_cores_than_there_are_is_refused_with_their_number() {
    let message = refused(
        &plan("http://127.0.0.1:1", "", "url: /"),
        &["--cores", "1000"],
    );
    assert_says(
        &message,
        &["1000 cores", "this process may use", "--oversubscribe"],
    );
}

#[test]
fn wrong_flags_are_refused_with_what_to_write() {
    for (flag, value, part) in [
        ("--cores", "x", "2-9,12"),
        ("--duration", "5x", "5x"),
        ("--vus", "0", "0"),
        ("--duration", "-1s", "--duration"),
    ] {
        let output = loadr()
            .args(["run", &format!("{flag}={value}"), "plan.yaml"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        assert_says(&String::from_utf8(output.stderr).unwrap(), &[part]);
    }
}

#[test]
fn a_summary_that_cannot_be_written_is_known_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    fs::write(&path, plan("http://127.0.0.1:1", "", "url: /")).unwrap();
    let output = loadr()
        .args(["run", "--summary-export", "/no/such/folder/s.json"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    // The port refuses too; that would have been said had it been tried.
    assert_says(
        &String::from_utf8(output.stderr).unwrap(),
        &["/no/such/folder/s.json"],
    );
}

/// Runs the quickstart under a shell command that ends in `exec "$@"`.
fn quickstart_under(shell: &str) -> Output {
    Command::new("sh")
        .args([
            "-c",
            shell,
            "sh",
            env!("CARGO_BIN_EXE_loadr-fast"),
            "run",
            "--embedded-target",
            "--duration",
            "200ms",
        ])
        .arg(repository("examples/quickstart.yaml"))
        .output()
        .unwrap()
}

#[test]
fn a_memlock_limit_that_is_too_low_is_named_with_the_command_that_mends_it() {
    let output = quickstart_under("ulimit -l 64 && exec \"$@\"");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_says(&message, &["locked memory", "64 KiB", "ulimit -l"]);
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn a_limit_on_open_files_that_is_too_low_is_named_with_the_command_that_mends_it() {
    let output = quickstart_under("ulimit -n 100 && exec \"$@\" --vus 5000");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_says(&message, &["5000 virtual users", "ulimit -n"]);
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn too_few_open_files_for_the_shards_are_named_and_nothing_hangs() {
    let output = quickstart_under("ulimit -n 340 && exec \"$@\" --cores 60 --oversubscribe");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_says(&message, &["60 cores", "ulimit -n"]);
    assert!(!message.contains("panicked"), "{message}");
}

/// A seccomp filter that answers io_uring_setup with an error number, then runs the command: as a container's
/// default profile does. In Perl, because that is part of every Debian and needs no privilege.
const WITHOUT_IO_URING: &str = r#"
    my $errno = shift;
    my $filter = pack("SCCL", 0x20, 0, 0, 0)                # load the number of the call
               . pack("SCCL", 0x15, 0, 1, 425)              # io_uring_setup?
               . pack("SCCL", 0x06, 0, 0, 0x00050000 | $errno)
               . pack("SCCL", 0x06, 0, 0, 0x7fff0000);
    my $program = pack("Sx6P", 4, $filter);
    syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
    syscall(157, 22, 2, $program) == 0 or die "seccomp: $!";
    exec @ARGV;
"#;

#[test]
fn a_kernel_without_what_the_ring_needs_is_named() {
    if !cfg!(target_arch = "x86_64") || Command::new("perl").arg("-v").output().is_err() {
        eprintln!("SKIPPED: a_kernel_without_what_the_ring_needs_is_named (needs perl on x86-64)");
        return;
    }
    for (errno, parts) in [
        (38, ["this kernel has no io_uring", "6.1"]),
        (1, ["io_uring is forbidden", "kernel.io_uring_disabled"]),
        (22, ["lacks what is needed", "6.1"]),
    ] {
        let output = Command::new("perl")
            .args([
                "-e",
                WITHOUT_IO_URING,
                &errno.to_string(),
                env!("CARGO_BIN_EXE_loadr-fast"),
                "run",
            ])
            .arg("--embedded-target")
            .arg(repository("examples/quickstart.yaml"))
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_says(&message, &parts);
        assert!(!message.contains("panicked"), "{message}");
    }
}
