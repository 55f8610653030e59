//! What a run ran on, as far as it matters to whoever compares its figures with another's. No names of hosts or people.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine and the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The version of loadr-fast.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's architecture.
    pub arch: String,
    /// The processor's model, where the kernel says it.
    pub cpu: Option<String>,
    /// Processors that are there.
    pub cpus: usize,
    /// The kernel's clock source, where it says it.
    pub clock: Option<String>,
}

impl Environment {
    /// Of this machine.
    pub(super) fn here() -> Self {
        let read = |path: &str| {
            fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let info = read("/proc/cpuinfo").unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: model(&info),
            cpus: info
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            clock: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        }
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_where_there_is_one() {
        let info = "processor\t: 0\nmodel name\t: A CPU @ 2.00GHz\n";
        assert_eq!(model(info).as_deref(), Some("A CPU @ 2.00GHz"));
        assert_eq!(model("processor\t: 0\n"), None);
        let here = Environment::here();
        assert!(here.cpus > 0 && !here.kernel.is_empty(), "{here:?}");
    }
}
