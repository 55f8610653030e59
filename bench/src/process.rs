//! Runs a client pinned to cores, bounded in time, and tells what CPU it used.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
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
pub(crate) fn run_pinned(
    mut command: Command,
    cores: &[usize],
    limit: Duration,
) -> Outcome<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let before = children_cpu_us()?;
    let start = Instant::now();
    let mut child = spawn_on(&mut command, cores)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name} did not end within {} s", limit.as_secs()).into());
        }
        thread::sleep(LOOK_EVERY);
    };
    let wall_secs = start.elapsed().as_secs_f64();
    let cpu_us = children_cpu_us()? - before;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if !status.success() {
        return Err(format!(
            "{name} failed ({status}): {} {}",
            stderr.trim(),
            stdout.trim()
        )
        .into());
    }
    Ok(Finished {
        stdout,
        cpu_us,
        wall_secs,
    })
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
fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
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
    }
}
