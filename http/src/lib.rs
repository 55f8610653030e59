//! As much of an HTTP/1.1 server as there must be to look at a run and to steer it: one request a connection, and a limit on
//! everything that is read, in bytes and in time. Who is let in is for each server to say. There is little to it, so that little
//! of it can be wrong; heads are parsed by the library that the engine's own client uses.

mod answer;
mod connection;
mod door;
mod request;

pub use answer::{answer, head, send};
pub use connection::{Connection, close};
pub use door::Door;
pub use request::{Limits, Request, Unreadable};
