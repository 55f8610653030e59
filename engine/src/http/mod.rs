//! HTTP/1.1 on the client's side: requests from templates, responses from bytes. Nothing here does I/O.

mod body;
pub(crate) mod cache;
mod cookies;
mod decode;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod fuzz;
mod head;
mod known;
mod pieces;
pub(crate) mod redirect;
mod render;
mod response;
mod tunnel;

pub(crate) use cookies::{Jar, Visit};
pub(crate) use decode::Decoder;
pub(crate) use head::{Expected, HEADERS_AT_HAND, header_space, note, parse as parse_head};
pub(crate) use known::KnownHead;
pub(crate) use pieces::Spares;
pub(crate) use render::{RenderError, Values, decimal, render};
pub(crate) use response::{Advance, Reader, Response, Wanted};
pub(crate) use tunnel::connect_answer;
