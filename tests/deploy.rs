//! What runs a fleet elsewhere, as far as it can be run here: the chart rendered by Helm and held to Kubernetes' schemas, the
//! seccomp profile in the kernel, the image's root directory without the image, the scripts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod tools;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{repository, target};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadr-fast");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The documents that the chart makes of each set of values, by Helm itself; they fit the schemas of Kubernetes.
fn rendered(sets: &Value) -> Option<Vec<Value>> {
    let python = tools::helm_python()?;
    let folder = tempfile::tempdir().unwrap();
    let for_lint = folder.path().join("values.json");
    fs::write(&for_lint, sets[0].to_string()).unwrap();
    let mut child = Command::new(python)
        .arg(repository("tests/tools/chart.py"))
        .arg(repository("deploy/helm/loadr-fast"))
        .arg(&for_lint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(sets.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn of_kind<'d>(documents: &'d Value, kind: &str) -> &'d Value {
    let all = documents
        .as_array()
        .unwrap_or_else(|| panic!("{documents}"));
    all.iter()
        .find(|one| one["kind"] == kind)
        .unwrap_or(&Value::Null)
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect()
}

#[test]
fn the_chart_makes_an_indexed_job_with_cores_of_its_own_and_io_uring() {
    let plan = "# A plan, as it is.\nscenarios: {}\n  \n";
    let Some(sets) = rendered(&json!([
        { "segments": 50, "cpus": 16, "plan": { "text": plan, "files": { "users.csv": "name\nä\n" } }, "startAt": 1795683600 },
        { "plan": { "configMap": "mine" }, "cpus": 2, "antiAffinity": "preferred", "hostNetwork": true, "seed": 12345678901234_u64,
          "args": ["-e", "staging"], "results": { "claim": "shared", "path": "run-1" }, "seccomp": { "type": "Unconfined" },
          "bus": { "url": "nats://nats:4222", "credentials": { "secret": "nats" } } },
    ])) else {
        return;
    };
    let job = &of_kind(&sets[0], "Job")["spec"];
    assert_eq!(job["completionMode"], "Indexed");
    assert_eq!(
        (&job["completions"], &job["parallelism"]),
        (&json!(50), &json!(50))
    );
    // Nobody makes a part of the load twice.
    assert_eq!(job["backoffLimitPerIndex"], 0);
    let pod = &job["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "Localhost"
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(
        pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            .is_array()
    );
    let container = &pod["containers"][0];
    // The Guaranteed class, and whole CPUs.
    assert_eq!(
        container["resources"]["requests"],
        container["resources"]["limits"]
    );
    assert_eq!(container["resources"]["limits"]["cpu"], "16");
    let env = container["env"].as_array().unwrap();
    assert!(env.contains(&json!({ "name": "LOADR_SEGMENTS", "value": "50" })));
    let args = strings(&container["args"]);
    assert_eq!(
        args,
        [
            "run",
            "--quiet",
            "--cores",
            "15",
            "--histograms",
            "/dev/stdout",
            "--start-at",
            "1795683600",
            "/plan/plan.yaml"
        ]
    );
    let files = &of_kind(&sets[0], "ConfigMap")["data"];
    assert_eq!(
        (&files["plan.yaml"], &files["users.csv"]),
        (&json!(plan), &json!("name\nä\n"))
    );
    assert!(
        of_kind(&sets[0], "Notes")["text"]
            .as_str()
            .unwrap()
            .contains("seq 0 49")
    );

    assert!(of_kind(&sets[1], "ConfigMap").is_null());
    let pod = &of_kind(&sets[1], "Job")["spec"]["template"]["spec"];
    assert_eq!(
        strings(&pod["containers"][0]["args"]),
        [
            "run",
            "--quiet",
            "--cores",
            "2",
            "--histograms",
            "/results/{segment}.hlog",
            "--bus",
            "nats://nats:4222",
            "--bus-creds",
            "/bus/creds",
            "--seed",
            "12345678901234",
            "-e",
            "staging",
            "/plan/plan.yaml"
        ]
    );
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "mine");
    assert_eq!(
        pod["securityContext"]["seccompProfile"],
        json!({ "type": "Unconfined" })
    );
}

#[test]
fn values_that_make_no_sense_are_refused_by_the_chart() {
    let plan = json!({ "text": "x" });
    let Some(sets) = rendered(&json!([
        { "plan": plan },
        { "plan": plan, "segments": 0 },
        { "plan": plan, "cpus": 2.5 },
        { "plan": plan, "cpus": 2, "cores": 3 },
        { "plan": plan, "startAt": "1795683600", "bus": { "url": "nats://n:4222" } },
        {},
        { "plan": plan, "segmnets": 3 },
    ])) else {
        return;
    };
    assert!(sets[0].is_array());
    for (set, says) in sets[1..].iter().zip([
        "segments",
        "cpus",
        "cores is 3",
        "wait for each other",
        "name the plan",
        "segmnets",
    ]) {
        let error = set["error"].as_str().unwrap_or_else(|| panic!("{set}"));
        assert!(error.contains(says), "{error}");
    }
}

/// Runs the program under a profile.
fn under(profile: &Path, args: &[&str]) -> Option<Output> {
    let mut command = tools::under_seccomp(profile)?;
    Some(command.arg(PROGRAM).args(args).output().unwrap())
}

#[test]
fn where_io_uring_is_forbidden_doctor_and_run_say_so_and_name_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let url = format!("http://{}/", target.address());
    // What a container engine's own profile answers, and what one that knows no io_uring answers.
    for errno in [1, 38] {
        let profile = folder.path().join(format!("{errno}.json"));
        let rules = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [ {
                "names": ["io_uring_setup", "io_uring_enter", "io_uring_register"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": errno
            } ]
        });
        fs::write(&profile, rules.to_string()).unwrap();
        let Some(doctor) = under(&profile, &["doctor", "--cores", "1"]) else {
            return;
        };
        assert_eq!(doctor.status.code(), Some(1));
        let said = text(&doctor.stdout);
        assert!(
            said.contains("io_uring") && said.contains("deploy/seccomp.json"),
            "{said}"
        );
        let run = under(
            &profile,
            &["run", "--cores", "1", "-n", "1", "-c", "1", &url],
        )
        .unwrap();
        assert_eq!(run.status.code(), Some(1));
        let said = text(&run.stderr);
        assert!(
            said.contains("io_uring") && said.contains("deploy/seccomp.json"),
            "{said}"
        );
    }
}

#[test]
fn under_the_profile_a_run_is_possible_and_what_it_never_needs_is_not() {
    let profile = repository("deploy/seccomp.json");
    let target = target();
    let url = format!("http://{}/", target.address());
    let args = [
        "run",
        "--quiet",
        "--cores",
        "1",
        "-n",
        "20",
        "-c",
        "2",
        url.as_str(),
    ];
    let Some(run) = under(&profile, &args) else {
        return;
    };
    assert!(run.status.success(), "{}", text(&run.stderr));
    // Also of programs that are started by `clone3` first.
    let unshare = |flag: &str| {
        let mut command = tools::under_seccomp(&profile).unwrap();
        command
            .args(["/usr/bin/unshare", flag, "/bin/true"])
            .output()
            .unwrap()
    };
    for flag in ["--user", "--net", "--mount"] {
        let output = unshare(flag);
        assert!(
            !output.status.success(),
            "unshare {flag}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn the_image_has_all_that_the_program_needs() {
    if !tools::is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let made = Command::new(repository("deploy/rootfs.sh"))
        .arg(PROGRAM)
        .arg(&root)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    // Others must be able to go there.
    for path in [folder.path(), &root] {
        Command::new("chmod").arg("755").arg(path).status().unwrap();
    }
    // As in a container: its own mounts, with the kernel's file systems.
    let script = "mkdir -p $0/sys $0/proc && if [ $1 = with ]; then mount --rbind /sys $0/sys && mount --rbind /proc $0/proc; fi \
                  && shift && exec chroot --userspec=65532:65532 $0 /usr/bin/loadr-fast \"$@\"";
    let inside = |args: &[&str]| {
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(&root)
            .args(args)
            .env("HOME", "/tmp")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let target = target();
    let url = format!("http://{}/", target.address());
    let run = inside(&[
        "with",
        "run",
        "--cores",
        "1",
        "-n",
        "20",
        "-c",
        "2",
        "--summary-export",
        "/tmp/summary.json",
        &url,
    ]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let summary: Value =
        serde_json::from_slice(&fs::read(root.join("tmp/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["exit_code"], 0);
    // Without the file systems no core is known, which is said.
    let run = inside(&["without", "run", "-n", "1", "-c", "1", &url]);
    let said = text(&run.stderr);
    assert!(
        run.status.code() == Some(1) && said.contains("mount /sys here"),
        "{said}"
    );
    // A name, which takes the library's own modules.
    fs::write(root.join("etc/hosts"), "127.0.0.1 the-target\n").unwrap();
    let url = format!("http://the-target:{}/", target.address().port());
    let run = inside(&[
        "with", "run", "--quiet", "--cores", "1", "-n", "2", "-c", "1", &url,
    ]);
    assert!(run.status.success(), "{}", text(&run.stderr));
}

/// A plan of a hundred requests to `url`, in a folder.
fn hundred(folder: &Path, url: &str) -> PathBuf {
    let plan = folder.join("plan.yaml");
    let text = format!(
        "defaults: {{ http: {{ base_url: '{url}' }} }}\nthresholds: {{ http_reqs: [ 'count==100' ] }}\n\
         scenarios: {{ s: {{ executor: shared-iterations, vus: 8, iterations: 100, flow: [ {{ request: {{ url: '/' }} }} ] }} }}\n"
    );
    fs::write(&plan, text).unwrap();
    plan
}

/// `PATH` with the program in it.
fn path() -> String {
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    format!("{programs}:{}", std::env::var("PATH").unwrap())
}

/// The summary that a script left is of all hundred requests, in so many segments.
fn check_hundred(output: &Output, results: &Path, segments: usize) {
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let summary = fs::read(results.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    let metrics = summary["metrics"].as_array().unwrap();
    let requests = metrics.iter().find(|one| one["metric"] == "http_reqs");
    assert_eq!(requests.unwrap()["agg"]["count"], 100);
    assert_eq!(
        summary["merged"]["segments"].as_array().unwrap().len(),
        segments
    );
}

#[test]
fn the_script_for_mpi_makes_one_summary_of_all_ranks() {
    if tools::mpirun().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let plan = hundred(folder.path(), &format!("http://{}", target.address()));
    let results = folder.path().join("results");
    let output = Command::new(repository("deploy/mpirun.sh"))
        .args([&plan, &results])
        .args(["--cores", "1"])
        .env("PATH", path())
        .env("RANKS", "2")
        .env("MPIRUN_FLAGS", "--allow-run-as-root --oversubscribe")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    check_hundred(&output, &results, 2);
}

#[test]
fn a_slurm_job_is_one_load_and_its_script_makes_one_summary() {
    let Some(slurm) = tools::slurm::Slurm::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let plan = hundred(folder.path(), &format!("http://{}", target.address()));
    let results = folder.path().join("results");
    let log = folder.path().join("log");
    let batch = |flags: &[&str]| {
        let mut command = slurm.command("sbatch");
        command
            .arg("--wait")
            .env("LOADR_LEAD", "20")
            .args(flags)
            .arg("-o")
            .arg(&log)
            .env("PATH", path());
        command
    };
    let output = batch(&["--nodes=1", "--ntasks-per-node=4"])
        .arg(repository("deploy/slurm.sh"))
        .args([&plan, &results])
        .args(["--cores", "1"])
        .output()
        .unwrap();
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(output.status.success(), "{}{said}", text(&output.stderr));
    check_hundred(&output, &results, 4);

    let print = ["run", "--print-segment"];
    let step = |tasks: &str| {
        let mut command = slurm.command("srun");
        let output = command
            .args(["-n", tasks, PROGRAM])
            .args(print)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let mut segments: Vec<String> = said
            .lines()
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect();
        segments.sort_unstable();
        segments
    };
    assert_eq!(step("3"), ["0/3", "1/3", "2/3"]);
    assert_eq!(step("1"), ["none"]);
    // In a batch script without `srun`: nobody's part, or that of an array's task.
    let wrapped = format!("{PROGRAM} run --print-segment");
    let alone = |flags: &[&str]| {
        let output = batch(flags).args(["--wrap", &wrapped]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::read_to_string(&log).unwrap()
    };
    assert!(alone(&["--ntasks=4"]).starts_with("none: "));
    let task = alone(&["--array=7"]);
    assert!(task.starts_with("none: a Slurm array"), "{task}");
    let tasks = folder.path().join("task-%a");
    let output = slurm
        .command("sbatch")
        .args(["--wait", "--array=1-7:3", "--wrap", &wrapped, "-o"])
        .arg(&tasks)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let task = fs::read_to_string(folder.path().join("task-4")).unwrap();
    assert!(task.starts_with("1/3: a Slurm array"), "{task}");
}
