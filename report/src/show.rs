//! Figures and texts as people read them. Texts come from plans, targets and files of anyone: whatever is written goes
//! through one of the functions here that make it inert where it goes.

use std::fmt::Write;

/// A text with control characters, terminal escapes and marks that turn the direction of writing made visible.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        let is_no_character = matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff);
        if c.is_control() || turns || is_no_character || matches!(c, '\u{2028}' | '\u{2029}') {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// For text and quoted attributes of HTML and XML.
pub(crate) fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For a cell of a Markdown table: a table is split at each `|` that has no backslash, in code as well.
pub(crate) fn code(text: &str) -> String {
    code_line(&text.replace('|', "\\|"))
}

/// For Markdown outside of tables: as code, in which nothing else is markup, no name is mentioned and no link is one.
pub(crate) fn code_line(text: &str) -> String {
    let text = visible(text);
    if text.trim().is_empty() {
        return "` `".to_owned();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Milliseconds with the unit that fits, three significant digits.
pub(crate) fn duration(ms: f64) -> String {
    let (value, unit) = match ms {
        _ if !ms.is_finite() => return "–".to_owned(),
        _ if ms <= 0.0 => return "0".to_owned(),
        _ if ms < 1.0 => (ms * 1e3, "µs"),
        _ if ms < 1e3 => (ms, "ms"),
        _ if ms < 60e3 => (ms / 1e3, "s"),
        _ => {
            let secs = (ms / 1e3).round() as u64;
            return format!("{} m {:02} s", secs / 60, secs % 60);
        }
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

/// A count with its thousands apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            // A narrow space, at which no line breaks.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// So many in a second.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if !r.is_finite() => "–".to_owned(),
        r if r < 100.0 => format!("{r:.2}"),
        r => count(r.round() as u64),
    }
}

/// A share, 0 to 1.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // A failure in a million is not none.
    if percent > 0.0 && percent < 0.01 {
        return "< 0.01 %".to_owned();
    }
    format!("{percent:.2} %")
}

/// An amount of bytes, decimal.
pub(crate) fn bytes(amount: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (amount, 0);
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Milliseconds since 1970 as `2026-01-31 12:00:00 UTC`.
pub(crate) fn instant(unix_ms: u64) -> String {
    let secs = unix_ms / 1000;
    let (days, second) = (secs / 86_400, secs % 86_400);
    // Past the year 9999 nothing of this is a date.
    if days > 2_932_896 {
        return format!("{unix_ms} ms since 1970");
    }
    // Days to a date as Howard Hinnant's `civil_from_days` has it: years begin in March, eras are 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (
        day_of_year - (153 * shifted + 2) / 5 + 1,
        if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        },
    );
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC",
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_inert() {
        assert_eq!(
            visible("a\x1b[31m\n\u{202e}é\0"),
            "a\\u{1b}[31m\\n\\u{202e}é\\u{0}"
        );
        assert_eq!(
            markup("<img src=x onerror='a&b'>\""),
            "&lt;img src=x onerror=&#39;a&amp;b&#39;&gt;&quot;"
        );
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("`x` @all <b>"), "`` `x` @all <b> ``");
        assert_eq!(code("```"), "```` ``` ````");
        assert_eq!(code(""), "` `");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [duration(0.0051), duration(45.67), duration(125_000.0)],
            ["5.10 µs", "45.7 ms", "2 m 05 s"]
        );
        assert_eq!(count(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(
            [percent(0.5), percent(1e-7), percent(0.0)],
            ["50.00 %", "< 0.01 %", "0.00 %"]
        );
        assert_eq!([bytes(999.0), bytes(1500.0)], ["999 B", "1.5 kB"]);
    }

    #[test]
    fn instants_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_767_225_599_999, "2025-12-31 23:59:59 UTC"),
            (u64::MAX, "18446744073709551615 ms since 1970"),
        ] {
            assert_eq!(instant(ms), text);
        }
    }
}
