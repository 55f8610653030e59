//! Bytes of queued sends. Chunks never move and are never freed while the ring lives, so a pointer into one
//! stays good until [`Arena::clear`], which the ring calls only after the kernel has consumed every queued
//! send. Being emptied each turn, the arena stays as small as one turn's sends, and warm in the cache.

/// A chunk's size, and so the longest send that is staged here.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Where staged bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    chunk: u32,
    start: u32,
    pub(crate) len: u32,
}

impl Staged {
    pub(crate) const EMPTY: Self = Self {
        chunk: 0,
        start: 0,
        len: 0,
    };
}

pub(crate) struct Arena {
    chunks: Vec<Box<[u8]>>,
    /// The chunk being filled and how full it is.
    chunk: usize,
    used: usize,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self {
            chunks: vec![new_chunk()],
            chunk: 0,
            used: 0,
        }
    }

    /// Copies `bytes` (at most [`CHUNK_BYTES`]) in.
    #[inline]
    pub(crate) fn stage(&mut self, bytes: &[u8]) -> Staged {
        assert!(bytes.len() <= CHUNK_BYTES);
        if CHUNK_BYTES - self.used < bytes.len() {
            self.chunk += 1;
            self.used = 0;
            if self.chunk == self.chunks.len() {
                self.chunks.push(new_chunk());
            }
        }
        let start = self.used;
        self.used += bytes.len();
        self.chunks[self.chunk][start..self.used].copy_from_slice(bytes);
        Staged {
            chunk: self.chunk as u32,
            start: start as u32,
            len: bytes.len() as u32,
        }
    }

    #[inline]
    pub(crate) fn bytes(&self, staged: Staged) -> &[u8] {
        let start = staged.start as usize;
        &self.chunks[staged.chunk as usize][start..start + staged.len as usize]
    }

    /// Forgets all staged bytes; the memory is kept.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.chunk = 0;
        self.used = 0;
    }
}

fn new_chunk() -> Box<[u8]> {
    vec![0; CHUNK_BYTES].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_bytes_stay_where_they_are_while_chunks_are_added() {
        let mut arena = Arena::new();
        let pieces: Vec<(Staged, *const u8, u8)> = (0..100u8)
            .map(|i| {
                let staged = arena.stage(&vec![i; 10_000]);
                (staged, arena.bytes(staged).as_ptr(), i)
            })
            .collect();
        for (staged, pointer, i) in pieces {
            assert_eq!(arena.bytes(staged).as_ptr(), pointer);
            assert!(arena.bytes(staged).iter().all(|&b| b == i));
        }
        let chunks = arena.chunks.len();
        arena.clear();
        arena.stage(&[1; CHUNK_BYTES]);
        assert_eq!(arena.chunks.len(), chunks);
    }
}
