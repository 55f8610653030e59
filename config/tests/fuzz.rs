//! Mutated plans, data files and templates against the compiler: no panic, no hang, no memory without bound.
//!
//! Runs on stable and needs nothing installed: a seeded generator mutates a small corpus. Each run takes another seed and
//! prints it when it fails. `LOADR_FUZZ_SECONDS` says for how long (2 s each), `LOADR_FUZZ_SEED` repeats a run;
//! `plugin-host/fuzz.sh` runs it for a minute, with the other fuzz targets.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loadr_config::{Piece, Source};
use support::{compile, options, plan_with_request};

/// No input may take longer.
const SLOWEST: Duration = Duration::from_secs(10);
/// The most memory the process may ever have had, in KiB.
const MEMORY_KIB_MAX: u64 = 1 << 20;

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

/// One to eight changes, each of which keeps most of the input as it is.
fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>, words: &[&[u8]], other: &[u8]) {
    for _ in 0..=chance.below(8) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(24)).min(bytes.len());
        match chance.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copied = bytes[at..end].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, copied);
            }
            3 => {
                let word = words[chance.below(words.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            4 => {
                let word = words[chance.below(words.len())];
                bytes.splice(at..end, word.iter().copied());
            }
            5 if chance.below(8) == 0 => bytes.truncate(at),
            6 => {
                let from = chance.below(other.len());
                let to = (from + chance.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {}
        }
    }
}

/// Runs `one` on mutations of the corpus until the time is over.
fn fuzz(name: &str, corpus: &[Vec<u8>], words: &[&[u8]], mut one: impl FnMut(&[u8])) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = variable("LOADR_FUZZ_SECONDS").unwrap_or(2);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("LOADR_FUZZ_SEED").unwrap_or_else(|| now().as_nanos() as u64) | 1;
    let mut chance = Chance(seed);
    let (began, mut inputs) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = corpus[chance.below(corpus.len())].clone();
        let other = &corpus[chance.below(corpus.len())];
        // The corpus itself first.
        if inputs > 0 {
            mutate(&mut chance, &mut input, words, other);
        }
        let start = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| one(&input)));
        let took = start.elapsed();
        inputs += 1;
        if done.is_err() || took > SLOWEST {
            let kept = std::env::temp_dir().join(format!("fuzz-{name}-{seed}"));
            fs::write(&kept, &input).unwrap();
            panic!(
                "{name}: input {inputs} of LOADR_FUZZ_SEED={seed} took {took:?} or panicked; it is in {}",
                kept.display()
            );
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak_kib: u64 = peak
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap();
    eprintln!(
        "{name}: {inputs} inputs in {seconds} s, seed {seed}, at most {} MiB",
        peak_kib >> 10
    );
    assert!(peak_kib < MEMORY_KIB_MAX, "{peak_kib} KiB");
}

/// Every diagnostic is at a place that exists and on one line.
fn sane(text: &str) {
    let lines = text.split(['\n', '\r']).count();
    if let Err(failure) = compile(text) {
        assert!(!failure.diagnostics.is_empty());
        for diagnostic in &failure.diagnostics {
            assert!(diagnostic.line as usize <= lines, "{diagnostic}");
            assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
        }
    }
}

#[test]
fn plans() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut corpus: Vec<Vec<u8>> = fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    corpus.push(
        plan_with_request(
            "url: 'http://h/${data.d.a}'\nbody: { multipart: [ { name: a, value: '${secrets.s}', content_type: a/b } ] }",
        )
        .into_bytes(),
    );
    let words: &[&[u8]] = &[
        b"\n",
        b"  ",
        b": ",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b"&a ",
        b"*a",
        b"!!str ",
        b"'",
        b"\"",
        b"|\n ",
        b">-\n ",
        b"#",
        b"---\n",
        b"<<",
        b"\t",
        b"\r",
        b"\xff",
        b"\0",
        b"${",
        b"}",
        b"$${",
        b"${vu}",
        b"${uuid}",
        b"${random.int(1,2)}",
        b"${random.hex(99999999999)}",
        b"${data.d.a}",
        b"${secrets.s}",
        b"${env.TOKEN}",
        b"${counter}",
        b".nan",
        b"-.inf",
        b"1e999",
        b"-1",
        b"18446744073709551616",
        b"9999999999h",
        b"null",
        b"true",
        b"vus",
        b"rate",
        b"stages: []",
        b"duration",
        b"secrets: { s: { env: TOKEN } }\n",
        b"data: { d: { type: inline, rows: [ { a: 1 } ] } }\n",
        b"file",
        b"path: /dev/zero",
    ];
    fuzz("plans", &corpus, words, |bytes| {
        sane(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn data_files() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = [
        b"a,b\n1,2\n\"3\"\"\",\"4\n5\"\n".to_vec(),
        b"\xef\xbb\xbfa;b\r\n1;2\r\n".to_vec(),
        br#"[ {"a": 1, "b": "x\u00e9"}, {"a": [1, {"k": null}], "b": true} ]"#.to_vec(),
    ];
    let words: &[&[u8]] = &[
        b",",
        b";",
        b"\"",
        b"\"\"",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"\"a\":",
        b"null",
        b"1e999",
        b"-",
        b"\\u",
        b"\\ud800",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        b"\xef\xbb\xbf",
    ];
    let plan = plan_with_request("url: http://h/\nbody: '${data.c.a}${data.j.a}'");
    let plan =
        format!("data: {{ c: {{ type: csv, path: f }}, j: {{ type: json, path: f }} }}\n{plan}");
    fuzz("data_files", &corpus, words, |bytes| {
        fs::write(folder.path().join("f"), bytes).unwrap();
        let compiled = loadr_config::compile(&plan, &folder.path().join("plan.yaml"), &options());
        // It cannot be both.
        for diagnostic in &compiled.unwrap_err().diagnostics {
            assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
        }
    });
}

/// What a template comes to by plain replacement; `None` where it has a mistake.
fn naive(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let end = after.find('}')?;
        out.push_str(match after[..end].trim() {
            "vu" => "3",
            "iteration" => "14",
            "vars.shop" => "7",
            "env.TOKEN" | "secrets.s" => "t0k",
            "env.EMPTY" => "",
            "scenario" => "s",
            "data.d.a" => "cell",
            _ => return None,
        });
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Some(out)
}

#[test]
fn templates() {
    let corpus = [
        b"a ${vu} b".to_vec(),
        b"$${x} ${ iteration }${vars.shop}".to_vec(),
        b"${secrets.s}${env.TOKEN}${env.EMPTY}$$ ${scenario} ${data.d.a}".to_vec(),
    ];
    let words: &[&[u8]] = &[
        b"$",
        b"${",
        b"}",
        b"$${",
        b"$$${",
        b"${vu}",
        b"${ iteration }",
        b"${vars.shop}",
        b"${env.TOKEN}",
        b"${secrets.s}",
        b"${data.d.a}",
        b"${scenario}",
        b"{",
        b" ",
        b"\n",
        b"\xc3\xa9",
        b"\"",
        b"\\",
        b"${x",
        b"${random.int(",
        b"${}",
    ];
    fuzz("templates", &corpus, words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        // Not every character can be written in YAML; here it is the template that is of interest.
        let text: String = text
            .chars()
            .filter(|c| !c.is_control() || *c == '\n')
            .collect();
        let plan = plan_with_request(&format!(
            "url: http://h/\nbody: {}",
            serde_json::to_string(&text).unwrap()
        ));
        let plan = format!(
            "secrets: {{ s: {{ env: TOKEN }} }}\ndata: {{ d: {{ type: inline, rows: [ {{ a: cell }} ] }} }}\n{plan}"
        );
        let Some(expected) = naive(&text) else {
            sane(&plan);
            return;
        };
        let Ok(compiled) = compile(&plan) else {
            // What YAML itself refuses, such as a noncharacter.
            return;
        };
        let pieces = compiled.program.requests[0]
            .body
            .as_ref()
            .map(|body| &body.pieces);
        let mut rendered = Vec::new();
        for piece in pieces.into_iter().flatten() {
            match piece {
                Piece::Value {
                    source: Source::Vu, ..
                } => rendered.push(b'3'),
                Piece::Value {
                    source: Source::Iteration,
                    ..
                } => rendered.extend(b"14"),
                Piece::Value {
                    source: Source::Data { .. },
                    ..
                } => rendered.extend(b"cell"),
                piece => rendered.extend(piece.constant().unwrap()),
            }
        }
        assert_eq!(String::from_utf8(rendered).unwrap(), expected);
    });
}
