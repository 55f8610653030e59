//! The secret by which this user's own compiled files are known from all others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::Unkept;
use crate::error::of_system;

/// 32 random bytes in a file that only this user can read.
pub(super) struct Secret([u8; 32]);

impl Secret {
    /// The secret of a cache directory, made where there is none. One that others could have read is made anew, and with
    /// that all that was kept under it is foreign.
    pub(super) fn of(dir: &Path) -> Result<Self, Unkept> {
        let path = dir.join("secret");
        let failed = |error: io::Error| Unkept::new(&path, error);
        // Twice: two processes may be at this for the first time together, and then one finds the other's.
        for _ in 0..2 {
            match read(&path) {
                Ok(Some(secret)) => return Ok(secret),
                Ok(None) => fs::remove_file(&path).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            super::make_private(dir).map_err(failed)?;
            make(dir, &path).map_err(failed)?;
        }
        read(&path)
            .map_err(failed)?
            .ok_or_else(|| failed(io::Error::other("is not private to this user")))
    }

    pub(super) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0)
    }
}

/// The secret, or none where the file is not one that only this user can have made and read.
fn read(path: &Path) -> io::Result<Option<Secret>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    let meta = file.metadata()?;
    let private = meta.is_file()
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode() & 0o077 == 0
        && meta.len() == 32;
    if !private {
        return Ok(None);
    }
    let mut secret = [0; 32];
    file.read_exact(&mut secret)?;
    Ok(Some(Secret(secret)))
}

/// Makes a secret unless another process is faster. The file appears whole or not at all.
fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let mut secret = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let mut temp = tempfile::Builder::new()
        .prefix(".secret-")
        .tempfile_in(dir)
        .map_err(of_system)?;
    temp.as_file_mut().write_all(&secret)?;
    match temp.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
    }
}
