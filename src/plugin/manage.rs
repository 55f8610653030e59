//! The commands on the install directory.

use std::path::Path;

use loadr_plugin_host::{Host, Installed, ReadHeaders, Store};
use serde_json::{Value, json};

use super::{print, print_json, told};

pub(super) fn install(store: &Store, path: &Path) -> Result<u8, String> {
    let host = Host::new().map_err(|error| error.to_string())?;
    let done = store.install(&host, path).map_err(|error| told(&error))?;
    let plugin = &done.plugin;
    let replaced = match &done.replaced {
        Some(version) if *version == plugin.version => ", in place of the same version".to_owned(),
        Some(version) => format!(", in place of {version}"),
        None => String::new(),
    };
    print(&format!(
        "installed {} {} ({}) in {}{replaced}\n",
        plugin.name,
        plugin.version,
        plugin.kind.as_str(),
        plugin.directory.display()
    ));
    if !plugin.enabled {
        print(&format!(
            "it stays disabled; `loadr-fast plugin enable {}` enables it\n",
            plugin.name
        ));
    }
    if let Some(note) = done.note {
        eprintln!(
            "warning: its machine code cannot be kept, so each run compiles it again: {note}"
        );
    }
    Ok(0)
}

pub(super) fn list(store: &Store, json: bool) -> Result<u8, String> {
    let listed = store.list().map_err(|error| told(&error))?;
    if json {
        let plugins = listed.iter().map(|listed| match &listed.plugin {
            Ok(plugin) => as_json(plugin),
            Err(error) => json!({ "name": listed.name, "error": error.to_string() }),
        });
        print_json(&plugins.collect());
        return Ok(0);
    }
    if listed.is_empty() {
        print(&format!(
            "no plugins are installed in {}\n",
            store.dir().display()
        ));
        return Ok(0);
    }
    let width = listed
        .iter()
        .map(|listed| listed.name.len())
        .max()
        .unwrap_or(0);
    for listed in &listed {
        print(&match &listed.plugin {
            Ok(plugin) => {
                let state = if plugin.enabled { "" } else { "  (disabled)" };
                format!(
                    "{:width$}  {:8}  {:9}  {}{state}\n",
                    plugin.name,
                    plugin.version,
                    plugin.kind.as_str(),
                    plugin.description
                )
            }
            Err(error) => format!("{:width$}  broken: {error}\n", listed.name),
        });
    }
    Ok(0)
}

pub(super) fn info(store: &Store, name: &str, json: bool) -> Result<u8, String> {
    let plugin = store.info(name).map_err(|error| told(&error))?;
    if json {
        print_json(&as_json(&plugin));
        return Ok(0);
    }
    let headers = match &plugin.reads.headers {
        ReadHeaders::All => "all headers".to_owned(),
        ReadHeaders::Only(names) if names.is_empty() => "no headers".to_owned(),
        ReadHeaders::Only(names) => names.join(", "),
    };
    print(&format!(
        "name         {}\nversion      {}\nkind         {}\ndescription  {}\nstate        {}\ndirectory    {}\n\
         component    {} ({} bytes)\nreads        {}, {headers}\nconfig       {}\n",
        plugin.name,
        plugin.version,
        plugin.kind.as_str(),
        plugin.description,
        if plugin.enabled {
            "enabled"
        } else {
            "disabled"
        },
        plugin.directory.display(),
        plugin.entry,
        plugin.component_bytes,
        if plugin.reads.body { "body" } else { "no body" },
        Value::Object(plugin.config.clone()),
    ));
    Ok(0)
}

pub(super) fn remove(store: &Store, name: &str) -> Result<u8, String> {
    store.remove(name).map_err(|error| told(&error))?;
    print(&format!("removed {name}\n"));
    Ok(0)
}

pub(super) fn enable(store: &Store, name: &str) -> Result<u8, String> {
    let changed = store.enable(name).map_err(|error| told(&error))?;
    print(&format!(
        "{name} {}\n",
        if changed {
            "is enabled"
        } else {
            "was enabled already"
        }
    ));
    Ok(0)
}

pub(super) fn disable(store: &Store, name: &str) -> Result<u8, String> {
    let changed = store.disable(name).map_err(|error| told(&error))?;
    print(&format!(
        "{name} {}\n",
        if changed {
            "is disabled"
        } else {
            "was disabled already"
        }
    ));
    Ok(0)
}

fn as_json(plugin: &Installed) -> Value {
    let headers = match &plugin.reads.headers {
        ReadHeaders::All => Value::Null,
        ReadHeaders::Only(names) => json!(names),
    };
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "kind": plugin.kind.as_str(),
        "description": plugin.description,
        "enabled": plugin.enabled,
        "directory": plugin.directory.to_string_lossy(),
        "entry": plugin.entry,
        "component_bytes": plugin.component_bytes,
        "reads": { "body": plugin.reads.body, "headers": headers },
        "config": plugin.config,
    })
}
