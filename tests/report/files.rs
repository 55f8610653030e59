//! Files that are no summaries, and places that cannot be written.

use std::fs;
use std::path::Path;

use super::common::target;
use super::{output, run};

#[test]
fn the_format_follows_the_name_of_the_output() {
    let files = run();
    for (name, begins) in [
        ("a.html", "<!doctype html>"),
        ("a.xml", "<?xml"),
        ("a.md", "## "),
    ] {
        let path = files.path(name);
        assert_eq!(
            output(&["report", &files.path("run.hlog"), "-o", &path]).0,
            0
        );
        assert!(
            fs::read_to_string(path).unwrap().starts_with(begins),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_summary_is_said_and_nothing_is_written() {
    let files = run();
    let text = fs::read_to_string(files.path("summary.json")).unwrap();
    let cases = [
        (
            "cut.json",
            text[..text.len() / 2].to_owned(),
            "it ends in the middle",
        ),
        (
            "newer.json",
            text.replace("\"format\": 1", "\"format\": 2"),
            "it has format 2",
        ),
        ("other.json", "{\"results\": 3}".to_owned(), "missing field"),
        (
            "wrong.json",
            text.replace("\"duration_secs\": ", "\"duration_secs\": \"x\", \"was\": "),
            "line ",
        ),
        ("empty.json", String::new(), "it ends in the middle"),
        ("deep.json", "[".repeat(1 << 20), "invalid type"),
    ];
    let out = files.path("nothing.html");
    for (name, text, says) in cases {
        fs::write(files.path(name), text).unwrap();
        let (code, stdout, stderr) = output(&["report", &files.path(name), "-o", &out]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{name}");
        assert!(
            stderr.contains(name) && stderr.contains(says),
            "{name}: {stderr}"
        );
    }
    let (code, _, stderr) = output(&["report", "/no/such.json"]);
    assert!(
        code == 1 && stderr.contains("/no/such.json: No such file"),
        "{stderr}"
    );
    assert!(!Path::new(&out).exists());
    let two = files.path("summary.json");
    let (code, _, stderr) = output(&["report", &two, &two, "--format", "junit"]);
    assert!(code == 1 && stderr.contains("JUnit"), "{stderr}");
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_the_run() {
    let target = target();
    let url = format!("http://{}/", target.address());
    for flag in ["--summary-export", "--histograms", "--junit"] {
        let (code, stdout, stderr) =
            output(&["run", &url, "-n", "1", flag, "/no/such/folder/file"]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(
            stderr.contains("cannot write /no/such/folder/file"),
            "{stderr}"
        );
    }
    let (code, stdout, stderr) = output(&[
        "run",
        &url,
        "-n",
        "1",
        "--junit",
        "/tmp/x",
        "--histograms",
        "/tmp/x",
    ]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("--histograms and --junit would both write /tmp/x"),
        "{stderr}"
    );
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_file_and_costs_no_other_file() {
    let target = target();
    let url = format!("http://{}/", target.address());
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let (code, stdout, stderr) = output(&[
        "run",
        &url,
        "--cores",
        "1",
        "-n",
        "5",
        "-c",
        "1",
        "--summary-export",
        "/dev/full",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cannot write /dev/full: No space left on device"),
        "{stderr}"
    );
    assert!(stdout.contains("http_reqs"), "the summary is still printed");
    assert!(fs::read_to_string(junit).unwrap().contains("</testsuites>"));

    // A disk of 64 KiB, where the system lets a test have one.
    let script = "mount -t tmpfs -o size=64k none \"$1\" || exit 77\n\
        head -c 56k /dev/zero > \"$1/other\"\n\
        \"$2\" run \"$3\" --cores 1 -n 5 -c 1 --quiet --histograms \"$1/run.hlog\"; echo \"code $?\"; ls -A \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .args([env!("CARGO_BIN_EXE_loadr-fast"), &url])
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) && !output.stdout.is_empty() => output,
        _ => return eprintln!("skipped: no mount of its own"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stdout, "code 1\nother\n", "{stderr}");
    assert!(
        stderr.contains("run.hlog: No space left on device"),
        "{stderr}"
    );
}
