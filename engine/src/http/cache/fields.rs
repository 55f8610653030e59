//! Header fields of requests and responses, as a cache looks at them.

use std::borrow::Cow;

use httparse::Header;

use super::super::redirect::head_len;

/// Those of the connection, which no cache keeps (RFC 9111 section 3.1).
const OF_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The value of a field of a request's head, whose names are in lower case; several are joined as a list.
pub(super) fn field<'r>(request: &'r [u8], name: &str) -> Option<Cow<'r, [u8]>> {
    let mut all: Option<Cow<'r, [u8]>> = None;
    let lines = request[..head_len(request)].split(|&b| b == b'\n').skip(1);
    for line in lines {
        let Some(value) = line
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":"))
        else {
            continue;
        };
        let value = value.trim_ascii();
        all = Some(match all {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([&before[..], b", ", value].concat()),
        });
    }
    all
}

/// Whether two values are the same for `Vary`: white space around commas aside.
pub(super) fn same_field_value(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one == other || {
                let parts = |value: &'_ [u8]| {
                    value
                        .split(|&b| b == b',')
                        .map(|part| part.trim_ascii().to_vec())
                        .collect::<Vec<_>>()
                };
                parts(one) == parts(other)
            }
        }
        _ => false,
    }
}

/// Whether a response's field is kept.
pub(super) fn is_kept_field(name: &str, headers: &[Header<'_>]) -> bool {
    if OF_CONNECTION.iter().any(|n| name.eq_ignore_ascii_case(n)) {
        return false;
    }
    let mut named = headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("connection"))
        .flat_map(|h| h.value.split(|&b| b == b','));
    !named.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether the request asks under conditions, or for parts, of its own: then the answer is for whoever wrote it.
pub(crate) fn is_conditional(request: &[u8]) -> bool {
    [
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    ]
    .iter()
    .any(|name| field(request, name).is_some())
}

/// RFC 9110 section 9.2.1.
pub(crate) fn is_safe(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE")
}
