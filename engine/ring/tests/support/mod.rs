//! Peers of the standard library, and turns of a ring until something has happened.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; each test file uses a part"
)]

use std::net::{SocketAddr, TcpListener};

use loadr_ring::{Event, Ring, Slot};

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Turns until `done` says so, at most 5,000 of them.
pub fn turn_until(ring: &mut Ring, mut done: impl FnMut(&mut Ring, &[Event]) -> bool) {
    for _ in 0..5000 {
        let mut events = Vec::new();
        ring.turn(Some(10_000_000), |event| events.push(event));
        if done(ring, &events) {
            return;
        }
    }
    panic!("it did not happen");
}

pub fn connect(ring: &mut Ring, address: SocketAddr) -> Slot {
    let slot = ring.connect(address, None).unwrap();
    turn_until(ring, |_, events| events.contains(&Event::Connected(slot)));
    slot
}
