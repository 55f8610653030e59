//! Where control sockets are, and who may use one: its owner alone.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{getuid, umask};

/// How long another run may take to make its socket in the same folder.
const LOCK_TIME_MAX: Duration = Duration::from_secs(2);

/// The folder of the sockets of this user's runs.
fn folder() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("loadr-fast"),
        None => std::env::temp_dir().join(format!("loadr-fast-{}", getuid().as_raw())),
    }
}

/// Where this process has its socket when no other path is given. Makes the folder.
///
/// # Errors
/// When the folder cannot be made, or somebody else could use it.
pub fn own_socket() -> Result<PathBuf, String> {
    let folder = folder();
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(format!(
                "cannot make the folder {} for the control socket: {error}; say where with --control PATH",
                folder.display()
            ));
        }
        _ => is_own(&folder)?,
    }
    Ok(folder.join(format!("{}.sock", std::process::id())))
}

/// Somebody else may have made it first, and would have what is in it.
fn is_own(folder: &Path) -> Result<(), String> {
    let data = fs::symlink_metadata(folder)
        .map_err(|error| format!("cannot look at {}: {error}", folder.display()))?;
    if !data.is_dir() || data.uid() != getuid().as_raw() || data.mode() & 0o077 != 0 {
        return Err(format!(
            "{} is not a folder of this user alone (mode 0700): remove it, or say where the control socket is with \
             --control PATH (`ctl`: --socket PATH)",
            folder.display()
        ));
    }
    Ok(())
}

/// The socket of the only run of this user that listens where [`own_socket`] says.
///
/// # Errors
/// When there is none, or more than one: which.
pub fn find_socket() -> Result<PathBuf, String> {
    let folder = folder();
    let mut alive = Vec::new();
    let none = "no run of this user listens; `run --control PATH` makes a socket, and so does a plan with an \
                `externally-controlled` scenario";
    let Ok(entries) = fs::read_dir(&folder) else {
        return Err(none.to_owned());
    };
    is_own(&folder)?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_socket = path.extension().is_some_and(|e| e == "sock");
        if is_socket && UnixStream::connect(&path).is_ok() {
            alive.push(path);
        }
    }
    alive.sort();
    match &alive[..] {
        [] => Err(none.to_owned()),
        [path] => Ok(path.clone()),
        several => {
            let paths: Vec<String> = several.iter().map(|p| p.display().to_string()).collect();
            Err(format!(
                "more than one run listens, say which with --socket PATH: {}",
                paths.join(", ")
            ))
        }
    }
}

/// Listens at `path`, which nobody but this user can connect to. What a run that was killed has left there is replaced;
/// nothing else is.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, String> {
    let failed = |why: String| format!("cannot listen at {}: {why}", path.display());
    // Between the look at an old socket and its removal nobody else may put a new one there.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let lock =
        File::open(folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    let until = Instant::now() + LOCK_TIME_MAX;
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= until {
            return Err(failed(format!(
                "somebody holds a lock on {}",
                folder.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error.to_string())),
        Ok(data) if !data.file_type().is_socket() => {
            return Err(failed("there is a file that is no socket".to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(failed("another run listens there".to_owned())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|error| {
                    failed(format!("a dead run's socket cannot be removed: {error}"))
                })?;
            }
            Err(error) => return Err(failed(error.to_string())),
        },
    }
    // From its first moment on, not only from a chmod on.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_a_dead_run_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = listen(&path).unwrap_err();
        assert!(error.contains("another run listens"), "{error}");
        // Dropped without its file being removed, as by a kill.
        drop(first);
        let second = listen(&path).unwrap();
        drop(second);

        let file = folder.path().join("file");
        fs::write(&file, "mine").unwrap();
        let error = listen(&file).unwrap_err();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        let error = listen(&folder.path().join("none/s.sock")).unwrap_err();
        assert!(error.contains("none"), "{error}");
        let error = listen(&folder.path().join("x".repeat(200))).unwrap_err();
        assert!(error.contains("cannot listen"), "{error}");
    }

    #[test]
    fn of_two_that_come_at_once_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        // A dead one first, so that both find something to replace.
        drop(listen(&path).unwrap());
        for _ in 0..20 {
            let listeners: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| listen(&path))).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(listeners.iter().filter(|l| l.is_ok()).count(), 1);
        }
    }
}
