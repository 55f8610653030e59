//! Loads, sandboxes and calls loadr plugins: WebAssembly components that take values out of responses (extractors)
//! or judge them (assertions).
//!
//! A [`Host`] compiles; a [`Plugin`] is a compiled component that all shards share and only read; an [`Instance`] is one
//! shard's own, and a call on it takes no lock and writes nothing that another core reads.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use loadr_plugin_host::{Host, Limits};
//!
//! let host = Host::new()?;
//! let plugin = host.load("order_id.wasm".as_ref())?;
//! let mut instance = plugin.instantiate(&Limits::default())?;
//! let mut value = Vec::new();
//! if instance.extract(b"id=42;", &[], "{}", &mut value)? {
//!     println!("{}", String::from_utf8_lossy(&value));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A plugin can waste processor time up to its deadline and memory up to its cap ([`Limits`]), and nothing else: it sees
//! no file, no socket, no environment, no arguments, and what it prints is dropped. See [`Instance`] for what happens
//! when it fails.

mod batch;
mod compiled;
mod error;
mod exports;
mod host;
mod instance;
mod limits;
mod load;
mod manifest;
mod plugin;
mod pool;
mod sandbox;
mod store;
mod ticker;
mod typed;
mod wit_type;

pub use compiled::Cache;
pub use error::{CallError, HostError, LoadError, PoolError};
pub use host::Host;
pub use instance::Instance;
pub use limits::Limits;
pub use manifest::{Kind, ReadHeaders, Reads};
pub use plugin::{Exports, Plugin};
pub use pool::Turnover;
pub use sandbox::output::Printed;
pub use store::{Installation, Installed, Listed, Store, StoreError};
