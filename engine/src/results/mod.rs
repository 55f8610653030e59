//! What people and machines read of a run.

mod distribution;
mod environment;
mod histograms;
mod merge;
mod read;
mod summary;
mod text;
mod totals;
mod verdict;

pub use distribution::Distribution;
pub use environment::Environment;
pub use histograms::histogram_log;
pub use merge::{Merged, merge};
pub use read::{ReadError, SUMMARY_BYTES_MAX};
pub(crate) use summary::errors;
pub use summary::{
    Aggregates, CheckSummary, Detail, ErrorSummary, MergedFrom, MetricSummary, OutputSummary,
    PluginSummary, Point, SeriesSummary, Snapshot, Summary, ThresholdSummary,
};
pub use text::{TextStyle, summary_text};
pub use verdict::{BUSY, Clock, Generator, LAG_SHARE};

/// The JSON Schema (2020-12) of the summary file.
pub const SUMMARY_SCHEMA: &str = include_str!("summary.schema.json");
