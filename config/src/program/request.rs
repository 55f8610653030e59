//! One `request` step, and how it is sent.

use std::time::Duration;

use super::{Assert, Check, Extract, Location, OriginId, ScenarioId, Template};

/// One `request` step, rendered as far as it can be before the run.
#[derive(Debug)]
pub struct Request {
    /// The `name` tag: the step's `name`, else its URL as written (placeholders unrendered).
    pub name: String,
    /// The method, upper case.
    pub method: String,
    /// The scenario it belongs to.
    pub scenario: ScenarioId,
    /// The groups it is in, such as `::checkout::payment`; empty outside of any.
    pub group: String,
    /// The plan's own tags: `defaults.tags` overlaid with the scenario's and the step's `tags`, sorted by key.
    pub tags: Vec<(String, String)>,
    /// Where it goes.
    pub origin: OriginId,
    /// Request line and header fields, up to and with the empty line.
    pub head: Template,
    /// The content, when there is one.
    pub body: Option<Template>,
    /// From its start to the last byte of its response.
    pub timeout: Duration,
    /// How it is sent and its response is taken.
    pub http: Http,
    /// Run in order on each complete response.
    pub extracts: Vec<Extract>,
    /// Judged in order; a failure marks the request failed.
    pub asserts: Vec<Assert>,
    /// Judged in order; only feed the `checks` rate.
    pub checks: Vec<Check>,
    /// Whether anything above reads the response body: if not it is counted and dropped.
    pub reads_body: bool,
    /// Whether a condition is about the body's size.
    pub measures_body: bool,
    /// Whether anything above reads header fields.
    pub reads_headers: bool,
    /// Where the step is.
    pub location: Location,
}

/// How a request is sent and its response is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// The most redirects that are followed; 0: none is.
    pub redirects: u32,
    /// Whether cookies of its responses are kept.
    pub keeps_cookies: bool,
    /// Whether kept cookies go with it: not when it has a `cookie` header of its own.
    pub sends_cookies: bool,
    /// Whether a compressed body is decoded before it is read.
    pub decodes: bool,
    /// Whether its connection is used again.
    pub keep_alive: bool,
    /// Whether its responses are kept, and kept ones are used for it.
    pub caches: bool,
    /// Whether its head has a [`Made::TraceParent`](super::Made::TraceParent).
    pub traces: bool,
}
