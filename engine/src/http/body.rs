//! The chunked coding (RFC 9112 section 7.1), read in any split.

use crate::error_kind::ErrorKind;

/// The most bytes of a chunk's size line with its extensions.
const SIZE_LINE_BYTES_MAX: u32 = 1024;
/// The most bytes of the trailer section.
const TRAILER_BYTES_MAX: u32 = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// After the size: an extension, ignored.
    Extension,
    SizeNewline,
    Data,
    DataReturn,
    DataNewline,
    /// At the start of a trailer line.
    TrailerStart,
    Trailer,
    /// After the CR of a trailer line.
    TrailerNewline,
    /// The CR of the empty line was read.
    EndNewline,
    Done,
}

/// A chunked body being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Bytes left of the current chunk; while its size is read, the size so far.
    left: u64,
    /// Bytes of the size line or of the trailer so far.
    line: u32,
}

/// A piece of input worked off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<'b> {
    /// How much of the input it took.
    pub(crate) consumed: usize,
    /// The body's bytes in it.
    pub(crate) data: &'b [u8],
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            state: State::SizeStart,
            left: 0,
            line: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Works off the start of `input` up to the end of one run of data. Call again until all is consumed or
    /// [`Chunked::is_done`].
    pub(crate) fn advance<'b>(&mut self, input: &'b [u8]) -> Result<Piece<'b>, ErrorKind> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let take = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(input.len() - at);
                self.left -= take as u64;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
                return Ok(Piece {
                    consumed: at + take,
                    data: &input[at..at + take],
                });
            }
            self.step(input[at])?;
            at += 1;
        }
        Ok(Piece {
            consumed: at,
            data: &[],
        })
    }

    #[expect(
        clippy::match_same_arms,
        reason = "a table of states reads best in the order of the states"
    )]
    fn step(&mut self, byte: u8) -> Result<(), ErrorKind> {
        self.line += 1;
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                if self.left >> 60 != 0 {
                    return Err(ErrorKind::Protocol);
                }
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            (State::Size | State::Extension, b'\r') => State::SizeNewline,
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            // A bare LF inside an extension is how chunks are smuggled.
            (State::Extension, b'\n' | 0) => return Err(ErrorKind::Protocol),
            (State::Extension, _) => State::Extension,
            (State::SizeNewline, b'\n') => {
                self.line = 0;
                if self.left == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                }
            }
            (State::DataReturn, b'\r') => State::DataNewline,
            (State::DataNewline, b'\n') => {
                self.line = 0;
                State::SizeStart
            }
            (State::TrailerStart, b'\r') => State::EndNewline,
            (State::TrailerStart | State::Trailer, b'\n' | 0) => return Err(ErrorKind::Protocol),
            (State::Trailer, b'\r') => State::TrailerNewline,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (State::TrailerNewline, b'\n') => State::TrailerStart,
            (State::EndNewline, b'\n') => State::Done,
            _ => return Err(ErrorKind::Protocol),
        };
        match self.state {
            State::Size | State::Extension if self.line > SIZE_LINE_BYTES_MAX => {
                Err(ErrorKind::Protocol)
            }
            State::TrailerStart | State::Trailer if self.line > TRAILER_BYTES_MAX => {
                Err(ErrorKind::HeaderLimit)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), ErrorKind> {
        let (mut chunked, mut body, mut consumed) = (Chunked::new(), Vec::new(), 0);
        for input in pieces {
            let mut at = 0;
            while at < input.len() && !chunked.is_done() {
                let piece = chunked.advance(&input[at..])?;
                body.extend_from_slice(piece.data);
                at += piece.consumed;
            }
            consumed += at;
        }
        Ok((body, chunked.is_done(), consumed))
    }

    const WHOLE: &[u8] =
        b"5\r\nhello\r\n00A;name=\"v\"\r\n, chunked \r\n1 \r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";

    #[test]
    fn any_split_gives_the_same_body() {
        for cut in 0..WHOLE.len() {
            let (a, b) = WHOLE.split_at(cut);
            let got = decode(&[a, b]).unwrap();
            assert_eq!(
                got,
                (b"hello, chunked !".to_vec(), true, WHOLE.len()),
                "{cut}"
            );
        }
        let single: Vec<&[u8]> = WHOLE.chunks(1).collect();
        assert!(decode(&single).unwrap().1);
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_not_done() {
        for cut in 0..WHOLE.len() {
            assert!(!decode(&[&WHOLE[..cut]]).unwrap().1, "{cut}");
        }
    }

    #[test]
    fn bytes_after_the_body_are_left_alone() {
        let more = [WHOLE, b"HTTP/1.1 200 OK"].concat();
        assert_eq!(decode(&[&more]).unwrap().2, WHOLE.len());
    }

    #[test]
    fn malformed_chunks_are_protocol_errors() {
        let long = [b"1;".as_slice(), &[b'a'; 2000]].concat();
        for bytes in [
            b"g\r\n".as_slice(),
            b"\r\n",
            b"-1\r\n",
            b"0x5\r\nhello",
            b"5\nhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"11111111111111111\r\n",
            b"5;a\nb\r\nhello",
            b"0\r\nA: b\n\r\n",
            &long,
        ] {
            assert_eq!(
                decode(&[bytes]),
                Err(ErrorKind::Protocol),
                "{}",
                bytes.escape_ascii()
            );
        }
        let trailer = [b"0\r\nA: ".as_slice(), &[b'b'; 20_000]].concat();
        assert_eq!(decode(&[&trailer]), Err(ErrorKind::HeaderLimit));
    }
}
