//! The head that a request was answered with before. Most targets answer it with the same bytes again and again, but for a date
//! that changes once a second: what those say is known without parsing them.

use std::cell::RefCell;

use super::head::{Expected, Head};

/// Longer heads are parsed each time.
const BYTES_MAX: usize = 1024;
/// After so many heads in a row that were not the one before, so many are not looked at.
const MISSES_MAX: u8 = 8;
const UNSEEN: u8 = 100;

/// The last head of a request's responses that was parsed, for those who read none of its fields.
#[derive(Debug, Default)]
pub(crate) struct KnownHead(RefCell<Known>);

#[derive(Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    parsed: Option<(Expected, Head)>,
    misses: u8,
    unseen: u8,
}

impl KnownHead {
    /// What the head says that `bytes` begin with, if it is the one before. It ends with an empty line, so that what follows
    /// cannot change it.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8], expected: Expected) -> Option<Head> {
        let mut known = self.0.borrow_mut();
        if known.unseen > 0 {
            known.unseen -= 1;
            return None;
        }
        let (before, head) = known.parsed?;
        if before == expected && bytes.starts_with(&known.bytes) {
            known.misses = 0;
            return Some(head);
        }
        known.missed();
        None
    }

    /// Keeps what was parsed from `bytes`, which are those of the head alone.
    #[inline]
    pub(super) fn keep(&self, bytes: &[u8], expected: Expected, head: Head) {
        let mut known = self.0.borrow_mut();
        if known.unseen == 0 && bytes.len() <= BYTES_MAX {
            known.bytes.clear();
            known.bytes.extend_from_slice(bytes);
            known.parsed = Some((expected, head));
        }
    }
}

impl Known {
    #[cold]
    fn missed(&mut self) {
        self.misses += 1;
        if self.misses == MISSES_MAX {
            self.misses = 0;
            self.unseen = UNSEEN;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::head::{Framing, header_space, parse};

    const EXPECTED: Expected = Expected {
        to_head_request: false,
        headers_max: 128,
    };

    fn keep(known: &KnownHead, text: &str, expected: Expected) -> Head {
        let mut space = header_space();
        let (head, _) = parse(text.as_bytes(), &mut space, expected)
            .unwrap()
            .unwrap();
        known.keep(&text.as_bytes()[..head.len], expected, head);
        head
    }

    fn response(text: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: {text}\r\n\r\n")
    }

    #[test]
    fn the_same_head_is_known_and_no_other() {
        let known = KnownHead::default();
        let five = response("5");
        assert_eq!(known.find(five.as_bytes(), EXPECTED), None);
        let head = keep(&known, &five, EXPECTED);
        assert_eq!(head.framing, Framing::Length(5));
        let with_body = format!("{five}hello HTTP/1.1 500");
        assert_eq!(known.find(with_body.as_bytes(), EXPECTED), Some(head));
        let other = response("6");
        for bytes in [
            other.as_bytes(),
            &five.as_bytes()[..five.len() - 1],
            b"".as_slice(),
            b"x",
        ] {
            assert_eq!(known.find(bytes, EXPECTED), None);
        }
        let to_head_request = Expected {
            to_head_request: true,
            ..EXPECTED
        };
        assert_eq!(known.find(five.as_bytes(), to_head_request), None);
        assert_eq!(known.find(five.as_bytes(), EXPECTED), Some(head));
    }

    #[test]
    fn heads_that_always_differ_are_looked_at_now_and_then() {
        let known = KnownHead::default();
        let mut found = 0;
        for number in 0..10_000 {
            let text = response(&(number / 5000 * number).to_string());
            found += usize::from(known.find(text.as_bytes(), EXPECTED).is_some());
            keep(&known, &text, EXPECTED);
        }
        // The first half is all the same, the second never.
        assert_eq!(found, 4999);
        let text = response("7");
        let found = (0..1000).filter(|_| {
            let is_known = known.find(text.as_bytes(), EXPECTED).is_some();
            keep(&known, &text, EXPECTED);
            is_known
        });
        let again = found.count();
        assert!(again >= 1000 - usize::from(UNSEEN) - 1, "{again}");
    }

    #[test]
    fn a_long_head_is_not_kept() {
        let known = KnownHead::default();
        let long = response(&format!("5\r\nx: {}", "y".repeat(BYTES_MAX)));
        keep(&known, &long, EXPECTED);
        assert_eq!(known.find(long.as_bytes(), EXPECTED), None);
    }
}
