//! Markdown as GitHub and others read it: for a pull request's comment or a job's summary.

use std::fmt::Write;

use loadr_engine::Summary;

use crate::show::{self, code, code_line};
use crate::tables;

/// The most requests in the table; the slowest come first.
const REQUESTS_MAX: usize = 50;

/// A run in Markdown.
#[must_use]
pub fn markdown(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, summary);
    out
}

fn write_all(out: &mut String, s: &Summary) -> std::fmt::Result {
    writeln!(out, "## {}\n", code_line(&s.name))?;
    for (title, lines) in tables::bad_news(s) {
        writeln!(out, "**❌ {title}**\n")?;
        for line in lines {
            writeln!(out, "- {}", code_line(&line))?;
        }
        out.push('\n');
    }
    let agg = |metric: &str| s.metric(metric);
    let ms = |key: &str| {
        let value = agg("http_req_duration").and_then(|agg| tables::value(agg, key));
        value.map_or_else(|| "–".to_owned(), show::duration)
    };
    let reqs = agg("http_reqs");
    let (failed, all) = tables::failed(s);
    let share = if all == 0 {
        0.0
    } else {
        failed as f64 / all as f64
    };
    writeln!(
        out,
        "| requests | per second | failed | p50 | p95 | p99 | max | took |\n|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
        show::count(reqs.and_then(|agg| agg.count).unwrap_or(0)),
        show::rate(reqs.and_then(|agg| agg.per_second).unwrap_or(0.0)),
        show::percent(share),
        ms("med"),
        ms("p95"),
        ms("p99"),
        ms("max"),
        show::duration(s.duration_secs * 1e3)
    )?;
    if !s.thresholds.is_empty() {
        writeln!(out, "| threshold | | observed |\n|---|---|--:|")?;
        for t in &s.thresholds {
            let name = code(&format!("{}: {}", t.metric, t.expression));
            writeln!(
                out,
                "| {name} | {} | {} |",
                mark(t.passed),
                tables::observed(t.observed)
            )?;
        }
        out.push('\n');
    }
    if !s.checks.is_empty() {
        writeln!(out, "| check | | passes | fails |\n|---|---|--:|--:|")?;
        for c in &s.checks {
            let (passes, fails) = (show::count(c.passes), show::count(c.fails));
            writeln!(
                out,
                "| {} | {} | {passes} | {fails} |",
                code(&c.name),
                mark(c.fails == 0)
            )?;
        }
        out.push('\n');
    }
    if !s.errors.is_empty() {
        writeln!(out, "| error | count | for example |\n|---|--:|---|")?;
        for e in &s.errors {
            writeln!(
                out,
                "| {} | {} | {} |",
                code(&e.kind),
                show::count(e.count),
                code(&e.example)
            )?;
        }
        out.push('\n');
    }
    requests(out, s)?;
    for note in tables::notes(s) {
        writeln!(out, "- {}", code_line(&note))?;
    }
    Ok(())
}

fn requests(out: &mut String, s: &Summary) -> std::fmt::Result {
    let mut requests = tables::requests(s);
    if requests.is_empty() {
        return Ok(());
    }
    let p99 = |one: &tables::Request<'_>| one.duration.and_then(|agg| agg.p99).unwrap_or(-1.0);
    requests.sort_by(|a, b| p99(b).total_cmp(&p99(a)));
    writeln!(
        out,
        "<details><summary>Requests, the slowest first</summary>\n\n| request | outcome | count | p50 | p95 | p99 | max |\n|---|---|--:|--:|--:|--:|--:|"
    )?;
    for one in requests.iter().take(REQUESTS_MAX) {
        let ms = |key: &str| {
            let value = one.duration.and_then(|agg| tables::value(agg, key));
            value.map_or_else(|| "–".to_owned(), show::duration)
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code(&format!("{} {}", one.tag("method"), one.tag("name"))),
            code(&one.outcome()),
            show::count(one.count),
            ms("med"),
            ms("p95"),
            ms("p99"),
            ms("max")
        )?;
    }
    if requests.len() > REQUESTS_MAX {
        writeln!(out, "\nand {} more", requests.len() - REQUESTS_MAX)?;
    }
    writeln!(out, "\n</details>\n")
}

fn mark(passed: bool) -> &'static str {
    if passed { "✅" } else { "❌" }
}
