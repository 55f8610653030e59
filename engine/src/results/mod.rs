//! What people and machines read of a run.

mod summary;
mod text;
mod verdict;

pub(crate) use summary::errors;
pub use summary::{ErrorSummary, Summary};
pub use text::summary_text;
pub use verdict::{BUSY, LAG_SHARE};
