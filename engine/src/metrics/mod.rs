//! What is measured: trends, the record that a shard fills and hands over once a second, and its flat view as
//! named, tagged series.

mod record;
mod samples;
mod series;
mod spread;
mod trend;
mod wire;

pub(crate) use record::{Record, Sample};
pub use samples::RequestSample;
pub(crate) use samples::Samples;
pub(crate) use series::for_each_series;
pub use series::{Kind, METRICS, MetricInfo, Series, Values};
pub(crate) use spread::{Exact, Spread};
pub use trend::Trend;
