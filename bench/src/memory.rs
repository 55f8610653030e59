//! What an idle virtual user costs in memory: loadr-fast with many users that have each made a request over a connection
//! of their own and now think, beside loadr-fast with one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::clients::{Client, loadr};
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

/// Where it is measured, and with how many users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) loadr: &'a Path,
    pub(crate) vus: u32,
    pub(crate) client_core: usize,
    pub(crate) server_core: usize,
}

pub(crate) fn run(arguments: &MemoryArguments) -> Outcome<()> {
    let Client::Loadr(loadr) = loadr(arguments.loadr.as_deref())? else {
        return Err("there is no loadr-fast".into());
    };
    let setup = Setup {
        loadr: &loadr,
        vus: arguments.vus,
        client_core: arguments.client_core,
        server_core: arguments.server_core,
    };
    let (one, many) = (setup.measure(1)?, setup.measure(setup.vus)?);
    let each = each(setup.vus, one, many);
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
        each.own,
        each.all,
    );
    Ok(())
}

/// What one user more needs.
fn each(vus: u32, one: Resident, many: Resident) -> Resident {
    let each = |many: u64, one: u64| many.saturating_sub(one) / u64::from(vus - 1);
    Resident {
        own: each(many.own, one.own),
        all: each(many.all, one.all),
    }
}

impl Setup<'_> {
    /// Resident bytes of each user.
    pub(crate) fn bytes_each(self) -> Outcome<u64> {
        Ok(each(self.vus, self.measure(1)?, self.measure(self.vus)?).all)
    }

    fn measure(self, vus: u32) -> Outcome<Resident> {
        // A target of its own: it may still be closing what an earlier run had.
        let mut server = Server::start(&[self.server_core], false)?;
        let folder = tempfile::tempdir()?;
        let plan = folder.path().join("plan.yaml");
        fs::write(&plan, plan_text(&server, vus))?;
        let core = self.client_core;
        let child = Command::new(self.loadr)
            .arg("run")
            .arg("--quiet")
            .args(["--cores", &format!("{core}-{core}")])
            .arg(&plan)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", self.loadr.display()))?;
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
