//! Component types as WIT text, for messages that show the type expected and the type found.

use wasmtime::component::types::{ComponentFunc, Type};

/// How deep a type is written out; a hostile one can be far deeper than anybody reads.
const DEPTH_MAX: usize = 6;

/// The longest text of a type, in bytes.
const TEXT_BYTES_MAX: usize = 300;

/// A function as `func(list<u8>, string) -> option<string>`. Parameter names are left out: they are not part of the match.
pub(crate) fn func(ty: &ComponentFunc) -> String {
    let mut out = String::new();
    if ty.async_() {
        out.push_str("async ");
    }
    out.push_str("func(");
    list(&mut out, ty.params().map(|(_, ty)| ty), 0);
    out.push(')');
    for result in ty.results() {
        out.push_str(" -> ");
        write(&mut out, &result, 0);
    }
    if out.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push('…');
    }
    out
}

fn list(out: &mut String, types: impl Iterator<Item = Type>, depth: usize) {
    for (index, ty) in types.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, &ty, depth);
        if out.len() > TEXT_BYTES_MAX {
            return;
        }
    }
}

fn write(out: &mut String, ty: &Type, depth: usize) {
    if depth > DEPTH_MAX {
        out.push('…');
        return;
    }
    let depth = depth + 1;
    match ty {
        Type::List(ty) => wrapped(out, "list", &[Some(ty.ty())], depth),
        Type::Option(ty) => wrapped(out, "option", &[Some(ty.ty())], depth),
        Type::Result(ty) => wrapped(out, "result", &[ty.ok(), ty.err()], depth),
        Type::Tuple(ty) => {
            out.push_str("tuple<");
            list(out, ty.types(), depth);
            out.push('>');
        }
        Type::Record(ty) => {
            out.push_str("record {");
            for (index, field) in ty.fields().enumerate() {
                out.push_str(if index > 0 { ", " } else { " " });
                out.push_str(field.name);
                out.push_str(": ");
                write(out, &field.ty, depth);
                if out.len() > TEXT_BYTES_MAX {
                    return;
                }
            }
            out.push_str(" }");
        }
        other => out.push_str(name(other)),
    }
}

fn wrapped<const N: usize>(out: &mut String, name: &str, types: &[Option<Type>; N], depth: usize) {
    out.push_str(name);
    if types.iter().all(Option::is_none) {
        return;
    }
    out.push('<');
    for (index, ty) in types.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        match ty {
            Some(ty) => write(out, ty, depth),
            None => out.push('_'),
        }
    }
    out.push('>');
}

fn name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Variant(_) => "variant",
        Type::Enum(_) => "enum",
        Type::Flags(_) => "flags",
        Type::Own(_) => "own",
        Type::Borrow(_) => "borrow",
        _ => "another type",
    }
}
