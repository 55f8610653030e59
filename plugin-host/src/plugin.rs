//! A loaded plugin: compiled, checked, linked, and only read from then on.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::component::InstancePre;

use crate::compiled::Origin;
use crate::error::{CallError, PoolError};
use crate::exports::Functions;
use crate::host::HostInner;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::manifest::{Kind, Manifest, Reads};
use crate::pool::{self, Turnover};
use crate::sandbox::Guest;

/// A loaded plugin. All shards share one; a clone is the same plugin.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<PluginInner>,
}

pub(crate) struct PluginInner {
    pub(crate) host: Arc<HostInner>,
    pub(crate) manifest: Manifest,
    pub(crate) linked: InstancePre<Guest>,
    pub(crate) functions: Functions,
    pub(crate) origin: Origin,
    pub(crate) digest: [u8; 32],
}

impl PluginInner {
    /// The limits with what our own code beside the guest's takes, so that the guest has all that it is allowed.
    fn with_ours(&self, limits: &Limits) -> Limits {
        Limits {
            memory_bytes: limits
                .memory_bytes
                .saturating_add(self.functions.batch_bytes()),
            ..limits.clone()
        }
    }
}

/// Which interfaces a plugin exports; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exports {
    /// [`Instance::extract`] can be called.
    pub extractor: bool,
    /// [`Instance::check`] can be called.
    pub assertion: bool,
}

impl Plugin {
    pub(crate) fn new(
        host: Arc<HostInner>,
        manifest: Manifest,
        linked: InstancePre<Guest>,
        functions: Functions,
        origin: Origin,
        digest: [u8; 32],
    ) -> Self {
        Self {
            inner: Arc::new(PluginInner {
                host,
                manifest,
                linked,
                functions,
                origin,
                digest,
            }),
        }
    }

    /// The plugin's name: 1 to 64 letters, digits, `-` and `_`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.manifest.name
    }

    /// The plugin's own version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.inner.manifest.version
    }

    /// BLAKE3 of the component's bytes: the same for the same code, wherever it was loaded from.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.inner.digest
    }

    /// What it calls itself: an extractor or an assertion. What it can do is in [`exports`](Self::exports).
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.manifest.kind
    }

    /// A sentence for people; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        self.inner
            .manifest
            .description
            .as_deref()
            .unwrap_or_default()
    }

    /// Which interfaces it exports.
    #[must_use]
    pub fn exports(&self) -> Exports {
        let functions = &self.inner.functions;
        Exports {
            extractor: functions.extract.is_some(),
            assertion: functions.check.is_some(),
        }
    }

    /// The manifest's `[config]`, which the plan's and the step's own settings overlay.
    #[must_use]
    pub fn default_config(&self) -> &Map<String, Value> {
        &self.inner.manifest.config
    }

    /// What it looks at. An instance hands over no more than this, so a caller need not prepare more.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.inner.manifest.reads
    }

    /// Whether it was compiled just now; if not, its machine code was mapped from a file kept earlier.
    #[must_use]
    pub fn was_compiled(&self) -> bool {
        self.inner.origin.was_compiled
    }

    /// Why its machine code could not be kept, so that the next run has to compile it again.
    #[must_use]
    pub fn cache_note(&self) -> Option<String> {
        let unkept = self.inner.origin.unkept.as_ref()?;
        Some(format!("{}: {}", unkept.path.display(), unkept.error))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// Makes an instance for one shard: tens of microseconds for a small guest, a millisecond for a Python one. Its
    /// start functions run, for at most a second.
    ///
    /// # Errors
    ///
    /// Where a start function fails, or the guest needs more memory to begin with than `limits` allow.
    pub fn instantiate(&self, limits: &Limits) -> Result<Instance, CallError> {
        Instance::new(Arc::clone(&self.inner), self.inner.with_ours(limits))
    }

    /// What calls a fresh instance each time: nothing is left of one call for the next. Meant for a plugin from
    /// [`pooled`](Self::pooled) with room for as many instances as there are callers.
    ///
    /// Start functions run within the call, and their time is the call's.
    #[must_use]
    pub fn fresh_each_call(&self, limits: &Limits) -> Instance {
        Instance::fresh_each_call(Arc::clone(&self.inner), self.inner.with_ours(limits))
    }

    /// The same plugin with memory set aside for so many instances at a time. Instances past that number cannot be made.
    ///
    /// What is set aside are addresses, 4 GiB for each linear memory of each instance; memory is used when it is touched.
    ///
    /// # Errors
    ///
    /// Where so many do not fit into the address space, or one needs more memory to begin with than `limits` allow.
    pub fn pooled(
        &self,
        instances: u32,
        limits: &Limits,
        turnover: Turnover,
    ) -> Result<Self, PoolError> {
        let inner = pool::pooled(&self.inner, instances, limits, turnover)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
