//! Hands a whole response over in one go. By the canonical ABI every header costs two calls of the guest's allocator, and
//! each is a way from the host into the guest and back, 30 ns or more. So a small module (`batch.wat`) is put beside the
//! guest's code, inside the same component, before it is compiled: the host writes one block into the module's own memory,
//! and the module makes the same calls in the same order from within, where a call costs next to nothing.
//!
//! The guest's code is not touched: sections are appended to the component, and an export beside its own. Where the
//! component is put together in a way that this file does not understand, it stays as it is and is called as it is.

mod find;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentTypeSection, ComponentValType, ExportKind, InstanceSection,
    ModuleArg, PrimitiveValType, RawSection,
};
use wasm_encoder::{ComponentSection, ComponentSectionId};

use crate::typed::Headers;
use find::{Counts, Lift};

/// The exports that are added.
pub(crate) const EXTRACT: &str = "batched-extract";
pub(crate) const CHECK: &str = "batched-check";

/// What the module's own memory takes, in bytes, for each of the two functions.
pub(crate) const MEMORY_BYTES: u64 = 33 << 16;

/// Tells machine code with this addition from machine code with another one: to be counted up with every change to what is
/// put beside a component.
pub(crate) const FINGERPRINT: u32 = 1;

/// The largest block, in bytes. A larger response is handed over piece by piece: there the pieces cost little, and another
/// copy would cost more.
const BLOCK_BYTES_MAX: usize = 128 << 10;

const EXTRACT_MODULE: &[u8] = include_bytes!("extract.wasm");
const CHECK_MODULE: &[u8] = include_bytes!("check.wasm");
/// `(module (func (export "done") (param i32)))`, for a guest that has nothing to do after a call.
const DONE_MODULE: &[u8] = include_bytes!("done.wasm");

/// The component with the module beside it, or none where it cannot be.
pub(crate) fn add(component: &[u8]) -> Option<Vec<u8>> {
    let found = find::find(component)?;
    let mut bytes = component.to_vec();
    let mut counts = found.counts;
    for (lift, module, name) in [
        (found.extract, EXTRACT_MODULE, EXTRACT),
        (found.check, CHECK_MODULE, CHECK),
    ] {
        if let Some(lift) = lift {
            append(&mut bytes, &mut counts, &lift, module, name);
        }
    }
    Some(bytes)
}

fn append(bytes: &mut Vec<u8>, counts: &mut Counts, lift: &Lift, module: &[u8], name: &str) {
    let core_module = |bytes: &mut Vec<u8>, counts: &mut Counts, module: &[u8]| {
        let id = ComponentSectionId::CoreModule.into();
        section(bytes, &RawSection { id, data: module });
        counts.core_modules += 1;
        counts.core_modules - 1
    };
    let alias = |bytes: &mut Vec<u8>, counts: &mut Counts, instance: u32, name: &str| {
        let mut aliases = ComponentAliasSection::new();
        aliases.alias(Alias::CoreInstanceExport {
            instance,
            kind: ExportKind::Func,
            name,
        });
        section(bytes, &aliases);
        counts.core_funcs += 1;
        counts.core_funcs - 1
    };
    let done = lift.post_return.unwrap_or_else(|| {
        let module = core_module(bytes, counts, DONE_MODULE);
        let mut instances = InstanceSection::new();
        instances.instantiate::<[(&str, ModuleArg); 0], &str>(module, []);
        section(bytes, &instances);
        counts.core_instances += 1;
        alias(bytes, counts, counts.core_instances - 1, "done")
    });

    let module = core_module(bytes, counts, module);
    let mut instances = InstanceSection::new();
    let guest = counts.core_instances;
    instances.export_items([
        ("memory", ExportKind::Memory, lift.memory),
        ("realloc", ExportKind::Func, lift.realloc),
        ("call", ExportKind::Func, lift.core_func),
        ("done", ExportKind::Func, done),
    ]);
    instances.instantiate(module, [("guest", ModuleArg::Instance(guest))]);
    section(bytes, &instances);
    counts.core_instances += 2;
    let ours = counts.core_instances - 1;

    let call = alias(bytes, counts, ours, "call");
    let realloc = alias(bytes, counts, ours, "realloc");
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: ours,
        kind: ExportKind::Memory,
        name: "memory",
    });
    section(bytes, &aliases);
    let memory = counts.core_memories;
    counts.core_memories += 1;

    let mut types = ComponentTypeSection::new();
    let (block, result) = (counts.types, counts.types + 1);
    types.defined_type().list(PrimitiveValType::U8);
    let block = ("block", ComponentValType::Type(block));
    if name == EXTRACT {
        types.defined_type().option(PrimitiveValType::String);
        types
            .function()
            .params([block])
            .result(Some(ComponentValType::Type(result)));
    } else {
        // As the record of the interface, which cannot be exported a second time.
        let fields = [PrimitiveValType::Bool, PrimitiveValType::String];
        types
            .defined_type()
            .tuple(fields.map(ComponentValType::Primitive));
        let status = ("status", ComponentValType::Primitive(PrimitiveValType::S64));
        let ms = ("ms", ComponentValType::Primitive(PrimitiveValType::F64));
        types
            .function()
            .params([block, status, ms])
            .result(Some(ComponentValType::Type(result)));
    }
    section(bytes, &types);
    counts.types += 3;

    let mut canonical = CanonicalFunctionSection::new();
    canonical.lift(
        call,
        counts.types - 1,
        [
            CanonicalOption::UTF8,
            CanonicalOption::Memory(memory),
            CanonicalOption::Realloc(realloc),
        ],
    );
    section(bytes, &canonical);
    let mut exports = ComponentExportSection::new();
    exports.export(name, ComponentExportKind::Func, counts.funcs, None);
    section(bytes, &exports);
    // The lifted function and its export.
    counts.funcs += 2;
}

fn section(bytes: &mut Vec<u8>, section: &impl ComponentSection) {
    bytes.push(section.id());
    section.encode(bytes);
}

/// Writes the block; false where it would be too large.
pub(crate) fn write(block: &mut Vec<u8>, body: &[u8], headers: &Headers<'_>, config: &str) -> bool {
    let text: usize = headers
        .iter()
        .map(|(name, value)| 8 + name.len() + value.len())
        .sum();
    if 12 + text + body.len() + config.len() > BLOCK_BYTES_MAX {
        return false;
    }
    block.clear();
    // None of them is larger than the block.
    let size = |bytes: usize| (bytes as u32).to_le_bytes();
    block.extend_from_slice(&size(headers.len()));
    block.extend_from_slice(&size(body.len()));
    block.extend_from_slice(&size(config.len()));
    for (name, value) in headers {
        block.extend_from_slice(&size(name.len()));
        block.extend_from_slice(&size(value.len()));
    }
    block.extend_from_slice(body);
    for (name, value) in headers {
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    block.extend_from_slice(config.as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(kind: &str) -> Vec<u8> {
        let other = if kind == "extract" {
            ";; check"
        } else {
            ";; extract"
        };
        let lines = include_str!("batch.wat").lines();
        let text: Vec<_> = lines.filter(|line| !line.ends_with(other)).collect();
        wat::parse_str(text.join("\n")).unwrap()
    }

    /// With `UPDATE_BATCH=1` it writes them.
    #[test]
    fn the_modules_are_what_their_source_says() {
        let done = wat::parse_str(r#"(module (func (export "done") (param i32)))"#).unwrap();
        let modules = [
            ("extract", compiled("extract"), EXTRACT_MODULE),
            ("check", compiled("check"), CHECK_MODULE),
            ("done", done, DONE_MODULE),
        ];
        for (name, source, committed) in modules {
            if std::env::var_os("UPDATE_BATCH").is_some() {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/batch/");
                std::fs::write(format!("{folder}{name}.wasm"), &source).unwrap();
            } else {
                assert!(
                    source == committed,
                    "{name}: run this test with UPDATE_BATCH=1"
                );
            }
        }
    }
}
