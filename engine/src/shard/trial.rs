//! One request's rendering and judging, without a network: what the benchmarks measure.

use std::rc::Rc;
use std::sync::Arc;

use loadr_config::Program;

use super::feed::{Feed, Shared};
use super::judge::Judge;
use super::tools::Tools;
use super::vars::Vars;
use crate::http::{Response, render};
use crate::instances::Instances;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;

/// A shard's and a virtual user's memory, for the first request of a plan without plugins.
pub struct Trial {
    program: Arc<Program>,
    plugins: LoadedPlugins,
    tools: Tools,
    record: Record,
    vars: Vars,
    instances: Instances,
    out: (Vec<u8>, Vec<u8>),
}

impl Trial {
    /// `None` when the program's plugins cannot be loaded.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Option<Self> {
        let sources = crate::PluginSources {
            store: None,
            cache: loadr_plugin_host::Cache::none(),
        };
        let plugins = LoadedPlugins::load(&program, &sources).ok()?;
        let shared = Arc::new(Shared::new(&program));
        let feed = Rc::new(Feed::new(Arc::clone(&program), shared, (0, 1), 1));
        Some(Self {
            tools: Tools::new(&program, Box::new([]), 1),
            record: Record::new(&program),
            vars: Vars::of(&feed, 1),
            instances: Box::new([]),
            out: Default::default(),
            plugins,
            program,
        })
    }

    /// Judges a whole response with this body; whether nothing failed.
    pub fn judge(&mut self, body: &[u8]) -> bool {
        let response = Response {
            status: 200,
            notes: 0,
            headers: &[],
            body,
            body_len: body.len() as u64,
        };
        let mut judge = Judge {
            program: &self.program,
            plugins: &self.plugins,
            tools: &mut self.tools,
            record: &mut self.record,
            vars: &mut self.vars,
            instances: &mut self.instances,
        };
        let verdict = judge.judge(&self.program.requests[0], &response, 1_000_000);
        verdict.failed.is_none()
    }

    /// Renders the request; how many bytes it has, or 0 when it cannot be rendered.
    pub fn render(&mut self) -> usize {
        let request = &self.program.requests[0];
        let (head, body) = &mut self.out;
        head.clear();
        body.clear();
        let content = request.body.as_ref();
        let rendered = content
            .map_or(Ok(()), |content| render(content, &self.vars, 0, body))
            .and_then(|()| render(&request.head, &self.vars, body.len(), head));
        rendered.map_or(0, |()| head.len() + body.len())
    }
}
