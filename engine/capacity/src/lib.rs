//! Finds the highest rate that a system sustains within its objectives, and says how sure that is. It knows nothing of
//! sockets: a [`System`] is whatever can be loaded at a rate for a time and says what came of it, be it the engine or a
//! queue under virtual time.
//!
//! | module | what it does |
//! |---|---|
//! | `system` | what is asked of a system and what it answers |
//! | `slo` | an objective as the share of requests that may be bad |
//! | `watch` | ends a probe early when its result is certain |
//! | `boundary` | where the share of bad requests crosses what is allowed, with its interval |
//! | `search` | which rate is probed next, and when that is enough |
//! | `knee`, `usl`, `little`, `headroom` | what else the probes tell |
//! | `finding` | all of it, as the result file has it; `text`, `html` and `schema` are its forms |
//!
//! Every objective is a share: `p(99) < 50 ms` says that at most 1 % of the requests take longer than 50 ms, and
//! `http_req_failed < 0.01` that at most 1 % fail. Shares add up over seconds and probes, which percentiles do not, and
//! what a share can still become is bounded, which is what ends a probe early.

mod boundary;
mod chart;
mod finding;
mod headroom;
mod html;
mod knee;
mod little;
mod record;
mod schema;
mod search;
mod settings;
mod slo;
mod special;
mod system;
mod text;
mod usl;
mod watch;

pub use boundary::{Boundary, CONFIDENCE, boundary};
pub use finding::{Ending, Finding, Subject, Sustained};
pub use headroom::Headroom;
pub use html::report;
pub use knee::{Knee, knee};
pub use little::Little;
pub use record::{Probe, State, Verdict};
pub use schema::schema;
pub use search::{Found, search};
pub use settings::Settings;
pub use slo::Slo;
pub use system::{Ask, Fault, Latency, Measured, Phase, Share, System};
pub use text::{probe_line, text};
pub use usl::{Parameter, Usl, usl};
