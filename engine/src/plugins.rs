//! The plan's plugins, loaded and held against what the plan asks of them.

use std::path::Path;

use loadr_config::{CallSiteId, Diagnostic, Location, PluginId, PluginKind, Program};
use loadr_plugin_host::{Host, Limits, Plugin, Reads};
use serde_json::{Map, Value};

/// Every plugin of a plan, ready to be instantiated by each shard.
pub struct LoadedPlugins {
    /// By [`PluginId`].
    pub(crate) plugins: Vec<(Plugin, Limits)>,
    /// By [`CallSiteId`]: the configuration as the plugin gets it, serialised once.
    configs: Vec<String>,
    /// Ticks the deadlines while any plugin lives.
    _host: Option<Host>,
}

impl LoadedPlugins {
    /// Loads the program's plugins from their files.
    ///
    /// # Errors
    /// Everything that is wrong, each where the plan says it.
    pub fn load(program: &Program) -> Result<Self, Vec<Diagnostic>> {
        if program.plugins.is_empty() {
            return Ok(Self {
                plugins: Vec::new(),
                configs: Vec::new(),
                _host: None,
            });
        }
        let host = Host::new().map_err(|error| {
            vec![diagnostic(
                &program.plugins[0].location,
                format!("plugins cannot run: {error}"),
                None,
            )]
        })?;
        let mut problems = Vec::new();
        let mut loaded = Vec::new();
        for used in &program.plugins {
            let Some(path) = &used.path else {
                problems.push(diagnostic(
                    &used.location,
                    format!("plugin `{}` has no path", used.name),
                    Some("give `path:` with its .wasm file or package directory".to_owned()),
                ));
                continue;
            };
            match host.load(Path::new(path)) {
                Ok(plugin) => {
                    let limits = Limits {
                        call_timeout: used.call_timeout,
                        memory_bytes: used.memory_bytes,
                    };
                    // Once here, so that a plugin that cannot start is found before the run.
                    if let Err(error) = plugin.instantiate(&limits) {
                        problems.push(diagnostic(
                            &used.location,
                            format!("plugin `{}` cannot be started: {error}", used.name),
                            None,
                        ));
                    }
                    loaded.push((plugin, limits));
                }
                Err(error) => {
                    let message = format!("plugin `{}` cannot be loaded: {error}", used.name);
                    problems.push(diagnostic(&used.location, message, None));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for site in &program.call_sites {
            let (plugin, _) = &loaded[site.plugin.at()];
            let exports = plugin.exports();
            let (has, wanted, other) = match site.kind {
                PluginKind::Extractor => (exports.extractor, "extractor", "assertion"),
                PluginKind::Assertion => (exports.assertion, "assertion", "extractor"),
            };
            if !has {
                let name = &program.plugins[site.plugin.at()].name;
                problems.push(diagnostic(
                    &site.location,
                    format!(
                        "plugin `{name}` is no {wanted}: its component exports only an {other}"
                    ),
                    Some(match site.kind {
                        PluginKind::Extractor => "use it under `assert:` or `checks:`".to_owned(),
                        PluginKind::Assertion => "use it under `extract:`".to_owned(),
                    }),
                ));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let configs = program
            .call_sites
            .iter()
            .map(|site| {
                let (plugin, _) = &loaded[site.plugin.at()];
                Value::Object(overlaid(plugin.default_config(), &site.config)).to_string()
            })
            .collect();
        Ok(Self {
            plugins: loaded,
            configs,
            _host: Some(host),
        })
    }

    pub(crate) fn reads(&self, plugin: PluginId) -> &Reads {
        self.plugins[plugin.at()].0.reads()
    }

    pub(crate) fn config(&self, site: CallSiteId) -> &str {
        &self.configs[site.at()]
    }
}

fn overlaid(under: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut config = under.clone();
    config.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    config
}

fn diagnostic(location: &Location, message: String, help: Option<String>) -> Diagnostic {
    Diagnostic {
        path: location.path.clone(),
        line: location.line,
        column: location.column,
        message,
        help,
    }
}
