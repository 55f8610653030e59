//! The two functions of a plugin with their Rust types.
//!
//! `wasmtime` ties a typed function to the lifetimes of the arguments it was typed with, so one that is kept cannot take
//! arguments borrowed later, and typing it anew on each call costs 170 ns, a third of the host's share. So the type is
//! checked once, where the instance is made, and taken for granted on each call. This file holds all of this crate's
//! `unsafe`.

use wasmtime::component::{ComponentType, Func, Lift, TypedFunc};
use wasmtime::{AsContextMut, Store};

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

/// `extract`, its type checked.
pub(crate) struct Extract(Func);

impl Extract {
    pub(crate) fn new(func: Func, store: &Store<Guest>) -> wasmtime::Result<Self> {
        func.typed::<ExtractArguments<'_>, (Option<String>,)>(store)?;
        Ok(Self(func))
    }

    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        arguments: ExtractArguments<'_>,
    ) -> wasmtime::Result<Option<String>> {
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func =
            unsafe { TypedFunc::<ExtractArguments<'_>, (Option<String>,)>::new_unchecked(self.0) };
        func.call(store, arguments).map(|(value,)| value)
    }
}

/// `check`, its type checked.
pub(crate) struct Check(Func);

impl Check {
    pub(crate) fn new(func: Func, store: &Store<Guest>) -> wasmtime::Result<Self> {
        func.typed::<CheckArguments<'_>, (Verdict,)>(store)?;
        Ok(Self(func))
    }

    pub(crate) fn call(
        &self,
        store: impl AsContextMut,
        arguments: CheckArguments<'_>,
    ) -> wasmtime::Result<Verdict> {
        // SAFETY: `new` checked this function against the same types; lifetimes are no part of a component's types.
        #[allow(unsafe_code, reason = "see the head of this file")]
        let func = unsafe { TypedFunc::<CheckArguments<'_>, (Verdict,)>::new_unchecked(self.0) };
        func.call(store, arguments).map(|(verdict,)| verdict)
    }
}
