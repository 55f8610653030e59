//! Who else uses the machine.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Finding, Level, finding, read};

/// The share of a core, or of the time that somebody waits for one, from which on others are in the way.
const BUSY: f64 = 0.1;

/// How often, of late, somebody on this machine waited for a core.
pub(super) fn pressure(root: &Path) -> Option<Finding> {
    let text = read(root, "proc/pressure/cpu")?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let percent: f64 = some
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg10="))?
        .parse()
        .ok()?;
    (percent > BUSY * 100.0).then(|| {
        finding(
            "load",
            Level::Warning,
            format!(
                "in the last ten seconds processes waited for a core {percent:.0} % of the time"
            ),
            "stop what else runs here: the figures include waiting for it",
        )
    })
}

/// How busy each core is while nothing of this process runs.
pub(super) fn others(root: &Path, cores: &[usize], watch: Duration) -> Vec<Finding> {
    let before = busy(root);
    thread::sleep(watch);
    let after = busy(root);
    let mut findings = Vec::new();
    for core in cores {
        let find = |all: &[(usize, u64, u64)]| all.iter().find(|(id, ..)| id == core).copied();
        let (Some((_, busy_0, all_0)), Some((_, busy_1, all_1))) = (find(&before), find(&after))
        else {
            continue;
        };
        let share =
            busy_1.saturating_sub(busy_0) as f64 / all_1.saturating_sub(all_0).max(1) as f64;
        if share > BUSY {
            findings.push(finding(
                "load",
                Level::Warning,
                format!("core {core} is {:.0} % busy with other processes", share * 100.0),
                "stop them, keep them off it (`taskset`, cpusets), or choose another with `--cores`",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(finding(
            "load",
            Level::Good,
            "the shards' cores are idle",
            "",
        ));
    }
    findings
}

/// By core: ticks in use, and all ticks.
pub(super) fn busy(root: &Path) -> Vec<(usize, u64, u64)> {
    let text = read(root, "proc/stat").unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let core = words.next()?.strip_prefix("cpu")?.parse().ok()?;
        // proc_stat(5): the first eight; guest time is in user time already.
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let all = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some((core, all - idle, all))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::{levels, root};

    #[test]
    fn a_core_in_use_is_told_from_an_idle_one() {
        let root = root(&[(
            "proc/stat",
            "cpu  9 9 9 9 9 9 9 9\ncpu0 10 0 10 70 10 0 0 0 0 0\n",
        )]);
        assert_eq!(busy(root.path()), [(0, 20, 100)]);
        let idle = others(root.path(), &[0], Duration::ZERO);
        assert_eq!(levels(&idle), [("load", Level::Good)]);
    }
}
