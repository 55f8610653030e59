//! What the hardware and its settings are like.

use std::path::Path;

use super::{Finding, Level, finding, read};

/// Clock sources that are read without a system call.
const FAST_CLOCKS: &[&str] = &[
    "tsc",
    "kvm-clock",
    "arch_sys_counter",
    "hyperv_clocksource_tsc_page",
];

/// What the hardware and its settings are like.
pub(super) fn host(root: &Path, cores: &[usize]) -> Vec<Finding> {
    let mut findings = vec![clock(root)];
    findings.extend(governor(root, cores));
    findings.push(siblings(root, cores));
    findings.push(isolation(root, cores));
    findings
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

pub(super) fn siblings(root: &Path, cores: &[usize]) -> Finding {
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
pub(super) fn list(text: &str) -> Vec<usize> {
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
