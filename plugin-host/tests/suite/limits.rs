//! Guests that take more time, memory or stack than they have.

use std::time::{Duration, Instant};

use loadr_plugin_host::{CallError, Host, Limits};

use crate::guest::{Guest, call, when_empty};

/// Far more than a cut call needs on a busy machine, far less than for ever.
const SOON: Duration = Duration::from_secs(4);

fn attempt(guest: &Guest<'_>) -> CallError {
    let host = Host::new().unwrap();
    let bystander = Guest::default().load(&host).unwrap();
    let mut bystander = bystander.instantiate(&Limits::default()).unwrap();
    let mut instance = guest.instance(&host);
    let start = Instant::now();
    let error = call(&mut instance, b"").unwrap_err();
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    assert_eq!(
        call(&mut instance, b"x").unwrap().as_deref(),
        Some("ok"),
        "the next call of the same instance"
    );
    assert_eq!(
        call(&mut bystander, b"").unwrap().as_deref(),
        Some("ok"),
        "another plugin"
    );
    assert_eq!(
        call(&mut instance, b"").unwrap_err(),
        error,
        "the attempt again"
    );
    error
}

fn attempt_in_extract(code: &str) -> CallError {
    attempt(&Guest {
        extract: &when_empty(code),
        ..Guest::default()
    })
}

#[test]
fn an_endless_loop_is_cut() {
    let error = attempt_in_extract("(loop $l (br $l))");
    assert_eq!(error, CallError::Timeout);
    assert_eq!(error.kind(), "plugin_timeout");
}

#[test]
fn a_call_is_not_cut_before_its_deadline() {
    let host = Host::new().unwrap();
    let extract = when_empty("(loop $l (br $l))");
    let plugin = Guest {
        extract: &extract,
        ..Guest::default()
    }
    .load(&host)
    .unwrap();
    let call_timeout = Duration::from_millis(30);
    let mut instance = plugin
        .instantiate(&Limits {
            call_timeout,
            ..Limits::default()
        })
        .unwrap();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(call(&mut instance, b""), Err(CallError::Timeout));
        assert!(
            start.elapsed() >= call_timeout,
            "cut after {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn ten_slow_guests_do_not_make_an_eleventh_fail() {
    let host = Host::new().unwrap();
    let extract = when_empty("(loop $l (br $l))");
    let plugin = Guest {
        extract: &extract,
        ..Guest::default()
    }
    .load(&host)
    .unwrap();
    let mut slow: Vec<_> = (0..10)
        .map(|_| plugin.instantiate(&Limits::default()).unwrap())
        .collect();
    let mut eleventh = plugin.instantiate(&Limits::default()).unwrap();
    for instance in &mut slow {
        assert_eq!(call(instance, b""), Err(CallError::Timeout));
    }
    assert_eq!(call(&mut eleventh, b"x").unwrap().as_deref(), Some("ok"));
}

#[test]
fn an_endless_loop_in_the_guests_allocator_is_cut() {
    let host = Host::new().unwrap();
    // The host calls the allocator to hand the arguments over, before the function itself begins.
    let wat = Guest::default().wat().replace(
        "(local $at i32)",
        "(local $at i32) (if (i32.eq (local.get $len) (i32.const 77)) (then (loop $l (br $l))))",
    );
    let dir = tempfile::TempDir::new().unwrap();
    let plugin = host
        .load(&crate::guest::write(
            &dir,
            "a.wasm",
            &wat::parse_str(wat).unwrap(),
        ))
        .unwrap();
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    assert_eq!(call(&mut instance, &[b'x'; 77]), Err(CallError::Timeout));
    assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("ok"));
}

#[test]
fn a_guest_that_never_ends_describe_is_refused_at_load() {
    let host = Host::new().unwrap();
    let start = Instant::now();
    let error = Guest {
        describe: "(loop $l (br $l))",
        ..Guest::default()
    }
    .load(&host)
    .unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(
        error.message(),
        "did not start and describe itself within 1000 ms; its start functions or describe() do not end"
    );
}

#[test]
fn a_guest_that_never_ends_its_start_function_is_refused_at_load() {
    let host = Host::new().unwrap();
    let core = "(func $start (loop $l (br $l))) (start $start)";
    let error = Guest {
        core,
        ..Guest::default()
    }
    .load(&host)
    .unwrap_err();
    assert!(
        error
            .message()
            .starts_with("did not start and describe itself within 1000 ms"),
        "{error}"
    );
    assert!(Guest::default().load(&host).is_ok());
}

#[test]
fn a_guest_that_traps_in_describe_is_refused_at_load() {
    let host = Host::new().unwrap();
    let error = Guest {
        describe: "unreachable",
        ..Guest::default()
    }
    .load(&host)
    .unwrap_err();
    assert_eq!(
        error.message(),
        "failed while starting or in describe(): wasm trap: wasm `unreachable` instruction executed"
    );
}

#[test]
fn memory_past_the_cap_is_refused_to_the_guest_and_a_trap_that_follows_is_told() {
    // One page at a time; the guest gives up, as a C library does, when it gets no more.
    let error = attempt_in_extract(
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
    );
    assert_eq!(
        error,
        CallError::Trap("wasm trap: wasm `unreachable` instruction executed".into())
    );
    assert_eq!(error.kind(), "plugin_trap");
}

#[test]
fn a_guest_that_can_live_with_less_memory_lives_on() {
    let host = Host::new().unwrap();
    // 2 GiB at once, refused, then 16 pages, granted.
    let extract = "(if (i32.ne (memory.grow (i32.const 32768)) (i32.const -1)) (then unreachable))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) i32.const 64";
    let mut instance = Guest {
        extract,
        ..Guest::default()
    }
    .instance(&host);
    for _ in 0..10 {
        assert_eq!(call(&mut instance, b"").unwrap().as_deref(), Some("ok"));
    }
}

#[test]
fn several_memories_share_one_cap() {
    let host = Host::new().unwrap();
    // Three memories of 512 pages, 32 MiB, each beside the one of 20 pages: past 64 MiB together.
    let imports = r#"(core module $big (memory 512)) (core instance (instantiate $big))
        (core instance (instantiate $big)) (core instance (instantiate $big))"#;
    let plugin = Guest {
        imports,
        ..Guest::default()
    }
    .load(&host)
    .unwrap();
    let error = plugin.instantiate(&Limits::default()).unwrap_err();
    assert_eq!(error.kind(), "plugin_trap");
    assert!(
        plugin
            .instantiate(&Limits {
                memory_bytes: 128 << 20,
                ..Limits::default()
            })
            .is_ok()
    );
}

#[test]
fn a_table_bomb_is_refused() {
    let host = Host::new().unwrap();
    let core = "(table $t 1 funcref)";
    let extract = when_empty(
        "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable",
    );
    let mut instance = Guest {
        core,
        extract: &extract,
        ..Guest::default()
    }
    .instance(&host);
    assert_eq!(call(&mut instance, b"").unwrap_err().kind(), "plugin_trap");
    assert_eq!(call(&mut instance, b"x").unwrap().as_deref(), Some("ok"));
}

#[test]
fn a_component_of_very_many_instances_is_refused() {
    let host = Host::new().unwrap();
    let imports = format!(
        "(core module $e) {}",
        "(core instance (instantiate $e))".repeat(600)
    );
    let error = Guest {
        imports: &imports,
        ..Guest::default()
    }
    .load(&host)
    .unwrap_err();
    assert!(
        error.message().contains("resource limit exceeded"),
        "{error}"
    );
}

#[test]
fn a_stack_overflow_traps() {
    let guest = Guest {
        core: "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))",
        extract: &when_empty("(drop (call $deeper (i64.const 0)))"),
        ..Guest::default()
    };
    assert_eq!(
        attempt(&guest),
        CallError::Trap("wasm trap: call stack exhausted".into())
    );
}

#[test]
fn an_unreachable_instruction_traps() {
    let error = attempt_in_extract("unreachable");
    assert_eq!(
        error,
        CallError::Trap("wasm trap: wasm `unreachable` instruction executed".into())
    );
}

#[test]
fn an_access_out_of_bounds_traps() {
    let error = attempt_in_extract("(drop (i32.load (i32.const -8)))");
    assert_eq!(
        error,
        CallError::Trap("wasm trap: out of bounds memory access".into())
    );
}
