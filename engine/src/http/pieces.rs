//! A response that comes in pieces, gathered in memory that all users of a shard take turns with: only while a response is on
//! its way does it need any.

use std::cell::RefCell;

use super::body::Chunked;
use super::head::{self, Framing, HEAD_BYTES_MAX, Head, header_space};
use super::response::{Advance, Response, Wanted};
use crate::error_kind::ErrorKind;

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
}

/// A response in pieces.
#[derive(Debug)]
pub(super) struct Gathering {
    /// So many bytes of [`Spares`]' memory are this one's.
    counted_bytes: usize,
    stage: Stage,
    head: Head,
    /// The head while it is not whole, and after that if its fields will be read.
    pub(super) head_bytes: Vec<u8>,
    pub(super) body_bytes: Vec<u8>,
    body_len: u64,
    /// How much was looked at for the head that is being gathered.
    looked_bytes: usize,
    /// So many bytes of heads were copied or parsed.
    #[cfg(test)]
    pub(super) work_bytes: usize,
}

/// The memory that is kept for responses to come: what a few large bodies, or many small ones, need at a time.
const SPARE_BYTES_MAX: usize = 32 << 20;

/// How often each byte of a head that comes in pieces may be looked at before the head is whole, and how many bytes may be
/// in any case.
pub(super) const LOOKS: usize = 8;
const LOOKED_FREE: usize = 16 * 1024;

/// What was gathered in before, of a shard. The last that was given back is taken first, while it is in the cache.
#[derive(Debug, Default)]
pub(crate) struct Spares(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    #[expect(
        clippy::vec_box,
        reason = "readers hold them boxed, so that one that gathers nothing is small"
    )]
    all: Vec<Box<Gathering>>,
    /// Theirs, and that of those that were taken and have not come back: small responses that take long and lie in what was
    /// made for large ones are no room for more of it.
    bytes: usize,
}

impl Spares {
    pub(super) fn take(&self) -> Box<Gathering> {
        let kept = self.0.borrow_mut().all.pop();
        kept.unwrap_or_else(|| Box::new(Gathering::new()))
    }

    pub(super) fn give_back(&self, mut gathering: Box<Gathering>) {
        gathering.reset();
        let mut kept = self.0.borrow_mut();
        kept.bytes -= gathering.counted_bytes;
        let bytes = gathering.memory_bytes();
        if kept.bytes + bytes <= SPARE_BYTES_MAX {
            gathering.counted_bytes = bytes;
            kept.bytes += bytes;
            kept.all.push(gathering);
        }
    }
}

impl Gathering {
    fn new() -> Self {
        Self {
            counted_bytes: 0,
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
            looked_bytes: 0,
            #[cfg(test)]
            work_bytes: 0,
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Head;
        self.head_bytes.clear();
        self.body_bytes.clear();
        self.body_len = 0;
        self.looked_bytes = 0;
        #[cfg(test)]
        {
            self.work_bytes = 0;
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.head_bytes.capacity() + self.body_bytes.capacity()
    }

    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.stage, Stage::Head)
    }

    /// Whether it ends where the connection does.
    pub(super) fn is_until_close(&self) -> bool {
        matches!(self.stage, Stage::UntilClose)
    }

    /// Takes of the run what is of the head that is being gathered, and looks at the head when it may be whole; false when
    /// that needs more than the run has. Of a whole one the body has begun, or, after an interim one, another head does.
    ///
    /// Every byte is looked at a bounded number of times, however the head is split.
    pub(super) fn gather_head(
        &mut self,
        run: &[u8],
        at: &mut usize,
        wanted: &Wanted,
    ) -> Result<bool, ErrorKind> {
        if !self.is_at_head() {
            return Ok(true);
        }
        while *at < run.len() {
            if self.head_bytes.is_empty() {
                let skipped = head::empty_lines(&run[*at..]);
                self.looked_bytes += skipped;
                *at += skipped;
            }
            let before = self.head_bytes.len();
            let (taken, is_whole) = head::rest_of_first(&self.head_bytes, &run[*at..]);
            self.head_bytes.extend_from_slice(&run[*at..*at + taken]);
            #[cfg(test)]
            {
                self.work_bytes += taken;
            }
            *at += taken;
            let len = self.head_bytes.len();
            if !is_whole && before > 0 && len <= HEAD_BYTES_MAX {
                // A head that cannot be whole is looked at only for being wrong: at whole lines, while that costs little.
                let has_line = memchr::memchr(b'\n', &self.head_bytes[before..]).is_some();
                if !has_line || self.looked_bytes > LOOKS * len + LOOKED_FREE {
                    return Ok(false);
                }
            }
            self.looked_bytes += len;
            #[cfg(test)]
            {
                self.work_bytes += len;
            }
            if self.looked_bytes > LOOKS * HEAD_BYTES_MAX * 4 {
                // Line ends without a head.
                return Err(ErrorKind::HeaderLimit);
            }
            head::unfold(&mut self.head_bytes);
            let mut space = header_space();
            let parsed = head::parse(&self.head_bytes, &mut space, wanted.expected)?;
            let Some((head, _)) = parsed else {
                if is_whole {
                    // An empty line before it.
                    self.head_bytes.clear();
                }
                continue;
            };
            self.looked_bytes = 0;
            if head.is_interim() {
                self.head_bytes.clear();
                return Ok(true);
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
            return Ok(true);
        }
        Ok(false)
    }

    /// What did not lie whole in the first run.
    #[cold]
    pub(super) fn advance_body<R>(
        &mut self,
        run: &[u8],
        mut at: usize,
        wanted: &Wanted,
        judge: impl FnOnce(&Response<'_>) -> R,
    ) -> Result<(Advance, Option<R>), ErrorKind> {
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

    pub(super) fn begin_body(&mut self, head: Head) {
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

    pub(super) fn judge<R>(
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
pub(super) fn check_length(length: u64, head: &Head, wanted: &Wanted) -> Result<(), ErrorKind> {
    if wanted.reads_body(head) && length > wanted.body_bytes_max {
        return Err(ErrorKind::BodyLimit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: usize) -> Box<Gathering> {
        let mut gathering = Box::new(Gathering::new());
        gathering.body_bytes = vec![b'x'; bytes];
        gathering
    }

    #[test]
    fn memory_goes_round_and_is_empty() {
        let spares = Spares::default();
        spares.give_back(of(1000));
        spares.give_back(of(5000));
        let last = spares.take();
        assert!(last.body_bytes.is_empty() && last.body_bytes.capacity() == 5000);
        assert_eq!(spares.take().body_bytes.capacity(), 1000);
        assert_eq!(spares.take().body_bytes.capacity(), 0);
        // They are out, and counted until they are back.
        assert!(spares.0.borrow().bytes > 5000);
        spares.give_back(last);
        assert_eq!(spares.take().body_bytes.capacity(), 5000);
    }

    #[test]
    fn what_is_taken_makes_no_room_for_more() {
        let spares = Spares::default();
        let mut taken = Vec::new();
        for _ in 0..1000 {
            // A large body is over, and a small response that takes long begins.
            spares.give_back(of(1 << 20));
            taken.push(spares.take());
        }
        let held: usize = taken.iter().map(|g| g.memory_bytes()).sum();
        assert!(
            held <= SPARE_BYTES_MAX + 1000 * size_of::<Gathering>(),
            "{held}"
        );
        for gathering in taken {
            spares.give_back(gathering);
        }
        let kept = spares.0.borrow();
        assert!(kept.bytes <= SPARE_BYTES_MAX);
        let all: usize = kept.all.iter().map(|g| g.memory_bytes()).sum();
        assert_eq!(kept.bytes, all);
    }

    #[test]
    fn no_more_is_kept_than_is_worth_it() {
        let spares = Spares::default();
        for _ in 0..100 {
            spares.give_back(of(1 << 20));
        }
        spares.give_back(of(SPARE_BYTES_MAX + 1));
        let kept = spares.0.borrow();
        assert_eq!(kept.all.len(), 31);
        assert!(kept.bytes <= SPARE_BYTES_MAX);
    }
}
