//! `capacity`: what `loadr-fast capacity` is to look for. The values are text as on the command line, so that one reading
//! serves both.

use std::time::Duration;

use crate::diagnostic::shown;
use crate::metrics::MetricKind;
use crate::program::{Aggregation, Comparison};
use crate::threshold::{Rule, Wrong, rule, selector};
use crate::units::parse_duration;

/// The plan's `capacity` block; what is not there is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CapacityPlan {
    /// What must hold.
    pub slos: Vec<SloRule>,
    /// Where the search begins, in iterations a second.
    pub min_rate: Option<f64>,
    /// Where it ends.
    pub max_rate: Option<f64>,
    /// As a share.
    pub precision: Option<f64>,
    /// Judged time of a probe.
    pub step_duration: Option<Duration>,
    /// Judged time of the probe that confirms.
    pub confirm: Option<Duration>,
    /// A rate to compare with.
    pub target: Option<f64>,
    /// Its growth a month, as a share.
    pub growth: Option<f64>,
    /// Whose flow is driven.
    pub scenario: Option<String>,
}

/// What the probes of a capacity search lay over a plan: one scenario, started at a rate whatever it was written for.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeLoad {
    /// The only scenario that runs.
    pub scenario: String,
    /// Iterations a second.
    pub rate: f64,
    /// For how long.
    pub duration: Duration,
    /// The fewest virtual users that may be made.
    pub max_vus: u32,
    /// How long what is in flight may take after that.
    pub drain: Duration,
}

/// An objective: at most a share of something is bad.
#[derive(Clone, Debug, PartialEq)]
pub struct SloRule {
    /// In full: `http_req_response: p(99)<50ms`.
    pub text: String,
    /// `http_req_response`, `iteration_duration`, `http_req_failed` or `checks`.
    pub metric: &'static str,
    /// What a series must carry.
    pub tags: Vec<(String, String)>,
    /// The share that may be bad.
    pub allowed: f64,
    /// Beyond which a duration is bad, in milliseconds; with its percentile.
    pub bound: Option<(f64, f64)>,
}

/// The metrics that an objective can be about.
const METRICS: [&str; 4] = [
    "http_req_response",
    "http_req_failed",
    "checks",
    "iteration_duration",
];

/// Reads `p(99)<50ms` (of response times), `http_req_failed<0.01` or `METRIC{TAG:VALUE}: RULE`.
///
/// # Errors
/// What is wrong and what to write instead.
pub fn parse_slo(text: &str) -> Result<SloRule, (String, Option<String>)> {
    let text = text.trim();
    let (metric, expression) = split(text);
    let selector = selector(metric)?;
    if !METRICS.contains(&selector.metric) {
        let help = match selector.metric {
            "http_req_duration" | "http_req_waiting" => {
                "write `http_req_response`: it counts from when a request was due, so that waiting for a free connection is \
                 in it"
                    .to_owned()
            }
            _ => format!("there are {}", METRICS.map(|m| format!("`{m}`")).join(", ")),
        };
        let message = format!("a capacity has no objective on `{}`", selector.metric);
        return Err((message, Some(help)));
    }
    let rule = if selector.kind == MetricKind::Rate && expression.starts_with(['<', '>', '=']) {
        rule(&format!("rate{expression}"), selector.kind)?
    } else {
        rule(expression, selector.kind)?
    };
    let (allowed, bound) = match selector.kind {
        MetricKind::Rate => (allowed_share(&rule, selector.metric, text)?, None),
        _ => of_durations(&rule, text)?,
    };
    Ok(SloRule {
        text: format!("{}: {}", label(metric, selector.metric), expression.trim()),
        metric: selector.metric,
        tags: selector.tags,
        allowed,
        bound,
    })
}

/// The metric, and the rule.
fn split(text: &str) -> (&str, &str) {
    let after_tags = text.find('}').map_or(0, |at| at + 1);
    let rest = &text[after_tags..];
    if let Some(at) = rest.find(':') {
        let at = after_tags + at;
        return (text[..at].trim(), text[at + 1..].trim());
    }
    let compared = rest
        .find(['<', '>', '=', '!'])
        .map_or(text.len(), |at| after_tags + at);
    let left = text[..compared].trim();
    // `p(99)<50ms` is of response times; `http_req_failed<0.01` names its metric.
    let is_metric = crate::metrics::METRICS
        .iter()
        .any(|(name, _)| left.split('{').next().is_some_and(|l| l.trim() == *name));
    if is_metric || left.contains('{') || left.contains('_') {
        (left, &text[compared..])
    } else {
        ("http_req_response", text)
    }
}

fn label<'a>(written: &'a str, metric: &'a str) -> &'a str {
    if written.contains('{') {
        written
    } else {
        metric
    }
}

/// Of a rate: `http_req_failed` counts what is bad, `checks` what is good.
fn allowed_share(rule: &Rule, metric: &str, text: &str) -> Result<f64, Wrong> {
    let counts_bad = metric == "http_req_failed";
    let example = if counts_bad {
        "http_req_failed<0.01"
    } else {
        "checks>0.99"
    };
    let wrong = |message: String| Err((message, Some(format!("write something like `{example}`"))));
    if rule.aggregation != Aggregation::Rate {
        return wrong(format!("`{}` is no share", shown(text)));
    }
    let bound = rule.bound;
    if !(0.0..=1.0).contains(&bound) {
        return wrong(format!(
            "`{}` contradicts itself or says nothing: a share is between 0 and 1",
            shown(text)
        ));
    }
    let (wanted, or_equal) = if counts_bad {
        (Comparison::Less, Comparison::LessOrEqual)
    } else {
        (Comparison::Greater, Comparison::GreaterOrEqual)
    };
    let none = if counts_bad { 0.0 } else { 1.0 };
    let is_strict = rule.comparison == wanted;
    let is_exact = rule.comparison == Comparison::Equal && bound == none;
    if !is_strict && rule.comparison != or_equal && !is_exact {
        return wrong(format!(
            "`{}` asks for a system that is bad, or just so good",
            shown(text)
        ));
    }
    if is_strict && bound == none {
        return wrong(format!(
            "`{}` contradicts itself: no share is that",
            shown(text)
        ));
    }
    let allowed = if counts_bad { bound } else { 1.0 - bound };
    if allowed >= 1.0 {
        return wrong(format!("`{}` holds whatever happens", shown(text)));
    }
    Ok(allowed)
}

/// The share allowed, and the bound with its percentile.
type OfDurations = (f64, Option<(f64, f64)>);

fn of_durations(rule: &Rule, text: &str) -> Result<OfDurations, Wrong> {
    let help = Some("write something like `p(99)<50ms`".to_owned());
    let percentile = match rule.aggregation {
        Aggregation::Percentile(p) => p,
        Aggregation::Med => 50.0,
        Aggregation::Max => 100.0,
        _ => {
            let message = format!(
                "`{}` is about no share of the requests, and an objective must be: a mean hides how many wait",
                shown(text)
            );
            return Err((message, help));
        }
    };
    if !matches!(rule.comparison, Comparison::Less | Comparison::LessOrEqual) {
        let message = format!(
            "`{}` asks for a system that is slow, which contradicts every other objective",
            shown(text)
        );
        return Err((message, help));
    }
    if rule.bound <= 0.0 {
        let message = format!(
            "`{}` contradicts itself: nothing is answered in no time",
            shown(text)
        );
        return Err((message, help));
    }
    Ok((
        ((100.0 - percentile) / 100.0).max(0.0),
        Some((rule.bound, percentile)),
    ))
}

/// Reads `2%` or `0.02`: above 0 and at most `most`.
///
/// # Errors
/// A sentence.
pub fn parse_share(text: &str, most: f64) -> Result<f64, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "`{}` is no share above 0 and at most {} %, such as `2%`",
            shown(text),
            most * 100.0
        )
    };
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| wrong())? / unit;
    if share.is_finite() && share > 0.0 && share <= most {
        Ok(share)
    } else {
        Err(wrong())
    }
}

/// Reads `1500`, `1500/s`, `90/m` or `9e4/h`, as a rate a second.
///
/// # Errors
/// A sentence.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "`{}` is no rate such as `1500/s`, `90/m` or `1500`",
            shown(text)
        )
    };
    let (number, unit) = match text.split_once('/') {
        None => (text, 1.0),
        Some((number, "s")) => (number, 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => return Err(wrong()),
    };
    let rate = number.trim().parse::<f64>().map_err(|_| wrong())? / unit;
    if rate.is_finite() && (1e-3..=crate::language::MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!(
            "`{}` is not between 0.001/s and {}/s",
            shown(text),
            crate::language::MAX_RATE
        ))
    }
}

/// Reads a probe's time: whole seconds, because probes are judged by the second.
///
/// # Errors
/// A sentence.
pub fn parse_step(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let is_whole = duration.subsec_nanos() == 0;
    if is_whole && (1..=86_400).contains(&duration.as_secs()) {
        Ok(duration)
    } else {
        Err(format!(
            "`{}` is no number of whole seconds from 1s to 24h: probes are judged by the second",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn objectives_are_shares() {
        for (text, metric, allowed, bound) in [
            ("p(99)<50ms", "http_req_response", 0.01, Some((50.0, 99.0))),
            ("med<=2", "http_req_response", 0.5, Some((2.0, 50.0))),
            ("max<1s", "http_req_response", 0.0, Some((1000.0, 100.0))),
            ("http_req_failed<0.01", "http_req_failed", 0.01, None),
            ("http_req_failed: rate==0", "http_req_failed", 0.0, None),
            ("checks>=0.99", "checks", 0.01, None),
            (
                "http_req_response{name:buy}: p(95)<300",
                "http_req_response",
                0.05,
                Some((300.0, 95.0)),
            ),
            (
                "iteration_duration: p(90)<2s",
                "iteration_duration",
                0.1,
                Some((2000.0, 90.0)),
            ),
        ] {
            let slo = parse_slo(text).unwrap();
            assert_eq!((slo.metric, slo.bound), (metric, bound), "{text}");
            assert!((slo.allowed - allowed).abs() < 1e-9, "{text}");
            assert_eq!(parse_slo(&slo.text).unwrap(), slo, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_objective_says_why() {
        for (text, part) in [
            ("p(99)<0", "contradicts itself"),
            ("p(99)>50ms", "contradicts every other"),
            ("http_req_failed<0", "contradicts itself"),
            ("http_req_failed>0.5", "bad"),
            ("http_req_failed<=1", "whatever happens"),
            ("http_req_failed<5", "between 0 and 1"),
            ("checks>1", "contradicts itself"),
            ("avg<50ms", "no share"),
            ("http_req_duration: p(99)<50ms", "no objective"),
            ("http_reqs: rate>5", "no objective"),
            ("p(99)", "comparison"),
            ("p(101)<5", "percentile"),
            ("http_req_respons: p(99)<5", "unknown metric"),
            ("", "comparison"),
            ("{", "}"),
        ] {
            let (message, _) = parse_slo(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn shares_rates_and_steps_are_read() {
        assert!((parse_share("2%", 0.5).unwrap() - 0.02).abs() < 1e-12);
        assert!((parse_share(" 0.1 ", 0.5).unwrap() - 0.1).abs() < 1e-12);
        for text in ["0", "-1%", "60%", "nan", "inf", "x", ""] {
            assert!(parse_share(text, 0.5).is_err(), "{text}");
        }
        for (text, rate) in [
            ("1500", 1500.0),
            ("1500/s", 1500.0),
            ("90/m", 1.5),
            ("3600/h", 1.0),
        ] {
            assert!((parse_rate(text).unwrap() - rate).abs() < 1e-9, "{text}");
        }
        for text in ["", "/s", "5/d", "-5", "0", "inf", "1e300"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert!(parse_step("1500ms").is_err() && parse_step("0s").is_err());
        assert_eq!(parse_step("10").unwrap().as_secs(), 10);
    }
}
