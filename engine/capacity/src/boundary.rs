//! Where the share of bad requests crosses what an objective allows, with a confidence interval.
//!
//! The model is a logistic curve over the logarithm of the rate, near the boundary only:
//! `logit f(r) = logit a + β (ln r − ln b)` with the allowed share `a`, the boundary `b` and a slope `β > 0`. (For a queue
//! with exponential times the logarithm of the share beyond a bound is a straight line in the rate.) Probes are fitted by
//! quasi-likelihood (Wedderburn 1974; McCullagh & Nelder, *Generalized Linear Models*, ch. 9): shares are compared with
//! means, so that the skew of shares from one busy period to the next biases nothing, and the dispersion `φ` is estimated
//! from how much probes differ from the curve, so that requests which depend on each other do not count as many. A probe
//! is one observation.
//!
//! Shares are cut off at the [cap](crate::watch::cap), in the data and in the model: far above the boundary a system is
//! not stationary and says no more than that the boundary is below.
//!
//! The interval is the profile likelihood's: all `b` that an F test (1 and `n − 2` degrees of freedom) of "the
//! boundary is `b`" against the best fit does not reject. Where probes on both sides are clear and none is between, it
//! is the gap between them.

use crate::record::{Probe, Verdict};
use crate::settings::Settings;
use crate::special::t_quantile;
use crate::watch::cap;

/// How often the interval is meant to hold the truth.
pub const CONFIDENCE: f64 = 0.9;
/// Dispersions are estimated from few probes whose shares are skewed, and a search that ends when its interval is narrow
/// ends too early when it is by luck. Both make intervals that hold the truth less often than an F test says: in simulation
/// (`tests/simulated.rs`) in 85 of 100 searches instead of 95. Dispersions times this much hold what they claim.
const ALLOWANCE: f64 = 2.0;
/// Probes within this factor of the boundary are fitted.
const WINDOW: f64 = 1.35;
/// Points of the boundary at which the likelihood is looked at, each time over a narrower range.
const RATES: usize = 25;
const RANGES: usize = 3;
/// Slopes that are looked at for each, and how often the best one's neighbourhood is narrowed.
const SLOPES: usize = 8;
const NARROWINGS: usize = 7;
/// The slope's bounds. Below, load hardly matters; above, it is a step.
const SLOPE_MIN: f64 = 1.0;
const SLOPE_MAX: f64 = 3000.0;

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// The rate from which on an objective breaks.
    pub rate: f64,
    /// The interval's ends.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The objective, by its place among the settings'.
    pub slo: usize,
    /// How many times more than independent requests the shares vary.
    pub dispersion: f64,
    /// Probes that were fitted.
    pub probes: usize,
}

/// One probe as one objective sees it.
#[derive(Clone, Copy)]
struct Point {
    ln_rate: f64,
    of: f64,
    /// Cut off at the cap.
    share: f64,
}

/// The boundary of all objectives together: that of the one which breaks first. `None` while none has broken.
/// `near` is a rate close to it.
#[must_use]
pub fn boundary(probes: &[Probe], settings: &Settings, near: f64) -> Option<Boundary> {
    let each: Vec<Boundary> = (0..settings.slos.len())
        .filter_map(|slo| of_slo(probes, settings, slo, near))
        .collect();
    let first = each.iter().min_by(|a, b| a.rate.total_cmp(&b.rate))?;
    let least = |of: fn(&Boundary) -> f64| each.iter().map(of).fold(f64::INFINITY, f64::min);
    Some(Boundary {
        low: least(|b| b.low),
        high: least(|b| b.high),
        ..*first
    })
}

fn of_slo(probes: &[Probe], settings: &Settings, slo: usize, near: f64) -> Option<Boundary> {
    let allowed = settings.slos.get(slo)?.allowed;
    let usable = |p: &&Probe| {
        p.verdict != Verdict::Generator && !p.spoilt.contains(&slo) && p.measured.shares.len() > slo
    };
    let points: Vec<Point> = probes
        .iter()
        .filter(usable)
        .filter(|p| p.measured.shares[slo].of > 0)
        .map(|p| Point {
            ln_rate: p.ask.rate.ln(),
            of: p.measured.shares[slo].of as f64,
            share: p.measured.shares[slo].value().min(cap(allowed)),
        })
        .collect();
    points.iter().find(|p| p.share > allowed)?;
    // None allowed: less than one in a probe is as good as none.
    let most = points.iter().map(|p| p.of).fold(1.0, f64::max);
    let curve = Curve {
        logit: logit(allowed.max(0.5 / most)),
        cap: cap(allowed),
    };
    let mut centre = near.ln();
    let mut found = None;
    for _ in 0..3 {
        let window = within(&points, centre, allowed);
        let fit = curve.fit(&window, centre);
        let is_settled = (fit.ln_rate - centre).abs() < 0.01;
        centre = fit.ln_rate;
        found = Some((fit, window.len()));
        if is_settled {
            break;
        }
    }
    let (fit, probes) = found?;
    Some(Boundary {
        rate: fit.ln_rate.exp(),
        low: fit.low.exp(),
        high: fit.high.exp(),
        slo,
        dispersion: fit.dispersion,
        probes,
    })
}

/// The probes near `centre`, and the nearest on each side that held and broke wherever it is.
fn within(points: &[Point], centre: f64, allowed: f64) -> Vec<Point> {
    let distance = |p: &&Point| (p.ln_rate - centre).abs();
    let nearest = |breaks: bool| {
        let of_kind = |p: &&Point| (p.share > allowed) == breaks;
        points
            .iter()
            .filter(of_kind)
            .map(|p| distance(&p))
            .fold(f64::INFINITY, f64::min)
    };
    let reach = [WINDOW.ln(), nearest(true), nearest(false)];
    let reach = reach
        .into_iter()
        .filter(|r| r.is_finite())
        .fold(0.0, f64::max);
    points
        .iter()
        .filter(|p| distance(p) <= reach + 1e-9)
        .copied()
        .collect()
}

struct Curve {
    logit: f64,
    cap: f64,
}

struct Fit {
    ln_rate: f64,
    low: f64,
    high: f64,
    dispersion: f64,
}

/// The best slope at one boundary.
#[derive(Clone, Copy)]
struct At {
    ln_rate: f64,
    slope: f64,
    log_likelihood: f64,
}

impl Curve {
    fn share(&self, ln_rate: f64, boundary: f64, slope: f64) -> f64 {
        let x = self.logit + slope * (ln_rate - boundary);
        (1.0 / (1.0 + (-x).exp())).clamp(1e-12, self.cap)
    }

    fn log_likelihood(&self, points: &[Point], boundary: f64, slope: f64) -> f64 {
        let (ln_cap, ln_rest) = (self.cap.ln(), (-self.cap).ln_1p());
        let logit_cap = ln_cap - ln_rest;
        points
            .iter()
            .map(|p| {
                let x = self.logit + slope * (p.ln_rate - boundary);
                let (good, bad) = if x >= logit_cap {
                    (ln_rest, ln_cap)
                } else {
                    // ln (1 − f) and ln f of the logistic f, without cancellation.
                    let good = -((-x.abs()).exp().ln_1p() + x.max(0.0));
                    (good, good + x)
                };
                p.of * (p.share * bad + (1.0 - p.share) * good)
            })
            .sum()
    }

    fn profile(&self, points: &[Point], from: f64, to: f64) -> Vec<At> {
        (0..RATES)
            .map(|i| {
                let ln_rate = from + (to - from) * i as f64 / (RATES - 1) as f64;
                self.best_slope(points, ln_rate)
            })
            .collect()
    }

    /// By a grid and then golden sections around the best of it.
    fn best_slope(&self, points: &[Point], ln_rate: f64) -> At {
        let mut best = At {
            ln_rate,
            slope: SLOPE_MIN,
            log_likelihood: f64::NEG_INFINITY,
        };
        let mut look = |ln_slope: f64| {
            let slope = ln_slope.exp().clamp(SLOPE_MIN, SLOPE_MAX);
            let log_likelihood = self.log_likelihood(points, ln_rate, slope);
            if log_likelihood > best.log_likelihood {
                best = At {
                    ln_rate,
                    slope,
                    log_likelihood,
                };
            }
            log_likelihood
        };
        let step = (SLOPE_MAX / SLOPE_MIN).ln() / (SLOPES - 1) as f64;
        let grid: Vec<f64> = (0..SLOPES)
            .map(|i| look(SLOPE_MIN.ln() + step * i as f64))
            .collect();
        let at = (0..SLOPES).fold(0, |a, b| if grid[b] > grid[a] { b } else { a });
        let centre = SLOPE_MIN.ln() + step * at as f64;
        let (mut low, mut high) = (centre - step, centre + step);
        for _ in 0..NARROWINGS {
            let (a, b) = (low + 0.382 * (high - low), low + 0.618 * (high - low));
            if look(a) > look(b) {
                high = b;
            } else {
                low = a;
            }
        }
        best
    }

    fn fit(&self, points: &[Point], centre: f64) -> Fit {
        let ends = points.iter().map(|p| p.ln_rate);
        let mut from = ends.clone().fold(centre, f64::min).max(centre - 1.2) - 0.1;
        let mut to = ends.fold(centre, f64::max).min(centre + 1.2) + 0.1;
        let mut fit = self.interval(points, &self.profile(points, from, to));
        for _ in 1..RANGES {
            let margin = (to - from) / (RATES - 1) as f64;
            (from, to) = (fit.low - margin, fit.high + margin);
            fit = self.interval(points, &self.profile(points, from, to));
        }
        fit
    }

    fn interval(&self, points: &[Point], profile: &[At]) -> Fit {
        let mut best = profile[0];
        for at in profile {
            if at.log_likelihood > best.log_likelihood {
                best = *at;
            }
        }
        let (dispersion, informative) = self.dispersion(points, best);
        let freedom = (informative as f64 - 2.0).max(1.0);
        let t = t_quantile(f64::midpoint(1.0, CONFIDENCE), freedom);
        let allowance = if dispersion > 1.0 { ALLOWANCE } else { 1.0 };
        let floor = best.log_likelihood - 0.5 * allowance * dispersion * t * t;
        // Where nothing tells points apart the middle of them is the estimate.
        let level = best.log_likelihood - 1e-6 * (1.0 + best.log_likelihood.abs());
        let equals = || profile.iter().filter(|at| at.log_likelihood >= level);
        let lowest = equals().map(|at| at.ln_rate).fold(f64::INFINITY, f64::min);
        let highest = equals()
            .map(|at| at.ln_rate)
            .fold(f64::NEG_INFINITY, f64::max);
        let is_in = |at: &&At| at.log_likelihood >= floor;
        let first = profile.iter().position(|at| is_in(&at)).unwrap_or(0);
        let last = profile.iter().rposition(|at| is_in(&at)).unwrap_or(0);
        // Between two points the likelihood is taken for a straight line.
        let crossing = |inside: usize, outside: Option<usize>| {
            let inside = profile[inside];
            let Some(outside) = outside.and_then(|at| profile.get(at)) else {
                return inside.ln_rate;
            };
            let drop = inside.log_likelihood - outside.log_likelihood;
            let part = if drop > 0.0 {
                (inside.log_likelihood - floor) / drop
            } else {
                0.0
            };
            inside.ln_rate + part.clamp(0.0, 1.0) * (outside.ln_rate - inside.ln_rate)
        };
        Fit {
            ln_rate: f64::midpoint(lowest, highest),
            low: crossing(first, first.checked_sub(1)),
            high: crossing(last, Some(last + 1)),
            dispersion,
        }
    }

    /// The deviance by degree of freedom, and how many probes say anything about it: one that has nothing bad where
    /// nothing is expected, or is cut off where the curve is, does not.
    fn dispersion(&self, points: &[Point], best: At) -> (f64, usize) {
        let mut deviance = 0.0;
        let mut informative = 0;
        for p in points {
            let f = self.share(p.ln_rate, best.ln_rate, best.slope);
            let is_clear =
                p.share == 0.0 && f * p.of < 0.5 || p.share >= self.cap && f >= 0.999 * self.cap;
            if is_clear {
                continue;
            }
            informative += 1;
            let part = |seen: f64, expected: f64| {
                if seen > 0.0 {
                    seen * (seen / expected).ln()
                } else {
                    0.0
                }
            };
            deviance += 2.0 * p.of * (part(p.share, f) + part(1.0 - p.share, 1.0 - f));
        }
        let freedom = (f64::from(informative) - 2.0).max(1.0);
        ((deviance / freedom).max(1.0), informative as usize)
    }
}

fn logit(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}
