//! What no segment can be, and what a process finds out that it would be.

use std::path::Path;

use super::common::loadr;
use super::server::Server;
use super::{assert_success, text, write};

/// The error of a run that cannot be.
fn refused(flags: &[&str], environment: &[(&str, &str)], plan: &Path) -> String {
    let mut command = loadr();
    command.arg("run").args(flags).arg(plan);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert_eq!(
        output.status.code(),
        if text(&output.stderr).contains("Usage") || text(&output.stderr).contains("--help") {
            Some(2)
        } else {
            Some(1)
        }
    );
    text(&output.stderr)
}

#[test]
fn what_is_no_part_of_this_plan_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let scenario = |text: &str| {
        let plan = format!(
            "defaults: {{ http: {{ base_url: 'http://{}' }} }}\nscenarios:\n  s: {text}\n",
            server.address
        );
        write(folder.path(), "plan.yaml", &plan)
    };
    let request = "{ request: { url: '/x' } }";
    let plan = scenario(&format!(
        "{{ executor: externally-controlled, max_vus: 4, flow: [ {request} ] }}"
    ));
    let error = refused(&["--segment", "0/2"], &[], &plan);
    assert!(
        error.contains("scenario `s` is `externally-controlled`")
            && error.contains("--segment none"),
        "{error}"
    );
    let plan = scenario(&format!(
        "{{ executor: constant-vus, vus: 4, duration: 1s, flow: [ {{ rendezvous: {{ name: gate, users: 2 }} }}, {request} ] }}"
    ));
    let error = refused(&["--segment", "0/2"], &[], &plan);
    assert!(
        error.contains("the rendezvous `gate` of scenario `s`"),
        "{error}"
    );

    let plan = scenario(&format!(
        "{{ executor: constant-vus, vus: 4, duration: 100ms, flow: [ {request} ] }}"
    ));
    for (flags, environment, says) in [
        (
            &["--segment", "2/2"][..],
            &[][..],
            "there is no segment 2 of 2",
        ),
        (&["--segment", "half"], &[], "expected `I/N`"),
        (
            &["--start-at", "2020-01-01T00:00:00Z"],
            &[],
            "s ago: name one that is still to come",
        ),
        (&["--start-at", "soon"], &[], "+30s"),
        // It takes longer than that to load anything.
        (
            &["--start-at", "+0s"],
            &[],
            "everything was ready for it only",
        ),
        (
            &["--segment", "0/2", "--embedded-target"],
            &[],
            "a target of its own",
        ),
        (&[], &[("JOB_COMPLETION_INDEX", "1")], "LOADR_SEGMENTS"),
        (
            &[],
            &[("PMI_RANK", "3"), ("PMI_SIZE", "3")],
            "there is no segment 3 of 3",
        ),
    ] {
        let error = refused(flags, environment, &plan);
        assert!(error.contains(says), "{flags:?}: {error}");
    }
    assert_eq!(server.len(), 0);

    // One of one is the whole plan, and so is `none`, whatever launched it.
    for segment in ["0/1", "none"] {
        let output = loadr()
            .args(["run", "--quiet", "--cores", "1", "--segment", segment])
            .arg(&plan)
            .envs([("PMI_RANK", "1"), ("PMI_SIZE", "3")])
            .output()
            .unwrap();
        assert_success(&[output]);
    }
}

#[test]
fn what_a_process_would_be_is_said_with_where_that_was_found() {
    let say = |environment: &[(&str, &str)], flags: &[&str]| {
        let mut command = loadr();
        command.args(["run", "--print-segment"]).args(flags);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(say(&[], &[]).starts_with("none: nothing in the environment"));
    assert_eq!(
        say(
            &[("OMPI_COMM_WORLD_RANK", "2"), ("OMPI_COMM_WORLD_SIZE", "8")],
            &[]
        ),
        "2/8: Open MPI (OMPI_COMM_WORLD_RANK=2, OMPI_COMM_WORLD_SIZE=8)\n"
    );
    assert_eq!(say(&[], &["--segment", "1/3"]), "1/3: --segment\n");
}
