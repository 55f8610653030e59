//! Guests that reach out through WASI: for time, files, sockets, names, the environment, the process.

use std::time::{Duration, Instant};

use loadr_plugin_host::{CallError, Host};

use crate::guest::{Guest, call, when_empty};

/// The clock and polling, as imported by guests built for WASI 0.2.0.
const SLEEP_IMPORTS: &str = r#"
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $p (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $p))))
      (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
      (alias outer 1 $pollable (type $p0))
      (export "pollable" (type $p (eq $p0)))
      (export "now" (func (result u64)))
      (export "subscribe-duration" (func (param "when" u64) (result (own $p))))
      (export "subscribe-instant" (func (param "when" u64) (result (own $p))))))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $poll (canon lower (func $poll "poll") (memory (core memory $memory)) (realloc (core func $realloc))))
    (core func $now (canon lower (func $clock "now")))
    (core func $duration (canon lower (func $clock "subscribe-duration")))
    (core func $instant (canon lower (func $clock "subscribe-instant")))
    (core func $drop (canon resource.drop $pollable))"#;

const SLEEP_LOWERED: &str = r#"(export "block" (func $block)) (export "poll" (func $poll)) (export "now" (func $now))
    (export "duration" (func $duration)) (export "instant" (func $instant)) (export "drop" (func $drop))"#;

const SLEEP_CORE: &str = r#"
    (import "wasi" "block" (func $block (param i32)))
    (import "wasi" "poll" (func $poll (param i32 i32 i32)))
    (import "wasi" "now" (func $now (result i64)))
    (import "wasi" "duration" (func $duration (param i64) (result i32)))
    (import "wasi" "instant" (func $instant (param i64) (result i32)))
    (import "wasi" "drop" (func $drop (param i32)))"#;

fn sleeper(extract: &str) -> (Result<Option<String>, CallError>, Duration) {
    let host = Host::new().unwrap();
    let guest = Guest {
        imports: SLEEP_IMPORTS,
        lowered: SLEEP_LOWERED,
        core_imports: SLEEP_CORE,
        extract: &when_empty(extract),
        ..Guest::default()
    };
    let mut instance = guest.instance(&host);
    let start = Instant::now();
    let result = call(&mut instance, b"");
    let took = start.elapsed();
    assert_eq!(
        call(&mut instance, b"x").unwrap().as_deref(),
        Some("ok"),
        "the next call"
    );
    (result, took)
}

#[track_caller]
fn is_cut(extract: &str) {
    let (result, took) = sleeper(extract);
    assert_eq!(result, Err(CallError::Timeout));
    assert!(took < Duration::from_secs(2), "took {took:?}");
}

#[test]
fn five_seconds_of_sleep_are_cut() {
    is_cut("(call $block (call $duration (i64.const 5000000000)))");
}

#[test]
fn sleep_until_an_instant_is_cut() {
    is_cut("(call $block (call $instant (i64.add (call $now) (i64.const 5000000000))))");
    is_cut("(call $block (call $instant (i64.const -1)))");
}

#[test]
fn polling_for_a_far_instant_is_cut() {
    is_cut(
        "(i32.store (i32.const 512) (call $duration (i64.const 5000000000)))
         (i32.store (i32.const 516) (call $duration (i64.const -1)))
         (call $poll (i32.const 512) (i32.const 2) (i32.const 528))",
    );
}

#[test]
fn many_short_sleeps_are_cut() {
    is_cut("(loop $l (call $block (call $duration (i64.const 5000000))) (br $l))");
}

#[test]
fn a_sleep_that_ends_in_time_ends() {
    let (result, took) = sleeper("(call $block (call $duration (i64.const 5000000)))");
    assert_eq!(result.unwrap().as_deref(), Some("ok"));
    assert!(took >= Duration::from_millis(5), "{took:?}");
}

#[test]
fn a_poll_says_what_is_ready() {
    let (result, _) = sleeper(
        "(i32.store (i32.const 512) (call $duration (i64.const -1)))
         (i32.store (i32.const 516) (call $duration (i64.const 0)))
         (call $poll (i32.const 512) (i32.const 2) (i32.const 528))
         (if (i32.ne (i32.load (i32.const 532)) (i32.const 1)) (then unreachable))
         (if (i32.ne (i32.load (i32.load (i32.const 528))) (i32.const 1)) (then unreachable))",
    );
    assert_eq!(result.unwrap().as_deref(), Some("ok"));
}

#[test]
fn an_empty_poll_and_a_foreign_handle_trap() {
    let (result, _) = sleeper("(call $poll (i32.const 512) (i32.const 0) (i32.const 528))");
    assert_eq!(
        result,
        Err(CallError::Trap("the plugin polls an empty list".into()))
    );
    let (result, _) = sleeper("(call $block (i32.const 12345))");
    assert_eq!(result.unwrap_err().kind(), "plugin_trap");
    let (result, _) =
        sleeper("(call $poll (i32.const 512) (i32.const 0x0fffffff) (i32.const 528))");
    assert_eq!(result.unwrap_err().kind(), "plugin_trap");
}

#[test]
fn a_guest_cannot_make_the_host_remember_without_bound() {
    let (result, _) = sleeper("(loop $l (drop (call $duration (i64.const 0))) (br $l))");
    assert_eq!(result.unwrap_err().kind(), "plugin_trap");
    // Given back, they cost nothing: this one ends by its deadline instead.
    is_cut("(loop $l (call $drop (call $duration (i64.const 0))) (br $l))");
}

/// Imports one interface with one function and calls it once; the guest checks what comes back.
fn reach(
    interface: &str,
    declaration: &str,
    function: &str,
    core_type: &str,
    extract: &str,
) -> Result<Option<String>, CallError> {
    let host = Host::new().unwrap();
    let imports = format!(
        r#"(import "{interface}" (instance $wasi {declaration}))
           (core func $f (canon lower (func $wasi "{function}") (memory (core memory $memory)) (realloc (core func $realloc))))"#
    );
    let core_imports = format!(r#"(import "wasi" "f" (func $f {core_type}))"#);
    let guest = Guest {
        imports: &imports,
        lowered: r#"(export "f" (func $f))"#,
        core_imports: &core_imports,
        extract: &when_empty(extract),
        ..Guest::default()
    };
    let mut instance = guest.instance(&host);
    let result = call(&mut instance, b"");
    assert_eq!(
        call(&mut instance, b"x").unwrap().as_deref(),
        Some("ok"),
        "the next call"
    );
    result
}

/// Traps, in the guest, unless the word at an address is as it should be.
fn expect(at: u32, word: u32) -> String {
    format!("(if (i32.ne (i32.load (i32.const {at})) (i32.const {word})) (then unreachable))")
}

#[track_caller]
fn is_ok(result: Result<Option<String>, CallError>) {
    assert_eq!(result.unwrap().as_deref(), Some("ok"));
}

#[test]
fn the_environment_is_empty() {
    // This process has an environment; the guest finds a list of none.
    assert!(std::env::vars().next().is_some());
    is_ok(reach(
        "wasi:cli/environment@0.2.0",
        r#"(export "get-environment" (func (result (list (tuple string string)))))"#,
        "get-environment",
        "(param i32)",
        &format!(
            "(i32.store (i32.const 516) (i32.const 9)) (call $f (i32.const 512)) {}",
            expect(516, 0)
        ),
    ));
}

#[test]
fn there_are_no_arguments() {
    is_ok(reach(
        "wasi:cli/environment@0.2.0",
        r#"(export "get-arguments" (func (result (list string))))"#,
        "get-arguments",
        "(param i32)",
        &format!(
            "(i32.store (i32.const 516) (i32.const 9)) (call $f (i32.const 512)) {}",
            expect(516, 0)
        ),
    ));
}

#[test]
fn there_is_no_directory_to_begin_with() {
    let declaration = r#"(export "descriptor" (type $d (sub resource)))
        (export "get-directories" (func (result (list (tuple (own $d) string)))))"#;
    is_ok(reach(
        "wasi:filesystem/preopens@0.2.0",
        declaration,
        "get-directories",
        "(param i32)",
        &format!(
            "(i32.store (i32.const 516) (i32.const 9)) (call $f (i32.const 512)) {}",
            expect(516, 0)
        ),
    ));
}

#[test]
fn a_file_cannot_be_opened_with_a_made_up_descriptor() {
    let declaration = r#"(export "descriptor" (type $d (sub resource)))
        (type $code (enum "access" "would-block"))
        (export "error-code" (type $code' (eq $code)))
        (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path" string) (result (result (own $d) (error $code')))))"#;
    let result = reach(
        "wasi:filesystem/types@0.2.0",
        declaration,
        "[method]descriptor.open-at",
        "(param i32 i32 i32 i32)",
        "(call $f (i32.const 3) (i32.const 96) (i32.const 2) (i32.const 512))",
    );
    assert_eq!(result.unwrap_err().kind(), "plugin_trap");
}

#[test]
fn a_socket_is_refused_with_access_denied() {
    let declaration = r#"(export "tcp-socket" (type $s (sub resource)))
        (type $code (enum "unknown" "access-denied" "not-supported"))
        (export "error-code" (type $code' (eq $code)))
        (type $family (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type $family' (eq $family)))
        (export "create-tcp-socket" (func (param "address-family" $family') (result (result (own $s) (error $code')))))"#;
    // The result is an error (1), and the error is the second of its enum, access-denied.
    is_ok(reach(
        "wasi:sockets/tcp-create-socket@0.2.0",
        declaration,
        "create-tcp-socket",
        "(param i32 i32)",
        &format!(
            "(call $f (i32.const 0) (i32.const 512))
             (if (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (then unreachable)) {}",
            "(if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then unreachable))"
        ),
    ));
}

#[test]
fn a_name_is_not_looked_up() {
    let host = Host::new().unwrap();
    let imports = r#"
        (import "wasi:sockets/network@0.2.0" (instance $network
          (export "network" (type (sub resource)))
          (type $code (enum "unknown" "access-denied"))
          (export "error-code" (type (eq $code)))))
        (alias export $network "network" (type $n))
        (alias export $network "error-code" (type $code))
        (import "wasi:sockets/instance-network@0.2.0" (instance $default
          (alias outer 1 $n (type $n0)) (export "network" (type $n (eq $n0)))
          (export "instance-network" (func (result (own $n))))))
        (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
          (alias outer 1 $n (type $n0)) (export "network" (type $n (eq $n0)))
          (alias outer 1 $code (type $c0)) (export "error-code" (type $c (eq $c0)))
          (export "resolve-address-stream" (type $s (sub resource)))
          (export "resolve-addresses" (func (param "network" (borrow $n)) (param "name" string) (result (result (own $s) (error $c)))))))
        (core func $network (canon lower (func $default "instance-network")))
        (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory (core memory $memory))))"#;
    let extract = "(call $resolve (call $network) (i32.const 96) (i32.const 2) (i32.const 512))
        (if (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then unreachable)) i32.const 64";
    let guest = Guest {
        imports,
        lowered: r#"(export "network" (func $network)) (export "resolve" (func $resolve))"#,
        core_imports: r#"(import "wasi" "network" (func $network (result i32)))
            (import "wasi" "resolve" (func $resolve (param i32 i32 i32 i32)))"#,
        extract,
        ..Guest::default()
    };
    assert_eq!(
        call(&mut guest.instance(&host), b"").unwrap().as_deref(),
        Some("ok")
    );
}

#[test]
fn an_interface_nobody_granted_can_be_imported_and_refuses() {
    let result = reach(
        "wasi:keyvalue/store@0.2.7",
        r#"(export "open" (func (param "name" string) (result u32)))"#,
        "open",
        "(param i32 i32) (result i32)",
        "(drop (call $f (i32.const 96) (i32.const 2)))",
    );
    let message = "the plugin called wasi:keyvalue/store#open, which a plugin may not use";
    assert_eq!(result, Err(CallError::Trap(message.into())));
}

#[test]
fn the_process_cannot_be_ended() {
    let result = reach(
        "wasi:cli/exit@0.2.0",
        r#"(export "exit" (func (param "status" (result))))"#,
        "exit",
        "(param i32)",
        "(call $f (i32.const 0))",
    );
    assert_eq!(result.unwrap_err().kind(), "plugin_trap");
}

#[test]
fn random_bytes_come_in_bounded_portions() {
    let random = |len: &str| {
        reach(
            "wasi:random/random@0.2.0",
            r#"(export "get-random-bytes" (func (param "len" u64) (result (list u8))))"#,
            "get-random-bytes",
            "(param i64 i32)",
            &format!(
                "(call $f (i64.const {len}) (i32.const 512)) {}",
                expect(516, 16)
            ),
        )
    };
    is_ok(random("16"));
    assert_eq!(random("1000000000000").unwrap_err().kind(), "plugin_trap");
}

/// Standard output and input.
fn stream(
    get: &str,
    function: &str,
    signature: &str,
    core_type: &str,
    extract: &str,
) -> Result<Option<String>, CallError> {
    let host = Host::new().unwrap();
    let (interface, resource) = match get {
        "get-stdin" => ("wasi:cli/stdin@0.2.0", "input-stream"),
        "get-stdout" => ("wasi:cli/stdout@0.2.0", "output-stream"),
        _ => ("wasi:cli/stderr@0.2.0", "output-stream"),
    };
    let imports = format!(
        r#"(import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
        (alias export $error "error" (type $error))
        (import "wasi:io/streams@0.2.0" (instance $streams
          (export "{resource}" (type $s (sub resource)))
          (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
          (type $fail (variant (case "last-operation-failed" (own $e)) (case "closed")))
          (export "stream-error" (type $f (eq $fail)))
          (export "[method]{resource}.{function}" (func (param "self" (borrow $s)) {signature}))))
        (alias export $streams "{resource}" (type $stream))
        (import "{interface}" (instance $std
          (alias outer 1 $stream (type $s0)) (export "{resource}" (type $s (eq $s0)))
          (export "{get}" (func (result (own $s))))))
        (core func $get (canon lower (func $std "{get}")))
        (core func $f (canon lower (func $streams "[method]{resource}.{function}") (memory (core memory $memory)) (realloc (core func $realloc))))"#
    );
    let core_imports = format!(
        r#"(import "wasi" "get" (func $get (result i32))) (import "wasi" "f" (func $f {core_type}))"#
    );
    let guest = Guest {
        imports: &imports,
        lowered: r#"(export "get" (func $get)) (export "f" (func $f))"#,
        core_imports: &core_imports,
        extract: &when_empty(extract),
        ..Guest::default()
    };
    let mut instance = guest.instance(&host);
    let result = call(&mut instance, b"");
    assert_eq!(
        call(&mut instance, b"x").unwrap().as_deref(),
        Some("ok"),
        "the next call"
    );
    result
}

#[test]
fn what_is_printed_is_dropped() {
    for get in ["get-stdout", "get-stderr"] {
        // The result is no error (0).
        is_ok(stream(
            get,
            "blocking-write-and-flush",
            r#"(param "contents" (list u8)) (result (result (error $f)))"#,
            "(param i32 i32 i32 i32)",
            "(i32.store8 (i32.const 512) (i32.const 9)) (call $f (call $get) (i32.const 96) (i32.const 2) (i32.const 512))
             (if (i32.load8_u (i32.const 512)) (then unreachable))",
        ));
    }
}

#[test]
fn a_huge_write_is_refused_and_huge_zeroes_cost_nothing() {
    let result = stream(
        "get-stdout",
        "write",
        r#"(param "contents" (list u8)) (result (result (error $f)))"#,
        "(param i32 i32 i32 i32)",
        "(call $f (call $get) (i32.const 0) (i32.const 1048577) (i32.const 512))",
    );
    let message = "the plugin handed over more than 1024 KiB of text or data in one go";
    assert_eq!(result, Err(CallError::Trap(message.into())));
    is_ok(stream(
        "get-stdout",
        "blocking-write-zeroes-and-flush",
        r#"(param "len" u64) (result (result (error $f)))"#,
        "(param i32 i64 i32)",
        "(call $f (call $get) (i64.const -1) (i32.const 512)) (if (i32.load8_u (i32.const 512)) (then unreachable))",
    ));
}

#[test]
fn standard_input_is_at_its_end_and_does_not_wait() {
    // The result is an error (1) whose case is closed (1).
    is_ok(stream(
        "get-stdin",
        "blocking-read",
        r#"(param "len" u64) (result (result (list u8) (error $f)))"#,
        "(param i32 i64 i32)",
        "(call $f (call $get) (i64.const 100) (i32.const 512))
         (if (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (then unreachable))
         (if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then unreachable))",
    ));
}
