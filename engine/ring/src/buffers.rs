//! The provided-buffer ring: memory that the kernel fills with received bytes.
//!
//! The kernel takes buffers in the order in which they were given, so every buffer in circulation is touched
//! in turn. Only a few circulate at first, which keeps their first lines in the cache; when the kernel runs
//! out, more are put in.
#![expect(
    unsafe_code,
    reason = "the kernel reads the entries and writes the buffers"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// How many bytes one receive can deliver.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// The most buffers that a ring can have.
pub const BUFFERS_MAX: u16 = 8192;
/// How many circulate at first.
const CIRCULATING_AT_FIRST: u16 = 128;
/// The distance between two buffers. Not a power of two: else the first line of every buffer would fall into
/// the same set of the first-level cache.
const STRIDE: usize = BUFFER_BYTES + 192;

/// No buffer: the end of a chain.
pub(crate) const NO_BUFFER: u16 = u16::MAX;

/// What is known of one buffer while it holds received bytes.
#[derive(Clone, Copy)]
struct Filled {
    start: u32,
    end: u32,
    next: u16,
}

pub(crate) struct Buffers {
    entries: *mut BufRingEntry,
    layout: Layout,
    memory: Vec<u8>,
    filled: Vec<Filled>,
    count: u16,
    /// Buffers of lower number are in circulation.
    circulating: u16,
    /// How many the kernel can still fill.
    available: u32,
    /// The ring's tail, published by [`Buffers::publish`].
    tail: u16,
}

impl Buffers {
    /// `count` buffers; a power of two, at most [`BUFFERS_MAX`].
    pub(crate) fn new(count: u16) -> Self {
        assert!(count.is_power_of_two() && count <= BUFFERS_MAX);
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, 4096).expect("a power of two, and small");
        // SAFETY: the layout has a size above zero.
        let entries = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if entries.is_null() {
            handle_alloc_error(layout);
        }
        let mut buffers = Self {
            entries,
            layout,
            // Zeroed memory comes untouched from the kernel: what is not used is not resident.
            memory: vec![0; usize::from(count) * STRIDE],
            filled: vec![
                Filled {
                    start: 0,
                    end: 0,
                    next: NO_BUFFER
                };
                usize::from(count)
            ],
            count,
            circulating: 0,
            available: 0,
            tail: 0,
        };
        buffers.circulate(CIRCULATING_AT_FIRST);
        buffers
    }

    /// The address of the entries, for registration.
    pub(crate) fn address(&self) -> u64 {
        self.entries as u64
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Puts up to `more` further buffers into circulation.
    fn circulate(&mut self, more: u16) {
        let end = self.circulating.saturating_add(more).min(self.count);
        for id in self.circulating..end {
            self.give(id);
        }
        self.circulating = end;
    }

    /// The kernel found no buffer: doubles what circulates, as far as there are any.
    pub(crate) fn grow(&mut self) {
        self.circulate(self.circulating);
    }

    /// Gives a buffer (back) to the kernel, which sees it after [`Buffers::publish`].
    #[inline]
    fn give(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index < count`, and the allocation holds `count` entries. The kernel does not read an entry
        // at or past the published tail, so nothing else looks at this one. The address is that of buffer `id`,
        // which has `BUFFER_BYTES` bytes within `memory` (`id < count`), and `memory` is neither moved nor freed
        // before the ring is gone.
        unsafe {
            let entry = &mut *self.entries.add(index);
            entry.set_addr(self.memory.as_mut_ptr().add(usize::from(id) * STRIDE) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        self.available += 1;
    }

    /// Whether the kernel has a buffer to fill.
    pub(crate) fn is_available(&self) -> bool {
        self.available > 0
    }

    /// The kernel has taken a buffer: every completion that names one says so.
    #[inline]
    pub(crate) fn take(&mut self) {
        self.available = self.available.saturating_sub(1);
    }

    /// Lets the kernel see every buffer given so far.
    #[inline]
    pub(crate) fn publish(&self) {
        // SAFETY: the tail lies in the first entry of an allocation that lives as long as `self`; the kernel reads
        // it concurrently, so it is written atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Buffer `id` was filled with `len` bytes.
    #[inline]
    pub(crate) fn fill(&mut self, id: u16, len: u32) {
        assert!(len as usize <= BUFFER_BYTES);
        self.filled[usize::from(id)] = Filled {
            start: 0,
            end: len,
            next: NO_BUFFER,
        };
    }

    #[inline]
    pub(crate) fn link(&mut self, id: u16, next: u16) {
        self.filled[usize::from(id)].next = next;
    }

    /// The bytes of buffer `id` that are not consumed yet.
    #[inline]
    pub(crate) fn bytes(&self, id: u16) -> &[u8] {
        let Filled { start, end, .. } = self.filled[usize::from(id)];
        let base = usize::from(id) * STRIDE;
        &self.memory[base + start as usize..base + end as usize]
    }

    /// [`Buffers::bytes`], to be changed where they lie.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, id: u16) -> &mut [u8] {
        let Filled { start, end, .. } = self.filled[usize::from(id)];
        let base = usize::from(id) * STRIDE;
        &mut self.memory[base + start as usize..base + end as usize]
    }

    /// Consumes `len` bytes; when none is left the buffer goes back to the kernel and the next of its chain is
    /// returned as `Some`.
    #[inline]
    pub(crate) fn consume(&mut self, id: u16, len: usize) -> Option<u16> {
        let filled = &mut self.filled[usize::from(id)];
        let left = (filled.end - filled.start) as usize;
        assert!(len <= left, "{len} bytes consumed of {left}");
        if len < left {
            filled.start += len as u32;
            return None;
        }
        let next = filled.next;
        self.give(id);
        Some(next)
    }

    /// Gives a whole chain back, unread.
    pub(crate) fn release_chain(&mut self, mut id: u16) {
        while id != NO_BUFFER {
            let next = self.filled[usize::from(id)].next;
            self.give(id);
            id = next;
        }
    }

    /// Gives one buffer back that never reached a chain.
    pub(crate) fn release(&mut self, id: u16) {
        self.give(id);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the ring has been closed before (`Ring::drop`).
        unsafe { dealloc(self.entries.cast(), self.layout) };
    }
}
