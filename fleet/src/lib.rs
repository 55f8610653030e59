//! One plan on many machines, live: segments meet before the start, tell each other that they are alive, follow orders,
//! and hand out what they measure, second by second, to whoever watches. All over NATS, with no controller: the segments
//! are the fleet, and watchers come and go.
//!
//! The run itself never waits for any of it. A segment's [`Place`] is a thread beside the run: what the run says goes into a
//! queue, what the bus cannot take is dropped, counted, and asked for again by those who miss it.
//!
//! | module | what |
//! |---|---|
//! | `message` | what is said, as bytes; reading is total |
//! | `bus` | the connection, and sending that never waits |
//! | `meeting`, `agree` | who has come, and the instant of the start |
//! | `roster` | who is heard, and who is lost |
//! | `orders` | what all were told, each once and in one order |
//! | `keep` | the seconds so far, for whoever comes late |
//! | `node`, `segment` | a segment's side |
//! | `watcher`, `ask` | the side of those who look and steer |

mod agree;
mod ask;
mod bus;
mod keep;
mod meeting;
mod message;
mod node;
mod orders;
mod roster;
mod segment;
mod watcher;

use loadr_engine::Summary;

pub use ask::ask;
pub use bus::{Bus, fleet_name};
pub use message::{Command, Stop};
pub use segment::{Joining, OnLost, Place};
pub use watcher::{About, Remote, Seen, Watcher};

/// One thread is enough for all that is done here.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot make what the bus runs on: {error}"))
}

/// A number that no other process has.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_le_bytes(bytes),
        // Its keys are random as well, once a process.
        _ => std::hash::RandomState::new().build_hasher().finish(),
    }
}

/// A summary without what seconds have: what is left to say at the end.
fn ending(summary: &Summary) -> Vec<u8> {
    let mut ending = summary.clone();
    ending.metrics = Vec::new();
    ending.checks = Vec::new();
    ending.snapshot.series = Vec::new();
    ending.timeline = Vec::new();
    ending.distribution = loadr_engine::Distribution::default();
    serde_json::to_vec(&ending).unwrap_or_default()
}

/// The default name of a fleet: processes that make parts of one load have the same.
#[must_use]
pub fn default_name(load_hash: &str) -> String {
    let hash: String = load_hash
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(16)
        .collect();
    format!("load-{hash}")
}
