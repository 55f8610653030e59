//! How much of what a system sustains a target rate uses, and when growth has used the rest.

use serde::Serialize;

/// The target against what is sustained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Headroom {
    /// The rate that is wanted.
    pub target_rate: f64,
    /// Its share of the rate that is sustained; above 1 it is too much.
    pub used: f64,
    /// Growth a month, as a share.
    pub growth: Option<f64>,
    /// Months until it is used up, when there is growth.
    pub months: Option<f64>,
    /// For people.
    pub sentence: String,
}

impl Headroom {
    /// Of a system that sustains `rate`; `is_least` when it may sustain more.
    #[must_use]
    pub fn new(rate: f64, target_rate: f64, growth: Option<f64>, is_least: bool) -> Self {
        let used = target_rate / rate;
        let months = growth
            .filter(|g| *g > 0.0 && used < 1.0)
            .map(|g| (1.0 / used).ln() / g.ln_1p());
        let bound = if is_least { "at most " } else { "" };
        let mut sentence = if used <= 1.0 {
            format!("{target_rate:.0}/s is {bound}{:.0} % of it", used * 100.0)
        } else {
            format!(
                "{target_rate:.0}/s is {:.0} % more than that",
                (used - 1.0) * 100.0
            )
        };
        match (growth, months) {
            (Some(growth), Some(months)) => {
                let least = if is_least { "at the earliest " } else { "" };
                sentence += &format!(
                    "; at {} % growth a month it is full {least}in {}",
                    trimmed(growth * 100.0),
                    months_text(months)
                );
            }
            (Some(_), None) if used >= 1.0 => sentence += "; growth makes it more",
            _ => {}
        }
        Self {
            target_rate,
            used,
            growth,
            months,
            sentence,
        }
    }
}

fn months_text(months: f64) -> String {
    match months {
        m if m < 1.0 => "less than a month".to_owned(),
        m if m < 2.0 => "a month".to_owned(),
        m if m > 240.0 => "more than 20 years".to_owned(),
        // Whole months that it lasts.
        m => format!("{:.0} months", m.floor()),
    }
}

fn trimmed(x: f64) -> String {
    let text = format!("{x:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_compound() {
        // 1.03^6 = 1.194, 1.03^7 = 1.230.
        let headroom = Headroom::new(1830.0, 1500.0, Some(0.03), false);
        assert_eq!(
            headroom.sentence,
            "1500/s is 82 % of it; at 3 % growth a month it is full in 6 months"
        );
        assert_eq!(
            Headroom::new(1000.0, 1500.0, Some(0.03), false).sentence,
            "1500/s is 50 % more than that; growth makes it more"
        );
        assert_eq!(
            Headroom::new(1000.0, 500.0, None, true).sentence,
            "500/s is at most 50 % of it"
        );
    }
}
