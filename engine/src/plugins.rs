//! The plan's plugins, loaded and held against what the plan asks of them.

use std::time::{Duration, Instant};

use loadr_config::{
    CallSiteId, Diagnostic, Location, PluginId, PluginKind, PluginUse, Program, did_you_mean,
};
use loadr_plugin_host::{Cache, Host, Limits, Plugin, Reads, Store, StoreError};
use serde_json::{Map, Value};

/// Every plugin of a plan, ready to be instantiated by each shard.
pub struct LoadedPlugins {
    /// By [`PluginId`].
    pub(crate) plugins: Vec<(Plugin, Limits)>,
    /// By [`CallSiteId`]: the configuration as the plugin gets it, serialised once.
    configs: Vec<String>,
    warnings: Vec<String>,
    /// Ticks the deadlines while any plugin lives.
    _host: Option<Host>,
}

/// Where plugins come from that a plan lists.
pub struct PluginSources {
    /// Where those without a `path:` are installed; none where no directory is known.
    pub store: Option<Store>,
    /// Where the machine code of those with a `path:` is kept.
    pub cache: Cache,
}

/// How long it must take to make a plugin ready before it is worth a word that the next run has to do so again.
const SLOW: Duration = Duration::from_millis(500);
/// How many plugins are loaded at once.
const SIDE_BY_SIDE: usize = 8;

impl LoadedPlugins {
    /// Loads the program's plugins from their files or from where they are installed.
    ///
    /// # Errors
    /// Everything that is wrong, each where the plan says it.
    pub fn load(program: &Program, sources: &PluginSources) -> Result<Self, Vec<Diagnostic>> {
        if program.plugins.is_empty() {
            return Ok(Self {
                plugins: Vec::new(),
                configs: Vec::new(),
                warnings: Vec::new(),
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
        let mut warnings = Vec::new();
        for (used, (found, took)) in
            program
                .plugins
                .iter()
                .zip(find_all(&host, sources, &program.plugins))
        {
            match found {
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
                    if let Some(note) = plugin.cache_note()
                        && took > SLOW
                    {
                        warnings.push(format!(
                            "plugin `{}` took {:.1} s to compile, and so it will each time, because its machine code cannot be \
                             kept: {note}",
                            used.name,
                            took.as_secs_f64()
                        ));
                    }
                    loaded.push((plugin, limits));
                }
                Err((message, help)) => problems.push(diagnostic(&used.location, message, help)),
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
            warnings,
            _host: Some(host),
        })
    }

    /// What a person may want to know and nothing fails for.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What their part of the load depends on: each plugin's code, and what each place in the flow hands it.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &[u8]> {
        let code = self
            .plugins
            .iter()
            .map(|(plugin, _)| plugin.digest().as_slice());
        code.chain(self.configs.iter().map(String::as_bytes))
    }

    pub(crate) fn reads(&self, plugin: PluginId) -> &Reads {
        self.plugins[plugin.at()].0.reads()
    }

    pub(crate) fn config(&self, site: CallSiteId) -> &str {
        &self.configs[site.at()]
    }
}

/// What came of loading a plugin: it, or a message and what may help.
type Found = Result<Plugin, (String, Option<String>)>;

/// Loads plugins side by side, so that a first run waits for the slowest compilation and not for all of them; with how
/// long each took.
fn find_all(host: &Host, sources: &PluginSources, used: &[PluginUse]) -> Vec<(Found, Duration)> {
    let timed = |used| {
        let began = Instant::now();
        let found = find(host, sources, used);
        (found, began.elapsed())
    };
    let mut all = Vec::new();
    for some in used.chunks(SIDE_BY_SIDE) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|used| scope.spawn(|| timed(used)))
                .collect();
            all.extend(threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    let message = "its loading broke off, which is a fault of this program";
                    (Err((message.to_owned(), None)), Duration::ZERO)
                })
            }));
        });
    }
    all
}

/// Loads one plugin.
fn find(host: &Host, sources: &PluginSources, used: &PluginUse) -> Found {
    let name = &used.name;
    if let Some(path) = &used.path {
        return sources
            .cache
            .load(host, path)
            .map_err(|error| (format!("plugin `{name}` cannot be loaded: {error}"), None));
    }
    let Some(store) = &sources.store else {
        let message =
            format!("plugin `{name}` has no path, and there is no directory of installed plugins");
        return Err((
            message,
            Some("give `path:` with its .wasm file or package directory, or set HOME".to_owned()),
        ));
    };
    store.load(host, name).map_err(|error| match &error {
        StoreError::NotInstalled { dir, installed, .. } => {
            let help = did_you_mean(name, installed.iter().map(String::as_str)).unwrap_or_else(|| {
                "install it with `loadr-fast plugin install PATH`, or give `path:` with its .wasm file or package directory"
                    .to_owned()
            });
            (format!("plugin `{name}` is not installed in {}", dir.display()), Some(help))
        }
        StoreError::Disabled(_) => (
            format!("plugin `{name}` is disabled"),
            Some(format!("enable it with `loadr-fast plugin enable {name}`")),
        ),
        _ => (format!("plugin `{name}` cannot be loaded: {error}"), None),
    })
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
