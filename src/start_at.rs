//! `--start-at`: when a run begins, as people and scripts write it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is to be written.
const FORMS: &str = "expected an instant such as `2026-11-26T09:00:00Z`, seconds since 1970 such as `1795683600`, or how long from \
                     now, such as `+30s`";
/// Seconds since 1970 that are within what the clock can show.
const SECS_MAX: f64 = 253_402_300_799.0;

/// An instant as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StartAt {
    /// The same for every process that is told so.
    Instant(SystemTime),
    /// So long after the process began.
    After(Duration),
}

/// Reads one.
///
/// # Errors
/// What is wrong with it and what is meant.
pub(crate) fn parse(text: &str) -> Result<StartAt, String> {
    if let Some(after) = text.strip_prefix('+') {
        return loadr_config::parse_duration(after)
            .map(StartAt::After)
            .map_err(|error| format!("{error}; {FORMS}"));
    }
    if let Ok(secs) = text.parse::<f64>() {
        if !(0.0..=SECS_MAX).contains(&secs) {
            return Err(FORMS.to_owned());
        }
        return Ok(StartAt::Instant(UNIX_EPOCH + Duration::from_secs_f64(secs)));
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|instant| StartAt::Instant(instant.into()))
        .map_err(|error| format!("{error}; {FORMS}"))
}

impl StartAt {
    /// The instant, for a process that began at `now`.
    ///
    /// # Errors
    /// It has passed; by how much.
    pub(crate) fn from(self, now: SystemTime) -> Result<SystemTime, String> {
        match self {
            Self::After(after) => Ok(now + after),
            Self::Instant(at) => match now.duration_since(at) {
                Ok(late) if !late.is_zero() => Err(format!(
                    "--start-at names an instant that was {:.3} s ago: name one that is still to come",
                    late.as_secs_f64()
                )),
                _ => Ok(at),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(secs: f64) -> StartAt {
        StartAt::Instant(UNIX_EPOCH + Duration::from_secs_f64(secs))
    }

    #[test]
    fn instants_are_read_in_each_form() {
        for (text, expected) in [
            ("+30s", StartAt::After(Duration::from_secs(30))),
            ("+1m30s", StartAt::After(Duration::from_secs(90))),
            ("1795683600", unix(1_795_683_600.0)),
            ("1795683600.5", unix(1_795_683_600.5)),
            ("2026-11-26T09:00:00Z", unix(1_795_683_600.0)),
            ("2026-11-26T10:00:00.250+01:00", unix(1_795_683_600.25)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "+",
            "tomorrow",
            "-5",
            "1e300",
            "NaN",
            "2026-11-26",
            "2026-13-01T00:00:00Z",
            "+30 s ago",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("+30s"), "{text}: {error}");
        }
    }

    #[test]
    fn an_instant_that_has_passed_is_refused_with_how_long_ago_it_was() {
        let now = UNIX_EPOCH + Duration::from_millis(1_000_250);
        let error = unix(1_000.0).from(now).unwrap_err();
        assert!(error.contains("0.250 s ago"), "{error}");
        assert!(unix(1_001.0).from(now).is_ok());
        assert_eq!(StartAt::After(Duration::ZERO).from(now), Ok(now));
    }
}
