//! What a search has found, in the shape of its JSON file, and what it amounts to in words.

use loadr_figures::{count, duration_apart};
use serde::Serialize;

use crate::boundary::CONFIDENCE;
use crate::headroom::Headroom;
use crate::knee::{self, Knee};
use crate::little::Little;
use crate::record::{Probe, Verdict};
use crate::search::Found;
use crate::settings::Settings;
use crate::usl::{self, Usl};

/// The version of the file's shape.
const FORMAT: u32 = 1;

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A rate was found and confirmed.
    Found,
    /// An objective breaks at the lowest rate.
    FailsAtLowest,
    /// Every objective holds at the highest rate.
    NothingBreaks,
    /// The target cannot be reached: a sentence.
    TargetDown(String),
    /// It answered and then did not any more: a sentence.
    TargetGone(String),
    /// A boundary was found, and no rate below it held for as long as was asked.
    NotConfirmed,
    /// The generator was the bottleneck before an objective broke.
    LimitedByGenerator,
    /// A person ended it.
    Interrupted,
    /// It cannot be done here: a sentence.
    Machine(String),
}

impl Ending {
    /// In the result file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::FailsAtLowest => "fails_at_lowest",
            Self::NothingBreaks => "nothing_breaks",
            Self::TargetDown(_) => "target_down",
            Self::TargetGone(_) => "target_gone",
            Self::NotConfirmed => "not_confirmed",
            Self::LimitedByGenerator => "limited_by_generator",
            Self::Interrupted => "interrupted",
            Self::Machine(_) => "error",
        }
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Found => 0,
            Self::Machine(_) => 1,
            Self::FailsAtLowest => 91,
            Self::NothingBreaks => 92,
            Self::TargetDown(_) => 93,
            Self::TargetGone(_) => 94,
            Self::NotConfirmed => 95,
            Self::LimitedByGenerator => 98,
            Self::Interrupted => 130,
        }
    }
}

/// What was searched.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// The plan's name.
    pub plan: String,
    /// Its fingerprint.
    pub plan_hash: String,
    /// The scenario whose flow was driven.
    pub scenario: String,
    /// Of all random choices.
    pub seed: u64,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970.
    pub ended_ms: u64,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
}

/// A rate that was held.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sustained {
    /// Iterations a second.
    pub rate: f64,
    /// Requests a second.
    pub requests_per_sec: f64,
    /// For how long.
    pub secs: u32,
    /// The number of the probe.
    pub probe: u32,
}

/// The boundary and its interval.
#[derive(Clone, Debug, Serialize)]
pub struct BoundaryFound {
    /// From about where on an objective breaks, in iterations a second.
    pub rate: f64,
    /// The interval's ends.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// How often such an interval holds the truth.
    pub confidence: f64,
    /// The objective that breaks first.
    pub slo: String,
    /// How many times more than independent requests the shares vary.
    pub dispersion: f64,
    /// Probes that it was estimated from.
    pub probes: usize,
}

/// What is known when there is no estimate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bracket {
    /// The highest rate that held.
    pub held: Option<f64>,
    /// The lowest above it that did not.
    pub broke: Option<f64>,
}

/// Where the generator was in the way.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// The lowest such rate.
    pub rate: f64,
    /// Why, and what to change.
    pub reasons: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The version of this shape.
    pub format: u32,
    /// `capacity`.
    pub kind: &'static str,
    /// What was searched.
    #[serde(flatten)]
    pub subject: Subject,
    /// See [`Ending::name`].
    pub ended: &'static str,
    /// What the process exits with.
    pub exit_code: u8,
    /// The paragraph for people.
    pub sentence: String,
    /// What the search was told.
    pub settings: Settings,
    /// The rate that was held for as long as was asked.
    pub sustained: Option<Sustained>,
    /// The estimate.
    pub boundary: Option<BoundaryFound>,
    /// What the probes alone say.
    pub bracket: Bracket,
    /// Requests that an iteration makes.
    pub requests_per_iteration: Option<f64>,
    /// The knee of the curve of p99 over rate, by Kneedle.
    pub knee: Option<Knee>,
    /// The Universal Scalability Law.
    pub usl: Option<Usl>,
    /// Little's law.
    pub little: Little,
    /// Against the target rate.
    pub headroom: Option<Headroom>,
    /// Where the generator was in the way.
    pub generator_limit: Option<Limit>,
    /// All of them, in order.
    pub probes: Vec<Probe>,
}

impl Finding {
    /// Sums a search up. `target` is a rate to compare with and its growth a month.
    #[must_use]
    pub fn new(
        found: Found,
        settings: &Settings,
        subject: Subject,
        target: Option<(f64, Option<f64>)>,
    ) -> Self {
        let Found {
            ending,
            probes,
            boundary,
            bracket: (held, broke),
            confirmed,
        } = found;
        let sustained = confirmed.and_then(|at| probes.get(at)).map(|probe| {
            let per_iteration = per_iteration(std::slice::from_ref(probe)).unwrap_or(1.0);
            Sustained {
                rate: probe.ask.rate,
                requests_per_sec: probe.ask.rate * per_iteration,
                secs: probe.ask.judged_secs,
                probe: probe.ask.number,
            }
        });
        // An estimate is one only where there were probes on both sides.
        let is_estimated = matches!(
            ending,
            Ending::Found | Ending::NotConfirmed | Ending::Interrupted | Ending::TargetGone(_)
        ) && held.is_some()
            && broke.is_some();
        let boundary = boundary.filter(|_| is_estimated).map(|b| BoundaryFound {
            rate: b.rate,
            low: b.low,
            high: b.high,
            confidence: CONFIDENCE,
            slo: settings
                .slos
                .get(b.slo)
                .map(|slo| slo.text.clone())
                .unwrap_or_default(),
            dispersion: b.dispersion,
            probes: b.probes,
        });
        let is_least = matches!(ending, Ending::NothingBreaks | Ending::LimitedByGenerator);
        let headroom = sustained.zip(target).map(|(sustained, (rate, growth))| {
            Headroom::new(sustained.rate, rate, growth, is_least)
        });
        let edge = boundary.as_ref().map(|b| b.rate).or(broke);
        let mut finding = Self {
            format: FORMAT,
            kind: "capacity",
            ended: ending.name(),
            exit_code: ending.exit_code(),
            sentence: String::new(),
            sustained,
            boundary,
            bracket: Bracket { held, broke },
            requests_per_iteration: per_iteration(&probes),
            knee: knee::of_probes(&probes, edge),
            usl: usl::of_probes(&probes),
            little: Little::of(&probes),
            headroom,
            generator_limit: limit(&probes),
            settings: settings.clone(),
            subject,
            probes,
        };
        finding.sentence = finding.paragraph(&ending);
        finding
    }

    /// The result file: indented JSON, ending with a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Cannot fail: keys are strings, and what is no number is null.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    fn paragraph(&self, ending: &Ending) -> String {
        let name = format!("`{}` of {}", self.subject.scenario, self.subject.plan);
        let mut text = match ending {
            Ending::Found => self.found(&name),
            Ending::NothingBreaks => {
                let held = self.held_text();
                format!(
                    "{name} sustains at least {held}: nothing broke up to the highest rate allowed (`--max-rate`), so its \
                     capacity is higher than was tried"
                )
            }
            Ending::LimitedByGenerator => self.limited(&name),
            Ending::FailsAtLowest => format!(
                "{name} does not hold its objectives at the lowest rate tried, {}/s: {}. A lower `--min-rate` may find a rate \
                 that it sustains; if none does, load is not what breaks it",
                rate_text(self.settings.min_rate),
                self.broken_text(self.probes.last())
            ),
            Ending::TargetDown(why) => format!("nothing was measured: {why}"),
            Ending::TargetGone(why) => {
                format!(
                    "{name} stopped answering in probe {}: {why}. {}",
                    self.probes.len(),
                    self.bracket_text()
                )
            }
            Ending::NotConfirmed => self.not_confirmed(&name),
            Ending::Interrupted => {
                format!("the search was interrupted. {}", self.bracket_text())
            }
            Ending::Machine(why) => why.clone(),
        };
        if let Some(headroom) = &self.headroom {
            text += ". ";
            text += &headroom.sentence;
        }
        if !text.ends_with('.') {
            text.push('.');
        }
        let mut chars = text.chars();
        match chars.next() {
            Some(first) if !text.starts_with('`') => {
                first.to_uppercase().collect::<String>() + chars.as_str()
            }
            _ => text,
        }
    }

    fn found(&self, name: &str) -> String {
        let mut text = format!("{name} sustains {}", self.held_text());
        if let Some(boundary) = &self.boundary {
            text += &format!(
                ". From about {}/s on it breaks `{}` ({:.0} % interval {} to {}/s, {} probes)",
                rate_text(boundary.rate),
                boundary.slo,
                boundary.confidence * 100.0,
                rate_text(boundary.low),
                rate_text(boundary.high),
                self.probes.len()
            );
            let half = (boundary.high - boundary.low) / 2.0 / boundary.rate;
            if half > self.settings.precision {
                let of_generator = |p: &&Probe| p.verdict == Verdict::Generator;
                let spoilt = self.probes.iter().filter(of_generator).count();
                let why = if spoilt > 0 {
                    format!("the generator was the bottleneck in {spoilt} of the probes")
                } else {
                    "its response times vary too much for more in as many probes".to_owned()
                };
                text += &format!(
                    ", which is less precise than the {} % asked for: {why}",
                    percent(self.settings.precision),
                );
            }
        }
        text
    }

    /// The rate that was confirmed, and what it was like.
    fn held_text(&self) -> String {
        let Some(sustained) = self.sustained else {
            return "no rate that was confirmed".to_owned();
        };
        let mut text = format!("{} iterations a second", rate_text(sustained.rate));
        let per_iteration = sustained.requests_per_sec / sustained.rate;
        if (per_iteration - 1.0).abs() > 0.005 {
            text += &format!(
                " ({} requests a second)",
                rate_text(sustained.requests_per_sec)
            );
        }
        let probe = self.probes.iter().find(|p| p.ask.number == sustained.probe);
        if let Some(probe) = probe {
            let slos: Vec<String> = self
                .settings
                .slos
                .iter()
                .map(|slo| format!("`{}`", slo.text))
                .collect();
            text += &format!(
                " within {}: held for {} s with a p99 of {} and {} of {} requests bad by the tightest of these",
                slos.join(" and "),
                sustained.secs,
                duration_apart(probe.measured.latency.p99),
                count(self.tightest(probe).map_or(0, |share| share.bad)),
                count(probe.measured.requests)
            );
        }
        text
    }

    /// The share that is closest to what is allowed.
    fn tightest(&self, probe: &Probe) -> Option<crate::system::Share> {
        let used = |(slo, share): &(&crate::slo::Slo, &crate::system::Share)| {
            share.value() / slo.allowed.max(1e-9)
        };
        self.settings
            .slos
            .iter()
            .zip(&probe.measured.shares)
            .max_by(|a, b| used(a).total_cmp(&used(b)))
            .map(|(_, share)| *share)
    }

    fn limited(&self, name: &str) -> String {
        let reasons = self
            .generator_limit
            .as_ref()
            .map(|limit| {
                format!(
                    " At {}/s: {}",
                    rate_text(limit.rate),
                    limit.reasons.join("; ")
                )
            })
            .unwrap_or_default();
        match self.sustained {
            Some(_) => format!(
                "{name} sustains at least {}: limited by this generator, so its capacity may be higher.{reasons}",
                self.held_text()
            ),
            None => format!(
                "nothing can be said of {name}: limited by this generator.{reasons}. {}",
                self.bracket_text()
            ),
        }
    }

    fn not_confirmed(&self, name: &str) -> String {
        let mut text = format!(
            "{name} holds its objectives in probes of {} s and in none of {} s that was tried",
            self.settings.step_secs, self.settings.confirm_secs
        );
        if let Some(boundary) = &self.boundary {
            text += &format!(
                ": the boundary seems to be at {}/s ({:.0} % interval {} to {}/s), but just below it {}",
                rate_text(boundary.rate),
                boundary.confidence * 100.0,
                rate_text(boundary.low),
                rate_text(boundary.high),
                self.broken_text(self.probes.last())
            );
        }
        text + ". It may get slower as time goes on; a longer `--step-duration` would see that"
    }

    /// Which objectives a probe broke, and by how much.
    fn broken_text(&self, probe: Option<&Probe>) -> String {
        let Some(probe) = probe else {
            return "nothing was measured".to_owned();
        };
        let broken: Vec<String> = probe
            .reasons()
            .filter_map(|at| {
                let (slo, share) = (self.settings.slos.get(at)?, probe.measured.shares.get(at)?);
                Some(format!(
                    "{} % of the requests were bad by `{}`, which allows {} %",
                    percent(share.value()),
                    slo.text,
                    percent(slo.allowed)
                ))
            })
            .collect();
        let mut text = if broken.is_empty() {
            "nothing was answered".to_owned()
        } else {
            broken.join(", and ")
        };
        if let Some((error, count)) = probe.measured.errors.first() {
            text += &format!(" (most frequent error: {error}, {count} times)");
        }
        text
    }

    fn bracket_text(&self) -> String {
        if let Some(boundary) = &self.boundary {
            return format!(
                "So far: it seems to break `{}` from about {}/s on ({:.0} % interval {} to {}/s), which was not confirmed",
                boundary.slo,
                rate_text(boundary.rate),
                boundary.confidence * 100.0,
                rate_text(boundary.low),
                rate_text(boundary.high)
            );
        }
        match (self.bracket.held, self.bracket.broke) {
            (Some(held), Some(broke)) => format!(
                "So far: it held {}/s and did not hold {}/s, so its capacity is between the two",
                rate_text(held),
                rate_text(broke)
            ),
            (Some(held), None) => format!(
                "So far: it held {}/s, and nothing is known of higher rates",
                rate_text(held)
            ),
            (None, Some(broke)) => format!("So far: it did not hold {}/s", rate_text(broke)),
            (None, None) => "No probe was whole by then, so nothing is known".to_owned(),
        }
    }
}

fn per_iteration(probes: &[Probe]) -> Option<f64> {
    let held = probes.iter().filter(|p| p.held());
    let (requests, iterations) = held.fold((0, 0), |(r, i), p| {
        (r + p.measured.requests, i + p.measured.iterations)
    });
    (iterations > 0).then(|| requests as f64 / iterations as f64)
}

fn limit(probes: &[Probe]) -> Option<Limit> {
    let lowest = probes
        .iter()
        .filter(|p| p.verdict == Verdict::Generator)
        .min_by(|a, b| a.ask.rate.total_cmp(&b.ask.rate))?;
    Some(Limit {
        rate: lowest.ask.rate,
        reasons: lowest.measured.generator.clone(),
    })
}

/// A rate to four significant digits.
pub(crate) fn rate_text(rate: f64) -> String {
    if rate >= 100.0 {
        let digits = rate.log10().floor() as i32;
        let unit = 10f64.powi((digits - 3).max(0));
        return count(((rate / unit).round() * unit) as u64);
    }
    let text = format!("{rate:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Of a share, without needless zeros.
pub(crate) fn percent(share: f64) -> String {
    let p = share * 100.0;
    let text = if p >= 10.0 {
        format!("{p:.0}")
    } else {
        format!("{p:.2}")
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
