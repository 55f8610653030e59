//! A turn: one system call that hands over what is queued and waits, and what is made of each completion.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, types};
use nix::errno::Errno;
use nix::libc;

use super::{BUFFER_GROUP, Event, Ring, op, user_data};
use crate::arena::Staged;
use crate::buffers::NO_BUFFER;
use crate::clock::now_ns;
use crate::rests::{NO_REST, Rest};
use crate::socket::{Listener, Slot, State};

/// The most buffers that a socket may fill with bytes which nobody has read since an earlier turn. Then it receives no
/// more until they are, so that a peer who talks to an idle connection holds its own buffer and not the ring's.
const UNREAD_BUFFERS_MAX: u16 = 8;
/// So many addresses are kept once the kernel has taken them: most plans dial few, again and again.
const ADDRESSES_KEPT: usize = 16;

impl Ring {
    /// Makes room when the kernel holds completions back: a wait of no time lets it deliver what fits.
    pub(super) fn flush_overflow(&mut self) {
        let now = Timespec::new();
        let _ = self
            .ring
            .submitter()
            .submit_with_args(1, &SubmitArgs::new().timespec(&now));
    }

    /// One turn: submits what is queued, waits until something completes or `timeout_ns` has passed (`Some(0)`:
    /// not at all; `None`: without end), and calls `on_event` for all that completed.
    ///
    /// # Panics
    /// When the kernel refuses the ring itself, which no input can bring about.
    pub fn turn(&mut self, timeout_ns: Option<u64>, on_event: impl FnMut(Event)) {
        let until_ns = timeout_ns.map_or(u64::MAX, |ns| now_ns().saturating_add(ns));
        self.turn_until(until_ns, on_event);
    }

    /// [`Ring::turn`] that waits until the clock shows `until_ns` ([`crate::clock::now_ns`]): a time that has passed is
    /// no wait, `u64::MAX` one without end.
    ///
    /// # Panics
    /// As [`Ring::turn`].
    #[inline]
    pub fn turn_until(&mut self, until_ns: u64, mut on_event: impl FnMut(Event)) {
        self.arm();
        self.buffers.publish();
        self.submitting_ns = now_ns();
        self.time_staged(self.submitting_ns);
        self.enters += 1;
        let outcome = if until_ns == u64::MAX {
            self.ring.submit_and_wait(1)
        } else {
            let ns = until_ns.saturating_sub(self.submitting_ns);
            let wait = Timespec::new()
                .sec(ns / 1_000_000_000)
                .nsec((ns % 1_000_000_000) as u32);
            self.ring
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(&wait))
        };
        if let Err(error) = outcome {
            assert!(is_passing(&error), "io_uring_enter: {error}");
        }
        self.reaped_ns = now_ns();
        // Asked before reaping, which can queue entries of its own.
        let is_taken = self.ring.submission().is_empty();
        self.reap(&mut on_event);
        if is_taken {
            for slot in self.staged.drain(..) {
                let socket = &mut self.sockets[slot.at()];
                // A rest that was left over is still going out.
                if socket.staged.len != 0 {
                    socket.staged.len = 0;
                    socket.sending = false;
                }
            }
            self.handed_over = 0;
            self.arena.clear();
            if self.addresses.len() > ADDRESSES_KEPT {
                self.addresses.clear();
            }
        }
    }

    /// Queues the multishot operations that ended and are due again.
    fn arm(&mut self) {
        if !self.wake_armed {
            self.wake_armed = true;
            let entry = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
                .multi(true)
                .build()
                .user_data(user_data(op::WAKE, 0, 0));
            self.push(&entry);
        }
        while let Some(listener) = self.relisten.pop() {
            let fd = types::Fd(self.listeners[listener.0 as usize].as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd)
                .allocate_file_index(true)
                .build()
                .user_data(user_data(op::ACCEPT, listener.0, 0));
            self.push(&entry);
        }
        if !self.starved.is_empty() && self.buffers.is_available() {
            self.rearm.append(&mut self.starved);
        }
        while let Some(slot) = self.rearm.pop() {
            let socket = &mut self.sockets[slot.at()];
            if socket.state != State::Open || socket.armed || socket.ended {
                continue;
            }
            socket.armed = true;
            let data = user_data(op::RECEIVE, slot.0, socket.generation);
            self.push(
                &opcode::RecvMulti::new(Fixed(slot.0), BUFFER_GROUP)
                    .build()
                    .user_data(data),
            );
        }
    }

    fn reap(&mut self, on_event: &mut impl FnMut(Event)) {
        // Taken one at a time, because handling one can queue new entries. It ends: with deferred task work
        // completions appear only while this thread is in a system call.
        loop {
            let completion = self.ring.completion().next();
            let Some(completion) = completion else { return };
            self.complete(&completion, on_event);
        }
    }

    #[inline]
    fn complete(&mut self, completion: &cqueue::Entry, on_event: &mut impl FnMut(Event)) {
        let data = completion.user_data();
        let (operation, generation, index) = (data as u8, (data >> 8) as u8, (data >> 16) as u32);
        let (result, flags) = (completion.result(), completion.flags());
        match operation {
            op::RECEIVE => self.complete_receive(Slot(index), generation, result, flags, on_event),
            op::SEND => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                if socket.generation != generation || socket.state != State::Open {
                    return;
                }
                // Only failures and short sends are told.
                let sent = match Errno::from_raw(-result) {
                    _ if result >= 0 => result as usize,
                    Errno::EAGAIN => 0,
                    _ => return self.fail(slot, -result, on_event),
                };
                let staged = std::mem::replace(&mut socket.staged, Staged::EMPTY);
                let Some(bytes) = self
                    .arena
                    .bytes(staged)
                    .get(sent..)
                    .filter(|b| !b.is_empty())
                else {
                    // Told too late (the completion queue overflowed): the bytes are gone.
                    return self.fail(slot, Errno::EIO as i32, on_event);
                };
                let bytes = bytes.into();
                self.send_rest(Rest {
                    slot,
                    generation,
                    bytes,
                });
            }
            op::SEND_REST => {
                let Some(rest) = self.rests.take(index) else {
                    return;
                };
                let socket = &mut self.sockets[rest.slot.at()];
                if socket.generation != rest.generation || socket.state != State::Open {
                    return;
                }
                socket.rest = NO_REST;
                if result < 0 {
                    return self.fail(rest.slot, -result, on_event);
                }
                let sent = result as usize;
                if sent < rest.bytes.len() {
                    self.send_rest(Rest {
                        bytes: rest.bytes[sent..].into(),
                        ..rest
                    });
                } else {
                    socket.sending = false;
                    on_event(Event::Drained(rest.slot));
                }
            }
            op::CONNECT => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                socket.connecting = false;
                if socket.state == State::Closing {
                    self.settle(slot);
                } else if result < 0 {
                    self.fail(slot, -result, on_event);
                } else {
                    socket.state = State::Open;
                    self.rearm.push(slot);
                    on_event(Event::Connected(slot));
                }
            }
            op::CLOSE => {
                let slot = Slot(index);
                let socket = &mut self.sockets[slot.at()];
                if socket.generation == generation {
                    socket.close_in_flight = false;
                    self.settle(slot);
                }
            }
            op::ACCEPT => {
                let listener = Listener(index);
                if !cqueue::more(flags) {
                    self.relisten.push(listener);
                }
                if result < 0 {
                    on_event(Event::AcceptFailed(listener, -result));
                } else {
                    let slot = Slot(result as u32);
                    let is_known = self.new_slot(slot.0).is_some();
                    assert!(is_known, "a slot beyond the table");
                    let socket = &mut self.sockets[slot.at()];
                    socket.renew(State::Open);
                    socket.accepted = true;
                    self.rearm.push(slot);
                    on_event(Event::Accepted(listener, slot));
                }
            }
            op::WAKE => {
                self.wake_armed = cqueue::more(flags);
                let _ = self.wake.read();
                on_event(Event::Woken);
            }
            _ => {}
        }
    }

    #[inline]
    fn complete_receive(
        &mut self,
        slot: Slot,
        generation: u8,
        result: i32,
        flags: u32,
        on_event: &mut impl FnMut(Event),
    ) {
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            self.buffers.take();
        }
        let socket = &mut self.sockets[slot.at()];
        if socket.generation != generation {
            if let Some(id) = buffer {
                self.buffers.release(id);
            }
            return;
        }
        if !cqueue::more(flags) {
            socket.armed = false;
            if socket.state == State::Closing {
                if let Some(id) = buffer {
                    self.buffers.release(id);
                }
                return self.settle(slot);
            }
            if result == -(Errno::ENOBUFS as i32) {
                self.buffers.grow();
                self.starved.push(slot);
            } else if result == -(Errno::ECANCELED as i32) && socket.first != NO_BUFFER {
                socket.paused = true;
            } else {
                self.rearm.push(slot);
            }
        }
        match (result, buffer) {
            (1.., Some(id)) => {
                if socket.state != State::Open {
                    return self.buffers.release(id);
                }
                self.buffers.fill(id, result as u32);
                let turn = self.enters as u32;
                let mut is_unread = false;
                if socket.first == NO_BUFFER {
                    socket.first = id;
                    (socket.held, socket.held_since) = (1, turn);
                } else {
                    self.buffers.link(socket.last, id);
                    socket.held += 1;
                    is_unread = socket.held > UNREAD_BUFFERS_MAX && socket.held_since != turn;
                }
                socket.last = id;
                socket.received_ns = self.reaped_ns;
                if is_unread && socket.armed {
                    self.stop_receiving(slot);
                }
                on_event(Event::Received(slot));
            }
            (0, buffer) => {
                if let Some(id) = buffer {
                    self.buffers.release(id);
                }
                socket.ended = true;
                on_event(Event::Ended(slot));
            }
            (error, _) => match Errno::from_raw(-error) {
                Errno::ENOBUFS | Errno::ECANCELED => {}
                _ => self.fail(slot, -error, on_event),
            },
        }
    }

    /// Ends the multishot receive; its last completion says so.
    #[cold]
    fn stop_receiving(&mut self, slot: Slot) {
        let generation = self.sockets[slot.at()].generation;
        let receive = user_data(op::RECEIVE, slot.0, generation);
        self.cancel(slot, CancelBuilder::user_data(receive));
    }

    fn fail(&mut self, slot: Slot, errno: i32, on_event: &mut impl FnMut(Event)) {
        let socket = &mut self.sockets[slot.at()];
        if !socket.ended {
            socket.ended = true;
            on_event(Event::Failed(slot, errno));
        }
    }

    /// Frees the slot if nothing of it is in flight any more.
    fn settle(&mut self, slot: Slot) {
        let socket = &mut self.sockets[slot.at()];
        if socket.is_settled() {
            socket.state = State::Free;
            if !socket.accepted {
                self.free.push(slot.0);
            }
        }
    }
}

/// Errors of a wait that are part of normal life: its time is up, a signal came, the kernel wants to be asked again.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ETIME | Errno::EINTR | Errno::EAGAIN | Errno::EBUSY)
    )
}
