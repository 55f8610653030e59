//! The answer to every WASI function that is not granted: no.
//!
//! The answer is made from the function's own type, so it holds for any version of any interface: a `result` is an error
//! (access denied, where the interface has a word for it), an `option` is none, a `list` is empty, and what leaves no room
//! for a refusal traps.

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, Type};
use wasmtime::component::{LinkerInstance, Resource, Val};

use super::Guest;

/// The type of all resources that cannot be had, such as descriptors. Of one, `network`, there are handles: they are the
/// ticket to functions that then refuse.
pub(super) struct Nothing;

/// How interfaces say that something is not allowed, best word first.
const REFUSALS: &[&str] = &[
    "access-denied",
    "access",
    "not-permitted",
    "HTTP-request-denied",
    "not-supported",
    "unsupported",
    "unknown",
];

/// Defines a function that refuses.
pub(super) fn define(
    to: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    if interface == "wasi:sockets/instance-network" && name == "instance-network" {
        return to.func_wrap(name, |_: StoreContextMut<'_, Guest>, (): ()| {
            Ok((Resource::<Nothing>::new_own(0),))
        });
    }
    let function = format!("{interface}#{name}");
    to.func_new(
        name,
        move |mut cx, ty: ComponentFunc, arguments: &[Val], results: &mut [Val]| {
            for argument in arguments {
                let_go(&mut cx, argument)?;
            }
            for (slot, ty) in results.iter_mut().zip(ty.results()) {
                *slot = refusal(&ty).ok_or_else(|| {
                    wasmtime::format_err!(
                        "the plugin called {function}, which a plugin may not use"
                    )
                })?;
            }
            Ok(())
        },
    )
}

/// Gives back the resource handles in an argument, as a host function must before it returns.
fn let_go(cx: &mut StoreContextMut<'_, Guest>, value: &Val) -> wasmtime::Result<()> {
    match value {
        Val::Resource(handle) => handle.resource_drop(&mut *cx),
        Val::List(items) | Val::Tuple(items) => items.iter().try_for_each(|item| let_go(cx, item)),
        Val::Record(fields) => fields.iter().try_for_each(|(_, field)| let_go(cx, field)),
        Val::Option(Some(value))
        | Val::Variant(_, Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => let_go(cx, value),
        _ => Ok(()),
    }
}

fn refusal(ty: &Type) -> Option<Val> {
    match ty {
        Type::Result(ty) => match ty.err() {
            None => Some(Val::Result(Err(None))),
            Some(error) => Some(Val::Result(Err(Some(Box::new(error_value(&error)?))))),
        },
        Type::Option(_) => Some(Val::Option(None)),
        Type::List(_) => Some(Val::List(Vec::new())),
        _ => None,
    }
}

/// The case of an error type that says no.
fn error_value(ty: &Type) -> Option<Val> {
    match ty {
        Type::Enum(ty) => {
            let word = REFUSALS
                .iter()
                .find(|word| ty.names().any(|name| name == **word))?;
            Some(Val::Enum((*word).to_owned()))
        }
        Type::Variant(ty) => {
            let word = REFUSALS.iter().find(|word| {
                ty.cases()
                    .any(|case| case.name == **word && case.ty.is_none())
            })?;
            Some(Val::Variant((*word).to_owned(), None))
        }
        _ => None,
    }
}
