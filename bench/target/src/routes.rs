//! From a request target to what is to be answered.

use crate::request::{BODY_BYTES_MAX, number};

/// The longest `/delay` and `/slots`, in milliseconds.
pub(crate) const DELAY_MS_MAX: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Canned,
    Cached,
    Bytes(u64),
    Chunked(u64),
    Status(u16),
    Delay(u64),
    Slots(u64),
    Echo,
    Headers,
    Order,
    Confirm(u64),
    Close,
    Drop,
    Unknown,
}

impl Route {
    /// The route of a target in origin form (`/path?query`) or absolute form (`http://host/path`).
    pub(crate) fn of(target: &str) -> Self {
        let path = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find('/').map_or("/", |slash| &rest[slash..])
            }
            _ => target,
        };
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let Some(path) = path.strip_prefix('/') else {
            return Self::Unknown;
        };
        match path.split_once('/') {
            None => Self::of_word(path),
            Some(("orders", order)) => order
                .strip_prefix("ORDER-")
                .and_then(|digits| number(digits.as_bytes()))
                .map_or(Self::Unknown, Self::Confirm),
            Some((word, argument)) => number(argument.as_bytes())
                .and_then(|value| Self::of_number(word, value))
                .unwrap_or(Self::Unknown),
        }
    }

    fn of_word(word: &str) -> Self {
        match word {
            "" => Self::Canned,
            "cached" => Self::Cached,
            "echo" => Self::Echo,
            "headers" => Self::Headers,
            "order" => Self::Order,
            "close" => Self::Close,
            "drop" => Self::Drop,
            _ => Self::Unknown,
        }
    }

    fn of_number(word: &str, value: u64) -> Option<Self> {
        match word {
            "bytes" if value <= BODY_BYTES_MAX => Some(Self::Bytes(value)),
            "chunked" if value <= BODY_BYTES_MAX => Some(Self::Chunked(value)),
            "delay" if value <= DELAY_MS_MAX => Some(Self::Delay(value)),
            "slots" if value <= DELAY_MS_MAX => Some(Self::Slots(value)),
            "status" => u16::try_from(value)
                .ok()
                .filter(|status| (200..600).contains(status))
                .map(Self::Status),
            _ => None,
        }
    }

    /// Whether the same request is answered by the same bytes every time.
    pub(crate) fn is_constant(self) -> bool {
        matches!(
            self,
            Self::Canned
                | Self::Cached
                | Self::Bytes(_)
                | Self::Chunked(_)
                | Self::Status(_)
                | Self::Headers
                | Self::Unknown
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_lead_to_routes() {
        for (target, route) in [
            ("/", Route::Canned),
            ("/cached", Route::Cached),
            ("/?a=/b/c", Route::Canned),
            ("http://host:1", Route::Canned),
            ("http://host/bytes/7?x", Route::Bytes(7)),
            ("/bytes/67108864", Route::Bytes(64 << 20)),
            ("/bytes/67108865", Route::Unknown),
            ("/bytes/", Route::Unknown),
            ("/bytes/+7", Route::Unknown),
            ("/bytes/99999999999999999999999", Route::Unknown),
            ("/status/204", Route::Status(204)),
            ("/status/100", Route::Unknown),
            ("/delay/5", Route::Delay(5)),
            ("/slots/4", Route::Slots(4)),
            ("/orders/ORDER-12", Route::Confirm(12)),
            ("/orders/order-12", Route::Unknown),
            ("/echo", Route::Echo),
            ("/echo/", Route::Unknown),
            ("*", Route::Unknown),
            ("host:80", Route::Unknown),
            ("", Route::Unknown),
        ] {
            assert_eq!(Route::of(target), route, "{target}");
        }
    }
}
