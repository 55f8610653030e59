//! Package directories: the manifest, and how it must agree with the component.

use std::os::unix::fs::symlink;

use loadr_plugin_host::{Host, Kind, Plugin, ReadHeaders};
use tempfile::TempDir;

use crate::guest::{Guest, write};

const MANIFEST: &str = r#"[plugin]
name = "hostile"
version = "1.0.0"
kind = "extractor"
type = "wasm"
entry = "p.wasm"
"#;

fn package(manifest: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    write(&dir, "p.wasm", &Guest::default().bytes());
    write(&dir, "plugin.toml", manifest.as_bytes());
    dir
}

fn load(manifest: &str) -> Result<Plugin, String> {
    let dir = package(manifest);
    Host::new().unwrap().load(dir.path()).map_err(|error| {
        assert!(
            error
                .to_string()
                .starts_with(&dir.path().display().to_string()),
            "{error}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
        error.message().to_owned()
    })
}

#[track_caller]
fn refused(from: &str, to: &str) -> String {
    assert!(MANIFEST.contains(from));
    load(&MANIFEST.replace(from, to)).unwrap_err()
}

#[test]
fn a_package_is_what_its_manifest_says() {
    let manifest = format!(
        "{MANIFEST}description = \"says hello\"\nreads = {{ body = false, headers = [\"Location\"] }}\n\
         [config]\nleft = \"id=\"\nlimit = 3\nratio = 0.5\nnested = {{ list = [1, \"two\", true] }}\n"
    );
    let plugin = load(&manifest).unwrap();
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.kind()),
        ("hostile", "1.0.0", Kind::Extractor)
    );
    assert_eq!(plugin.description(), "says hello");
    assert!(!plugin.reads().body);
    assert_eq!(
        plugin.reads().headers,
        ReadHeaders::Only(vec!["location".into()])
    );
    assert_eq!(
        serde_json::to_string(plugin.default_config()).unwrap(),
        r#"{"left":"id=","limit":3,"nested":{"list":[1,"two",true]},"ratio":0.5}"#
    );
}

#[test]
fn a_bare_component_gets_a_manifest_from_describe() {
    let plugin = Guest::default().load(&Host::new().unwrap()).unwrap();
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.description()),
        ("hostile", "1.0.0", "a test")
    );
    assert!(plugin.default_config().is_empty());
    assert!(plugin.reads().body && plugin.reads().headers == ReadHeaders::All);
}

#[test]
fn a_directory_without_a_manifest() {
    let dir = TempDir::new().unwrap();
    let error = Host::new().unwrap().load(dir.path()).unwrap_err();
    assert_eq!(
        error.message(),
        "is a directory without a plugin.toml; name a package directory or a .wasm file"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let message = refused("entry =", "entries = 1\nentry =");
    assert_eq!(
        message,
        "line 6: unknown field `entries`, expected one of `name`, `version`, `kind`, `type`, `entry`, `description`, `reads`"
    );
    assert!(
        load(&format!("{MANIFEST}[permissions]\nnet = true\n"))
            .unwrap_err()
            .contains("unknown field `permissions`")
    );
    assert!(
        load(&format!("{MANIFEST}reads = {{ cookies = true }}\n"))
            .unwrap_err()
            .contains("unknown field `cookies`")
    );
}

#[test]
fn text_that_is_no_toml() {
    assert!(
        load("[plugin\nname = 1")
            .unwrap_err()
            .starts_with("line 1: ")
    );
    assert!(load("").unwrap_err().contains("missing field `plugin`"));
    assert_eq!(
        load(&format!("# {}\n{MANIFEST}", "x".repeat(70_000))).unwrap_err(),
        format!(
            "is too large for a manifest: {} bytes, at most 65536 are read",
            70_003 + MANIFEST.len()
        )
    );
}

#[test]
fn an_entry_outside_the_package_is_refused() {
    for entry in ["../p.wasm", "/etc/passwd", "a/../../p.wasm", ""] {
        let message = refused("p.wasm", entry);
        assert_eq!(
            message,
            format!(
                "entry {entry:?} leads out of the package; name a file inside it, such as \"plugin.wasm\""
            )
        );
    }
}

#[test]
fn an_entry_that_links_out_of_the_package_is_refused() {
    let outside = TempDir::new().unwrap();
    let target = write(&outside, "p.wasm", &Guest::default().bytes());
    let dir = package(MANIFEST);
    std::fs::remove_file(dir.path().join("p.wasm")).unwrap();
    symlink(target, dir.path().join("p.wasm")).unwrap();
    let error = Host::new().unwrap().load(dir.path()).unwrap_err();
    assert!(
        error
            .message()
            .starts_with("entry \"p.wasm\" leads out of the package"),
        "{error}"
    );
}

#[test]
fn a_link_inside_the_package_is_fine() {
    let dir = package(&MANIFEST.replace("p.wasm", "./link.wasm"));
    symlink("p.wasm", dir.path().join("link.wasm")).unwrap();
    assert!(Host::new().unwrap().load(dir.path()).is_ok());
}

#[test]
fn an_entry_that_is_not_there_or_no_file() {
    assert_eq!(
        refused("p.wasm", "q.wasm"),
        "entry \"q.wasm\" cannot be read: No such file or directory (os error 2)"
    );
    assert!(refused("p.wasm", ".").contains("is not a regular file"));
}

#[test]
fn kinds_and_types_of_the_wider_ecosystem_are_refused_with_the_reason() {
    for kind in ["protocol", "output", "service"] {
        let message = refused("\"extractor\"", &format!("\"{kind}\""));
        assert!(
            message.starts_with(&format!(
                "kind \"{kind}\" is not supported: such plugins are native code"
            )),
            "{message}"
        );
    }
    assert!(
        refused("\"wasm\"", "\"native\"")
            .starts_with("type \"native\" is not supported: native code has all the privileges")
    );
    assert_eq!(
        refused("\"wasm\"", "\"jar\""),
        "type \"jar\" is unknown; write type = \"wasm\""
    );
    assert_eq!(
        refused("\"extractor\"", "\"x\""),
        "kind \"x\" is unknown; write \"extractor\" or \"assertion\""
    );
}

#[test]
fn a_manifest_that_disagrees_with_its_component() {
    assert_eq!(
        refused("\"hostile\"", "\"friendly\""),
        "says name = \"friendly\", but the component's describe() says \"hostile\"; make them agree"
    );
    assert_eq!(
        refused("1.0.0", "1.0.1"),
        "says version = \"1.0.1\", but the component's describe() says \"1.0.0\"; make them agree"
    );
    assert_eq!(
        refused("\"extractor\"", "\"assertion\""),
        "says kind = \"assertion\", but the component's describe() says \"extractor\"; make them agree"
    );
}

#[test]
fn names_that_could_mean_something_to_a_path() {
    for name in ["", "..", "a/b", "-rf", "ä", "a b"] {
        let message = refused("\"hostile\"", &format!("{name:?}"));
        assert!(
            message.starts_with(&format!("the plugin's name {name:?} will not do")),
            "{message}"
        );
    }
}

#[test]
fn config_that_json_cannot_say() {
    assert_eq!(
        load(&format!("{MANIFEST}[config]\nx = nan\n")).unwrap_err(),
        "config.x: NaN cannot be written in JSON, which the plugin is given"
    );
    assert!(
        load(&format!("{MANIFEST}[config]\na.b = 2020-01-01\n"))
            .unwrap_err()
            .starts_with("config.a.b: a date")
    );
    let deep = format!(
        "{MANIFEST}[config]\nx = {}{}\n",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert!(load(&deep).is_err());
}

#[test]
fn only_what_is_read_is_handed_over() {
    let host = Host::new().unwrap();
    // Finds a value unless there is a body, and unless there is a number of headers other than one.
    let extract = "(select (i32.const 64) (i32.const 80)
        (i32.and (i32.eqz (local.get 1)) (i32.eq (local.get 3) (i32.const 1))))";
    let dir = package(&format!(
        "{MANIFEST}reads = {{ body = false, headers = [\"location\"] }}\n"
    ));
    write(
        &dir,
        "p.wasm",
        &Guest {
            extract,
            ..Guest::default()
        }
        .bytes(),
    );
    let mut instance = host
        .load(dir.path())
        .unwrap()
        .instantiate(&loadr_plugin_host::Limits::default())
        .unwrap();
    let mut out = Vec::new();
    let headers = [("server", "x"), ("location", "/a"), ("date", "today")];
    assert!(
        instance
            .extract(b"a body", &headers, "{}", &mut out)
            .unwrap()
    );
    assert!(
        instance
            .extract(b"a body", &headers[1..2], "{}", &mut out)
            .unwrap()
    );
    assert!(
        !instance
            .extract(b"a body", &headers[..1], "{}", &mut out)
            .unwrap()
    );
    let many = vec![("location", "/a"); 100];
    let many: Vec<_> = many.into_iter().chain([("server", "x")]).collect();
    assert!(!instance.extract(b"a body", &many, "{}", &mut out).unwrap());
}
