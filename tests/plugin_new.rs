//! `plugin new`: what it writes builds with the tools that the guests under `examples/plugins` are built with, and works.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{loadr, repository, run_file};

/// Runs `plugin new` in `folder`; the exit code and standard error.
fn new(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = loadr()
        .current_dir(folder)
        .args(["plugin", "new"])
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Builds the project; false when the tools for it are not there and need not be.
fn build(project: &Path, script: &str) -> bool {
    let output = Command::new(repository("examples/plugins").join(script))
        .arg(project)
        // A test fetches nothing: the tools are there or they are not.
        .env("LOADR_OFFLINE", "1")
        // Built once for all tests that ever run here.
        .env(
            "PLUGIN_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"),
        )
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let required = std::env::var_os("LOADR_REQUIRE_GUESTS").is_some_and(|v| v == "1");
    if output.status.code() == Some(3) && !required {
        use std::io::Write;
        // The raw stream: the test harness hides what `eprintln!` says of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {stderr}");
        return false;
    }
    assert!(
        output.status.success(),
        "{}{stderr}",
        String::from_utf8_lossy(&output.stdout)
    );
    true
}

fn a_project_builds_and_its_plan_passes(language: &str, kind: &str, script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("my-{language}-{kind}");
    let (code, stderr) = new(folder.path(), &["--lang", language, "--kind", kind, &name]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let project = folder.path().join(&name);
    for text in files(&project)
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
    {
        assert!(!text.contains("{{"), "a place was left unfilled: {text}");
    }
    if !build(&project, script) {
        return;
    }
    let flags = ["--embedded-target", "--cores", "1", "--duration", "300ms"];
    let run = run_file(&project.join("plan.yaml"), &flags);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.count("iterations") > 0);
    assert_eq!(run.count("plugin_calls"), run.count("iterations"));
    assert_eq!(
        (run.count("plugin_errors"), run.failed()),
        (0, 0),
        "{:#}",
        run.summary["errors"]
    );
}

#[test]
fn a_rust_project_builds_and_its_plan_passes() {
    a_project_builds_and_its_plan_passes("rust", "extractor", "build-rust.sh");
    a_project_builds_and_its_plan_passes("rust", "assertion", "build-rust.sh");
}

#[test]
fn a_python_project_builds_and_its_plan_passes() {
    a_project_builds_and_its_plan_passes("python", "assertion", "build-others.sh");
}

#[test]
fn a_javascript_project_builds_and_its_plan_passes() {
    a_project_builds_and_its_plan_passes("javascript", "extractor", "build-others.sh");
}

#[test]
fn a_go_project_builds_and_its_plan_passes() {
    a_project_builds_and_its_plan_passes("go", "extractor", "build-others.sh");
    a_project_builds_and_its_plan_passes("go", "assertion", "build-others.sh");
}

#[test]
fn a_name_that_will_not_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(65);
    for name in ["", "Big", "1st", "-x", "a_b", "a/b", "..", "ä", &long] {
        let (code, stderr) = new(folder.path(), &["--lang", "go", "--", name]);
        assert_eq!(code, 2, "{name}");
        assert!(stderr.contains("a name is a lower-case letter"), "{stderr}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_there_already_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/precious"), "x").unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    for (directory, message) in [
        ("mine", "not empty"),
        ("file", "cannot write"),
        ("file/deeper", "cannot write"),
    ] {
        let (code, stderr) = new(
            folder.path(),
            &["--lang", "python", "--dir", directory, "p"],
        );
        assert_eq!(code, 1);
        assert!(stderr.contains(message), "{stderr}");
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "something was left behind"
    );
    assert_eq!(fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);
}

#[test]
fn an_empty_directory_and_one_whose_parents_are_missing_will_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for directory in ["empty", "a/b/c"] {
        assert_eq!(
            new(
                folder.path(),
                &["--lang", "javascript", "--dir", directory, "p"]
            )
            .0,
            0
        );
        assert!(folder.path().join(directory).join("plugin.toml").is_file());
    }
    assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
}

#[test]
fn the_templates_agree_with_the_examples_on_versions_and_generated_code() {
    let read = |path: &str| fs::read_to_string(repository(path)).unwrap();
    let (tools, templates) = ("examples/plugins/tools", "src/plugin/templates");
    let pins = read(&format!("{tools}/package.json")) + &read(&format!("{tools}/requirements.txt"));
    for path in [
        "javascript/package.json",
        "go/package.json",
        "python/requirements.txt",
    ] {
        let text = read(&format!("{templates}/{path}"));
        let pinned = text
            .lines()
            .filter(|line| line.contains("@byte") || line.contains("=="));
        for line in pinned {
            assert!(pins.contains(line.trim()), "{path}: {line}");
        }
    }
    let go = "examples/plugins/query-value";
    for (template, example) in [
        ("go/component.mjs", format!("{tools}/component.mjs")),
        ("go/go.mod.txt", format!("{go}/go.mod")),
        ("go/heap.go", format!("{go}/heap/heap.go")),
        (
            "go/meta_bindings.go",
            format!("{go}/loadr_plugin_meta/wit_bindings.go"),
        ),
        (
            "go/extractor/wit_exports.go",
            format!("{go}/wit_exports.go"),
        ),
    ] {
        assert_eq!(
            read(&format!("{templates}/{template}")),
            read(&example),
            "{template}"
        );
    }
}

/// All files under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
