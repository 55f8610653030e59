//! What a run's page has tables of, a section each: nothing where there is nothing.

use std::fmt::Write;

use loadr_engine::{MetricSummary, Summary};

use crate::elements::{self, Written, held, number, table};
use crate::show::{self, markup};
use crate::tables::{self, Request};

pub(super) fn requests(out: &mut String, requests: &[Request<'_>]) -> Written {
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

pub(super) fn thresholds(out: &mut String, s: &Summary) -> Written {
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

pub(super) fn checks(out: &mut String, s: &Summary) -> Written {
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

pub(super) fn errors(out: &mut String, s: &Summary) -> Written {
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

pub(super) fn plugins(out: &mut String, s: &Summary) -> Written {
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

pub(super) fn outputs(out: &mut String, s: &Summary) -> Written {
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

pub(super) fn metrics(out: &mut String, metrics: &[MetricSummary]) -> Written {
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

/// The timeline for those who cannot see the charts, and for copying.
pub(super) fn seconds(out: &mut String, s: &Summary) -> Written {
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
