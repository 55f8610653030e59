//! Files that a plan names: read once, before the run, up to a limit.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The content of a regular file of at most `most` bytes, or why not: a sentence's end, after the file's name.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let too_large = || {
        let (limit, unit) = if most >= 1 << 20 {
            (most >> 20, "MiB")
        } else {
            (most >> 10, "KiB")
        };
        format!("is larger than {limit} {unit}")
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes to it.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err("is a directory, not a file".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.len() > most {
        return Err(too_large());
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // The file may have grown since, or be one of those that say they are empty.
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The number, from 1, of the first line that is not UTF-8.
pub(crate) fn bad_line(bytes: &[u8]) -> Option<usize> {
    let error = std::str::from_utf8(bytes).err()?;
    let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
    Some(valid.split(|b| *b == b'\n').count())
}
