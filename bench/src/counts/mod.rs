//! Instructions, which repeat where times do not: each part of a request's way is run so often and twice as often
//! under valgrind, and the difference is what it costs once. Starting up drops out. Of a run only the busiest thread
//! counts, which is the shard's: what others do beside it depends on how long it takes under valgrind.

mod parts;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clients::{Client, loadr};
use crate::process::run_pinned;
use crate::serve::Server;
use crate::work::BASE_URL;
use crate::{CountsArguments, Outcome};
pub(crate) use parts::run_part;
use parts::{PARTS, Part};

/// How much a count may grow before it is a failure.
const GROWTH_MAX: f64 = 1.10;
/// What one run under valgrind may take.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What the files of callgrind begin with; those of threads go on with a number.
const PROFILE: &str = "profile";

/// Instructions of each part, by its name.
type Counts = BTreeMap<String, u64>;

pub(crate) fn run(arguments: &CountsArguments) -> Outcome<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is not installed (Debian: `apt-get install valgrind`)".into());
    }
    let Client::Loadr(loadr) = loadr(arguments.loadr.as_deref())? else {
        return Err("there is no loadr-fast".into());
    };
    let committed = committed()?;
    // On another core than what is counted, where there is one: they take turns.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = |at: usize| cores.get(at % cores.len().max(1)).map_or(0, |c| c.id);
    let server = Server::start(&[core(1)], false)?;
    let valgrind = Valgrind {
        loadr,
        base_url: format!("http://{}", server.address),
        core: core(0),
    };
    let mut counts = Counts::new();
    let mut grown = Vec::new();
    for part in PARTS {
        let count = valgrind.count(part)?;
        let before = committed.get(part.name()).copied();
        let change = before.map(|before| count as f64 / before as f64);
        let beside = change.map_or_else(
            || "new".to_owned(),
            |change| format!("{:+.1} %", (change - 1.0) * 100.0),
        );
        println!("{:<52} {count:>9}  {beside}", part.name());
        if change.is_none_or(|change| change > GROWTH_MAX) {
            grown.push(part.name());
        }
        counts.insert(part.name().to_owned(), count);
    }
    if arguments.update {
        fs::write(file(), serde_json::to_string_pretty(&counts)? + "\n")?;
    }
    if arguments.check && !grown.is_empty() {
        return Err(format!(
            "more instructions than are committed in {}: {}; if that is meant, run `bench counts --update`",
            file().display(),
            grown.join(", ")
        )
        .into());
    }
    Ok(())
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.json")
}

fn committed() -> Outcome<Counts> {
    match fs::read_to_string(file()) {
        Ok(text) => Ok(serde_json::from_str(&text)
            .map_err(|error| format!("{}: {error}", file().display()))?),
        Err(_) => Ok(Counts::new()),
    }
}

struct Valgrind {
    loadr: PathBuf,
    base_url: String,
    core: usize,
}

impl Valgrind {
    /// Instructions of the part, once.
    fn count(&self, part: &Part) -> Outcome<u64> {
        let times = part.times();
        let (once, twice) = (self.run(part, times)?, self.run(part, 2 * times)?);
        Ok(twice.saturating_sub(once) / times)
    }

    fn run(&self, part: &Part, times: u64) -> Outcome<u64> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("valgrind");
        let log = folder.path().join("log");
        command.args(["--tool=callgrind", "--separate-threads=yes"]);
        let profile = folder.path().join(PROFILE);
        command.arg(format!("--callgrind-out-file={}", profile.display()));
        command.arg(format!("--log-file={}", log.display()));
        match part {
            Part::Alone { name, .. } => {
                command.arg(std::env::current_exe()?).arg("part");
                command.arg(name).arg(times.to_string());
            }
            Part::Run { plan, tells, .. } => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("plans")
                    .join(plan);
                command.arg(&self.loadr).arg("run").arg(file);
                command.args(["--cores", &format!("{},", self.core)]);
                if *tells {
                    tell_all(&mut command, folder.path());
                } else {
                    command.arg("--quiet");
                }
                command.args(["--iterations", &times.to_string()]);
                command.env(BASE_URL, &self.base_url);
            }
        }
        run_pinned(command, &[self.core], RUN_MAX)?;
        let threads = threads(folder.path())?;
        let count = match part {
            Part::Alone { .. } => threads.iter().copied().reduce(|sum, count| sum + count),
            Part::Run { .. } => threads.iter().copied().max(),
        };
        count.ok_or_else(|| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("cannot make sense of valgrind:\n{log}").into()
        })
    }
}

/// Everything on that tells of a run.
fn tell_all(command: &mut Command, folder: &Path) {
    command.args(["--no-tui", "--ui=127.0.0.1:0"]);
    for (option, form, name) in [
        ("--summary-export", "", "summary.json"),
        ("--histograms", "", "trends.hlog"),
        ("--junit", "", "junit.xml"),
        ("--output", "json=", "points.json"),
        ("--output", "csv=", "points.csv"),
    ] {
        let path = folder.join(name);
        command.args([option, &format!("{form}{}", path.display())]);
    }
    // Datagrams to nobody.
    command.args(["--output", "statsd=127.0.0.1:9"]);
    command.args(["--output", "prometheus=127.0.0.1:0"]);
}

/// The instructions of each thread, by the profiles in this folder.
fn threads(folder: &Path) -> Outcome<Vec<u64>> {
    let mut counts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The profile without a number is of the process, and empty.
        if entry.file_name().to_string_lossy().starts_with(PROFILE) {
            counts.extend(instructions(&fs::read_to_string(entry.path())?));
        }
    }
    Ok(counts)
}

/// What a profile of callgrind says in all.
fn instructions(profile: &str) -> Option<u64> {
    let line = profile
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("totals:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_count() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("log", "totals: 99\n");
        write("profile", "# callgrind format\nevents: Ir\n");
        assert!(threads(folder.path()).unwrap().is_empty());
        write("profile-01", "fn=(1) totals: of all\n1 9\n\ntotals: 9\n");
        write("profile-02", "fn=(1) f\n1 10\n\ntotals: 10\n");
        let mut counts = threads(folder.path()).unwrap();
        counts.sort_unstable();
        assert_eq!(counts, [9, 10]);
    }
}
