//! The target as a child process, so that its CPU is told apart from the clients'. Both ends are here: what the
//! child does, and the handle that the harness holds.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use loadr_target::{Settings, Target};
use nix::sys::resource::{UsageWho, getrusage};

use crate::Outcome;
use crate::process::cpu_us;

/// The child: prints its address, then for each line of input a [`Usage`]; ends when the input does.
pub(crate) fn run(cores: &[usize], is_tls: bool) -> Outcome<()> {
    let target = Target::start(&Settings {
        threads: cores.len(),
        cores: Some(cores.to_vec()),
        // Where clients have the same cores, neither waits for a core that is not its own.
        by_core: true,
        is_tls,
        ..Settings::loopback()
    })?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", target.address())?;
    for line in std::io::stdin().lines() {
        line?;
        let cpu_us = cpu_us(&getrusage(UsageWho::RUSAGE_SELF)?);
        writeln!(out, "{} {cpu_us}", target.requests())?;
    }
    Ok(())
}

/// What a target has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) requests: u64,
    /// User and system time, in microseconds.
    pub(crate) cpu_us: u64,
    /// How many cores it has.
    pub(crate) cores: usize,
}

/// The harness's side: a target in a process of its own, stopped on drop.
pub(crate) struct Server {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    cores: usize,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// One thread on each core.
    pub(crate) fn start(cores: &[usize], is_tls: bool) -> Outcome<Self> {
        let list: Vec<String> = cores.iter().map(ToString::to_string).collect();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--cores", &list.join(",")])
            .args(is_tls.then_some("--tls"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take();
        let Some(stdout) = child.stdout.take() else {
            return Err("the target has no output".into());
        };
        let mut answers = BufReader::new(stdout);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            let _ = child.wait();
            return Err("the target did not start".into());
        };
        Ok(Self {
            child,
            commands,
            answers,
            cores: cores.len(),
            address,
        })
    }

    pub(crate) fn usage(&mut self) -> Outcome<Usage> {
        let gone = "the target ended in mid-run";
        self.commands.as_mut().ok_or(gone)?.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (requests, cpu_us) = line.trim().split_once(' ').ok_or(gone)?;
        Ok(Usage {
            requests: requests.parse()?,
            cpu_us: cpu_us.parse()?,
            cores: self.cores,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
