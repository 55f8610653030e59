//! Which clocks the engine looks at: what is scheduled and measured goes by the monotonic one, so that a step of the wall
//! clock (by hand, by NTP) changes nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;

/// Where the time of day is what is wanted: the instant that a run waits for, when it began and ended, `${now.…}`, the
/// expiry dates of cookies and of kept responses, the seed of the fuzzing; and what the ring's `clock.rs` asks of the kernel
/// is how well that clock is kept.
const TIME_OF_DAY: [&str; 8] = [
    "clock.rs",
    "start.rs",
    "run.rs",
    "shard/feed.rs",
    "shard/caching.rs",
    "http/cache.rs",
    "http/cookies.rs",
    "http/fuzz.rs",
];

fn sources(folder: &Path, found: &mut Vec<(String, String)>, root: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found, root);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn nothing_that_schedules_or_measures_asks_for_the_time_of_day() {
    let mut found = Vec::new();
    for root in ["src", "ring/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        sources(&root, &mut found, &root);
    }
    assert!(found.len() > 40, "the walk reaches the sources");
    let asks = |text: &str| {
        [
            "SystemTime",
            "CLOCK_REALTIME",
            "UNIX_EPOCH",
            "ClockId::CLOCK_TAI",
        ]
        .iter()
        .any(|clock| text.contains(clock))
    };
    let mut asking: Vec<&str> = found
        .iter()
        .filter(|(_, text)| asks(text))
        .map(|(name, _)| name.as_str())
        .collect();
    asking.sort_unstable();
    let mut allowed = TIME_OF_DAY;
    allowed.sort_unstable();
    assert_eq!(asking, allowed);
}
