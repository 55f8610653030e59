//! `loadr-fast plugin …` from end to end, and installed plugins in a plan.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{loadr, plan, repository, run_file, target};
use serde_json::Value;
use tempfile::TempDir;

/// A home directory of its own, so that neither the user's plugins nor cache are touched.
struct Home(TempDir);

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn plugins(&self) -> PathBuf {
        self.0.path().join(".loadr/plugins")
    }

    fn command(&self) -> std::process::Command {
        let mut command = loadr();
        command
            .env("HOME", self.0.path())
            .env_remove("LOADR_PLUGINS_DIR")
            .env_remove("XDG_CACHE_HOME")
            .current_dir(self.0.path());
        command
    }

    fn plugin(&self, args: &[&str]) -> Said {
        said(&self.command().arg("plugin").args(args).output().unwrap())
    }

    /// A command that must succeed: what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let said = self.plugin(args);
        assert_eq!(said.code, 0, "{args:?}: {}", said.stderr);
        said.stdout
    }

    /// A command that must print JSON.
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// A command that must fail: what it said, without the home directory.
    fn refused(&self, args: &[&str]) -> String {
        let said = self.plugin(args);
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (1, ""),
            "{args:?}: {}",
            said.stderr
        );
        said.stderr
            .replace(&format!("{}", self.0.path().display()), "~")
    }

    fn with_examples() -> Self {
        let home = Self::new();
        home.ok(&["install", &example("order-id")]);
        home.ok(&["install", &example("order-check")]);
        home
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    };
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

fn example(name: &str) -> String {
    repository("examples/plugins")
        .join(name)
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn install_list_info_disable_enable_remove() {
    let home = Home::new();
    assert!(
        home.ok(&["list"])
            .starts_with("no plugins are installed in ")
    );
    let installed = home.ok(&["install", &example("order-id")]);
    assert!(
        installed.starts_with("installed order-id 0.1.0 (extractor) in "),
        "{installed}"
    );
    assert!(home.plugins().join("order-id/.compiled").exists());
    let again = home.ok(&["install", &example("order-id")]);
    assert!(
        again.ends_with(", in place of the same version\n"),
        "{again}"
    );
    assert!(
        home.ok(&["list"])
            .starts_with("order-id  0.1.0     extractor  ")
    );
    let info = home.ok(&["info", "order-id"]);
    assert!(
        info.contains("state        enabled\n") && info.contains("component    order_id.wasm ("),
        "{info}"
    );
    assert_eq!(home.ok(&["disable", "order-id"]), "order-id is disabled\n");
    assert_eq!(
        home.ok(&["disable", "order-id"]),
        "order-id was disabled already\n"
    );
    assert!(home.ok(&["list"]).ends_with("  (disabled)\n"));
    assert!(
        home.ok(&["install", &example("order-id")])
            .contains("it stays disabled")
    );
    assert_eq!(home.ok(&["enable", "order-id"]), "order-id is enabled\n");
    assert_eq!(home.ok(&["remove", "order-id"]), "removed order-id\n");
    assert!(!home.plugins().join("order-id").exists());
}

#[test]
fn json_has_all_that_the_text_has() {
    let home = Home::with_examples();
    home.ok(&["disable", "order-check"]);
    let list = home.json(&["list", "--json"]);
    assert_eq!(list[0]["name"], "order-check");
    assert_eq!(
        (&list[0]["enabled"], &list[1]["enabled"]),
        (&false.into(), &true.into())
    );
    let info = home.json(&["info", "order-id", "--json"]);
    assert_eq!(info, list[1]);
    for key in [
        "version",
        "kind",
        "description",
        "directory",
        "entry",
        "component_bytes",
        "reads",
        "config",
    ] {
        assert!(!info[key].is_null(), "{key}: {info:#}");
    }
    fs::write(home.plugins().join("order-id/plugin.toml"), "").unwrap();
    let list = home.json(&["list", "--json"]);
    assert!(
        list[1]["error"]
            .as_str()
            .unwrap()
            .contains("missing field `plugin`"),
        "{list:#}"
    );
}

#[test]
fn a_name_that_is_not_installed_is_refused_with_the_nearest() {
    let home = Home::with_examples();
    for command in ["info", "remove", "enable", "disable", "call", "bench"] {
        let message = home.refused(&[command, "order-id2"]);
        assert_eq!(
            message,
            "error: no plugin called \"order-id2\" is installed in ~/.loadr/plugins; did you mean `order-id`?\n"
        );
    }
    assert!(
        home.refused(&["info", "zzz"])
            .ends_with("; `loadr-fast plugin list` shows what is\n")
    );
    fs::create_dir(home.0.path().join("local")).unwrap();
    assert!(
        home.refused(&["call", "local"])
            .ends_with("; for the file or directory here write ./local\n")
    );
    home.ok(&["disable", "order-id"]);
    assert!(
        home.refused(&["call", "order-id"])
            .contains("`loadr-fast plugin enable order-id`")
    );
    let message = home.refused(&["install", "gone.wasm"]);
    assert_eq!(
        message,
        "error: gone.wasm: cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn the_directory_is_named_by_flag_or_environment() {
    let home = Home::new();
    let (flag, variable) = (home.0.path().join("flag"), home.0.path().join("variable"));
    home.ok(&[
        "install",
        &example("order-id"),
        "--plugins-dir",
        flag.to_str().unwrap(),
    ]);
    assert!(flag.join("order-id/plugin.toml").exists());
    let output = home
        .command()
        .env("LOADR_PLUGINS_DIR", &variable)
        .args(["plugin", "install", &example("order-id")])
        .output()
        .unwrap();
    assert_eq!(said(&output).code, 0);
    assert!(variable.join("order-id/plugin.toml").exists() && !home.plugins().exists());
    let output = loadr()
        .env_clear()
        .args(["plugin", "list"])
        .output()
        .unwrap();
    assert!(
        said(&output)
            .stderr
            .contains("neither HOME nor LOADR_PLUGINS_DIR is set; name one with --plugins-dir")
    );
}

#[test]
fn a_call_prints_the_value_and_says_by_its_exit_code_whether_there_was_one() {
    let home = Home::with_examples();
    let body = home.write("body", "x id=42;");
    let config = r#"{"left": "id=", "right": ";"}"#;
    let found = home.plugin(&["call", "order-id", "--body", &body, "--config", config]);
    assert_eq!(
        (found.code, found.stdout.as_str()),
        (0, "42\n"),
        "{}",
        found.stderr
    );
    let by_path = home.plugin(&[
        "call",
        &example("order-id"),
        "--body",
        &body,
        "--config",
        config,
        "--json",
    ]);
    let json: Value = serde_json::from_str(&by_path.stdout).unwrap();
    assert_eq!(
        (&json["value"], &json["as"]),
        (&"42".into(), &"extractor".into()),
        "{json:#}"
    );
    assert!(json["duration_us"].as_f64().unwrap() > 0.0);
    let none = home.plugin(&["call", "order-id", "--config", config]);
    assert_eq!(
        (none.code, none.stdout.as_str(), none.stderr.as_str()),
        (3, "", "no value found\n")
    );
    let none = home.plugin(&["call", "order-id", "--config", config, "--json"]);
    let json: Value = serde_json::from_str(&none.stdout).unwrap();
    assert!(none.code == 3 && json["value"].is_null());
}

#[test]
fn a_call_prints_the_verdict() {
    let home = Home::with_examples();
    let failed = home.plugin(&[
        "call",
        "order-check",
        "--status",
        "500",
        "--duration-ms",
        "12.5",
        "--header",
        "A: b",
    ]);
    assert_eq!(failed.code, 3, "{}", failed.stderr);
    assert!(failed.stdout.starts_with("fail: "), "{}", failed.stdout);
    let json = home.plugin(&["call", "order-check", "--status", "500", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["verdict"]["pass"], false);
    assert!(
        home.refused(&["call", "order-check", "--as", "extractor"])
            .contains("order-check is no extractor")
    );
    for bad in [
        &["--config", "[1]"][..],
        &["--header", "no colon"],
        &["--status", "9"],
        &["--as", "poet"],
    ] {
        let said = home.plugin(&[&["call", "order-check"], bad].concat());
        assert_eq!(said.code, 2, "{bad:?}: {}", said.stderr);
    }
    assert!(
        home.refused(&["call", "order-id", "--body", "gone"])
            .contains("gone: No such file")
    );
}

/// A component that prints, and that loops in `extract` where the body is empty.
fn loud(home: &Home) -> String {
    let wat = include_str!("fixtures/loud.wat");
    let path = home.0.path().join("loud.wasm");
    fs::write(&path, wat::parse_str(wat).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_call_shows_what_the_plugin_prints() {
    let home = Home::new();
    let (path, body) = (loud(&home), home.write("body", "x"));
    let said = home.plugin(&["call", &path, "--body", &body]);
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (0, "ok\n", "plugin stdout: hello\n")
    );
    let json = home.json(&["call", &path, "--body", &body, "--json"]);
    assert_eq!(
        (&json["stdout"], &json["stderr"]),
        (&"hello\n".into(), &"".into())
    );
    assert!(
        home.refused(&["call", &path])
            .starts_with("plugin stdout: hello\nerror: hostile: plugin_timeout: ")
    );
}

#[test]
fn a_call_that_is_cut_is_an_error() {
    let home = Home::new();
    let path = loud(&home);
    let message = home.refused(&["call", &path, "--call-timeout", "20ms"]);
    assert!(message.contains("plugin_timeout"), "{message}");
    let said = home.plugin(&["call", &path, "--json"]);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (said.code, &json["error"]["kind"]),
        (1, &"plugin_timeout".into())
    );
    assert!(
        home.refused(&["bench", &path, "--seconds", "0.1"])
            .contains("plugin_timeout")
    );
}

#[test]
fn a_bench_measures() {
    let home = Home::with_examples();
    let body = home.write("body", "x id=42;");
    let args = [
        "bench",
        "order-id",
        "--body",
        &body,
        "--seconds",
        "0.2",
        "--header",
        "a: b",
    ];
    let text = home.ok(&args);
    assert!(
        text.contains("ns per call") && text.contains("p99.9"),
        "{text}"
    );
    let json = home.json(&[&args[..], &["--json"]].concat());
    let ns = json["ns_per_call"].as_f64().unwrap();
    assert!(ns > 50.0 && json["calls"].as_u64().unwrap() > 0, "{json:#}");
    let percentile = |name| json["percentiles_ns"][name].as_u64().unwrap();
    assert!(percentile("p50") <= percentile("p99") && percentile("p99") <= percentile("max"));
    assert!(
        home.plugin(&["bench", "order-id", "--seconds", "0"])
            .stderr
            .contains("0.01")
    );
}

#[test]
fn every_command_shows_an_example() {
    let home = Home::new();
    for command in [
        "install", "list", "info", "remove", "enable", "disable", "call", "bench",
    ] {
        let help = home.ok(&[command, "--help"]);
        assert!(
            help.contains(&format!("loadr-fast plugin {command}")) && help.contains("Example"),
            "{help}"
        );
    }
}

fn plan_with(home: &Home, plugins: &str) -> PathBuf {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: per-vu-iterations\n    vus: 1\n    iterations: 3",
        "      - request: { url: /, extract: [{ type: plugin, name: x, plugin: order-id, default: none }] }\n",
    );
    std::mem::forget(target);
    Path::new(&home.write("plan.yaml", &format!("plugins: [{plugins}]\n{text}"))).to_owned()
}

fn run(home: &Home, plugins: &str) -> (i32, String) {
    let run = run_file(
        &plan_with(home, plugins),
        &["--plugins-dir", home.plugins().to_str().unwrap()],
    );
    (run.code, run.stderr)
}

#[test]
fn a_plan_uses_an_installed_plugin_by_its_name() {
    let home = Home::with_examples();
    let (code, stderr) = run(&home, "{ name: order-id }");
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_plugin_that_a_plan_cannot_use_is_located() {
    let home = Home::with_examples();
    fs::rename(
        home.plugins().join("order-id"),
        home.plugins().join("order-ib"),
    )
    .unwrap();
    let (code, stderr) = run(&home, "{ name: order-id }");
    assert_eq!(code, 1);
    for part in [
        "plan.yaml:1:",
        "plugin `order-id` is not installed in ",
        "did you mean `order-ib`?",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let home = Home::with_examples();
    home.ok(&["disable", "order-id"]);
    let (code, stderr) = run(&home, "{ name: order-id }");
    assert_eq!(code, 1);
    for part in [
        "plan.yaml:1:",
        "plugin `order-id` is disabled",
        "help: enable it with `loadr-fast plugin enable order-id`",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let (code, stderr) = run(&home, "{ name: order-id }, { name: order-id }");
    assert_eq!(code, 1);
    assert!(
        stderr.contains("order-id") && stderr.contains("plan.yaml:1:"),
        "{stderr}"
    );
    let home = Home::new();
    let (_, stderr) = run(&home, "{ name: order-id }");
    assert!(
        stderr.contains("help: install it with `loadr-fast plugin install PATH`"),
        "{stderr}"
    );
}
