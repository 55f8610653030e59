//! The table of `engine`: how the generator itself runs, and what it takes from a target.

use std::time::Duration;

use super::{Key, Kind, Table, key};

/// The most requests in flight on one connection.
const MAX_PIPELINE: u64 = 1024;
/// The least and the most that `max_body` may be.
const MIN_BODY_BYTES: u64 = 1;
const MAX_BODY_BYTES: u64 = 16 << 30;
/// The most that `max_headers` may be: more do not fit into the bytes that a head may have.
const MAX_HEADERS: u64 = 16_384;

/// Sleeping is never later than this on a machine that is fit for a load test.
const MAX_SPIN: Duration = Duration::from_millis(10);

pub(super) static ENGINE: Table = Table {
    what: "`engine`",
    groups: &[ENGINE_KEYS],
};

const ENGINE_KEYS: &[Key] = &[
    key(
        "pipeline",
        Kind::Count(1, MAX_PIPELINE),
        "Requests in flight on a connection, answered in their order; 1",
    ),
    key(
        "max_body",
        Kind::Size(MIN_BODY_BYTES, MAX_BODY_BYTES),
        "The most bytes of a response's body that something reads, decoded; past it the request fails with `body_limit`; 64MiB",
    ),
    key(
        "max_headers",
        Kind::Count(1, MAX_HEADERS),
        "The most header fields of a response; past it, or past 64 KiB of them, the request fails with `header_limit`; 128",
    ),
    key(
        "cores",
        Kind::Text,
        "How many cores to use, or which, such as `2-9,12`; `--cores` goes before it",
    ),
    key(
        "source_ips",
        Kind::OneOrMore(&Kind::Name),
        "The machine's own addresses to dial from, in turn, each an address or a CIDR such as `10.0.0.16/28`",
    ),
    key(
        "spin",
        Kind::Duration(Duration::ZERO, MAX_SPIN),
        "How long before something is due a core stays awake for it; 0s",
    ),
];
