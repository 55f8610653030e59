//! The layers of a plan: `env` overlays and command-line overrides.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use loadr_config::{Compiled, Executor, Failure, Options};
use support::{lines, options, shown};

const PLAN: &str = "\
defaults: { http: { base_url: http://dev.test, headers: { a: '1', b: '1' } } }
env:
  staging:
    defaults: { http: { base_url: http://staging.test, headers: { b: '2', c: '2' } } }
    scenarios: { s: { vus: 9 } }
  broken:
    defaults:
      http: { timeout: never }
    scenarios: { s: { vus: 0 } }
  one_step:
    scenarios: { s: { flow: [ { request: { url: /only } } ] } }
  switched:
    scenarios: { s: { executor: per-vu-iterations, iterations: 4, duration: 1s } }
scenarios:
  s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: /a } }, { request: { url: /b } } ] }
  t: { executor: per-vu-iterations, vus: 1, iterations: 2, flow: [ { request: { url: /t } } ] }
";

fn without_broken() -> String {
    PLAN.replace("timeout: never", "timeout: 3s")
        .replace("vus: 0", "vus: 3")
        .replace(", duration: 1s } }\nsc", " } }\nsc")
}

fn with(plan: &str, options: &Options) -> Result<Compiled, Failure> {
    loadr_config::compile(plan, Path::new("plan.yaml"), options)
}

fn env(name: &str) -> Options {
    Options {
        env: Some(name.to_owned()),
        ..options()
    }
}

#[test]
fn mappings_merge_and_the_rest_is_replaced() {
    let plan = without_broken();
    let program = with(&plan, &env("staging")).unwrap().program;
    assert_eq!(program.origins[0].host, "staging.test");
    let head = shown(&program.requests[0].head, &[]);
    assert!(head.ends_with("\r\na: 1\r\nb: 2\r\nc: 2\r\n\r\n"), "{head}");
    assert_eq!(
        program.scenarios[0].executor,
        Executor::ConstantVus {
            vus: 9,
            duration: Duration::from_secs(1)
        }
    );
    assert_eq!(program.requests.len(), 3);
    let program = with(&plan, &env("one_step")).unwrap().program;
    assert_eq!(program.requests.len(), 2, "a list is replaced");
}

#[test]
fn an_overlay_that_is_not_there_names_those_that_are() {
    let failure = with(&without_broken(), &env("stagging")).unwrap_err();
    assert_eq!(
        lines(&failure.diagnostics),
        ["2:1: env: the plan has no environment `stagging` | did you mean `staging`?"]
    );
    let failure = with(&without_broken(), &env("production")).unwrap_err();
    assert_eq!(
        lines(&failure.diagnostics),
        [
            "2:1: env: the plan has no environment `production` | there are `staging`, `broken`, `one_step`, `switched`"
        ]
    );
    let plan = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1, flow: [ { request: { url: 'http://h' } } ] } }";
    let failure = with(plan, &env("x")).unwrap_err();
    assert_eq!(
        lines(&failure.diagnostics),
        ["--env: the plan has no environment `x` | it has no `env`"]
    );
}

#[test]
fn errors_in_an_overlay_point_to_the_overlay() {
    let failure = with(PLAN, &env("broken")).unwrap_err();
    assert_eq!(
        lines(&failure.diagnostics),
        [
            "8:24: env.broken.defaults.http.timeout: `never` is not a duration",
            "9:28: env.broken.scenarios.s.vus: `0` is less than 1, the least there is",
        ]
    );
}

#[test]
fn an_overlay_can_change_the_executor() {
    let plan = without_broken().replace(
        "duration: 1s } }\nscenarios",
        "max_duration: 1s } }\nscenarios",
    );
    let compiled = with(&plan, &env("switched")).unwrap();
    let (vus, max_duration) = (1, Duration::from_secs(600));
    assert_eq!(
        compiled.program.scenarios[0].executor,
        Executor::PerVuIterations {
            vus,
            iterations: 4,
            max_duration
        }
    );
    assert_eq!(
        lines(&compiled.warnings),
        [
            "15:40: scenarios.s.duration: `duration` does nothing in a `per-vu-iterations` scenario | `executor: constant-vus` has it"
        ]
    );
}

#[test]
fn overlays_that_are_not_used_are_checked_too() {
    let failure = with(PLAN, &options()).unwrap_err();
    assert_eq!(lines(&failure.diagnostics).len(), 2);
    let plan = format!(
        "{}env: {{ x: {{ env: {{}}, nme: y, scenarios: {{ s: {{ vuss: 1 }} }} }}, y: 5 }}\n",
        without_broken().split("env:").next().unwrap()
    ) + "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1, flow: [ { request: { url: 'http://h' } } ] } }";
    let failure = with(&plan, &options()).unwrap_err();
    let found = lines(&failure.diagnostics);
    assert_eq!(
        found,
        [
            "2:13: env.x.env: an overlay cannot hold overlays",
            "2:22: env.x.nme: unknown key `nme` | did you mean `name`?",
            "2:48: env.x.scenarios.s.vuss: unknown key `vuss` | did you mean `vus`?",
            "2:66: env.y: expected a mapping (a partial plan), found `5`",
        ]
    );
}

#[test]
fn the_command_line_has_the_last_word() {
    let plan = without_broken();
    let options = Options {
        base_url: Some("http://flag.test/p".to_owned()),
        vus: Some(7),
        duration: Some(Duration::from_millis(1500)),
        ..env("staging")
    };
    let program = with(&plan, &options).unwrap().program;
    assert_eq!(program.origins.len(), 1);
    assert_eq!(program.origins[0].host, "flag.test");
    let duration = Duration::from_millis(1500);
    assert_eq!(
        program.scenarios[0].executor,
        Executor::ConstantVus { vus: 7, duration }
    );
    assert_eq!(
        program.scenarios[1].executor,
        Executor::PerVuIterations {
            vus: 7,
            iterations: 2,
            max_duration: duration
        }
    );
}

#[test]
fn a_flag_can_give_what_the_plan_leaves_out() {
    let plan = "scenarios: { s: { executor: constant-vus, flow: [ { request: { url: /x } } ] } }";
    let all = Options {
        base_url: Some("http://h".to_owned()),
        vus: Some(1),
        duration: Some(Duration::from_secs(1)),
        ..options()
    };
    assert!(with(plan, &all).is_ok());
    for (options, expected) in [
        (
            Options {
                vus: Some(0),
                ..all.clone()
            },
            "--vus: `0` is less than 1, the least there is",
        ),
        (
            Options {
                duration: Some(Duration::ZERO),
                ..all.clone()
            },
            "--duration: the duration must be more than zero",
        ),
        (
            Options {
                duration: Some(Duration::MAX),
                ..all.clone()
            },
            "--duration: `5124095576030431h15s999ms999us999ns` is longer than 366 days",
        ),
        (
            Options {
                base_url: Some("ftp://h".to_owned()),
                is_insecure: true,
                ..all.clone()
            },
            "--base-url: `ftp://` is not available in this version | `http://` and `https://` are",
        ),
        (
            Options {
                base_url: Some(String::new()),
                ..all.clone()
            },
            "--base-url: the base URL `` does not begin with `http://` | write `http://HOST`",
        ),
    ] {
        assert_eq!(
            lines(&with(plan, &options).unwrap_err().diagnostics),
            [expected]
        );
    }
}

const TAGGED: &str = "\
variables: { kind: nightly }
scenarios:
  a: { executor: constant-vus, vus: 1, duration: 1s, tags: { set: smoke, team: web }, flow: [ { request: { url: 'http://h/a' } } ] }
  b: { executor: constant-arrival-rate, rate: 5, time_unit: 1m, duration: 1s, pre_allocated_vus: 1, tags: { set: '${vars.kind}' }, flow: [ { request: { url: 'http://h/b' } } ] }
  c: { executor: shared-iterations, vus: 2, iterations: 9, flow: [ { request: { url: 'http://h/c' } } ] }
";

fn names(options: &Options) -> Vec<String> {
    let compiled = with(TAGGED, options).unwrap();
    let scenarios = compiled.program.scenarios.iter();
    scenarios.map(|scenario| scenario.name.clone()).collect()
}

#[test]
fn tags_choose_the_scenarios_that_run() {
    let tags = |tags: &[&str], exclude: &[&str]| Options {
        tags: tags.iter().map(ToString::to_string).collect(),
        exclude_tags: exclude.iter().map(ToString::to_string).collect(),
        ..options()
    };
    assert_eq!(names(&tags(&[], &[])), ["a", "b", "c"]);
    assert_eq!(names(&tags(&["smoke"], &[])), ["a"]);
    assert_eq!(names(&tags(&["smoke", "nightly"], &[])), ["a", "b"]);
    assert_eq!(names(&tags(&["set=nightly"], &[])), ["b"]);
    assert_eq!(names(&tags(&[], &["web"])), ["b", "c"]);
    assert_eq!(names(&tags(&["smoke", "nightly"], &["web"])), ["b"]);
    let failure = with(TAGGED, &tags(&["smok"], &[])).unwrap_err();
    assert_eq!(
        lines(&failure.diagnostics),
        ["--tags: no scenario is left to run | there are `nightly`, `smoke`, `web`"]
    );
    let compiled = with(TAGGED, &tags(&["smoke", "smok"], &[])).unwrap();
    assert_eq!(
        lines(&compiled.warnings),
        ["--tags: no scenario has the tag `smok` | did you mean `smoke`?"]
    );
    // What does not run is not in the plan that is printed, and counts in the fingerprint.
    assert!(!compiled.effective_plan().contains("http://h/b"));
    let whole = with(TAGGED, &options()).unwrap().program.plan_hash;
    assert_ne!(compiled.program.plan_hash, whole);
}

#[test]
fn iterations_and_rate_replace_what_the_executors_have() {
    let options = Options {
        iterations: Some(4),
        rate: Some(250.0),
        ..options()
    };
    let compiled = with(TAGGED, &options).unwrap();
    let [_, b, c] = compiled.program.scenarios.as_slice() else {
        panic!()
    };
    assert!(
        matches!(&b.executor, Executor::ArrivalRate { start_rate, .. } if *start_rate == 250.0),
        "{:?}",
        b.executor
    );
    assert!(
        matches!(c.executor, Executor::SharedIterations { iterations: 4, .. }),
        "{:?}",
        c.executor
    );
    let warnings = lines(&compiled.warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings.iter().any(|w| w.starts_with(
            "--rate: does nothing here: `a` is `constant-vus`, `c` is `shared-iterations`"
        )),
        "{warnings:?}"
    );
}

#[test]
fn a_flag_that_applies_to_no_scenario_is_an_error() {
    let plan = |executor: &str| {
        format!(
            "scenarios: {{ s: {{ {executor}, flow: [ {{ request: {{ url: 'http://h' }} }} ] }} }}"
        )
    };
    let looping = plan("executor: constant-vus, vus: 1, duration: 1s");
    let arrivals =
        plan("executor: constant-arrival-rate, rate: 1, duration: 1s, pre_allocated_vus: 1");
    let (some, none) = (Some(3), Option::<u32>::None);
    for (plan, flag, options) in [
        (
            &looping,
            "--iterations",
            Options {
                iterations: Some(3),
                ..options()
            },
        ),
        (
            &looping,
            "--rate",
            Options {
                rate: Some(3.0),
                ..options()
            },
        ),
        (
            &arrivals,
            "--vus",
            Options {
                vus: some,
                ..options()
            },
        ),
        (
            &arrivals,
            "--iterations",
            Options {
                vus: none,
                iterations: Some(1),
                ..options()
            },
        ),
    ] {
        let failure = with(plan, &options).unwrap_err();
        let found = lines(&failure.diagnostics);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!(
                "{flag}: no scenario has anything for it to replace: `s` is `"
            )),
            "{found:?}"
        );
        assert!(found[0].contains("| it replaces `"), "{found:?}");
    }
}

#[test]
fn the_effective_plan_is_the_same_plan() {
    let options = Options {
        vus: Some(7),
        duration: Some(Duration::from_millis(90_500)),
        ..env("staging")
    };
    let compiled = with(&without_broken(), &options).unwrap();
    let printed = compiled.effective_plan();
    assert!(printed.contains("duration: 1m30s500ms"), "{printed}");
    let again = with(&printed, &support::options()).unwrap();
    assert_eq!(again.program.plan_hash, compiled.program.plan_hash);
    assert_eq!(again.effective_plan(), printed);
}
