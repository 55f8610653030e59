//! Figures and names as people read them, in the summary and wherever else a run is shown.

/// Milliseconds with the unit that fits, three significant digits.
#[must_use]
pub fn duration(ms: f64) -> String {
    let (value, unit) = match ms {
        _ if ms <= 0.0 => return "0".to_owned(),
        _ if ms < 1.0 => (ms * 1e3, "µs"),
        _ if ms < 1e3 => (ms, "ms"),
        _ if ms < 60e3 => (ms / 1e3, "s"),
        _ => {
            let secs = (ms / 1e3).round() as u64;
            return if secs < 3600 {
                format!("{}m{:02}s", secs / 60, secs % 60)
            } else {
                format!("{}h{:02}m", secs / 3600, secs / 60 % 60)
            };
        }
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$}{unit}")
}

/// So many a second.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.2}")
    } else {
        format!("{per_second:.0}")
    }
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
    if unit == 0 {
        format!("{value:.0} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
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

/// Text from outside, with what would steer a terminal or reorder a line made visible: control characters (terminal
/// escapes among them), line separators and the marks of writing direction.
#[must_use]
pub fn inert(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hidden = c.is_control()
                || matches!(
                    c,
                    '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                );
            let escaped = hidden.then(|| c.escape_default());
            let plain = (!hidden).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        let cases = [
            (0.0, "0"),
            (0.0051, "5.10µs"),
            (0.336, "336µs"),
            (1.0, "1.00ms"),
            (45.67, "45.7ms"),
            (999.4, "999ms"),
            (2345.0, "2.35s"),
            (125_000.0, "2m05s"),
            (7_500_000.0, "2h05m"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn terminal_escapes_and_marks_of_direction_are_shown_inert() {
        assert_eq!(
            inert("a\x1b[31mb\r\n\u{202e}\u{61c}\u{2028}é"),
            "a\\u{1b}[31mb\\r\\n\\u{202e}\\u{61c}\\u{2028}é"
        );
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
}
