//! Which of our interfaces a component exports, and whether they have our types.

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::batch;
use crate::error::LoadError;
use crate::wit_type;

const DESCRIBE: &str =
    "func() -> record { name: string, version: string, kind: string, description: string }";
const EXTRACT: &str = "func(list<u8>, list<tuple<string, string>>, string) -> option<string>";
const CHECK: &str = "func(s64, list<u8>, list<tuple<string, string>>, f64, string) -> record { pass: bool, detail: string }";

/// The functions of a plugin, found once so that an instance need not look for them.
pub(crate) struct Functions {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) extract: Option<ComponentExportIndex>,
    pub(crate) check: Option<ComponentExportIndex>,
    /// The same, taking all arguments in one block.
    pub(crate) batched_extract: Option<ComponentExportIndex>,
    pub(crate) batched_check: Option<ComponentExportIndex>,
}

impl Functions {
    /// The memory that the code beside the guest's own takes, in bytes.
    pub(crate) fn batch_bytes(&self) -> u64 {
        let batched = [&self.batched_extract, &self.batched_check];
        batched.into_iter().flatten().count() as u64 * batch::MEMORY_BYTES
    }
}

/// Finds and type-checks the exports.
pub(crate) fn find(
    engine: &Engine,
    component: &Component,
    path: &Path,
) -> Result<Functions, LoadError> {
    let search = Search {
        engine,
        component,
        path,
    };
    let describe = search.function("meta", "describe", DESCRIBE)?;
    let extract = search.function("extractor", "extract", EXTRACT)?;
    let check = search.function("assertion", "check", CHECK)?;
    if extract.is_none() && check.is_none() {
        return Err(LoadError::new(
            path,
            format!(
                "exports neither loadr:plugin/extractor nor loadr:plugin/assertion{}; build it for the world \
                 loadr-plugin or loadr-assertion-plugin of loadr.wit",
                search.what_there_is()
            ),
        ));
    }
    let describe = describe.ok_or_else(|| {
        LoadError::new(
            path,
            "does not export loadr:plugin/meta; build it for the world loadr-plugin or loadr-assertion-plugin of \
             loadr.wit, which have it",
        )
    })?;
    Ok(Functions {
        describe,
        extract,
        check,
        batched_extract: component.get_export_index(None, batch::EXTRACT),
        batched_check: component.get_export_index(None, batch::CHECK),
    })
}

struct Search<'a> {
    engine: &'a Engine,
    component: &'a Component,
    path: &'a Path,
}

impl Search<'_> {
    /// The function of an interface, of any version 0.1.x or without one; none where the interface is not exported.
    fn function(
        &self,
        interface: &str,
        function: &str,
        expected: &str,
    ) -> Result<Option<ComponentExportIndex>, LoadError> {
        let Some((export, item)) = self.interface(interface)? else {
            return Ok(None);
        };
        let ComponentItem::ComponentInstance(instance) = item else {
            return Err(self.error(format!(
                "exports {export} as something other than an interface; {REBUILD}"
            )));
        };
        self.check_type(&instance, &export, function, expected)?;
        let index = self.component.get_export_index(None, export.as_str());
        let index = index.and_then(|index| self.component.get_export_index(Some(&index), function));
        index.map(Some).ok_or_else(|| {
            self.error(format!(
                "exports {export}, but {function} in it cannot be reached"
            ))
        })
    }

    fn check_type(
        &self,
        instance: &ComponentInstance,
        export: &str,
        function: &str,
        expected: &str,
    ) -> Result<(), LoadError> {
        let found = match instance
            .get_export(self.engine, function)
            .map(|export| export.ty)
        {
            Some(ComponentItem::ComponentFunc(ty)) => wit_type::func(&ty),
            Some(_) => "something other than a function".into(),
            None => "no such function".into(),
        };
        if found == expected {
            return Ok(());
        }
        Err(self.error(format!(
            "{export}: {function} has the wrong type: expected {expected}, found {found}; {REBUILD}"
        )))
    }

    /// The export under one of the names we accept.
    fn interface(&self, interface: &str) -> Result<Option<(String, ComponentItem)>, LoadError> {
        let bare = format!("loadr:plugin/{interface}");
        let mut found = None;
        let mut foreign = None;
        for (name, export) in self.component.component_type().exports(self.engine) {
            let Some(rest) = name.strip_prefix(&bare) else {
                continue;
            };
            if rest.is_empty() || rest.starts_with("@0.1.") {
                found = Some((name.to_owned(), export.ty));
            } else if rest.starts_with('@') {
                foreign = Some(name.to_owned());
            }
        }
        match (found, foreign) {
            (None, Some(name)) => Err(self.error(format!(
                "exports {}, a version this host does not speak; build it against loadr:plugin@0.1.0",
                crate::error::short(&name)
            ))),
            (found, _) => Ok(found),
        }
    }

    /// What is exported instead, for the message.
    fn what_there_is(&self) -> String {
        let ty = self.component.component_type();
        let names: Vec<_> = ty
            .exports(self.engine)
            .map(|(name, _)| name)
            .filter(|name| ![batch::EXTRACT, batch::CHECK].contains(name))
            .take(3)
            .map(crate::error::short)
            .collect();
        if names.is_empty() {
            " (it exports nothing)".into()
        } else {
            format!(" (it exports {})", names.join(", "))
        }
    }

    fn error(&self, message: String) -> LoadError {
        LoadError::new(self.path, message)
    }
}

const REBUILD: &str = "build it against loadr.wit as it is in plugin-host/wit";
