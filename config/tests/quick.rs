//! Runs without a plan, as the plans they amount to.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use loadr_config::{Executor, Quick};
use support::{good, shown};

fn quick() -> Quick {
    Quick {
        url: "http://h:8080/a?b=1".to_owned(),
        ..Quick::default()
    }
}

fn executor(quick: &Quick) -> Executor {
    let mut program = good(&quick.plan().unwrap()).program;
    program.scenarios.remove(0).executor
}

#[test]
fn a_url_alone_is_fifty_users_for_ten_seconds() {
    let plan = quick().plan().unwrap();
    assert_eq!(
        plan,
        "name: http://h:8080/a?b=1\ndefaults:\n  http:\n    cookies: false\nscenarios:\n  requests:\n    \
         executor: constant-vus\n    vus: 50\n    duration: 10s\n    flow:\n      - request:\n          \
         url: http://h:8080/a?b=1\n"
    );
    let program = good(&plan).program;
    assert!(program.requests[0].method == "GET" && program.requests.len() == 1);
}

#[test]
fn flags_choose_the_load_model() {
    let (vus, duration) = (Some(3), Some(Duration::from_secs(2)));
    assert_eq!(
        executor(&Quick {
            vus,
            duration,
            ..quick()
        }),
        Executor::ConstantVus {
            vus: 3,
            duration: Duration::from_secs(2)
        }
    );
    let iterations = Some(2);
    assert!(matches!(
        executor(&Quick {
            vus,
            iterations,
            ..quick()
        }),
        // No more users than there are requests.
        Executor::SharedIterations {
            vus: 2,
            iterations: 2,
            ..
        }
    ));
    let rate = Some(0.5);
    assert!(matches!(
        executor(&Quick {
            rate,
            duration,
            ..quick()
        }),
        Executor::ArrivalRate {
            pre_allocated_vus: 50,
            max_vus: 50,
            ..
        }
    ));
    let rate = Some(1e6);
    assert!(matches!(
        executor(&Quick {
            rate,
            duration,
            ..quick()
        }),
        Executor::ArrivalRate {
            pre_allocated_vus: 50,
            max_vus: 10_000,
            ..
        }
    ));
    assert!(matches!(
        executor(&Quick {
            rate,
            vus,
            duration,
            ..quick()
        }),
        Executor::ArrivalRate {
            pre_allocated_vus: 3,
            max_vus: 3,
            ..
        }
    ));
    let error = Quick {
        rate,
        iterations,
        ..quick()
    }
    .plan()
    .unwrap_err();
    assert!(error.contains("--duration"), "{error}");
}

#[test]
fn a_request_is_what_the_flags_say() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let body = r#"{"a": "b\n: # ${vu}"}"#;
    let quick = Quick {
        method: Some("put".to_owned()),
        headers: vec![
            header("X-A", "yes"),
            header("Content-Type", "application/json"),
        ],
        body: Some(loadr_config::QuickBody::Text(body.to_owned())),
        ..quick()
    };
    let program = good(&quick.plan().unwrap()).program;
    let request = &program.requests[0];
    let head = shown(&request.head, &[]);
    assert!(
        head.starts_with("PUT /a?b=1 HTTP/1.1\r\nhost: h:8080\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-a: yes\r\n"), "{head}");
    let sent = shown(request.body.as_ref().unwrap(), &[]);
    assert_eq!(sent, body.replace("${vu}", "<vu:None>"));
    let twice = Quick {
        headers: vec![header("a", "1"), header("A", "2")],
        ..quick
    };
    assert_eq!(twice.plan().unwrap_err(), "the header `A` is given twice");
}
