//! What the kernel lets this process do, and how well it keeps the time.

use std::path::Path;

use loadr_ring::{Ring, Settings};
use nix::sys::resource::{Resource, getrlimit};

use super::{Finding, Level, finding, read};
use crate::results::Clock;

/// The oldest kernel that has what the data path needs.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// What the executor's own rings may lock, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Below this many open files a few thousand connections are refused.
const FILES_MIN: u64 = 65_536;

pub(super) fn kernel(root: &Path) -> Finding {
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

pub(super) fn io_uring() -> Finding {
    match Ring::new(&Settings::for_connections(1)) {
        Ok(_) => finding("io_uring", Level::Good, "a ring can be made", ""),
        Err(error) => finding("io_uring", Level::Fault, error.to_string(), ""),
    }
}

pub(super) fn locked_memory() -> Finding {
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

pub(super) fn open_files() -> Finding {
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
pub(super) fn time() -> Finding {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::root;

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
}
