//! How often a call allocates on the host. A test binary of its own, because it counts for the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use loadr_plugin_host::{Host, Limits};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter is no part of the memory handed out.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps alloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps dealloc's contract, and the memory is the system's.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps realloc's contract, and the memory is the system's.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The fewest allocations of a thousand calls, of three tries: the test harness's own threads may allocate meanwhile.
fn of_1000_calls(mut call: impl FnMut()) -> usize {
    (0..100).for_each(|_| call());
    let count = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..1000).for_each(|_| call());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    std::iter::repeat_with(count).take(3).min().unwrap()
}

#[test]
fn a_call_allocates_nothing() {
    let host = Host::new().unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let load = |name: &str| {
        host.load(&plugins.join(name))
            .unwrap()
            .instantiate(&Limits::default())
            .unwrap()
    };
    let headers = [
        ("content-type", "text/html"),
        ("server", "test"),
        ("x-a", "b"),
    ];

    let mut order_id = load("order-id/order_id.wasm");
    let mut out = Vec::with_capacity(64);
    let found = of_1000_calls(|| {
        assert!(
            order_id
                .extract(b"id=ORDER-42;", &headers, "{}", &mut out)
                .unwrap()
        );
    });
    let none = of_1000_calls(|| {
        assert!(
            !order_id
                .extract(b"nothing", &headers, "{}", &mut out)
                .unwrap()
        );
    });

    let mut order_check = load("order-check/order_check.wasm");
    let mut detail = String::with_capacity(64);
    let pass = of_1000_calls(|| {
        assert!(
            order_check
                .check(200, b"x", &headers, 1.0, "{}", &mut detail)
                .unwrap()
        );
    });

    println!(
        "allocations of 1000 calls: {found} with a value, {none} without, {pass} for a check that passes"
    );
    assert_eq!((found, none, pass), (0, 0, 0));
}
