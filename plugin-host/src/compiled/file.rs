//! The file that compiled code is kept in: what wasmtime serialises, then a trailer. All of this module's `unsafe` is here.
//!
//! The trailer comes last because wasmtime maps the file from its first byte. It is a magic, the key, and a code over all
//! before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Key;
use super::secret::Secret;
use crate::error::of_system;

const MAGIC: &[u8; 16] = b"loadr-fast code1";
const TRAILER_BYTES: usize = MAGIC.len() + 32 + 32;

/// The largest file that is looked at, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Maps the component kept in a file, or none where there is none or it is not to be trusted, for whatever reason.
pub(super) fn map(engine: &Engine, path: &Path, secret: &Secret, key: &Key) -> Option<Component> {
    // No links, and no waiting for somebody at the other end of a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .ok()?;
    if !genuine(&mut file, secret, key).ok()? {
        return None;
    }
    // So that pruning knows it was used; a file of another user's directory cannot be marked, and need not be.
    let _ = file.set_modified(SystemTime::now());
    // The name of the open file itself: another file may have come to `path` meanwhile.
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: these must be bytes that `Component::serialize` made and nobody altered, now or while they are mapped.
    // Their keyed code says that a loadr-fast of this user wrote them, and the only caller of `keep` passes what
    // `serialize` gave; the key says that it did so for this engine. `genuine` made sure that nobody but this user and
    // root can write to the file, and we never write to one in place: it is replaced by a rename.
    let component = unsafe { Component::deserialize_file(engine, opened) };
    component.ok()
}

/// Whether the file is ours, for this key, and unaltered.
fn genuine(file: &mut File, secret: &Secret, key: &Key) -> io::Result<bool> {
    let meta = file.metadata()?;
    let owner = meta.uid();
    let ours = owner == rustix::process::geteuid().as_raw() || owner == 0;
    if !meta.is_file() || !ours || meta.mode() & 0o022 != 0 || meta.len() > FILE_BYTES_MAX {
        return Ok(false);
    }
    let Some(code_len) = meta.len().checked_sub(TRAILER_BYTES as u64) else {
        return Ok(false);
    };
    let mut trailer = [0_u8; TRAILER_BYTES];
    file.seek(SeekFrom::Start(code_len))?;
    file.read_exact(&mut trailer)?;
    let (head, code) = trailer.split_at(MAGIC.len() + key.len());
    // Before the whole file is read: another key is the usual reason.
    if !head.starts_with(MAGIC) || !head.ends_with(key) {
        return Ok(false);
    }
    file.rewind()?;
    let mut hasher = secret.hasher();
    hasher.update_reader(file.take(code_len))?;
    hasher.update(head);
    // `blake3::Hash` compares in constant time.
    Ok(blake3::Hash::from_slice(code).is_ok_and(|code| hasher.finalize() == code))
}

/// Writes a file that [`map`] accepts, whole or not at all. `code` must be what `Component::serialize` gave.
pub(super) fn keep(code: &[u8], path: &Path, secret: &Secret, key: &Key) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::Builder::new()
        .prefix(".compiled-")
        .tempfile_in(dir)
        .map_err(of_system)?;
    let mut hasher = secret.hasher();
    hasher.update(code).update(MAGIC).update(key);
    let file = temp.as_file_mut();
    file.write_all(code)?;
    file.write_all(MAGIC)?;
    file.write_all(key)?;
    file.write_all(hasher.finalize().as_bytes())?;
    file.sync_all()?;
    temp.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}
