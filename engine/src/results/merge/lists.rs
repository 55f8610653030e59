//! What a summary has lists of: checks, errors, plugins, outputs. Each is added up by its name.

use std::collections::BTreeMap;

use super::sum;
use crate::results::summary::{CheckSummary, Detail, ErrorSummary, OutputSummary, Summary};

/// The most different texts kept for one check.
const DETAILS_MAX: usize = 16;

/// The lists of the runs so far.
#[derive(Default)]
pub(super) struct Lists {
    checks: BTreeMap<String, CheckSummary>,
    errors: BTreeMap<String, ErrorSummary>,
    plugins: BTreeMap<String, (u64, u64)>,
    outputs: Vec<OutputSummary>,
}

impl Lists {
    pub(super) fn add(&mut self, summary: &Summary) -> Result<(), &'static str> {
        for check in &summary.checks {
            let mine = self
                .checks
                .entry(check.name.clone())
                .or_insert_with(|| CheckSummary {
                    name: check.name.clone(),
                    passes: 0,
                    fails: 0,
                    details: Vec::new(),
                });
            mine.passes = sum(mine.passes, check.passes)?;
            mine.fails = sum(mine.fails, check.fails)?;
            for detail in &check.details {
                let known = mine
                    .details
                    .iter()
                    .position(|known| known.text == detail.text);
                if let Some(known) = known.and_then(|at| mine.details.get_mut(at)) {
                    known.count = sum(known.count, detail.count)?;
                } else if mine.details.len() < DETAILS_MAX {
                    mine.details.push(detail.clone());
                }
            }
        }
        for error in &summary.errors {
            match self.errors.get_mut(&*error.kind) {
                Some(mine) => mine.count = sum(mine.count, error.count)?,
                None => {
                    self.errors.insert(error.kind.to_string(), error.clone());
                }
            }
        }
        for plugin in &summary.plugins {
            let mine = self.plugins.entry(plugin.name.clone()).or_default();
            *mine = (sum(mine.0, plugin.calls)?, sum(mine.1, plugin.errors)?);
        }
        for output in &summary.outputs {
            let known = self
                .outputs
                .iter()
                .position(|known| known.name == output.name);
            match known.and_then(|at| self.outputs.get_mut(at)) {
                Some(mine) => {
                    mine.points = sum(mine.points, output.points)?;
                    mine.dropped = sum(mine.dropped, output.dropped)?;
                    mine.failures = sum(mine.failures, output.failures)?;
                    mine.error = output.error.clone().or(mine.error.take());
                }
                None => self.outputs.push(output.clone()),
            }
        }
        Ok(())
    }

    /// Puts them in the order of the first run's, which `summary` has so far.
    pub(super) fn put(&mut self, summary: &mut Summary) {
        let mut checks = std::mem::take(&mut self.checks);
        let order: Vec<String> = summary
            .checks
            .iter()
            .map(|check| check.name.clone())
            .collect();
        summary.checks = order
            .iter()
            .filter_map(|name| checks.remove(name))
            .collect();
        summary.checks.extend(checks.into_values());
        for check in &mut summary.checks {
            let by_count =
                |a: &Detail, b: &Detail| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text));
            check.details.sort_by(by_count);
        }
        summary.errors = std::mem::take(&mut self.errors).into_values().collect();
        summary
            .errors
            .sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        for plugin in &mut summary.plugins {
            if let Some(sums) = self.plugins.get(&plugin.name) {
                (plugin.calls, plugin.errors) = *sums;
            }
        }
        summary.outputs = std::mem::take(&mut self.outputs);
    }
}
