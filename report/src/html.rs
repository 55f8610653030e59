//! The page of one run.

mod lists;

use std::fmt::Write;

use loadr_engine::Summary;

use self::lists::{checks, errors, metrics, outputs, plugins, requests, seconds, thresholds};
use crate::charts::{self, Run};
use crate::elements::{self, Written, chart, chart_help};
use crate::generator::{environment, generator};
use crate::page::page;
use crate::show::{self, markup};
use crate::tables;

/// A run as one file of HTML that loads nothing.
#[must_use]
pub fn html(summary: &Summary) -> String {
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = write_body(&mut body, summary);
    let run = Run { label: "", summary };
    page(
        &format!("{} · load test", summary.name),
        &body,
        &charts::data(&[run]),
    )
}

fn write_body(out: &mut String, s: &Summary) -> Written {
    writeln!(
        out,
        "<header><p class=\"kind\">Load test</p><h1>{}</h1>",
        markup(&s.name)
    )?;
    writeln!(
        out,
        "<p class=\"sub\">{} · {} · {}</p></header>\n<main>",
        show::instant(s.started_ms),
        show::duration(s.duration_secs * 1e3),
        scenarios(s)
    )?;
    verdict(out, s)?;
    tiles(out, s)?;
    charts_of_one(out, s)?;
    requests(out, &tables::requests(s))?;
    thresholds(out, s)?;
    checks(out, s)?;
    errors(out, s)?;
    plugins(out, s)?;
    outputs(out, s)?;
    metrics(out, &s.metrics)?;
    generator(out, s)?;
    environment(out, s)?;
    seconds(out, s)?;
    out.push_str("</main>\n");
    Ok(())
}

fn scenarios(s: &Summary) -> String {
    match s.scenarios.as_slice() {
        [one] => format!("scenario {}", markup(one)),
        many => format!("{} scenarios", many.len()),
    }
}

/// Bad news first; a line that there is none, where something was judged.
pub(crate) fn verdict(out: &mut String, s: &Summary) -> Written {
    let news = tables::bad_news(s);
    for (title, lines) in &news {
        let title = format!("<span aria-hidden=\"true\">✗</span> {}", markup(title));
        elements::news(out, "bad", &title, lines)?;
    }
    if news.is_empty() && !s.thresholds.is_empty() {
        writeln!(
            out,
            "<section class=\"news good\"><h2><span aria-hidden=\"true\">✓</span> All {} thresholds held</h2></section>",
            s.thresholds.len()
        )?;
    }
    let notes = tables::notes(s);
    if !notes.is_empty() {
        elements::news(out, "note", "Worth knowing", &notes)?;
    }
    Ok(())
}

fn tiles(out: &mut String, s: &Summary) -> Written {
    let agg = |metric: &str| s.metric(metric);
    let ms = |metric: &str, f: fn(&loadr_engine::Aggregates) -> Option<f64>| {
        agg(metric)
            .and_then(f)
            .map_or_else(|| "–".to_owned(), show::duration)
    };
    let requests = agg("http_reqs");
    let (failed, all) = tables::failed(s);
    let share = if all == 0 {
        0.0
    } else {
        failed as f64 / all as f64
    };
    let mut tiles = vec![
        (
            "requests",
            "Requests",
            show::count(requests.and_then(|agg| agg.count).unwrap_or(0)),
            "http_reqs",
        ),
        (
            "rate",
            "Per second",
            show::rate(requests.and_then(|agg| agg.per_second).unwrap_or(0.0)),
            "http_reqs",
        ),
        ("failed", "Failed", show::percent(share), "http_req_failed"),
        (
            "p50",
            "p50",
            ms("http_req_duration", |agg| agg.med),
            "service time",
        ),
        (
            "p95",
            "p95",
            ms("http_req_duration", |agg| agg.p95),
            "service time",
        ),
        (
            "p99",
            "p99",
            ms("http_req_duration", |agg| agg.p99),
            "service time",
        ),
        (
            "max",
            "Slowest",
            ms("http_req_duration", |agg| agg.max),
            "service time",
        ),
    ];
    let is_open = agg("dropped_iterations").is_some();
    if is_open {
        tiles.push((
            "response-p99",
            "p99 from due",
            ms("http_req_response", |agg| agg.p99),
            "http_req_response",
        ));
    }
    writeln!(out, "<dl class=\"tiles\">")?;
    for (id, name, value, of) in tiles {
        let bad = if id == "failed" && failed > 0 {
            " class=\"bad\""
        } else {
            ""
        };
        writeln!(
            out,
            "<div{bad}><dt>{name}</dt><dd id=\"tile-{id}\">{value}</dd><dd class=\"of\">{of}</dd></div>"
        )?;
    }
    writeln!(out, "</dl>")
}

fn charts_of_one(out: &mut String, s: &Summary) -> Written {
    writeln!(out, "<section><h2>Over time</h2>")?;
    if s.timeline.is_empty() {
        return writeln!(
            out,
            "<p>The run was too short for a timeline.</p></section>"
        );
    }
    chart_help(out, charts::points_per_spot(s))?;
    writeln!(out, "<div class=\"charts\">")?;
    chart(out, "rps", "Throughput")?;
    chart(out, "latency", "Service time")?;
    chart(out, "vus", "Virtual users")?;
    chart(out, "errors", "Failed requests")?;
    writeln!(out, "</div></section>")?;
    if !s.distribution.metrics.is_empty() {
        writeln!(
            out,
            "<section><h2>Percentiles</h2>\n<div class=\"charts wide\">"
        )?;
        chart(
            out,
            "percentiles",
            "Time that a share of all requests did not exceed",
        )?;
        writeln!(out, "</div></section>")?;
    }
    Ok(())
}
