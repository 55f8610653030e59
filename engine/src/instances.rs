//! Who gets which instances of the plan's plugins: a shard its own, a virtual user its own, a call a fresh one. All that
//! last are made before the run.

use loadr_config::{
    Condition, Diagnostic, ExtractSource, InstancePer, PluginId, Program, ScenarioId,
};
use loadr_plugin_host::{Instance, Limits, Plugin, Turnover};

use crate::plugins::LoadedPlugins;
use crate::schedule::Slice;

/// One owner's instances, by [`PluginId`]; none of a plugin that belongs to somebody else.
pub(crate) type Instances = Box<[Option<Instance>]>;

/// The plan's plugins with the memory that a run of it needs.
pub(crate) struct Fleet {
    /// By [`PluginId`].
    plugins: Vec<(Plugin, Limits, InstancePer)>,
    /// By scenario and plugin: whether it is called there.
    used: Vec<Vec<bool>>,
}

impl Fleet {
    /// Sets memory aside for the virtual users of a slice of the program and the calls of so many shards.
    ///
    /// # Errors
    /// Each plugin whose instances do not fit, where the plan lists it.
    pub(crate) fn new(
        program: &Program,
        loaded: &LoadedPlugins,
        slice: Slice,
        shards: usize,
    ) -> Result<Self, Vec<Diagnostic>> {
        let used = used(program);
        let mut plugins = Vec::new();
        let mut problems = Vec::new();
        for (index, (plugin, limits)) in loaded.plugins.iter().enumerate() {
            let listed = &program.plugins[index];
            let pool = match listed.instance {
                InstancePer::Shard => None,
                InstancePer::Vu => {
                    let users = program.scenarios.iter().zip(&used);
                    let users = users
                        .filter(|(_, used)| used[index])
                        .map(|(s, _)| u64::from(slice.share(s.executor.vus_max())));
                    Some((users.sum(), Turnover::Run, "or fewer virtual users"))
                }
                InstancePer::Call => Some((shards as u64, Turnover::Call, "or fewer cores")),
            };
            let plugin = match pool {
                None | Some((0, ..)) => plugin.clone(),
                Some((count, turnover, less)) => {
                    let count = u32::try_from(count).unwrap_or(u32::MAX);
                    match plugin.pooled(count, limits, turnover) {
                        Ok(pooled) => pooled,
                        Err(error) => {
                            problems.push(Diagnostic {
                                path: listed.location.path.clone(),
                                line: listed.location.line,
                                column: listed.location.column,
                                message: format!("plugin `{}`: {error}", listed.name),
                                help: Some(format!("use `instance: shared`, {less}")),
                            });
                            continue;
                        }
                    }
                }
            };
            plugins.push((plugin, limits.clone(), listed.instance));
        }
        if problems.is_empty() {
            Ok(Self { plugins, used })
        } else {
            Err(problems)
        }
    }

    /// A shard's own.
    ///
    /// # Errors
    /// Which plugin cannot be started and why.
    pub(crate) fn for_shard(&self) -> Result<Instances, String> {
        self.make(|plugin, limits, per, _| match per {
            InstancePer::Shard => plugin.instantiate(limits).map(Some),
            InstancePer::Vu => Ok(None),
            InstancePer::Call => Ok(Some(plugin.fresh_each_call(limits))),
        })
    }

    /// A virtual user's own: of the plugins that its scenario calls. Empty where there are none.
    ///
    /// # Errors
    /// Which plugin cannot be started and why.
    pub(crate) fn for_user(&self, scenario: ScenarioId) -> Result<Instances, String> {
        let used = &self.used[scenario.at()];
        let is_own = |(_, _, per): &(Plugin, Limits, InstancePer), at: usize| {
            *per == InstancePer::Vu && used[at]
        };
        if !self
            .plugins
            .iter()
            .enumerate()
            .any(|(at, entry)| is_own(entry, at))
        {
            return Ok(Box::default());
        }
        self.make(|plugin, limits, per, at| {
            let wanted = per == InstancePer::Vu && used[at];
            wanted.then(|| plugin.instantiate(limits)).transpose()
        })
    }

    fn make<E: std::fmt::Display>(
        &self,
        make: impl Fn(&Plugin, &Limits, InstancePer, usize) -> Result<Option<Instance>, E>,
    ) -> Result<Instances, String> {
        let each = self.plugins.iter().enumerate();
        each.map(|(at, (plugin, limits, per))| {
            make(plugin, limits, *per, at)
                .map_err(|error| format!("plugin `{}` cannot be started: {error}", plugin.name()))
        })
        .collect()
    }
}

/// By scenario and plugin: whether it is called there.
fn used(program: &Program) -> Vec<Vec<bool>> {
    let mut used = vec![vec![false; program.plugins.len()]; program.scenarios.len()];
    for request in &program.requests {
        let extracts = request
            .extracts
            .iter()
            .filter_map(|extract| match extract.source {
                ExtractSource::Plugin(site) => Some(site),
                _ => None,
            });
        let asserts = request.asserts.iter().map(|assert| &assert.condition);
        let conditions = asserts.chain(request.checks.iter().map(|check| &check.condition));
        let judged = conditions.filter_map(|condition| match condition {
            Condition::Plugin(site) => Some(*site),
            _ => None,
        });
        for site in extracts.chain(judged) {
            let PluginId(plugin) = program.call_sites[site.at()].plugin;
            used[request.scenario.at()][plugin as usize] = true;
        }
    }
    used
}
