//! HTTP/1.1 on the client's side: requests from templates, responses from bytes. Nothing here does I/O.

mod body;
mod head;
mod render;
mod response;

pub(crate) use head::HEADERS_MAX;
pub(crate) use render::{RenderError, Values, decimal, render};
pub(crate) use response::{Advance, Reader, Response, Wanted};
