//! What an instance remembers, and what becomes of it: one that lasts, one that is made for each call, and the pool they
//! come from.

use std::time::{Duration, Instant};

use loadr_plugin_host::{CallError, Host, Instance, Limits, Plugin, Turnover};

use crate::guest::{Guest, call};

/// Counts its calls in its memory: "1k", "2k" and so on. A body of one byte makes it trap, of two
/// bytes loop, after it has counted.
fn counter(host: &Host) -> Plugin {
    let extract = "(i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
        (i32.store8 (i32.const 96) (i32.add (i32.const 48) (i32.load (i32.const 1024))))
        (if (i32.eq (local.get 1) (i32.const 1)) (then unreachable))
        (if (i32.eq (local.get 1) (i32.const 2)) (then (loop $l (br $l))))
        i32.const 64";
    Guest {
        extract,
        ..Guest::default()
    }
    .load(host)
    .unwrap()
}

fn count(instance: &mut Instance) -> String {
    call(instance, b"").unwrap().unwrap()
}

fn limits() -> Limits {
    Limits {
        call_timeout: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// One of each kind: shared by a shard, of a virtual user, of a call.
fn kinds(host: &Host) -> [Instance; 3] {
    let plugin = counter(host);
    let of_users = plugin.pooled(1, &limits(), Turnover::Run).unwrap();
    let of_calls = plugin.pooled(1, &limits(), Turnover::Call).unwrap();
    [
        plugin.instantiate(&limits()).unwrap(),
        of_users.instantiate(&limits()).unwrap(),
        of_calls.fresh_each_call(&limits()),
    ]
}

#[test]
fn an_instance_that_lasts_remembers_and_one_made_for_each_call_does_not() {
    let host = Host::new().unwrap();
    let counts = kinds(&host).map(|mut instance| {
        [
            count(&mut instance),
            count(&mut instance),
            count(&mut instance),
        ]
    });
    assert_eq!(
        counts,
        [["1k", "2k", "3k"], ["1k", "2k", "3k"], ["1k", "1k", "1k"]]
    );
}

#[test]
fn after_a_trap_or_a_timeout_the_next_call_finds_a_fresh_instance() {
    let host = Host::new().unwrap();
    for mut instance in kinds(&host) {
        count(&mut instance);
        assert_eq!(call(&mut instance, b"x").unwrap_err().kind(), "plugin_trap");
        assert_eq!(count(&mut instance), "1k");
        assert_eq!(call(&mut instance, b"xx"), Err(CallError::Timeout));
        assert_eq!(count(&mut instance), "1k");
    }
}

#[test]
fn the_pools_of_several_plugins_and_users_are_apart() {
    let host = Host::new().unwrap();
    let plugin = counter(&host);
    let pool = plugin.pooled(2, &limits(), Turnover::Run).unwrap();
    let mut first = pool.instantiate(&limits()).unwrap();
    let mut second = pool.instantiate(&limits()).unwrap();
    assert_eq!(count(&mut first), "1k");
    assert_eq!(count(&mut first), "2k");
    assert_eq!(count(&mut second), "1k");
    // The pool is full; what is left makes room.
    assert_eq!(
        pool.instantiate(&limits()).unwrap_err().kind(),
        "plugin_trap"
    );
    drop(first);
    let mut third = pool.instantiate(&limits()).unwrap();
    assert_eq!(count(&mut third), "1k");
    assert_eq!(count(&mut second), "2k");
}

/// Fills its memory with a secret when the body is empty; else it looks for anything but zeroes where the secret was.
fn secretive(host: &Host, pages: u32) -> Plugin {
    let end = (20 + pages) * 65_536;
    let extract = format!(
        "(local $at i32)
         (if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))
         (if (i32.eqz (local.get 1)) (then
           (memory.fill (i32.const 8192) (i32.const 0xa5) (i32.const {}))
           (return (i32.const 64))))
         (local.set $at (i32.const 8192))
         (loop $l
           (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (i32.const 80))))
           (local.set $at (i32.add (local.get $at) (i32.const 8)))
           (br_if $l (i32.lt_u (local.get $at) (i32.const {end}))))
         i32.const 64",
        end - 8192
    );
    Guest {
        extract: &extract,
        ..Guest::default()
    }
    .load(host)
    .unwrap()
}

#[test]
fn nothing_of_a_former_instances_memory_is_seen() {
    let host = Host::new().unwrap();
    let limits = Limits {
        call_timeout: Duration::from_secs(10),
        ..Limits::default()
    };
    // Less than what is wiped by hand, and more.
    for pages in [1, 300] {
        let plugin = secretive(&host, pages);
        for turnover in [Turnover::Run, Turnover::Call] {
            // One place, so that every instance gets the memory of the one before.
            let pool = plugin.pooled(1, &limits, turnover).unwrap();
            let mut instance = pool.fresh_each_call(&limits);
            for _ in 0..3 {
                assert_eq!(call(&mut instance, b"").unwrap().as_deref(), Some("ok"));
                let looked = call(&mut instance, b"x").unwrap();
                assert_eq!(looked.as_deref(), Some("ok"), "{pages} {turnover:?}");
            }
        }
    }
}

#[test]
fn the_caps_hold_in_a_pool() {
    let host = Host::new().unwrap();
    let guest = |extract: &str| {
        Guest {
            extract,
            core: "(table $t 1 funcref)",
            ..Guest::default()
        }
        .load(&host)
        .unwrap()
    };
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (if (i32.ne (memory.size) (i32.const 1024)) (then unreachable)) i32.const 64";
    let table = "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))))
        (if (i32.gt_u (table.size $t) (i32.const 131072)) (then unreachable)) i32.const 64";
    for extract in [grow, table] {
        let pool = guest(extract).pooled(1, &Limits::default(), Turnover::Call);
        let mut instance = pool.unwrap().fresh_each_call(&Limits::default());
        for _ in 0..3 {
            assert_eq!(call(&mut instance, b"").unwrap().as_deref(), Some("ok"));
        }
    }
}

#[test]
fn a_pool_that_cannot_be_is_refused_with_the_number_that_can() {
    let host = Host::new().unwrap();
    let plugin = counter(&host);
    let error = plugin
        .pooled(100_000, &Limits::default(), Turnover::Run)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "100000 instances of it do not fit: each sets aside 8 GiB of addresses, so that 10240 fit at most"
    );
    let small = Limits {
        memory_bytes: 64 << 10,
        ..Limits::default()
    };
    // Less than the guest has to begin with.
    let pool = plugin.pooled(1, &small, Turnover::Run).unwrap();
    assert_eq!(pool.instantiate(&small).unwrap_err().kind(), "plugin_trap");
}

#[test]
fn a_thousand_users_are_quickly_made_and_each_remembers_its_own() {
    let host = Host::new().unwrap();
    let pool = counter(&host)
        .pooled(1000, &Limits::default(), Turnover::Run)
        .unwrap();
    let start = Instant::now();
    let mut users: Vec<_> = (0..1000)
        .map(|_| pool.instantiate(&Limits::default()).unwrap())
        .collect();
    assert!(start.elapsed() < Duration::from_secs(5));
    for round in ["1k", "2k"] {
        for user in &mut users {
            assert_eq!(count(user), round);
        }
    }
}
