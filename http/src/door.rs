//! Takes connections, and gives each a thread of its own; so many at once and no more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::answer::{answer, send};
use crate::connection::{Connection, close};

/// One that is refused holds up the next.
const REFUSED_LINGER: Duration = Duration::from_millis(20);
/// Enough for what is done here; there may be one for each connection.
const STACK_BYTES: usize = 256 << 10;

/// How connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// What the threads are called.
    pub name: &'static str,
    /// The most connections at once.
    pub connections_max: usize,
    /// What one more is told: its media type and its text.
    pub refusal: (&'static str, &'static str),
}

impl Door {
    /// Has `serve` answer each connection on a thread of its own, until `is_over` says so of the next one.
    pub fn take<C: Connection + 'static>(
        self,
        accept: impl Fn() -> io::Result<C>,
        is_over: impl Fn() -> bool,
        serve: impl Fn(C) + Send + Sync + 'static,
    ) {
        let (serve, open) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
        while !is_over() {
            let Ok(mut connection) = accept() else {
                // No descriptor is left, most likely: the run needs them more, and it may be better later.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            if is_over() {
                return;
            }
            if open.fetch_add(1, Ordering::AcqRel) >= self.connections_max {
                open.fetch_sub(1, Ordering::AcqRel);
                let (kind, text) = self.refusal;
                // Whoever has gone away needs no answer.
                if send(&mut connection, &answer(503, kind, "", text.as_bytes())).is_ok() {
                    close(&mut connection, REFUSED_LINGER);
                }
                continue;
            }
            let (left, serve) = (Left(Arc::clone(&open)), Arc::clone(&serve));
            // Without a thread the connection is closed, and counted no more.
            let _ = thread::Builder::new()
                .name(self.name.to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    let _left = left;
                    serve(connection);
                });
        }
    }
}

/// Counts a connection off, whatever became of it.
struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn so_many_are_served_at_once_and_the_next_one_is_told_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let door = Door {
            name: "test",
            connections_max: 2,
            refusal: ("text/plain", "no more"),
        };
        let thread = thread::spawn(move || {
            let accept = || listener.accept().map(|(stream, _)| stream);
            door.take(
                accept,
                || over.load(Ordering::Acquire),
                |mut stream: TcpStream| {
                    let mut byte = [0];
                    if matches!(stream.read(&mut byte), Ok(1)) {
                        let _ = send(&mut stream, &byte);
                    }
                },
            );
        });
        let mut held: Vec<TcpStream> = (0..2)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let said = |stream: &mut TcpStream| {
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            said
        };
        let refused = said(&mut TcpStream::connect(address).unwrap());
        assert!(
            refused.starts_with("HTTP/1.1 503") && refused.ends_with("no more"),
            "{refused}"
        );
        for stream in &mut held {
            stream.write_all(b"x").unwrap();
            assert_eq!(said(stream), "x");
        }
        is_over.store(true, Ordering::Release);
        drop(TcpStream::connect(address));
        thread.join().unwrap();
    }
}
