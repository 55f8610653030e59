//! What a closed socket leaves behind: nothing. A table with one place shows it, because each connection then takes the
//! place of the one before; and a peer sees the end of its connection only when the kernel has let go of the file.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use loadr_ring::{Event, Port, Ring, SendError, Settings, Slot};
use support::{connect, listener, turn_until};

/// A ring with so many places for sockets.
fn ring_of(sockets: u32) -> Ring {
    Ring::new(&Settings {
        sockets,
        buffers: 256,
    })
    .unwrap()
}

/// All that the ring had sent the peer before it closed. Fails when there is no end: when the file is still open.
fn read_to_end(mut peer: &TcpStream) -> Vec<u8> {
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        // Of bytes that nobody had received.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("after {} bytes: {error}", bytes.len()),
    }
}

/// Takes the place of a socket that was closed, as soon as that is possible. Nothing may be heard of the old one.
fn connect_anew(ring: &mut Ring, address: SocketAddr) -> Slot {
    for _ in 0..5000 {
        if let Ok(slot) = ring.connect(address, None) {
            turn_until(ring, |_, events| {
                assert!(
                    events.is_empty() || events == [Event::Connected(slot)],
                    "{events:?}"
                );
                !events.is_empty()
            });
            return slot;
        }
        ring.turn(Some(0), |event| {
            panic!("{event:?} of a socket that is closed")
        });
    }
    panic!("the place stays taken");
}

/// Sends these again and again until the peer, who does not read, holds them up; how many bytes that were.
fn send_until_held_up(ring: &mut Ring, slot: Slot, bytes: &[u8]) -> usize {
    let mut sent = 0;
    for _ in 0..10_000 {
        ring.send(slot, bytes).unwrap();
        sent += bytes.len();
        ring.turn(Some(0), |_| {});
        // What goes on by itself does so at once.
        for _ in 0..3 {
            if ring.is_sending(slot) {
                ring.turn(Some(10_000_000), |_| {});
            }
        }
        if ring.is_sending(slot) {
            return sent;
        }
    }
    panic!("no send was held up");
}

#[test]
fn what_is_queued_goes_out_before_the_close() {
    let (listener, address) = listener();
    let mut ring = ring_of(1);
    for _ in 0..10 {
        let slot = connect_anew(&mut ring, address);
        let (peer, _) = listener.accept().unwrap();
        ring.send(slot, b"last words").unwrap();
        ring.close(slot);
        assert_eq!(ring.send(slot, b"more"), Err(SendError::NotOpen));
        ring.turn(Some(0), |event| panic!("{event:?}"));
        assert_eq!(read_to_end(&peer), b"last words");
    }
}

#[test]
fn of_a_large_send_that_is_queued_goes_out_what_the_socket_takes() {
    let (listener, address) = listener();
    let mut ring = ring_of(1);
    let bytes: Vec<u8> = (0..64 << 20).map(|i| (i / 1000) as u8).collect();
    for _ in 0..3 {
        let slot = connect_anew(&mut ring, address);
        let (peer, _) = listener.accept().unwrap();
        ring.send(slot, &bytes).unwrap();
        ring.close(slot);
        ring.turn(Some(0), |event| panic!("{event:?}"));
        let got = read_to_end(&peer);
        assert!(!got.is_empty() && got.len() < bytes.len());
        assert!(bytes.starts_with(&got));
    }
}

#[test]
fn a_send_that_is_held_up_ends_with_its_socket_and_leaves_the_next_one_alone() {
    let (listener, address) = listener();
    let mut ring = ring_of(1);
    let mut last = None;
    // A piece that is staged and leaves a rest, and one that is a rest from the beginning.
    for len in [60_000, 300_000].repeat(8) {
        let slot = connect_anew(&mut ring, address);
        assert_eq!(*last.get_or_insert(slot), slot);
        let (mut peer, _) = listener.accept().unwrap();
        // Nothing of the one before: it can send, and only what is its own comes.
        assert!(!ring.is_sending(slot) && ring.received(slot).is_empty());
        peer.write_all(b"new").unwrap();
        turn_until(&mut ring, |ring, events| {
            assert!(
                events.iter().all(|e| *e == Event::Received(slot)),
                "{events:?}"
            );
            ring.received(slot) == b"new"
        });
        let sent = send_until_held_up(&mut ring, slot, &vec![b'x'; len]);
        // Comes while it closes.
        peer.write_all(b"old").unwrap();
        ring.close(slot);
        ring.turn(Some(0), |event| panic!("{event:?}"));
        let got = read_to_end(&peer);
        assert!(got.len() < sent, "{} of {sent} bytes", got.len());
    }
}

#[test]
fn many_sends_that_are_held_up_end_without_the_others() {
    let (listener, address) = listener();
    let mut ring = Ring::new(&Settings::for_connections(8)).unwrap();
    let held_up: Vec<(Slot, TcpStream, usize)> = (0..8)
        .map(|_| {
            let slot = connect(&mut ring, address);
            let (peer, _) = listener.accept().unwrap();
            let sent = send_until_held_up(&mut ring, slot, &[b'x'; 100_000]);
            (slot, peer, sent)
        })
        .collect();
    let (closed, open): (Vec<_>, Vec<_>) = held_up.into_iter().partition(|(slot, ..)| {
        let is_closed = slot.at() % 2 == 0;
        if is_closed {
            ring.close(*slot);
        }
        is_closed
    });
    assert_eq!((closed.len(), open.len()), (4, 4));
    ring.turn(Some(0), |event| panic!("{event:?}"));
    for (_, peer, sent) in &closed {
        assert!(read_to_end(peer).len() < *sent);
    }
    for (slot, mut peer, sent) in open {
        let reader = std::thread::spawn(move || peer.read_exact(&mut vec![0; sent]));
        turn_until(&mut ring, |_, events| {
            events.contains(&Event::Drained(slot))
        });
        reader.join().unwrap().unwrap();
        assert!(!ring.is_sending(slot));
    }
}

#[test]
fn a_connection_that_is_closed_before_it_is_made_is_one_that_was_not() {
    let (listener, address) = listener();
    let mut ring = ring_of(1);
    for _ in 0..20 {
        turn_until(&mut ring, |ring, events| {
            assert!(events.is_empty(), "{events:?}");
            ring.connect(address, None)
                .map(|slot| ring.close(slot))
                .is_ok()
        });
    }
    ring.turn(Some(0), |event| panic!("{event:?}"));
    let slot = connect_anew(&mut ring, address);
    ring.send(slot, b"here").unwrap();
    ring.close(slot);
    ring.turn(Some(0), |event| panic!("{event:?}"));
    let heard: Vec<Vec<u8>> = (0..21)
        .map(|_| read_to_end(&listener.accept().unwrap().0))
        .collect();
    assert_eq!(heard.concat(), b"here");
    assert_eq!(heard[20], b"here");
}

#[test]
fn a_connection_can_be_closed_as_soon_as_it_is_accepted() {
    let mut ring = ring_of(2);
    let (by, address) = ring
        .listen("127.0.0.1:0".parse().unwrap(), Port::Own)
        .unwrap();
    for round in 0..60 {
        let mut client = TcpStream::connect(address).unwrap();
        if round % 3 > 0 {
            client.write_all(b"nobody receives this").unwrap();
        }
        let client = (round % 3 < 2).then_some(client);
        let mut accepted = None;
        turn_until(&mut ring, |ring, events| {
            match *events {
                [] => return false,
                // Nothing is received before the next turn.
                [Event::Accepted(listener, slot)] if listener == by => {
                    ring.close(slot);
                    accepted = Some(slot);
                }
                _ => panic!("{events:?}"),
            }
            true
        });
        ring.turn(Some(0), |event| panic!("{event:?}"));
        assert_eq!(ring.send(accepted.unwrap(), b"x"), Err(SendError::NotOpen));
        if let Some(client) = client {
            assert!(read_to_end(&client).is_empty());
        }
    }
}

#[test]
fn a_connection_that_is_accepted_in_the_place_of_one_that_closes_has_nothing_of_it() {
    let mut ring = ring_of(1);
    let (by, address) = ring
        .listen("127.0.0.1:0".parse().unwrap(), Port::Own)
        .unwrap();
    let accept = |ring: &mut Ring| {
        let mut slot = None;
        turn_until(ring, |_, events| match *events {
            [] => false,
            [Event::Accepted(listener, accepted)] if listener == by => {
                slot = Some(accepted);
                true
            }
            _ => panic!("{events:?}"),
        });
        slot.unwrap()
    };
    let mut client = TcpStream::connect(address).unwrap();
    let slot = accept(&mut ring);
    for _ in 0..10 {
        client.write_all(b"mine").unwrap();
        turn_until(&mut ring, |ring, events| {
            assert!(
                events.iter().all(|e| *e == Event::Received(slot)),
                "{events:?}"
            );
            ring.received(slot) == b"mine"
        });
        ring.send(slot, b"yours").unwrap();
        ring.turn(Some(0), |event| panic!("{event:?}"));
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"yours");
        let sent = send_until_held_up(&mut ring, slot, &[b'x'; 100_000]);
        client.write_all(b"old").unwrap();
        ring.close(slot);
        // Its place is free in the middle of the next turn, and taken before the end of it.
        let next = TcpStream::connect(address).unwrap();
        assert_eq!(accept(&mut ring), slot);
        assert!(!ring.is_sending(slot) && !ring.has_ended(slot));
        assert!(ring.received(slot).is_empty());
        assert!(read_to_end(&client).len() < sent);
        client = next;
    }
}
