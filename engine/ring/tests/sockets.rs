//! The ring against real sockets of the standard library.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use loadr_ring::{BUFFER_BYTES, Event, Port, Ring, SendError, Settings, Slot};
use support::{connect, listener, turn_until};

fn ring() -> Ring {
    Ring::new(&Settings::for_connections(64)).unwrap()
}

#[test]
fn what_is_sent_comes_back_in_order() {
    let (listener, address) = listener();
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 65_536];
        while let Ok(n @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..n]).unwrap();
        }
    });
    let mut ring = ring();
    let slot = connect(&mut ring, address);
    for round in 0..200u8 {
        let message = vec![round; 1 + usize::from(round) * 97];
        ring.send(slot, &message).unwrap();
        assert_eq!(ring.send(slot, b"x"), Err(SendError::Busy));
        let mut got = Vec::new();
        turn_until(&mut ring, |ring, _| {
            while !ring.received(slot).is_empty() {
                // Half of it, to show that a buffer can be consumed in parts.
                let take = ring.received(slot).len().div_ceil(2);
                got.extend_from_slice(&ring.received(slot)[..take]);
                ring.consume(slot, take);
            }
            got.len() >= message.len()
        });
        assert_eq!(got, message);
    }
    ring.close(slot);
    ring.turn(Some(0), |_| {});
    echo.join().unwrap();
}

#[test]
fn a_send_larger_than_the_socket_takes_arrives_whole() {
    let (listener, address) = listener();
    let total = 20 << 20;
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Lets the sender's buffers fill first.
        thread::sleep(std::time::Duration::from_millis(100));
        let mut bytes = vec![0; total];
        stream.read_exact(&mut bytes).unwrap();
        bytes
            .iter()
            .enumerate()
            .all(|(i, &b)| b == (i / 60_000) as u8)
    });
    let mut ring = ring();
    let slot = connect(&mut ring, address);
    // Staged sends that overflow the socket's buffer, then one larger than the arena takes.
    let bytes: Vec<u8> = (0..total).map(|i| (i / 60_000) as u8).collect();
    let (staged, large) = bytes.split_at(10 << 20);
    for piece in staged.chunks(60_000) {
        while ring.send(slot, piece) == Err(SendError::Busy) {
            ring.turn(Some(10_000_000), |_| {});
        }
    }
    while ring.send(slot, large) == Err(SendError::Busy) {
        ring.turn(Some(10_000_000), |_| {});
    }
    turn_until(&mut ring, |_, events| {
        events.contains(&Event::Drained(slot))
    });
    assert!(reader.join().unwrap());
}

#[test]
fn a_flood_is_received_whole_when_buffers_run_out() {
    let (listener, address) = listener();
    let total = 64 * BUFFER_BYTES * 16;
    let writer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let bytes: Vec<u8> = (0..total).map(|i| (i / 1000) as u8).collect();
        stream.write_all(&bytes).unwrap();
    });
    let mut ring = ring();
    let slot = connect(&mut ring, address);
    // Nothing is consumed until the kernel has no buffer left.
    for _ in 0..50 {
        ring.turn(Some(1_000_000), |_| {});
    }
    let mut at = 0;
    turn_until(&mut ring, |ring, events| {
        while !ring.received(slot).is_empty() {
            let bytes = ring.received(slot);
            for &b in bytes {
                assert_eq!(b, (at / 1000) as u8);
                at += 1;
            }
            let len = bytes.len();
            ring.consume(slot, len);
        }
        events.contains(&Event::Ended(slot))
    });
    assert_eq!(at, total);
    writer.join().unwrap();
}

#[test]
fn a_refused_connection_fails_with_the_systems_error() {
    let (listener, address) = listener();
    drop(listener);
    let mut ring = ring();
    let slot = ring.connect(address, None).unwrap();
    turn_until(&mut ring, |_, events| events == [Event::Failed(slot, 111)]);
    ring.close(slot);
    ring.turn(Some(0), |event| panic!("{event:?}"));
}

#[test]
fn slots_are_reused_without_end_and_old_bytes_do_not_show() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        for i in 0..300u32 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&i.to_le_bytes()).unwrap();
            if i % 3 == 0 {
                drop(stream);
            } else {
                thread::spawn(move || stream.read(&mut [0]));
            }
        }
    });
    let mut ring = ring();
    for i in 0..300u32 {
        let slot = connect(&mut ring, address);
        turn_until(&mut ring, |ring, _| ring.received(slot).len() >= 4);
        assert_eq!(ring.received(slot), i.to_le_bytes());
        ring.close(slot);
    }
    server.join().unwrap();
}

#[test]
fn a_listener_accepts_serves_and_frees() {
    let mut ring = ring();
    let (listener, address) = ring
        .listen("127.0.0.1:0".parse().unwrap(), Port::Shared)
        .unwrap();
    let client = thread::spawn(move || {
        for i in 0..200u32 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&i.to_le_bytes()).unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, i.to_le_bytes());
        }
    });
    let mut ended = 0;
    turn_until(&mut ring, |ring, events| {
        for event in events {
            match *event {
                Event::Received(slot) => {
                    let bytes = ring.received(slot).to_vec();
                    ring.consume(slot, bytes.len());
                    ring.send(slot, &bytes).unwrap();
                }
                Event::Ended(slot) => {
                    ring.close(slot);
                    ended += 1;
                }
                Event::Accepted(by, _) => assert_eq!(by, listener),
                _ => {}
            }
        }
        ended == 200
    });
    client.join().unwrap();
}

#[test]
fn rings_that_share_a_port_by_core_get_their_own_cores_connections() {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [first, second, ..] = cores[..] else {
        eprintln!("SKIPPED: rings_that_share_a_port_by_core (there is one core)");
        return;
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(2)) {
        eprintln!("SKIPPED: rings_that_share_a_port_by_core (the kernel is older than 6.2)");
        return;
    }
    let (mut ring, mut other) = (ring(), ring());
    let (_, address) = ring
        .listen("127.0.0.1:0".parse().unwrap(), Port::SharedByCore(first.id))
        .unwrap();
    other
        .listen(address, Port::SharedByCore(second.id))
        .unwrap();
    let from = |core, count| {
        thread::spawn(move || {
            assert!(core_affinity::set_for_current(core));
            let connect = |_| TcpStream::connect(address).unwrap();
            (0..count).map(connect).collect::<Vec<_>>()
        })
    };
    let streams = [from(first, 30), from(second, 10)].map(|thread| thread.join().unwrap());
    let mut accepted = [0, 0];
    // The kernel had taken all of them before this.
    for _ in 0..40 {
        for (ring, accepted) in [&mut ring, &mut other].into_iter().zip(&mut accepted) {
            ring.turn(Some(1_000_000), |event| {
                *accepted += u32::from(matches!(event, Event::Accepted(..)));
            });
        }
    }
    drop(streams);
    assert_eq!(accepted.iter().sum::<u32>(), 40, "{accepted:?}");
    // A core may be called away from a packet now and then.
    assert!(accepted[0] >= 27 && accepted[1] >= 7, "{accepted:?}");
}

#[test]
fn another_thread_ends_a_wait_that_has_no_end() {
    let mut ring = ring();
    let waker = ring.waker();
    for _ in 0..3 {
        let waker = waker.clone();
        let other = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(20));
            waker.wake();
        });
        let mut events = Vec::new();
        while events.is_empty() {
            ring.turn(None, |event| events.push(event));
        }
        assert_eq!(events, [Event::Woken]);
        other.join().unwrap();
    }
}

#[test]
fn a_ring_that_is_full_of_sockets_says_so_and_goes_on() {
    let (listener, address) = listener();
    let mut ring = Ring::new(&Settings {
        sockets: 2,
        buffers: 256,
    })
    .unwrap();
    let first = connect(&mut ring, address);
    let _second = connect(&mut ring, address);
    assert_eq!(
        ring.connect(address, None).unwrap_err().raw_os_error(),
        // ENOBUFS: it is the ring that is full, not the process or the system (EMFILE, ENFILE).
        Some(105)
    );
    ring.close(first);
    turn_until(&mut ring, |ring, _| match ring.connect(address, None) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(23));
            false
        }
    });
    drop(listener);
}

#[test]
fn a_rest_of_one_socket_does_not_make_another_look_busy() {
    let (listener, address) = listener();
    let mut ring = ring();
    let (stuck, quick) = (connect(&mut ring, address), connect(&mut ring, address));
    let _peers = [listener.accept().unwrap(), listener.accept().unwrap()];
    // Nobody reads: sooner or later the buffers of one are full, and a rest is left over in that very turn.
    let bytes = vec![7; 60_000];
    for _ in 0..10_000 {
        ring.send(stuck, &bytes).unwrap();
        ring.send(quick, b"x").unwrap();
        ring.turn(Some(0), |_| {});
        assert!(!ring.is_sending(quick));
        if ring.is_sending(stuck) {
            return;
        }
    }
    panic!("no send was short");
}

#[test]
fn every_connection_of_a_full_ring_can_be_replaced_in_one_turn() {
    let (listener, address) = listener();
    // Fewer than a listener of the standard library keeps waiting.
    let connections = 100;
    let mut ring = Ring::new(&Settings::for_connections(connections)).unwrap();
    let accepting = thread::spawn(move || {
        let all = 2 * connections as usize;
        listener.incoming().take(all).collect::<Vec<_>>()
    });
    let mut slots: Vec<Slot> = (0..connections)
        .map(|_| connect(&mut ring, address))
        .collect();
    // As when a server closes them all at once: each is closed, and its place taken by a new one at once.
    for slot in &mut slots {
        ring.close(*slot);
        *slot = ring.connect(address, None).unwrap();
    }
    let mut connected = 0;
    turn_until(&mut ring, |_, events| {
        connected += events
            .iter()
            .filter(|e| matches!(e, Event::Connected(_)))
            .count();
        connected == slots.len()
    });
    accepting.join().unwrap();
}

#[test]
fn what_a_full_queue_hands_over_before_the_turn_has_its_own_time() {
    const SENDS: usize = 600;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
    let (listener, address) = listener();
    let mut ring = Ring::new(&Settings::for_connections(SENDS as u32)).unwrap();
    let mut slots = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..SENDS {
        slots.push(connect(&mut ring, address));
        peers.push(listener.accept().unwrap().0);
    }
    let (early, late) = slots.split_at(SENDS - 1);
    for &slot in early {
        ring.send(slot, b"early").unwrap();
    }
    thread::sleep(PAUSE);
    ring.send(late[0], b"late!").unwrap();
    ring.turn(Some(0), |_| {});

    // The order of the sends is the order of their times.
    assert!(slots.is_sorted_by_key(|&slot| ring.sent_ns(slot)));
    let last_ns = ring.sent_ns(late[0]);
    assert_eq!(last_ns, ring.submitting_ns());
    assert!(ring.sent_ns(early[0]) + PAUSE.as_nanos() as u64 <= last_ns);
    for peer in &mut peers {
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).unwrap();
    }
}

#[test]
fn a_peer_that_talks_to_a_socket_nobody_reads_holds_few_buffers_and_loses_nothing() {
    let (listener, address) = listener();
    let mut ring = ring();
    let slot = connect(&mut ring, address);
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    let mut filled = 0;
    for byte in 0..100 {
        peer.write_all(&[byte]).unwrap();
        ring.turn(Some(10_000_000), |event| {
            filled += usize::from(event == Event::Received(slot));
        });
    }
    assert!((2..=12).contains(&filled), "{filled} buffers");
    let mut got = Vec::new();
    turn_until(&mut ring, |ring, _| {
        while !ring.received(slot).is_empty() {
            got.extend_from_slice(ring.received(slot));
            let len = ring.received(slot).len();
            ring.consume(slot, len);
        }
        got.len() >= 100
    });
    assert_eq!(got, (0..100).collect::<Vec<u8>>());
    drop(peer);
    turn_until(&mut ring, |_, events| events.contains(&Event::Ended(slot)));
}
