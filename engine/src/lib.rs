//! The engine: one shard per core drives a compiled plan ([`loadr_config::Program`]) over its own io_uring, measures
//! every request, and hands what it measured to an aggregator once a second.
//!
//! Data flows one way: a program and its plugins go in, shards hand over records, [`run`] gives an [`Outcome`], and
//! [`Summary`] is what people and machines read of it.

mod addresses;
mod aggregate;
mod clock;
mod control;
pub mod cores;
pub mod doctor;
mod error_kind;
mod gathering;
mod http;
mod instances;
mod json;
mod leases;
mod markup;
mod metrics;
mod moment;
mod plugins;
mod preflight;
mod rendezvous;
mod results;
mod run;
mod schedule;
pub mod segment;
mod shard;
pub mod start;
mod steer;
mod thresholds;
mod timeline;
mod tls;
mod wire;

pub use addresses::{Resolve, SystemResolver};
pub use aggregate::Progress;
pub use control::{Control, StopReason};
pub use error_kind::ErrorKind;
pub use gathering::{Delta, GatheredRun, Gathering};
pub use loadr_figures as figures;
pub use metrics::{Kind, METRICS, MetricInfo, RequestSample, Series, Trend, Values};
pub use moment::{Moment, ShardSecond, Share};
pub use plugins::{LoadedPlugins, PluginSources};
pub use preflight::tls_problems;
pub use results::{
    Aggregates, BUSY, CheckSummary, Clock, Detail, Distribution, Environment, ErrorSummary,
    Generator, LAG_SHARE, Merged, MergedFrom, MetricSummary, OutputSummary, PluginSummary, Point,
    ReadError, SUMMARY_BYTES_MAX, SUMMARY_SCHEMA, SeriesSummary, Snapshot, Summary, TextStyle,
    ThresholdSummary, histogram_log, merge, summary_text,
};
pub use run::{Outcome, RunError, RunSpec, run, run_resolving};
pub use segment::Segment;
#[doc(hidden)]
pub use shard::Trial;
pub use shard::rfc3339_ms;
pub use start::{Gate, Start};
pub use steer::{
    Aim, RunState, ScenarioPhase, ScenarioStatus, SecondStatus, Status, Steer, SteerError,
};
pub use thresholds::ThresholdResult;
