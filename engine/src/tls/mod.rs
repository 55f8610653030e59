//! TLS 1.2 and 1.3 on the client's side, by rustls: what is trusted and shown, and one connection's records. Nothing
//! here does I/O but reading the plan's certificate files.

mod config;
mod records;
mod session;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;

pub(crate) use config::{client_config, for_shard};
pub(crate) use session::Session;
