//! Two runs side by side, with the change of each figure.

use std::collections::BTreeMap;
use std::fmt::Write;

use loadr_engine::{Aggregates, Summary};

use crate::charts::{self, Run};
use crate::elements::{self, chart, chart_help, held, number, table};
use crate::generator::environment_facts;
use crate::page::page;
use crate::show::{self, markup};
use crate::tables;

const HINT: &str = "One run each: a change that is smaller than what the same run differs by from one time to the next is none.";

/// What most look for.
const FIRST: [&str; 5] = [
    "http_reqs",
    "http_req_duration",
    "http_req_response",
    "http_req_failed",
    "iterations",
];

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq)]
enum Better {
    Less,
    More,
    Neither,
}

/// One figure of both runs.
struct Row {
    metric: String,
    kind: String,
    key: &'static str,
    a: Option<f64>,
    b: Option<f64>,
}

impl Row {
    fn text(&self, value: Option<f64>) -> String {
        value.map_or_else(
            || "–".to_owned(),
            |v| tables::figure(&self.metric, &self.kind, self.key, v),
        )
    }

    /// In percent of the first; none when there is nothing to compare with.
    fn change(&self) -> Option<f64> {
        let (a, b) = (self.a?, self.b?);
        if a == b {
            return Some(0.0);
        }
        (a != 0.0)
            .then(|| (b - a) / a * 100.0)
            .filter(|change| change.is_finite())
    }

    fn change_text(&self) -> String {
        match self.change() {
            Some(0.0) => "=".to_owned(),
            Some(change) if change.abs() < 0.05 => "≈ 0 %".to_owned(),
            Some(change) if change.abs() >= 1000.0 => format!("× {:.1}", change / 100.0 + 1.0),
            Some(change) => format!("{change:+.1} %"),
            None if self.a == Some(0.0) && self.b.is_some() => "from 0".to_owned(),
            None => "–".to_owned(),
        }
    }

    fn better(&self) -> Better {
        match (&*self.metric, &*self.kind) {
            (_, "trend" | "rate") if self.key == "count" => Better::Neither,
            (_, "trend") | ("http_req_failed" | "dropped_iterations" | "plugin_errors", _) => {
                Better::Less
            }
            ("http_reqs" | "iterations", _) if self.key == "per_second" => Better::More,
            ("checks", _) if self.key == "rate" => Better::More,
            _ => Better::Neither,
        }
    }

    /// `better`, `worse` or nothing.
    fn judgement(&self) -> &'static str {
        let (Some(a), Some(b)) = (self.a, self.b) else {
            return "";
        };
        let is_small = self.change().is_some_and(|change| change.abs() < 1.0);
        match self.better() {
            _ if a == b || is_small => "",
            Better::Neither => "",
            Better::Less if b < a => "better",
            Better::More if b > a => "better",
            _ => "worse",
        }
    }
}

/// All figures that either run has.
fn rows(a: &Summary, b: &Summary) -> Vec<Row> {
    let mut names: Vec<(String, String)> = Vec::new();
    for metric in a.metrics.iter().chain(&b.metrics) {
        let name = (metric.metric.to_string(), metric.kind.to_string());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // What most look for comes first.
    names.sort_by_key(|(name, _)| {
        let at = FIRST.iter().position(|known| known == name);
        at.unwrap_or(FIRST.len())
    });
    let mut rows = Vec::new();
    for (metric, kind) in names {
        let get = |s: &Summary, key| s.metric(&metric).and_then(|agg| tables::value(agg, key));
        for key in tables::keys(&kind) {
            rows.push(Row {
                a: get(a, key),
                b: get(b, key),
                metric: metric.clone(),
                kind: kind.clone(),
                key,
            });
        }
    }
    rows
}

/// What makes the two hard to compare.
fn differences(a: &Summary, b: &Summary) -> Vec<String> {
    let mut all = Vec::new();
    if a.plan_hash != b.plan_hash {
        all.push("The plans, or the flags laid over them, differ.".to_owned());
    }
    match (&a.environment, &b.environment) {
        (Some(x), Some(y)) if x != y => {
            let mut what = Vec::new();
            if x.version != y.version {
                what.push("versions of loadr-fast");
            }
            if (&x.cpu, x.cpus, &x.arch) != (&y.cpu, y.cpus, &y.arch) {
                what.push("processors");
            }
            if x.kernel != y.kernel {
                what.push("kernels");
            }
            if x.clock != y.clock {
                what.push("clock sources");
            }
            all.push(format!("They ran on different {}.", what.join(", ")));
        }
        (Some(_), Some(_)) => {}
        _ => all.push("It is not known that they ran on machines of one kind.".to_owned()),
    }
    if a.generator.cores.len() != b.generator.cores.len() {
        all.push(format!(
            "The generator had {} and {} cores.",
            a.generator.cores.len(),
            b.generator.cores.len()
        ));
    }
    if (a.duration_secs - b.duration_secs).abs() > 0.05 * a.duration_secs.max(b.duration_secs) {
        all.push(format!(
            "They took {} and {}.",
            show::duration(a.duration_secs * 1e3),
            show::duration(b.duration_secs * 1e3)
        ));
    }
    for (name, s) in [("A", a), ("B", b)] {
        for (title, _) in tables::bad_news(s) {
            all.push(format!("{name}: {title}."));
        }
    }
    all
}

/// Two runs as one page.
#[must_use]
pub fn compare_html(a: &Summary, b: &Summary) -> String {
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = write_body(&mut body, a, b);
    let runs = [
        Run {
            label: "A",
            summary: a,
        },
        Run {
            label: "B",
            summary: b,
        },
    ];
    page(
        &format!("{} · {} · two load tests", a.name, b.name),
        &body,
        &charts::data(&runs),
    )
}

fn write_body(out: &mut String, a: &Summary, b: &Summary) -> std::fmt::Result {
    writeln!(out, "<header><p class=\"kind\">Two load tests</p>")?;
    for (class, name, s) in [("a", "A", a), ("b", "B", b)] {
        writeln!(
            out,
            "<h1 class=\"of-two\"><span class=\"key {class}\">{name}</span> {} <span class=\"sub\">{} · {}</span></h1>",
            markup(&s.name),
            show::instant(s.started_ms),
            show::duration(s.duration_secs * 1e3)
        )?;
    }
    writeln!(out, "</header>\n<main>")?;
    let differences = differences(a, b);
    if !differences.is_empty() {
        elements::news(out, "bad", "Before the two are compared", &differences)?;
    }
    let (first, others): (Vec<Row>, Vec<Row>) = rows(a, b)
        .into_iter()
        .partition(|row| FIRST.contains(&&*row.metric));
    writeln!(
        out,
        "<section><h2>Figures</h2>\n<p class=\"hint\">{HINT}</p>"
    )?;
    figures(out, "figures", &first)?;
    if !others.is_empty() {
        writeln!(out, "<details><summary>All other figures</summary>")?;
        figures(out, "other-figures", &others)?;
        writeln!(out, "</details>")?;
    }
    writeln!(out, "</section>")?;
    writeln!(out, "<section><h2>Over time</h2>")?;
    chart_help(
        out,
        charts::points_per_spot(a).max(charts::points_per_spot(b)),
    )?;
    writeln!(out, "<div class=\"charts\">")?;
    for (id, title) in [
        ("rps", "Requests per second"),
        ("p50", "Service time, p50"),
        ("p99", "Service time, p99"),
        ("vus", "Virtual users"),
        ("errors", "Failed requests"),
    ] {
        chart(out, id, title)?;
    }
    writeln!(out, "</div></section>")?;
    if !a.distribution.metrics.is_empty() || !b.distribution.metrics.is_empty() {
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
    requests(out, a, b)?;
    thresholds(out, a, b)?;
    environments(out, a, b)?;
    out.push_str("</main>\n");
    Ok(())
}

fn change_cell(out: &mut String, row: &Row) -> std::fmt::Result {
    let judgement = row.judgement();
    let word = if judgement.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"word\">{judgement}</span>")
    };
    write!(
        out,
        "<td class=\"n {judgement}\" data-v=\"{}\">{}{word}</td>",
        row.change().unwrap_or(0.0),
        row.change_text()
    )
}

fn figures(out: &mut String, id: &str, rows: &[Row]) -> std::fmt::Result {
    let heads = [
        ("Metric", false),
        ("Figure", false),
        ("A", true),
        ("B", true),
        ("Change", true),
    ];
    elements::begin_table(out, ("Figures", id, ""), heads)?;
    let mut before = "";
    for row in rows {
        let begins = if row.metric == before {
            ""
        } else {
            " class=\"begins\""
        };
        before = &row.metric;
        write!(
            out,
            "<tr{begins} data-metric=\"{metric}\" data-key=\"{key}\"><th scope=\"row\">{metric}</th><td>{name}</td>",
            metric = markup(&row.metric),
            key = row.key,
            name = tables::key_name(row.key),
        )?;
        number(out, row.a.unwrap_or(-1.0), &row.text(row.a))?;
        number(out, row.b.unwrap_or(-1.0), &row.text(row.b))?;
        change_cell(out, row)?;
        writeln!(out, "</tr>")?;
    }
    elements::end_table(out)
}

/// By what tells a request and its outcome from others.
type Figures<'s> = (u64, f64, Option<&'s Aggregates>);

fn by_request(s: &Summary) -> BTreeMap<(String, String, String), Figures<'_>> {
    let mut all = BTreeMap::new();
    for one in tables::requests(s) {
        let name = format!("{} {}", one.tag("method"), one.tag("name"));
        let key = (
            name,
            one.outcome(),
            format!("{} {}", one.tag("scenario"), one.other_tags()),
        );
        all.insert(key, (one.count, one.per_second, one.duration));
    }
    all
}

fn requests(out: &mut String, a: &Summary, b: &Summary) -> std::fmt::Result {
    let (left, right) = (by_request(a), by_request(b));
    let mut keys: Vec<_> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    let figures = ["per second", "p50", "p99"]
        .iter()
        .flat_map(|name| {
            [
                format!("{name} A"),
                format!("{name} B"),
                "change".to_owned(),
            ]
        })
        .collect::<Vec<_>>();
    let heads = ["Request", "Outcome", "Where"].map(|head| (head, false));
    let heads = heads
        .into_iter()
        .chain(figures.iter().map(|head| (head.as_str(), true)));
    elements::begin_requests(out, "", heads)?;
    for key in keys {
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>",
            markup(&key.0),
            markup(&key.1),
            markup(&key.2)
        )?;
        let (x, y) = (left.get(key), right.get(key));
        let rate = |side: Option<&Figures<'_>>| side.map(|(_, per_second, _)| *per_second);
        let time = |side: Option<&Figures<'_>>, name: &str| {
            side.and_then(|(_, _, agg)| tables::value((*agg)?, name))
        };
        for (metric, kind, figure, a, b) in [
            ("http_reqs", "counter", "per_second", rate(x), rate(y)),
            (
                "http_req_duration",
                "trend",
                "med",
                time(x, "med"),
                time(y, "med"),
            ),
            (
                "http_req_duration",
                "trend",
                "p99",
                time(x, "p99"),
                time(y, "p99"),
            ),
        ] {
            let row = Row {
                metric: metric.to_owned(),
                kind: kind.to_owned(),
                key: figure,
                a,
                b,
            };
            number(out, row.a.unwrap_or(-1.0), &row.text(row.a))?;
            number(out, row.b.unwrap_or(-1.0), &row.text(row.b))?;
            change_cell(out, &row)?;
        }
        writeln!(out, "</tr>")?;
    }
    elements::end_requests(out)
}

/// Whether a threshold held, and what was seen; none where it is not in the run.
type Judged = Option<(bool, Option<f64>)>;

/// Each threshold of either, and what came of it in both.
fn judged(a: &Summary, b: &Summary) -> Vec<(String, [Judged; 2])> {
    let mut all: Vec<(String, [Judged; 2])> = Vec::new();
    for (side, s) in [a, b].into_iter().enumerate() {
        for t in &s.thresholds {
            let name = format!("{}: {}", t.metric, t.expression);
            let at = all
                .iter()
                .position(|(known, _)| *known == name)
                .unwrap_or_else(|| {
                    all.push((name, [None, None]));
                    all.len() - 1
                });
            all[at].1[side] = Some((t.passed, t.observed));
        }
    }
    all
}

fn thresholds(out: &mut String, a: &Summary, b: &Summary) -> std::fmt::Result {
    let judged = judged(a, b);
    if judged.is_empty() {
        return Ok(());
    }
    let side = |side: Judged| match side {
        Some((passed, observed)) => format!("{} ({})", held(passed), tables::observed(observed)),
        None => "not in it".to_owned(),
    };
    let row = |(name, [a, b]): (String, [Judged; 2])| vec![markup(&name), side(a), side(b)];
    let rows: Vec<_> = judged.into_iter().map(row).collect();
    writeln!(out, "<section><h2>Thresholds</h2>")?;
    table(out, "Thresholds", &["Threshold", "A", "B"], 3, &rows)?;
    writeln!(out, "</section>")
}

fn environments(out: &mut String, a: &Summary, b: &Summary) -> std::fmt::Result {
    let (left, right) = (environment_facts(a), environment_facts(b));
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in left.iter().chain(&right) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of = |facts: &[(&'static str, String)], name: &str| {
        let fact = facts.iter().find(|(known, _)| *known == name);
        fact.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let row = |name: &str| vec![name.to_owned(), of(&left, name), of(&right, name)];
    let rows: Vec<_> = names.into_iter().map(row).collect();
    writeln!(out, "<section><h2>Environment</h2>")?;
    table(out, "Environment", &["What", "A", "B"], 3, &rows)?;
    writeln!(out, "</section>")
}

/// Two runs for a pull request's comment.
#[must_use]
pub fn compare_markdown(a: &Summary, b: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_markdown(&mut out, a, b);
    out
}

fn write_markdown(out: &mut String, a: &Summary, b: &Summary) -> std::fmt::Result {
    writeln!(
        out,
        "## A {} and B {}\n",
        show::code_line(&a.name),
        show::code_line(&b.name)
    )?;
    for line in differences(a, b) {
        writeln!(out, "- ⚠️ {}", show::code_line(&line))?;
    }
    writeln!(
        out,
        "\n| metric | figure | A | B | change | |\n|---|---|--:|--:|--:|---|"
    )?;
    for row in rows(a, b)
        .iter()
        .filter(|row| row.a.is_some() || row.b.is_some())
    {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            show::code(&row.metric),
            tables::key_name(row.key),
            row.text(row.a),
            row.text(row.b),
            row.change_text(),
            row.judgement()
        )?;
    }
    let judged = judged(a, b);
    if !judged.is_empty() {
        writeln!(out, "\n| threshold | A | B |\n|---|---|---|")?;
        let side = |side: Judged| match side {
            Some((passed, observed)) => {
                format!(
                    "{} {}",
                    if passed { "✅" } else { "❌" },
                    tables::observed(observed)
                )
            }
            None => "not in it".to_owned(),
        };
        for (name, [a, b]) in judged {
            writeln!(out, "| {} | {} | {} |", show::code(&name), side(a), side(b))?;
        }
    }
    writeln!(out, "\n{HINT}")
}
