//! What the generators say of themselves, and whether they made one load together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::sum;
use crate::results::summary::Summary;
use crate::results::verdict::{CLOCK_TOLERANCE_MS, Clock, Generator, LAG_SHARE};
use crate::thresholds::Sum;

/// The most reasons that are told; the rest are counted.
const REASONS_MAX: usize = 8;

/// The generators of the runs so far.
#[derive(Default)]
pub(super) struct Generators {
    generator: Generator,
    reasons: usize,
    machines_differ: bool,
    notes: Vec<Note>,
    clock: Option<Clock>,
    /// The first and the last of the segments to begin.
    began: Option<(Began, Began)>,
}

/// A note, the file that it is in first, and in how many others it is.
struct Note {
    text: String,
    path: PathBuf,
    more: usize,
}

/// When a segment began, by its machine's clock.
#[derive(Clone)]
struct Began {
    at_ms: u64,
    path: PathBuf,
}

impl Generators {
    /// Adds when a segment began, by its machine's clock.
    pub(super) fn add_start(&mut self, path: &Path, at_ms: u64) {
        let began = Began {
            at_ms,
            path: path.to_owned(),
        };
        match &mut self.began {
            None => self.began = Some((began.clone(), began)),
            Some((first, _)) if at_ms < first.at_ms => *first = began,
            Some((_, last)) if at_ms > last.at_ms => *last = began,
            Some(_) => {}
        }
    }

    fn add_clock(&mut self, clock: Clock) {
        let worst = self.clock.map_or(clock, |known| Clock {
            synchronised: known.synchronised && clock.synchronised,
            error_ms: known.error_ms.max(clock.error_ms),
            error_max_ms: known.error_max_ms.max(clock.error_max_ms),
        });
        self.clock = Some(worst);
    }

    /// Adds one; `first` is the run that came before all others.
    pub(super) fn add(
        &mut self,
        path: &Path,
        summary: &Summary,
        first: Option<&Summary>,
    ) -> Result<(), &'static str> {
        if let Some(clock) = summary.clock {
            self.add_clock(clock);
        }
        let generator = &summary.generator;
        let mine = &mut self.generator;
        if first.is_none() {
            mine.seed = generator.seed;
        }
        mine.cores.extend(&generator.cores);
        mine.cpu_max = mine.cpu_max.max(generator.cpu_max);
        mine.late_iterations = sum(mine.late_iterations, generator.late_iterations)?;
        mine.late_max_ms = mine.late_max_ms.max(generator.late_max_ms);
        mine.bottleneck |= generator.bottleneck;
        for reason in &generator.reasons {
            self.reasons += 1;
            if mine.reasons.len() < REASONS_MAX {
                mine.reasons.push(format!("{}: {reason}", path.display()));
            }
        }
        for note in &generator.notes {
            if let Some(known) = self.notes.iter_mut().find(|known| known.text == *note) {
                known.more += 1;
            } else if self.notes.len() < REASONS_MAX {
                self.notes.push(Note {
                    text: note.clone(),
                    path: path.to_owned(),
                    more: 0,
                });
            }
        }
        if let Some(first) = first {
            self.machines_differ |= first.environment != summary.environment;
        }
        Ok(())
    }

    /// How far the clocks of all are off.
    pub(super) fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// All of them as one; judged by the totals of all runs.
    pub(super) fn finish(&mut self, totals: &BTreeMap<Cow<'static, str>, Sum>) -> Generator {
        let p99 = |metric: &str| {
            let trend = totals.get(metric)?.trend.as_ref()?;
            (trend.count() > 0).then(|| trend.percentile_ms(99.0))
        };
        let mine = &mut self.generator;
        mine.lag_p99_ms = p99("generator_lag");
        if self.reasons > mine.reasons.len() {
            mine.reasons
                .push(format!("and {} more", self.reasons - mine.reasons.len()));
        }
        if let (false, Some(lag), Some(response)) =
            (mine.bottleneck, mine.lag_p99_ms, p99("http_req_response"))
            && lag > response * LAG_SHARE
        {
            mine.bottleneck = true;
            mine.reasons.push(format!(
                "generator lag: over all runs its p99 is {lag:.3} ms, above a tenth of the reported p99 of {response:.3} ms"
            ));
        }
        mine.notes.extend(self.notes.iter().map(|note| {
            let path = note.path.display();
            match note.more {
                0 => format!("{path}: {}", note.text),
                more => format!("{path} and {more} more: {}", note.text),
            }
        }));
        if let Some((first, last)) = &self.began {
            let apart_ms = last.at_ms.saturating_sub(first.at_ms);
            if apart_ms as f64 > CLOCK_TOLERANCE_MS {
                mine.bottleneck = true;
                mine.reasons.push(format!(
                    "the segments did not begin together: {} began {:.3} s after {}, by their clocks, and more than {:.1} s makes \
                     another load than the plan's (`--start-at` starts them together)",
                    last.path.display(),
                    apart_ms as f64 / 1e3,
                    first.path.display(),
                    CLOCK_TOLERANCE_MS / 1e3
                ));
            }
        }
        if self.machines_differ {
            mine.notes.push(
                "the runs are of different machines or versions: `environment` is the first one's"
                    .to_owned(),
            );
        }
        std::mem::take(mine)
    }
}
