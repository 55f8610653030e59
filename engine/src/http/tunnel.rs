//! A proxy's answer to CONNECT.

use super::head::{Expected, HEADERS_AT_HAND, header_space, parse};
use crate::error_kind::ErrorKind;

/// How long the answer is, interim ones before it included, and its status; `None` while it is not whole. It has no
/// content when it is good (RFC 9110 section 9.3.6), and nobody reads what it has else.
///
/// # Errors
/// When it is not HTTP/1.
pub(crate) fn connect_answer(bytes: &[u8]) -> Result<Option<(usize, u16)>, ErrorKind> {
    let mut at = 0;
    loop {
        let mut space = header_space();
        // A tunnel's answer has no content (RFC 9110 section 9.3.6), as one to HEAD.
        let expected = Expected {
            to_head_request: true,
            headers_max: HEADERS_AT_HAND as u32,
        };
        let Some((head, _)) = parse(&bytes[at..], &mut space, expected)? else {
            return Ok(None);
        };
        at += head.len;
        if !head.is_interim() {
            return Ok(Some((at, head.status)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_ends_where_the_tunnel_begins() {
        let good = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\n\r\n";
        for end in 0..good.len() {
            assert_eq!(connect_answer(&good[..end]), Ok(None), "{end}");
        }
        let more = [&good[..], b"\x16\x03"].concat();
        assert_eq!(connect_answer(&more), Ok(Some((good.len(), 200))));
        let refused = b"HTTP/1.1 403 No\r\ncontent-length: 4\r\n\r\nstop";
        assert_eq!(connect_answer(refused), Ok(Some((refused.len() - 4, 403))));
        assert_eq!(connect_answer(b"220 smtp\r\n"), Err(ErrorKind::Protocol));
    }
}
