//! The install directory and the kept machine code, with real files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[allow(dead_code, reason = "shared with the other suite, which uses the rest")]
#[path = "../suite/guest.rs"]
mod guest;

mod archives;
mod compiled;
mod installing;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use loadr_plugin_host::{Cache, Host, Installation, Limits, Store};
use tempfile::TempDir;

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new().unwrap());

/// A directory with a store and a cache in it, and room for sources.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cache(&self) -> Cache {
        Cache::at(&self.path("cache"))
    }

    fn store(&self) -> Store {
        Store::open(&self.path("plugins"), self.cache())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A package directory.
    fn package(&self, name: &str, version: &str) -> PathBuf {
        self.write(&format!("{name}/p.wasm"), &component(version));
        self.write(&format!("{name}/plugin.toml"), manifest(version).as_bytes());
        self.path(name)
    }

    fn install(&self, source: &Path) -> Result<Installation, String> {
        self.store()
            .install(&HOST, source)
            .map_err(|error| error.to_string())
    }

    /// What is in the plugins directory, hidden files too.
    fn listing(&self, inside: &str) -> Vec<String> {
        listing(&self.path("plugins").join(inside))
    }
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// A component that calls itself "hostile", of a version like 1.0.0.
fn component(version: &str) -> Vec<u8> {
    assert_eq!(version.len(), 5);
    wat::parse_str(guest::Guest::default().wat().replace("1.0.0", version)).unwrap()
}

fn manifest(version: &str) -> String {
    format!(
        "[plugin]\nname = \"hostile\"\nversion = \"{version}\"\nkind = \"extractor\"\ntype = \"wasm\"\nentry = \"p.wasm\"\n"
    )
}

/// Loads an installed plugin and calls it.
fn works(store: &Store) -> String {
    let plugin = store.load(&HOST, "hostile").unwrap();
    // The machine is busy with other tests.
    let limits = Limits {
        call_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    let mut instance = plugin.instantiate(&limits).unwrap();
    let mut out = Vec::new();
    assert!(instance.extract(b"", &[], "{}", &mut out).unwrap());
    assert_eq!(out, b"ok");
    plugin.version().to_owned()
}
