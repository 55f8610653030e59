//! `Cache-Control` (RFC 9111 section 5.2), of requests and of responses.

use httparse::Header;

use super::fields::field;

/// More seconds than this are as many (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    /// In seconds; of two the smaller. One that is no number is 0: it is stale.
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// Without a number: any.
    pub(super) max_stale: Option<u64>,
}

impl Control {
    pub(super) fn of_response(headers: &[Header<'_>]) -> Self {
        let mut control = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("cache-control") {
                control.read(header.value);
            }
        }
        control
    }

    /// Of a request's head, with names in lower case.
    pub(super) fn of_request(request: &[u8]) -> Self {
        let mut control = Self::default();
        match field(request, "cache-control") {
            Some(value) => control.read(&value),
            // RFC 9111 section 5.4.
            None => {
                let pragma = field(request, "pragma").unwrap_or_default();
                let mut words = pragma.split(|&b| b == b',').map(<[u8]>::trim_ascii);
                control.no_cache = words.any(|word| word.eq_ignore_ascii_case(b"no-cache"));
            }
        }
        control
    }

    fn read(&mut self, value: &[u8]) {
        for directive in split(value) {
            let mut parts = directive.splitn(2, |&b| b == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let argument = parts.next().map(<[u8]>::trim_ascii);
            let number = || argument.and_then(seconds).unwrap_or(0);
            let smaller = |before: Option<u64>, now: u64| Some(before.map_or(now, |b| b.min(now)));
            match name.to_ascii_lowercase().as_slice() {
                b"no-store" => self.no_store = true,
                // Whether or not it names fields (section 5.2.2.4).
                b"no-cache" => self.no_cache = true,
                b"must-revalidate" => self.must_revalidate = true,
                b"max-age" => self.max_age = smaller(self.max_age, number()),
                b"min-fresh" => self.min_fresh = Some(self.min_fresh.unwrap_or(0).max(number())),
                b"max-stale" => {
                    let most = argument.map_or(u64::MAX, |a| seconds(a).unwrap_or(0));
                    self.max_stale = smaller(self.max_stale, most);
                }
                _ => {}
            }
        }
    }
}

/// The directives: commas in quotes separate nothing.
fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&b| {
        if escaped {
            escaped = false;
        } else if quoted && b == b'\\' {
            escaped = true;
        } else if b == b'"' {
            quoted = !quoted;
        }
        b == b',' && !quoted
    })
}

/// `delta-seconds`, in quotes or not.
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    let value = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    if value.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for digit in value {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = (number * 10 + u64::from(digit - b'0')).min(SECONDS_MAX);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Control {
        let mut control = Control::default();
        control.read(value.as_bytes());
        control
    }

    #[test]
    fn directives_are_read_in_any_case_and_form() {
        let max_age = |secs| Control {
            max_age: Some(secs),
            ..Control::default()
        };
        for (value, expected) in [
            ("max-age=60", max_age(60)),
            ("Max-Age=\"60\", public", max_age(60)),
            ("ext=\"a, no-store\", max-age=60", max_age(60)),
            ("ext=\"a\\\", no-store\",max-age=60", max_age(60)),
            ("max-age=60, max-age=5", max_age(5)),
            ("max-age=soon", max_age(0)),
            ("max-age", max_age(0)),
            ("max-age=-1", max_age(0)),
            ("max-age=99999999999999999999999", max_age(SECONDS_MAX)),
            ("s-maxage=60", Control::default()),
            ("", Control::default()),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        assert!(read("private, no-cache=\"set-cookie\"").no_cache);
        assert!(read(" no-store ").no_store && read("must-revalidate").must_revalidate);
        assert_eq!(read("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(read("max-stale=7, min-fresh=3").max_stale, Some(7));
    }
}
