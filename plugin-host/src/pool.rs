//! Plugins whose instances come from a pool: the memory of all of them is set aside before the run, and a new instance
//! costs a reset of what the last one touched.
//!
//! A pool has an engine of its own, because an engine has one way to allocate and a pool is as large as the run needs. The
//! compiled code is taken over as it is: nothing is compiled twice.

use wasmtime::component::Component;
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::compiled::Origin;
use crate::error::PoolError;
use crate::exports;
use crate::limits::{self, Limits};
use crate::plugin::PluginInner;
use crate::sandbox;

/// What is set aside for one linear memory, in bytes: compiled code leaves out bounds checks because a 32-bit address
/// cannot leave it.
const MEMORY_RESERVED_BYTES: u64 = 4 << 30;

/// The part of the address space that a pool may take, in bytes. Of the 128 TiB that a process has on x86-64 the program
/// itself lies at 85, and a pool is one piece: 94 TiB were refused, 80 were not.
const ADDRESS_SPACE_BYTES: u64 = 80 << 40;

/// How much of a memory or table is wiped by hand rather than given back to the kernel and faulted in again, in bytes, where
/// each call resets it.
const KEEP_BYTES: usize = 4 << 20;

/// How long the instances of a pool live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turnover {
    /// As a rule for the whole run; what a former instance held goes back to the kernel.
    Run,
    /// For one call; memory stays resident between them.
    Call,
}

/// The plugin again, with room for so many instances at a time.
pub(crate) fn pooled(
    plugin: &PluginInner,
    instances: u32,
    limits: &Limits,
    turnover: Turnover,
) -> Result<PluginInner, PoolError> {
    let component = plugin.linked.component();
    let needs = component.resources_required().ok_or_else(|| {
        PoolError("what an instance of it needs is not known before it runs".into())
    })?;
    let memories = instances.saturating_mul(needs.num_memories);
    let reserved = u64::from(memories) * MEMORY_RESERVED_BYTES;
    if reserved > ADDRESS_SPACE_BYTES {
        let each = u64::from(needs.num_memories.max(1)) * MEMORY_RESERVED_BYTES;
        return Err(PoolError(format!(
            "{instances} instances of it do not fit: each sets aside {} GiB of addresses, so that {} fit at most",
            each >> 30,
            ADDRESS_SPACE_BYTES / each
        )));
    }
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances.max(1))
        .total_core_instances(u32::MAX)
        .total_memories(memories.max(1))
        .total_tables(instances.saturating_mul(needs.num_tables).max(1))
        .max_memories_per_module(limits::MEMORIES_MAX as u32)
        .max_tables_per_module(limits::TABLES_MAX as u32)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .max_memory_size(memory_bytes(limits).max(crate::batch::MEMORY_BYTES as usize))
        // The largest component there is must fit; it is virtual until touched.
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .max_unused_warm_slots(instances);
    if turnover == Turnover::Call {
        pool.linear_memory_keep_resident(KEEP_BYTES)
            .table_keep_resident(KEEP_BYTES)
            .pagemap_scan(Enabled::Auto);
    }
    let mut config = crate::host::config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let failed = |error: wasmtime::Error| {
        PoolError(format!(
            "{instances} instances of it with {} MiB each cannot be set aside: {}",
            memory_bytes(limits) >> 20,
            crate::error::short(&format!("{error:#}"))
        ))
    };
    let engine = Engine::new(&config).map_err(failed)?;
    let compiled = component.serialize().map_err(failed)?;
    #[allow(
        unsafe_code,
        reason = "the one way to take compiled code into another engine"
    )]
    // SAFETY: the bytes come from the line above; nobody else had them.
    let component = unsafe { Component::deserialize(&engine, &compiled) }.map_err(failed)?;
    let functions = exports::find(&engine, &component, plugin.manifest.entry.as_ref())
        .map_err(|error| PoolError(error.message().to_owned()))?;
    let linked = sandbox::link(&engine, &component).map_err(PoolError)?;
    plugin.host.ticker.also(engine.weak());
    Ok(PluginInner {
        host: plugin.host.clone(),
        manifest: plugin.manifest.clone(),
        linked,
        functions,
        // Asked only of the plugin that was loaded.
        origin: Origin::default(),
        digest: plugin.digest,
    })
}

/// The most that one memory can be, in bytes.
fn memory_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.memory_bytes.min(MEMORY_RESERVED_BYTES)).unwrap_or(usize::MAX)
}
