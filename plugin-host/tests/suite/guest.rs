//! Guests written by hand in WAT, one hostile detail at a time.

use std::path::PathBuf;

use loadr_plugin_host::{CallError, Host, Instance, Limits, LoadError, Plugin};
use tempfile::TempDir;

/// A component that exports `meta` and `extractor`, assembled from pieces of WAT. As it is, `extract` returns "ok".
pub(crate) struct Guest<'a> {
    /// Component-level imports and the core functions lowered from them.
    pub(crate) imports: &'a str,
    /// The same functions as exports of an instance, for the core module to import from `wasi`.
    pub(crate) lowered: &'a str,
    /// The core module's imports of them.
    pub(crate) core_imports: &'a str,
    /// More definitions in the core module.
    pub(crate) core: &'a str,
    /// What `describe` does before it returns its record at address 16.
    pub(crate) describe: &'a str,
    /// The body of `extract`, which returns the address of an `option<string>`. At 64 lies "ok", at 80 none.
    pub(crate) extract: &'a str,
    /// The core type of `extract`.
    pub(crate) extract_core: &'a str,
    /// The component type of `extract`.
    pub(crate) extract_type: &'a str,
    /// How `extract` is lifted: the encoding and the like.
    pub(crate) lift: &'a str,
    /// The name under which the extractor is exported.
    pub(crate) extractor: &'a str,
    /// The name under which meta is exported.
    pub(crate) meta: &'a str,
    /// The kind that `describe` tells, nine letters.
    pub(crate) kind: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self {
            imports: "",
            lowered: "",
            core_imports: "",
            core: "",
            describe: "",
            extract: "i32.const 64",
            extract_core: "(param i32 i32 i32 i32 i32 i32) (result i32)",
            extract_type: r#"(param "body" (list u8)) (param "headers" (list (tuple string string)))
                (param "config" string) (result (option string))"#,
            lift: "",
            extractor: "loadr:plugin/extractor@0.1.0",
            meta: "loadr:plugin/meta@0.1.0",
            kind: "extractor",
        }
    }
}

impl Guest<'_> {
    /// The component as text. Memory: strings of `describe` at 256, its record at 16, results of `extract` at 64 and 80,
    /// arguments from 4096.
    pub(crate) fn wat(&self) -> String {
        let Self {
            imports,
            lowered,
            core_imports,
            core,
            describe,
            extract,
            extract_core,
            extract_type,
            lift,
            ..
        } = self;
        let Self {
            extractor,
            meta,
            kind,
            ..
        } = self;
        format!(
            r#"(component
              (core module $libc
                (memory (export "memory") 20)
                (global $top (mut i32) (i32.const 4096))
                (func (export "realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
                  (local $at i32)
                  (local.set $at (i32.and
                    (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                  (global.set $top (i32.add (local.get $at) (local.get $len)))
                  local.get $at)
                (func (export "reset") (global.set $top (i32.const 4096))))
              (core instance $libc (instantiate $libc))
              (alias core export $libc "memory" (core memory $memory))
              (alias core export $libc "realloc" (core func $realloc))
              {imports}
              (core instance $wasi {lowered})
              (core module $m
                (import "libc" "memory" (memory 20))
                (import "libc" "reset" (func $reset))
                {core_imports}
                (data (i32.const 16) "\00\01\00\00\07\00\00\00\10\01\00\00\05\00\00\00\20\01\00\00\09\00\00\00\30\01\00\00\06\00\00\00")
                (data (i32.const 256) "hostile")
                (data (i32.const 272) "1.0.0")
                (data (i32.const 288) "{kind}")
                (data (i32.const 304) "a test")
                (data (i32.const 64) "\01\00\00\00\60\00\00\00\02\00\00\00")
                (data (i32.const 80) "\00")
                (data (i32.const 96) "ok")
                {core}
                (func (export "describe") (result i32) {describe} i32.const 16)
                (func (export "extract") {extract_core} {extract})
                (func (export "done") (param i32) call $reset))
              (core instance $i (instantiate $m
                (with "libc" (instance $libc))
                (with "wasi" (instance $wasi))))

              (type $info (record (field "name" string) (field "version" string) (field "kind" string) (field "description" string)))
              (func $describe (result $info) (canon lift (core func $i "describe") (memory (core memory $memory))))
              (component $named
                (type $info (record (field "name" string) (field "version" string) (field "kind" string) (field "description" string)))
                (import "t" (type $t (eq $info)))
                (import "f" (func $f (result $t)))
                (export $out "info" (type $info))
                (export "describe" (func $f) (func (result $out))))
              (instance $meta (instantiate $named (with "t" (type $info)) (with "f" (func $describe))))
              (export "{meta}" (instance $meta))

              (func $extract {extract_type}
                (canon lift (core func $i "extract") (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $i "done")) {lift}))
              (instance $extractor (export "extract" (func $extract)))
              (export "{extractor}" (instance $extractor)))"#
        )
    }

    /// The component as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        wat::parse_str(self.wat()).unwrap()
    }

    /// Writes the component to a file and loads it.
    pub(crate) fn load(&self, host: &Host) -> Result<Plugin, LoadError> {
        let dir = TempDir::new().unwrap();
        host.load(&write(&dir, "hostile.wasm", &self.bytes()))
    }

    /// An instance under the usual limits.
    pub(crate) fn instance(&self, host: &Host) -> Instance {
        self.load(host)
            .unwrap()
            .instantiate(&Limits::default())
            .unwrap()
    }
}

/// A file in a directory.
pub(crate) fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// One call whose body is what a guest that behaves when told to looks at.
pub(crate) fn call(instance: &mut Instance, body: &[u8]) -> Result<Option<String>, CallError> {
    let mut out = b"left over".to_vec();
    let found = instance.extract(body, &[("content-type", "text/plain")], "{}", &mut out)?;
    let text = String::from_utf8(out).unwrap();
    assert!(found || text.is_empty(), "a value without a match: {text}");
    Ok(found.then_some(text))
}

/// What `extract` does when the body is empty; else it returns "ok". So one guest shows the attempt and the next call.
pub(crate) fn when_empty(attempt: &str) -> String {
    format!("(if (i32.eqz (local.get 1)) (then {attempt})) i32.const 64")
}
