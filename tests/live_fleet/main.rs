//! Live fleets: several runs of the real binary, and a real NATS server between them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../common/mod.rs"]
mod common;
mod fleet;
mod nats;
mod secured;
mod strangers;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{interrupt, target, wait_until};
use fleet::{Fleet, figures, plan};
use nats::{Nats, signal};

const OPEN: &str = "executor: constant-arrival-rate, rate: 90, pre_allocated_vus: 30, max_vus: 60";

/// Requests that arrivals at a rate make in so many seconds.
fn due(secs: u64) -> u64 {
    90 * secs
}

#[test]
fn segments_begin_together_and_a_watcher_sees_what_a_merge_of_their_files_does() {
    let Some(nats) = Nats::start("a fleet") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 6s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url, "--fleet", "night"], &text);
    fleet.run_all(3, &[]);
    let watch = fleet.watch(&[]);
    fleet.wait_for_second(0, 3);
    // Whoever comes late gets what it missed.
    let late = fleet.watch(&[]);
    let status = fleet.status();
    assert_eq!(
        status["segments"].as_array().unwrap().len(),
        3,
        "{status:#}"
    );
    assert_eq!(status["state"], "running");
    let segments: Vec<_> = (0..3).map(|at| fleet.left(at)).collect();
    for one in &segments {
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert_eq!(one.count("http_reqs"), due(6) / 3);
        assert!(
            one.notes().contains("measured over the bus"),
            "{}",
            one.notes()
        );
    }
    let starts: Vec<u64> = segments
        .iter()
        .map(|s| s.summary["started_ms"].as_u64().unwrap())
        .collect();
    let spread = starts.iter().max().unwrap() - starts.iter().min().unwrap();
    assert!(spread < 100, "they did not begin together: {starts:?}");
    let merged = fleet.merge(&[0, 1, 2]);
    for at in [watch, late] {
        let seen = fleet.left(at);
        assert_eq!(seen.code, Some(0), "{}", seen.stderr);
        assert_eq!(seen.count("http_reqs"), due(6));
        assert!(seen.stdout.contains("http_reqs"), "{}", seen.stdout);
        assert_eq!(figures(&seen.summary), figures(&merged));
        assert_eq!(
            seen.summary["merged"]["segments"].as_array().unwrap().len(),
            3
        );
        assert_eq!(
            seen.summary["merged"]["missing"].as_array().unwrap().len(),
            0
        );
        assert_eq!(seen.summary["timeline"].as_array().unwrap().len(), 6);
        assert_eq!(seen.summary["load_hash"], merged["load_hash"]);
        assert_eq!(seen.summary["plan_hash"], merged["plan_hash"]);
    }
    // A report of it is made as of any.
    let report = common::loadr()
        .arg("report")
        .arg(fleet.path(&format!("{watch}.json")))
        .output()
        .unwrap();
    assert!(
        report.status.success(),
        "{}",
        String::from_utf8_lossy(&report.stderr)
    );
}

#[test]
fn the_others_go_on_without_a_killed_segment_or_end_as_they_were_told() {
    let Some(nats) = Nats::start("a killed segment") else {
        return;
    };
    let target = target();
    let url = nats.url();
    // Long enough to notice the loss on a machine that is busy with other things.
    for (then, code, secs) in [("continue", Some(0), 20), ("abort", Some(1), 40)] {
        let text = plan(&target, "", &format!("{OPEN}, duration: {secs}s"));
        let mut fleet = Fleet::new(&["--bus", &url, "--fleet", then], &text);
        fleet.run_all(3, &["--on-lost", then]);
        let watch = fleet.watch(&[]);
        fleet.wait_for_second(0, 2);
        signal(fleet.pid(1), "-KILL");
        let killed = fleet.left(1);
        assert_eq!(killed.code, None);
        for at in [0, 2] {
            let one = fleet.left(at);
            assert_eq!(one.code, code, "{}", one.stderr);
            assert!(one.stderr.contains("segment 1/3"), "{}", one.stderr);
            assert!(
                one.stderr.contains("is lost: it has said nothing for"),
                "{}",
                one.stderr
            );
            assert!(one.notes().contains("is lost"), "{}", one.notes());
            let aborted = one.summary["aborted"].as_str().unwrap_or_default();
            if then == "abort" {
                assert!(aborted.contains("--on-lost abort"), "{aborted}");
                // Noticed within 5 s, by the load's own clock: so many were due by then.
                assert!(
                    one.count("http_reqs") < due(secs) / 3,
                    "{}",
                    one.count("http_reqs")
                );
            } else {
                assert_eq!(one.count("http_reqs"), due(secs) / 3);
            }
        }
        let seen = fleet.left(watch);
        assert_eq!(seen.code, Some(1), "{}", seen.stderr);
        let missing = seen.summary["merged"]["missing"].to_string();
        assert!(missing.contains("segment 1 of 3"), "{missing}");
        let whole = if then == "continue" {
            2 * due(secs) / 3
        } else {
            0
        };
        assert!(
            seen.count("http_reqs") > whole,
            "what was handed out of it counts"
        );
    }
}

#[test]
fn a_frozen_bus_disturbs_nobody_and_what_was_missed_comes_later() {
    check_outage("a frozen bus", 9, |nats| nats.freeze(), |nats| nats.thaw());
}

#[test]
fn a_bus_that_is_killed_and_comes_back_disturbs_nobody() {
    check_outage("a killed bus", 8, Nats::kill, Nats::start_again);
}

/// Takes the bus away from a watched fleet, from its second second on until that one.
fn check_outage(name: &str, until: u32, begin: fn(&mut Nats), end: fn(&mut Nats)) {
    let Some(mut nats) = Nats::start(name) else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 15s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(3, &["--on-lost", "abort"]);
    let watch = fleet.watch(&[]);
    fleet.wait_for_second(0, 2);
    begin(&mut nats);
    fleet.wait_for_second(0, until);
    end(&mut nats);
    check_whole(&mut fleet, watch, 15);
}

#[test]
fn a_bus_that_does_not_come_back_costs_only_the_watching() {
    let Some(mut nats) = Nats::start("a lost bus") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 8s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(3, &["--on-lost", "abort"]);
    fleet.wait_for_second(0, 2);
    nats.kill();
    for at in 0..3 {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert_eq!(one.count("http_reqs"), due(8) / 3);
    }
    let merged = fleet.merge(&[0, 1, 2]);
    assert_eq!(merged["merged"]["missing"].as_array().unwrap().len(), 0);
}

/// Every segment kept to its schedule, nobody was taken for lost, and the watcher has all of it.
fn check_whole(fleet: &mut Fleet, watch: usize, secs: u64) {
    for at in 0..3 {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert_eq!(one.count("http_reqs"), due(secs) / 3);
        assert_eq!(one.count("dropped_iterations"), 0);
        assert!(!one.stderr.contains("is lost"), "{}", one.stderr);
    }
    let seen = fleet.left(watch);
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert_eq!(figures(&seen.summary), figures(&fleet.merge(&[0, 1, 2])));
    assert!(!seen.stderr.contains("is lost"), "{}", seen.stderr);
}

#[test]
fn what_a_fleet_is_told_each_segment_does_its_part_of() {
    let Some(nats) = Nats::start("a steered fleet") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", "executor: externally-controlled, max_vus: 40").replace(
        "url: / }",
        "url: / } }, { think_time: { type: constant, duration: 20ms }",
    );
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(3, &[]);
    fleet.wait_for_second(0, 1);
    let vus_are = |fleet: &Fleet, wanted: [u64; 3]| {
        wait_until(|| {
            let status = fleet.status();
            let vus = |i: usize| status["segments"][i]["vus"].as_u64();
            [vus(0), vus(1), vus(2)] == wanted.map(Some)
        });
    };
    let output = fleet.ctl(&["vus", "8"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    vus_are(&fleet, [3, 3, 2]);
    assert_eq!(fleet.status()["scenarios"][0]["aim"]["vus"], 8);
    assert!(fleet.ctl(&["pause"]).status.success());
    assert_eq!(fleet.status()["state"], "paused");
    assert!(fleet.ctl(&["resume"]).status.success());
    assert!(fleet.ctl(&["vus", "4"]).status.success());
    vus_are(&fleet, [2, 1, 1]);
    for (command, says) in [(["vus", "41"], "40"), (["rate", "1e9"], "the rate")] {
        let output = fleet.ctl(&command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
    let output = fleet.ctl(&["vus", "1", "--scenario", "none"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no scenario `none`"));
    assert!(fleet.ctl(&["rate", "60"]).status.success());
    // Who speaks for all is killed; the next one does.
    signal(fleet.pid(0), "-KILL");
    fleet.left(0);
    fleet.wait_for(1, "is lost");
    assert!(fleet.ctl(&["stop"]).status.code().is_some());
    for at in [1, 2] {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert!(one.count("http_reqs") > 0);
        assert!(
            one.summary["aborted"].as_str().unwrap().contains("stopped"),
            "{:#}",
            one.summary["aborted"]
        );
    }
}

/// What the page answers.
fn page(address: &str, request: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\n{more}");
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // A stream of events has no end.
    let (mut answer, mut piece, began) = (Vec::new(), [0; 4096], Instant::now());
    while began.elapsed() < Duration::from_millis(2_500) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&piece[..len]),
            Err(_) => {}
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_page_shows_the_fleet_and_steers_it() {
    let Some(nats) = Nats::start("the page of a fleet") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", "executor: externally-controlled, max_vus: 40").replace(
        "url: / }",
        "url: / } }, { think_time: { type: constant, duration: 20ms }",
    );
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(2, &[]);
    let watch = fleet.watch(&["--ui"]);
    fleet.wait_for_second(watch, 2);
    let said = fleet.said(watch);
    let address = said.split("live page: http://").nth(1).unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    let post = |wish: &str| {
        let head = format!(
            "Origin: http://{address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{wish}",
            wish.len()
        );
        page(&address, "POST /control", &head)
    };
    let answer = post("{\"do\":\"vus\",\"scenario\":\"s\",\"vus\":5}");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    wait_until(|| fleet.status()["last_second"]["vus"] == 5);
    let answer = post("{\"do\":\"vus\",\"scenario\":\"s\",\"vus\":41}");
    assert!(
        answer.starts_with("HTTP/1.1 409") && answer.contains("max_vus"),
        "{answer}"
    );
    let events = page(&address, "GET /events", "\r\n");
    assert!(
        events.contains("\"core_is\":\"segment\"") && events.contains("\"cores\":[0,1]"),
        "{events}"
    );
    assert!(events.contains("\"takes_vus\":true"), "{events}");
    let answer = post("{\"do\":\"stop\"}");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for at in [0, 1, watch] {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
    }
}

#[test]
fn a_threshold_on_all_of_it_ends_all_of_it() {
    let Some(nats) = Nats::start("a threshold") else {
        return;
    };
    let target = target();
    // No segment alone comes to so many.
    let thresholds =
        "thresholds: { http_reqs: [ { threshold: 'count<200', abort_on_fail: true } ] }";
    let text = plan(&target, thresholds, &format!("{OPEN}, duration: 60s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(3, &[]);
    let watch = fleet.watch(&[]);
    for at in 0..3 {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(99), "{}", one.stderr);
        let aborted = one.summary["aborted"].as_str().unwrap_or_default();
        assert!(aborted.contains("http_reqs: count<200"), "{aborted}");
        assert!(one.count("http_reqs") < due(60) / 3);
    }
    let seen = fleet.left(watch);
    assert_eq!(seen.code, Some(99), "{}", seen.stderr);
    assert!(
        seen.summary["aborted"]
            .as_str()
            .unwrap()
            .contains("count<200")
    );
    assert_eq!(figures(&seen.summary), figures(&fleet.merge(&[0, 1, 2])));
}

#[test]
fn an_assert_that_ends_one_segment_ends_all_and_a_watcher_that_goes_ends_none() {
    let Some(nats) = Nats::start("an assert") else {
        return;
    };
    let target = target();
    // Only the user with this number meets it, after a while.
    let meets = "'2': [ { think_time: { type: constant, duration: 4s } }, { request: { url: /, assert: [ { name: quota, type: \
                 status, equals: 204, on_failure: abort_test } ] } } ]";
    let others =
        "default: [ { request: { url: / } }, { think_time: { type: constant, duration: 200ms } } ]";
    let text = plan(&target, "", "executor: constant-vus, vus: 3, duration: 60s").replace(
        "{ request: { url: / } }",
        &format!("{{ switch: {{ value: '${{vu}}', cases: {{ {meets} }}, {others} }} }}"),
    );
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run_all(3, &[]);
    let watch = fleet.watch(&[]);
    fleet.wait_for_second(watch, 1);
    interrupt(fleet.pid(watch));
    let gone = fleet.left(watch);
    assert_eq!(gone.code, Some(130), "{}", gone.stderr);
    assert!(gone.stderr.contains("the fleet goes on"), "{}", gone.stderr);
    for at in 0..3 {
        let one = fleet.left(at);
        assert_eq!(one.code, Some(1), "{}", one.stderr);
        let aborted = one.summary["aborted"].as_str().unwrap_or_default();
        assert!(aborted.contains("quota"), "{aborted}");
    }
}

#[test]
fn who_does_not_go_with_the_others_is_refused_by_all_with_a_sentence() {
    let Some(nats) = Nats::start("a refused start") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 1s"));
    let other = text.replace("rate: 90", "rate: 91");
    let url = nats.url();
    for (name, second, flags, says) in [
        ("plan", "1/2", &["--seed", "1"][..], "have different plans"),
        (
            "seed",
            "1/2",
            &["--seed", "2"],
            "have different seeds (1 and 2)",
        ),
        (
            "number",
            "1/3",
            &["--seed", "1"],
            "not of one number of segments",
        ),
        (
            "index",
            "0/2",
            &["--seed", "1"],
            "two processes for segment 0/2",
        ),
    ] {
        let mut fleet = Fleet::new(&["--bus", &url, "--fleet", name], &text);
        fs::write(fleet.path("other.yaml"), &other).unwrap();
        fleet.run("0/2", &["--seed", "1"]);
        let with = if name == "plan" {
            "other.yaml"
        } else {
            "plan.yaml"
        };
        fleet.run_plan(with, second, flags);
        for at in [0, 1] {
            let pids = [0, 1].map(|at| fleet.children[at].as_ref().map(std::process::Child::id));
            let one = fleet.left(at);
            assert_eq!(one.code, Some(1), "{name}: {}", one.stderr);
            // Two sides of one thing.
            let says = says.replace("(1 and 2)", if at == 0 { "(1 and 2)" } else { "(2 and 1)" });
            assert!(one.stderr.contains(&says), "{name}: {}", one.stderr);
            for pid in pids.into_iter().flatten() {
                assert!(
                    one.stderr.contains(&format!("process {pid}")),
                    "{name}: {}",
                    one.stderr
                );
            }
            assert!(one.summary.is_null());
        }
    }
    let mut fleet = Fleet::new(&["--bus", &url, "--fleet", "alone"], &text);
    fleet.run("1/4", &["--bus-wait", "2s"]);
    let one = fleet.left(0);
    assert_eq!(one.code, Some(1));
    assert!(
        one.stderr.contains("segments 0, 2 and 3 have not come"),
        "{}",
        one.stderr
    );
    assert!(one.stderr.contains("--bus-wait"), "{}", one.stderr);
}

#[test]
fn a_fleet_that_runs_takes_no_second_process_and_a_meeting_of_users_is_refused() {
    let Some(nats) = Nats::start("a second process") else {
        return;
    };
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 10s"));
    let url = nats.url();
    let mut fleet = Fleet::new(&["--bus", &url, "--fleet", "once"], &text);
    fleet.run_all(2, &[]);
    fleet.wait_for_second(0, 1);
    let again = fleet.run("1/2", &[]);
    let late = fleet.left(again);
    assert_eq!(late.code, Some(1));
    assert!(
        late.stderr.contains("the fleet `once` runs already"),
        "{}",
        late.stderr
    );
    for at in [0, 1] {
        let one = fleet.left(at);
        assert_eq!(
            (one.code, one.count("http_reqs")),
            (Some(0), due(10) / 2),
            "{}",
            one.stderr
        );
    }
    let meets = text.replace(
        "flow: [",
        "flow: [ { rendezvous: { name: gate, users: 2 } },",
    );
    let mut fleet = Fleet::new(&["--bus", &url], &meets);
    fleet.run("0/2", &[]);
    let refused = fleet.left(0);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("rendezvous `gate`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_bus_that_cannot_be_used_is_said_before_anything_is_sent() {
    let target = target();
    let text = plan(&target, "", &format!("{OPEN}, duration: 1s"));
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("nats://me:geheim@{free}");
    let mut fleet = Fleet::new(&["--bus", &url], &text);
    fleet.run("0/2", &[]);
    let one = fleet.left(0);
    assert_eq!(one.code, Some(1));
    assert!(
        one.stderr.contains("cannot connect to the bus") && !one.stderr.contains("geheim"),
        "{}",
        one.stderr
    );
    let mut fleet = Fleet::new(&["--bus", "http://h"], &text);
    fleet.run("0/2", &[]);
    let one = fleet.left(0);
    assert!(one.stderr.contains("nats://HOST:PORT"), "{}", one.stderr);
    fleet.watch(&["--bus-wait", "1s"]);
    assert_eq!(fleet.left(1).code, Some(1));
}
