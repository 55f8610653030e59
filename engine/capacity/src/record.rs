//! A probe as it is kept, and the file that a search goes on from.

use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::slo::Slo;
use crate::system::{Ask, Measured, Share};

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every objective held.
    Held,
    /// One did not.
    Broke,
    /// One did not, and the generator may have been why of each: it says nothing of the system.
    Generator,
    /// Nothing answered any more.
    Dead,
}

/// A probe that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What was asked.
    pub ask: Ask,
    /// What came of it.
    pub measured: Measured,
    /// What that says.
    pub verdict: Verdict,
    /// Which objectives did not hold, by their place among the settings'.
    pub broken: Vec<usize>,
    /// Those of them that the generator may have broken.
    #[serde(default)]
    pub spoilt: Vec<usize>,
    /// Why it was ended before its time, if it was.
    pub abandoned: Option<String>,
}

impl Probe {
    /// Judges what was measured.
    pub(crate) fn new(
        ask: Ask,
        measured: Measured,
        settings: &Settings,
        abandoned: Option<String>,
    ) -> Self {
        let objectives = || settings.slos.iter().zip(&measured.shares).enumerate();
        let broken: Vec<usize> = objectives()
            .filter(|(_, (slo, share))| share.value() > slo.allowed)
            .map(|(at, _)| at)
            .collect();
        let spoilt: Vec<usize> = objectives()
            .filter(|(at, (slo, share))| {
                broken.contains(at) && measured.may_have_spoilt(slo, **share)
            })
            .map(|(at, _)| at)
            .collect();
        let verdict = if !measured.is_answering {
            Verdict::Dead
        } else if broken.is_empty() {
            Verdict::Held
        } else if spoilt.len() < broken.len() {
            Verdict::Broke
        } else {
            Verdict::Generator
        };
        // What became certain in the last second ended nothing.
        let abandoned = abandoned.filter(|_| measured.secs < f64::from(ask.judged_secs));
        Self {
            ask,
            measured,
            verdict,
            broken,
            spoilt,
            abandoned,
        }
    }

    pub(crate) fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }

    /// The objectives that say why it did not hold: where the system broke one, those that the generator may have broken say
    /// nothing.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = usize> {
        let broken = self.broken.iter().copied();
        broken.filter(|at| self.verdict != Verdict::Broke || !self.spoilt.contains(at))
    }
}

impl Measured {
    /// Whether an objective may hold for who has a better generator. What a request took is not known where that was in the way.
    /// That it failed was said by the target, but for so many as the generator may have made fail.
    fn may_have_spoilt(&self, slo: &Slo, share: Share) -> bool {
        if self.generator.is_empty() {
            return false;
        }
        let own = Share {
            bad: self.spoilt,
            of: self.requests,
        };
        slo.bound_ms.is_some() || share.value() - own.value() <= slo.allowed
    }
}

/// What is on disk while a search goes on: enough to go on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of this shape.
    pub format: u32,
    /// `capacity-state`.
    pub kind: String,
    /// What was searched: the plan's hash and all that decides which probe comes next.
    pub plan_hash: String,
    /// What the search was told.
    pub settings: Settings,
    /// The choice of random numbers.
    pub seed: u64,
    /// Those made so far.
    pub probes: Vec<Probe>,
}

impl State {
    /// The version that this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// Of a search with nothing done yet.
    #[must_use]
    pub fn new(plan_hash: String, settings: Settings, seed: u64) -> Self {
        Self {
            format: Self::FORMAT,
            kind: "capacity-state".to_owned(),
            plan_hash,
            settings,
            seed,
            probes: Vec::new(),
        }
    }

    /// Reads what [`State::to_json`] wrote, for a search of this plan with these settings.
    ///
    /// # Errors
    /// A sentence that says what the file is instead, or in what the searches differ.
    pub fn read(text: &str, plan_hash: &str, settings: &Settings) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        if value["kind"] != "capacity-state" {
            return Err("is no state of a capacity search".to_owned());
        }
        if value["format"] != Self::FORMAT {
            return Err(format!(
                "has the format {}, and this version reads {}",
                value["format"],
                Self::FORMAT
            ));
        }
        let state: Self = serde_json::from_value(value)
            .map_err(|error| format!("is not whole, or was changed: {error}"))?;
        if state.plan_hash != plan_hash {
            return Err("is of another plan, or the plan has changed since".to_owned());
        }
        // Numbers that went through text may differ in their last digit: both are to have.
        let through_text = serde_json::to_string(settings)
            .and_then(|text| serde_json::from_str::<Settings>(&text))
            .map_err(|error| error.to_string())?;
        if state.settings != through_text {
            return Err(format!(
                "is of a search with other settings: {}",
                difference(&state.settings, settings)
            ));
        }
        Ok(state)
    }

    /// The file's content.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Cannot fail: keys are strings, and what is no number is null.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The first setting that differs, with both values.
fn difference(then: &Settings, now: &Settings) -> String {
    let json = |settings| serde_json::to_value(settings).unwrap_or_default();
    let (then, now) = (json(then), json(now));
    let names = [
        ("slos", "--slo"),
        ("min_rate", "--min-rate"),
        ("max_rate", "--max-rate"),
        ("precision", "--precision"),
        ("step_secs", "--step-duration"),
        ("confirm_secs", "--confirm"),
    ];
    for (key, flag) in names {
        if then[key] != now[key] {
            if key == "slos" {
                return format!("`{flag}` was different");
            }
            return format!("`{flag}` was {} and is {}", then[key], now[key]);
        }
    }
    "they were made by another version".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Phase;

    /// A probe of 1,000 requests in which so many were too slow, failed, and may have failed for the generator.
    fn probe(slow: u64, failed: u64, spoilt: u64, is_generator_late: bool) -> Probe {
        let slo = |bound_ms| Slo {
            text: String::new(),
            allowed: 0.01,
            percentile: None,
            bound_ms,
            is_implied: false,
        };
        let settings = Settings {
            slos: vec![slo(Some(50.0)), slo(None)],
            min_rate: 1.0,
            max_rate: 1e6,
            precision: 0.02,
            step_secs: 10,
            confirm_secs: 60,
            probes_max: 60,
        };
        let share = |bad| Share { bad, of: 1000 };
        let measured = Measured {
            shares: vec![share(slow), share(failed)],
            requests: 1000,
            secs: 10.0,
            spoilt,
            generator: is_generator_late.then(String::new).into_iter().collect(),
            is_answering: true,
            ..Measured::default()
        };
        let ask = Ask {
            number: 1,
            phase: Phase::Double,
            rate: 100.0,
            warm_up_secs: 2,
            judged_secs: 10,
        };
        Probe::new(ask, measured, &settings, None)
    }

    #[test]
    fn a_late_generator_explains_durations_and_as_many_failures_as_it_may_have_made() {
        let said = |slow, failed, spoilt, is_late| {
            let probe = probe(slow, failed, spoilt, is_late);
            (probe.verdict, probe.broken, probe.spoilt)
        };
        assert_eq!(said(10, 10, 0, true), (Verdict::Held, vec![], vec![]));
        assert_eq!(
            said(11, 11, 900, false),
            (Verdict::Broke, vec![0, 1], vec![])
        );
        assert_eq!(said(11, 0, 0, true), (Verdict::Generator, vec![0], vec![0]));
        assert_eq!(said(0, 200, 150, true), (Verdict::Broke, vec![1], vec![]));
        assert_eq!(
            said(0, 200, 195, true),
            (Verdict::Generator, vec![1], vec![1])
        );
        assert_eq!(
            said(11, 200, 150, true),
            (Verdict::Broke, vec![0, 1], vec![0])
        );
        assert_eq!(
            said(11, 200, 195, true),
            (Verdict::Generator, vec![0, 1], vec![0, 1])
        );
    }
}
