//! The two functions of a plugin with their Rust types.
//!
//! `wasmtime` ties a typed function to the lifetimes of the arguments it was typed with, so one that is kept cannot take
//! arguments borrowed later, and typing it anew on each call costs 170 ns, a third of the host's share. So the type is
//! checked once, where the instance is made, and taken for granted on each call. This file holds all of this crate's
//! `unsafe`.

use wasmtime::component::{ComponentType, Func, Lift, TypedFunc};
use wasmtime::{AsContextMut, Store};

use crate::batch;
use crate::sandbox::Guest;

/// Response headers as the guest gets them.
pub(crate) type Headers<'a> = [(&'a str, &'a str)];

/// Body, headers, config.
type ExtractArguments<'a> = (&'a [u8], &'a Headers<'a>, &'a str);

/// Status, body, headers, duration in milliseconds, config.
type CheckArguments<'a> = (i64, &'a [u8], &'a Headers<'a>, f64, &'a str);

/// `verdict` of the interface.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Verdict {
    pub(crate) pass: bool,
    pub(crate) detail: String,
}

/// The block of `batch`.
type BatchedExtractArguments<'a> = (&'a [u8],);

/// The block of `batch`, status, duration in milliseconds.
type BatchedCheckArguments<'a> = (&'a [u8], i64, f64);

/// `extract`, its type checked.
pub(crate) struct Extract {
    func: Func,
    batched: Option<Func>,
}

impl Extract {
    /// `batched` is the same function taking a block.
    pub(crate) fn new(
        func: Func,
        batched: Option<Func>,
        store: &Store<Guest>,
    ) -> wasmtime::Result<Self> {
        func.typed::<ExtractArguments<'_>, (Option<String>,)>(store)?;
        if let Some(batched) = &batched {
            batched.typed::<BatchedExtractArguments<'_>, (Option<String>,)>(store)?;
        }
        Ok(Self { func, batched })
    }

    /// Calls it, through `block` where that is possible.
    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        block: &mut Vec<u8>,
        (body, headers, config): ExtractArguments<'_>,
    ) -> wasmtime::Result<Option<String>> {
        if let Some(batched) = self.batched
            && batch::write(block, body, headers, config)
        {
            // SAFETY: as below.
            #[allow(unsafe_code, reason = "see the head of this file")]
            let func = unsafe {
                TypedFunc::<BatchedExtractArguments<'_>, (Option<String>,)>::new_unchecked(batched)
            };
            return func.call(store, (block,)).map(|(value,)| value);
        }
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func = unsafe {
            TypedFunc::<ExtractArguments<'_>, (Option<String>,)>::new_unchecked(self.func)
        };
        func.call(store, (body, headers, config))
            .map(|(value,)| value)
    }
}

/// `check`, its type checked.
pub(crate) struct Check {
    func: Func,
    batched: Option<Func>,
}

impl Check {
    /// `batched` is the same function taking a block.
    pub(crate) fn new(
        func: Func,
        batched: Option<Func>,
        store: &Store<Guest>,
    ) -> wasmtime::Result<Self> {
        func.typed::<CheckArguments<'_>, (Verdict,)>(store)?;
        if let Some(batched) = &batched {
            batched.typed::<BatchedCheckArguments<'_>, ((bool, String),)>(store)?;
        }
        Ok(Self { func, batched })
    }

    /// Calls it, through `block` where that is possible.
    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        block: &mut Vec<u8>,
        (status, body, headers, duration_ms, config): CheckArguments<'_>,
    ) -> wasmtime::Result<Verdict> {
        if let Some(batched) = self.batched
            && batch::write(block, body, headers, config)
        {
            // SAFETY: as below.
            #[allow(unsafe_code, reason = "see the head of this file")]
            let func = unsafe {
                TypedFunc::<BatchedCheckArguments<'_>, ((bool, String),)>::new_unchecked(batched)
            };
            let ((pass, detail),) = func.call(store, (block, status, duration_ms))?;
            return Ok(Verdict { pass, detail });
        }
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func = unsafe { TypedFunc::<CheckArguments<'_>, (Verdict,)>::new_unchecked(self.func) };
        func.call(store, (status, body, headers, duration_ms, config))
            .map(|(verdict,)| verdict)
    }
}
