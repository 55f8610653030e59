//! One core's share of the run: a glommio executor pinned to the core, and all that its virtual users touch.

mod attend;
mod bodies;
mod caching;
mod client;
mod dial;
mod driver;
mod exchange;
mod feed;
mod flow;
mod foreign;
mod hop;
mod judge;
mod load;
mod pipeline;
mod proxy;
mod request;
mod rng;
mod show;
mod state;
mod tasks;
mod tls;
mod together;
mod tools;
mod trial;
mod turns;
mod vars;
mod vu;

pub(crate) use driver::{ShardSpec, run};
pub(crate) use feed::Shared;
pub use feed::rfc3339_ms;
pub(crate) use rng::Rng;
pub use trial::Trial;
