//! `engine`, and what is only worth a warning.

use super::Compiler;
use crate::program::Engine;

impl Compiler<'_> {
    pub(super) fn engine(&mut self) -> Engine {
        let plan = self.plan;
        let cores = plan.engine.cores.as_ref().and_then(|cores| {
            cores
                .text
                .parse()
                .map_err(|wrong| self.report.error(&cores.at, wrong, None))
                .ok()
        });
        let source_ips_at = plan.engine.source_ips.first();
        Engine {
            cores,
            source_ips: self.source_ips(),
            source_ips_at: source_ips_at.map(|text| text.at.location()),
            spin: plan.engine.spin.unwrap_or_default(),
        }
    }

    /// Metrics of the plan's own stay empty.
    pub(super) fn own_metrics(&mut self) {
        let plan = self.plan;
        for metric in &plan.metrics {
            let message = "nothing here fills metrics of the plan's own: it stays empty".to_owned();
            let help = "tags on requests split the built-in metrics".to_owned();
            self.report.warning(&metric.at, message, Some(help));
        }
    }
}
