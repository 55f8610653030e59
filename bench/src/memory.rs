//! What an idle virtual user costs in memory: loadr-fast with many users that have each made a request over a connection
//! of their own and now think, beside loadr-fast with one.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::serve::Server;
use crate::{MemoryArguments, Outcome};

/// How long all users may take to make their requests.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at the target, and from the last request to the look at the memory: what is once a second has been.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SETTLE: Duration = Duration::from_millis(2500);

/// A process that is ended when it is dropped.
struct Idle(Child);

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory of a process, in bytes: its own, and all.
#[derive(Clone, Copy, Debug)]
struct Resident {
    own: u64,
    all: u64,
}

pub(crate) fn run(arguments: &MemoryArguments) -> Outcome<()> {
    let beside = std::env::current_exe()?.with_file_name("loadr-fast");
    let loadr = arguments.loadr.clone().unwrap_or(beside);
    if !loadr.is_file() {
        return Err(format!("there is no loadr-fast at {}", loadr.display()).into());
    }
    let one = measure(arguments, &loadr, 1)?;
    let many = measure(arguments, &loadr, arguments.vus)?;
    let others = u64::from(arguments.vus - 1);
    let each = |many: u64, one: u64| many.saturating_sub(one) / others;
    println!(
        "{} users with an open connection each, all thinking\n\n\
         users      own memory    resident\n\
         1          {:>7} KiB  {:>7} KiB\n\
         {:<9}  {:>7} KiB  {:>7} KiB\n\n\
         a user     {:>7} bytes {:>6} bytes",
        arguments.vus,
        one.own >> 10,
        one.all >> 10,
        arguments.vus,
        many.own >> 10,
        many.all >> 10,
        each(many.own, one.own),
        each(many.all, one.all),
    );
    Ok(())
}

fn measure(arguments: &MemoryArguments, loadr: &PathBuf, vus: u32) -> Outcome<Resident> {
    // A target of its own: it may still be closing what an earlier run had.
    let mut server = Server::start(&[arguments.server_core])?;
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("plan.yaml");
    fs::write(&plan, plan_text(&server, vus))?;
    let core = arguments.client_core;
    let child = Command::new(loadr)
        .arg("run")
        .arg("--quiet")
        .args(["--cores", &format!("{core}-{core}")])
        .arg(&plan)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", loadr.display()))?;
    let mut idle = Idle(child);
    let began = Instant::now();
    while server.usage()?.requests < u64::from(vus) {
        if idle.0.try_wait()?.is_some() || began.elapsed() > LIMIT {
            let made = server.usage()?.requests;
            return Err(format!(
                "only {made} of {vus} users made their request: are enough files open (`ulimit -n`)?"
            )
            .into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    std::thread::sleep(SETTLE);
    resident(idle.0.id())
}

fn plan_text(server: &Server, vus: u32) -> String {
    format!(
        "name: idle
scenarios:
  idle:
    executor: constant-vus
    vus: {vus}
    duration: 1h
    flow:
      - request: {{ url: \"http://{}/\", assert: [ {{ type: status, equals: 200 }} ] }}
      - think_time: {{ type: constant, duration: 1h }}
",
        server.address
    )
}

fn resident(process: u32) -> Outcome<Resident> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let bytes = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib
            .ok_or("the kernel does not say what is resident")?
            .parse()?;
        Ok(kib << 10)
    };
    Ok(Resident {
        own: bytes("RssAnon:")?,
        all: bytes("VmRSS:")?,
    })
}
