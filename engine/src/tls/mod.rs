//! TLS 1.2 and 1.3 on the client's side, by rustls: what is trusted and shown, and one connection's records. Nothing
//! here does I/O but reading the plan's certificate files.

mod config;
mod session;

pub(crate) use config::{client_config, for_shard};
pub(crate) use session::Session;
