//! Where a component's functions and the things around them are, by their index. Only the outermost component is looked at.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentDefinedType,
    ComponentExternalKind, ComponentFuncType, ComponentOuterAliasKind, ComponentType,
    ComponentValType, ExternalKind, Parser, Payload, PrimitiveValType,
};

/// How many of each there are.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) core_modules: u32,
    pub(super) core_instances: u32,
    pub(super) core_funcs: u32,
    pub(super) core_memories: u32,
    pub(super) types: u32,
    pub(super) funcs: u32,
}

/// A core function that was made one of the component's.
pub(super) struct Lift {
    pub(super) core_func: u32,
    pub(super) memory: u32,
    pub(super) realloc: u32,
    pub(super) post_return: Option<u32>,
}

pub(super) struct Found {
    pub(super) counts: Counts,
    pub(super) extract: Option<Lift>,
    pub(super) check: Option<Lift>,
}

/// The functions that have the types of ours. None where neither is there, or the component has parts not known here.
pub(super) fn find(component: &[u8]) -> Option<Found> {
    let mut reader = Reader::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        if depth == 0 {
            reader.read(&payload)?;
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    // Two of one type: there is no telling which is exported.
    let only = |mut lifts: Vec<Lift>| if lifts.len() == 1 { lifts.pop() } else { None };
    let (extract, check) = (only(reader.extracts), only(reader.checks));
    (extract.is_some() || check.is_some()).then_some(Found {
        counts: reader.counts,
        extract,
        check,
    })
}

#[derive(Default)]
struct Reader<'a> {
    counts: Counts,
    /// By type index; none where it is a type not made here.
    types: Vec<Option<ComponentType<'a>>>,
    /// By type index of an export or alias: the type it stands for.
    same: Vec<(u32, u32)>,
    extracts: Vec<Lift>,
    checks: Vec<Lift>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, payload: &Payload<'a>) -> Option<()> {
        match payload {
            Payload::ModuleSection { .. } => self.counts.core_modules += 1,
            Payload::InstanceSection(section) => self.counts.core_instances += section.count(),
            Payload::ComponentTypeSection(section) => {
                for ty in section.clone() {
                    self.add_type(Some(ty.ok()?));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.ok()?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    self.canonical(function.ok()?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    self.item(import.ok()?.ty.kind());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.ok()?;
                    if export.kind == ComponentExternalKind::Type {
                        self.same.push((self.counts.types, export.index));
                    }
                    self.item(export.kind);
                }
            }
            Payload::Version { .. }
            | Payload::CoreTypeSection(_)
            | Payload::ComponentSection { .. }
            | Payload::ComponentInstanceSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return None,
        }
        Some(())
    }

    fn add_type(&mut self, ty: Option<ComponentType<'a>>) {
        self.types.push(ty);
        self.counts.types += 1;
    }

    fn item(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Func => self.counts.funcs += 1,
            ComponentExternalKind::Type => self.add_type(None),
            ComponentExternalKind::Module => self.counts.core_modules += 1,
            _ => {}
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => self.item(*kind),
            ComponentAlias::CoreInstanceExport { kind, .. } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => self.counts.core_funcs += 1,
                ExternalKind::Memory => self.counts.core_memories += 1,
                _ => {}
            },
            ComponentAlias::Outer { kind, .. } => match kind {
                ComponentOuterAliasKind::Type => self.add_type(None),
                ComponentOuterAliasKind::CoreModule => self.counts.core_modules += 1,
                _ => {}
            },
        }
    }

    fn canonical(&mut self, function: CanonicalFunction) {
        let CanonicalFunction::Lift {
            core_func_index,
            type_index,
            options,
        } = function
        else {
            self.counts.core_funcs += 1;
            return;
        };
        self.counts.funcs += 1;
        let Some(ComponentType::Func(ty)) = self.ty(type_index) else {
            return;
        };
        let (is_extract, is_check) = (self.is_extract(ty), self.is_check(ty));
        if let Some(lift) = lift(core_func_index, &options) {
            if is_extract {
                self.extracts.push(lift);
            } else if is_check {
                self.checks.push(lift);
            }
        }
    }

    fn ty(&self, mut index: u32) -> Option<&ComponentType<'a>> {
        // An export comes after what it exports, so this ends.
        while let Some((_, of)) = self
            .same
            .iter()
            .find(|(same, of)| *same == index && *of < index)
        {
            index = *of;
        }
        self.types.get(index as usize)?.as_ref()
    }

    fn defined(&self, ty: ComponentValType) -> Option<&ComponentDefinedType<'a>> {
        match ty {
            ComponentValType::Primitive(_) => None,
            ComponentValType::Type(index) => match self.ty(index)? {
                ComponentType::Defined(defined) => Some(defined),
                _ => None,
            },
        }
    }

    fn is_primitive(&self, ty: ComponentValType, primitive: PrimitiveValType) -> bool {
        match ty {
            ComponentValType::Primitive(ty) => ty == primitive,
            ComponentValType::Type(_) => {
                matches!(self.defined(ty), Some(ComponentDefinedType::Primitive(ty)) if *ty == primitive)
            }
        }
    }

    fn is_string(&self, ty: ComponentValType) -> bool {
        self.is_primitive(ty, PrimitiveValType::String)
    }

    fn is_body(&self, ty: ComponentValType) -> bool {
        matches!(self.defined(ty), Some(ComponentDefinedType::List(of)) if self.is_primitive(*of, PrimitiveValType::U8))
    }

    fn is_headers(&self, ty: ComponentValType) -> bool {
        let Some(ComponentDefinedType::List(pair)) = self.defined(ty) else {
            return false;
        };
        let Some(ComponentDefinedType::Tuple(pair)) = self.defined(*pair) else {
            return false;
        };
        matches!(**pair, [name, value] if self.is_string(name) && self.is_string(value))
    }

    fn is_extract(&self, ty: &ComponentFuncType<'_>) -> bool {
        let [(_, body), (_, headers), (_, config)] = *ty.params else {
            return false;
        };
        let Some(Some(ComponentDefinedType::Option(value))) = ty.result.map(|ty| self.defined(ty))
        else {
            return false;
        };
        !ty.async_
            && self.is_body(body)
            && self.is_headers(headers)
            && self.is_string(config)
            && self.is_string(*value)
    }

    fn is_check(&self, ty: &ComponentFuncType<'_>) -> bool {
        let [
            (_, status),
            (_, body),
            (_, headers),
            (_, duration),
            (_, config),
        ] = *ty.params
        else {
            return false;
        };
        let Some(Some(ComponentDefinedType::Record(verdict))) =
            ty.result.map(|ty| self.defined(ty))
        else {
            return false;
        };
        let [(_, pass), (_, detail)] = **verdict else {
            return false;
        };
        !ty.async_
            && self.is_primitive(status, PrimitiveValType::S64)
            && self.is_body(body)
            && self.is_headers(headers)
            && self.is_primitive(duration, PrimitiveValType::F64)
            && self.is_string(config)
            && self.is_primitive(pass, PrimitiveValType::Bool)
            && self.is_string(detail)
    }
}

/// None where text is not UTF-8 or something else is out of the ordinary.
fn lift(core_func: u32, options: &[CanonicalOption]) -> Option<Lift> {
    let (mut memory, mut realloc, mut post_return) = (None, None, None);
    for option in options {
        match *option {
            CanonicalOption::UTF8 => {}
            CanonicalOption::Memory(index) => memory = Some(index),
            CanonicalOption::Realloc(index) => realloc = Some(index),
            CanonicalOption::PostReturn(index) => post_return = Some(index),
            _ => return None,
        }
    }
    Some(Lift {
        core_func,
        memory: memory?,
        realloc: realloc?,
        post_return,
    })
}
