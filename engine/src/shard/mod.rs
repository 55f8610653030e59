//! One core's share of the run: a glommio executor pinned to the core, and all that its virtual users touch.

mod driver;
mod feed;
mod flow;
mod judge;
mod rng;
mod state;
mod tasks;
mod tools;
mod vars;
mod vu;

pub(crate) use driver::{ShardSpec, run, vus};
pub(crate) use feed::Shared;
