//! Steps that have steps in them.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use loadr_config::{Items, Pause, RequestId, Step, Strategy};
use support::{errors, good};

/// A plan with these lines under `flow:`.
fn plan(flow: &str) -> String {
    let flow = flow.trim_matches('\n').replace('\n', "\n      ");
    format!(
        "defaults: {{ http: {{ base_url: 'http://h' }} }}\nscenarios:\n  s:\n    executor: constant-vus\n    \
         vus: 1\n    duration: 1s\n    flow:\n      {flow}\n"
    )
}

#[test]
fn every_step_compiles_to_what_it_says() {
    let compiled = good(&plan(
        r#"
- think_time: { type: gaussian, mean: 2s, std_dev: 500ms }
- repeat: { times: 3, counter: round, steps: [ { request: { url: "/${round}" } } ] }
- during: { duration: 5s, steps: [ { request: { url: "/${index}" } } ] }
- foreach: { items: [ a, 2, "${vu}" ], steps: [ { request: { url: "/${item}/${index}" } } ] }
- random: { strategy: round_robin, choices: [ { weight: 0.5, steps: [ { request: { url: /x } } ] }, { name: n, steps: [ { request: { url: /y } } ] } ] }
- switch: { value: "${vu}", cases: { "1": [ { request: { url: /one } } ] }, default: [ { request: { url: /other } } ] }
- retry: { times: 5, backoff: 10ms, steps: [ { request: { url: /r } } ] }
"#,
    ));
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    let program = compiled.program;
    let request = |id| vec![Step::Request(RequestId(id))];
    let [think, repeat, during, foreach, random, switch, retry] =
        program.scenarios[0].flow.as_slice()
    else {
        panic!("{:?}", program.scenarios[0].flow);
    };
    let (mean, std_dev) = (Duration::from_secs(2), Duration::from_millis(500));
    assert_eq!(*think, Step::Think(Pause::Gaussian { mean, std_dev }));
    let name = |var: &loadr_config::VarId| program.vars[var.at()].as_str();
    assert!(
        matches!(repeat, Step::Repeat { times: 3, counter: Some(c), steps } if name(c) == "round" && *steps == request(0))
    );
    assert!(
        matches!(during, Step::During { duration, counter, steps } if duration.as_secs() == 5 && name(counter) == "index" && *steps == request(1))
    );
    assert!(
        matches!(foreach, Step::ForEach { items: Items::List(items), var, .. } if items.len() == 3 && name(var) == "item")
    );
    let Step::Random {
        id: 0,
        strategy: Strategy::RoundRobin,
        choices,
    } = random
    else {
        panic!("{random:?}");
    };
    assert_eq!(*choices, [(0.5, request(3)), (1.0, request(4))]);
    let Step::Switch { cases, default, .. } = switch else {
        panic!("{switch:?}")
    };
    assert_eq!(
        (cases.as_slice(), default),
        ([((*b"1").into(), request(5))].as_slice(), &request(6))
    );
    let backoff = Duration::from_millis(10);
    assert_eq!(
        *retry,
        Step::Retry {
            times: 5,
            backoff,
            steps: request(7)
        }
    );
    assert_eq!(program.randoms, 1);
}

#[test]
fn groups_are_tags_of_their_requests() {
    let program = good(&plan(
        r#"
- request: { url: /a }
- group:
    name: shop
    steps:
      - request: { url: /b }
      - group: { name: "pay ${scenario}", steps: [ { request: { url: /c } } ] }
      - request: { url: /d }
"#,
    ))
    .program;
    let groups: Vec<&str> = program.requests.iter().map(|r| r.group.as_str()).collect();
    assert_eq!(groups, ["", "::shop", "::shop::pay s", "::shop"]);
    assert_eq!(
        program.scenarios[0].flow.len(),
        4,
        "groups are gone from the flow"
    );
}

#[test]
fn think_times_follow_every_request_and_the_nearest_one_holds() {
    let text =
        plan("- request: { url: /a }\n- repeat: { times: 2, steps: [ { request: { url: /b } } ] }");
    let pause = |secs| Step::Think(Pause::Constant(Duration::from_secs(secs)));
    let outer = text.replace(
        "http: {",
        "think_time: { type: constant, duration: 1s }, http: {",
    );
    let flow = &good(&outer).program.scenarios[0].flow;
    assert_eq!(flow[1], pause(1));
    assert!(matches!(&flow[2], Step::Repeat { steps, .. } if steps[1] == pause(1)));
    let inner = outer.replace(
        "vus: 1",
        "vus: 1\n    think_time: { type: constant, duration: 2s }",
    );
    assert_eq!(good(&inner).program.scenarios[0].flow[1], pause(2));
}

#[test]
fn scenario_tags_are_on_every_request_under_the_steps_own() {
    let text = plan("- request: { url: /a, tags: { b: step } }")
        .replace("vus: 1", "vus: 1\n    tags: { a: scenario, b: scenario }");
    let tags = &good(&text).program.requests[0].tags;
    let expected = [("a", "scenario"), ("b", "step")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(*tags, expected);
}

#[test]
fn mistakes_in_nested_steps_are_all_found_where_they_are() {
    let found = errors(&plan(
        r#"
- repeat: { times: 0, steps: [ { request: { urll: / } } ] }
- during: { duration: 0s, steps: [] }
- foreach: { items: 3, steps: [ { request: { url: / } } ] }
- random: { choices: [ { weight: 0, steps: [ { request: { url: / } } ] } ] }
- switch: { value: a, cases: { x: [ { nope: 1 } ] } }
- retry: { until: x, steps: [ { request: { url: "/${vars.y}" } } ] }
- think_time: { type: uniform, min: 2s, max: 1s }
- group: { steps: [ { request: { url: / } } ] }
- repeat: { times: 2, counter: vu, steps: [ { request: { url: / } } ] }
"#,
    ));
    for (line, what) in [
        ("8", "flow[0].repeat.times"),
        ("8", "flow[0].repeat.steps[0].request.urll"),
        ("9", "flow[1].during.duration"),
        ("9", "flow[1].during.steps: the list is empty"),
        ("10", "`3` is neither a list nor a JSON array"),
        ("11", "no choice has a weight above 0"),
        ("12", "flow[4].switch.cases.x[0].nope"),
        ("13", "`until` is not available"),
        ("13", "there is no variable `y`"),
        ("14", "`min` (2s) is more than `max` (1s)"),
        ("15", "a group needs `name`"),
        ("16", "`${vu}` has a meaning of its own"),
    ] {
        assert!(
            found
                .iter()
                .any(|e| e.starts_with(&format!("{line}:")) && e.contains(what)),
            "{line} {what} is not in {found:#?}"
        );
    }
}

#[test]
fn parallel_steps_and_meetings_compile() {
    let program = good(&plan(
        r#"
- parallel: { branches: [ [ { request: { url: /p } } ], [ { request: { url: /q } }, { rendezvous: { name: here, users: 1 } } ] ] }
- rendezvous: { name: here, users: 1, timeout: 2s }
- rendezvous: { name: there, users: 7 }
"#,
    ))
    .program;
    let scenario = &program.scenarios[0];
    let [Step::Parallel { branches }, here, there] = scenario.flow.as_slice() else {
        panic!("{:?}", scenario.flow);
    };
    let lengths: Vec<_> = branches.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 2]);
    assert_eq!(
        scenario.lanes, 3,
        "the user's own connections and those of two branches"
    );
    let at = |step: &Step| match step {
        Step::Rendezvous { id, timeout } => (id.at(), timeout.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (at(here), at(there), at(&branches[1][1])),
        ((0, 2), (1, 30), (0, 30))
    );
    let places: Vec<_> = program
        .rendezvous
        .iter()
        .map(|place| (place.name.as_str(), place.users))
        .collect();
    assert_eq!(places, [("here", 1), ("there", 7)]);
    assert_eq!(scenario.rendezvous.len(), 2);
}

#[test]
fn lanes_are_as_many_as_run_at_once() {
    let request = "[ { request: { url: / } } ]";
    let two = format!("{{ parallel: {{ branches: [ {request}, {request} ] }} }}");
    for (flow, lanes) in [
        ("- request: { url: / }".to_owned(), 1),
        (format!("- {two}\n- {two}"), 3),
        (
            format!("- parallel: {{ branches: [ [ {two} ], {request} ] }}"),
            5,
        ),
        (format!("- repeat: {{ times: 2, steps: [ {two} ] }}"), 3),
    ] {
        let program = good(&plan(&flow)).program;
        assert_eq!(program.scenarios[0].lanes, lanes, "{flow}");
    }
}

#[test]
fn what_cannot_run_at_once_is_refused() {
    let many = vec!["[ { request: { url: / } } ]"; 65].join(", ");
    let found = errors(&plan(&format!("- parallel: {{ branches: [ {many} ] }}")));
    assert!(
        found.len() == 1 && found[0].contains("65 branches at once; there may be 64"),
        "{found:?}"
    );
    let inner = vec!["[ { request: { url: / } } ]"; 20].join(", ");
    let inner = vec![format!("[ {{ parallel: {{ branches: [ {inner} ] }} }} ]"); 20].join(", ");
    let found = errors(&plan(&format!("- parallel: {{ branches: [ {inner} ] }}")));
    assert!(
        found.len() == 1 && found[0].contains("421 things at once"),
        "{found:?}"
    );
    let found = errors(&plan(
        "- rendezvous: { name: a, users: 2 }\n- rendezvous: { name: a, users: 3 }",
    ));
    assert!(
        found.len() == 1 && found[0].contains("has 3 users here and 2 at line 8"),
        "{found:?}"
    );
    for step in [
        "parallel: { branches: [] }",
        "parallel: { branches: [ [] ] }",
        "parallel: {}",
        "rendezvous: { name: a }",
        "rendezvous: { name: a, users: 0 }",
        "rendezvous: { name: a, users: 1, timeout: 0s }",
        "rendezvous: { name: a, users: .nan }",
    ] {
        assert_eq!(errors(&plan(&format!("- {step}"))).len(), 1, "{step}");
    }
}
