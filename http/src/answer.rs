//! An answer, which ends its connection.

use std::io;
use std::time::Duration;

use crate::connection::Connection;

/// How long the other side may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// An answer's head. Nothing here is for a cache, or for a browser to guess at. `more` are further fields, each with its line
/// end.
#[must_use]
pub fn head(status: u16, kind: &str, more: &str) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{more}\r\n"
    )
}

/// A whole answer.
#[must_use]
pub fn answer(status: u16, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n{more}", body.len());
    let mut bytes = head(status, kind, &length).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends an answer; [`close`](crate::close) must follow.
///
/// # Errors
/// When the other side does not take it.
pub fn send(connection: &mut impl Connection, bytes: &[u8]) -> io::Result<()> {
    connection.set_timeout(WRITE_TIME)?;
    connection.write_all(bytes)
}
