//! A change of the install directory: one at a time, and all or nothing.
//!
//! Whatever is half done lies under a name with a dot in front; the step that counts is one rename. A process killed
//! between any two steps leaves the old or the new, and rubbish that the next change clears away. The lock is the
//! kernel's (flock), so it dies with its owner, and rubbish found under it is nobody's.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use super::error::StoreError;
use crate::error::of_system;

/// How long to wait for somebody else's change. Installing a large plugin compiles for some ten seconds.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(60);

const LOCK_POLL: Duration = Duration::from_millis(20);

const INCOMING: &str = ".incoming-";
const REMOVED: &str = ".removed-";
/// What comes before the name of a plugin put aside for its replacement, where the filesystem cannot exchange two names.
pub(super) const REPLACED: &str = ".replaced-";

/// The right to change the directory.
pub(super) struct Change {
    dir: PathBuf,
    _lock: File,
}

impl Change {
    /// Waits for the right, and clears up after changes that were cut short.
    pub(super) fn begin(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)
            .map_err(|error| StoreError::directory(dir, "cannot be made", error))?;
        let path = dir.join(".lock");
        let failed = |error| StoreError::directory(dir, "cannot be changed", error);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => {
                    thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(dir.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        clear_up(dir).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// A directory to prepare something in, gone if it is not put in place.
    pub(super) fn incoming(&self) -> Result<TempDir, StoreError> {
        tempfile::Builder::new()
            .prefix(INCOMING)
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&self.dir)
            .map_err(|error| {
                StoreError::directory(&self.dir, "cannot be changed", of_system(error))
            })
    }

    /// Puts what was prepared in the place of `name`. What was there is gone afterwards.
    pub(super) fn place(&self, incoming: TempDir, name: &str) -> Result<(), StoreError> {
        sync_all(incoming.path())?;
        let target = self.dir.join(name);
        let moved = if fs::symlink_metadata(&target).is_ok() {
            self.exchange(incoming.path(), &target, name)
        } else {
            fs::rename(incoming.path(), &target)
        };
        moved.map_err(|error| StoreError::directory(&target, "cannot be replaced", error))?;
        sync(&self.dir)?;
        // Dropped, `incoming` takes the old version with it. Were it to stay, the next change clears it up.
        drop(incoming);
        Ok(())
    }

    fn exchange(&self, incoming: &Path, target: &Path, name: &str) -> io::Result<()> {
        match renameat_with(CWD, incoming, CWD, target, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        let aside = self.dir.join(format!("{REPLACED}{name}"));
        fs::rename(target, &aside)?;
        if let Err(error) = fs::rename(incoming, target) {
            fs::rename(&aside, target)?;
            return Err(error);
        }
        // Left behind, it is cleared up by the next change.
        let _ = delete(&aside);
        Ok(())
    }

    /// Takes a plugin away.
    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let target = self.dir.join(name);
        let failed = |error| StoreError::directory(&target, "cannot be removed", error);
        let removed = self.dir.join(format!("{REMOVED}{name}"));
        fs::rename(&target, &removed).map_err(failed)?;
        sync(&self.dir)?;
        // It is removed; what stays of it is cleared up by the next change.
        let _ = delete(&removed);
        Ok(())
    }
}

/// Finishes or undoes what a killed process had begun. Only under the lock.
fn clear_up(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with(INCOMING) || name.starts_with(REMOVED) {
            delete(&entry.path())?;
        } else if let Some(plugin) = name.strip_prefix(REPLACED) {
            let target = dir.join(plugin);
            if fs::symlink_metadata(&target).is_ok() {
                delete(&entry.path())?;
            } else {
                fs::rename(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Deletes a directory, or a link to one and not what it links to.
fn delete(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Makes sure of a directory's entries.
pub(super) fn sync(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| StoreError::directory(dir, "cannot be written", error))
}

/// Makes sure of the entries of a directory and of all directories in it; files are synced as they are written.
fn sync_all(dir: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::directory(dir, "cannot be read", error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync(dir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn directory(dir: &Path, name: &str, content: &str) {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("file"), content).unwrap();
    }

    fn content(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name).join("file")).ok()
    }

    #[test]
    fn a_replacement_cut_short_is_undone_or_finished() {
        let dir = tempfile::tempdir().unwrap();
        directory(dir.path(), ".replaced-a", "old a");
        directory(dir.path(), ".incoming-1", "new a");
        directory(dir.path(), ".replaced-b", "old b");
        directory(dir.path(), "b", "new b");
        directory(dir.path(), ".removed-c", "old c");
        Change::begin(dir.path()).unwrap();
        assert_eq!(content(dir.path(), "a").unwrap(), "old a");
        assert_eq!(content(dir.path(), "b").unwrap(), "new b");
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".lock", "a", "b"]);
    }

    #[test]
    fn only_one_change_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Change::begin(dir.path()).unwrap();
        let staged = first.incoming().unwrap();
        let path = dir.path().to_owned();
        let second = thread::spawn(move || Change::begin(&path).map(|_| ()));
        thread::sleep(Duration::from_millis(100));
        assert!(staged.path().exists() && !second.is_finished());
        fs::write(staged.path().join("file"), "x").unwrap();
        first.place(staged, "a").unwrap();
        drop(first);
        second.join().unwrap().unwrap();
        assert_eq!(content(dir.path(), "a").unwrap(), "x");
    }
}
