//! The Universal Scalability Law (Gunther, *Guerrilla Capacity Planning*, 2007): with `N` iterations in flight the
//! throughput is `X = λN / (1 + σ(N − 1) + κN(N − 1))`. Fitted by least squares on the logarithm of the throughput
//! (Levenberg & Marquardt), since errors are in proportion; standard errors are from the covariance at the optimum.

use serde::Serialize;

use crate::finding::rate_text;
use crate::record::{Probe, Verdict};
use crate::special::t_quantile;

/// The fewest probes, and by what factor their concurrency must spread, for three parameters to mean something.
const POINTS_MIN: usize = 6;
const SPREAD_MIN: f64 = 4.0;
/// Below this there is no concurrency to speak of.
const CONCURRENCY_MIN: f64 = 1.5;

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// The estimate.
    pub value: f64,
    /// Half of its 95 % interval.
    pub uncertainty: f64,
}

/// The fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usl {
    /// Throughput of one iteration at a time, a second.
    pub lambda: Parameter,
    /// Contention: the share that waits for something only one can have.
    pub sigma: Parameter,
    /// Coherency: the cost of each pair keeping each other informed.
    pub kappa: Parameter,
    /// Where throughput is highest, and how high; `None` when it only levels off.
    pub peak: Option<(f64, f64)>,
    /// How many probes it was fitted to.
    pub probes: usize,
    /// What that means.
    pub sentence: String,
}

pub(crate) fn of_probes(probes: &[Probe]) -> Option<Usl> {
    let points: Vec<(f64, f64)> = probes
        .iter()
        .filter(|p| matches!(p.verdict, Verdict::Held | Verdict::Broke))
        .filter(|p| p.measured.iterations >= 30 && p.measured.cut_off + p.measured.dropped == 0)
        .map(|p| (p.measured.concurrency, p.measured.throughput))
        .filter(|(n, x)| *n > 0.0 && *x > 0.0)
        .collect();
    let least = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|p| p.0).fold(0.0, f64::max);
    if points.len() < POINTS_MIN || most < CONCURRENCY_MIN || most / least < SPREAD_MIN {
        return None;
    }
    usl(&points)
}

/// Fits pairs of concurrency and throughput.
#[must_use]
pub fn usl(points: &[(f64, f64)]) -> Option<Usl> {
    if points.len() < 4 {
        return None;
    }
    // λ in its logarithm, σ and κ at least 0.
    let rate_of_one = points.iter().map(|(n, x)| x / n).fold(0.0, f64::max);
    let mut best: Option<([f64; 3], f64)> = None;
    for sigma in [0.001, 0.05, 0.5] {
        for kappa in [1e-6, 1e-3] {
            let fit = descend(points, [rate_of_one.ln(), sigma, kappa]);
            if best.is_none_or(|(_, error)| fit.1 < error) {
                best = Some(fit);
            }
        }
    }
    let (p, error) = best?;
    let freedom = (points.len() - 3) as f64;
    let covariance = inverse(&normal(points, &p).0)?;
    let t = t_quantile(0.975, freedom);
    let uncertainty = |i: usize| t * (covariance[i][i].max(0.0) * error / freedom).sqrt();
    let lambda = Parameter {
        value: p[0].exp(),
        uncertainty: p[0].exp() * uncertainty(0),
    };
    let (sigma, kappa) = (
        Parameter {
            value: p[1],
            uncertainty: uncertainty(1),
        },
        Parameter {
            value: p[2],
            uncertainty: uncertainty(2),
        },
    );
    if !(lambda.value.is_finite() && sigma.uncertainty.is_finite() && kappa.uncertainty.is_finite())
    {
        return None;
    }
    let is_coherent = kappa.value > kappa.uncertainty && kappa.value > 0.0;
    let peak = (is_coherent && sigma.value < 1.0).then(|| {
        let n = ((1.0 - sigma.value) / kappa.value).sqrt();
        (n, throughput(&p, n))
    });
    let mut sentence = format!(
        "one iteration at a time would make {}/s; contention σ = {:.4} ± {:.4} (the share of an iteration's work that waits \
         for something only one can have{}); coherency κ = {:.2e} ± {:.1e} (what each pair in flight costs each other{})",
        rate_text(lambda.value),
        sigma.value,
        sigma.uncertainty,
        if sigma.value > sigma.uncertainty {
            format!(
                ": however many are in flight, at most {}/s",
                rate_text(lambda.value / sigma.value)
            )
        } else {
            ": none that can be told from 0".to_owned()
        },
        kappa.value,
        kappa.uncertainty,
        if is_coherent {
            ""
        } else {
            ": none that can be told from 0"
        },
    );
    if let Some((n, x)) = peak {
        sentence += &format!(
            "; past {n:.0} in flight, at {}/s, more concurrency makes less throughput",
            rate_text(x)
        );
    }
    Some(Usl {
        lambda,
        sigma,
        kappa,
        peak,
        probes: points.len(),
        sentence,
    })
}

fn throughput(p: &[f64; 3], n: f64) -> f64 {
    p[0].exp() * n / (1.0 + p[1] * (n - 1.0) + p[2] * n * (n - 1.0)).max(1e-9)
}

fn error(points: &[(f64, f64)], p: &[f64; 3]) -> f64 {
    points
        .iter()
        .map(|(n, x)| (x.ln() - throughput(p, *n).ln()).powi(2))
        .sum()
}

/// JᵀJ and Jᵀr of the residuals `ln x − ln X(n)`.
fn normal(points: &[(f64, f64)], p: &[f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
    let mut matrix = [[0.0; 3]; 3];
    let mut vector = [0.0; 3];
    for (n, x) in points {
        let below = (1.0 + p[1] * (n - 1.0) + p[2] * n * (n - 1.0)).max(1e-9);
        let slopes = [1.0, -(n - 1.0) / below, -n * (n - 1.0) / below];
        let residual = x.ln() - throughput(p, *n).ln();
        for i in 0..3 {
            vector[i] += slopes[i] * residual;
            for j in 0..3 {
                matrix[i][j] += slopes[i] * slopes[j];
            }
        }
    }
    (matrix, vector)
}

/// Levenberg–Marquardt, with σ and κ held at 0 or above.
fn descend(points: &[(f64, f64)], mut p: [f64; 3]) -> ([f64; 3], f64) {
    let mut damping = 1e-3;
    let mut now = error(points, &p);
    for _ in 0..200 {
        let (mut matrix, vector) = normal(points, &p);
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] *= 1.0 + damping;
            row[i] += 1e-30;
        }
        let Some(inverse) = inverse(&matrix) else {
            break;
        };
        let mut next = p;
        for (next, row) in next.iter_mut().zip(&inverse) {
            *next += row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>();
        }
        next[1] = next[1].max(0.0);
        next[2] = next[2].max(0.0);
        let then = error(points, &next);
        if then.is_finite() && then <= now {
            let is_done = now - then <= 1e-14 * (1.0 + now);
            (p, now) = (next, then);
            damping = (damping / 5.0).max(1e-12);
            if is_done {
                break;
            }
        } else {
            damping *= 5.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    (p, now)
}

/// Of a symmetric 3 × 3 matrix, scaled so that its diagonal is 1 on the way.
fn inverse(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let scale: [f64; 3] = std::array::from_fn(|i| m[i][i].sqrt());
    if scale.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return None;
    }
    let a: [[f64; 3]; 3] =
        std::array::from_fn(|i| std::array::from_fn(|j| m[i][j] / (scale[i] * scale[j])));
    let cofactor = |i: usize, j: usize| {
        let (r, s) = ((i + 1) % 3, (i + 2) % 3);
        let (u, v) = ((j + 1) % 3, (j + 2) % 3);
        a[r][u] * a[s][v] - a[r][v] * a[s][u]
    };
    let determinant: f64 = (0..3).map(|j| a[0][j] * cofactor(0, j)).sum();
    if determinant.abs() < 1e-14 {
        return None;
    }
    Some(std::array::from_fn(|i| {
        std::array::from_fn(|j| cofactor(j, i) / determinant / (scale[i] * scale[j]))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_that_made_the_points_come_back_within_their_uncertainty() {
        let (lambda, sigma, kappa) = (1000.0, 0.03, 0.0005);
        let points: Vec<(f64, f64)> = (0..24)
            .map(|i| {
                let n = 1.3_f64.powi(i % 18);
                let x = lambda * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0));
                (n, x * (1.0 + 0.01 * f64::from(i * 7 % 5 - 2)))
            })
            .collect();
        let fit = usl(&points).unwrap();
        for (got, truth) in [(fit.lambda, lambda), (fit.sigma, sigma), (fit.kappa, kappa)] {
            assert!((got.value - truth).abs() <= got.uncertainty, "{fit:?}");
            assert!(got.uncertainty < 0.5 * truth, "{fit:?}");
        }
        let (n, _) = fit.peak.unwrap();
        assert!((n - 44.0).abs() < 5.0, "{n}");
    }

    #[test]
    fn perfect_scaling_has_neither_contention_nor_coherency() {
        let points: Vec<(f64, f64)> = (1..20)
            .map(|i| f64::from(i) * 2.0)
            .map(|n| (n, 50.0 * n * (1.0 + 0.001 * (n % 3.0 - 1.0))))
            .collect();
        let fit = usl(&points).unwrap();
        assert!(fit.sigma.value < 1e-3 && fit.kappa.value < 1e-4, "{fit:?}");
        assert!(fit.sentence.contains("none that can be told from 0"));
        assert_eq!(fit.peak, None);
    }
}
