//! Machine code that is kept: used when it is ours and fits, and never otherwise.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loadr_plugin_host::{Cache, Host, Limits, Store};

use crate::{HOST, Place, component, listing, works};

/// A plugin in a file and the cache's one file for it.
fn cached(place: &Place) -> (PathBuf, PathBuf) {
    let source = place.write("x.wasm", &component("1.0.0"));
    assert!(place.cache().load(&HOST, &source).unwrap().was_compiled());
    let compiled = place.path("cache/compiled");
    let names = listing(&compiled);
    assert_eq!(names.len(), 1);
    (source, compiled.join(&names[0]))
}

#[test]
fn a_plugin_is_compiled_once() {
    let place = Place::new();
    let (source, _) = cached(&place);
    let plugin = place.cache().load(&Host::new().unwrap(), &source).unwrap();
    assert!(!plugin.was_compiled());
    let mut out = Vec::new();
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    assert!(instance.extract(b"", &[], "{}", &mut out).unwrap());
    // The name of the file means nothing, its bytes do.
    fs::write(&source, component("2.0.0")).unwrap();
    let changed = place.cache().load(&HOST, &source).unwrap();
    assert!(changed.was_compiled() && changed.version() == "2.0.0");
}

#[test]
fn an_installed_plugin_is_compiled_when_it_is_installed() {
    let place = Place::new();
    place.install(&place.package("one", "1.0.0")).unwrap();
    assert!(!place.store().load(&HOST, "hostile").unwrap().was_compiled());
    assert!(listing(&place.path("cache/compiled")).is_empty());
}

/// Spoils a kept file, and sees that it is compiled again, and that what is kept then is good.
fn distrusted(place: &Place, source: &Path, what: &str) {
    let load = || place.cache().load(&HOST, source).unwrap().was_compiled();
    assert!(load(), "{what}: was used");
    assert!(!load(), "{what}: was not made good");
}

#[test]
fn an_altered_file_is_compiled_again() {
    let place = Place::new();
    let (source, kept) = cached(&place);
    let good = fs::read(&kept).unwrap();
    let spread = (0..good.len()).rev().step_by(good.len() / 40);
    let trailer = [good.len() - 33, good.len() - 65];
    for (step, at) in spread.chain([0]).chain(trailer).enumerate() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (step % 8);
        fs::write(&kept, bad).unwrap();
        distrusted(&place, &source, &format!("byte {at}"));
    }
}

#[test]
fn a_truncated_or_extended_file_is_compiled_again() {
    let place = Place::new();
    let (source, kept) = cached(&place);
    let good = fs::read(&kept).unwrap();
    for len in [
        0,
        1,
        79,
        80,
        81,
        good.len() / 2,
        good.len() - 80,
        good.len() - 1,
    ] {
        fs::write(&kept, &good[..len]).unwrap();
        distrusted(&place, &source, &format!("{len} bytes"));
    }
    fs::write(&kept, [good.as_slice(), b"x"].concat()).unwrap();
    distrusted(&place, &source, "one byte more");
}

#[test]
fn another_plugins_file_is_compiled_again() {
    let place = Place::new();
    let (source, kept) = cached(&place);
    let other = place.write("other.wasm", &component("2.0.0"));
    place.cache().load(&HOST, &other).unwrap();
    let names = listing(&place.path("cache/compiled"));
    let foreign = names
        .iter()
        .map(|name| kept.with_file_name(name))
        .find(|path| *path != kept)
        .unwrap();
    fs::copy(foreign, &kept).unwrap();
    distrusted(&place, &source, "another plugin's");
}

#[test]
fn a_file_of_another_users_secret_is_compiled_again() {
    let (mine, theirs) = (Place::new(), Place::new());
    let (source, kept) = cached(&mine);
    let (_, foreign) = cached(&theirs);
    assert_eq!(
        kept.file_name(),
        foreign.file_name(),
        "the same plugin, engine and machine"
    );
    fs::copy(foreign, &kept).unwrap();
    distrusted(&mine, &source, "another user's");
}

#[test]
fn machine_code_that_comes_with_a_plugins_directory_is_not_used() {
    let (mine, theirs) = (Place::new(), Place::new());
    theirs.install(&theirs.package("one", "1.0.0")).unwrap();
    let store = Store::open(&theirs.path("plugins"), mine.cache());
    assert!(store.load(&HOST, "hostile").unwrap().was_compiled());
    assert!(!store.load(&HOST, "hostile").unwrap().was_compiled());
    // Now it is the other one's turn.
    assert!(
        theirs
            .store()
            .load(&HOST, "hostile")
            .unwrap()
            .was_compiled()
    );
}

#[test]
fn a_file_that_others_can_write_is_compiled_again() {
    let place = Place::new();
    let (source, kept) = cached(&place);
    for mode in [0o622, 0o620, 0o606] {
        fs::set_permissions(&kept, Permissions::from_mode(mode)).unwrap();
        distrusted(&place, &source, &format!("mode {mode:o}"));
    }
    let elsewhere = place.path("elsewhere");
    fs::rename(&kept, &elsewhere).unwrap();
    symlink(&elsewhere, &kept).unwrap();
    distrusted(&place, &source, "a link");
    fs::remove_file(&kept).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &kept,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    distrusted(&place, &source, "a pipe");
}

#[test]
fn a_secret_that_others_could_read_is_made_anew() {
    let place = Place::new();
    let (source, _) = cached(&place);
    let secret = place.path("cache/secret");
    let before = fs::read(&secret).unwrap();
    assert_eq!(
        fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(place.path("cache"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    distrusted(&place, &source, "secret known to others");
    assert_ne!(before, fs::read(&secret).unwrap());
    fs::write(&secret, b"short").unwrap();
    distrusted(&place, &source, "short secret");
    fs::remove_file(&secret).unwrap();
    distrusted(&place, &source, "lost secret");
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note_and_no_error() {
    let place = Place::new();
    let source = place.write("x.wasm", &component("1.0.0"));
    let file = place.write("file", b"");
    for _ in 0..2 {
        let plugin = Cache::at(&file).load(&HOST, &source).unwrap();
        assert!(plugin.was_compiled());
        assert!(plugin.cache_note().unwrap().contains("Not a directory"));
    }
    let plugin = Cache::none().load(&HOST, &source).unwrap();
    assert!(plugin.was_compiled() && plugin.cache_note().is_none());
}

#[test]
fn an_installed_plugin_whose_machine_code_is_lost_or_spoiled_works() {
    let place = Place::new();
    place.install(&place.package("one", "1.0.0")).unwrap();
    let kept = place.path("plugins/hostile/.compiled");
    for spoil in [&b""[..], b"spoiled"] {
        fs::write(&kept, spoil).unwrap();
        assert!(place.store().load(&HOST, "hostile").unwrap().was_compiled());
        assert!(!place.store().load(&HOST, "hostile").unwrap().was_compiled());
    }
    fs::remove_file(&kept).unwrap();
    assert_eq!(works(&place.store()), "1.0.0");
    assert!(kept.exists());
}

/// The promise: an 18 MB Python plugin starts in under 100 ms the second time. It is not committed, so its path comes in
/// `LOADR_LARGE_PLUGIN`.
#[test]
fn a_large_plugin_starts_in_100_ms_the_second_time() {
    let Some(source) = std::env::var_os("LOADR_LARGE_PLUGIN") else {
        eprintln!(
            "SKIPPED: a_large_plugin_starts_in_100_ms_the_second_time (LOADR_LARGE_PLUGIN names no plugin)"
        );
        return;
    };
    let place = Place::new();
    let timed = || {
        let began = Instant::now();
        let plugin = place
            .cache()
            .load(&Host::new().unwrap(), Path::new(&source))
            .unwrap();
        plugin
            .instantiate(&Limits {
                memory_bytes: 256 << 20,
                ..Limits::default()
            })
            .unwrap();
        (plugin.was_compiled(), began.elapsed())
    };
    let (compiled, first) = timed();
    assert!(compiled);
    // The least of five: the machine may be busy with other tests.
    let second = (0..5)
        .map(|_| {
            let (compiled, took) = timed();
            assert!(!compiled);
            took
        })
        .min()
        .unwrap();
    eprintln!("first {first:?}, second {second:?}");
    assert!(second < Duration::from_millis(100), "{second:?}");
}
