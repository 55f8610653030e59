//! What is measured: trends, the record that a shard fills and hands over once a second, and its flat view as
//! named, tagged series.

mod record;
mod series;
mod trend;

pub(crate) use record::{Record, Sample};
pub use series::{Kind, METRICS, MetricInfo};
pub(crate) use series::{Series, Values, for_each_series};
pub use trend::Trend;
