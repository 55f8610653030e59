//! The summary for a terminal, in the manner of k6.

use std::collections::BTreeMap;
use std::fmt::{Display, Result, Write};

use anstyle::{AnsiColor, Style};
use loadr_figures::{bytes, duration, inert, rate};

use super::summary::{Aggregates, SeriesSummary, Summary};
use crate::metrics::METRICS;

/// The width to which a metric's name is filled up with dots.
const NAME_WIDTH: usize = 24;
/// How many texts of a failed check are shown, and how many of the slowest requests.
const DETAILS: usize = 5;

/// How the summary is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// With colours and bold print, for a terminal that knows them.
    pub is_colored: bool,
    /// With everything that is known: all requests, all texts of failed checks, what the run was.
    pub is_verbose: bool,
}

/// The summary as text: bad news first, then thresholds, checks, metrics, the slowest requests, statuses, errors, plugins,
/// generator.
#[must_use]
pub fn summary_text(summary: &Summary, style: TextStyle) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    // Writing to a String cannot fail.
    let _ = page.write(summary);
    page.out
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HEADING: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const VALUE: Style = AnsiColor::Cyan.on_default();

struct Page {
    out: String,
    style: TextStyle,
}

impl Page {
    fn write(&mut self, s: &Summary) -> Result {
        self.out.push('\n');
        self.bad_news(s)?;
        let name = self.painted(HEADING, &inert(&s.name));
        writeln!(
            self.out,
            "  {name} · {} · {}\n",
            scenarios(s),
            duration(s.duration_secs * 1e3)
        )?;
        if let Some(segment) = s.segment {
            let text = format!(
                "Segment {segment}, one of {} parts of the load: `loadr-fast merge` makes one summary of all, and judges the \
                 thresholds on it.",
                segment.of
            );
            self.warn(WARNING, &text)?;
            self.out.push('\n');
        }
        self.less_bad_news(s)?;
        self.thresholds(s)?;
        self.checks(s)?;
        self.metrics(s)?;
        self.slowest(s)?;
        let statuses = statuses(s);
        if !statuses.is_empty() {
            self.out.push('\n');
            self.heading("STATUS")?;
            writeln!(self.out, "    {}", statuses.join(" · "))?;
        }
        self.errors(s)?;
        self.plugins(s)?;
        self.outputs(s)?;
        self.generator(s)
    }

    fn painted(&self, style: Style, text: &dyn Display) -> String {
        if self.style.is_colored {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }

    fn heading(&mut self, text: &str) -> Result {
        let heading = self.painted(HEADING, &text);
        writeln!(self.out, "  {heading}")
    }

    fn mark(&self, passed: bool) -> String {
        if passed {
            self.painted(GOOD, &'✓')
        } else {
            self.painted(BAD, &'✗')
        }
    }

    /// A line that is not to be overlooked.
    fn warn(&mut self, style: Style, text: &str) -> Result {
        let line = self.painted(style, &format_args!("! {text}"));
        writeln!(self.out, "  {line}")
    }

    /// What makes the figures below doubtful, or fewer than asked for.
    fn bad_news(&mut self, s: &Summary) -> Result {
        if s.generator.bottleneck {
            self.warn(BAD, "The generator may have been the bottleneck:")?;
            for reason in &s.generator.reasons {
                self.warn(WARNING, &format!("  {}", inert(reason)))?;
            }
            self.out.push('\n');
        }
        if let Some(why) = &s.aborted {
            self.warn(BAD, &format!("Ended early: {}", inert(why)))?;
            self.out.push('\n');
        }
        Ok(())
    }

    /// What is missing in some figure.
    fn less_bad_news(&mut self, s: &Summary) -> Result {
        if s.iterations_interrupted > 0 {
            let text = format!(
                "{} iterations did not end within `graceful_stop` and were cancelled: what they waited for is in no figure",
                s.iterations_interrupted
            );
            self.warn(WARNING, &text)?;
            self.out.push('\n');
        }
        if s.generator.late_iterations > 0 {
            let text = format!(
                "{} iterations began more than 10 ms after they were due, the latest {}: http_req_response has it,",
                s.generator.late_iterations,
                duration(s.generator.late_max_ms)
            );
            self.warn(WARNING, &text)?;
            self.warn(WARNING, "http_req_duration has not")?;
            self.out.push('\n');
        }
        Ok(())
    }

    fn thresholds(&mut self, s: &Summary) -> Result {
        if s.thresholds.is_empty() {
            return Ok(());
        }
        self.heading("THRESHOLDS")?;
        for t in &s.thresholds {
            let observed = match t.observed {
                Some(value) => format!("{value:.3}"),
                None => "no samples".to_owned(),
            };
            let mark = self.mark(t.passed);
            writeln!(
                self.out,
                "    {mark} {}: {}  ({observed})",
                inert(&t.metric),
                inert(&t.expression)
            )?;
        }
        self.out.push('\n');
        Ok(())
    }

    fn checks(&mut self, s: &Summary) -> Result {
        if s.checks.is_empty() {
            return Ok(());
        }
        self.heading("CHECKS")?;
        for check in &s.checks {
            let all = check.passes + check.fails;
            let share = if all == 0 {
                0.0
            } else {
                check.passes as f64 / all as f64 * 100.0
            };
            let mark = self.mark(check.fails == 0);
            writeln!(
                self.out,
                "    {mark} {}  {share:.2} % ({} of {all})",
                inert(&check.name),
                check.passes
            )?;
            let shown = self.shown(check.details.len());
            for detail in check.details.iter().take(shown) {
                writeln!(
                    self.out,
                    "        {} × {}",
                    detail.count,
                    inert(&detail.text)
                )?;
            }
        }
        self.out.push('\n');
        Ok(())
    }

    /// How many of so many lines are shown.
    fn shown(&self, all: usize) -> usize {
        if self.style.is_verbose { all } else { DETAILS }
    }

    fn metrics(&mut self, s: &Summary) -> Result {
        self.heading("METRICS")?;
        for metric in &s.metrics {
            let is_bytes = METRICS
                .iter()
                .any(|m| m.name == metric.metric && m.is_bytes);
            let dots = ".".repeat(NAME_WIDTH.saturating_sub(metric.metric.len()));
            let dots = self.painted(FAINT, &dots);
            let figures = self.figures(&metric.kind, &metric.agg, is_bytes);
            writeln!(self.out, "    {}{dots}: {figures}", metric.metric)?;
        }
        Ok(())
    }

    fn figures(&self, kind: &str, agg: &Aggregates, is_bytes: bool) -> String {
        let (count, value) = (agg.count.unwrap_or(0), |v: Option<f64>| v.unwrap_or(0.0));
        let first = |text: String, width: usize| {
            let gap = " ".repeat(width.saturating_sub(text.chars().count()));
            self.painted(VALUE, &text) + &gap
        };
        match kind {
            "counter" if is_bytes => format!(
                "{} {}/s",
                first(bytes(count as f64), 12),
                bytes(value(agg.per_second))
            ),
            "counter" => format!(
                "{} {}/s",
                first(count.to_string(), 12),
                rate(value(agg.per_second))
            ),
            "rate" => {
                let passes = (value(agg.rate) * count as f64).round();
                let share = format!("{:.2} %", value(agg.rate) * 100.0);
                format!("{} {passes} of {count}", first(share, 12))
            }
            "gauge" => format!(
                "{} min={} max={}",
                first(plain(value(agg.last)), 12),
                plain(value(agg.min)),
                plain(value(agg.max))
            ),
            _ => {
                let of = |v: Option<f64>| first(duration(value(v)), 9);
                let mut line = format!(
                    "avg={} min={} med={} p(90)={} p(95)={} p(99)={} ",
                    of(agg.avg),
                    of(agg.min),
                    of(agg.med),
                    of(agg.p90),
                    of(agg.p95),
                    of(agg.p99),
                );
                if self.style.is_verbose {
                    line += &format!("p(99.9)={} ", of(agg.p999));
                }
                line + "max=" + &first(duration(value(agg.max)), 0)
            }
        }
    }

    /// The requests by their 95th percentile, where there is more than one to tell apart. A request that ended in several
    /// ways has a line for each: a timeout is not averaged into what was fast.
    fn slowest(&mut self, s: &Summary) -> Result {
        let mut requests: Vec<&SeriesSummary> = s
            .snapshot
            .series
            .iter()
            .filter(|one| one.metric == "http_req_response")
            .collect();
        if requests.len() < 2 {
            return Ok(());
        }
        let p95 = |one: &SeriesSummary| one.agg.p95.unwrap_or(0.0);
        requests.sort_by(|a, b| p95(b).total_cmp(&p95(a)).then_with(|| a.tags.cmp(&b.tags)));
        let shown = self.shown(requests.len());
        self.out.push('\n');
        self.heading(if shown < requests.len() {
            "SLOWEST REQUESTS"
        } else {
            "REQUESTS, SLOWEST FIRST"
        })?;
        for one in requests.iter().take(shown) {
            let tag = |key: &str| one.tags.get(key).map_or("", String::as_str);
            let end = format!("{} {}", tag("status"), tag("error_kind"));
            let of = |v: Option<f64>| duration(v.unwrap_or(0.0));
            let slow = self.painted(VALUE, &format_args!("{:<9}", of(one.agg.p95)));
            writeln!(
                self.out,
                "    p(95)={slow} p(99)={:<9} avg={:<9} {:>9} × {} {} {}",
                of(one.agg.p99),
                of(one.agg.avg),
                one.agg.count.unwrap_or(0),
                inert(tag("method")),
                inert(tag("name")),
                self.painted(FAINT, &inert(end.trim())),
            )?;
        }
        Ok(())
    }

    fn errors(&mut self, s: &Summary) -> Result {
        if s.errors.is_empty() {
            return Ok(());
        }
        self.out.push('\n');
        self.heading("ERRORS")?;
        for error in &s.errors {
            let kind = self.painted(BAD, &error.kind);
            writeln!(
                self.out,
                "    {} × {kind}  {}",
                error.count,
                inert(&error.example)
            )?;
        }
        Ok(())
    }

    fn plugins(&mut self, s: &Summary) -> Result {
        if s.plugins.is_empty() {
            return Ok(());
        }
        self.out.push('\n');
        self.heading("PLUGINS")?;
        for plugin in &s.plugins {
            let errors = format!("{} errors", plugin.errors);
            let errors = if plugin.errors > 0 {
                self.painted(BAD, &errors)
            } else {
                errors
            };
            writeln!(
                self.out,
                "    {}: {} calls, {errors}",
                inert(&plugin.name),
                plugin.calls,
            )?;
        }
        Ok(())
    }

    /// What became of the outputs' points.
    fn outputs(&mut self, s: &Summary) -> Result {
        if s.outputs.is_empty() {
            return Ok(());
        }
        self.out.push('\n');
        self.heading("OUTPUTS")?;
        for output in &s.outputs {
            let name = inert(&output.name);
            let points = match output.dropped {
                0 => format!("{} points", output.points),
                dropped => {
                    let text = format!("{dropped} of {} points DROPPED", output.points);
                    self.painted(BAD, &text)
                }
            };
            writeln!(self.out, "    {name}: {points}")?;
            if let Some(error) = &output.error {
                writeln!(self.out, "        {} × {}", output.failures, inert(error))?;
            }
        }
        Ok(())
    }

    fn generator(&mut self, s: &Summary) -> Result {
        let lag = s
            .generator
            .lag_p99_ms
            .map_or_else(|| "none".to_owned(), duration);
        let cores: Vec<String> = s.generator.cores.iter().map(ToString::to_string).collect();
        self.out.push('\n');
        self.heading("GENERATOR")?;
        writeln!(
            self.out,
            "    cores {} · busiest {:.0} % · lag p99 {lag}",
            cores.join(","),
            s.generator.cpu_max * 100.0
        )?;
        for note in &s.generator.notes {
            let word = self.painted(WARNING, &"note:");
            writeln!(self.out, "    {word} {note}")?;
        }
        if self.style.is_verbose {
            writeln!(
                self.out,
                "    run {} · --seed {} · plan {}",
                s.run_id, s.generator.seed, s.plan_hash
            )?;
        }
        Ok(())
    }
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

fn scenarios(s: &Summary) -> String {
    match s.scenarios.as_slice() {
        [one] => format!("scenario {}", inert(one)),
        many => format!("{} scenarios", many.len()),
    }
}

/// At most two decimals.
fn plain(v: f64) -> String {
    format!("{v:.2}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}
