//! Mutated manifests, components and archives against the loader: no panic, no hang, no memory without bound.
//!
//! Runs on stable and needs nothing installed: a seeded generator mutates a small corpus. Each run takes another seed and
//! prints it when it fails. `LOADR_FUZZ_SECONDS` says for how long (2 s each), `LOADR_FUZZ_SEED` repeats a run;
//! `plugin-host/fuzz.sh` runs it for a minute.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[allow(dead_code, reason = "shared with the suite, which uses the rest")]
#[path = "suite/guest.rs"]
mod guest;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loadr_plugin_host::{Cache, Host, Limits, Store};
use tempfile::TempDir;

/// No input may take longer: what a guest may take to start, to describe itself and to be called, and compiling.
const SLOWEST: Duration = Duration::from_secs(10);

/// The most memory the process may ever have had, in KiB: guests may have 256 MiB while they are loaded.
const MEMORY_KIB_MAX: u64 = 2 << 20;

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
        match chance.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = chance.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copied = bytes[at..end].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, copied);
            }
            4 => {
                let word = words[chance.below(words.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            5 => {
                let word = words[chance.below(words.len())];
                bytes.splice(at..end, word.iter().copied());
            }
            6 => bytes.truncate(at),
            7 => {
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
    let seed = variable("LOADR_FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
    }) | 1;
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
    let peak_kib = peak_memory_kib();
    eprintln!(
        "{name}: {inputs} inputs in {seconds} s, seed {seed}, at most {} MiB of memory",
        peak_kib / 1024
    );
    assert!(peak_kib < MEMORY_KIB_MAX, "{peak_kib} KiB");
}

fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn manifests() {
    let host = Host::new().unwrap();
    let dir = TempDir::new().unwrap();
    let plain = "[plugin]\nname = \"hostile\"\nversion = \"1.0.0\"\nkind = \"extractor\"\ntype = \"wasm\"\nentry = \"p.wasm\"\n";
    let rich = format!(
        "{plain}description = \"d\"\nreads = {{ body = false, headers = [\"location\", \"Set-Cookie\"] }}\n[config]\n\
         a = 1\nb = [1.5, {{ c = true }}]\n[config.d.e]\nf = '''x'''\n"
    );
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let corpus = [
        plain.as_bytes().to_vec(),
        rich.into_bytes(),
        fs::read(examples.join("order-id/plugin.toml")).unwrap(),
        fs::read(examples.join("order-check/plugin.toml")).unwrap(),
    ];
    let words: &[&[u8]] = &[
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b"\"",
        b"'''",
        b"\"\"\"",
        b"=",
        b".",
        b"#",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"nan",
        b"1979-05-27T07:32:00Z",
        b"0x7fffffffffffffff",
        b"9e999",
        b"true",
        b"native",
        b"protocol",
        b"../",
        b"/etc/passwd",
        b"\\u0000",
        b"\\",
        b"config",
        b"reads",
        b"entry",
        b"[[[[[[[[[[[[[[[[",
        b"a.a.a.a.a.a.a.a.a.a.a",
    ];
    fs::write(dir.path().join("p.wasm"), guest::Guest::default().bytes()).unwrap();
    // A manifest that is good each time costs no compilation but the first.
    let cache = Cache::at(&dir.path().join("cache"));
    let store = Store::open(&dir.path().join("plugins"), cache.clone());
    fuzz("manifests", &corpus, words, |bytes| {
        fs::write(dir.path().join("plugin.toml"), bytes).unwrap();
        if let Err(error) = cache.load(&host, dir.path()) {
            assert!(
                !error.message().is_empty() && !error.message().contains('\n'),
                "{error:?}"
            );
        }
        // As an installed one.
        let place = dir.path().join("plugins/hostile");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("plugin.toml"), bytes).unwrap();
        let _ = store.info("hostile");
    });
}

#[test]
fn components() {
    let host = Host::new().unwrap();
    let dir = TempDir::new().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let corpus = [
        guest::Guest::default().bytes(),
        guest::Guest { kind: "assertion", ..guest::Guest::default() }.bytes(),
        wat::parse_str("(component (import \"wasi:cli/stdout@0.2.0\" (instance (export \"get-stdout\" (func)))))").unwrap(),
        wat::parse_str("(component)").unwrap(),
        wat::parse_str("(module (memory 1) (func (loop (br 0))))").unwrap(),
        fs::read(examples.join("order-id/order_id.wasm")).unwrap(),
    ];
    let words: &[&[u8]] = &[
        b"\0asm\x0d\0\x01\0",
        b"\0asm\x01\0\0\0",
        b"\xff\xff\xff\xff\x0f",
        b"\x80\x80\x80\x80\x80\x01",
        b"\0",
        b"\xff",
        b"\x7f",
        b"loadr:plugin/extractor",
        b"loadr:plugin/extractor@0.1.0",
        b"loadr:plugin/meta",
        b"describe",
        b"wasi:io/poll@0.2.0",
        b"\x03\x40\x0c\x00\x0b",
        b"\xfc\x0a",
        b"\x3f\x00",
        b"\x40\x00",
        b"\xe0\x7f",
    ];
    let path = dir.path().join("fuzz.wasm");
    let limits = Limits {
        call_timeout: Duration::from_millis(5),
        ..Limits::default()
    };
    fuzz("components", &corpus, words, |bytes| {
        fs::write(&path, bytes).unwrap();
        match host.load(&path) {
            Err(error) => {
                assert!(
                    !error.message().is_empty() && !error.message().contains('\n'),
                    "{error:?}"
                );
            }
            Ok(plugin) => {
                // It passed for a plugin, so it is called like one; whatever it does, it is an answer or an error.
                if let Ok(mut instance) = plugin.instantiate(&limits) {
                    for body in [&b""[..], b"id=1;"] {
                        let _ = instance.extract(body, &[("a", "b")], "{}", &mut Vec::new());
                        let _ =
                            instance.check(200, body, &[("a", "b")], 1.0, "{}", &mut String::new());
                    }
                }
            }
        }
    });
}

#[test]
fn archives() {
    let host = Host::new().unwrap();
    let dir = TempDir::new().unwrap();
    let store = Store::open(
        &dir.path().join("plugins"),
        Cache::at(&dir.path().join("cache")),
    );
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins/order-id");
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["plugin.toml", "README.md"] {
        archive
            .append_path_with_name(example.join(name), format!("order-id/{name}"))
            .unwrap();
    }
    let long = format!("order-id/{}/x", "long/".repeat(50));
    archive
        .append_data(&mut tar::Header::new_gnu(), long, &b""[..])
        .unwrap();
    let corpus = [archive.into_inner().unwrap()];
    let words: &[&[u8]] = &[
        b"\0",
        b"/",
        b"../",
        b"order-id/",
        b"0000777",
        b"77777777777\0",
        b"\x80\xff\xff\xff",
        b"ustar  \0",
        b"L",
        b"x",
        b"S",
        b"12 path=/etc/x\n",
    ];
    let path = dir.path().join("fuzz.tar.gz");
    let mut turn = 0_u64;
    fuzz("archives", &corpus, words, |bytes| {
        // Damaged inside, with a checksum that is right, so that the archive is read; and damaged outside.
        turn += 1;
        let packed = if turn.is_multiple_of(8) {
            [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], bytes].concat()
        } else {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, &with_checksums(bytes)).unwrap();
            gzip.finish().unwrap()
        };
        fs::write(&path, packed).unwrap();
        // It holds no component, so it can never be installed.
        let error = store.install(&host, &path).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        let left: Vec<_> = fs::read_dir(store.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [".lock"]);
    });
}

/// Corrects the checksum of each block that looks like a header, without which nothing behind it would be looked at.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    archive
}
