//! Mutated responses, in any split, against the reader: no panic, no memory without bound, the same outcome however the
//! bytes are split, and, where both take a response, what h11 makes of the same bytes.
//!
//! As the other fuzz targets: a seeded generator mutates a small corpus, `LOADR_FUZZ_SECONDS` says for how long (2 s each),
//! `LOADR_FUZZ_SEED` repeats a run; `plugin-host/fuzz.sh` runs it for a minute, with the others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::{Advance, Expected, KnownHead, Reader, Response, Wanted, note};
use crate::error_kind::ErrorKind;

/// The most that a body may have here: below what some of the inputs say.
const BODY_BYTES_MAX: u64 = 4096;
const HEADERS_MAX: u32 = 12;

/// xorshift64*, which is enough to choose where to put which byte.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`, or zero.
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}

const CORPUS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold",
    "HTTP/1.0 200 OK\r\n\r\nold",
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 301 Moved\r\nLocation: /x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "HTTP/1.1 200 \r\nContent-Length: 1, 1\r\n\r\nx",
    "HTTP/1.1 200\nA:b\nContent-Length:1\n\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000a\r\n0123456789\r\nA \r\n0123456789\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
];

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"9",
    b"f",
    b"-1",
    b"+1",
    b"0x",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"\xff",
    b"\x7f",
    b"\x1b",
    b"Content-Length: ",
    b"content-length:5\r\n",
    b"Content-Length: 99999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"HTTP/2 ",
    b"101",
    b"100 Continue\r\n\r\n",
    b"204",
    b"304",
    b"200 OK\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"a: b\r\n a\r\n",
    b"a: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\nk: l\r\nm: n\r\no: p\r\n",
    b"Set-Cookie: a=b\r\n",
    b"Location: /\r\n",
    b"Content-Encoding: br\r\n",
];

/// None to four changes, each of which keeps most of the input as it is.
fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..chance.below(5) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(12)).min(bytes.len());
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copied = bytes[at..end].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, copied);
            }
            3 | 4 => {
                let word = WORDS[chance.below(WORDS.len())];
                // Mostly where a line begins, and so where it has a meaning.
                let lines: Vec<usize> =
                    memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).collect();
                let at = if lines.is_empty() || chance.below(3) == 0 {
                    at
                } else {
                    lines[chance.below(lines.len())]
                };
                bytes.splice(at..at, word.iter().copied());
            }
            5 if chance.below(8) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// What a reader made of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    More,
    Done {
        seen: Seen,
        left: usize,
        stays: bool,
    },
    Wrong(ErrorKind),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    notes: u8,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    body_len: u64,
}

fn seen(response: &Response<'_>) -> Seen {
    let fields = response.headers.iter();
    Seen {
        status: response.status,
        notes: response.notes,
        fields: fields
            .map(|h| (h.name.to_owned(), h.value.to_vec()))
            .collect(),
        body: response.body.to_vec(),
        body_len: response.body_len,
    }
}

fn wanted(is_head: bool, keeps: bool) -> Wanted {
    Wanted {
        expected: Expected {
            to_head_request: is_head,
            headers_max: HEADERS_MAX,
        },
        headers: keeps,
        notes: note::REDIRECT | note::COOKIE,
        body: keeps,
        coded_body: false,
        body_bytes_max: BODY_BYTES_MAX,
    }
}

/// Reads one response from runs that end at these places; the connection may end after the last one.
fn read(reader: &mut Reader, bytes: &[u8], cuts: &[usize], wanted: &Wanted, ends: bool) -> Read {
    read_knowing(reader, bytes, cuts, wanted, ends, None)
}

fn read_knowing(
    reader: &mut Reader,
    bytes: &[u8],
    cuts: &[usize],
    wanted: &Wanted,
    ends: bool,
    known: Option<&KnownHead>,
) -> Read {
    reader.reset();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let run = &bytes[from..cut];
        from = cut;
        if run.is_empty() {
            continue;
        }
        match reader.advance(run, wanted, known, seen) {
            Ok((Advance::More, judged)) => assert!(judged.is_none()),
            Ok((
                Advance::Done {
                    consumed,
                    keep_alive,
                },
                judged,
            )) => {
                assert!(consumed <= run.len());
                let left = bytes.len() - cut + run.len() - consumed;
                let seen = judged.expect("a whole response is judged");
                return Read::Done {
                    seen,
                    left,
                    stays: keep_alive,
                };
            }
            Err(kind) => return Read::Wrong(kind),
        }
    }
    match ends.then(|| reader.end(wanted, seen)) {
        Some(Ok(seen)) => Read::Done {
            seen,
            left: 0,
            stays: false,
        },
        Some(Err(kind)) => Read::Wrong(kind),
        None => Read::More,
    }
}

/// Runs `one` on mutations of the corpus until the time is over.
fn fuzz(name: &str, mut one: impl FnMut(&mut Chance, &[u8])) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = variable("LOADR_FUZZ_SECONDS").unwrap_or(2);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("LOADR_FUZZ_SEED").unwrap_or_else(|| now().as_nanos() as u64) | 1;
    let mut chance = Chance(seed);
    eprintln!("{name}: LOADR_FUZZ_SEED={seed}");
    let (began, mut inputs) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = CORPUS[chance.below(CORPUS.len())].as_bytes().to_vec();
        mutate(&mut chance, &mut input);
        one(&mut chance, &input);
        inputs += 1;
    }
    eprintln!("{name}: {inputs} inputs in {seconds} s");
}

fn cuts(chance: &mut Chance, len: usize) -> Vec<usize> {
    if chance.below(4) == 0 {
        return (0..len).collect();
    }
    let mut cuts: Vec<usize> = (0..chance.below(6))
        .map(|_| chance.below(len + 1))
        .collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn any_split_of_any_bytes_comes_to_the_same() {
    let (mut whole, mut split) = (Reader::default(), Reader::default());
    fuzz("responses", |chance, bytes| {
        let (is_head, keeps, ends) = (
            chance.below(6) == 0,
            chance.below(3) > 0,
            chance.below(2) == 0,
        );
        let wanted = wanted(is_head, keeps);
        let mut first = read(&mut whole, bytes, &[], &wanted, ends);
        let cuts = cuts(chance, bytes.len());
        let mut second = read(&mut split, bytes, &cuts, &wanted, ends);
        if let (Read::Done { seen: a, .. }, Read::Done { seen: b, .. }) = (&mut first, &mut second)
        {
            assert!(!keeps || a.body_len == a.body.len() as u64);
            if !keeps {
                // What lies whole in one run is looked at where it lies, wanted or not.
                a.body.clear();
                b.body.clear();
                if a.notes & wanted.notes == 0 {
                    a.fields.clear();
                    b.fields.clear();
                }
            }
            assert!(a.body.len() as u64 <= BODY_BYTES_MAX);
        }
        // What is wrong with a line may only show when the line is whole.
        let is_later = match (&first, &second) {
            (Read::Wrong(kind), Read::More | Read::Wrong(ErrorKind::Closed))
            | (Read::More | Read::Wrong(ErrorKind::Closed), Read::Wrong(kind)) => {
                matches!(kind, ErrorKind::Protocol | ErrorKind::HeaderLimit)
            }
            _ => false,
        };
        assert!(
            first == second || is_later,
            "{}\ncut at {cuts:?}, head {is_head}, ends {ends}\nwhole: {first:?}\nsplit: {second:?}",
            bytes.escape_ascii()
        );
    });
}

#[test]
fn a_head_that_is_known_says_the_same() {
    let (mut plain, mut knowing) = (Reader::default(), Reader::default());
    let mut others: Vec<Vec<u8>> = CORPUS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let known = KnownHead::default();
    fuzz("known heads", |chance, bytes| {
        // Some that go on like one before, and the same again.
        let mut bytes = bytes.to_vec();
        if chance.below(2) == 0 {
            let other = &others[chance.below(others.len())];
            let cut = chance.below(other.len() + 1);
            bytes.splice(..0, other[..cut].iter().copied());
        }
        let at = chance.below(others.len());
        others[at].clone_from(&bytes);
        for _ in 0..1 + chance.below(3) {
            let (is_head, keeps, ends) = (
                chance.below(6) == 0,
                chance.below(4) == 0,
                chance.below(2) == 0,
            );
            let wanted = wanted(is_head, keeps);
            let cuts = if chance.below(3) == 0 {
                cuts(chance, bytes.len())
            } else {
                Vec::new()
            };
            let mut first = read(&mut plain, &bytes, &cuts, &wanted, ends);
            let second = read_knowing(&mut knowing, &bytes, &cuts, &wanted, ends, Some(&known));
            if let (Read::Done { seen: a, .. }, Read::Done { seen: b, .. }) = (&mut first, &second)
                && b.fields.is_empty()
                && !keeps
                && a.notes & wanted.notes == 0
            {
                a.fields.clear();
            }
            assert_eq!(first, second, "{}", bytes.escape_ascii());
        }
    });
}

/// What h11 says.
#[derive(Debug, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
enum Other {
    More,
    Done {
        status: u16,
        fields: Vec<(String, String)>,
        body: String,
        left: usize,
        stays: bool,
    },
    Wrong {
        why: String,
    },
}

struct H11 {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl H11 {
    /// `None` where there is no h11.
    fn start() -> Option<Self> {
        // The system's own, which has what the system's packages bring, and then any.
        let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
            let status = Command::new(python)
                .args(["-c", "import h11"])
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        })?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/differential.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn read(&mut self, bytes: &[u8], is_head: bool, ends: bool) -> Other {
        let mut message = (bytes.len() as u32).to_be_bytes().to_vec();
        message.extend([u8::from(is_head), u8::from(ends)]);
        message.extend(bytes);
        self.input.write_all(&message).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for H11 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether it is right that this reader refuses what h11 takes.
fn is_stricter(bytes: &[u8], kind: ErrorKind) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let has = |what: &[u8]| memchr::memmem::find(&lower, what).is_some();
    // A CR or LF without the other.
    let is_bare = |(i, byte): (usize, &u8)| match byte {
        b'\n' => i == 0 || bytes[i - 1] != b'\r',
        b'\r' => bytes.get(i + 1).is_some_and(|next| *next != b'\n'),
        _ => false,
    };
    let is_known =
        |at: usize| lower[at + 5..].starts_with(b"1.0") || lower[at + 5..].starts_with(b"1.1");
    match kind {
        ErrorKind::HeaderLimit | ErrorKind::BodyLimit => true,
        ErrorKind::Protocol => {
            // Both framings at once, chunks in HTTP/1.0 (RFC 9112 sections 6.1 and 6.3), or other lines of chunks.
            has(b"transfer-encoding") && (has(b"content-length") || has(b"http/1.0") || has(b"chunked,"))
                || has(b"chunked") && bytes.iter().enumerate().any(is_bare)
                // A length past what a number holds.
                || bytes.split(|b| !b.is_ascii_digit()).any(|digits| digits.len() > 19)
                // A switch of protocols, control bytes, a version that there is not.
                || has(b" 101")
                || bytes.iter().any(|b| b.is_ascii_control() && !b"\t\r\n".contains(b))
                || memchr::memmem::find_iter(&lower, b"http/").any(|at| !is_known(at))
        }
        _ => false,
    }
}

/// Whether it is right that this reader takes what h11 refuses.
fn is_more_lenient(bytes: &[u8], why: &str) -> bool {
    // Trailers are read over, whatever is in them.
    let in_trailers = memchr::memmem::find(&bytes.to_ascii_lowercase(), b"chunked").is_some()
        && ["header", "illegal", "Transfer-Encoding", "Content-Length"]
            .iter()
            .any(|what| why.contains(what));
    // Lengths that are the same number.
    let is_one_number = why.contains("conflicting Content-Length");
    // Empty lines before a status line (RFC 9112 section 2.2 asks that of servers).
    in_trailers || is_one_number || why == "no response line received"
}

#[test]
fn h11_reads_the_same_from_the_same_bytes() {
    let Some(mut h11) = H11::start() else {
        eprintln!("SKIPPED: h11_reads_the_same_from_the_same_bytes (python3-h11 is not installed)");
        return;
    };
    let mut reader = Reader::default();
    let (mut same, mut refused, mut apart) = (0, 0, 0);
    fuzz("responses beside h11", |chance, bytes| {
        let (is_head, ends) = (chance.below(6) == 0, chance.below(2) == 0);
        let cuts = cuts(chance, bytes.len());
        let ours = read(&mut reader, bytes, &cuts, &wanted(is_head, true), ends);
        let theirs = h11.read(bytes, is_head, ends);
        let is_right = match (&ours, &theirs) {
            (Read::Wrong(_), Other::Wrong { .. }) => {
                refused += 1;
                true
            }
            (
                Read::Done { seen, left, stays },
                Other::Done {
                    status,
                    fields,
                    body,
                    left: their_left,
                    stays: they_stay,
                },
            ) => {
                let latin1 = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
                // A field over several lines has as much space in it as there was, or one.
                let plain = |value: &[u8]| -> Vec<u8> {
                    let words = value
                        .split(|b| matches!(b, b' ' | b'\t'))
                        .filter(|word| !word.is_empty());
                    words.collect::<Vec<_>>().join(&b' ')
                };
                // Of these it makes its own: one length of several, codings in lower case.
                let is_told = |(name, _): &(String, Vec<u8>)| {
                    name != "content-length" && name != "transfer-encoding"
                };
                let fields: Vec<(String, Vec<u8>)> = fields
                    .iter()
                    .map(|(n, v)| (n.to_ascii_lowercase(), plain(&latin1(v))))
                    .filter(is_told)
                    .collect();
                let ours: Vec<(String, Vec<u8>)> = seen
                    .fields
                    .iter()
                    .map(|(n, v)| (n.to_ascii_lowercase(), plain(v)))
                    .filter(is_told)
                    .collect();
                same += 1;
                seen.status == *status
                    && ours == fields
                    && seen.body == latin1(body)
                    && left == their_left
                    // It keeps no connection of HTTP/1.0.
                    && (stays == they_stay || memchr::memmem::find(bytes, b"HTTP/1.0").is_some())
            }
            // Either may see later than the other what is wrong.
            (Read::More | Read::Wrong(_), Other::More) | (Read::More, Other::Wrong { .. }) => true,
            (Read::Wrong(kind), _) => {
                apart += 1;
                is_stricter(bytes, *kind)
            }
            (_, Other::Wrong { why }) => {
                apart += 1;
                is_more_lenient(bytes, why)
            }
            _ => false,
        };
        assert!(
            is_right,
            "{}\nhead {is_head}, ends {ends}, cuts {cuts:?}\nours: {ours:?}\nh11: {theirs:?}",
            bytes.escape_ascii()
        );
    });
    eprintln!("the same {same}, refused by both {refused}, told apart {apart}");
    assert!(same > 100 && refused > 100, "{same} {refused} {apart}");
}
