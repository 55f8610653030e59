//! What people and machines read of a run.

mod summary;
mod text;
mod verdict;

pub use summary::Summary;
pub use text::summary_text;
