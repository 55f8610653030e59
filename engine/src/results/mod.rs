//! What people and machines read of a run.

pub mod figures;
mod summary;
mod text;
mod verdict;

pub(crate) use summary::errors;
pub use summary::{ErrorSummary, OutputSummary, Summary};
pub use text::{TextStyle, summary_text};
pub use verdict::{BUSY, LAG_SHARE};
