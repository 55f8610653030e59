//! The plan's `capacity` block: its texts as figures, each error where it is.

use crate::capacity::{CapacityPlan, parse_rate, parse_share, parse_slo, parse_step};
use crate::diagnostic::{Report, shown};
use crate::plan::{Plan, Text};

/// The largest `precision`, and `growth`.
const SHARE_MAX: f64 = 0.5;
const GROWTH_MAX: f64 = 10.0;

/// What the block says, if there is one.
pub(crate) fn capacity(plan: &Plan, report: &mut Report) -> Option<CapacityPlan> {
    let written = plan.capacity.as_ref()?;
    let mut slos = Vec::new();
    for slo in &written.slos {
        match parse_slo(&slo.text) {
            Ok(slo) => slos.push(slo),
            Err((message, help)) => report.error(&slo.at, message, help),
        }
    }
    let mut read = Read(report);
    let capacity = CapacityPlan {
        slos,
        min_rate: read.of(written.min_rate.as_ref(), parse_rate),
        max_rate: read.of(written.max_rate.as_ref(), parse_rate),
        precision: read.of(written.precision.as_ref(), |t| parse_share(t, SHARE_MAX)),
        step_duration: read.of(written.step_duration.as_ref(), parse_step),
        confirm: read.of(written.confirm.as_ref(), parse_step),
        target: read.of(written.target.as_ref(), parse_rate),
        growth: read.of(written.growth.as_ref(), |t| parse_share(t, GROWTH_MAX)),
        scenario: written.scenario.as_ref().map(|name| name.text.clone()),
    };
    if let (Some(min), Some(max)) = (capacity.min_rate, capacity.max_rate)
        && min > max
        && let Some(at) = &written.max_rate
    {
        let message = format!("`max_rate` is below `min_rate`: {max} and {min}");
        report.error(&at.at, message, None);
    }
    if let Some(name) = &written.scenario {
        // Those that other flags left out are there, too.
        let names = || plan.scenarios.iter().map(|scenario| scenario.name.as_str());
        if !names().any(|known| known == name.text) {
            let message = format!("there is no scenario `{}`", shown(&name.text));
            let help = report.suggest(&name.text, names());
            report.error(&name.at, message, help);
        }
    }
    Some(capacity)
}

struct Read<'a>(&'a mut Report);

impl Read<'_> {
    fn of<T>(
        &mut self,
        text: Option<&Text>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = text?;
        match parse(&text.text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.0.error(&text.at, message, None);
                None
            }
        }
    }
}
