//! The plugins of a plan, and the places that call them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{Location, PluginId};

/// A plugin that the plan lists.
#[derive(Debug)]
pub struct PluginUse {
    /// Its name: what steps say.
    pub name: String,
    /// The component file or package directory, absolute (relative paths are taken from the plan's folder);
    /// `None`: the installed plugin of this name.
    pub path: Option<PathBuf>,
    /// The longest that a call may take; 50 ms by default.
    pub call_timeout: Duration,
    /// The most linear memory it may have, in bytes; 64 MiB by default.
    pub memory_bytes: u64,
    /// Who shares an instance of it.
    pub instance: InstancePer,
    /// Where it is listed.
    pub location: Location,
}

/// Who shares an instance of a plugin, and so what the plugin can remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InstancePer {
    /// `shared`: all virtual users of a shard. The fastest.
    #[default]
    Shard,
    /// `vu`: one virtual user, for the whole run.
    Vu,
    /// `call`: nobody; each call gets a fresh one.
    Call,
}

/// One place in the flow that calls a plugin.
#[derive(Debug)]
pub struct CallSite {
    /// Which plugin.
    pub plugin: PluginId,
    /// Which of its functions.
    pub kind: PluginKind,
    /// `plugins[].config` overlaid with the step's `config` (the manifest's defaults lie under both).
    pub config: Map<String, Json>,
    /// Where the call is written.
    pub location: Location,
}

/// What a plugin is called as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginKind {
    /// `extractor.extract`
    Extractor,
    /// `assertion.check`
    Assertion,
}
