//! Content codings (RFC 9110 section 8.4): gzip, deflate, br, zstd. A body is decoded when it is whole, and only when
//! something reads it; what it may come to is bounded before a byte of it is written.

use std::io::Read;

use flate2::{Crc, Decompress, FlushDecompress, Status};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::error_kind::ErrorKind;

/// The most codings on top of each other.
const CODINGS_MAX: usize = 4;
/// How much room is made at once.
const STEP_BYTES: usize = 32 * 1024;
/// Memory beyond this is given back after a body.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A shard's decoders, used for one body after another.
pub(crate) struct Decoder {
    inflate: Decompress,
    zstd: FrameDecoder,
    /// What the last coding gave, and what the one before it did.
    out: Vec<u8>,
    spare: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            zstd: FrameDecoder::new(),
            out: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Undoes the codings of a body, which were applied in the order given; `bytes_max` holds for what each of them gives.
    ///
    /// # Errors
    /// `Decode` when the body is not what the codings say or one is unknown, `BodyLimit` past the limit.
    pub(crate) fn decode(
        &mut self,
        codings: &[&[u8]],
        body: &[u8],
        bytes_max: u64,
    ) -> Result<&[u8], ErrorKind> {
        if codings.len() > CODINGS_MAX {
            return Err(ErrorKind::Decode);
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.out = recycled(std::mem::take(&mut self.out));
        self.spare = recycled(std::mem::take(&mut self.spare));
        self.out.extend_from_slice(body);
        for coding in codings.iter().rev() {
            if coding.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            std::mem::swap(&mut self.out, &mut self.spare);
            self.out.clear();
            let from = std::mem::take(&mut self.spare);
            let done = self.undo(coding, &from, bytes_max);
            self.spare = from;
            done?;
        }
        Ok(&self.out)
    }

    fn undo(&mut self, coding: &[u8], from: &[u8], bytes_max: usize) -> Result<(), ErrorKind> {
        // A response without content may still name a coding.
        if from.is_empty() {
            return Ok(());
        }
        match coding {
            c if c.eq_ignore_ascii_case(b"gzip") || c.eq_ignore_ascii_case(b"x-gzip") => {
                let mut rest = from;
                while !rest.is_empty() {
                    rest = self.gzip_member(rest, bytes_max)?;
                }
                Ok(())
            }
            c if c.eq_ignore_ascii_case(b"deflate") => {
                // RFC 9110 section 8.4.1.2: it is the zlib format, which some servers leave off.
                let is_zlib = matches!(from, [cmf, flags, ..]
                    if cmf & 15 == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0);
                self.inflate.reset(is_zlib);
                self.inflate_all(from, bytes_max).map(|_| ())
            }
            c if c.eq_ignore_ascii_case(b"br") => {
                let mut reader = brotli_decompressor::Decompressor::new(from, 4096);
                read_all(&mut reader, &mut self.out, bytes_max)
            }
            c if c.eq_ignore_ascii_case(b"zstd") => {
                let mut rest = from;
                while !rest.is_empty() {
                    let mut reader = StreamingDecoder::new_with_decoder(&mut rest, &mut self.zstd)
                        .map_err(|_| ErrorKind::Decode)?;
                    read_all(&mut reader, &mut self.out, bytes_max)?;
                }
                Ok(())
            }
            _ => Err(ErrorKind::Decode),
        }
    }

    /// One member of a gzip file (RFC 1952); what follows it.
    fn gzip_member<'b>(&mut self, from: &'b [u8], bytes_max: usize) -> Result<&'b [u8], ErrorKind> {
        let start = self.out.len();
        let body = gzip_header(from).ok_or(ErrorKind::Decode)?;
        self.inflate.reset(false);
        let used = self.inflate_all(body, bytes_max)?;
        let (trailer, rest) = body[used..]
            .split_first_chunk::<8>()
            .ok_or(ErrorKind::Decode)?;
        let mut crc = Crc::new();
        crc.update(&self.out[start..]);
        let [a, b, c, d, length @ ..] = *trailer;
        if crc.sum() != u32::from_le_bytes([a, b, c, d])
            || crc.amount() != u32::from_le_bytes(length)
        {
            return Err(ErrorKind::Decode);
        }
        Ok(rest)
    }

    /// Inflates to the end of the stream; how much of `from` it took.
    fn inflate_all(&mut self, from: &[u8], bytes_max: usize) -> Result<usize, ErrorKind> {
        loop {
            // One byte past the limit, so that reaching it and passing it can be told apart.
            let left = (bytes_max - self.out.len()).saturating_add(1);
            self.out.reserve(STEP_BYTES.min(left));
            let (used, had) = (self.inflate.total_in() as usize, self.out.len());
            let status = self
                .inflate
                .decompress_vec(&from[used..], &mut self.out, FlushDecompress::None)
                .map_err(|_| ErrorKind::Decode)?;
            if self.out.len() > bytes_max {
                return Err(ErrorKind::BodyLimit);
            }
            let now = self.inflate.total_in() as usize;
            match status {
                Status::StreamEnd => return Ok(now),
                _ if now == used && self.out.len() == had => return Err(ErrorKind::Decode),
                _ => {}
            }
        }
    }
}

/// Reads to the end, up to the limit.
fn read_all(reader: &mut impl Read, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), ErrorKind> {
    loop {
        let had = out.len();
        out.resize(had + STEP_BYTES, 0);
        let read = reader.read(&mut out[had..]);
        out.truncate(had + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => return Ok(()),
            Ok(_) if out.len() > bytes_max => return Err(ErrorKind::BodyLimit),
            Ok(_) => {}
            Err(_) => return Err(ErrorKind::Decode),
        }
    }
}

/// What follows the header of a gzip member.
fn gzip_header(from: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = from.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else {
        return None;
    };
    let (header_crc, extra, name, comment) = (flags & 2, flags & 4, flags & 8, flags & 16);
    if flags & 0xe0 != 0 {
        return None;
    }
    if extra != 0 {
        let (len, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for _ in 0..u8::from(name != 0) + u8::from(comment != 0) {
        rest = &rest[memchr::memchr(0, rest)? + 1..];
    }
    if header_crc != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

fn recycled(mut memory: Vec<u8>) -> Vec<u8> {
    memory.clear();
    if memory.capacity() > KEPT_BYTES_MAX {
        return Vec::new();
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(codings: &[&str], body: &[u8], most: u64) -> Result<Vec<u8>, ErrorKind> {
        let codings: Vec<&[u8]> = codings.iter().map(|c| c.as_bytes()).collect();
        Decoder::new()
            .decode(&codings, body, most)
            .map(<[u8]>::to_vec)
    }

    /// `hello hello hello hello` by the reference tools of brotli and zstd.
    const BR: &[u8] = &[
        0x1b, 0x16, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0x96, 0x6c, 0x20, 0x6f,
        0x21, 0x4f, 0x1c, 0xe0, 0x38,
    ];
    const ZSTD: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x17, 0x65, 0x00, 0x00, 0x30, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
        0x20, 0x01, 0x00, 0x99, 0x4b, 0x11, 0x17, 0x5e, 0xae, 0x0d,
    ];
    const TEXT: &[u8] = b"hello hello hello hello";

    #[test]
    fn every_coding_and_their_stacks_are_undone() {
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let two = [gzip(b"hello hello "), gzip(b"hello hello")].concat();
        for (codings, body) in [
            (&["gzip"][..], gzip(TEXT)),
            (&["X-GZIP"], gzip(TEXT)),
            (&["gzip"], two),
            (&["deflate"], raw.finish().unwrap()),
            (&["deflate"], zlib.finish().unwrap()),
            (&["br"], BR.to_vec()),
            (&["zstd"], ZSTD.to_vec()),
            (&["gzip", "identity", "gzip"], gzip(&gzip(TEXT))),
            (&["br", "gzip"], gzip(BR)),
            (&["identity"], TEXT.to_vec()),
        ] {
            assert_eq!(
                decoded(codings, &body, 200).as_deref(),
                Ok(TEXT),
                "{codings:?}"
            );
            if codings.len() == 1 && codings != ["identity"] {
                assert_eq!(
                    decoded(codings, &body, 22),
                    Err(ErrorKind::BodyLimit),
                    "{codings:?}"
                );
            }
        }
        assert_eq!(decoded(&["gzip"], b"", 1).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_an_error() {
        let whole = gzip(TEXT);
        for cut in 1..whole.len() {
            assert_eq!(
                decoded(&["gzip"], &whole[..cut], 99),
                Err(ErrorKind::Decode),
                "{cut}"
            );
        }
        let mut wrong = whole.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        for (coding, body) in [
            ("gzip", wrong.as_slice()),
            ("gzip", b"hello"),
            ("deflate", b"\xff\xff\xff"),
            ("br", b"\xff\xff\xff\xff"),
            ("br", &BR[..10]),
            ("zstd", b"hello"),
            ("zstd", &ZSTD[..20]),
            ("compress", TEXT),
        ] {
            assert_eq!(
                decoded(&[coding], body, 99),
                Err(ErrorKind::Decode),
                "{coding}"
            );
        }
        assert_eq!(decoded(&["gzip"; 5], &whole, 99), Err(ErrorKind::Decode));
    }

    #[test]
    fn a_bomb_meets_the_limit_and_its_memory_is_given_back() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        let mut decoder = Decoder::new();
        assert_eq!(
            decoder.decode(&[b"gzip"], &bomb, 8 << 20),
            Err(ErrorKind::BodyLimit)
        );
        assert!(decoder.out.capacity() <= 20 << 20);
        assert_eq!(decoder.decode(&[b"gzip"], &gzip(TEXT), 99), Ok(TEXT));
        assert!(decoder.out.capacity() <= KEPT_BYTES_MAX);
    }
}
