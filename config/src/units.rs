//! Durations and sizes as people write them.

use std::time::Duration;

/// The longest duration a plan may hold: 366 days. Sums of a few of these stay far from any overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Longer than any duration that means something; keeps the parser's work bounded.
const MAX_TEXT: usize = 64;

const DURATION_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const DAY_NS: u64 = 24 * 3_600_000_000_000;

const SIZE_UNITS: [(&str, u64); 11] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("bytes", 1),
];

/// Reads `300ms`, `30s`, `1m30s`, `1.5h`, `1d`; a bare number is seconds. At most [`MAX_DURATION`]; what is finer than a
/// nanosecond is dropped.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("an empty duration".to_owned());
    }
    if text.starts_with('-') {
        return Err(format!("`{}` is negative", shown(text)));
    }
    let bad = || format!("`{}` is not a duration", shown(text));
    if text.len() > MAX_TEXT {
        return Err(bad());
    }
    let mut rest = text;
    let mut total_ns: u128 = 0;
    let mut last_unit_ns = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(bad)?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit_ns = match unit {
            // Only a number that stands alone may go without its unit: `1m30` is more likely a slip than 90 s.
            "" if rest.len() == text.len() => 1_000_000_000,
            "" => return Err(format!("`{}` ends in a number without a unit", shown(text))),
            "d" => DAY_NS,
            _ => DURATION_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, ns)| *ns)
                .ok_or_else(|| {
                    format!(
                        "`{}` has the unknown unit `{}`; there are us, ms, s, m, h and d",
                        shown(text),
                        shown(unit)
                    )
                })?,
        };
        if unit_ns >= last_unit_ns {
            return Err(format!(
                "`{}` does not go from larger to smaller units",
                shown(text)
            ));
        }
        last_unit_ns = unit_ns;
        let part = scale(number, unit_ns).ok_or_else(bad)?;
        total_ns = total_ns.saturating_add(part);
        rest = after;
    }
    if total_ns > MAX_DURATION.as_nanos() {
        return Err(format!("`{}` is longer than 366 days", shown(text)));
    }
    let nanos = u64::try_from(total_ns).map_err(|_| bad())?;
    Ok(Duration::from_nanos(nanos))
}

/// A duration as [`parse_duration`] reads it, exactly: `1m30s`, `300ms`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let mut left_ns = duration.as_nanos();
    if left_ns == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ns) in DURATION_UNITS
        .iter()
        .rev()
        .filter(|(unit, _)| *unit != "µs")
    {
        let unit_ns = u128::from(*unit_ns);
        if left_ns >= unit_ns {
            text.push_str(&format!("{}{unit}", left_ns / unit_ns));
            left_ns %= unit_ns;
        }
    }
    text
}

/// Reads `64MiB`, `64MB`, `1.5GiB`, or a bare number of bytes. Case does not matter; `K`, `M` and `G` alone are powers
/// of 1024.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let bad = || format!("`{}` is not a size such as `64KiB`", shown(text));
    if text.is_empty() {
        return Err("an empty size".to_owned());
    }
    if text.len() > MAX_TEXT {
        return Err(bad());
    }
    let (number, unit) = split_number(text).ok_or_else(bad)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => 1,
        _ => SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, f)| *f)
            .ok_or_else(bad)?,
    };
    let bytes = scale(number, factor).ok_or_else(bad)?;
    u64::try_from(bytes).map_err(|_| format!("`{}` is too large", shown(text)))
}

/// Splits a decimal number such as `1`, `1.5`, `.5` off the front.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (digits > 0 && number.len() - digits <= 1).then_some((number, rest))
}

/// `number` times `unit`, exactly, without what is below one. `None` when it is beyond 128 bits.
fn scale(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(u128::from(unit))?;
    // Eighteen digits after the point are finer than a nanosecond of an hour.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    if !fraction.is_empty() {
        let digits: u128 = fraction.parse().ok()?;
        let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        total = total.checked_add(digits * u128::from(unit) / power)?;
    }
    Some(total)
}

/// A short, printable form of what the user wrote.
fn shown(text: &str) -> String {
    crate::diagnostic::shown(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ns) in [
            ("300ms", 300_000_000_u64),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1d", 86_400_000_000_000),
            ("5", 5_000_000_000),
            ("0", 0),
            ("0.25", 250_000_000),
            (".5s", 500_000_000),
            ("1.5s", 1_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("10µs", 10_000),
            (" 10s ", 10_000_000_000),
            ("0.3333333333333333333333333333s", 333_333_333),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_named() {
        for (text, error) in [
            ("", "an empty duration"),
            ("-1s", "`-1s` is negative"),
            ("abc", "`abc` is not a duration"),
            ("NaN", "`NaN` is not a duration"),
            ("inf", "`inf` is not a duration"),
            ("1.2.3s", "`1.2.3s` is not a duration"),
            (
                "1e3",
                "`1e3` has the unknown unit `e`; there are us, ms, s, m, h and d",
            ),
            (
                "10 parsecs",
                "`10 parsecs` has the unknown unit ` parsecs`; there are us, ms, s, m, h and d",
            ),
            ("1m30", "`1m30` ends in a number without a unit"),
            ("30s1m", "`30s1m` does not go from larger to smaller units"),
            ("1s1s", "`1s1s` does not go from larger to smaller units"),
            ("367d", "`367d` is longer than 366 days"),
            (
                "99999999999999999999h",
                "`99999999999999999999h` is longer than 366 days",
            ),
        ] {
            assert_eq!(parse_duration(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64MB", 64_000_000),
            ("64mib", 64 << 20),
            ("65536", 65536),
            ("1.5 GiB", 3 << 29),
            ("2K", 2048),
            ("7 bytes", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-1", "1 QiB", "99999999999999999999GiB", "1..5"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
