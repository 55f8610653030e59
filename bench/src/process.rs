//! Runs a client pinned to cores, bounded in time, and tells what CPU it used.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::unistd::Pid;

use crate::Outcome;

/// How often a running client is looked at. Rarely, so that the harness disturbs nothing.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a finished process leaves.
pub(crate) struct Finished {
    pub(crate) stdout: String,
    /// User and system time of all its threads, from exec to end, in microseconds.
    pub(crate) cpu_us: u64,
    /// From spawn to end, in seconds.
    pub(crate) wall_secs: f64,
}

/// Runs `command` on `cores` until it ends; after `limit` it is killed, which is an error, as is a failure of its own.
///
/// No other child process of this one may end meanwhile: its CPU would be counted in.
pub(crate) fn run_pinned(command: Command, cores: &[usize], limit: Duration) -> Outcome<Finished> {
    run_all_pinned(vec![(command, cores.to_vec())], limit)
}

/// The same for several at once, each on cores of its own: what they print is one after the other, their CPU one sum, and
/// the time that of all.
pub(crate) fn run_all_pinned(
    commands: Vec<(Command, Vec<usize>)>,
    limit: Duration,
) -> Outcome<Finished> {
    let before = children_cpu_us()?;
    let start = Instant::now();
    let mut running = Vec::new();
    for (mut command, cores) in commands {
        running.push(Running::start(&mut command, &cores)?);
    }
    while !Running::have_ended(&mut running)? {
        if start.elapsed() > limit {
            let names: Vec<&str> = running.iter().map(|one| one.name.as_str()).collect();
            let names = names.join(" and ");
            return Err(format!("{names} did not end within {} s", limit.as_secs()).into());
        }
        thread::sleep(LOOK_EVERY);
    }
    let wall_secs = start.elapsed().as_secs_f64();
    let cpu_us = children_cpu_us()? - before;
    let mut stdout = String::new();
    for one in running {
        stdout += &one.output()?;
    }
    Ok(Finished {
        stdout,
        cpu_us,
        wall_secs,
    })
}

/// A child with what it prints. It is killed on drop if it has not ended by then.
struct Running {
    name: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    fn start(command: &mut Command, cores: &[usize]) -> Outcome<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn_on(command, cores)?;
        Ok(Self {
            name: command.get_program().to_string_lossy().into_owned(),
            stdout: Some(collect(child.stdout.take())),
            stderr: Some(collect(child.stderr.take())),
            child,
        })
    }

    fn have_ended(all: &mut [Self]) -> Outcome<bool> {
        for one in all {
            if one.child.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it printed, once it has ended; its failure is an error.
    fn output(mut self) -> Outcome<String> {
        let told = |thread: Option<JoinHandle<String>>| {
            thread
                .and_then(|thread| thread.join().ok())
                .unwrap_or_default()
        };
        let (stdout, stderr) = (told(self.stdout.take()), told(self.stderr.take()));
        let status = self.child.wait()?;
        if status.success() {
            return Ok(stdout);
        }
        let name = &self.name;
        Err(format!(
            "{name} failed ({status}): {} {}",
            stderr.trim(),
            stdout.trim()
        )
        .into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A child inherits the affinity of the thread that spawns it, so a thread is pinned for that and then ends.
pub(crate) fn spawn_on(command: &mut Command, cores: &[usize]) -> Outcome<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)
            .map_err(|_| format!("core {core} is out of range"))?;
    }
    let spawned = thread::scope(|scope| {
        scope
            .spawn(|| sched_setaffinity(Pid::from_raw(0), &set).map(|()| command.spawn()))
            .join()
    });
    match spawned {
        Ok(Ok(child)) => Ok(child.map_err(|error| format!("cannot run {name}: {error}"))?),
        Ok(Err(error)) => Err(format!(
            "cannot pin {name} to core {cores:?}: {error}: is there such a core?"
        )
        .into()),
        Err(_) => Err(format!("cannot run {name}").into()),
    }
}

/// Reads a pipe to its end, so that it never fills.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn children_cpu_us() -> Outcome<u64> {
    Ok(cpu_us(&getrusage(UsageWho::RUSAGE_CHILDREN)?))
}

/// User and system time, in microseconds.
pub(crate) fn cpu_us(usage: &Usage) -> u64 {
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One test, because the CPU of children is counted for the whole process.
    #[test]
    fn output_cpu_failure_and_overrun_are_told() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let limit = Duration::from_secs(20);
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo $i";
        let finished = run_pinned(shell(busy), &[0], limit).unwrap();
        assert_eq!(finished.stdout, "100000\n");
        assert!(
            (1_000..20_000_000).contains(&finished.cpu_us),
            "{}",
            finished.cpu_us
        );
        let message = |command, limit| {
            run_pinned(command, &[0], limit)
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(message(shell("echo oh >&2; exit 3"), limit).contains("oh"));
        assert!(message(shell("exec sleep 20"), Duration::from_millis(50)).contains("did not end"));
        assert!(message(Command::new("/no/such"), limit).contains("/no/such"));

        let both = |first: &str, second: &str| {
            let commands = [first, second].map(|script| (shell(script), vec![0]));
            run_all_pinned(commands.into(), limit)
        };
        let finished = both("sleep 0.05; echo a", "echo b").unwrap();
        assert_eq!(finished.stdout, "a\nb\n");
        assert!(both("exit 0", "exit 3").is_err());
    }
}
