//! The clock of the data path; see [`loadr_ring::clock`].

pub(crate) use loadr_ring::clock::{now_ns, thread_cpu_ns};
