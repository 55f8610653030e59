//! Programs that results are held against: a browser, and another implementation of histograms.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part; a failed unwrap is a failed test"
)]

pub mod slurm;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Says why a test is skipped; where everything must be there, it fails.
fn missing(what: &str) {
    assert!(
        std::env::var_os("LOADR_REQUIRE_TOOLS").is_none(),
        "{what} is missing"
    );
    eprintln!("skipped: {what} is missing");
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    quiet
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Puts a tool into a folder of its own, once, also when several tests want it at the same time.
fn install(
    name: &str,
    has: impl Fn(&Path) -> bool,
    install: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let folder = folder(name);
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    (has(&folder) || install(&folder)).then_some(folder)
}

/// A Python with these packages, in a folder of its own.
fn python_with(name: &str, imports: &str, packages: &[&str]) -> Option<PathBuf> {
    let python = |folder: &Path| folder.join("venv/bin/python");
    let has = |folder: &Path| succeeds(Command::new(python(folder)).args(["-c", imports]));
    let make = |folder: &Path| {
        let mut venv = Command::new("python3");
        let mut pip = Command::new(python(folder));
        succeeds(venv.args(["-m", "venv"]).arg(folder.join("venv")))
            && succeeds(pip.args(["-m", "pip", "install", "-q"]).args(packages))
    };
    let found = install(name, has, make).map(|folder| python(&folder));
    if found.is_none() {
        missing(&format!(
            "Python's {} (python3-venv, and a package index)",
            packages.join(", ")
        ));
    }
    found
}

/// A Python that reads HdrHistogram's logs with its own implementation.
pub fn hdr_python() -> Option<PathBuf> {
    python_with("hdrhistogram", "import hdrh.log", &["hdrhistogram==0.10.8"])
}

/// Where a browser's driver is; the browser is Debian's.
fn browser() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        if !Path::new("/usr/bin/chromium").exists() {
            return None;
        }
        let has = |folder: &Path| {
            folder
                .join("node_modules/playwright-core/package.json")
                .exists()
        };
        let npm = |folder: &Path| {
            let mut npm = Command::new("npm");
            npm.args([
                "install",
                "--no-fund",
                "--no-audit",
                "playwright-core@1.65.1",
            ]);
            succeeds(npm.current_dir(folder))
        };
        let folder = install("browser", has, npm)?;
        succeeds(Command::new("node").arg("--version")).then_some(folder)
    });
    if found.is_none() {
        missing("chromium, or playwright-core of npm");
    }
    found.clone()
}

/// What a browser finds on a page; none where there is no browser. Screenshots go into a folder that stays.
pub fn look(page: &Path, name: &str) -> Option<Value> {
    let driver = browser()?;
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/look.mjs"))
        .args([&driver, page])
        .arg(folder("screenshots").join(name))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Open MPI's launcher.
pub fn mpirun() -> Option<Command> {
    let mut command = Command::new("mpirun");
    if !succeeds(command.arg("--version")) {
        missing("mpirun of Open MPI (openmpi-bin)");
        return None;
    }
    let mut command = Command::new("mpirun");
    // In a container everybody is root and there are fewer cores than ranks.
    command
        .args(["--allow-run-as-root", "--oversubscribe"])
        .stdin(Stdio::null());
    Some(command)
}

/// A Python that has Helm itself and the schemas of Kubernetes.
pub fn helm_python() -> Option<PathBuf> {
    python_with(
        "helm",
        "import helm_python.chart, kubernetes_validate, yaml",
        &[
            "helm-python-sdk==0.2.2",
            "kubernetes-validate==1.37.0",
            "PyYAML",
        ],
    )
}

/// A command that runs another under a seccomp profile.
pub fn under_seccomp(profile: &Path) -> Option<Command> {
    // Debian's own Python, which has the library's binding.
    let python = "/usr/bin/python3";
    if !succeeds(Command::new(python).args(["-c", "import seccomp"])) {
        missing("Python's seccomp (python3-seccomp)");
        return None;
    }
    let mut command = Command::new(python);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/under_seccomp.py");
    command.arg(script).arg(profile).stdin(Stdio::null());
    Some(command)
}

/// Whether this process may do what only root may; a test that must says why it does not.
pub fn is_root() -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt as _;
        meta.uid() == 0
    });
    if !is_root {
        eprintln!("skipped: only root can do this");
    }
    is_root
}
