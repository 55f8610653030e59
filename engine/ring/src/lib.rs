//! One io_uring per shard, made safe: TCP sockets in a fixed file table, multishot receives into a
//! provided-buffer ring, sends that are finished when the submitting call returns, and one system call
//! a turn that submits, waits and reaps.
//!
//! This crate is the only place of the project where `unsafe` is allowed. What makes it sound, in short:
//!
//! - **Sends** carry `MSG_DONTWAIT | MSG_WAITALL` and are never linked or forced async, so the kernel has
//!   copied all that it will ever copy when the `io_uring_enter` that submits them returns; their bytes lie
//!   in an arena that is emptied only after that call. What a full socket buffer left over is moved
//!   into a box that lives until its own completion.
//! - **Receives** write only into buffers that are in the provided-buffer ring, and a buffer is lent to the
//!   caller only between its completion and its return to the ring.
//! - **Teardown** cancels everything and waits for it before any of that memory is freed.
//!
//! The kernel needed is 6.1: `DEFER_TASKRUN` (6.1), multishot receive and synchronous cancel (6.0).

mod arena;
mod buffers;
pub mod clock;
mod rests;
mod ring;
mod setup;
mod socket;

pub use buffers::{BUFFER_BYTES, BUFFERS_MAX};
pub use ring::{Event, Ring, RingWaker, SendError};
pub use setup::{Settings, SetupError};
pub use socket::{Listener, Port, Slot};
