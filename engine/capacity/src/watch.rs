//! Ends a probe early when its result is certain. Two rules, for each objective:
//!
//! 1. *Curtailment* (Alling 1966; Eisenberg & Ghosh 1980): when so many requests are bad already that their share of
//!    **all** requests the probe will make exceeds the [cap](cap), the probe's result is decided whatever comes after.
//!    The cap is also where the estimate of the boundary cuts shares off, so that a probe ended by this rule says exactly
//!    what it would have said whole: the rule has no error and biases nothing, and needs no independence.
//! 2. *Batch means with spent alpha*: each second is one observation of the share, because requests of one second
//!    depend on each other (they share a queue) far more than seconds do. When the lower confidence bound of the mean
//!    (Student's t over seconds) is above what is allowed, the objective is broken. The bound's error [`ALPHA`] is divided
//!    evenly over the looks that the probe will take (Bonferroni's bound; the plainest alpha-spending function of Lan &
//!    DeMets 1983), so that it holds for all looks together. It ends probes of objectives that allow much, such as `med`,
//!    where curtailment comes late.

use crate::settings::Settings;
use crate::special::t_quantile;
use crate::system::{Ask, Phase, Share};

/// The chance that rule 2 is wrong about a probe's objective.
const ALPHA: f64 = 0.001;
/// See [`cap`].
const CAP: f64 = 30.0;
/// With fewer seconds nobody knows how they differ.
const SECONDS_MIN: usize = 4;

/// The share beyond which more bad requests add nothing: so many times what is allowed, or half of the way to all. One
/// long wait makes a tenth of a probe bad at a rate that holds on average; cut off there the boundary came out 0.5 % high.
pub(crate) fn cap(allowed: f64) -> f64 {
    (allowed * CAP).clamp(0.01, f64::midpoint(allowed, 1.0))
}

/// Watches one probe.
pub(crate) struct Watch<'a> {
    settings: &'a Settings,
    ask: Ask,
    /// Iterations are planned; requests are judged.
    requests_per_iteration: Option<f64>,
    /// By objective.
    sums: Vec<Share>,
    /// By objective: each second's share.
    seconds: Vec<Vec<f64>>,
    pub(crate) reason: Option<String>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        ask: Ask,
        requests_per_iteration: Option<f64>,
    ) -> Self {
        let slos = settings.slos.len();
        Self {
            settings,
            ask,
            requests_per_iteration,
            sums: vec![Share::default(); slos],
            seconds: vec![Vec::new(); slos],
            reason: None,
        }
    }

    /// One more second; whether the probe should go on.
    pub(crate) fn second(&mut self, shares: &[Share]) -> bool {
        for (at, share) in shares.iter().enumerate().take(self.sums.len()) {
            self.sums[at] += *share;
            if share.of > 0 {
                self.seconds[at].push(share.value());
            }
        }
        if self.reason.is_none() {
            self.reason = (0..self.sums.len()).find_map(|at| self.certain(at));
        }
        self.reason.is_none()
    }

    fn certain(&self, at: usize) -> Option<String> {
        let slo = self.settings.slos.get(at)?;
        let (sum, secs) = (self.sums[at], f64::from(self.ask.judged_secs));
        if let Some(per_iteration) = self.requests_per_iteration {
            // A confirmation is only judged; the others also estimate.
            let decided = match self.ask.phase {
                Phase::Confirm => slo.allowed,
                _ => cap(slo.allowed),
            };
            let planned = self.ask.rate * secs * per_iteration;
            if sum.bad as f64 > decided * planned && sum.bad > 0 {
                return Some(format!(
                    "{} of about {planned:.0} requests that the whole probe would make were bad already, and `{}` allows \
                     {:.0}",
                    sum.bad,
                    slo.text,
                    slo.allowed * planned
                ));
            }
        }
        let seconds = &self.seconds[at];
        if seconds.len() < SECONDS_MIN || self.ask.phase == Phase::Repeat {
            return None;
        }
        let n = seconds.len() as f64;
        let mean = seconds.iter().sum::<f64>() / n;
        let variance = seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let t = t_quantile(1.0 - ALPHA / secs.max(1.0), n - 1.0);
        let low = mean - t * (variance / n).sqrt();
        (low > slo.allowed).then(|| {
            format!(
                "at least {:.1} % of the requests were bad with {:.1} % confidence, and `{}` allows {:.1} %",
                low * 100.0,
                (1.0 - ALPHA) * 100.0,
                slo.text,
                slo.allowed * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::Slo;

    fn settings(allowed: f64) -> Settings {
        Settings {
            slos: vec![Slo {
                text: "s".to_owned(),
                allowed,
                percentile: None,
                bound_ms: None,
                is_implied: false,
            }],
            min_rate: 1.0,
            max_rate: 1e6,
            precision: 0.02,
            step_secs: 10,
            confirm_secs: 60,
            probes_max: 60,
        }
    }

    fn ask(phase: Phase) -> Ask {
        Ask {
            number: 1,
            phase,
            rate: 1000.0,
            warm_up_secs: 2,
            judged_secs: 10,
        }
    }

    fn seconds_until_end(settings: &Settings, phase: Phase, bad: impl Fn(usize) -> u64) -> usize {
        let mut watch = Watch::new(settings, ask(phase), Some(1.0));
        (0..10)
            .find(|s| {
                !watch.second(&[Share {
                    bad: bad(*s),
                    of: 1000,
                }])
            })
            .map_or(10, |s| s + 1)
    }

    #[test]
    fn a_probe_ends_once_no_rest_could_bring_it_below_the_cap_and_not_before() {
        // The cap is 30 % of 10,000 requests.
        let settings = settings(0.01);
        assert_eq!(seconds_until_end(&settings, Phase::Repeat, |_| 1000), 4);
        assert_eq!(seconds_until_end(&settings, Phase::Repeat, |_| 600), 6);
        assert_eq!(seconds_until_end(&settings, Phase::Repeat, |_| 300), 10);
        assert_eq!(seconds_until_end(&settings, Phase::Repeat, |_| 9), 10);
        // A confirmation ends with the verdict.
        assert_eq!(seconds_until_end(&settings, Phase::Confirm, |_| 60), 2);
        assert_eq!(seconds_until_end(&settings, Phase::Confirm, |_| 10), 10);
    }

    #[test]
    fn an_objective_that_allows_much_is_ended_by_the_bound_over_seconds() {
        let settings = settings(0.5);
        let noisy = |s: usize| 900 + (s as u64 % 3) * 10;
        assert!(seconds_until_end(&settings, Phase::Double, noisy) <= 5);
        // One second of all bad between good ones says nothing.
        let pause = |s: usize| if s.is_multiple_of(2) { 1000 } else { 100 };
        assert_eq!(seconds_until_end(&settings, Phase::Double, pause), 10);
    }

    #[test]
    fn rule_two_is_wrong_less_often_than_it_says() {
        // Just what is allowed, with seconds that differ much: over many probes hardly one may be ended.
        let settings = settings(0.5);
        let mut state = 7_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 1001
        };
        let mut ended = 0;
        for _ in 0..20_000 {
            let mut watch = Watch::new(&settings, ask(Phase::Double), None);
            let all = (0..10).all(|_| {
                watch.second(&[Share {
                    bad: next(),
                    of: 1000,
                }])
            });
            ended += u32::from(!all);
        }
        assert!(ended <= 40, "{ended} of 20000");
    }
}
