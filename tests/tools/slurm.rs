//! A Slurm of its own, on this one node: Debian's daemons with all they write in a folder of the test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{is_root, missing, succeeds};

/// It runs until this is dropped.
pub struct Slurm {
    folder: tempfile::TempDir,
}

const DAEMONS: [&str; 3] = [
    "/usr/sbin/munged",
    "/usr/sbin/slurmctld",
    "/usr/sbin/slurmd",
];

impl Slurm {
    /// `None` where it is not installed, or may not be started; says why.
    pub fn start() -> Option<Self> {
        if !is_root() {
            return None;
        }
        if DAEMONS.iter().any(|daemon| !Path::new(daemon).exists()) {
            missing("Slurm (slurm-wlm, munge)");
            return None;
        }
        let slurm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        // Whoever runs a job has to come through here.
        fs::set_permissions(slurm.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        slurm.configure();
        let munge = [
            ("--key-file", "munge.key"),
            ("--socket", "munge.socket"),
            ("--pid-file", "munge.pid"),
            ("--seed-file", "munge.seed"),
            ("--log-file", "munge.log"),
        ];
        let options =
            munge.map(|(option, name)| format!("{option}={}", slurm.path(name).display()));
        let key = slurm.path("munge.key");
        fs::write(&key, [7; 64]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        // `--force`: the folder of a test is not where such a key should lie.
        // Whether its daemons run at all is up to the machine: a container may lack what they ask of it.
        if !succeeds(Command::new(DAEMONS[0]).arg("--force").args(options)) {
            eprintln!("skipped: munged does not start here: {}", slurm.logs());
            return None;
        }
        for daemon in &DAEMONS[1..] {
            if !succeeds(slurm.command(daemon).arg("-c")) {
                eprintln!("skipped: {daemon} does not start here: {}", slurm.logs());
                return None;
            }
        }
        let began = Instant::now();
        loop {
            let output = slurm
                .command("sinfo")
                .args(["--noheader", "--format=%T"])
                .output()
                .unwrap();
            if output.stdout.starts_with(b"idle") {
                return Some(slurm);
            }
            if began.elapsed() > Duration::from_secs(60) {
                eprintln!("skipped: Slurm does not come up here: {}", slurm.logs());
                return None;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        let host = Command::new("hostname").arg("-s").output().unwrap();
        let host = String::from_utf8(host.stdout).unwrap();
        let host = host.trim();
        let folder = self.folder.path().display();
        // Free now, and taken a moment later.
        let port = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        for name in ["state", "spool"] {
            fs::create_dir(self.path(name)).unwrap();
        }
        let text = format!(
            "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={}
SlurmdPort={}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES State=UP
",
            port(),
            port()
        );
        fs::write(self.path("slurm.conf"), text).unwrap();
    }

    /// A program that talks with this Slurm.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SLURM_CONF", self.path("slurm.conf"))
            .stdin(Stdio::null());
        command
    }

    fn logs(&self) -> String {
        let log = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        ["munge.log", "slurmctld.log", "slurmd.log"]
            .map(log)
            .join("\n")
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for name in ["slurmd.pid", "slurmctld.pid", "munge.pid"] {
            if let Ok(pid) = fs::read_to_string(self.path(name)) {
                let _ = Command::new("kill").arg(pid.trim()).status();
            }
        }
    }
}
