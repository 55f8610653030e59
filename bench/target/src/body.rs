//! A request's body: how it is framed, and a reader that takes it in pieces of any size.

use crate::request::{BODY_BYTES_MAX, Refusal};

/// How a body's end is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// The longest line of a chunked body (a size with its extension, or a trailer), in bytes.
const LINE_BYTES_MAX: u32 = 8 * 1024;
/// The most bytes of trailer lines.
const TRAILER_BYTES_MAX: u32 = 64 * 1024;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Plain bytes, of a body with a length.
    Plain,
    /// In the digits of a chunk's size; how many there have been.
    Size(u32),
    /// In what follows the size on its line.
    Extension,
    /// Bytes of a chunk.
    Chunk,
    /// The line end after a chunk: its first byte is due, or its second.
    ChunkEnd(bool),
    /// In a trailer line that has had this many bytes (carriage returns aside).
    Trailer(u32),
    Done,
}

/// Takes a body as it arrives.
#[derive(Debug)]
pub(crate) struct BodyReader {
    state: State,
    /// Bytes left of the body or of the chunk.
    left: u64,
    /// Bytes of body so far.
    total: u64,
    /// Bytes of the current line, or of all trailers.
    line: u32,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        let (state, left) = match framing {
            Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Plain, length),
            Framing::Chunked => (State::Size(0), 0),
        };
        Self {
            state,
            left,
            total: 0,
            line: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes what belongs to the body from `bytes`, hands its content to `sink`, and returns how many bytes it
    /// took: fewer than there are only when the body is done.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Done => break,
                State::Plain | State::Chunk => {
                    let len =
                        (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    sink(&bytes[at..at + len]);
                    at += len;
                    self.left -= len as u64;
                    self.total += len as u64;
                    if self.left == 0 {
                        self.state = match self.state {
                            State::Plain => State::Done,
                            _ => State::ChunkEnd(false),
                        };
                    }
                }
                _ => {
                    self.framing_byte(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                // Checked at each digit, so it cannot overflow.
                self.left = self.left << 4 | u64::from(digit);
                if self.total + self.left > BODY_BYTES_MAX {
                    return Err(Refusal::BodyTooLarge);
                }
                self.state = State::Size(digits + 1);
                self.count_line(LINE_BYTES_MAX)?;
            }
            (State::Size(1..), b';' | b' ' | b'\t' | b'\r') => self.state = State::Extension,
            (State::Extension, b'\n') => {
                self.line = 0;
                self.state = if self.left == 0 {
                    State::Trailer(0)
                } else {
                    State::Chunk
                };
            }
            (State::Extension, _) => self.count_line(LINE_BYTES_MAX)?,
            (State::ChunkEnd(false), b'\r') => self.state = State::ChunkEnd(true),
            (State::ChunkEnd(true), b'\n') => self.state = State::Size(0),
            (State::Trailer(0), b'\n') => self.state = State::Done,
            (State::Trailer(_), b'\n') => self.state = State::Trailer(0),
            (State::Trailer(len), _) => {
                self.count_line(TRAILER_BYTES_MAX)?;
                self.state = State::Trailer(len + u32::from(byte != b'\r'));
            }
            _ => return Err(Refusal::Malformed),
        }
        Ok(())
    }

    fn count_line(&mut self, most: u32) -> Result<(), Refusal> {
        self.line += 1;
        if self.line > most {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"5\r\nhello\r\n0A ; x=\"y\"\r\n, world...\r\n0;z\r\nA: b\r\nC: d\r\n\r\n";

    #[test]
    fn a_chunked_body_reads_the_same_however_it_is_cut() {
        for size in 1..=CHUNKED.len() {
            let mut reader = BodyReader::new(Framing::Chunked);
            let mut got = Vec::new();
            for piece in CHUNKED.chunks(size) {
                assert!(!reader.is_done());
                let took = reader.feed(piece, |b| got.extend_from_slice(b)).unwrap();
                assert_eq!(took, piece.len());
            }
            assert!(reader.is_done());
            assert_eq!(got, b"hello, world...");
        }
    }

    #[test]
    fn what_follows_a_body_is_left_alone() {
        let mut reader = BodyReader::new(Framing::Length(3));
        assert_eq!(reader.feed(b"abcGET /", |_| {}), Ok(3));
        assert!(reader.is_done());
        let mut reader = BodyReader::new(Framing::Chunked);
        assert_eq!(reader.feed(b"0\r\n\r\nGET /", |_| {}), Ok(5));
        assert!(reader.is_done());
    }

    #[test]
    fn bad_framing_is_refused() {
        let read = |bytes: &[u8]| BodyReader::new(Framing::Chunked).feed(bytes, |_| {});
        assert_eq!(read(b"\r\n"), Err(Refusal::Malformed));
        assert_eq!(read(b"x\r\n"), Err(Refusal::Malformed));
        assert_eq!(read(b"1\r\nab"), Err(Refusal::Malformed));
        assert_eq!(read(b"FFFFFFFFFFFFFFFFFF\r\n"), Err(Refusal::BodyTooLarge));
        assert_eq!(read(&b"0".repeat(10_000)), Err(Refusal::HeadTooLarge));
    }
}
