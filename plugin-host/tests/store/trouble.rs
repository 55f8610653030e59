//! Installing when something goes wrong outside: another installation, a kill, a full disk, a directory that cannot be
//! written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use loadr_plugin_host::{Cache, Host, Store};

use crate::{HOST, Place, component, works};

/// Not a test: what the tests below run in a process of its own, which installs two versions in turn until killed.
#[test]
fn child_that_installs_forever() {
    let Some(dir) = std::env::var_os("LOADR_TEST_INSTALLS_IN") else {
        return;
    };
    let dir = PathBuf::from(dir);
    let store = Store::open(&dir.join("plugins"), Cache::at(&dir.join("cache")));
    let host = Host::new().unwrap();
    loop {
        for source in ["one", "two"] {
            store.install(&host, &dir.join(source)).unwrap();
        }
    }
}

fn child(place: &Place) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "trouble::child_that_installs_forever",
            "--nocapture",
        ])
        .env("LOADR_TEST_INSTALLS_IN", place.dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_or_the_new() {
    let place = Place::new();
    let (one, _) = (place.package("one", "1.0.0"), place.package("two", "2.0.0"));
    place.install(&one).unwrap();
    let mut left_behind = 0;
    for round in 0..40_u64 {
        let mut child = child(&place).spawn().unwrap();
        // Not before it is at work: it is when the directory changes.
        let changed = || {
            fs::metadata(place.path("plugins"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let (before, began) = (changed(), Instant::now());
        while changed() == before {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the child does nothing"
            );
            thread::sleep(Duration::from_micros(100));
        }
        // From nothing to some 20 ms, spread, with the clock for chance.
        let chance = u64::from(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .subsec_nanos(),
        );
        thread::sleep(Duration::from_micros((round * 500 + chance % 500) % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        left_behind += usize::from(place.listing("").len() > 2);
        let version = works(&place.store());
        assert!(["1.0.0", "2.0.0"].contains(&version.as_str()));
        assert!(
            !place.store().load(&HOST, "hostile").unwrap().was_compiled(),
            "its machine code is whole too"
        );
    }
    place.install(&one).unwrap();
    assert_eq!(
        place.listing(""),
        [".lock", "hostile"],
        "what {left_behind} kills left behind is cleared up"
    );
    assert_eq!(
        place.listing("hostile"),
        [".compiled", "p.wasm", "plugin.toml"]
    );
    assert!(left_behind > 0, "no kill hit an installation half-way");
}

#[test]
fn readers_see_the_old_or_the_new_while_others_install() {
    let place = Place::new();
    let (one, _) = (place.package("one", "1.0.0"), place.package("two", "2.0.0"));
    place.install(&one).unwrap();
    let mut children: Vec<_> = (0..2).map(|_| child(&place).spawn().unwrap()).collect();
    let (began, mut seen) = (Instant::now(), [0, 0]);
    while began.elapsed() < Duration::from_secs(10) && (seen[0] < 20 || seen[1] < 20) {
        let version = works(&place.store());
        seen[usize::from(version == "2.0.0")] += 1;
        assert!(place.store().info("hostile").unwrap().enabled);
    }
    for child in &mut children {
        assert!(
            child.try_wait().unwrap().is_none(),
            "an installation failed"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn installations_at_once_wait_for_each_other() {
    let place = Place::new();
    let sources: Vec<_> = (0..8)
        .map(|n| place.package(&format!("p{n}"), &format!("{n}.0.0")))
        .collect();
    let done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = sources
            .iter()
            .map(|source| {
                let place = &place;
                scope.spawn(move || place.install(source).unwrap())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    // Each replaced exactly one, but for the first: none was lost and none came between.
    let mut replaced: Vec<_> = done
        .iter()
        .filter_map(|done| done.replaced.clone())
        .collect();
    replaced.sort();
    replaced.dedup();
    assert_eq!(replaced.len(), 7);
    let last = works(&place.store());
    assert!(!replaced.contains(&last));
    assert_eq!(place.listing(""), [".lock", "hostile"]);
}

fn mount(arguments: &[&str], on: &Path) -> bool {
    let done = Command::new("mount")
        .args(arguments)
        .arg(on)
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

/// A small filesystem, gone with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(on: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(on).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], on)
            .then(|| Self(on.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_version() {
    let place = Place::new();
    let plugins = place.path("plugins");
    let Some(_mounted) = Mounted::tmpfs(&plugins, "1m") else {
        eprintln!("SKIPPED: a_full_disk_leaves_the_old_version (cannot mount a tmpfs)");
        return;
    };
    place.install(&place.package("one", "1.0.0")).unwrap();
    let two = place.package("two", "2.0.0");
    // Less and less room, until not even a directory fits.
    let mut failures = 0;
    for filler in 0..400 {
        let filler = plugins.join(format!(".filler-{filler}"));
        if fs::write(filler, [1; 4096]).is_err() {
            break;
        }
        match place.install(&two) {
            Ok(done) => assert_eq!(done.plugin.version, "2.0.0"),
            Err(error) => {
                failures += 1;
                assert!(error.contains("No space left on device"), "{error}");
                assert!(
                    error.contains("nothing was changed; free some space"),
                    "{error}"
                );
                let names = place.listing("");
                assert!(
                    names.iter().all(|name| name.starts_with(".filler")
                        || name == ".lock"
                        || name == "hostile"),
                    "{names:?}"
                );
                assert!(matches!(works(&place.store()).as_str(), "1.0.0" | "2.0.0"));
            }
        }
    }
    assert!(failures > 0);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_and_can_be_read() {
    let place = Place::new();
    let plugins = place.path("plugins");
    let root = rustix::process::geteuid().is_root();
    let mounted = if root {
        let Some(mounted) = Mounted::tmpfs(&plugins, "4m") else {
            eprintln!(
                "SKIPPED: a_directory_that_cannot_be_written_is_named_and_can_be_read (cannot mount a tmpfs)"
            );
            return;
        };
        Some(mounted)
    } else {
        None
    };
    place.install(&place.package("one", "1.0.0")).unwrap();
    if mounted.is_some() {
        assert!(mount(&["-o", "remount,ro"], &plugins));
    } else {
        fs::set_permissions(&plugins, Permissions::from_mode(0o555)).unwrap();
    }
    let reason = if root {
        "Read-only file system"
    } else {
        "Permission denied"
    };
    let error = place.install(&place.package("two", "2.0.0")).unwrap_err();
    let expected = format!("{} cannot be changed: {reason}", plugins.display());
    assert!(error.starts_with(&expected) || !root, "{error}");
    assert!(
        error.contains("nothing was changed; choose another place with --plugins-dir"),
        "{error}"
    );
    let store = place.store();
    for error in [
        store.remove("hostile").unwrap_err(),
        store.disable("hostile").unwrap_err(),
    ] {
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(works(&store), "1.0.0");
    assert!(!store.load(&HOST, "hostile").unwrap().was_compiled());
    // Another user's machine code beside it, so it goes to the cache.
    let other = Store::open(&plugins, Cache::at(&place.path("other")));
    assert!(other.load(&HOST, "hostile").unwrap().was_compiled());
    assert!(!other.load(&HOST, "hostile").unwrap().was_compiled());
    if mounted.is_none() {
        fs::set_permissions(&plugins, Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_place_where_no_directory_can_be_made_is_named() {
    let place = Place::new();
    let file = place.write("file", b"");
    let source = place.write("x.wasm", &component("1.0.0"));
    let store = Store::open(&file.join("plugins"), place.cache());
    let error = store.install(&HOST, &source).unwrap_err().to_string();
    assert!(
        error.contains("file/plugins cannot be made: Not a directory"),
        "{error}"
    );
}
