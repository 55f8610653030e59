//! The knee of the throughput–latency curve: from where on a little more throughput costs much more latency. Kneedle
//! (Satopää, Albrecht, Irwin & Raghavan, *Finding a "Kneedle" in a Haystack*, ICDCS Workshops 2011), offline, for a curve
//! that is convex and rises.

use serde::Serialize;

use crate::record::{Probe, Verdict};

/// The paper's sensitivity; 1 is its choice for offline use.
const SENSITIVITY: f64 = 1.0;
/// With fewer rates there is no curve.
const POINTS_MIN: usize = 5;

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Knee {
    /// Iterations a second.
    pub rate: f64,
    /// The latency there, in milliseconds.
    pub latency_ms: f64,
}

/// Of the 99th percentile over the rates at which objectives held or were broken by little: latencies of a queue that
/// only grows are no curve.
pub(crate) fn of_probes(probes: &[Probe], boundary: Option<f64>) -> Option<Knee> {
    let most = boundary.map_or(f64::INFINITY, |b| b * 1.1);
    let mut points: Vec<(f64, f64)> = probes
        .iter()
        .filter(|p| matches!(p.verdict, Verdict::Held | Verdict::Broke) && p.ask.rate <= most)
        .filter(|p| p.measured.requests > 0)
        .map(|p| (p.ask.rate, p.measured.latency.p99))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    knee(&smooth(&points))
}

/// Rates within 3 % of each other become their mean.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    let mut group: Vec<(f64, f64)> = Vec::new();
    let mean = |group: &[(f64, f64)]| {
        let n = group.len() as f64;
        let sum = group
            .iter()
            .fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / n, sum.1 / n)
    };
    for point in points {
        if group.first().is_some_and(|first| point.0 > first.0 * 1.03) {
            out.push(mean(&group));
            group.clear();
        }
        group.push(*point);
    }
    if !group.is_empty() {
        out.push(mean(&group));
    }
    out
}

/// The knee of a curve whose points are sorted by x. `None` when it has none.
#[must_use]
pub fn knee(points: &[(f64, f64)]) -> Option<Knee> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let (first, last) = (points.first()?, points.last()?);
    let low = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|p| p.1).fold(0.0, f64::max);
    if last.0 <= first.0 || high <= low * 1.5 {
        return None;
    }
    // In the unit square; a convex curve that rises is below the diagonal, and its knee farthest from it.
    let difference: Vec<f64> = points
        .iter()
        .map(|(x, y)| (x - first.0) / (last.0 - first.0) - (y - low) / (high - low))
        .collect();
    let step = 1.0 / (points.len() - 1) as f64;
    let mut best: Option<(usize, f64)> = None;
    for at in 1..points.len() - 1 {
        let here = difference[at];
        if here < difference[at - 1] || here < difference[at + 1] {
            continue;
        }
        let threshold = here - SENSITIVITY * step;
        // It counts once the difference falls below the threshold before it rises to another maximum.
        let falls = difference[at + 1..]
            .iter()
            .take_while(|d| **d <= here)
            .any(|d| *d < threshold);
        if falls && best.is_none_or(|(_, most)| here > most) {
            best = Some((at, here));
        }
    }
    let (at, _) = best?;
    Some(Knee {
        rate: points[at].0,
        latency_ms: points[at].1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_of_a_hyperbola_is_where_its_tangent_is_the_chord() {
        // y = 1 / (1 − x) on 0 … 0.95: the chord's slope is 20, so the knee is at 1 − 1/√20 = 0.776.
        let points: Vec<(f64, f64)> = (0..=95)
            .map(|i| f64::from(i) / 100.0)
            .map(|x| (x, 1.0 / (1.0 - x)))
            .collect();
        let knee = knee(&points).unwrap();
        assert!((knee.rate - 0.776).abs() < 0.011, "{knee:?}");
    }

    #[test]
    fn a_line_and_a_flat_curve_have_none() {
        let line: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i), f64::from(i))).collect();
        let flat: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i), 5.0)).collect();
        assert_eq!(knee(&line), None);
        assert_eq!(knee(&flat), None);
    }
}
