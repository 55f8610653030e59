//! A plugin at work: one shard's own store, and the two calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store};

use crate::error::CallError;
use crate::limits::Limits;
use crate::manifest::{ReadHeaders, Reads};
use crate::plugin::PluginInner;
use crate::sandbox::Guest;
use crate::sandbox::output::{Output, Printed};
use crate::ticker::ticks;
use crate::typed::{Check, Extract, Headers};

/// How long start functions and `describe()` may take.
pub(crate) const LOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How many headers of those a plugin asked for are kept on the stack; a response with more of them costs an allocation.
const HEADERS_INLINE: usize = 32;

/// One shard's instance of a plugin, or one virtual user's; or, from
/// [`fresh_each_call`](crate::Plugin::fresh_each_call), what makes one for each call.
///
/// A call that fails leaves the guest in an unknown state, so its memory is thrown away at once and the next call begins
/// with a fresh instance. Callers just keep calling.
///
/// A guest may use 512 KiB of the calling thread's stack; the thread needs 640 KiB to spare.
pub struct Instance {
    plugin: Arc<PluginInner>,
    limits: Limits,
    timeout_ticks: u64,
    lasting: Lasting,
    output: Option<Output>,
    /// Where arguments are put together, see [`batch`](crate::batch).
    block: Vec<u8>,
}

/// What there is between two calls.
enum Lasting {
    /// The guest; none after a failure.
    Guest(Option<Live>),
    /// Nothing of the guest: the emptied things of the host, to save making them anew.
    Nothing(Option<Box<Guest>>),
}

/// What is replaced after a failure.
struct Live {
    store: Store<Guest>,
    extract: Option<Extract>,
    check: Option<Check>,
}

/// A fresh store with the sandbox in it, its deadline at `timeout` from now.
fn store(engine: &Engine, guest: Guest, timeout: Duration) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.caps);
    store.set_hostcall_fuel(crate::limits::GUEST_DATA_BYTES_MAX);
    store.set_max_component_handles(crate::sandbox::HANDLES_MAX);
    arm(&mut store, ticks(timeout));
    store
}

/// Sets the deadline, for guest code and for host calls alike.
fn arm(store: &mut Store<Guest>, ticks: u64) {
    store.set_epoch_deadline(ticks);
    store.data_mut().arm(ticks);
}

impl Instance {
    pub(crate) fn new(plugin: Arc<PluginInner>, limits: Limits) -> Result<Self, CallError> {
        let live = Live::new(
            &plugin,
            Guest::new(plugin.host.ticker.user(), &limits),
            start_timeout(&limits),
        )?;
        Ok(Self::lasting(plugin, limits, Lasting::Guest(Some(live))))
    }

    pub(crate) fn fresh_each_call(plugin: Arc<PluginInner>, limits: Limits) -> Self {
        Self::lasting(plugin, limits, Lasting::Nothing(None))
    }

    fn lasting(plugin: Arc<PluginInner>, limits: Limits, lasting: Lasting) -> Self {
        Self {
            timeout_ticks: ticks(limits.call_timeout),
            plugin,
            limits,
            lasting,
            output: None,
            block: Vec::new(),
        }
    }

    /// Keeps what the guest prints from now on, for [`printed`](Self::printed). As it is made, an instance drops it.
    pub fn keep_output(&mut self) {
        let output = self.output.get_or_insert_default();
        if let Lasting::Guest(Some(live)) = &mut self.lasting {
            live.store.data_mut().output = Some(output.clone());
        }
    }

    /// What the guest printed since this was last asked; nothing without [`keep_output`](Self::keep_output).
    pub fn printed(&mut self) -> Printed {
        self.output.as_ref().map(Output::take).unwrap_or_default()
    }

    /// Calls `extract`. True with the value in `out`, or false, and `out` empty, where nothing matches.
    ///
    /// `headers` have lower-case names; `config` is one JSON object. Of body and headers the guest gets what
    /// [`Plugin::reads`](crate::Plugin::reads) says.
    ///
    /// # Errors
    ///
    /// The guest was cut or trapped; `out` is empty.
    pub fn extract(
        &mut self,
        body: &[u8],
        headers: &Headers<'_>,
        config: &str,
        out: &mut Vec<u8>,
    ) -> Result<bool, CallError> {
        out.clear();
        let found = self.call(|reads, live, block| {
            let func = live
                .extract
                .as_ref()
                .ok_or_else(|| wasmtime::format_err!("the plugin does not export an extractor"))?;
            with_reads(reads, body, headers, |body, headers| {
                func.call(&mut live.store, block, (body, headers, config), out)
            })
        });
        if found.is_err() {
            out.clear();
        }
        found
    }

    /// Calls `check`. Whether the response passes; the sentence for people is in `detail`.
    ///
    /// `status` is the HTTP status, `duration_ms` the response time in milliseconds, the others are as for
    /// [`extract`](Self::extract).
    ///
    /// # Errors
    ///
    /// The guest was cut or trapped; `detail` is empty.
    pub fn check(
        &mut self,
        status: u16,
        body: &[u8],
        headers: &Headers<'_>,
        duration_ms: f64,
        config: &str,
        detail: &mut String,
    ) -> Result<bool, CallError> {
        detail.clear();
        let pass = self.call(|reads, live, block| {
            let func = live
                .check
                .as_ref()
                .ok_or_else(|| wasmtime::format_err!("the plugin does not export an assertion"))?;
            with_reads(reads, body, headers, |body, headers| {
                func.call(
                    &mut live.store,
                    block,
                    (i64::from(status), body, headers, duration_ms, config),
                    detail,
                )
            })
        });
        if pass.is_err() {
            detail.clear();
        }
        pass
    }

    /// Runs one call under the deadline, on a fresh guest if the last call failed.
    fn call<R>(
        &mut self,
        call: impl FnOnce(&Reads, &mut Live, &mut Vec<u8>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        let (plugin, limits) = (&self.plugin, &self.limits);
        let reads = &plugin.manifest.reads;
        let result = match &mut self.lasting {
            Lasting::Guest(lasting) => {
                let live = match &mut *lasting {
                    Some(live) => live,
                    none => {
                        let mut guest = Guest::new(plugin.host.ticker.user(), limits);
                        guest.output.clone_from(&self.output);
                        none.insert(Live::new(plugin, guest, start_timeout(limits))?)
                    }
                };
                arm(&mut live.store, self.timeout_ticks);
                let result = call(reads, live, &mut self.block);
                if result.is_err() {
                    *lasting = None;
                }
                result
            }
            Lasting::Nothing(spare) => {
                let mut guest = match spare.take() {
                    Some(guest) => guest.renewed(limits),
                    None => Guest::new(plugin.host.ticker.user(), limits),
                };
                guest.output.clone_from(&self.output);
                let mut live = Live::new(plugin, guest, limits.call_timeout)?;
                let result = call(reads, &mut live, &mut self.block);
                *spare = Some(Box::new(live.store.into_data()));
                result
            }
        };
        result.map_err(|error| CallError::from_engine(&error))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.plugin.manifest.name;
        f.debug_struct("Instance")
            .field("plugin", name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Live {
    fn new(plugin: &PluginInner, guest: Guest, timeout: Duration) -> Result<Self, CallError> {
        let start = || {
            let (mut store, instance) = start(&plugin.linked, guest, timeout)?;
            let functions = &plugin.functions;
            let [extract, batched_extract, check, batched_check] = [
                &functions.extract,
                &functions.batched_extract,
                &functions.check,
                &functions.batched_check,
            ]
            .map(|index| {
                let index = index.as_ref()?;
                instance.get_func(&mut store, index)
            });
            let extract = extract.map(|func| Extract::new(func, batched_extract, &store));
            let check = check.map(|func| Check::new(func, batched_check, &store));
            let (extract, check) = (extract.transpose()?, check.transpose()?);
            Ok(Self {
                store,
                extract,
                check,
            })
        };
        start().map_err(|error: wasmtime::Error| CallError::from_engine(&error))
    }
}

/// A fresh store with the component in it, its start functions done.
pub(crate) fn start(
    linked: &InstancePre<Guest>,
    guest: Guest,
    timeout: Duration,
) -> wasmtime::Result<(Store<Guest>, wasmtime::component::Instance)> {
    let mut store = store(linked.engine(), guest, timeout);
    let instance = linked.instantiate(&mut store)?;
    Ok((store, instance))
}

/// How long the start functions of an instance that lasts may take.
fn start_timeout(limits: &Limits) -> Duration {
    LOAD_TIMEOUT.max(limits.call_timeout)
}

/// Hands on what the plugin reads. Where the caller brought no more than that, which is the usual case, the headers go as
/// they are.
fn with_reads<R>(
    reads: &Reads,
    body: &[u8],
    headers: &Headers<'_>,
    call: impl FnOnce(&[u8], &Headers<'_>) -> R,
) -> R {
    let body = if reads.body { body } else { &[] };
    let ReadHeaders::Only(names) = &reads.headers else {
        return call(body, headers);
    };
    let wanted = |name: &str| names.iter().any(|wanted| wanted == name);
    if headers.iter().all(|(name, _)| wanted(name)) {
        return call(body, headers);
    }
    let mut chosen = headers.iter().filter(|(name, _)| wanted(name)).copied();
    let inline: ArrayVec<_, HEADERS_INLINE> = chosen.by_ref().take(HEADERS_INLINE).collect();
    match chosen.next() {
        None => call(body, &inline),
        Some(next) => {
            let all: Vec<_> = inline.into_iter().chain([next]).chain(chosen).collect();
            call(body, &all)
        }
    }
}
