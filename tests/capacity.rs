//! `capacity` against real servers. Load on a machine that does other things as well is judged loosely; how close the
//! search comes to a known truth is in `engine/capacity/tests`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use loadr_target::{Settings, Target};

use common::{interrupt, loadr, repository, target, wait_until};
use serde_json::Value;

/// A search that has ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
    result: Value,
    folder: tempfile::TempDir,
}

impl Ended {
    /// What was said, whole.
    fn said(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Runs `capacity` on one core with short probes, in a folder of its own.
fn capacity(place: &str, flags: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("result.json");
    let output = loadr()
        .current_dir(folder.path())
        .args([
            "capacity",
            place,
            "--cores",
            "1",
            "--step-duration",
            "2s",
            "--confirm",
            "3s",
        ])
        .arg("--json")
        .arg(&json)
        .args(["--report", "report.html"])
        .args(flags)
        .output()
        .unwrap();
    let ended = Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        result: fs::read_to_string(&json)
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()),
        folder,
    };
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

/// A schema is held against the file by the language's own rules for it.
fn assert_is_of_schema(result: &Value) {
    let output = loadr().args(["schema", "--capacity"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(result)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// The state beside the result, as far as it is of interest here.
fn probes_on_disk(ended: &Ended) -> usize {
    let text = fs::read_to_string(ended.folder.path().join("result.json.state")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    state["probes"].as_array().unwrap().len()
}

#[test]
fn eight_places_of_four_milliseconds_are_found_to_make_two_thousand_a_second() {
    let target = target();
    let url = format!("http://{}/slots/4", target.address());
    let flags = [
        "--slo",
        "p(99)<100ms",
        "--min-rate",
        "250",
        "--precision",
        "5%",
        "--target",
        "1000/s",
    ];
    let ended = capacity(&url, &flags);
    // A machine that does other things can make the generator the bottleneck, which is then what is said.
    if ended.code == 98 {
        assert!(
            ended.stdout.contains("limited by this generator"),
            "{}",
            ended.said()
        );
        return;
    }
    assert!(matches!(ended.code, 0 | 95), "{}", ended.said());
    assert_is_of_schema(&ended.result);
    let boundary = ended.result["boundary"]["rate"].as_f64().unwrap();
    assert!((1400.0..=2200.0).contains(&boundary), "{}", ended.said());
    let probes = ended.result["probes"].as_array().unwrap();
    assert!(probes.iter().any(|p| p["verdict"] == "broke"));
    // The last of doubling is far above: it was ended early, and said why.
    let early = probes.iter().find(|p| p["abandoned"].is_string());
    assert!(early.is_none_or(|p| p["abandoned"].as_str().unwrap().contains("p(99)<100ms")));
    assert_eq!(probes_on_disk(&ended), probes.len());
    let page = fs::read_to_string(ended.folder.path().join("report.html")).unwrap();
    assert!(
        page.contains("Response time by rate") && page.contains("slots"),
        "{page}"
    );
    if ended.code == 0 {
        assert!(ended.result["sustained"]["rate"].as_f64().unwrap() <= 2200.0);
        assert!(ended.stdout.contains("% of it"), "{}", ended.stdout);
    }
}

#[test]
fn a_limit_on_requests_in_nginx_is_found_by_the_requests_that_it_refuses() {
    let test = "a_limit_on_requests_in_nginx_is_found_by_the_requests_that_it_refuses";
    let Some((mut nginx, address, _folder)) = nginx(test) else {
        return;
    };
    // No page says how long it takes: what breaks is that more than 1 % are refused.
    let plan = format!(
        "defaults: {{ http: {{ base_url: \"http://{address}\" }} }}\n\
         capacity: {{ slo: [\"p(99)<5s\", \"http_req_failed<0.01\"], min_rate: 50/s, precision: 5% }}\n\
         scenarios:\n  page:\n    executor: constant-vus\n    vus: 2\n    duration: 1s\n    flow:\n\
         \x20     - request: {{ url: /page }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    fs::write(&path, plan).unwrap();
    let ended = capacity(path.to_str().unwrap(), &[]);
    let _ = Command::new("kill").arg(nginx.id().to_string()).status();
    let _ = nginx.wait();
    assert!(matches!(ended.code, 0 | 95 | 98), "{}", ended.said());
    if ended.code != 98 {
        let boundary = ended.result["boundary"]["rate"].as_f64().unwrap();
        assert!((400.0..=620.0).contains(&boundary), "{}", ended.said());
        assert_eq!(ended.result["boundary"]["slo"], "http_req_failed: <0.01");
    }
    assert_is_of_schema(&ended.result);
}

/// nginx that lets 500 requests a second through and refuses the rest.
fn nginx(test: &str) -> Option<(Child, std::net::SocketAddr, tempfile::TempDir)> {
    let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let Some(binary) = binary else {
        eprintln!("SKIPPED: {test} (nginx is not installed)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000;\n  limit_req_zone $server_name zone=all:1m rate=500r/s;\n  \
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u;\n  \
         scgi_temp_path {at}/s;\n  server {{ listen {address}; server_name all;\n    \
         location / {{ limit_req zone=all burst=20 nodelay; return 200 ok; }}\n    \
         location /page {{ limit_req zone=all burst=20 nodelay; try_files /none @page; }}\n    \
         location @page {{ return 200 ok; }} }}\n}}\n"
    );
    fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let child = Command::new(binary)
        .args(["-e", "stderr", "-c"])
        .arg(folder.path().join("nginx.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| std::net::TcpStream::connect(address).is_ok());
    Some((child, address, folder))
}

#[test]
fn what_is_not_found_ends_with_a_true_sentence_a_code_of_its_own_and_its_probes_on_disk() {
    let target = target();
    let base = format!("http://{}", target.address());
    // Nothing is answered within a second that takes two.
    let slow = capacity(&format!("{base}/delay/2000"), &["--slo", "p(99)<1s"]);
    assert_eq!(slow.code, 91, "{}", slow.said());
    assert!(
        slow.stdout
            .contains("does not hold its objectives at the lowest rate"),
        "{}",
        slow.said()
    );
    assert_eq!(probes_on_disk(&slow), 2);
    assert_is_of_schema(&slow.result);

    let idle = capacity(
        &format!("{base}/"),
        &["--slo", "p(99)<5s", "--min-rate", "20", "--max-rate", "50"],
    );
    assert_eq!(idle.code, 92, "{}", idle.said());
    assert!(idle.stdout.contains("nothing broke"), "{}", idle.said());
    assert_eq!(idle.result["sustained"]["rate"], 50.0);

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let down = capacity(&format!("http://{free}/"), &["--slo", "p(99)<20ms"]);
    assert_eq!(down.code, 93, "{}", down.said());
    assert!(
        down.stdout.contains("Nothing was measured"),
        "{}",
        down.said()
    );
    assert_is_of_schema(&down.result);

    for (slo, part) in [
        ("p(99)<0", "contradicts itself"),
        ("p(99)>1s", "contradicts every other"),
        ("http_req_failed<0", "contradicts itself"),
        ("http_req_duration: p(99)<5ms", "http_req_response"),
    ] {
        let wrong = capacity(&base, &["--slo", slo]);
        assert_eq!(wrong.code, 90, "{}", wrong.said());
        assert!(wrong.stderr.contains(part), "{}", wrong.said());
    }
    for (flags, part) in [
        (vec![], "nothing says what must hold"),
        (vec!["--slo", "p(99)<1s", "--growth", "3%"], "--target"),
        (
            vec!["--slo", "p(99)<1s", "--min-rate", "9", "--max-rate", "5"],
            "above the highest",
        ),
        (
            vec!["--slo", "p(99)<1s", "--scenario", "request"],
            "requests",
        ),
        (
            vec!["--slo", "p(99)<1s", "--resume", "none.json"],
            "cannot go on",
        ),
    ] {
        let wrong = capacity(&base, &flags);
        assert_eq!(wrong.code, 1, "{}", wrong.said());
        assert!(wrong.stderr.contains(part), "{part}: {}", wrong.said());
    }
}

#[test]
fn a_target_that_dies_is_told_from_one_that_is_full() {
    let target = target();
    let url = format!("http://{}/", target.address());
    let folder = tempfile::tempdir().unwrap();
    let child = search(folder.path(), &url);
    wait_until(|| {
        state(folder.path()).is_some_and(|s| s["probes"].as_array().is_some_and(|p| !p.is_empty()))
    });
    target.stop();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(94), "{stdout}\n{stderr}");
    assert!(stdout.contains("stopped answering"), "{stdout}");
    assert!(stdout.contains("So far"), "{stdout}");
}

#[test]
fn a_certificate_that_nobody_trusts_is_named_as_what_is_in_the_way() {
    let target = Target::start(&Settings {
        is_tls: true,
        ..Settings::loopback()
    })
    .unwrap();
    let url = format!("https://{}/", target.address());
    let flags = ["--slo", "p(99)<1s"];
    let refused = capacity(&url, &flags);
    assert_eq!(refused.code, 94, "{}", refused.said());
    // Lines are broken where they are full.
    let words: Vec<&str> = refused.stdout.split_whitespace().collect();
    let text = words.join(" ");
    assert!(
        text.contains("the most frequent error was `tls`, of which `loadr-fast run` shows"),
        "{}",
        refused.said()
    );
    let more = ["--max-rate", "20", "--insecure"];
    let taken = capacity(&url, &[&flags[..], &more].concat());
    assert!(matches!(taken.code, 92 | 95 | 98), "{}", taken.said());
    assert!(
        taken.result["probes"][0]["measured"]["requests"]
            .as_u64()
            .is_some_and(|requests| requests > 0),
        "{:#}",
        taken.result
    );
}

#[test]
fn a_search_that_is_interrupted_says_what_it_knows_and_goes_on_from_there() {
    let target = target();
    let url = format!("http://{}/", target.address());
    let folder = tempfile::tempdir().unwrap();
    let child = search(folder.path(), &url);
    let probes = || state(folder.path()).map_or(0, |s| s["probes"].as_array().map_or(0, Vec::len));
    wait_until(|| probes() >= 2);
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{stdout}");
    assert!(
        stdout.contains("interrupted") && stdout.contains("So far: it held"),
        "{stdout}"
    );
    let made = state(folder.path()).unwrap()["probes"].clone();
    // What was made is not made again.
    let again = loadr()
        .current_dir(folder.path())
        .args([
            "capacity",
            &url,
            "--slo",
            "p(99)<5s",
            "--cores",
            "1",
            "--step-duration",
            "2s",
            "--confirm",
            "1s",
        ])
        .args([
            "--min-rate",
            "20",
            "--max-rate",
            "100",
            "--resume",
            "url.capacity-state.json",
            "--json",
            "r.json",
        ])
        .output()
        .unwrap();
    let result: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("r.json")).unwrap()).unwrap();
    let whole = result["probes"].as_array().unwrap();
    let made = made.as_array().unwrap();
    for (then, now) in made.iter().zip(whole) {
        for figure in ["requests", "iterations", "shares"] {
            assert_eq!(then["measured"][figure], now["measured"][figure]);
        }
    }
    assert!(whole.len() > made.len());
    assert_eq!(
        again.status.code(),
        Some(92),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    // And not for another plan.
    let other = loadr()
        .current_dir(folder.path())
        .args([
            "capacity",
            &format!("{url}bytes/5"),
            "--slo",
            "p(99)<5s",
            "--cores",
            "1",
            "--step-duration",
            "2s",
        ])
        .args([
            "--confirm",
            "1s",
            "--min-rate",
            "20",
            "--max-rate",
            "100",
            "--resume",
            "url.capacity-state.json",
        ])
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("another plan"));
}

/// A search that takes some seconds, in `folder`.
fn search(folder: &Path, url: &str) -> Child {
    loadr()
        .current_dir(folder)
        .args([
            "capacity",
            url,
            "--slo",
            "p(99)<5s",
            "--cores",
            "1",
            "--step-duration",
            "2s",
            "--confirm",
            "1s",
        ])
        .args(["--min-rate", "20", "--max-rate", "100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The state file: whole, or not there.
fn state(folder: &Path) -> Option<Value> {
    let text = fs::read_to_string(folder.join("url.capacity-state.json")).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn the_example_plan_is_driven_by_its_own_block_with_its_flow_and_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let output = loadr()
        .current_dir(folder.path())
        .arg("capacity")
        .arg(repository("examples/capacity.yaml"))
        .args([
            "--embedded-target",
            "--cores",
            "1",
            "--step-duration",
            "1s",
            "--confirm",
            "1s",
        ])
        .args(["--min-rate", "10", "--max-rate", "40", "--json", "r.json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 91 | 92 | 95 | 98)),
        "{stderr}"
    );
    let result: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(result["scenario"], "order");
    let per_iteration = result["requests_per_iteration"].as_f64().unwrap();
    assert!((per_iteration - 2.0).abs() < 1e-9, "{result:#}");
    let slos = result["settings"]["slos"].as_array().unwrap();
    assert_eq!(slos.len(), 2);
}

/// A short search of a plan with outputs and thresholds.
fn short(folder: &Path, address: std::net::SocketAddr) -> Command {
    let plan = folder.join("plan.yaml");
    let text = format!(
        "scenarios:\n  s: {{ executor: constant-vus, vus: 1, duration: 1s, flow: [ {{ request: {{ url: 'http://{address}/' }} }} ] }}\n\
         thresholds: {{ http_reqs: [ 'count>0' ] }}\noutputs:\n  - {{ type: csv, path: out.csv }}\n"
    );
    fs::write(plan, text).unwrap();
    let mut command = loadr();
    command.current_dir(folder).args([
        "capacity",
        "plan.yaml",
        "--slo",
        "p(99)<5s",
        "--cores",
        "1",
        "--step-duration",
        "1s",
        "--confirm",
        "1s",
        "--min-rate",
        "20",
        "--max-rate",
        "30",
    ]);
    command
}

#[test]
fn a_search_takes_no_file_for_two_things_and_keeps_the_state_of_the_one_before() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for (flags, why) in [
        (
            &["--json", "x", "--report", "./x"][..],
            "--json and --report would both write",
        ),
        (&["--json", "plan.yaml"], "--json would overwrite"),
        (
            &["--report", "plan.capacity-state.json"],
            "would both write",
        ),
    ] {
        let (code, text) = said(short(folder.path(), target.address()).args(flags));
        assert_eq!(code, Some(1));
        assert!(text.contains(why), "{text}");
    }
    let state = folder.path().join("plan.capacity-state.json");
    fs::write(&state, "what a search has left").unwrap();
    let (code, text) = said(&mut short(folder.path(), target.address()));
    assert_eq!(code, Some(92), "{text}");
    let old = fs::read_to_string(folder.path().join("plan.capacity-state.json.old")).unwrap();
    assert_eq!(old, "what a search has left");
    assert!(fs::read_to_string(&state).unwrap().contains("probes"));
    assert!(
        text.contains("--resume plan.capacity-state.json.old"),
        "{text}"
    );
    // What of the plan is not done is said.
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    for what in [
        "the plan's `outputs` were left out",
        "the plan's `thresholds` were left out",
    ] {
        assert!(text.contains(what), "{text}");
    }
    assert!(!folder.path().join("out.csv").exists());
}

#[test]
fn what_a_search_found_is_told_when_its_state_cannot_be_kept() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("states");
    fs::create_dir(&states).unwrap();
    let mut child = short(folder.path(), target.address())
        .args(["--json", "states/r.json", "--report", "page.html"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has kept the first probe there is no place to keep another.
    wait_until(|| states.join("r.json.state").exists());
    fs::rename(&states, folder.path().join("gone")).unwrap();
    assert!(child.try_wait().unwrap().is_none(), "still searching");
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stdout.contains("PROBES"), "{stdout}");
    assert!(stderr.contains("could not be gone on from"), "{stderr}");
    assert!(folder.path().join("page.html").exists());
}
