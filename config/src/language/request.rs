//! The tables of requests and their bodies.

use super::plan::POSITIVE;
use super::response::{A_ASSERT, A_EXTRACT};
use super::{Key, Kind, Table, key, not_yet, only, required};

/// A `request` step.
pub(super) static REQUEST: Table = Table {
    what: "a request",
    groups: &[REQUEST_KEYS],
};

const HTTP_ONLY: &str = "this version speaks HTTP/1.1 only";

const REQUEST_KEYS: &[Key] = &[
    key(
        "name",
        Kind::Template,
        "Its `name` tag; the URL as written when absent",
    ),
    key("method", Kind::Name, "GET; POST with a body"),
    required(
        "url",
        Kind::Template,
        "Absolute, or relative to `defaults.http.base_url`",
    ),
    key(
        "params",
        Kind::Map(&Kind::Template),
        "Names and values for the query",
    ),
    key(
        "headers",
        Kind::Map(&Kind::Template),
        "Header fields, over those of `defaults.http`",
    ),
    key("body", Kind::TextOr(&A_BODY), "The content"),
    key(
        "timeout",
        POSITIVE,
        "From its start to the last byte of its response",
    ),
    key(
        "follow_redirects",
        Kind::Flag,
        "Whether its redirects are followed",
    ),
    key("tags", Kind::Map(&Kind::Template), "Tags on its samples"),
    key(
        "extract",
        Kind::List(&A_EXTRACT),
        "Values to take out of the response",
    ),
    key(
        "assert",
        Kind::List(&A_ASSERT),
        "What must hold for the request not to have failed",
    ),
    key(
        "checks",
        Kind::List(&A_ASSERT),
        "What is counted in `checks`",
    ),
    only("protocol", Kind::Text, &["http"], HTTP_ONLY, "The protocol"),
    not_yet("ws", HTTP_ONLY, "WebSocket"),
    not_yet("grpc", HTTP_ONLY, "gRPC"),
    not_yet(
        "graphql",
        "send the query as `body: { json: { query: … } }`",
        "GraphQL",
    ),
    not_yet("socket", HTTP_ONLY, "TCP or UDP"),
    not_yet("sse", HTTP_ONLY, "Server-sent events"),
    not_yet("sql", HTTP_ONLY, "SQL"),
];

static BODY: Table = Table {
    what: "a body",
    groups: &[BODY_KEYS],
};

const BODY_KEYS: &[Key] = &[
    key("json", Kind::Any, "Sent as JSON"),
    key("form", Kind::Map(&Kind::Template), "Sent as a form"),
    key(
        "file",
        Kind::Name,
        "The content of this file, from the plan's folder, as it is",
    ),
    key(
        "multipart",
        Kind::Some(&A_PART),
        "Sent as a form that can hold files",
    ),
];

static PART: Table = Table {
    what: "a part",
    groups: &[PART_KEYS],
};

const PART_KEYS: &[Key] = &[
    required("name", Kind::Template, "The field's name"),
    key("value", Kind::Template, "Its text"),
    key(
        "file",
        Kind::Name,
        "The file whose content it is, from the plan's folder",
    ),
    key(
        "filename",
        Kind::Template,
        "What the file is called; its own name",
    ),
    key(
        "content_type",
        Kind::Template,
        "What it is; `application/octet-stream` for a file",
    ),
];

static A_BODY: Kind = Kind::OneKey(&BODY);
static A_PART: Kind = Kind::Table(&PART);
