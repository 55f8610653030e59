//! The summary for a terminal, in the manner of k6.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::summary::{Aggregates, Summary};
use crate::metrics::METRICS;

/// The width to which a metric's name is filled up with dots.
const NAME_WIDTH: usize = 24;

/// The summary as text: bad news first, then thresholds, checks, metrics, statuses, errors, plugins, generator.
#[must_use]
pub fn summary_text(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, summary);
    out
}

/// How many responses had each status, over all requests.
fn statuses(s: &Summary) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let series = s.snapshot.series.iter();
    for one in series.filter(|one| one.metric == "http_reqs") {
        if let (Some(status), Some(count)) = (one.tags.get("status"), one.agg.count) {
            *counts.entry(status).or_default() += count;
        }
    }
    let of = |(status, count)| format!("{status} × {count}");
    counts.into_iter().map(of).collect()
}

fn write_all(out: &mut String, s: &Summary) -> std::fmt::Result {
    out.push('\n');
    if s.generator.bottleneck {
        writeln!(out, "  ! The generator may have been the bottleneck:")?;
        for reason in &s.generator.reasons {
            writeln!(out, "  !   {reason}")?;
        }
        out.push('\n');
    }
    if let Some(why) = &s.aborted {
        writeln!(out, "  ! Ended early: {}\n", inert(why))?;
    }
    writeln!(
        out,
        "  {} · {} · {}\n",
        inert(&s.name),
        scenarios(s),
        duration(s.duration_secs * 1e3)
    )?;
    if s.iterations_interrupted > 0 {
        writeln!(
            out,
            "  ! {} iterations did not end within `graceful_stop` and were cancelled: what they waited for is in no figure\n",
            s.iterations_interrupted
        )?;
    }
    if s.generator.late_iterations > 0 {
        writeln!(
            out,
            "  ! {} iterations began more than 10 ms after they were due, the latest {}: http_req_response has it,\n  \
             ! http_req_duration has not\n",
            s.generator.late_iterations,
            duration(s.generator.late_max_ms)
        )?;
    }
    if !s.thresholds.is_empty() {
        writeln!(out, "  THRESHOLDS")?;
        for t in &s.thresholds {
            let observed = match t.observed {
                Some(value) => format!("{value:.3}"),
                None => "no samples".to_owned(),
            };
            writeln!(
                out,
                "    {} {}: {}  ({observed})",
                mark(t.passed),
                inert(&t.metric),
                inert(&t.expression)
            )?;
        }
        out.push('\n');
    }
    if !s.checks.is_empty() {
        writeln!(out, "  CHECKS")?;
        for check in &s.checks {
            let all = check.passes + check.fails;
            let share = if all == 0 {
                0.0
            } else {
                check.passes as f64 / all as f64 * 100.0
            };
            let mark = mark(check.fails == 0);
            writeln!(
                out,
                "    {mark} {}  {share:.2} % ({} of {all})",
                inert(&check.name),
                check.passes
            )?;
            for detail in check.details.iter().take(5) {
                writeln!(out, "        {} × {}", detail.count, inert(&detail.text))?;
            }
        }
        out.push('\n');
    }
    writeln!(out, "  METRICS")?;
    for metric in &s.metrics {
        let is_bytes = METRICS
            .iter()
            .any(|m| m.name == metric.metric && m.is_bytes);
        let dots = ".".repeat(NAME_WIDTH.saturating_sub(metric.metric.len()));
        writeln!(
            out,
            "    {}{dots}: {}",
            metric.metric,
            figures(&metric.kind, &metric.agg, is_bytes)
        )?;
    }
    let statuses = statuses(s);
    if !statuses.is_empty() {
        writeln!(out, "\n  STATUS\n    {}", statuses.join(" · "))?;
    }
    if !s.errors.is_empty() {
        writeln!(out, "\n  ERRORS")?;
        for error in &s.errors {
            writeln!(
                out,
                "    {} × {}  {}",
                error.count,
                error.kind,
                inert(&error.example)
            )?;
        }
    }
    if !s.plugins.is_empty() {
        writeln!(out, "\n  PLUGINS")?;
        for plugin in &s.plugins {
            writeln!(
                out,
                "    {}: {} calls, {} errors",
                inert(&plugin.name),
                plugin.calls,
                plugin.errors
            )?;
        }
    }
    outputs(out, s)?;
    let lag = s
        .generator
        .lag_p99_ms
        .map_or_else(|| "none".to_owned(), duration);
    let cores: Vec<String> = s.generator.cores.iter().map(ToString::to_string).collect();
    writeln!(out, "\n  GENERATOR")?;
    writeln!(
        out,
        "    cores {} · busiest {:.0} % · lag p99 {lag}",
        cores.join(","),
        s.generator.cpu_max * 100.0
    )?;
    for note in &s.generator.notes {
        writeln!(out, "    note: {note}")?;
    }
    Ok(())
}

/// What became of the outputs' points.
fn outputs(out: &mut String, s: &Summary) -> std::fmt::Result {
    if !s.outputs.is_empty() {
        writeln!(out, "\n  OUTPUTS")?;
    }
    for output in &s.outputs {
        write!(out, "    {}: ", inert(&output.name))?;
        match output.dropped {
            0 => writeln!(out, "{} points", output.points)?,
            dropped => writeln!(out, "{dropped} of {} points DROPPED", output.points)?,
        }
        if let Some(error) = &output.error {
            let failures = output.failures;
            writeln!(out, "        {failures} × {}", inert(error))?;
        }
    }
    Ok(())
}

fn scenarios(s: &Summary) -> String {
    match s.scenarios.as_slice() {
        [one] => format!("scenario {}", inert(one)),
        many => format!("{} scenarios", many.len()),
    }
}

fn mark(passed: bool) -> char {
    if passed { '✓' } else { '✗' }
}

fn figures(kind: &str, agg: &Aggregates, is_bytes: bool) -> String {
    let (count, value) = (agg.count.unwrap_or(0), |v: Option<f64>| v.unwrap_or(0.0));
    match kind {
        "counter" if is_bytes => {
            format!(
                "{:<12} {}/s",
                bytes(count as f64),
                bytes(value(agg.per_second))
            )
        }
        "counter" => format!("{count:<12} {}/s", rate(value(agg.per_second))),
        "rate" => {
            let passes = (value(agg.rate) * count as f64).round();
            format!(
                "{:.2} %{:6} {passes} of {count}",
                value(agg.rate) * 100.0,
                ""
            )
        }
        "gauge" => {
            let plain = |v: f64| {
                format!("{:.2}", v)
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .to_owned()
            };
            format!(
                "{:<12} min={} max={}",
                plain(value(agg.last)),
                plain(value(agg.min)),
                plain(value(agg.max))
            )
        }
        _ => format!(
            "avg={:<9} min={:<9} med={:<9} p(90)={:<9} p(95)={:<9} p(99)={:<9} max={}",
            duration(value(agg.avg)),
            duration(value(agg.min)),
            duration(value(agg.med)),
            duration(value(agg.p90)),
            duration(value(agg.p95)),
            duration(value(agg.p99)),
            duration(value(agg.max)),
        ),
    }
}

/// Milliseconds with the unit that fits, three significant digits.
fn duration(ms: f64) -> String {
    let (value, unit) = match ms {
        _ if ms <= 0.0 => return "0".to_owned(),
        _ if ms < 1.0 => (ms * 1e3, "µs"),
        _ if ms < 1e3 => (ms, "ms"),
        _ if ms < 60e3 => (ms / 1e3, "s"),
        _ => {
            let secs = (ms / 1e3).round() as u64;
            return format!("{}m{:02}s", secs / 60, secs % 60);
        }
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$}{unit}")
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.2}")
    } else {
        format!("{per_second:.0}")
    }
}

fn bytes(count: f64) -> String {
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

/// Text from outside, with control characters (terminal escapes among them) made visible.
fn inert(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hidden = c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
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
        ];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn terminal_escapes_are_shown_inert() {
        assert_eq!(
            inert("a\x1b[31mb\r\n\u{202e}é"),
            "a\\u{1b}[31mb\\r\\n\\u{202e}é"
        );
    }

    #[test]
    fn amounts_of_bytes_are_decimal() {
        assert_eq!(
            (bytes(999.0), bytes(1500.0), bytes(2.5e9)),
            ("999 B".into(), "1.5 kB".into(), "2.5 GB".into())
        );
    }
}
