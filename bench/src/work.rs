//! What a client is asked to do.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The variable of the environment that plans take the target's address from.
pub(crate) const BASE_URL: &str = "BENCH_BASE_URL";

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
    pub(crate) path: String,
    /// One request in flight on each; for loadr-fast: virtual users.
    pub(crate) connections: u32,
    /// Where the client runs, with all its threads.
    pub(crate) cores: Vec<usize>,
    /// Whether loadr-fast is a process of its own on each core, with its share of the connections.
    pub(crate) is_split: bool,
    /// What loadr-fast does; the others ask for `path`.
    pub(crate) plan: Plan,
}

/// What loadr-fast runs.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// What the others do, with the status checked.
    Simple,
    /// A plan of one scenario with a fixed number of users, which takes its base URL from [`BASE_URL`].
    File(PathBuf),
}

impl Work {
    pub(crate) fn base_url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn url(&self) -> String {
        self.base_url() + &self.path
    }
}
