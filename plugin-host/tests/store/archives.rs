//! Packages as archives: what is taken, and all the ways in which an archive can be hostile.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::{Place, component, manifest, works};

type Entries<'a> = &'a mut Builder<GzEncoder<Vec<u8>>>;

/// An entry of any kind and with any name, as no tool would write it.
fn entry(archive: Entries<'_>, kind: EntryType, name: &str, link: &str, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    archive.append(&header, bytes).unwrap();
}

fn file(archive: Entries<'_>, name: &str, bytes: &[u8]) {
    entry(archive, EntryType::Regular, name, "", bytes);
}

fn package(archive: Entries<'_>, top: &str) {
    file(archive, &format!("{top}p.wasm"), &component("1.0.0"));
    file(
        archive,
        &format!("{top}plugin.toml"),
        manifest("1.0.0").as_bytes(),
    );
}

fn archive(place: &Place, fill: impl FnOnce(Entries<'_>)) -> PathBuf {
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    fill(&mut archive);
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    place.write("x.tar.gz", &bytes)
}

fn installed(fill: impl FnOnce(Entries<'_>)) -> Vec<String> {
    let place = Place::new();
    let source = archive(&place, fill);
    place.install(&source).unwrap();
    assert_eq!(works(&place.store()), "1.0.0");
    assert_eq!(place.listing(""), [".lock", "hostile"]);
    place.listing("hostile")
}

fn refused(fill: impl FnOnce(Entries<'_>)) -> String {
    let place = Place::new();
    let source = archive(&place, fill);
    let error = place.install(&source).unwrap_err();
    assert_eq!(place.listing(""), [".lock"], "{error}");
    error.replace(&format!("{}/", place.dir.path().display()), "")
}

#[test]
fn a_package_at_the_top_or_in_one_folder_is_installed() {
    assert_eq!(
        installed(|to| package(to, "")),
        [".compiled", "p.wasm", "plugin.toml"]
    );
    assert_eq!(
        installed(|to| package(to, "./")),
        [".compiled", "p.wasm", "plugin.toml"]
    );
    let listing = installed(|to| {
        file(to, "._my-plugin", b"what some systems add");
        entry(to, EntryType::Directory, "my-plugin/", "", b"");
        package(to, "my-plugin/");
        file(to, "my-plugin/README", b"hello");
        file(to, "my-plugin/src/lib.rs", b"not needed");
        file(to, "my-plugin/.disabled", b"");
    });
    assert_eq!(listing, [".compiled", "README", "p.wasm", "plugin.toml"]);
}

#[test]
fn paths_that_lead_out_are_refused() {
    let with = |name: &'static str| {
        refused(|to| {
            package(to, "");
            file(to, name, b"x");
        })
    };
    assert_eq!(
        with("/etc/cron.d/x"),
        "x.tar.gz: holds the absolute path \"/etc/cron.d/x\"; paths must be inside the package"
    );
    assert_eq!(
        with("a/../../x"),
        "x.tar.gz: holds a path that leads out of it: \"a/../../x\""
    );
    assert_eq!(
        with("a\nb"),
        "x.tar.gz: holds a path with control characters: \"a\""
    );
}

#[test]
fn links_and_devices_are_refused() {
    let with = |kind, link: &'static str| {
        refused(|to| {
            entry(to, kind, "README", link, b"");
            package(to, "");
        })
    };
    let link = "x.tar.gz: holds a link, \"README\", which a package may not; pack the file itself (tar -h)";
    assert_eq!(with(EntryType::Symlink, "/etc/passwd"), link);
    assert_eq!(with(EntryType::Link, "p.wasm"), link);
    for kind in [
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
    ] {
        let message = with(kind, "");
        assert!(
            message == "x.tar.gz: holds \"README\", which is neither a file nor a folder"
                || message.starts_with("x.tar.gz: is not a whole .tar.gz"),
            "{message}"
        );
    }
}

#[test]
fn a_path_that_comes_twice_is_refused() {
    let twice = refused(|to| {
        package(to, "");
        file(to, "./p.wasm", b"x");
    });
    assert_eq!(twice, "x.tar.gz: holds \"p.wasm\" twice");
    let both = refused(|to| {
        package(to, "");
        file(to, "p.wasm/x", b"x");
    });
    assert_eq!(
        both,
        "x.tar.gz: holds \"p.wasm\" both as a file and as a folder"
    );
}

#[test]
fn bombs_are_refused() {
    let many = refused(|to| {
        package(to, "");
        for index in 0..1000 {
            file(to, &format!("f{index}"), b"");
        }
    });
    assert_eq!(
        many,
        "x.tar.gz: holds more than 1000 files; a package holds one component and its manifest"
    );
    let zeros = vec![0; 50 << 20];
    let large = refused(|to| {
        package(to, "");
        for name in ["a", "b", "c"] {
            file(to, name, &zeros);
        }
    });
    assert_eq!(
        large,
        "x.tar.gz: unpacks to more than 144 MiB; a package holds one component and its manifest"
    );
    let long_name = refused(|to| {
        let name = "a/".repeat(1000);
        entry(
            to,
            EntryType::GNULongName,
            "././@LongLink",
            "",
            name.as_bytes(),
        );
        file(to, "x", b"");
    });
    assert!(
        long_name.starts_with("x.tar.gz: holds a path longer than 1024 bytes: \"a/a/"),
        "{long_name}"
    );
}

#[test]
fn an_archive_without_a_package_is_refused() {
    let none = "x.tar.gz: has no plugin.toml, neither at its top nor in the one folder it holds; make it with \
                `tar -czf plugin.tar.gz -C PACKAGE .`";
    assert_eq!(refused(|to| file(to, "p.wasm", b"x")), none);
    assert_eq!(refused(|_| ()), none);
    let two = |to: Entries<'_>| {
        package(to, "a/");
        file(to, "b/x", b"");
    };
    assert_eq!(refused(two), none);
    let no_entry = |to: Entries<'_>| file(to, "plugin.toml", manifest("1.0.0").as_bytes());
    assert_eq!(
        refused(no_entry),
        "x.tar.gz/plugin.toml: entry \"p.wasm\" is not in the archive"
    );
    let bad_entry = |to: Entries<'_>| {
        file(
            to,
            "a/plugin.toml",
            manifest("1.0.0").replace("p.wasm", "../p.wasm").as_bytes(),
        );
    };
    assert!(
        refused(bad_entry)
            .starts_with("x.tar.gz/a/plugin.toml: entry \"../p.wasm\" leads out of the package")
    );
    let disagrees = |to: Entries<'_>| {
        file(to, "p.wasm", &component("2.0.0"));
        file(to, "plugin.toml", manifest("1.0.0").as_bytes());
    };
    assert!(refused(disagrees).starts_with("x.tar.gz/plugin.toml: says version = \"1.0.0\""));
    let large = |to: Entries<'_>| {
        file(to, "p.wasm", b"x");
        file(to, "plugin.toml", &vec![b'#'; 70_000]);
    };
    assert_eq!(
        refused(large),
        "x.tar.gz/plugin.toml: is too large for a manifest: at most 65536 bytes are read"
    );
}

#[test]
fn an_archive_that_is_cut_short_or_damaged_is_refused() {
    let place = Place::new();
    let source = archive(&place, |to| package(to, ""));
    let whole = std::fs::read(&source).unwrap();
    for len in [3, 20, whole.len() / 2, whole.len() - 1] {
        let source = place.write("cut.tar.gz", &whole[..len]);
        let error = place.install(&source).unwrap_err();
        assert!(
            error.contains("cut.tar.gz: is not a whole .tar.gz: "),
            "{len}: {error}"
        );
    }
    let mut damaged = whole.clone();
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    let source = place.write("damaged.tar.gz", &damaged);
    assert!(
        place
            .install(&source)
            .unwrap_err()
            .contains("is not a whole .tar.gz")
    );
    let mut tail = whole;
    tail.write_all(b"more").unwrap();
    assert_eq!(place.listing(""), [".lock"]);
}
