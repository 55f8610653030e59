//! The page of one run.

use std::fmt::Write;

use loadr_engine::{MetricSummary, Summary};

use crate::charts::{self, Run};
use crate::elements::{self, Written, chart, chart_help, facts, held, number, table};
use crate::page::page;
use crate::show::{self, markup};
use crate::tables::{self, Request};

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

fn requests(out: &mut String, requests: &[Request<'_>]) -> Written {
    if requests.is_empty() {
        return Ok(());
    }
    let several = |tag: &str| {
        requests
            .iter()
            .any(|one| one.tag(tag) != requests[0].tag(tag))
    };
    let (scenario, others) = (
        several("scenario"),
        requests.iter().any(|one| !one.other_tags().is_empty()),
    );
    let all: u64 = requests
        .iter()
        .map(|one| one.count)
        .fold(0, u64::saturating_add);
    let mut heads = vec![("Request", false), ("Outcome", false)];
    if scenario {
        heads.push(("Scenario", false));
    }
    if others {
        heads.push(("Tags", false));
    }
    for name in [
        "Count",
        "Share",
        "Per second",
        "avg",
        "p50",
        "p95",
        "p99",
        "p99.9",
        "max",
    ] {
        heads.push((name, true));
    }
    let hint = "<p class=\"hint\">A line for each request step and outcome, so that percentiles are exact. A heading sorts.</p>\n";
    elements::begin_requests(out, hint, heads)?;
    for one in requests {
        let bad = if one.failed() { " class=\"bad\"" } else { "" };
        write!(
            out,
            "<tr{bad}><th scope=\"row\"><span class=\"method\">{}</span> {}</th><td>{}</td>",
            markup(one.tag("method")),
            markup(one.tag("name")),
            markup(&one.outcome())
        )?;
        if scenario {
            write!(out, "<td>{}</td>", markup(one.tag("scenario")))?;
        }
        if others {
            write!(out, "<td>{}</td>", markup(&one.other_tags()))?;
        }
        let share = if all == 0 {
            0.0
        } else {
            one.count as f64 / all as f64
        };
        number(out, one.count as f64, &show::count(one.count))?;
        number(out, share, &show::percent(share))?;
        number(out, one.per_second, &show::rate(one.per_second))?;
        for key in ["avg", "med", "p95", "p99", "p999", "max"] {
            match one.duration.and_then(|agg| tables::value(agg, key)) {
                Some(ms) => number(out, ms, &show::duration(ms))?,
                None => number(out, -1.0, "–")?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    elements::end_requests(out)
}

fn thresholds(out: &mut String, s: &Summary) -> Written {
    if s.thresholds.is_empty() {
        return Ok(());
    }
    let row = |t: &loadr_engine::ThresholdSummary| {
        let metric = format!("{}: {}", markup(&t.metric), markup(&t.expression));
        vec![
            metric,
            held(t.passed).to_owned(),
            tables::observed(t.observed),
        ]
    };
    let rows: Vec<_> = s.thresholds.iter().map(row).collect();
    writeln!(out, "<section><h2>Thresholds</h2>")?;
    table(
        out,
        "Thresholds",
        &["Threshold", "Verdict", "Observed"],
        2,
        &rows,
    )?;
    writeln!(out, "</section>")
}

fn checks(out: &mut String, s: &Summary) -> Written {
    if s.checks.is_empty() {
        return Ok(());
    }
    let row = |check: &loadr_engine::CheckSummary| {
        let all = check.passes.saturating_add(check.fails);
        let share = if all == 0 {
            0.0
        } else {
            check.passes as f64 / all as f64
        };
        let detail =
            |d: &loadr_engine::Detail| format!("{} × {}", show::count(d.count), markup(&d.text));
        let details: Vec<_> = check.details.iter().map(detail).collect();
        vec![
            markup(&check.name),
            details.join("<br>"),
            show::percent(share),
            show::count(check.passes),
            show::count(check.fails),
        ]
    };
    let rows: Vec<_> = s.checks.iter().map(row).collect();
    writeln!(out, "<section><h2>Checks</h2>")?;
    table(
        out,
        "Checks",
        &["Check", "What was found instead", "Held", "Passes", "Fails"],
        2,
        &rows,
    )?;
    writeln!(out, "</section>")
}

fn errors(out: &mut String, s: &Summary) -> Written {
    if s.errors.is_empty() {
        return Ok(());
    }
    let row = |error: &loadr_engine::ErrorSummary| {
        vec![
            markup(&error.kind),
            markup(&error.example),
            show::count(error.count),
        ]
    };
    let rows: Vec<_> = s.errors.iter().map(row).collect();
    writeln!(out, "<section><h2>Errors</h2>")?;
    table(out, "Errors", &["Kind", "For example", "Count"], 2, &rows)?;
    writeln!(out, "</section>")
}

fn plugins(out: &mut String, s: &Summary) -> Written {
    if s.plugins.is_empty() {
        return Ok(());
    }
    let row = |plugin: &loadr_engine::PluginSummary| {
        let mut series = s.snapshot.series.iter();
        let duration = series.find(|one| {
            one.metric == "plugin_duration" && one.tags.get("plugin") == Some(&plugin.name)
        });
        let ms = |key: &str| {
            let value = duration.and_then(|one| tables::value(&one.agg, key));
            value.map_or_else(|| "–".to_owned(), show::duration)
        };
        let mut cells = vec![
            markup(&plugin.name),
            show::count(plugin.calls),
            show::count(plugin.errors),
        ];
        cells.extend(["avg", "med", "p99", "max"].map(ms));
        cells
    };
    let rows: Vec<_> = s.plugins.iter().map(row).collect();
    writeln!(out, "<section><h2>Plugins</h2>")?;
    table(
        out,
        "Plugins",
        &["Plugin", "Calls", "Errors", "avg", "p50", "p99", "max"],
        1,
        &rows,
    )?;
    writeln!(out, "</section>")
}

fn outputs(out: &mut String, s: &Summary) -> Written {
    if s.outputs.is_empty() {
        return Ok(());
    }
    let row = |output: &loadr_engine::OutputSummary| {
        let error = output.error.as_deref().map(markup);
        vec![
            markup(&output.name),
            error.unwrap_or_default(),
            show::count(output.points),
            show::count(output.dropped),
            show::count(output.failures),
        ]
    };
    let rows: Vec<_> = s.outputs.iter().map(row).collect();
    let heads = [
        "Output",
        "Last error",
        "Points",
        "Dropped",
        "Failed deliveries",
    ];
    writeln!(out, "<section><h2>Outputs</h2>")?;
    table(out, "Outputs", &heads, 2, &rows)?;
    writeln!(out, "</section>")
}

fn metrics(out: &mut String, metrics: &[MetricSummary]) -> Written {
    writeln!(out, "<section><h2>All metrics</h2>")?;
    for (kind, name) in [
        ("trend", "Times"),
        ("counter", "Counts"),
        ("rate", "Shares"),
        ("gauge", "Levels"),
    ] {
        let of_kind = metrics.iter().filter(|metric| metric.kind == kind);
        let rows: Vec<Vec<String>> = of_kind
            .map(|metric| {
                let cell = |key: &&str| {
                    let value = tables::value(&metric.agg, key);
                    value.map_or_else(
                        || "–".to_owned(),
                        |v| tables::figure(&metric.metric, kind, key, v),
                    )
                };
                let cells = tables::keys(kind).iter().map(cell);
                [markup(&metric.metric)].into_iter().chain(cells).collect()
            })
            .collect();
        if !rows.is_empty() {
            let heads: Vec<&str> = [name]
                .into_iter()
                .chain(tables::keys(kind).iter().map(|key| tables::key_name(key)))
                .collect();
            table(out, name, &heads, 1, &rows)?;
        }
    }
    writeln!(out, "</section>")
}

fn generator(out: &mut String, s: &Summary) -> Written {
    let g = &s.generator;
    let cores: Vec<_> = g.cores.iter().take(64).map(ToString::to_string).collect();
    let more = if g.cores.len() > cores.len() {
        " …"
    } else {
        ""
    };
    let busy = |one: &&loadr_engine::SeriesSummary| one.metric == "generator_cpu";
    let shards: Vec<Vec<String>> = s
        .snapshot
        .series
        .iter()
        .filter(busy)
        .map(|one| {
            let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), show::percent);
            let shard = one.tags.get("shard").map_or("", String::as_str);
            vec![markup(shard), share(one.agg.min), share(one.agg.max)]
        })
        .collect();
    writeln!(out, "<section><h2>Generator</h2>")?;
    let verdict = if g.bottleneck {
        "<span class=\"mark bad\">✗ perhaps not</span>"
    } else {
        "<span class=\"mark good\">✓ yes</span>"
    };
    facts(
        out,
        &[
            ("Kept up", verdict.to_owned()),
            (
                "Cores",
                format!("{} ({}{more})", g.cores.len(), cores.join(", ")),
            ),
            ("Busiest core", show::percent(g.cpu_max)),
            (
                "Lag p99",
                g.lag_p99_ms
                    .map_or_else(|| "none".to_owned(), show::duration),
            ),
            ("Late iterations", show::count(g.late_iterations)),
            ("Seed", g.seed.to_string()),
        ],
    )?;
    if !shards.is_empty() {
        table(
            out,
            "Shards",
            &["Shard", "least CPU", "most CPU"],
            1,
            &shards,
        )?;
    }
    writeln!(out, "</section>")
}

fn environment(out: &mut String, s: &Summary) -> Written {
    writeln!(out, "<section><h2>Environment</h2>")?;
    let mut all = environment_facts(s);
    if let Some(merged) = &s.merged {
        all.push(("Merged from", format!("{} runs", merged.runs.len())));
    }
    if let Some(segment) = s.segment {
        all.push(("Segment", format!("{} of {}", segment.index, segment.of)));
    }
    facts(out, &all)?;
    writeln!(out, "</section>")
}

/// As HTML.
pub(crate) fn environment_facts(s: &Summary) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(e) = &s.environment {
        let or = |text: &Option<String>| {
            text.as_ref()
                .map_or_else(|| "not known".to_owned(), |text| markup(text))
        };
        facts.push(("loadr-fast", markup(&e.version)));
        facts.push((
            "Kernel",
            format!("{} ({})", markup(&e.kernel), markup(&e.arch)),
        ));
        facts.push(("Processor", format!("{} × {}", e.cpus, or(&e.cpu))));
        facts.push(("Clock source", or(&e.clock)));
    }
    if !s.plan_hash.is_empty() {
        facts.push((
            "Plan hash",
            format!("<code>{}</code>", markup(&s.plan_hash)),
        ));
    }
    facts.push(("Run", format!("<code>{}</code>", markup(&s.run_id))));
    facts.push(("Ended", show::instant(s.ended_ms)));
    facts
}

/// The timeline for those who cannot see the charts, and for copying.
fn seconds(out: &mut String, s: &Summary) -> Written {
    const ROWS_MAX: usize = 600;
    if s.timeline.is_empty() {
        return Ok(());
    }
    let every = s.timeline.len().div_ceil(ROWS_MAX);
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), show::duration);
    let row = |p: &loadr_engine::Point| {
        vec![
            format!("{:.1} s", p.elapsed_secs),
            show::rate(p.rps),
            show::rate(p.iterations_ps),
            show::rate(p.active_vus),
            show::percent(p.error_rate),
            ms(p.latency_p50),
            ms(p.latency_p95),
            ms(p.latency_p99),
        ]
    };
    let rows: Vec<_> = s.timeline.iter().step_by(every).map(row).collect();
    writeln!(
        out,
        "<section><details><summary>The charts as a table</summary>"
    )?;
    if every > 1 {
        writeln!(out, "<p class=\"hint\">One second in every {every}.</p>")?;
    }
    let heads = [
        "Time",
        "Requests/s",
        "Iterations/s",
        "Users",
        "Failed",
        "p50",
        "p95",
        "p99",
    ];
    table(out, "Seconds", &heads, 1, &rows)?;
    writeln!(out, "</details></section>")
}
