//! Figures and texts as people read them. Texts come from plans, targets and files of anyone: whatever is written goes
//! through a function of `loadr-figures` that makes it inert, or one here, where it goes into Markdown.

use loadr_figures as figures;
pub(crate) use loadr_figures::{
    bytes, duration_apart as duration, inert as visible, markup, percent,
};

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

/// A count with its thousands apart.
pub(crate) fn count(n: u64) -> String {
    // A narrow space, at which no line breaks.
    figures::count(n).replace(',', "\u{202f}")
}

/// So many in a second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second.is_finite() && per_second >= 100.0 {
        count(per_second.round() as u64)
    } else {
        figures::rate(per_second)
    }
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
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("`x` @all <b>"), "`` `x` @all <b> ``");
        assert_eq!(code("```"), "```` ``` ````");
        assert_eq!(code(""), "` `");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(count(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(rate(1234.4).replace('\u{202f}', " "), "1 234");
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
