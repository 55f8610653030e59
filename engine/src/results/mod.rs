//! What people and machines read of a run.

mod summary;
mod text;

pub use summary::Summary;
pub use text::summary_text;
