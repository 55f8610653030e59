//! Where values come from that are neither constants nor extracted: rows of `data`, numbers that count, random text, the
//! time. A shard has its own generator and its own blocks of what the whole run shares.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_config::{DataId, DataMode, DataPick, DataSource, Made, OnEof, Program};

use super::rng::Rng;
use crate::http::decimal;
use crate::schedule::{Deal, Slice};
use crate::segment::Segment;

/// How many numbers of `${counter}` a shard takes at a time.
const COUNTER_BLOCK: u64 = 1024;
/// The most rows that a shard takes at a time.
const ROWS_BLOCK_MAX: u64 = 64;
/// A lap over the rows is at least so many blocks for each shard: what a shard has taken and not used when the run ends is
/// then a small part of a lap.
const BLOCKS_A_LAP: u64 = 256;

/// A number that every shard writes, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// What shards take blocks of.
#[derive(Debug)]
pub(crate) struct Shared {
    /// By [`DataId`]: rows of this process handed out, over all laps; and which rows those are.
    rows: Vec<(Line, Deal)>,
    counter: Line,
    /// How many processes count.
    counters: u64,
}

impl Shared {
    /// Of one process, which makes `segment` of the load.
    pub(crate) fn new(program: &Program, segment: Option<Segment>) -> Self {
        let slice = Slice::of(segment);
        let rows = (0..program.data.len()).map(|at| {
            // Whoever has none of the users that go through the rows gets none of them.
            let users = program.scenarios.iter().filter_map(|scenario| {
                let id = DataId(at as u32);
                scenario
                    .data
                    .contains(&id)
                    .then(|| scenario.executor.vus_max())
            });
            (Line::default(), Deal::new(slice, users.max().unwrap_or(1)))
        });
        let first = segment.map_or(0, |segment| segment.index);
        Self {
            rows: rows.collect(),
            counter: Line(AtomicU64::new(1 + u64::from(first) * COUNTER_BLOCK)),
            counters: segment.map_or(1, |segment| segment.of.into()),
        }
    }
}

/// Numbers taken from a [`Line`] and not used yet.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    next: u64,
    end: u64,
}

/// The next number of a block; a new block of `len` when it is used up, of which others take `others` for each.
fn next(block: &Cell<Block>, line: &Line, len: u64, others: u64) -> u64 {
    let mut left = block.get();
    if left.next == left.end {
        left.next = line.0.fetch_add(len * (1 + others), Ordering::Relaxed);
        left.end = left.next + len;
    }
    block.set(Block {
        next: left.next + 1,
        ..left
    });
    left.next
}

/// A shard's side.
pub(crate) struct Feed {
    pub(super) program: Arc<Program>,
    shared: Arc<Shared>,
    /// By [`DataId`].
    blocks: Vec<Cell<Block>>,
    counter: Cell<Block>,
    rng: RefCell<Rng>,
    /// How many shards there are.
    shards: u64,
    /// The same in every shard: what shared orders are drawn by.
    run_key: u64,
}

/// Where a virtual user is in one source.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The iteration, from 1, in which `row` was taken; 0: none yet.
    taken_in: Cell<u64>,
    row: Cell<u32>,
    /// Rows taken of those that it goes through alone.
    own: Cell<u64>,
}

impl Feed {
    /// The feed of a shard, one of `shards` of its process; `seed` is the run's.
    pub(crate) fn new(
        program: Arc<Program>,
        shared: Arc<Shared>,
        (slice, shards): (Slice, u32),
        seed: u64,
    ) -> Self {
        // Another stream than that of the shard's other choices, whose generator has the seed itself.
        let own = Rng::new(seed ^ 0x6c6f_6164_722d_6665).next();
        Self {
            blocks: program.data.iter().map(|_| Cell::default()).collect(),
            counter: Cell::default(),
            rng: RefCell::new(Rng::new(own.wrapping_add(slice.number()))),
            shards: u64::from(shards),
            run_key: own,
            program,
            shared,
        }
    }

    /// Places for a virtual user, and the key of its own orders.
    pub(super) fn places(&self) -> (Box<[Place]>, u64) {
        let places = self.program.data.iter().map(|_| Place::default());
        (places.collect(), self.rng.borrow_mut().next())
    }

    /// The row that an iteration (from 1) has of a source, taken at its first use; `None` when there is none left.
    #[inline]
    pub(super) fn row(&self, id: DataId, place: &Place, key: u64, iteration: u64) -> Option<u32> {
        if place.taken_in.get() != iteration {
            place.row.set(self.take(id, place, key)?);
            place.taken_in.set(iteration);
        }
        Some(place.row.get())
    }

    fn take(&self, id: DataId, place: &Place, key: u64) -> Option<u32> {
        let source = &self.program.data[id.at()];
        let rows = u64::from(source.table.rows());
        if source.pick == DataPick::Random {
            return Some(self.rng.borrow_mut().below(rows) as u32);
        }
        let (at, key) = match source.mode {
            DataMode::Shared => {
                let len = block_len(source, self.shards);
                let (line, deal) = &self.shared.rows[id.at()];
                let own = next(&self.blocks[id.at()], line, len, 0);
                (deal.nth(own), self.run_key)
            }
            DataMode::PerVu => (place.own.replace(place.own.get() + 1), key),
        };
        if source.on_eof == OnEof::Stop && at >= rows {
            return None;
        }
        let at = at % rows;
        Some(match source.pick {
            DataPick::Shuffle => shuffled(at, rows, key ^ u64::from(id.0)) as u32,
            DataPick::Sequential | DataPick::Random => at as u32,
        })
    }

    /// Appends a fresh value.
    pub(super) fn make(&self, made: Made, out: &mut Vec<u8>) {
        match made {
            Made::Uuid => uuid(&mut self.rng.borrow_mut(), out),
            Made::Int { least, most } => {
                let span = most.abs_diff(least);
                let mut rng = self.rng.borrow_mut();
                let above = match span.checked_add(1) {
                    Some(bound) => rng.below(bound),
                    None => rng.next(),
                };
                // Two's complement: the sum is in range, whatever the sign.
                let number = least.wrapping_add(above as i64);
                if number < 0 {
                    out.push(b'-');
                }
                decimal(number.unsigned_abs(), out);
            }
            Made::TraceParent => {
                let mut rng = self.rng.borrow_mut();
                out.extend_from_slice(b"00-");
                hex(&mut rng, 32, out);
                out.push(b'-');
                hex(&mut rng, 16, out);
                out.extend_from_slice(b"-01");
            }
            Made::Hex(len) => hex(&mut self.rng.borrow_mut(), len, out),
            Made::Alnum(len) => {
                const ALNUM: &[u8; 62] =
                    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
                let mut rng = self.rng.borrow_mut();
                out.extend((0..len).map(|_| ALNUM[rng.below(62) as usize]));
            }
            Made::Unix => decimal(unix_ms() / 1000, out),
            Made::UnixMs => decimal(unix_ms(), out),
            Made::Iso => iso(unix_ms(), out),
            Made::Counter => {
                let number = next(
                    &self.counter,
                    &self.shared.counter,
                    COUNTER_BLOCK,
                    self.shared.counters - 1,
                );
                decimal(number, out);
            }
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// How many rows are taken at a time. One where each counts: few rows, or an end after the last.
fn block_len(source: &DataSource, shards: u64) -> u64 {
    if source.on_eof == OnEof::Stop {
        return 1;
    }
    (u64::from(source.table.rows()) / (shards * BLOCKS_A_LAP)).clamp(1, ROWS_BLOCK_MAX)
}

/// Where `at` (below `len`) is in an order of `len` that `key` draws: a Feistel network (Luby and Rackoff, 1988) over the
/// next power of four, walked until it leads below `len`. It takes no memory, so each virtual user can have an order of its
/// own over any number of rows.
fn shuffled(at: u64, len: u64, key: u64) -> u64 {
    let bits = u64::BITS - (len - 1).leading_zeros();
    let half = bits.div_ceil(2);
    let mask = (1_u64 << half) - 1;
    let mut at = at;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4 {
            let mixed = Rng::new(key ^ (right << 2 | round)).next() & mask;
            (left, right) = (right, left ^ mixed);
        }
        at = left << half | right;
        if at < len {
            return at;
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(rng: &mut Rng, len: u32, out: &mut Vec<u8>) {
    let mut left = len as usize;
    while left > 0 {
        let bits = rng.next();
        let digits = (0..16).map(|at| HEX[(bits >> (at * 4) & 15) as usize]);
        out.extend(digits.take(left));
        left = left.saturating_sub(16);
    }
}

/// RFC 9562 section 5.4.
fn uuid(rng: &mut Rng, out: &mut Vec<u8>) {
    let (high, low) = (rng.next(), rng.next());
    let high = high & !0xf000 | 0x4000;
    let low = low & (u64::MAX >> 2) | 1 << 63;
    for (bits, from, to) in [
        (high, 32, 64),
        (high, 16, 32),
        (high, 0, 16),
        (low, 48, 64),
        (low, 0, 48),
    ] {
        if from != 32 {
            out.push(b'-');
        }
        let digits = (from..to).step_by(4).rev();
        out.extend(digits.map(|at| HEX[(bits >> at & 15) as usize]));
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A time in milliseconds since 1970 as RFC 3339 has it, in UTC: `2026-11-26T07:00:01.000Z`.
#[must_use]
pub fn rfc3339_ms(ms: u64) -> String {
    let mut out = Vec::new();
    iso(ms, &mut out);
    // Digits and punctuation.
    String::from_utf8(out).unwrap_or_default()
}

/// RFC 3339, in UTC. The date is Howard Hinnant's `civil_from_days` (2013).
fn iso(ms: u64, out: &mut Vec<u8>) {
    let (days, ms) = (ms / 86_400_000, ms % 86_400_000);
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    for (number, digits, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (of_month, 2, b'T'),
        (ms / 3_600_000, 2, b':'),
        (ms / 60_000 % 60, 2, b':'),
        (ms / 1000 % 60, 2, b'.'),
        (ms % 1000, 3, b'Z'),
    ] {
        for place in (0..digits).rev() {
            out.push(b'0' + (number / 10_u64.pow(place) % 10) as u8);
        }
        out.push(after);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn made(feed: &Feed, made: Made) -> String {
        let mut out = Vec::new();
        feed.make(made, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The feeds of a run with so many shards over a source of `rows` rows.
    pub(in crate::shard) fn feeds(shards: u32, rows: u32, keys: &str) -> Vec<Feed> {
        feeds_of(None, shards, rows, keys)
    }

    /// Those of one segment, of four users who go through the rows.
    fn feeds_of(segment: Option<Segment>, shards: u32, rows: u32, keys: &str) -> Vec<Feed> {
        let rows: Vec<String> = (0..rows).map(|row| format!("{{ n: {row} }}")).collect();
        let plan = format!(
            "data: {{ d: {{ type: inline, rows: [ {} ]{keys} }} }}\nscenarios: {{ s: {{ executor: constant-vus, vus: 4, \
             duration: 1s, flow: [ {{ request: {{ url: 'http://h/${{data.d.n}}' }} }} ] }} }}",
            rows.join(", ")
        );
        let options = loadr_config::Options::default();
        let plan = loadr_config::compile(&plan, std::path::Path::new("p.yaml"), &options);
        let program = Arc::new(plan.unwrap().program);
        let shared = Arc::new(Shared::new(&program, segment));
        (0..shards)
            .map(|index| {
                let (program, shared) = (Arc::clone(&program), Arc::clone(&shared));
                let slice = Slice::of(segment).shard(index, shards);
                Feed::new(program, shared, (slice, shards), 7)
            })
            .collect()
    }

    #[test]
    fn every_order_has_every_row_once() {
        for len in [1, 2, 3, 4, 5, 16, 17, 1000, 1024, 1025] {
            for key in 0..20 {
                let mut order: Vec<u64> = (0..len).map(|at| shuffled(at, len, key)).collect();
                let is_moved = order.iter().enumerate().any(|(i, at)| i as u64 != *at);
                assert!(is_moved || len < 16, "{len} {key}");
                order.sort_unstable();
                assert!(order.into_iter().eq(0..len), "{len} {key}");
            }
        }
        let differs = (0..1000).any(|at| shuffled(at, 1000, 1) != shuffled(at, 1000, 2));
        assert!(differs);
    }

    #[test]
    fn shards_that_take_turns_use_each_row_once_a_lap() {
        for keys in ["", ", pick: shuffle", ", on_eof: stop"] {
            let feeds = feeds(3, 1000, keys);
            let places: Vec<_> = feeds.iter().map(|feed| feed.places().0).collect();
            let mut seen = vec![0; 1000];
            for iteration in 1..=1000 {
                let shard = iteration % 3;
                let row = feeds[shard].row(DataId(0), &places[shard][0], 0, iteration as u64);
                seen[row.unwrap() as usize] += 1;
            }
            assert!(seen.iter().all(|n| *n == 1), "{keys}");
            let more = feeds[0].row(DataId(0), &places[0][0], 0, 1001);
            assert_eq!(more.is_none(), keys.contains("stop"), "{keys}");
        }
    }

    #[test]
    fn segments_use_each_row_once_a_lap_and_count_past_each_other() {
        for keys in ["", ", pick: shuffle", ", on_eof: stop"] {
            let mut seen = vec![0; 1000];
            let mut numbers = Vec::new();
            // One more segment than there are users: it gets no row.
            for (index, rows) in [(0, 250), (1, 250), (2, 250), (3, 250), (4, 0)] {
                let feeds = feeds_of(Some(Segment { index, of: 5 }), 2, 1000, keys);
                let places: Vec<_> = feeds.iter().map(|feed| feed.places().0).collect();
                for iteration in 1..=rows {
                    let shard = iteration % 2;
                    let row = feeds[shard].row(DataId(0), &places[shard][0], 0, iteration as u64);
                    seen[row.unwrap() as usize] += 1;
                }
                if keys.contains("stop") {
                    let more = feeds[0].row(DataId(0), &places[0][0], 0, 1001);
                    assert_eq!(more, None, "{index}");
                }
                let number = |i: usize| made(&feeds[i % 2], Made::Counter);
                numbers.extend((0..3000).map(|i| number(i).parse::<u64>().unwrap()));
            }
            assert!(seen.iter().all(|n| *n == 1), "{keys}");
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 15_000);
        }
    }

    #[test]
    fn blocks_are_large_only_where_a_lap_has_many() {
        let len = |shards, rows, keys| {
            let feeds = feeds(shards, rows, keys);
            block_len(&feeds[0].program.data[0], u64::from(shards))
        };
        assert_eq!(len(2, 511, ""), 1);
        assert_eq!(len(2, 5120, ""), 10);
        assert_eq!(len(1, 100_000, ""), 64);
        assert_eq!(len(1, 100_000, ", on_eof: stop"), 1);
    }

    #[test]
    fn an_iteration_has_one_row_and_a_user_of_its_own_all() {
        let feeds = feeds(1, 3, ", mode: per_vu");
        let rows = |places: &[Place]| -> Vec<u32> {
            let row = |iteration| feeds[0].row(DataId(0), &places[0], 0, iteration);
            (2..12).map(|n| row(n / 2).unwrap()).collect()
        };
        for _ in 0..2 {
            assert_eq!(rows(&feeds[0].places().0), [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]);
        }
    }

    #[test]
    fn counters_of_all_shards_differ() {
        let feeds = feeds(3, 1, "");
        let mut seen: Vec<u64> = (0..9000)
            .map(|i| made(&feeds[i % 3], Made::Counter).parse().unwrap())
            .collect();
        assert_eq!(seen[0], 1);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9000);
    }

    #[test]
    fn made_values_have_the_form_they_should() {
        let feeds = feeds(2, 1, "");
        let mut uuids = Vec::new();
        for i in 0..1000 {
            let feed = &feeds[i % 2];
            let uuid = made(feed, Made::Uuid);
            let bytes = uuid.as_bytes();
            assert!(bytes.len() == 36 && bytes[14] == b'4', "{uuid}");
            assert!(b"89ab".contains(&bytes[19]), "{uuid}");
            let of_hex = |(i, b): (usize, &u8)| match i {
                8 | 13 | 18 | 23 => *b == b'-',
                _ => HEX.contains(b),
            };
            assert!(bytes.iter().enumerate().all(of_hex), "{uuid}");
            uuids.push(uuid);
            for len in [1, 15, 16, 17, 40] {
                let hex = made(feed, Made::Hex(len));
                assert!(hex.len() == len as usize && hex.bytes().all(|b| HEX.contains(&b)));
                let alnum = made(feed, Made::Alnum(len));
                assert_eq!(alnum.len(), len as usize);
                assert!(alnum.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }
        uuids.sort_unstable();
        uuids.dedup();
        assert_eq!(uuids.len(), 1000);
        let mut seen = [0; 7];
        for _ in 0..7000 {
            let int = Made::Int { least: -3, most: 3 };
            seen[(made(&feeds[0], int).parse::<i64>().unwrap() + 3) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        for (least, most) in [(i64::MIN, i64::MAX), (i64::MIN, i64::MIN), (5, 5)] {
            let int: i64 = made(&feeds[0], Made::Int { least, most }).parse().unwrap();
            assert!((least..=most).contains(&int));
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            iso(ms, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
