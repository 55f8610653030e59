//! Figures with the unit that fits.

/// Milliseconds with the unit that fits, three significant digits: `45.7ms`, `2m05s`.
#[must_use]
pub fn duration(ms: f64) -> String {
    lasting(ms, "")
}

/// [`duration`] with the unit apart, for running text: `45.7 ms`, `2 m 05 s`.
#[must_use]
pub fn duration_apart(ms: f64) -> String {
    lasting(ms, " ")
}

fn lasting(ms: f64, gap: &str) -> String {
    let (value, unit) = match ms {
        _ if !ms.is_finite() => return "–".to_owned(),
        _ if ms <= 0.0 => return "0".to_owned(),
        // What rounds up to the next unit is written in it: never `1000µs`.
        _ if ms < 0.9995 => (ms * 1e3, "µs"),
        _ if ms < 999.5 => (ms, "ms"),
        _ if ms < 60e3 => (ms / 1e3, "s"),
        _ => {
            let secs = (ms / 1e3).round() as u64;
            let (hours, minutes) = (secs / 3600, secs / 60 % 60);
            return if hours == 0 {
                format!("{minutes}{gap}m{gap}{:02}{gap}s", secs % 60)
            } else {
                format!("{hours}{gap}h{gap}{minutes:02}{gap}m")
            };
        }
    };
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$}{gap}{unit}")
}

/// So many a second.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() {
        "–".to_owned()
    } else if per_second < 100.0 {
        format!("{per_second:.2}")
    } else {
        format!("{per_second:.0}")
    }
}

/// A share, 0 to 1.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // A failure in a million is not none.
    if percent > 0.0 && percent < 0.01 {
        return "< 0.01 %".to_owned();
    }
    format!("{percent:.2} %")
}

/// An amount of bytes, decimal.
#[must_use]
pub fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A whole number with its thousands apart: `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        let cases = [
            (0.0, "0", "0"),
            (0.0051, "5.10µs", "5.10 µs"),
            (0.336, "336µs", "336 µs"),
            (0.009_996, "10.0µs", "10.0 µs"),
            (0.099_96, "100µs", "100 µs"),
            (0.9997, "1.00ms", "1.00 ms"),
            (999.6, "1.00s", "1.00 s"),
            (1.0, "1.00ms", "1.00 ms"),
            (45.67, "45.7ms", "45.7 ms"),
            (999.4, "999ms", "999 ms"),
            (2345.0, "2.35s", "2.35 s"),
            (125_000.0, "2m05s", "2 m 05 s"),
            (7_500_000.0, "2h05m", "2 h 05 m"),
            (f64::NAN, "–", "–"),
        ];
        for (ms, text, apart) in cases {
            assert_eq!(duration(ms), text);
            assert_eq!(duration_apart(ms), apart);
        }
    }

    #[test]
    fn amounts_of_bytes_are_decimal() {
        assert_eq!(
            (bytes(999.0), bytes(1500.0), bytes(2.5e9)),
            ("999 B".into(), "1.5 kB".into(), "2.5 GB".into())
        );
    }

    #[test]
    fn thousands_stand_apart() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (n, text) in cases {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn a_small_share_is_not_none() {
        assert_eq!(
            [percent(0.5), percent(1e-7), percent(0.0)],
            ["50.00 %", "< 0.01 %", "0.00 %"]
        );
    }
}
