//! How much of the machine a plugin may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// The most text or data a guest can hand to the host in one call or one result, in bytes.
pub(crate) const GUEST_DATA_BYTES_MAX: usize = 1 << 20;

/// The most table elements of one instance, all tables together. One element is a pointer; an 18 MB Python guest
/// needs about ten thousand.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 1 << 17;

/// The most core instances, tables and linear memories inside one component instance. A Python guest, which links
/// its shared libraries inside the component, needs a few dozen.
const CORE_INSTANCES_MAX: usize = 512;
pub(crate) const TABLES_MAX: usize = 64;
pub(crate) const MEMORIES_MAX: usize = 64;

/// What a plugin may use. Per plugin, in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long one call may take, waiting included. Rounded up to a millisecond. A call is cut up to two
    /// milliseconds later, never earlier.
    pub call_timeout: Duration,
    /// How much memory one instance may have, in bytes, all its linear memories together.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_millis(50),
            memory_bytes: 64 << 20,
        }
    }
}

/// The caps of one instance, counted over all its memories and tables.
///
/// A grow past a cap is refused as the machine would refuse it (`memory.grow` gives -1): a guest that can live with
/// less lives on.
pub(crate) struct Caps {
    memory_bytes_left: usize,
    memory_bytes_last: usize,
    table_elements_left: usize,
    table_elements_last: usize,
}

impl Caps {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_left: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            memory_bytes_last: 0,
            table_elements_left: TABLE_ELEMENTS_MAX,
            table_elements_last: 0,
        }
    }
}

/// Takes the growth from what is left; false, and nothing taken, where that is too little.
fn take(
    left: &mut usize,
    last: &mut usize,
    current: usize,
    desired: usize,
    maximum: Option<usize>,
) -> bool {
    let growth = desired.saturating_sub(current);
    let allowed = growth <= *left && maximum.is_none_or(|maximum| desired <= maximum);
    *last = if allowed { growth } else { 0 };
    *left -= *last;
    allowed
}

impl ResourceLimiter for Caps {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(take(
            &mut self.memory_bytes_left,
            &mut self.memory_bytes_last,
            current,
            desired,
            maximum,
        ))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes_left += std::mem::take(&mut self.memory_bytes_last);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(take(
            &mut self.table_elements_left,
            &mut self.table_elements_last,
            current,
            desired,
            maximum,
        ))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements_left += std::mem::take(&mut self.table_elements_last);
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
