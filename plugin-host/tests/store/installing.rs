//! What installing, listing, disabling and removing do when all is well, and what is refused.

use std::fs;
use std::os::unix::fs::symlink;

use loadr_plugin_host::{Kind, StoreError};

use crate::guest::Guest;
use crate::{HOST, Place, component, manifest, works};

#[test]
fn a_package_is_installed_with_what_it_needs_and_no_more() {
    let place = Place::new();
    let package = place.package("package", "1.0.0");
    place.write("package/README.md", b"# Hostile");
    place.write("package/LICENSE-MIT", b"MIT");
    place.write("package/src/lib.rs", b"fn main() {}");
    place.write("package/.compiled", b"not ours");
    place.write("package/.disabled", b"");
    let done = place.install(&package).unwrap();
    assert_eq!(
        (done.plugin.name.as_str(), done.replaced, done.note),
        ("hostile", None, None)
    );
    assert!(done.plugin.enabled);
    assert_eq!(place.listing(""), [".lock", "hostile"]);
    assert_eq!(
        place.listing("hostile"),
        [
            ".compiled",
            "LICENSE-MIT",
            "README.md",
            "p.wasm",
            "plugin.toml"
        ]
    );
    assert_eq!(works(&place.store()), "1.0.0");
}

#[test]
fn an_entry_in_a_folder_keeps_its_place() {
    let place = Place::new();
    let package = place.package("package", "1.0.0");
    place.write("package/target/release/q.wasm", &component("1.0.0"));
    let text = manifest("1.0.0").replace("p.wasm", "./target/release/q.wasm");
    place.write("package/plugin.toml", text.as_bytes());
    place.install(&package).unwrap();
    assert_eq!(
        place.listing("hostile"),
        [".compiled", "plugin.toml", "target"]
    );
    assert_eq!(works(&place.store()), "1.0.0");
}

#[test]
fn a_bare_component_gets_a_manifest_from_describe() {
    let place = Place::new();
    let source = place.write("x.bin", &component("1.0.0"));
    let done = place.install(&source).unwrap();
    assert_eq!(
        (done.plugin.kind, done.plugin.description.as_str()),
        (Kind::Extractor, "a test")
    );
    assert_eq!(
        place.listing("hostile"),
        [".compiled", "plugin.toml", "plugin.wasm"]
    );
    assert!(!place.store().load(&HOST, "hostile").unwrap().was_compiled());
    assert_eq!(works(&place.store()), "1.0.0");
}

#[test]
fn a_reinstall_replaces_and_says_what() {
    let place = Place::new();
    place.install(&place.package("one", "1.0.0")).unwrap();
    place.write("plugins/hostile/left-over", b"");
    let done = place.install(&place.package("two", "2.0.0")).unwrap();
    assert_eq!(
        (done.replaced.as_deref(), done.plugin.version.as_str()),
        (Some("1.0.0"), "2.0.0")
    );
    assert_eq!(place.listing(""), [".lock", "hostile"]);
    assert_eq!(
        place.listing("hostile"),
        [".compiled", "p.wasm", "plugin.toml"]
    );
    assert_eq!(works(&place.store()), "2.0.0");
}

#[test]
fn a_disabled_plugin_cannot_be_used_and_stays_so_over_a_reinstall() {
    let place = Place::new();
    let store = place.store();
    place.install(&place.package("one", "1.0.0")).unwrap();
    assert!(store.disable("hostile").unwrap());
    assert!(!store.disable("hostile").unwrap());
    let error = store.load(&HOST, "hostile").unwrap_err();
    assert!(matches!(&error, StoreError::Disabled(name) if name == "hostile"));
    assert_eq!(
        error.to_string(),
        "plugin \"hostile\" is disabled; `loadr-fast plugin enable hostile` enables it"
    );
    let done = place.install(&place.package("two", "2.0.0")).unwrap();
    assert!(!done.plugin.enabled && !store.info("hostile").unwrap().enabled);
    assert!(store.enable("hostile").unwrap());
    assert!(!store.enable("hostile").unwrap());
    assert_eq!(works(&store), "2.0.0");
}

#[test]
fn a_removed_plugin_is_gone_with_its_marker() {
    let place = Place::new();
    let store = place.store();
    let package = place.package("one", "1.0.0");
    place.install(&package).unwrap();
    store.disable("hostile").unwrap();
    store.remove("hostile").unwrap();
    assert_eq!(place.listing(""), [".lock"]);
    assert!(matches!(
        store.remove("hostile"),
        Err(StoreError::NotInstalled { .. })
    ));
    assert!(place.install(&package).unwrap().plugin.enabled);
}

#[test]
fn a_name_that_is_not_installed_comes_with_those_that_are() {
    let place = Place::new();
    place.install(&place.package("one", "1.0.0")).unwrap();
    for name in [
        "hostil",
        "../plugins/hostile",
        "",
        ".",
        "..",
        ".lock",
        "hostile/",
    ] {
        match place.store().load(&HOST, name) {
            Err(StoreError::NotInstalled { installed, .. }) => assert_eq!(installed, ["hostile"]),
            other => panic!("{name}: {other:?}"),
        }
        assert!(matches!(
            place.store().remove(name),
            Err(StoreError::NotInstalled { .. })
        ));
    }
    assert_eq!(works(&place.store()), "1.0.0");
}

#[test]
fn a_list_shows_what_is_broken_and_goes_on() {
    let place = Place::new();
    assert!(place.store().list().unwrap().is_empty());
    place.install(&place.package("one", "1.0.0")).unwrap();
    place.write("plugins/broken/plugin.toml", b"[plugin]\n");
    place.write("plugins/copied/plugin.toml", manifest("1.0.0").as_bytes());
    place.write("plugins/file", b"");
    let listed = place.store().list().unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|l| {
            let plugin = l.plugin.as_ref();
            (
                l.name.as_str(),
                plugin
                    .map(|p| p.version.clone())
                    .map_err(|e| e.message().to_owned()),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("broken", Err("line 1: missing field `name`".into())),
            ("copied", Err("holds a plugin called \"hostile\"; install that one instead of copying it here".into())),
            ("hostile", Ok("1.0.0".into())),
        ]
    );
}

/// Tries to install over version 1.0.0; the message, without the place, once it is sure that nothing changed.
fn refused(prepare: impl FnOnce(&Place) -> std::path::PathBuf) -> String {
    let place = Place::new();
    place.install(&place.package("good", "1.0.0")).unwrap();
    let before = place.listing("hostile");
    let source = prepare(&place);
    let error = place.install(&source).unwrap_err();
    assert_eq!(place.listing(""), [".lock", "hostile"], "{error}");
    assert_eq!(place.listing("hostile"), before);
    assert_eq!(works(&place.store()), "1.0.0");
    assert!(!error.contains(".incoming"), "{error}");
    error.replace(&format!("{}/", place.dir.path().display()), "")
}

#[test]
fn what_is_no_plugin_is_refused_by_what_it_is() {
    let text = |place: &Place| place.write("x.wasm", b"#!/bin/sh\n");
    assert_eq!(
        refused(text),
        "x.wasm: is neither a package directory, nor a .tar.gz of one, nor a WebAssembly component"
    );
    assert_eq!(
        refused(|place| place.write("x", b"")),
        "x: is empty; build the component again"
    );
    assert_eq!(
        refused(|place| place.path("gone")),
        "gone: cannot be read: No such file or directory (os error 2)"
    );
    let module = |place: &Place| place.write("x.wasm", &wat::parse_str("(module)").unwrap());
    assert!(refused(module).starts_with("x.wasm: is a core WebAssembly module, not a component;"));
    let corrupt = |place: &Place| place.write("x.wasm", &component("2.0.0")[..200]);
    assert!(refused(corrupt).starts_with("x.wasm: is not a valid component: "));
    let empty = |place: &Place| place.write("x.wasm", &wat::parse_str("(component)").unwrap());
    assert!(refused(empty).starts_with("x.wasm: exports neither loadr:plugin/extractor nor"));
    let trap = Guest {
        describe: "unreachable",
        ..Guest::default()
    };
    assert!(
        refused(|place| place.write("x.wasm", &trap.bytes()))
            .contains("x.wasm: failed while starting or in describe()")
    );
    let folder = |place: &Place| place.write("folder/x", b"").parent().unwrap().to_owned();
    assert_eq!(
        refused(folder),
        "folder: is a directory without a plugin.toml; name a package directory or a .wasm file"
    );
}

/// A package with one thing changed in its manifest.
fn refused_manifest(from: &str, to: &str) -> String {
    refused(|place| {
        let package = place.package("package", "2.0.0");
        let text = manifest("2.0.0");
        assert!(text.contains(from));
        place.write("package/plugin.toml", text.replace(from, to).as_bytes());
        package
    })
}

#[test]
fn a_package_that_does_not_hold_together_is_refused() {
    assert_eq!(
        refused_manifest("2.0.0", "2.0.1"),
        "package/plugin.toml: says version = \"2.0.1\", but the component's describe() says \"2.0.0\"; make them agree"
    );
    assert!(
        refused_manifest("entry", "net = true\nentry")
            .starts_with("package/plugin.toml: line 6: unknown field `net`")
    );
    for entry in ["../p.wasm", "/etc/passwd", "a/../p.wasm", ""] {
        assert_eq!(
            refused_manifest("p.wasm", entry),
            format!(
                "package/plugin.toml: entry {entry:?} leads out of the package; name a file inside it, such as \"plugin.wasm\""
            )
        );
    }
    assert_eq!(
        refused_manifest("p.wasm", "q.wasm"),
        "package/q.wasm: cannot be read: No such file or directory (os error 2)"
    );
    assert!(
        refused_manifest("\"wasm\"", "\"native\"").contains("native code has all the privileges")
    );
    assert!(refused_manifest("hostile", "../evil").contains("will not do"));
}

#[test]
fn links_in_a_package_are_refused() {
    let link = |what: &'static str| {
        refused(move |place| {
            let package = place.package("package", "2.0.0");
            let target = place.write(
                &format!("outside/{what}"),
                &fs::read(package.join(what)).unwrap(),
            );
            fs::remove_file(package.join(what)).unwrap();
            symlink(target, package.join(what)).unwrap();
            package
        })
    };
    for what in ["p.wasm", "plugin.toml"] {
        assert_eq!(
            link(what),
            format!(
                "package/{what}: is a symbolic link, which a package may not hold; put the file itself there"
            )
        );
    }
}
