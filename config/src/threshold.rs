//! Thresholds: `http_req_duration{scenario:api}` and `p(95)<400ms`.

use crate::diagnostic::{did_you_mean, shown};
use crate::metrics::{METRICS, MetricKind};
use crate::program::{Aggregation, Comparison};
use crate::units::parse_duration;

/// A metric and the tags that a series must carry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: &'static str,
    pub(crate) kind: MetricKind,
    pub(crate) tags: Vec<(String, String)>,
}

/// What is wrong and what to write instead.
pub(crate) type Wrong = (String, Option<String>);

/// Reads `metric` or `metric{tag:value,…}`.
pub(crate) fn selector(text: &str) -> Result<Selector, Wrong> {
    let text = text.trim();
    let (name, tags) = match text.split_once('{') {
        None => (text, None),
        Some((name, rest)) => match rest.strip_suffix('}') {
            Some(tags) => (name.trim_end(), Some(tags)),
            None => return Err((format!("`{}` has no closing `}}`", shown(text)), None)),
        },
    };
    let Some((metric, kind)) = METRICS.iter().find(|(metric, _)| *metric == name) else {
        let help = did_you_mean(name, METRICS.iter().map(|(metric, _)| *metric));
        return Err((format!("unknown metric `{}`", shown(name)), help));
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in tags
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let help = || Some("write `tag:value`".to_owned());
        let Some((tag, value)) = pair.split_once(':') else {
            return Err((
                format!("`{}` is not a tag and a value", shown(pair)),
                help(),
            ));
        };
        let (tag, value) = (tag.trim(), value.trim());
        if tag.is_empty() {
            return Err((format!("`{}` has no tag", shown(pair)), help()));
        }
        if pairs.iter().any(|(known, _)| known == tag) {
            return Err((format!("the tag `{}` is there twice", shown(tag)), None));
        }
        pairs.push((tag.to_owned(), value.to_owned()));
    }
    pairs.sort();
    Ok(Selector {
        metric,
        kind: *kind,
        tags: pairs,
    })
}

/// The parts of a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) aggregation: Aggregation,
    pub(crate) comparison: Comparison,
    pub(crate) bound: f64,
}

/// Longer operators first, so that `<=` is not taken for `<`.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

/// Reads `p(95)<400` as a rule over a metric of `kind`.
pub(crate) fn rule(text: &str, kind: MetricKind) -> Result<Rule, Wrong> {
    let example = || Some(format!("write something like `{}`", example_for(kind)));
    let Some(at) = text.find(['<', '>', '=', '!']) else {
        return Err((format!("`{}` has no comparison", shown(text)), example()));
    };
    let (left, right) = text.split_at(at);
    let Some((comparison, right)) = COMPARISONS
        .iter()
        .find_map(|(sign, comparison)| Some((*comparison, right.strip_prefix(sign)?)))
    else {
        return Err((format!("`{}` has no comparison", shown(text)), example()));
    };
    let aggregation = aggregation(left.trim(), kind)?;
    let bound = bound(right.trim(), kind, aggregation)?;
    Ok(Rule {
        aggregation,
        comparison,
        bound,
    })
}

fn example_for(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "count>1000",
        MetricKind::Gauge => "value<100",
        MetricKind::Rate => "rate<0.01",
        MetricKind::Trend => "p(95)<400ms",
    }
}

fn aggregation(text: &str, kind: MetricKind) -> Result<Aggregation, Wrong> {
    use MetricKind::{Counter, Gauge, Rate, Trend};
    let names = [
        "avg", "min", "max", "med", "p(95)", "rate", "count", "value",
    ];
    let (aggregation, kinds): (_, &[MetricKind]) = match text {
        "avg" => (Aggregation::Avg, &[Trend]),
        "min" => (Aggregation::Min, &[Trend, Gauge]),
        "max" => (Aggregation::Max, &[Trend, Gauge]),
        "med" => (Aggregation::Med, &[Trend]),
        "rate" => (Aggregation::Rate, &[Rate, Counter]),
        "count" => (Aggregation::Count, &[Counter, Rate, Trend]),
        "value" => (Aggregation::Value, &[Gauge]),
        _ => match percentile(text)? {
            Some(percentile) => (Aggregation::Percentile(percentile), &[Trend]),
            None => {
                let help = did_you_mean(text, names).unwrap_or_else(|| {
                    format!("there are {}", names.map(|n| format!("`{n}`")).join(", "))
                });
                return Err((format!("unknown aggregation `{}`", shown(text)), Some(help)));
            }
        },
    };
    if !kinds.contains(&kind) {
        let message = format!("`{text}` does not go with a {}", kind.name());
        return Err((
            message,
            Some(format!("write something like `{}`", example_for(kind))),
        ));
    }
    Ok(aggregation)
}

/// `p(N)`; also `slo(N%)`, which asks for the same.
fn percentile(text: &str) -> Result<Option<f64>, Wrong> {
    let inside = |name| {
        text.strip_prefix(name)
            .and_then(|rest: &str| rest.strip_suffix(')'))
    };
    let number = match (inside("p("), inside("slo(")) {
        (Some(number), _) => number.trim(),
        (None, Some(number)) => number.trim().trim_end_matches('%').trim_end(),
        (None, None) => return Ok(None),
    };
    match plain_number(number) {
        Some(percentile) if percentile > 0.0 && percentile <= 100.0 => Ok(Some(percentile)),
        _ => {
            let help = "the percentile goes from above 0 to 100: `p(99.9)`".to_owned();
            Err((format!("`{}` is not a percentile", shown(text)), Some(help)))
        }
    }
}

fn bound(text: &str, kind: MetricKind, aggregation: Aggregation) -> Result<f64, Wrong> {
    if let Some(number) = plain_number(text) {
        return Ok(number);
    }
    let is_time = kind == MetricKind::Trend && aggregation != Aggregation::Count;
    match parse_duration(text) {
        Ok(duration) if is_time => Ok(duration.as_secs_f64() * 1e3),
        Ok(_) => Err((
            format!(
                "the bound `{}` is a duration, this figure is not",
                shown(text)
            ),
            None,
        )),
        Err(_) => {
            let help = if is_time {
                "write milliseconds or a duration: `400`, `1.5s`"
            } else {
                "write a number"
            };
            Err((
                format!("`{}` is not a bound", shown(text)),
                Some(help.to_owned()),
            ))
        }
    }
}

/// A finite decimal number; `f64` alone would also read `inf` and `nan`.
fn plain_number(text: &str) -> Option<f64> {
    let digits = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    text.parse()
        .ok()
        .filter(|number: &f64| digits && number.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_read() {
        use {Aggregation as A, Comparison as C, MetricKind as K};
        for (text, kind, aggregation, comparison, bound) in [
            ("p(95)<400", K::Trend, A::Percentile(95.0), C::Less, 400.0),
            (
                "p(99.9) <= 1.5s",
                K::Trend,
                A::Percentile(99.9),
                C::LessOrEqual,
                1500.0,
            ),
            (
                "slo(99%)<300ms",
                K::Trend,
                A::Percentile(99.0),
                C::Less,
                300.0,
            ),
            ("avg<200us", K::Trend, A::Avg, C::Less, 0.2),
            ("count>10", K::Trend, A::Count, C::Greater, 10.0),
            ("rate>0.99", K::Rate, A::Rate, C::Greater, 0.99),
            ("rate>=1e3", K::Counter, A::Rate, C::GreaterOrEqual, 1000.0),
            ("value != 0", K::Gauge, A::Value, C::NotEqual, 0.0),
            ("max==5", K::Gauge, A::Max, C::Equal, 5.0),
        ] {
            let rule = rule(text, kind).unwrap();
            assert_eq!(
                rule,
                Rule {
                    aggregation,
                    comparison,
                    bound
                },
                "{text}"
            );
        }
    }

    #[test]
    fn a_bad_rule_is_named() {
        use MetricKind as K;
        for (text, kind, message) in [
            ("", K::Trend, "`` has no comparison"),
            ("p(95)", K::Trend, "`p(95)` has no comparison"),
            ("p95<4", K::Trend, "unknown aggregation `p95`"),
            ("p(0)<4", K::Trend, "`p(0)` is not a percentile"),
            ("p(101)<4", K::Trend, "`p(101)` is not a percentile"),
            ("p(nan)<4", K::Trend, "`p(nan)` is not a percentile"),
            ("avg<inf", K::Trend, "`inf` is not a bound"),
            ("avg<", K::Trend, "`` is not a bound"),
            ("avg<<4", K::Trend, "`<4` is not a bound"),
            ("rate<4", K::Trend, "`rate` does not go with a trend"),
            ("p(95)<4", K::Counter, "`p(95)` does not go with a counter"),
            (
                "count<4s",
                K::Counter,
                "the bound `4s` is a duration, this figure is not",
            ),
            (
                "count<4s",
                K::Trend,
                "the bound `4s` is a duration, this figure is not",
            ),
        ] {
            assert_eq!(rule(text, kind).unwrap_err().0, message, "{text}");
        }
    }

    #[test]
    fn selectors_are_read() {
        let read = selector("http_req_duration{scenario:api, name:a:b}").unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read.tags, [pair("name", "a:b"), pair("scenario", "api")]);
        for (text, message) in [
            ("http_req_durations", "unknown metric `http_req_durations`"),
            ("vus{", "`vus{` has no closing `}`"),
            ("vus{a}", "`a` is not a tag and a value"),
            ("vus{:a}", "`:a` has no tag"),
            ("vus{a:b,a:c}", "the tag `a` is there twice"),
        ] {
            assert_eq!(selector(text).unwrap_err().0, message, "{text}");
        }
    }
}
