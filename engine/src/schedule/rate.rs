//! An arrival rate over time, piecewise linear, and its inverse: when so many arrivals are due.

use loadr_config::RateStage;

use super::nanos;

/// A count this close to a whole number is meant to be it: rates are decimal fractions, which binary ones miss.
const CLOSE: f64 = 1e-9;
/// The same, as a share of the count.
const CLOSE_SHARE: f64 = 1e-12;

/// One stage. Rates are per second.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_ns: u64,
    len_ns: u64,
    from: f64,
    to: f64,
    /// Arrivals due before it.
    before: f64,
}

/// The rate of the whole run.
#[derive(Clone, Debug)]
pub(crate) struct RateCurve {
    pieces: Vec<Piece>,
    total: f64,
    end_ns: u64,
}

impl RateCurve {
    /// From `start_rate` linearly to each stage's target in turn; a stage without length is a jump. Rates are finite and
    /// not negative.
    pub(crate) fn new(start_rate: f64, stages: &[RateStage]) -> Self {
        let (mut from, mut start_ns, mut before) = (start_rate, 0_u64, 0.0);
        let mut pieces = Vec::with_capacity(stages.len());
        for stage in stages {
            let (len_ns, to) = (nanos(stage.duration), stage.target);
            if len_ns > 0 {
                pieces.push(Piece {
                    start_ns,
                    len_ns,
                    from,
                    to,
                    before,
                });
                before = snap(before + (from + to) * 0.5 * (len_ns as f64 / 1e9));
                start_ns = start_ns.saturating_add(len_ns);
            }
            from = to;
        }
        Self {
            pieces,
            total: before,
            end_ns: start_ns,
        }
    }

    /// From `at_ns` on the rate is `rate`, up to the same end as before; arrivals keep their numbers. Nothing when the end
    /// has come.
    pub(crate) fn set_from(&mut self, at_ns: u64, rate: f64) {
        if at_ns >= self.end_ns {
            return;
        }
        // There is one that begins at 0.
        while self
            .pieces
            .last()
            .is_some_and(|p| p.start_ns >= at_ns && p.start_ns > 0)
        {
            self.pieces.pop();
        }
        let mut before = 0.0;
        if let Some(last) = self.pieces.last_mut() {
            let secs = at_ns.saturating_sub(last.start_ns) as f64 / 1e9;
            let slope = (last.to - last.from) / (last.len_ns as f64 / 1e9);
            before = snap(last.before + last.from * secs + 0.5 * slope * secs * secs);
            last.len_ns = at_ns.saturating_sub(last.start_ns);
            last.to = last.from + slope * secs;
            if last.len_ns == 0 {
                self.pieces.pop();
            }
        }
        let len_ns = self.end_ns - at_ns;
        self.total = snap(before + rate * (len_ns as f64 / 1e9));
        self.pieces.push(Piece {
            start_ns: at_ns,
            len_ns,
            from: rate,
            to: rate,
            before,
        });
    }

    /// When the last stage ends.
    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// Arrivals due by the whole schedule, as the integral of the rate.
    pub(crate) fn total(&self) -> f64 {
        self.total
    }

    /// From when on more than `count` arrivals are due: when the one of that number (from 0) is. `None` past the last.
    pub(crate) fn due_ns(&self, count: f64) -> Option<u64> {
        if count >= self.total {
            return None;
        }
        // The last piece that begins with so many or fewer: a pause after the previous arrival is waited out.
        let at = self.pieces.partition_point(|p| p.before <= count);
        let piece = &self.pieces[at.checked_sub(1)?];
        let (wanted, secs) = (count - piece.before, piece.len_ns as f64 / 1e9);
        if wanted <= 0.0 {
            return Some(piece.start_ns);
        }
        // The root of `from t + (to - from) t² / (2 secs) = wanted`, in the form without cancellation.
        let slope = (piece.to - piece.from) / secs;
        let under_root = (piece.from * piece.from + 2.0 * slope * wanted).max(0.0);
        let t_ns = 2.0 * wanted / (piece.from + under_root.sqrt()) * 1e9;
        Some(piece.start_ns + (t_ns.round() as u64).min(piece.len_ns))
    }
}

fn snap(count: f64) -> f64 {
    let whole = count.round();
    if (count - whole).abs() <= CLOSE + CLOSE_SHARE * count {
        whole
    } else {
        count
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn curve(start_rate: f64, stages: &[(f64, f64)]) -> RateCurve {
        let stages: Vec<RateStage> = stages
            .iter()
            .map(|&(secs, target)| RateStage {
                duration: Duration::from_secs_f64(secs),
                target,
            })
            .collect();
        RateCurve::new(start_rate, &stages)
    }

    fn dues(curve: &RateCurve) -> Vec<u64> {
        (0_u32..).map_while(|k| curve.due_ns(k.into())).collect()
    }

    #[test]
    fn a_constant_rate_has_its_exact_count_at_its_exact_times() {
        for (rate, secs, count) in [
            (500.0, 10.0, 5_000),
            (20_000.0, 10.0, 200_000),
            (0.1, 30.0, 3),
            (1.0 / 3.0, 9.0, 3),
            (100.0 / 60.0, 60.0, 100),
            (333.3, 10.0, 3_333),
            (0.7, 1.0, 1),
        ] {
            let dues = dues(&curve(rate, &[(secs, rate)]));
            assert_eq!(dues.len(), count, "{rate}/s for {secs} s");
            for (k, due) in dues.iter().enumerate() {
                let exact = k as f64 / rate * 1e9;
                assert!((*due as f64 - exact).abs() <= 1.0, "{rate}/s: {k} at {due}");
            }
        }
    }

    #[test]
    fn an_hour_in_a_million_arrivals_does_not_drift() {
        let curve = curve(300.0, &[(3600.0, 300.0)]);
        assert_eq!(curve.due_ns(1_079_999.0), Some(3_599_996_666_667));
        assert_eq!(curve.due_ns(1_080_000.0), None);
    }

    #[test]
    fn a_linear_ramp_has_the_right_count_in_each_second() {
        let dues = dues(&curve(0.0, &[(10.0, 5_000.0)]));
        assert_eq!(dues.len(), 25_000);
        for second in 0..10_u64 {
            let within = |due: &&u64| **due / 1_000_000_000 == second;
            let count = dues.iter().filter(within).count() as f64;
            let wanted = 500.0 * (second as f64 + 0.5);
            assert!((count - wanted).abs() <= 1.0, "{count} in second {second}");
        }
    }

    #[test]
    fn a_ramp_to_zero_ends_and_a_pause_is_waited_out() {
        assert_eq!(dues(&curve(10.0, &[(2.0, 0.0)])).len(), 10);
        let dues = dues(&curve(
            10.0,
            &[
                (1.0, 10.0),
                (0.0, 0.0),
                (5.0, 0.0),
                (0.0, 10.0),
                (1.0, 10.0),
            ],
        ));
        assert_eq!(dues.len(), 20);
        assert_eq!((dues[9], dues[10]), (900_000_000, 6_000_000_000));
    }

    #[test]
    fn stages_without_length_are_jumps_and_nothing_else() {
        let plain = dues(&curve(100.0, &[(1.0, 100.0)]));
        let jumping = dues(&curve(
            7.0,
            &[(0.0, 3.0), (0.0, 100.0), (1.0, 100.0), (0.0, 0.0)],
        ));
        assert_eq!(plain, jumping);
        assert!(dues(&curve(100.0, &[(0.0, 5.0)])).is_empty());
        assert!(dues(&curve(0.0, &[(10.0, 0.0)])).is_empty());
    }

    #[test]
    fn a_schedule_that_begins_with_a_pause_has_no_arrival_in_it() {
        assert_eq!(
            curve(0.0, &[(3.0, 0.0), (0.0, 1.0), (2.0, 1.0)]).due_ns(0.0),
            Some(3_000_000_000)
        );
    }
}
