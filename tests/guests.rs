//! The plugins under `examples/plugins`, whatever they are written in, through one test each: their plan passes, and a config
//! that does not fit fails with the sentence that says so.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Run, repository, run_file, run_plan};

/// A guest and what its plan does.
struct Guest {
    name: &'static str,
    /// Plugin calls in each iteration, those of other plugins included.
    calls: u64,
    /// What in the plan is replaced by what, to make it fail.
    mistake: (&'static str, &'static str),
}

/// A visible line, or a failure where all guests have to be there.
fn skip(reason: &str) {
    assert!(
        std::env::var_os("LOADR_REQUIRE_GUESTS").is_none_or(|v| v != "1"),
        "{reason}"
    );
    // The raw stream: the test harness hides what `eprintln!` says of a test that passes.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// Runs the guest's plan, and the plan with the mistake. Nothing when the component is not built.
fn run_both(guest: &Guest) -> Option<Run> {
    let entry = format!(
        "examples/plugins/{0}/{1}.wasm",
        guest.name,
        guest.name.replace('-', "_")
    );
    if !repository(&entry).is_file() {
        skip(&format!(
            "{} is not built: run examples/plugins/build-others.sh",
            guest.name
        ));
        return None;
    }
    let flags = ["--embedded-target", "--cores", "1", "--duration", "500ms"];
    let plan = repository(&format!("examples/{}.yaml", guest.name));
    let run = run_file(&plan, &flags);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let iterations = run.count("iterations");
    assert!(iterations > 0);
    assert_eq!(run.count("plugin_calls"), guest.calls * iterations);
    assert_eq!(
        (run.count("plugin_errors"), run.failed()),
        (0, 0),
        "{:#}",
        run.summary["errors"]
    );
    let check = &run.summary["checks"][0];
    assert_eq!(
        (check["passes"].as_u64(), check["fails"].as_u64()),
        (Some(iterations), Some(0))
    );

    let text = std::fs::read_to_string(plan).unwrap();
    let (right, wrong) = guest.mistake;
    assert_eq!(text.matches(right).count(), 1, "{right}");
    let plugins = repository("examples/plugins");
    let text = text
        .replace(right, wrong)
        .replace("path: plugins/", &format!("path: {}/", plugins.display()))
        // One iteration shows it.
        .replace("constant-vus", "per-vu-iterations")
        .replace("duration: 5s", "iterations: 1")
        .replace("vus: 8", "vus: 1");
    let run = run_plan(&text, &["--embedded-target", "--cores", "1"]);
    assert_eq!(run.code, 99, "{}{}", run.stdout, run.stderr);
    Some(run)
}

fn detail(run: &Run) -> &str {
    run.summary["checks"][0]["details"][0]["text"]
        .as_str()
        .unwrap()
}

#[test]
fn json_shape_in_rust_says_which_field_is_wrong() {
    let guest = Guest {
        name: "json-shape",
        calls: 2,
        mistake: ("state: [confirmed, shipped]", "state: [paid, shipped]"),
    };
    let run = run_both(&guest).unwrap();
    assert_eq!(
        detail(&run),
        r#"state: "confirmed", expected one of "paid", "shipped""#
    );
    assert_eq!(run.count("plugin_errors"), 0);
}

#[test]
fn header_policy_in_javascript_says_which_cookie_is_wrong() {
    let guest = Guest {
        name: "header-policy",
        calls: 1,
        mistake: ("theme: [Path=/]", "theme: [HttpOnly]"),
    };
    let Some(run) = run_both(&guest) else { return };
    assert_eq!(detail(&run), "cookie theme is not httponly");
    assert_eq!(run.count("plugin_errors"), 0);
}

#[test]
fn json_path_in_python_finds_nothing_at_a_path_that_is_not_there() {
    let guest = Guest {
        name: "json-path",
        calls: 2,
        mistake: ("path: order.lines.0.article", "path: order.lines.2.article"),
    };
    let Some(run) = run_both(&guest) else { return };
    assert_eq!(run.errors("extract"), 1, "{:#}", run.summary["errors"]);
    assert_eq!(run.count("plugin_errors"), 0);
}

#[test]
fn query_value_in_go_traps_when_the_config_names_no_parameter() {
    let guest = Guest {
        name: "query-value",
        calls: 1,
        mistake: ("{ parameter: code }", "{ parameter: \"\" }"),
    };
    let Some(run) = run_both(&guest) else { return };
    assert_eq!(run.errors("plugin_trap"), 1, "{:#}", run.summary["errors"]);
    assert_eq!(run.count("plugin_errors"), 1);
}
