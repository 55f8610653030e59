//! What about this machine makes a run impossible or its figures doubtful, and what to change. Everything is read from
//! procfs and sysfs, below a root that a test can choose.

mod host;
mod load;
mod system;

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use self::host::host;
use self::load::{others, pressure};
use self::system::{io_uring, kernel, locked_memory, open_files, time};

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

#[cfg(test)]
mod tests {
    use super::host::{list, siblings};
    use super::load::busy;
    use super::*;

    /// A root with these files in it.
    pub(super) fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    pub(super) fn levels(findings: &[Finding]) -> Vec<(&str, Level)> {
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
}
