//! Which rate is probed next, and when that is enough.
//!
//! 1. *Double*: short probes from the lowest rate on, until an objective breaks, in a whole probe too.
//! 2. *Close in*: the bracket is halved (in ratio) until it is a few precisions wide.
//! 3. *Repeat*: probes on both sides of the estimate, which each one moves, until the interval is narrow enough.
//! 4. *Confirm*: a rate just below is held for longer. When it does not hold, that goes into the estimate and a lower one
//!    is tried.
//!
//! The search depends on nothing but its settings and what probes say, so that one that was killed goes on by taking the
//! probes it had made from its file instead of making them.

use crate::boundary::{Boundary, boundary};
use crate::finding::Ending;
use crate::record::{Probe, Verdict};
use crate::settings::Settings;
use crate::system::{Ask, Fault, Phase, System};
use crate::watch::Watch;

/// Close in until the bracket is so many precisions wide.
const BRACKET: f64 = 4.0;
/// The fewest probes near the boundary on each of its sides, and together where shares vary.
const SIDE_MIN: usize = 2;
const NEAR_MIN: usize = 8;
/// What counts as near, in precisions.
const NEAR: f64 = 5.0;
/// How often the generator may spoil a probe, and the same again, near the boundary before it is left as it is.
const SPOILT_MAX: u32 = 2;
/// How often a probe that the generator spoilt is made again.
const RETRIES: usize = 1;
/// How often a lower rate is tried when the one found does not hold.
const CONFIRMATIONS_MAX: usize = 8;

/// What the search has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// How it ended.
    pub ending: Ending,
    /// All probes, in order.
    pub probes: Vec<Probe>,
    /// Where objectives break, as far as is known.
    pub boundary: Option<Boundary>,
    /// The highest rate that held, and the lowest above it that did not.
    pub bracket: (Option<f64>, Option<f64>),
    /// The place among `probes` of the one that confirmed.
    pub confirmed: Option<usize>,
}

/// Why a search ends before it is done.
enum Stop {
    End(Ending),
    /// The file cannot be written.
    Io(String),
}

/// Searches. `past` are the probes of a search that goes on; `keep` is called after each new probe with all of them.
///
/// # Errors
/// What `keep` fails with.
pub fn search(
    settings: &Settings,
    past: Vec<Probe>,
    system: &mut dyn System,
    keep: &mut dyn FnMut(&[Probe]) -> Result<(), String>,
) -> Result<Found, String> {
    let mut search = Search {
        settings,
        past: past.into_iter(),
        probes: Vec::new(),
        system,
        keep,
        low: None,
        high: None,
        generator: None,
        confirmed: None,
    };
    let ending = match search.run() {
        Ok(ending) | Err(Stop::End(ending)) => ending,
        Err(Stop::Io(error)) => return Err(error),
    };
    let near = search.near();
    Ok(Found {
        boundary: boundary(&search.probes, settings, near),
        bracket: (search.low, search.high),
        confirmed: search.confirmed,
        probes: search.probes,
        ending,
    })
}

struct Search<'a> {
    settings: &'a Settings,
    past: std::vec::IntoIter<Probe>,
    probes: Vec<Probe>,
    system: &'a mut dyn System,
    keep: &'a mut dyn FnMut(&[Probe]) -> Result<(), String>,
    /// The highest rate that held, and the lowest above it that did not.
    low: Option<f64>,
    high: Option<f64>,
    /// The lowest rate at which the generator was the bottleneck twice, if there is none below that the system broke at.
    generator: Option<f64>,
    confirmed: Option<usize>,
}

impl Search<'_> {
    fn run(&mut self) -> Result<Ending, Stop> {
        self.double()?;
        if let Some(end) = self.close_in()? {
            return Ok(end);
        }
        self.repeat()
    }

    /// Phase 1; ends with a rate that held and one that did not.
    fn double(&mut self) -> Result<(), Stop> {
        let Settings {
            min_rate, max_rate, ..
        } = *self.settings;
        let mut rate = min_rate;
        loop {
            let mut verdict = self.probe(Phase::Double, rate, self.settings.short_secs())?;
            if verdict != Verdict::Held {
                verdict = self.probe(Phase::Double, rate, self.settings.step_secs)?;
            }
            match verdict {
                Verdict::Held if rate >= max_rate => {
                    self.low = Some(rate);
                    return self.at_most();
                }
                Verdict::Held => self.low = Some(rate),
                Verdict::Generator => {
                    self.generator = Some(rate);
                    break;
                }
                Verdict::Broke | Verdict::Dead if self.low.is_none() => {
                    return Err(Stop::End(Ending::FailsAtLowest));
                }
                Verdict::Broke | Verdict::Dead => {
                    self.high = Some(rate);
                    break;
                }
            }
            rate = (rate * 2.0).min(max_rate);
        }
        if self.low.is_none() {
            return Err(Stop::End(Ending::LimitedByGenerator));
        }
        Ok(())
    }

    /// The highest rate allowed has held for a short time; what of a long one?
    fn at_most(&mut self) -> Result<(), Stop> {
        let rate = self.settings.max_rate;
        match self.probe(Phase::Confirm, rate, self.settings.confirm_secs)? {
            Verdict::Held => {
                self.confirmed = Some(self.probes.len() - 1);
                Err(Stop::End(Ending::NothingBreaks))
            }
            Verdict::Generator => {
                self.generator = Some(rate);
                self.low = self.best_below(rate);
                Ok(())
            }
            Verdict::Broke | Verdict::Dead => {
                self.high = Some(rate);
                self.low = self.best_below(rate);
                if self.low.is_none() {
                    return Err(Stop::End(Ending::FailsAtLowest));
                }
                Ok(())
            }
        }
    }

    /// Phase 2. An ending, when what is above the bracket is the generator.
    fn close_in(&mut self) -> Result<Option<Ending>, Stop> {
        while let Some(low) = self.low {
            let Some(high) = self.high.or(self.generator) else {
                break;
            };
            if high / low <= 1.0 + BRACKET * self.settings.precision {
                break;
            }
            // A generator's limit is no figure of the system: near is enough.
            if self.high.is_none() && high / low <= 1.2 {
                break;
            }
            let rate = (low * high).sqrt();
            match self.probe(Phase::CloseIn, rate, self.settings.step_secs)? {
                Verdict::Held => self.low = Some(rate),
                Verdict::Broke | Verdict::Dead => self.high = Some(rate),
                Verdict::Generator => self.generator = Some(rate),
            }
            // A limit above the boundary is none.
            if self
                .high
                .zip(self.generator)
                .is_some_and(|(high, limit)| high <= limit)
            {
                self.generator = None;
            }
        }
        if self.generator.is_none() {
            return Ok(None);
        }
        self.at_least().map(Some)
    }

    /// The generator is in the way: what held is confirmed, and more is not said.
    fn at_least(&mut self) -> Result<Ending, Stop> {
        let Some(mut rate) = self.low else {
            return Ok(Ending::LimitedByGenerator);
        };
        for _ in 0..CONFIRMATIONS_MAX {
            if self.probe(Phase::Confirm, rate, self.settings.confirm_secs)? == Verdict::Held {
                self.confirmed = Some(self.probes.len() - 1);
                self.low = Some(rate);
                break;
            }
            let lower =
                (rate * (1.0 - BRACKET * self.settings.precision)).max(self.settings.min_rate);
            if lower >= rate {
                break;
            }
            rate = lower;
        }
        Ok(Ending::LimitedByGenerator)
    }

    /// Phases 3 and 4.
    fn repeat(&mut self) -> Result<Ending, Stop> {
        let Settings {
            min_rate,
            max_rate,
            precision,
            step_secs,
            confirm_secs,
            probes_max,
            ..
        } = *self.settings;
        let mut last_tried = f64::INFINITY;
        let mut confirmations = 0;
        let mut spoilt = 0;
        loop {
            let Some(found) = boundary(&self.probes, self.settings, self.near()) else {
                return Ok(Ending::NotConfirmed);
            };
            if found.high < min_rate {
                return Ok(Ending::FailsAtLowest);
            }
            let half = (found.high - found.low) / 2.0 / found.rate;
            let (below, above) = self.counts(&found);
            let is_narrow = half <= precision
                && below >= SIDE_MIN
                && above >= SIDE_MIN
                && (found.dispersion <= 1.0 || below + above >= NEAR_MIN);
            let is_spent = self.probes.len() as u32 >= probes_max || spoilt > SPOILT_MAX;
            if !is_narrow && !is_spent {
                // Where the generator spoilt one, the next is farther off.
                let off = (half / 2.0).clamp(precision / 2.0, BRACKET * precision)
                    * f64::from(1 + spoilt);
                let rate = if below <= above {
                    found.rate * (1.0 - off)
                } else {
                    found.rate * (1.0 + off)
                };
                let rate = rate.clamp(min_rate, max_rate);
                if self.probe(Phase::Repeat, rate, step_secs)? == Verdict::Generator {
                    spoilt += 1;
                    // The system held close below and broke close above: what it can take is not out of the generator's reach.
                    if below > 0 && above > 0 {
                        continue;
                    }
                    self.generator = Some(rate);
                    self.low = self.best_below(rate);
                    return self.at_least();
                }
                continue;
            }
            // Close below the estimate, where it has been held if it has.
            let near = found.rate * (1.0 - half.min(precision) / 2.0);
            let held = self
                .best_below(near)
                .filter(|held| *held >= found.rate * (1.0 - half.min(precision)));
            let step = (1.0 - precision / 4.0) * last_tried;
            let rate = held.unwrap_or(near).min(step).max(min_rate);
            if confirmations == CONFIRMATIONS_MAX || rate >= last_tried {
                return Ok(Ending::NotConfirmed);
            }
            confirmations += 1;
            last_tried = rate;
            match self.probe(Phase::Confirm, rate, confirm_secs)? {
                Verdict::Held => {
                    self.confirmed = Some(self.probes.len() - 1);
                    return Ok(Ending::Found);
                }
                Verdict::Generator => {
                    self.generator = Some(rate);
                    self.low = self.best_below(rate);
                    return self.at_least();
                }
                Verdict::Broke | Verdict::Dead => {}
            }
        }
    }

    /// How many probes are near the estimate, below and above.
    fn counts(&self, found: &Boundary) -> (usize, usize) {
        let reach = NEAR * self.settings.precision;
        let near = self.probes.iter().filter(|p| {
            p.verdict != Verdict::Generator && (p.ask.rate / found.rate - 1.0).abs() <= reach
        });
        let (below, above): (Vec<&Probe>, Vec<&Probe>) =
            near.partition(|p| p.ask.rate <= found.rate);
        (below.len(), above.len())
    }

    /// A rate close to the boundary.
    fn near(&self) -> f64 {
        match (self.low, self.high) {
            (Some(low), Some(high)) => (low * high).sqrt(),
            (Some(rate), None) | (None, Some(rate)) => rate,
            (None, None) => self.settings.min_rate,
        }
    }

    /// The highest rate below `rate` at which a probe has held and none broke.
    fn best_below(&self, rate: f64) -> Option<f64> {
        let broke = |p: &&Probe| !p.held();
        let held = self
            .probes
            .iter()
            .filter(|p| p.held() && p.ask.rate <= rate);
        held.map(|p| p.ask.rate)
            .filter(|r| !self.probes.iter().filter(broke).any(|p| p.ask.rate <= *r))
            .max_by(f64::total_cmp)
    }

    /// Makes a probe; one that the generator spoilt is made again. A target that no longer answers is asked at a rate
    /// that it has held: when it does not answer that either, it is gone.
    fn probe(&mut self, phase: Phase, rate: f64, judged_secs: u32) -> Result<Verdict, Stop> {
        let mut verdict = self.once(phase, rate, judged_secs)?;
        for _ in 0..RETRIES {
            if verdict == Verdict::Generator {
                verdict = self.once(phase, rate, judged_secs)?;
            }
        }
        if verdict == Verdict::Dead {
            let sure = self.low.unwrap_or(self.settings.min_rate);
            let again = self.once(phase, sure, self.settings.short_secs())?;
            if again == Verdict::Dead {
                let mut why = match self.low {
                    None => "nothing answered".to_owned(),
                    Some(_) => "nothing answered, at a rate that it is known to hold".to_owned(),
                };
                let errors = self.probes.last().map(|probe| &probe.measured.errors);
                if let Some((kind, _)) = errors.and_then(|errors| errors.first()) {
                    why += &format!(
                        "; the most frequent error was `{kind}`, of which `loadr-fast run` shows an example"
                    );
                }
                return Err(Stop::End(Ending::TargetGone(why)));
            }
        }
        Ok(verdict)
    }

    fn once(&mut self, phase: Phase, rate: f64, judged_secs: u32) -> Result<Verdict, Stop> {
        let ask = Ask {
            number: self.probes.len() as u32 + 1,
            phase,
            rate,
            warm_up_secs: Settings::warm_up_secs(judged_secs, phase),
            judged_secs,
        };
        if let Some(probe) = self.past.next() {
            if probe.ask.is_same(&ask) {
                let verdict = probe.verdict;
                self.probes.push(probe);
                return Ok(verdict);
            }
            // Whatever came after is of another search.
            self.past = Vec::new().into_iter();
        }
        let per_iteration = self.requests_per_iteration();
        let mut watch = Watch::new(self.settings, ask, per_iteration);
        let measured = self
            .system
            .probe(&ask, &mut |shares| watch.second(shares))
            .map_err(|fault| {
                Stop::End(match fault {
                    Fault::Interrupted => Ending::Interrupted,
                    Fault::Unreachable(why) if self.probes.is_empty() => Ending::TargetDown(why),
                    Fault::Unreachable(why) => Ending::TargetGone(why),
                    Fault::Machine(why) => Ending::Machine(why),
                })
            })?;
        let probe = Probe::new(ask, measured, self.settings, watch.reason);
        let verdict = probe.verdict;
        self.probes.push(probe);
        (self.keep)(&self.probes).map_err(Stop::Io)?;
        Ok(verdict)
    }

    fn requests_per_iteration(&self) -> Option<f64> {
        let held = self.probes.iter().filter(|p| p.held());
        let (requests, iterations) = held.fold((0, 0), |(r, i), p| {
            (r + p.measured.requests, i + p.measured.iterations)
        });
        (iterations > 0).then(|| requests as f64 / iterations as f64)
    }
}
