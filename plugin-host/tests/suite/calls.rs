//! What guests hand back, what they are handed, and how they share nothing.

use loadr_plugin_host::{CallError, Host, Limits};

use crate::guest::{Guest, call, when_empty, write};

/// An `option<string>` at 512 that says it lies at `at` and has `len` bytes.
fn returns(at: i64, len: i64) -> String {
    format!(
        "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const {at}))
         (i32.store (i32.const 520) (i32.const {len})) (return (i32.const 512))"
    )
}

fn refused(extract: &str) -> String {
    let host = Host::new().unwrap();
    let mut instance = Guest {
        extract: &when_empty(extract),
        ..Guest::default()
    }
    .instance(&host);
    let error = call(&mut instance, b"").unwrap_err();
    assert_eq!(
        call(&mut instance, b"x").unwrap().as_deref(),
        Some("ok"),
        "the next call"
    );
    match error {
        CallError::Trap(message) => message,
        CallError::Timeout => panic!("a timeout"),
    }
}

#[test]
fn a_value_comes_back_and_none_leaves_the_buffer_empty() {
    let host = Host::new().unwrap();
    let mut found = Guest::default().instance(&host);
    assert_eq!(call(&mut found, b"x").unwrap().as_deref(), Some("ok"));
    let mut none = Guest {
        extract: "i32.const 80",
        ..Guest::default()
    }
    .instance(&host);
    assert_eq!(call(&mut none, b"x").unwrap(), None);
}

#[test]
fn a_string_of_one_mebibyte_passes_and_one_byte_more_does_not() {
    let host = Host::new().unwrap();
    let extract = when_empty(&returns(1024, 1 << 20));
    let mut instance = Guest {
        extract: &extract,
        ..Guest::default()
    }
    .instance(&host);
    assert_eq!(call(&mut instance, b"").unwrap().unwrap().len(), 1 << 20);
    assert_eq!(
        refused(&returns(1024, (1 << 20) + 1)),
        "the plugin handed over more than 1024 KiB of text or data in one go"
    );
}

#[test]
fn a_string_that_says_it_is_huge_is_refused_before_anything_is_allocated() {
    let outside = "string pointer/length out of bounds of memory";
    assert_eq!(refused(&returns(1024, 100_000_000)), outside);
    assert_eq!(refused(&returns(1024, -1)), outside);
    assert_eq!(refused(&returns(-8, 16)), outside);
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let message = refused(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 255)) {}",
        returns(1024, 1)
    ));
    assert!(
        message.starts_with("the plugin returned bytes that are not UTF-8 where text is due"),
        "{message}"
    );
}

#[test]
fn a_result_out_of_bounds_or_of_no_case_is_refused() {
    assert_eq!(
        refused("(return (i32.const -4))"),
        "pointer out of bounds of memory"
    );
    assert_eq!(
        refused("(return (i32.const 513))"),
        "return pointer not aligned"
    );
    let message = refused("(i32.store8 (i32.const 512) (i32.const 7)) (return (i32.const 512))");
    assert!(message.contains("invalid option discriminant"), "{message}");
}

#[test]
fn an_allocator_that_answers_nonsense_is_refused() {
    let host = Host::new().unwrap();
    for answer in ["-1", "-65536", "0x7fffffff"] {
        let wat = Guest::default().wat().replace(
            "(local $at i32)",
            &format!("(local $at i32) (if (i32.eq (local.get $len) (i32.const 77)) (then (return (i32.const {answer}))))"),
        );
        let dir = tempfile::TempDir::new().unwrap();
        let plugin = host
            .load(&write(&dir, "a.wasm", &wat::parse_str(wat).unwrap()))
            .unwrap();
        let mut instance = plugin.instantiate(&Limits::default()).unwrap();
        assert_eq!(
            call(&mut instance, &[b'x'; 77]).unwrap_err().kind(),
            "plugin_trap",
            "{answer}"
        );
        assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("ok"));
    }
}

#[test]
fn a_body_larger_than_the_guests_memory_traps_and_nothing_else() {
    let host = Host::new().unwrap();
    let mut instance = Guest::default().instance(&host);
    assert_eq!(
        call(&mut instance, &vec![b'x'; 8 << 20])
            .unwrap_err()
            .kind(),
        "plugin_trap"
    );
    assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("ok"));
}

#[test]
fn text_in_utf16_is_understood() {
    let host = Host::new().unwrap();
    // "öl" in UTF-16: the length counts code units.
    let extract = format!(
        "(i32.store (i32.const 1024) (i32.const 0x006c00f6)) {} unreachable",
        returns(1024, 2)
    );
    let mut instance = Guest {
        extract: &extract,
        lift: "string-encoding=utf16",
        ..Guest::default()
    }
    .instance(&host);
    assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("öl"));
}

#[test]
fn arguments_arrive_whole_however_many_and_large_they_are() {
    let host = Host::new().unwrap();
    // The value of the header whose number is the body's first byte, if there is one and the body's last byte is as due.
    let extract = "(local $at i32)
        (if (i32.ge_u (i32.load8_u (local.get 0)) (local.get 3)) (then (return (i32.const 80))))
        (if (i32.ne (i32.load8_u (i32.sub (i32.add (local.get 0) (local.get 1)) (i32.const 1))) (i32.const 33))
          (then unreachable))
        (if (i32.ne (local.get 5) (i32.const 9)) (then unreachable))
        (if (i32.ne (i32.load8_u offset=8 (local.get 4)) (i32.const 125)) (then unreachable))
        (local.set $at (i32.add (local.get 2) (i32.shl (i32.load8_u (local.get 0)) (i32.const 4))))
        (i32.store8 (i32.const 512) (i32.const 1))
        (i32.store (i32.const 516) (i32.load offset=8 (local.get $at)))
        (i32.store (i32.const 520) (i32.load offset=12 (local.get $at)))
        i32.const 512";
    let mut instance = Guest {
        extract,
        ..Guest::default()
    }
    .instance(&host);
    let values: Vec<String> = (0..40).map(|n| "ä".repeat(n * 7)).collect();
    // Around the size up to which all is handed over in one block, and past it.
    for len in [2, 1000, 100_000, 131_000, 131_072, 200_000] {
        for count in [0, 1, 8, 40] {
            let headers: Vec<_> = values[..count]
                .iter()
                .map(|v| ("name", v.as_str()))
                .collect();
            for (n, expected) in (0..).zip(values[..count].iter().map(Some).chain([None])) {
                let mut body = vec![b'x'; len];
                (body[0], body[len - 1]) = (n, b'!');
                let mut out = Vec::new();
                let found = instance.extract(&body, &headers, r#"{"a":"b"}"#, &mut out);
                assert_eq!(found, Ok(expected.is_some()), "{len} {count} {n}");
                assert_eq!(out, expected.map_or(&b""[..], |v| v.as_bytes()));
            }
        }
    }
}

#[test]
fn a_plugin_cannot_see_another_plugins_memory() {
    let host = Host::new().unwrap();
    let secret = "(memory.fill (i32.const 8192) (i32.const 0xa5) (i32.const 1000000)) i32.const 64";
    // Looks for the secret in all the memory it can get, then past its end.
    let spy = "(local $at i32)
        (if (i32.eq (local.get 1) (i32.const 1)) (then (drop (i32.load (i32.shl (memory.size) (i32.const 16))))))
        (drop (memory.grow (i32.const 100)))
        (loop $l
          (if (i64.eq (i64.load (local.get $at)) (i64.const 0xa5a5a5a5a5a5a5a5)) (then (return (i32.const 80))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $l (i32.lt_u (local.get $at) (i32.shl (memory.size) (i32.const 16)))))
        i32.const 64";
    let instance = |extract: &str| {
        let guest = Guest {
            extract,
            ..Guest::default()
        };
        let limits = Limits {
            call_timeout: std::time::Duration::from_secs(10),
            ..Limits::default()
        };
        guest.load(&host).unwrap().instantiate(&limits).unwrap()
    };
    let (mut keeper, mut spy) = (instance(secret), instance(spy));
    assert_eq!(call(&mut keeper, b"").unwrap().as_deref(), Some("ok"));
    assert_eq!(call(&mut spy, b"").unwrap().as_deref(), Some("ok"));
    assert_eq!(
        call(&mut spy, b"x"),
        Err(CallError::Trap(
            "wasm trap: out of bounds memory access".into()
        ))
    );
    assert_eq!(call(&mut keeper, b"").unwrap().as_deref(), Some("ok"));
}

#[test]
fn an_instance_remembers_and_another_does_not_see_it() {
    let host = Host::new().unwrap();
    // Counts its calls; from the second on it returns none.
    let core = "(global $calls (mut i32) (i32.const 0))";
    let extract = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (select (i32.const 64) (i32.const 80) (i32.eq (global.get $calls) (i32.const 1)))";
    let plugin = Guest {
        core,
        extract,
        ..Guest::default()
    }
    .load(&host)
    .unwrap();
    let mut first = plugin.instantiate(&Limits::default()).unwrap();
    let mut second = plugin.instantiate(&Limits::default()).unwrap();
    assert!(call(&mut first, b"").unwrap().is_some());
    assert!(call(&mut first, b"").unwrap().is_none());
    assert!(call(&mut second, b"").unwrap().is_some());
}

#[test]
fn an_instance_can_move_to_another_thread_and_a_plugin_be_shared() {
    fn movable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync>(_: &T) {}
    let host = Host::new().unwrap();
    let plugin = Guest::default().load(&host).unwrap();
    shared(&plugin);
    let instances: Vec<_> = (0..4)
        .map(|_| plugin.instantiate(&Limits::default()).unwrap())
        .collect();
    movable(&instances[0]);
    std::thread::scope(|scope| {
        for mut instance in instances {
            scope.spawn(move || {
                for _ in 0..1000 {
                    assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("ok"));
                }
            });
        }
    });
}

#[test]
fn the_host_may_be_dropped_before_its_plugins() {
    let host = Host::new().unwrap();
    let plugin = Guest {
        extract: &when_empty("(loop $l (br $l))"),
        ..Guest::default()
    }
    .load(&host)
    .unwrap();
    drop(host);
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    drop(plugin);
    assert_eq!(call(&mut instance, b""), Err(CallError::Timeout));
}

#[test]
fn an_assertion_asked_of_an_extractor_is_an_error() {
    let host = Host::new().unwrap();
    let mut instance = Guest::default().instance(&host);
    let error = instance
        .check(200, b"", &[], 1.0, "{}", &mut String::new())
        .unwrap_err();
    assert_eq!(
        error,
        CallError::Trap("the plugin does not export an assertion".into())
    );
}
