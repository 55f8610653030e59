//! A response, from any split of its bytes into received runs.
//!
//! Nearly every response lies whole in one run, and is then looked at where it lies. Only what is split is
//! gathered: the head if its header fields will be read, the body if it will be read.

use std::rc::Rc;

use httparse::Header;

use super::head::{self, Expected, Framing, Head, header_space, note};
use super::known::KnownHead;
use super::pieces::{Gathering, Spares, check_length};
use crate::error_kind::ErrorKind;

/// A whole response, borrowed from wherever its bytes lie.
pub(crate) struct Response<'b> {
    pub(crate) status: u16,
    /// Of [`super::note`].
    pub(crate) notes: u8,
    /// As received; empty when the request's step reads none and the response came in pieces, or began as the one before.
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
    pub(super) fn reads_headers(&self, head: &Head) -> bool {
        self.headers || head.notes & self.notes != 0
    }

    pub(super) fn reads_body(&self, head: &Head) -> bool {
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

/// A response being read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Whether any byte has come.
    started: bool,
    /// Made when it is first needed: most users never have a response in pieces.
    gathering: Option<Box<Gathering>>,
    spares: Rc<Spares>,
    /// So many bytes of heads were copied or parsed, but for those of the pieces at hand.
    #[cfg(test)]
    work_bytes: usize,
}

impl Reader {
    /// `spares`: of all readers of a shard.
    pub(crate) fn new(spares: &Rc<Spares>) -> Self {
        Self {
            started: false,
            gathering: None,
            spares: Rc::clone(spares),
            #[cfg(test)]
            work_bytes: 0,
        }
    }

    /// Forgets everything: a new response begins.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.started = false;
        self.let_go();
    }

    /// Whether any byte of the response has come.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    #[cold]
    fn gather(&mut self) -> &mut Gathering {
        self.gathering.get_or_insert_with(|| self.spares.take())
    }

    /// Nothing more is gathered of this response. Whether any of it came is still known.
    #[inline]
    pub(crate) fn let_go(&mut self) {
        if let Some(gathering) = self.gathering.take() {
            #[cfg(test)]
            {
                self.work_bytes += gathering.work_bytes;
            }
            self.spares.give_back(gathering);
        }
    }

    /// Takes the next run of bytes. When the response is whole `judge` is called with it, once. `known`: of the responses to
    /// the same request, where there is one.
    ///
    /// # Errors
    /// What is wrong with the response; the connection is of no further use.
    #[inline]
    pub(crate) fn advance<R>(
        &mut self,
        run: &[u8],
        wanted: &Wanted,
        known: Option<&KnownHead>,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<(Advance, Option<R>), ErrorKind> {
        self.started |= !run.is_empty();
        let advanced = self.read_on(run, wanted, known, judge);
        if !matches!(advanced, Ok((Advance::More, _))) {
            self.let_go();
        }
        advanced
    }

    #[inline]
    fn read_on<R>(
        &mut self,
        run: &[u8],
        wanted: &Wanted,
        known: Option<&KnownHead>,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<(Advance, Option<R>), ErrorKind> {
        let mut at = 0;
        if self.gathering.is_some() && !self.gather_head(run, &mut at, wanted)? {
            return Ok((Advance::More, None));
        }
        while self.gathering.is_none() {
            // The head in one run, and mostly the body with it.
            let mut space = header_space();
            let before = known
                .filter(|_| !wanted.headers)
                .and_then(|known| known.find(&run[at..], wanted.expected))
                .filter(|head| !wanted.reads_headers(head));
            let (head, headers) = if let Some(head) = before {
                (head, [].as_slice())
            } else {
                let parsed = head::parse(&run[at..], &mut space, wanted.expected);
                let is_folded = parsed.is_err() && head::is_folded(&run[at..]);
                let whole = if is_folded { None } else { parsed? };
                let Some((head, headers)) = whole else {
                    if !self.gather_head(run, &mut at, wanted)? {
                        return Ok((Advance::More, None));
                    }
                    continue;
                };
                if let Some(known) = known.filter(|_| !wanted.reads_headers(&head)) {
                    known.keep(&run[at..at + head.len], wanted.expected, head);
                }
                (head, headers)
            };
            at += head.len;
            if head.is_interim() {
                #[cfg(test)]
                {
                    self.work_bytes += head.len;
                }
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
        }
        self.gather().advance_body(run, at, wanted, judge)
    }

    /// [`Gathering::gather_head`]; behind an interim head nothing is gathered any more.
    #[cold]
    fn gather_head(
        &mut self,
        run: &[u8],
        at: &mut usize,
        wanted: &Wanted,
    ) -> Result<bool, ErrorKind> {
        let gathering = self.gather();
        let is_whole = gathering.gather_head(run, at, wanted)?;
        if is_whole && gathering.is_at_head() {
            self.let_go();
        }
        Ok(is_whole)
    }

    /// The peer has closed the connection: the end of a response that goes until then, an error otherwise.
    pub(crate) fn end<R>(
        &mut self,
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<R, ErrorKind> {
        let ended = match &self.gathering {
            Some(gathering) if gathering.is_until_close() => gathering.judge(wanted, judge),
            _ => Err(ErrorKind::Closed),
        };
        self.let_go();
        ended
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HEAD_BYTES_MAX;
    use crate::http::pieces::LOOKS;

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
        let mut reader = Reader::default();
        for (i, run) in runs.iter().enumerate() {
            if let (
                Advance::Done {
                    consumed,
                    keep_alive,
                },
                judged,
            ) = reader.advance(run, wanted, None, seen)?
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
            let mut reader = Reader::default();
            for run in [&bare[..cut], &bare[cut..]] {
                assert_eq!(reader.advance(run, &WANTED, None, seen).unwrap().1, None);
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
        for run in [1, 7] {
            let mut reader = Reader::default();
            let mut judged = None;
            for run in head.as_bytes().chunks(run) {
                judged = reader.advance(run, &WANTED, None, seen).unwrap().1;
            }
            assert!(judged.is_some());
            assert!(work(&reader) < 12 * head.len(), "{}", work(&reader));
        }
        let endless = [
            b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
            &[b'y'; HEAD_BYTES_MAX],
        ]
        .concat();
        let runs: Vec<&[u8]> = endless.chunks(1).collect();
        assert_eq!(read(&runs, &WANTED), Err(ErrorKind::HeaderLimit));
    }

    #[test]
    fn many_interim_and_many_folded_heads_cost_as_much_as_they_are_long() {
        let interims = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(20_000);
        let folded_interims = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n b\r\n\r\n".repeat(20_000);
        let folds = format!(
            "HTTP/1.1 200 OK\r\nX: a\r\n{}Y: z\r\n",
            " b\r\n".repeat(15_000)
        );
        for begin in [interims, folded_interims] {
            let whole = begin + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            assert_is_linear(whole.as_bytes());
        }
        assert_is_linear((folds + "Content-Length: 2\r\n\r\nhi").as_bytes());
    }

    fn work(reader: &Reader) -> usize {
        let gathering = reader.gathering.as_ref();
        reader.work_bytes + gathering.map_or(0, |gathering| gathering.work_bytes)
    }

    /// In runs of any length.
    fn assert_is_linear(whole: &[u8]) {
        for run in [1, 5, 100, 4096, whole.len()] {
            let mut reader = Reader::default();
            let mut judged = None;
            for run in whole.chunks(run) {
                judged = reader.advance(run, &WANTED, None, seen).unwrap().1;
            }
            assert_eq!(judged.unwrap().2, b"hi", "{run}");
            let work = work(&reader);
            assert!(work < 14 * whole.len(), "{run}: {work} of {}", whole.len());
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_skipped_and_not_for_ever() {
        for run in [&b"\r\n".repeat(2048)[..], b"\r", b"\n"] {
            let mut reader = Reader::default();
            let mut runs = 0;
            let mut given = 0;
            // The lone ones take turns, so that each line end comes in two runs.
            let turns: [&[u8]; 2] = if run.len() == 1 {
                [b"\r", b"\n"]
            } else {
                [run, run]
            };
            while let Ok((advance, _)) = reader.advance(turns[runs % 2], &WANTED, None, seen) {
                assert_eq!(advance, Advance::More);
                given += turns[runs % 2].len();
                runs += 1;
            }
            assert!(given <= 4 * LOOKS * HEAD_BYTES_MAX, "{given}");
            assert!(reader.gather().head_bytes.len() <= 2);
        }
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
        let mut reader = Reader::default();
        for run in [b"HTTP/1.1 200 OK\r\n\r\nab".as_slice(), b"cd"] {
            let (advance, judged) = reader.advance(run, &WANTED, None, seen).unwrap();
            assert_eq!((advance, judged), (Advance::More, None));
        }
        assert_eq!(reader.end(&WANTED, seen).unwrap().2, b"abcd");
        let mut reader = Reader::default();
        reader
            .advance(&PLAIN[..PLAIN.len() - 1], &WANTED, None, seen)
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
            let mut reader = Reader::default();
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
            reader
                .advance(head.as_bytes(), &wanted, None, seen)
                .unwrap();
            let (mut moved, mut capacity) = (0, 0);
            for i in 1..=pieces {
                let judged = reader
                    .advance(&piece, &wanted, None, |r| r.body.len())
                    .unwrap()
                    .1;
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
        let mut reader = Reader::default();
        reader
            .advance(&CHUNKED[..CHUNKED.len() - 7], &WANTED, None, seen)
            .unwrap();
        reader.reset();
        let (_, judged) = reader.advance(PLAIN, &WANTED, None, seen).unwrap();
        assert_eq!(judged.unwrap().2, b"hello");
    }
}
