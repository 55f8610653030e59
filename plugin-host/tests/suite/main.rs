//! What the sandbox promises, one test for each promise: the attempt, its refusal, and that life goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calls;
mod guest;
mod instances;
mod limits;
mod packages;
mod refused;
mod rust_guests;
mod wasi;
