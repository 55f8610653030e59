//! What about this machine makes a run impossible or its figures doubtful, and what to change. Everything is read from
//! procfs and sysfs, below a root that a test can choose.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use loadr_ring::{Ring, Settings};
use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;

use crate::results::Clock;

/// The oldest kernel that has what the data path needs.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// What the executor's own rings may lock, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Below this many open files a few thousand connections are refused.
const FILES_MIN: u64 = 65_536;
/// Clock sources that are read without a system call.
const FAST_CLOCKS: &[&str] = &[
    "tsc",
    "kvm-clock",
    "arch_sys_counter",
    "hyperv_clocksource_tsc_page",
];
/// The share of a core, or of the time that somebody waits for one, from which on others are in the way.
const BUSY: f64 = 0.1;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Figures may be wrong because of it.
    Warning,
    /// No run is possible.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `kernel`, `io_uring`, `locked_memory`, `open_files`, `time`, `clock`, `governor`, `smt`, `isolation`,
    /// `load`.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, for people.
    pub found: String,
    /// What to change.
    pub advice: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)?;
        match &self.advice {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }
}

/// Everything, for shards on these cores; watches the cores for so long to see who else is there.
#[must_use]
pub fn examine(cores: &[usize], watch: Duration) -> Vec<Finding> {
    let mut findings = vec![
        kernel(Path::new("/")),
        io_uring(),
        locked_memory(),
        open_files(),
        time(),
    ];
    findings.extend(host(Path::new("/"), cores));
    findings.extend(others(Path::new("/"), cores, watch));
    findings
}

/// What can be seen at once and makes figures doubtful: for the start of a run.
#[must_use]
pub fn warnings(cores: &[usize]) -> Vec<Finding> {
    let mut findings = host(Path::new("/"), cores);
    findings.extend(pressure(Path::new("/")));
    findings.retain(|finding| finding.level == Level::Warning);
    findings
}

/// What the hardware and its settings are like.
fn host(root: &Path, cores: &[usize]) -> Vec<Finding> {
    let mut findings = vec![clock(root)];
    findings.extend(governor(root, cores));
    findings.push(siblings(root, cores));
    findings.push(isolation(root, cores));
    findings
}

fn finding(check: &'static str, level: Level, found: impl Into<String>, advice: &str) -> Finding {
    Finding {
        check,
        level,
        found: found.into(),
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
    }
}

/// The text of a file without its line break; `None` when it is not there.
fn read(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    Some(text.trim().to_owned())
}

fn kernel(root: &Path) -> Finding {
    let release = read(root, "proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => {
            return finding(
                "kernel",
                Level::Note,
                format!("the kernel is `{release}`"),
                "",
            );
        }
    };
    if version >= KERNEL_MIN {
        finding("kernel", Level::Good, format!("Linux {release}"), "")
    } else {
        finding(
            "kernel",
            Level::Fault,
            format!("the kernel is Linux {release}"),
            "install Linux 6.1 or later",
        )
    }
}

fn io_uring() -> Finding {
    match Ring::new(&Settings::for_connections(1)) {
        Ok(_) => finding("io_uring", Level::Good, "a ring can be made", ""),
        Err(error) => finding("io_uring", Level::Fault, error.to_string(), ""),
    }
}

fn locked_memory() -> Finding {
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((_, hard)) if hard >= MEMLOCK_BYTES_MIN => finding(
            "locked_memory",
            Level::Good,
            limit(hard / 1024, " KiB may be locked"),
            "",
        ),
        Ok((_, hard)) => finding(
            "locked_memory",
            Level::Fault,
            limit(hard / 1024, " KiB may be locked, and 512 are needed"),
            "`ulimit -l 65536`, or memlock in /etc/security/limits.conf",
        ),
        Err(error) => finding("locked_memory", Level::Note, error.to_string(), ""),
    }
}

fn open_files() -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= FILES_MIN => finding(
            "open_files",
            Level::Good,
            limit(hard, " files may be open"),
            "",
        ),
        Ok((_, hard)) => finding(
            "open_files",
            Level::Note,
            limit(hard, " files may be open: about half as many connections"),
            "`ulimit -n 1048576`, or nofile in /etc/security/limits.conf, for more",
        ),
        Err(error) => finding("open_files", Level::Note, error.to_string(), ""),
    }
}

/// What time it is matters where several machines are to begin at one instant.
fn time() -> Finding {
    let Some(clock) = Clock::now() else {
        return finding(
            "time",
            Level::Note,
            "how well the clock is kept may not be asked here",
            "",
        );
    };
    if clock.synchronised {
        let found = format!(
            "the time is synchronised, to about {:.3} ms ({:.3} ms at most)",
            clock.error_ms, clock.error_max_ms
        );
        return finding("time", Level::Good, found, "");
    }
    finding(
        "time",
        Level::Note,
        "the time is not synchronised",
        "run chrony or systemd-timesyncd where several machines are to begin at one instant (`--start-at`)",
    )
}

fn limit(value: u64, rest: &str) -> String {
    if value >= u64::MAX / 1024 {
        format!("any number of{}", rest.trim_start_matches(" KiB"))
    } else {
        format!("{value}{rest}")
    }
}

fn clock(root: &Path) -> Finding {
    let path = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    match read(root, path) {
        Some(source) if FAST_CLOCKS.contains(&source.as_str()) => finding(
            "clock",
            Level::Good,
            format!("the clock source is {source}"),
            "",
        ),
        Some(source) => finding(
            "clock",
            Level::Warning,
            format!("the clock source is {source}, which costs a system call each time it is read"),
            "boot with `clocksource=tsc tsc=reliable` where the processor has a stable one",
        ),
        None => finding("clock", Level::Note, "the clock source is not known", ""),
    }
}

fn governor(root: &Path, cores: &[usize]) -> Option<Finding> {
    let governors = cores.iter().filter_map(|core| {
        let path = format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        Some((core, read(root, &path)?))
    });
    let mut is_known = false;
    for (core, governor) in governors {
        is_known = true;
        if governor != "performance" {
            return Some(finding(
                "governor",
                Level::Warning,
                format!(
                    "core {core} has the frequency governor `{governor}`, so its speed changes with the load"
                ),
                "`cpupower frequency-set -g performance`",
            ));
        }
    }
    is_known.then(|| {
        finding(
            "governor",
            Level::Good,
            "the frequency governor is `performance`",
            "",
        )
    })
}

fn siblings(root: &Path, cores: &[usize]) -> Finding {
    for (i, core) in cores.iter().enumerate() {
        let path = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        let siblings = read(root, &path)
            .map(|text| list(&text))
            .unwrap_or_default();
        if let Some(other) = cores[i + 1..]
            .iter()
            .find(|other| *other != core && siblings.contains(other))
        {
            return finding(
                "smt",
                Level::Warning,
                format!(
                    "cores {core} and {other} are two threads of one physical core, so two shards share it"
                ),
                "name one of each pair with `--cores`, such as the first of each line of `lscpu -e`",
            );
        }
    }
    finding(
        "smt",
        Level::Good,
        "no two shards share a physical core",
        "",
    )
}

fn isolation(root: &Path, cores: &[usize]) -> Finding {
    let isolated = read(root, "sys/devices/system/cpu/isolated")
        .map(|text| list(&text))
        .unwrap_or_default();
    if cores.iter().all(|core| isolated.contains(core)) {
        finding(
            "isolation",
            Level::Good,
            "the shards' cores are isolated",
            "",
        )
    } else {
        finding(
            "isolation",
            Level::Note,
            "the shards' cores are not isolated from other processes",
            "boot with `isolcpus=` and `nohz_full=` for the steadiest figures",
        )
    }
}

/// A list such as `0-3,8`, as the kernel writes it.
fn list(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            // More processors than any machine has: not a list of them.
            all.extend(first..=last.min(first.saturating_add(65_535)));
        }
    }
    all
}

/// How often, of late, somebody on this machine waited for a core.
fn pressure(root: &Path) -> Option<Finding> {
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
fn others(root: &Path, cores: &[usize], watch: Duration) -> Vec<Finding> {
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
fn busy(root: &Path) -> Vec<(usize, u64, u64)> {
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

    /// A root with these files in it.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn levels(findings: &[Finding]) -> Vec<(&str, Level)> {
        findings.iter().map(|f| (f.check, f.level)).collect()
    }

    #[test]
    fn a_machine_as_it_should_be_has_nothing_to_warn_of() {
        let root = root(&[
            (
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "tsc\n",
            ),
            (
                "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
                "performance\n",
            ),
            (
                "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
                "performance\n",
            ),
            (
                "sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
                "2,10\n",
            ),
            (
                "sys/devices/system/cpu/cpu3/topology/thread_siblings_list",
                "3,11\n",
            ),
            ("sys/devices/system/cpu/isolated", "2-5\n"),
            (
                "proc/pressure/cpu",
                "some avg10=0.13 avg60=0 avg300=0 total=1\nfull avg10=0.00\n",
            ),
        ]);
        let findings = host(root.path(), &[2, 3]);
        assert!(
            findings.iter().all(|f| f.level == Level::Good),
            "{findings:#?}"
        );
        assert_eq!(pressure(root.path()), None);
    }

    #[test]
    fn what_ruins_figures_is_named_with_what_to_change() {
        let root = root(&[
            (
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "hpet\n",
            ),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave\n",
            ),
            (
                "sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
                "0-1\n",
            ),
            (
                "proc/pressure/cpu",
                "some avg10=45.50 avg60=0 avg300=0 total=1\n",
            ),
        ]);
        let mut findings = host(root.path(), &[0, 1]);
        findings.extend(pressure(root.path()));
        assert_eq!(
            levels(&findings),
            [
                ("clock", Level::Warning),
                ("governor", Level::Warning),
                ("smt", Level::Warning),
                ("isolation", Level::Note),
                ("load", Level::Warning),
            ]
        );
        assert!(findings.iter().all(|f| f.advice.is_some()), "{findings:#?}");
        // Several shards on one core are asked for, not an accident.
        assert_eq!(siblings(root.path(), &[0, 0]).level, Level::Good);
    }

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        for (release, level) in [
            ("6.1.0-13-amd64", Level::Good),
            ("10.0", Level::Good),
            ("6.0.19", Level::Fault),
            ("5.15.0-91-generic", Level::Fault),
            ("custom", Level::Note),
            ("", Level::Note),
        ] {
            let root = root(&[("proc/sys/kernel/osrelease", release)]);
            assert_eq!(kernel(root.path()).level, level, "{release}");
        }
    }

    #[test]
    fn files_that_make_no_sense_are_no_reason_to_fail() {
        let root = root(&[
            (
                "sys/devices/system/cpu/isolated",
                "0-18446744073709551615,x,-,3-1",
            ),
            ("proc/pressure/cpu", "some avg10=x"),
            ("proc/stat", "cpu  1 2\ncpu0 1\ncpux 1 2 3\n\n"),
        ]);
        assert_eq!(list("0-18446744073709551615,x,-,3-1").len(), 65_536);
        assert_eq!(pressure(root.path()), None);
        assert_eq!(busy(root.path()), []);
        assert!(!host(root.path(), &[0]).is_empty());
    }

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
