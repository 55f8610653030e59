//! A response, from any split of its bytes into received runs.
//!
//! Nearly every response lies whole in one run, and is then looked at where it lies. Only what is split is
//! gathered: the head if its header fields will be read, the body if it will be read.

use httparse::Header;

use super::body::Chunked;
use super::head::{self, Expected, Framing, HEAD_BYTES_MAX, Head, header_space, note};
use crate::error_kind::ErrorKind;

/// A whole response, borrowed from wherever its bytes lie.
pub(crate) struct Response<'b> {
    pub(crate) status: u16,
    /// Of [`super::note`].
    pub(crate) notes: u8,
    /// As received; empty when the request's step reads none and the response came in pieces.
    pub(crate) headers: &'b [Header<'b>],
    /// Without the transfer coding; empty when the request's step does not read it and it came in pieces.
    pub(crate) body: &'b [u8],
    /// The body's bytes, decoded if it is, whether it was kept or not.
    pub(crate) body_len: u64,
}

/// What a request wants of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) expected: Expected,
    pub(crate) headers: bool,
    /// The notes with which header fields are wanted in any case.
    pub(crate) notes: u8,
    pub(crate) body: bool,
    /// Whether a body with a content coding is wanted in any case: only decoded does it show its size.
    pub(crate) coded_body: bool,
    /// The most bytes that the body may have.
    pub(crate) body_bytes_max: u64,
}

impl Wanted {
    fn reads_headers(&self, head: &Head) -> bool {
        self.headers || head.notes & self.notes != 0
    }

    fn reads_body(&self, head: &Head) -> bool {
        self.body || self.coded_body && head.notes & note::CODED != 0
    }
}

/// How far a run of bytes brought the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// All of the run was taken; more is needed.
    More,
    /// The response is whole; so much of the run was taken, and so it is known whether the connection lives on.
    Done { consumed: usize, keep_alive: bool },
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
}

/// A response being read. Kept by a virtual user from request to request for its memory.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Whether any byte has come.
    started: bool,
    /// Whether the response did not lie whole in the first run.
    is_gathering: bool,
    /// Made when it is first needed: most users never have a response in pieces.
    gathering: Option<Box<Gathering>>,
}

/// A response in pieces.
#[derive(Debug)]
struct Gathering {
    stage: Stage,
    head: Head,
    /// The head while it is not whole, and after that if its fields will be read.
    head_bytes: Vec<u8>,
    body_bytes: Vec<u8>,
    body_len: u64,
}

/// Memory beyond this is given back after a response, so that one large body does not stay for the whole run.
const KEPT_BYTES_MAX: usize = 256 * 1024;

impl Reader {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Forgets everything: a new response begins.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.started = false;
        if std::mem::take(&mut self.is_gathering)
            && let Some(gathering) = &mut self.gathering
        {
            gathering.reset();
        }
    }

    /// Whether any byte of the response has come.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    #[cold]
    fn gather(&mut self) -> &mut Gathering {
        self.is_gathering = true;
        self.gathering
            .get_or_insert_with(|| Box::new(Gathering::new()))
    }

    /// Takes the next run of bytes. When the response is whole `judge` is called with it, once.
    ///
    /// # Errors
    /// What is wrong with the response; the connection is of no further use.
    #[inline]
    pub(crate) fn advance<R>(
        &mut self,
        run: &[u8],
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<(Advance, Option<R>), ErrorKind> {
        self.started |= !run.is_empty();
        let mut at = 0;
        if !self.is_gathering {
            // The head in one run, and mostly the body with it.
            loop {
                let mut space = header_space();
                let parsed = head::parse(&run[at..], &mut space, wanted.expected);
                if parsed.is_err() && head::is_folded(&run[at..]) {
                    break;
                }
                let Some((head, headers)) = parsed? else {
                    self.gather().head_bytes.extend_from_slice(&run[at..]);
                    return Ok((Advance::More, None));
                };
                at += head.len;
                if head.is_interim() {
                    continue;
                }
                if let Framing::Length(length) = head.framing {
                    check_length(length, &head, wanted)?;
                    if (run.len() - at) as u64 >= length {
                        let end = at + length as usize;
                        let response = Response {
                            status: head.status,
                            notes: head.notes,
                            headers,
                            body: &run[at..end],
                            body_len: length,
                        };
                        let judged = judge(&response);
                        let done = Advance::Done {
                            consumed: end,
                            keep_alive: head.keep_alive,
                        };
                        return Ok((done, Some(judged)));
                    }
                }
                let gathering = self.gather();
                if wanted.reads_headers(&head) {
                    gathering
                        .head_bytes
                        .extend_from_slice(&run[at - head.len..at]);
                }
                gathering.begin_body(head);
                break;
            }
        }
        self.gather().advance(run, at, wanted, judge)
    }

    /// The peer has closed the connection: the end of a response that goes until then, an error otherwise.
    pub(crate) fn end<R>(
        &mut self,
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<R, ErrorKind> {
        match &self.gathering {
            Some(gathering)
                if self.is_gathering && matches!(gathering.stage, Stage::UntilClose) =>
            {
                gathering.judge(wanted, judge)
            }
            _ => Err(ErrorKind::Closed),
        }
    }
}

impl Gathering {
    fn new() -> Self {
        Self {
            stage: Stage::Head,
            head: Head {
                len: 0,
                status: 0,
                framing: Framing::Length(0),
                keep_alive: false,
                notes: 0,
            },
            head_bytes: Vec::new(),
            body_bytes: Vec::new(),
            body_len: 0,
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Head;
        self.head_bytes.clear();
        self.body_bytes.clear();
        if self.body_bytes.capacity() > KEPT_BYTES_MAX {
            self.body_bytes = Vec::new();
        }
        self.body_len = 0;
    }

    /// The rest: what did not lie whole in the first run.
    #[cold]
    fn advance<R>(
        &mut self,
        run: &[u8],
        mut at: usize,
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<(Advance, Option<R>), ErrorKind> {
        while matches!(self.stage, Stage::Head) {
            let before = self.head_bytes.len();
            self.head_bytes.extend_from_slice(&run[at..]);
            // A head ends with a line: without a new one, parsing again would only cost, quadratically for a head that
            // comes byte by byte.
            if before > 0 && self.head_bytes.len() <= HEAD_BYTES_MAX && !run[at..].contains(&b'\n')
            {
                return Ok((Advance::More, None));
            }
            head::unfold(&mut self.head_bytes);
            let mut space = header_space();
            let parsed = head::parse(&self.head_bytes, &mut space, wanted.expected)?;
            let Some((head, _)) = parsed else {
                return Ok((Advance::More, None));
            };
            // The head ends in this run, or it would have been whole before.
            at += head.len.saturating_sub(before);
            if head.is_interim() {
                self.head_bytes.clear();
                continue;
            }
            self.head_bytes.truncate(if wanted.reads_headers(&head) {
                head.len
            } else {
                0
            });
            if let Framing::Length(length) = head.framing {
                check_length(length, &head, wanted)?;
            }
            self.begin_body(head);
        }
        let whole = loop {
            match &mut self.stage {
                Stage::Length { left } => {
                    let take = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(run.len() - at);
                    *left -= take as u64;
                    let whole = *left == 0;
                    self.keep(&run[at..at + take], wanted)?;
                    at += take;
                    break whole;
                }
                Stage::Chunked(chunked) => {
                    let piece = chunked.advance(&run[at..])?;
                    let whole = chunked.is_done();
                    at += piece.consumed;
                    self.keep(piece.data, wanted)?;
                    if whole || at == run.len() {
                        break whole;
                    }
                }
                Stage::UntilClose => {
                    self.keep(&run[at..], wanted)?;
                    at = run.len();
                    break false;
                }
                Stage::Head => return Ok((Advance::More, None)),
            }
        };
        if !whole {
            return Ok((Advance::More, None));
        }
        let judged = self.judge(wanted, judge)?;
        let done = Advance::Done {
            consumed: at,
            keep_alive: self.head.keep_alive,
        };
        Ok((done, Some(judged)))
    }

    fn begin_body(&mut self, head: Head) {
        self.head = head;
        self.stage = match head.framing {
            Framing::Length(left) => Stage::Length { left },
            Framing::Chunked => Stage::Chunked(Chunked::new()),
            Framing::UntilClose => Stage::UntilClose,
        };
    }

    fn keep(&mut self, data: &[u8], wanted: &Wanted) -> Result<(), ErrorKind> {
        self.body_len += data.len() as u64;
        if wanted.reads_body(&self.head) {
            if self.body_len > wanted.body_bytes_max {
                return Err(ErrorKind::BodyLimit);
            }
            self.body_bytes.extend_from_slice(data);
        }
        Ok(())
    }

    fn judge<R>(
        &self,
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<R, ErrorKind> {
        let mut space = header_space();
        let headers = if wanted.reads_headers(&self.head) {
            match head::parse(&self.head_bytes, &mut space, wanted.expected)? {
                Some((_, headers)) => headers,
                None => return Err(ErrorKind::Protocol),
            }
        } else {
            &[]
        };
        Ok(judge(&Response {
            status: self.head.status,
            notes: self.head.notes,
            headers,
            body: &self.body_bytes,
            body_len: self.body_len,
        }))
    }
}

/// A body that is read must fit into memory; one that is only counted may be of any length.
#[inline]
fn check_length(length: u64, head: &Head, wanted: &Wanted) -> Result<(), ErrorKind> {
    if wanted.reads_body(head) && length > wanted.body_bytes_max {
        return Err(ErrorKind::BodyLimit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        expected: Expected {
            to_head_request: false,
            headers_max: 128,
        },
        headers: true,
        notes: 0,
        body: true,
        coded_body: false,
        body_bytes_max: 1 << 20,
    };

    type Seen = (u16, Vec<(String, Vec<u8>)>, Vec<u8>);

    fn seen(response: &Response<'_>) -> Seen {
        let headers = response
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), h.value.to_vec()))
            .collect();
        (response.status, headers, response.body.to_vec())
    }

    /// Reads one response from runs; the second value is how many bytes were left over.
    fn read(runs: &[&[u8]], wanted: &Wanted) -> Result<Option<(Seen, usize, bool)>, ErrorKind> {
        let mut reader = Reader::new();
        for (i, run) in runs.iter().enumerate() {
            if let (
                Advance::Done {
                    consumed,
                    keep_alive,
                },
                judged,
            ) = reader.advance(run, wanted, seen)?
            {
                let left =
                    run.len() - consumed + runs[i + 1..].iter().map(|r| r.len()).sum::<usize>();
                return Ok(Some((judged.unwrap(), left, keep_alive)));
            }
        }
        Ok(None)
    }

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
        HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n";

    #[test]
    fn any_split_reads_the_same_response() {
        for whole in [PLAIN, CHUNKED] {
            let expected = read(&[whole], &WANTED).unwrap().unwrap();
            assert_eq!(expected.1, 0);
            for a in 0..whole.len() {
                for b in a..whole.len() {
                    let runs = [&whole[..a], &whole[a..b], &whole[b..]];
                    assert_eq!(
                        read(&runs, &WANTED).unwrap().as_ref(),
                        Some(&expected),
                        "{a} {b}"
                    );
                }
            }
            let single: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(read(&single, &WANTED).unwrap(), Some(expected));
        }
    }

    #[test]
    fn folded_fields_are_read_as_one_line_in_any_split() {
        let whole =
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\t2\r\n  3\r\nContent-Length:\r\n 9\r\n\r\nbody\r\n too";
        let expected = read(&[whole], &WANTED).unwrap().unwrap();
        let (_, headers, body) = &expected.0;
        assert_eq!(headers[0], ("X-A".to_owned(), b"1  \t2    3".to_vec()));
        assert_eq!((body.as_slice(), expected.1), (&b"body\r\n to"[..], 1));
        for cut in 0..whole.len() {
            let (a, b) = whole.split_at(cut);
            assert_eq!(
                read(&[a, b], &WANTED).unwrap().as_ref(),
                Some(&expected),
                "{cut}"
            );
        }
        // What follows an empty head is no fold, and one of the first line is none.
        let bare = b"HTTP/1.1 200 OK\r\n\r\n body";
        for cut in 0..bare.len() {
            let mut reader = Reader::new();
            for run in [&bare[..cut], &bare[cut..]] {
                assert_eq!(reader.advance(run, &WANTED, seen).unwrap().1, None);
            }
            assert_eq!(reader.end(&WANTED, seen).unwrap().2, b" body", "{cut}");
        }
        let bad = b"HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(&[bad], &WANTED), Err(ErrorKind::Protocol));
    }

    #[test]
    fn a_long_head_that_comes_byte_by_byte_is_not_parsed_at_every_byte() {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "y".repeat(HEAD_BYTES_MAX - 100)
        );
        let began = std::time::Instant::now();
        let runs: Vec<&[u8]> = head.as_bytes().chunks(1).collect();
        assert!(read(&runs, &WANTED).unwrap().is_some());
        println!("{:?}", began.elapsed());
        assert!(began.elapsed() < std::time::Duration::from_millis(100));
        let endless = [
            b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
            &[b'y'; HEAD_BYTES_MAX],
        ]
        .concat();
        let runs: Vec<&[u8]> = endless.chunks(1).collect();
        assert_eq!(read(&runs, &WANTED), Err(ErrorKind::HeaderLimit));
    }

    #[test]
    fn what_follows_a_response_is_left_over() {
        let two = [PLAIN, PLAIN].concat();
        assert_eq!(read(&[&two], &WANTED).unwrap().unwrap().1, PLAIN.len());
        let (a, b) = two.split_at(PLAIN.len() - 2);
        assert_eq!(read(&[a, b], &WANTED).unwrap().unwrap().1, PLAIN.len());
    }

    #[test]
    fn a_response_to_head_has_no_body_whatever_it_says() {
        let wanted = Wanted {
            expected: Expected {
                to_head_request: true,
                ..WANTED.expected
            },
            ..WANTED
        };
        let head = &PLAIN[..PLAIN.len() - 5];
        let (seen, left, keep_alive) = read(&[head], &wanted).unwrap().unwrap();
        assert_eq!((seen.0, seen.2.len(), left, keep_alive), (200, 0, 0, true));
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection() {
        let mut reader = Reader::new();
        for run in [b"HTTP/1.1 200 OK\r\n\r\nab".as_slice(), b"cd"] {
            let (advance, judged) = reader.advance(run, &WANTED, seen).unwrap();
            assert_eq!((advance, judged), (Advance::More, None));
        }
        assert_eq!(reader.end(&WANTED, seen).unwrap().2, b"abcd");
        let mut reader = Reader::new();
        reader
            .advance(&PLAIN[..PLAIN.len() - 1], &WANTED, seen)
            .unwrap();
        assert_eq!(reader.end(&WANTED, seen), Err(ErrorKind::Closed));
    }

    #[test]
    fn a_body_past_the_limit_is_an_error_only_when_it_is_read() {
        let wanted = Wanted {
            body_bytes_max: 4,
            ..WANTED
        };
        assert_eq!(read(&[PLAIN], &wanted), Err(ErrorKind::BodyLimit));
        assert_eq!(
            read(&[&CHUNKED[..CHUNKED.len() - 10]], &wanted),
            Err(ErrorKind::BodyLimit)
        );
        let wanted = Wanted {
            body: false,
            ..wanted
        };
        assert!(read(&[PLAIN], &wanted).unwrap().is_some());
        assert!(read(&[CHUNKED], &wanted).unwrap().is_some());
    }

    #[test]
    fn a_long_body_that_is_read_is_copied_a_constant_number_of_times() {
        let (pieces, piece) = (16 * 1024, [b'x'; 1024]);
        let wanted = Wanted {
            body_bytes_max: 1 << 30,
            ..WANTED
        };
        for framing in [
            format!("Content-Length: {}", pieces * piece.len()),
            "Connection: close".to_owned(),
        ] {
            let mut reader = Reader::new();
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
            reader.advance(head.as_bytes(), &wanted, seen).unwrap();
            let (mut moved, mut capacity) = (0, 0);
            for i in 1..=pieces {
                let judged = reader.advance(&piece, &wanted, |r| r.body.len()).unwrap().1;
                if reader.gather().body_bytes.capacity() != capacity {
                    capacity = reader.gather().body_bytes.capacity();
                    moved += i * piece.len();
                }
                let whole = i == pieces && framing.starts_with("Content-Length");
                assert_eq!(judged, whole.then_some(pieces * piece.len()));
            }
            // What growing moved, at worst: each byte some three times in all.
            assert!(moved <= 4 * pieces * piece.len(), "{moved}");
        }
    }

    #[test]
    fn a_reader_can_be_used_again_after_a_reset() {
        let mut reader = Reader::new();
        reader
            .advance(&CHUNKED[..CHUNKED.len() - 7], &WANTED, seen)
            .unwrap();
        reader.reset();
        let (_, judged) = reader.advance(PLAIN, &WANTED, seen).unwrap();
        assert_eq!(judged.unwrap().2, b"hello");
    }
}
