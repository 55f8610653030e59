//! What a step does with a whole response: extractions, asserts, checks.

mod condition;
mod extract;
mod refine;

use std::cell::RefCell;

use loadr_config::{OnFailure, Program, Request};
use loadr_plugin_host::CallError;

use self::extract::Failed;
use super::tools::{Asked, Tools};
use super::vars::Vars;
use crate::error_kind::ErrorKind;
use crate::http::Response;
use crate::instances::Instances;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Why the request failed, if it did: the first reason.
    pub(crate) failed: Option<ErrorKind>,
    /// The gravest of what the failed asserts ask for.
    pub(crate) on_failure: OnFailure,
    /// What asks for it.
    pub(crate) by: Option<Asker>,
}

/// What asks for an action on failure; by its place in the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Assert(usize),
    /// The check of a chain.
    Extract(usize),
}

impl Asker {
    /// What it is called.
    pub(crate) fn name<'p>(self, request: &'p Request, program: &'p Program) -> &'p str {
        match self {
            Self::Assert(at) => &request.asserts[at].name,
            Self::Extract(at) => &program.vars[request.extracts[at].var.at()],
        }
    }
}

impl Verdict {
    fn ask(&mut self, on_failure: OnFailure, by: Asker) {
        if self.by.is_none() || gravity(on_failure) > gravity(self.on_failure) {
            self.on_failure = on_failure;
            self.by = Some(by);
        }
    }
}

/// What judging needs beside the response.
pub(crate) struct Judge<'s> {
    pub(crate) program: &'s Program,
    pub(crate) plugins: &'s LoadedPlugins,
    pub(crate) tools: &'s mut Tools,
    pub(crate) record: &'s mut Record,
    /// The virtual user's own values and plugin instances: in cells, so that a step which wants neither leaves their
    /// memory alone.
    pub(crate) vars: &'s RefCell<Vars>,
    pub(crate) instances: &'s RefCell<Instances>,
}

impl Judge<'_> {
    /// Runs the step's extractions, asserts and checks, in this order.
    #[inline]
    pub(crate) fn judge(
        &mut self,
        request: &Request,
        response: &Response<'_>,
        duration_ns: u64,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let asked = Asked {
            status: response.status,
            headers: response.headers,
            body: response.body,
            body_len: response.body_len,
            duration_ns,
        };
        self.tools.bodies.begin();
        for (at, extract) in request.extracts.iter().enumerate() {
            if let Err(Failed { kind, on_failure }) = self.extract(extract, request, &asked) {
                verdict.failed.get_or_insert(kind);
                verdict.ask(on_failure, Asker::Extract(at));
            }
        }
        for (at, assert) in request.asserts.iter().enumerate() {
            match self.holds(&assert.condition, &asked) {
                Ok(true) => continue,
                Ok(false) => {
                    verdict.failed.get_or_insert(ErrorKind::Assert);
                    let found = self.found(&assert.condition, &asked);
                    self.record.error(ErrorKind::Assert, || {
                        format!("{}: {} ({found})", request.name, assert.name)
                    });
                }
                Err((kind, text)) => {
                    verdict.failed.get_or_insert(kind);
                    self.record.error(kind, || {
                        format!("{}: {}: {text}", request.name, assert.name)
                    });
                }
            }
            verdict.ask(assert.on_failure, Asker::Assert(at));
        }
        for check in &request.checks {
            match self.holds(&check.condition, &asked) {
                Ok(true) => self.record.check(check.id, true, None),
                Ok(false) => {
                    let found = self.found(&check.condition, &asked);
                    self.record.check(check.id, false, Some(&found));
                }
                Err((kind, text)) => {
                    self.record.check(check.id, false, Some(kind.as_str()));
                    let name = &self.program.checks[check.id.at()];
                    self.record
                        .error(kind, || format!("{}: {name}: {text}", request.name));
                }
            }
        }
        verdict
    }
}

fn kind_of(error: &CallError) -> ErrorKind {
    match error {
        CallError::Timeout => ErrorKind::PluginTimeout,
        CallError::Trap(_) => ErrorKind::PluginTrap,
    }
}

fn gravity(on_failure: OnFailure) -> u8 {
    match on_failure {
        OnFailure::Continue => 0,
        OnFailure::AbortIteration => 1,
        OnFailure::AbortScenario => 2,
        OnFailure::AbortTest => 3,
    }
}

fn content_type<'a>(asked: &Asked<'a>) -> Option<&'a [u8]> {
    let mut headers = asked.headers.iter();
    headers
        .find(|header| header.name.eq_ignore_ascii_case("content-type"))
        .map(|header| header.value)
}
