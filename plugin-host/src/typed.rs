//! The two functions of a plugin with their Rust types.
//!
//! `wasmtime` ties a typed function to the lifetimes of the arguments it was typed with, so one that is kept cannot take
//! arguments borrowed later, and typing it anew on each call costs 170 ns, a third of the host's share. So the type is
//! checked once, where the instance is made, and taken for granted on each call. This file holds all of this crate's
//! `unsafe`.

use wasmtime::Store;
use wasmtime::component::{ComponentType, Func, Lift, TypedFunc, WasmStr};

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
struct Verdict {
    pass: bool,
    detail: String,
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
            batched.typed::<BatchedExtractArguments<'_>, (Option<WasmStr>,)>(store)?;
        }
        Ok(Self { func, batched })
    }

    /// Calls it, through `block` where that is possible. The text goes to `out`, which is empty.
    pub(crate) fn call(
        &self,
        store: &mut Store<Guest>,
        block: &mut Vec<u8>,
        (body, headers, config): ExtractArguments<'_>,
        out: &mut Vec<u8>,
    ) -> wasmtime::Result<bool> {
        if let Some(batched) = self.batched
            && batch::write(block, body, headers, config)
        {
            // SAFETY: as below.
            #[allow(unsafe_code, reason = "see the head of this file")]
            let func = unsafe {
                TypedFunc::<BatchedExtractArguments<'_>, (Option<WasmStr>,)>::new_unchecked(batched)
            };
            let (value,) = func.call(&mut *store, (block,))?;
            // It lies in memory of our own, where nothing changes it before the next call.
            if let Some(value) = &value {
                out.extend_from_slice(value.to_str(&*store)?.as_bytes());
            }
            return Ok(value.is_some());
        }
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func = unsafe {
            TypedFunc::<ExtractArguments<'_>, (Option<String>,)>::new_unchecked(self.func)
        };
        let (value,) = func.call(store, (body, headers, config))?;
        if let Some(value) = &value {
            out.extend_from_slice(value.as_bytes());
        }
        Ok(value.is_some())
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
            batched.typed::<BatchedCheckArguments<'_>, ((bool, WasmStr),)>(store)?;
        }
        Ok(Self { func, batched })
    }

    /// Calls it, through `block` where that is possible. The text goes to `out`, which is empty.
    pub(crate) fn call(
        &self,
        store: &mut Store<Guest>,
        block: &mut Vec<u8>,
        (status, body, headers, duration_ms, config): CheckArguments<'_>,
        out: &mut String,
    ) -> wasmtime::Result<bool> {
        if let Some(batched) = self.batched
            && batch::write(block, body, headers, config)
        {
            // SAFETY: as below.
            #[allow(unsafe_code, reason = "see the head of this file")]
            let func = unsafe {
                TypedFunc::<BatchedCheckArguments<'_>, ((bool, WasmStr),)>::new_unchecked(batched)
            };
            let ((pass, detail),) = func.call(&mut *store, (block, status, duration_ms))?;
            out.push_str(&detail.to_str(&*store)?);
            return Ok(pass);
        }
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func = unsafe { TypedFunc::<CheckArguments<'_>, (Verdict,)>::new_unchecked(self.func) };
        let (verdict,) = func.call(store, (status, body, headers, duration_ms, config))?;
        out.push_str(&verdict.detail);
        Ok(verdict.pass)
    }
}
