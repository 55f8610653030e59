//! Files that are no plugin: one sentence each, with the file's name and what to do.

use loadr_plugin_host::Host;
use tempfile::TempDir;

use crate::guest::{Guest, write};

/// What loading these bytes says, the file's name in front taken off.
fn message(bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "p.wasm", bytes);
    let error = Host::new().unwrap().load(&path).unwrap_err();
    let text = error.to_string();
    let prefix = format!("{}: ", path.display());
    assert!(text.starts_with(&prefix), "{text}");
    assert!(!text.contains('\n'), "{text}");
    text[prefix.len()..].to_owned()
}

fn message_of(guest: &Guest<'_>) -> String {
    message(&guest.bytes())
}

#[test]
fn a_missing_file() {
    let error = Host::new()
        .unwrap()
        .load("/nowhere/p.wasm".as_ref())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/p.wasm: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn an_empty_file() {
    assert_eq!(message(b""), "is empty; build the component again");
}

#[test]
fn a_file_of_something_else() {
    let expected = "is not a WebAssembly component; name the .wasm file that the build made";
    assert_eq!(message(b"\x7fELF and so on"), expected);
    assert_eq!(message(b"(component)"), expected);
    assert_eq!(message(b"\0asm"), expected);
}

#[test]
fn a_core_module() {
    assert_eq!(
        message(&wat::parse_str("(module)").unwrap()),
        "is a core WebAssembly module, not a component; build it for the target wasm32-wasip2, or turn it into a component \
         with `wasm-tools component new`"
    );
}

#[test]
fn a_component_cut_short_or_altered_never_panics_and_says_so() {
    let whole = Guest::default().bytes();
    for cut in [9, 50, whole.len() / 2, whole.len() - 1] {
        let message = message(&whole[..cut]);
        assert!(
            message.contains("is not a valid component") || message.contains("exports neither"),
            "cut at {cut}: {message}"
        );
    }
    let host = Host::new().unwrap();
    let dir = TempDir::new().unwrap();
    for at in (8..whole.len()).step_by(7) {
        let mut altered = whole.clone();
        altered[at] ^= 0x55;
        let _ = host.load(&write(&dir, "p.wasm", &altered));
    }
}

#[test]
fn a_file_too_large() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("p.wasm");
    std::fs::File::create(&path)
        .unwrap()
        .set_len((128 << 20) + 1)
        .unwrap();
    let error = Host::new().unwrap().load(&path).unwrap_err();
    assert_eq!(
        error.message(),
        "is too large for a component: 134217729 bytes, at most 134217728 are read"
    );
}

#[test]
fn a_device() {
    let error = Host::new().unwrap().load("/dev/zero".as_ref()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/dev/zero: is not a regular file; name a component"
    );
}

#[test]
fn a_component_of_another_world() {
    assert_eq!(
        message(&wat::parse_str("(component)").unwrap()),
        "exports neither loadr:plugin/extractor nor loadr:plugin/assertion (it exports nothing); build it for the world \
         loadr-plugin or loadr-assertion-plugin of loadr.wit"
    );
    assert_eq!(
        message_of(&Guest {
            extractor: "acme:other/thing@1.0.0",
            ..Guest::default()
        }),
        "exports neither loadr:plugin/extractor nor loadr:plugin/assertion (it exports loadr:plugin/meta@0.1.0, \
         acme:other/thing@1.0.0); build it for the world loadr-plugin or loadr-assertion-plugin of loadr.wit"
    );
}

#[test]
fn a_component_without_meta() {
    assert_eq!(
        message_of(&Guest {
            meta: "acme:other/meta",
            ..Guest::default()
        }),
        "does not export loadr:plugin/meta; build it for the world loadr-plugin or loadr-assertion-plugin of loadr.wit, \
         which have it"
    );
}

#[test]
fn another_version_of_the_interface() {
    assert_eq!(
        message_of(&Guest {
            extractor: "loadr:plugin/extractor@0.2.0",
            ..Guest::default()
        }),
        "exports loadr:plugin/extractor@0.2.0, a version this host does not speak; build it against loadr:plugin@0.1.0"
    );
}

#[test]
fn every_0_1_version_and_none_is_accepted() {
    let host = Host::new().unwrap();
    for extractor in [
        "loadr:plugin/extractor",
        "loadr:plugin/extractor@0.1.0",
        "loadr:plugin/extractor@0.1.7",
    ] {
        let plugin = Guest {
            extractor,
            ..Guest::default()
        }
        .load(&host)
        .unwrap();
        assert!(plugin.exports().extractor && !plugin.exports().assertion);
    }
}

#[test]
fn a_function_of_the_wrong_type() {
    let guest = Guest {
        extract_core: "(param i32 i32) (result i32)",
        extract_type: r#"(param "body" string) (result (option string))"#,
        ..Guest::default()
    };
    assert_eq!(
        message_of(&guest),
        "loadr:plugin/extractor@0.1.0: extract has the wrong type: expected func(list<u8>, list<tuple<string, string>>, \
         string) -> option<string>, found func(string) -> option<string>; build it against loadr.wit as it is in \
         plugin-host/wit"
    );
}

#[test]
fn an_interface_without_its_function() {
    let guest = Guest::default().wat().replace(
        r#"(export "extract" (func $extract))"#,
        r#"(export "take" (func $extract))"#,
    );
    let message = message(&wat::parse_str(guest).unwrap());
    assert!(
        message.contains("extract has the wrong type: expected func(list<u8>"),
        "{message}"
    );
    assert!(message.contains("found no such function"), "{message}");
}

#[test]
fn an_import_that_is_not_wasi() {
    assert_eq!(
        message_of(&Guest {
            imports: r#"(import "acme:db/query" (instance (export "run" (func))))"#,
            ..Guest::default()
        }),
        "imports \"acme:db/query\", which loadr-fast does not provide; a plugin may import interfaces of WASI 0.2 (wasi:…) \
         and nothing else"
    );
    assert!(
        message_of(&Guest {
            imports: r#"(import "run" (func))"#,
            ..Guest::default()
        })
        .starts_with("imports \"run\"")
    );
}

#[test]
fn a_wasi_function_of_the_wrong_type() {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result string)))))"#;
    let message = message_of(&Guest {
        imports,
        ..Guest::default()
    });
    assert!(message.starts_with("cannot be linked: "), "{message}");
    assert!(
        message.contains("now") && message.ends_with("; build it against WASI 0.2"),
        "{message}"
    );
}

#[test]
fn a_kind_that_is_not_supported() {
    // As long as "extractor", so that the hand-written guest need not change.
    let message = message_of(&Guest {
        kind: "converter",
        ..Guest::default()
    });
    assert_eq!(
        message,
        "describe(): kind \"converter\" is unknown; write \"extractor\" or \"assertion\""
    );
    let message = message_of(&Guest {
        kind: "assertion",
        ..Guest::default()
    });
    assert_eq!(
        message,
        "calls itself kind \"assertion\", but does not export loadr:plugin/assertion; correct the kind or export it"
    );
}
