//! Prometheus: an endpoint that it scrapes, and remote writes to it. Both tell the run so far, so that a scrape or a write
//! that is missed costs a point in time and no request.

mod exposition;
mod names;
mod page;
mod remote;

pub(crate) use page::Page;
pub(crate) use remote::RemoteWrite;
