//! Which files are parts of one load.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::common::{loadr, wait_until};
use super::server::Server;
use super::{assert_success, text, write};

#[test]
fn only_parts_of_one_load_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let plan = format!(
        "defaults: {{ http: {{ base_url: 'http://{}' }} }}
data: {{ d: {{ type: csv, path: rows.csv }} }}
scenarios: {{ s: {{ executor: shared-iterations, vus: 4, iterations: 8, flow: [ {{ request: {{ url: '/s/${{data.d.n}}/${{env.WHO}}' }} }} ] }} }}
",
        server.address
    );
    let plan = write(folder.path(), "plan.yaml", &plan);
    let run = |name: &str, rows: &str, who: &str, flags: &[&str]| -> PathBuf {
        write(folder.path(), "rows.csv", rows);
        let log = folder.path().join(name);
        let mut command = loadr();
        command
            .args(["run", "--quiet", "--cores", "1", "--histograms"])
            .arg(&log)
            .args(flags)
            .arg(&plan);
        assert_success(&[command.env("WHO", who).output().unwrap()]);
        log
    };
    let rows = "n\n1\n2\n";
    let seed = ["--seed", "5", "--segment"];
    let with = |segment| [&seed[..], &[segment]].concat();
    let first = run("first", rows, "a", &with("0/2"));
    let second = run("second", rows, "a", &with("1/2"));
    let merge = |other: &Path| {
        let output = loadr()
            .args(["merge", "--quiet"])
            .args([&first, other])
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output.stderr))
    };
    // They were not started together, which the verdict says and nothing fails for.
    assert_eq!(merge(&second).0, 0);
    for (other, says) in [
        (
            run(
                "other-seed",
                rows,
                "a",
                &["--seed", "6", "--segment", "1/2"],
            ),
            "their seeds are 6 and 5",
        ),
        (
            run("other-rows", "n\n3\n", "a", &with("1/2")),
            "not the data files",
        ),
        (
            run("other-name", rows, "b", &with("1/2")),
            "the variables of the environment",
        ),
        (
            run("whole", rows, "a", &["--seed", "5"]),
            "of a run of the whole plan",
        ),
        (
            run("again", rows, "a", &with("0/2")),
            "segment 0 of 2 is there twice",
        ),
        (
            run("of-three", rows, "a", &with("1/3")),
            "one of 3 segments, others are of 2",
        ),
    ] {
        let (code, stderr) = merge(&other);
        assert!(code == 1 && stderr.contains(says), "{stderr}");
    }
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let log = fs::read_to_string(&second).unwrap();
    assert!(log.contains(&version));
    let other = write(
        folder.path(),
        "other-version",
        &log.replacen(&version, "\"version\":\"0.0.1\"", 1),
    );
    let (code, stderr) = merge(&other);
    assert!(
        code == 1 && stderr.contains("made by loadr-fast 0.0.1"),
        "{stderr}"
    );
    let cut = write(folder.path(), "cut", &log[..log.len() * 2 / 3]);
    let (code, stderr) = merge(&cut);
    assert!(code == 1 && stderr.contains("cut"), "{stderr}");

    // Another hour: what is said of two segments that did not begin together.
    let started = log.find("\"started_ms\":").unwrap() + "\"started_ms\":".len();
    let digits = log[started..].find(',').unwrap();
    let at: u64 = log[started..started + digits].parse().unwrap();
    let later = format!(
        "{}{}{}",
        &log[..started],
        at + 2_400,
        &log[started + digits..]
    );
    let later = write(folder.path(), "later", &later);
    let out = folder.path().join("later.json");
    let output = loadr()
        .args(["merge", "--quiet", "-o"])
        .arg(&out)
        .args([&first, &later])
        .output()
        .unwrap();
    assert_success(&[output]);
    let summary: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let reasons = summary["generator"]["reasons"].to_string();
    assert!(reasons.contains("did not begin together"), "{reasons}");
    wait_until(|| server.len() >= 16);
}
