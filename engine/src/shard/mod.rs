//! One core's share of the run: a glommio executor pinned to the core, and all that its virtual users touch.

mod bodies;
mod client;
mod driver;
mod exchange;
mod flow;
mod judge;
mod request;
mod rng;
mod state;
mod tasks;
mod tools;
mod vars;
mod vu;

pub(crate) use driver::{ShardSpec, run, vus};
