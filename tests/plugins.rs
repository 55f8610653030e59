//! Plugins in a run: what they remember, how they are configured, what their failures do, and what is counted.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;

use common::{Run, repository, run_plan, target};
use tempfile::TempDir;

/// A guest by hand, from the one whose functions do nothing. `extract` and `check` are given the place of body (locals 0
/// and 1 or 1 and 2) and config (4 and 5, or 6 and 7) and answer with the address of their result; none lies at 80.
fn guest(function: &str) -> Vec<u8> {
    let empty = std::fs::read_to_string(repository("plugin-host/benches/empty.wat")).unwrap();
    let start = empty.find("(func (export \"extract\")").unwrap();
    let end = start + empty[start..].find("i32.const 80))").unwrap() + "i32.const 80)".len();
    wat::parse_str(format!("{}{function}{}", &empty[..start], &empty[end..])).unwrap()
}

/// An extractor that runs this code with its allocator reset.
fn extractor(code: &str) -> Vec<u8> {
    guest(&format!(
        "(global $calls (mut i32) (i32.const 0))
         (func (export \"extract\") (param i32 i32 i32 i32 i32 i32) (result i32)
           (global.set $top (i32.const 4096))
           (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
           {code})"
    ))
}

/// A `some` of `len` bytes at `at`.
fn some(at: &str, len: &str) -> String {
    format!(
        "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) {at})
         (i32.store (i32.const 520) {len}) i32.const 512"
    )
}

/// Finds something on an instance's first call and nothing later.
fn finds_once() -> Vec<u8> {
    extractor(&format!(
        "(if (i32.gt_u (global.get $calls) (i32.const 1)) (then (return (i32.const 80)))) {}",
        some("(i32.const 256)", "(i32.const 5)")
    ))
}

struct Plan {
    folder: TempDir,
    plugins: String,
}

impl Plan {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            plugins: String::new(),
        }
    }

    /// Lists a plugin; `more` are more keys of its entry.
    fn plugin(mut self, name: &str, bytes: &[u8], more: &str) -> Self {
        let path = self.folder.path().join(format!("{name}.wasm"));
        std::fs::write(&path, bytes).unwrap();
        self.list(name, &path, more);
        self
    }

    fn list(&mut self, name: &str, path: &Path, more: &str) {
        self.plugins += &format!(
            "  - {{ name: {name}, path: \"{}\"{more} }}\n",
            path.display()
        );
    }

    fn run(&self, executor: &str, request: &str, flags: &[&str]) -> Run {
        let target = target();
        let plan = format!(
            "defaults: {{ http: {{ base_url: \"http://{}\" }} }}\nplugins:\n{}scenarios:\n  s:\n    {executor}\n    \
             flow:\n      - request: {{ {request} }}\n",
            target.address(),
            self.plugins
        );
        let run = run_plan(&plan, flags);
        target.stop();
        run
    }
}

const EXTRACT: &str = "url: /, extract: [{ type: plugin, name: id, plugin: p }]";
const FOUR_USERS: &str = "executor: per-vu-iterations\n    vus: 4\n    iterations: 5";
const ONE_USER: &str = "executor: per-vu-iterations\n    vus: 1\n    iterations: 3";

#[test]
fn an_instance_is_shared_by_a_shard_or_a_users_own_or_a_calls() {
    let found = |instance: &str| {
        let more = format!(", instance: {instance}");
        let plan = Plan::new().plugin("p", &finds_once(), &more);
        let run = plan.run(FOUR_USERS, EXTRACT, &["--cores", "0-0"]);
        assert_eq!(run.count("plugin_calls"), 20, "{}", run.stderr);
        assert_eq!(run.count("plugin_errors"), 0);
        assert_eq!(run.failed(), run.errors("extract"));
        20 - run.failed()
    };
    assert_eq!(found("shared"), 1);
    assert_eq!(found("vu"), 4);
    assert_eq!(found("call"), 20);
}

#[test]
fn users_of_two_shards_have_their_own_instances_too() {
    let plan = Plan::new()
        .plugin("p", &finds_once(), ", instance: vu")
        .plugin("q", &finds_once(), ", instance: shared");
    let flags = ["--cores", "2", "--oversubscribe"];
    let request = "url: /, extract: [{ type: plugin, name: a, plugin: p }]";
    let run = plan.run(FOUR_USERS, request, &flags);
    assert_eq!(run.failed(), 20 - 4, "{}", run.stderr);
    let request = "url: /, extract: [{ type: plugin, name: a, plugin: q }]";
    let run = plan.run(FOUR_USERS, request, &flags);
    assert_eq!(run.failed(), 20 - 2, "{}", run.stderr);
}

#[test]
fn an_instance_is_replaced_after_a_trap_or_a_timeout_whoever_has_it() {
    // The third call of an instance never ends well.
    for (end, kind) in [
        ("unreachable", "plugin_trap"),
        ("(loop $l (br $l))", "plugin_timeout"),
    ] {
        let code = format!(
            "(if (i32.eq (global.get $calls) (i32.const 3)) (then {end})) {}",
            some("(i32.const 256)", "(i32.const 5)")
        );
        for (instance, failures) in [("shared", 3), ("vu", 3), ("call", 0)] {
            let more = format!(", instance: {instance}, limits: {{ call_timeout: 5ms }}");
            let plan = Plan::new().plugin("p", &extractor(&code), &more);
            let executor = "executor: per-vu-iterations\n    vus: 1\n    iterations: 10";
            let run = plan.run(executor, EXTRACT, &["--cores", "0-0"]);
            assert_eq!(run.errors(kind), failures, "{instance} {}", run.stderr);
            assert_eq!(run.count("plugin_errors"), failures);
            assert_eq!(run.count("plugin_calls"), 10);
        }
    }
}

#[test]
fn more_users_than_a_pool_can_hold_are_refused_before_the_run() {
    let plan = Plan::new().plugin("p", &finds_once(), ", instance: vu");
    let executor = "executor: per-vu-iterations\n    vus: 20000\n    iterations: 1";
    let run = plan.run(executor, EXTRACT, &["--cores", "0-0"]);
    assert_ne!(run.code, 0);
    assert!(
        run.stderr
            .contains("plugin `p`: 20000 instances of it do not fit"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("instance: shared"), "{}", run.stderr);
}

#[test]
fn a_default_stands_for_nothing_found_and_does_not_hide_a_failure() {
    let request = "url: /, extract: [{ type: plugin, name: id, plugin: p, default: none }]";
    let run = Plan::new()
        .plugin("p", &extractor("i32.const 80"), "")
        .run(ONE_USER, request, &[]);
    assert_eq!(run.failed(), 0, "{}", run.stderr);
    let run = Plan::new()
        .plugin("p", &extractor("unreachable"), "")
        .run(ONE_USER, request, &[]);
    assert_eq!((run.failed(), run.errors("plugin_trap")), (3, 3));
}

/// A package whose assertion fails with its configuration as the detail.
fn tells_its_config(folder: &Path) {
    let text = std::fs::read_to_string(repository("plugin-host/benches/empty.wat")).unwrap();
    let text = text
        .replace("\"extractor\"", "\"assertion\"")
        .replace(
            "(func (export \"extract\") (param i32 i32 i32 i32 i32 i32) (result i32)",
            "(func (export \"extract\") (param i64 i32 i32 i32 i32 f64 i32 i32) (result i32)
              (i32.store (i32.const 516) (local.get 6)) (i32.store (i32.const 520) (local.get 7))",
        )
        .replace("i32.const 80))", "i32.const 512))");
    let end = text.find("(func $extract (param").unwrap();
    let export = r#"(component $check
        (type $verdict (record (field "pass" bool) (field "detail" string)))
        (import "t" (type $t (eq $verdict)))
        (import "f" (func $f (param "status" s64) (param "body" (list u8)) (param "headers" (list (tuple string string)))
          (param "duration-ms" f64) (param "config" string) (result $t)))
        (export $out "verdict" (type $verdict))
        (export "check" (func $f) (func (param "status" s64) (param "body" (list u8))
          (param "headers" (list (tuple string string))) (param "duration-ms" f64) (param "config" string) (result $out))))
      (type $verdict (record (field "pass" bool) (field "detail" string)))
      (func $f (param "status" s64) (param "body" (list u8)) (param "headers" (list (tuple string string)))
        (param "duration-ms" f64) (param "config" string) (result $verdict)
        (canon lift (core func $i "extract") (memory $memory) (realloc (core func $i "realloc"))))
      (instance $assertion (instantiate $check (with "t" (type $verdict)) (with "f" (func $f))))
      (export "loadr:plugin/assertion@0.1.0" (instance $assertion)))"#;
    let bytes = wat::parse_str(format!("{}{export}", &text[..end])).unwrap();
    std::fs::write(folder.join("c.wasm"), bytes).unwrap();
    let manifest = "[plugin]\nname = \"empty\"\nversion = \"1.0.0\"\nkind = \"assertion\"\ntype = \"wasm\"\n\
         entry = \"c.wasm\"\n[config]\nlowest = \"manifest\"\nmiddle = \"manifest\"\nhighest = \"manifest\"\n";
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
}

#[test]
fn the_steps_config_lies_over_the_plans_and_that_over_the_manifests() {
    let mut plan = Plan::new();
    let folder = plan.folder.path().to_owned();
    tells_its_config(&folder);
    let config = ", config: { middle: plan, highest: plan }";
    plan.list("p", &folder, config);
    let request =
        "url: /, assert: [{ type: plugin, plugin: p, name: told, config: { highest: step } }]";
    let run = plan.run(ONE_USER, request, &[]);
    assert_eq!(run.errors("assert"), 3, "{}", run.stderr);
    let errors = run.summary["errors"].to_string().replace('\\', "");
    assert!(
        errors.contains(r#"told ({"highest":"step","lowest":"manifest","middle":"plan"})"#),
        "{errors}"
    );
}

#[test]
fn a_failed_plugin_assert_does_what_its_step_asks() {
    let iterations = |on_failure: &str| {
        let mut plan = Plan::new();
        plan.list("p", &repository("examples/plugins/order-check"), "");
        let request = format!(
            "url: /, assert: [{{ type: plugin, plugin: p, config: {{ status: 404 }}, on_failure: {on_failure} }}]"
        );
        plan.run(ONE_USER, &request, &["--cores", "0-0"])
    };
    let run = iterations("continue");
    assert_eq!((run.count("http_reqs"), run.errors("assert")), (3, 3));
    let run = iterations("abort_test");
    assert_eq!(run.count("http_reqs"), 1, "{}", run.stderr);
    assert_ne!(run.code, 0);
}

#[test]
fn a_check_by_a_plugin_counts_and_fails_no_request() {
    let mut plan = Plan::new();
    plan.list("p", &repository("examples/plugins/order-check"), "");
    let request = "url: /, checks: [{ type: plugin, plugin: p, name: c, config: { status: 404 } }]";
    let run = plan.run(ONE_USER, request, &[]);
    assert_eq!(run.failed(), 0, "{}", run.stderr);
    assert_eq!(run.metric("checks", "rate"), 0.0);
    assert_eq!(run.count("plugin_calls"), 3);
    assert!(
        run.stdout.contains("status 200, expected 404"),
        "{}",
        run.stdout
    );
}
