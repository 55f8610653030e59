//! A finding as one page: nothing is loaded from anywhere, nothing runs in it, light and dark follow the reader's system,
//! and the table has all that the pictures show.

use std::fmt::Write;

use loadr_figures::{duration_apart, markup};

use crate::chart::{latency, scalability};
use crate::finding::{Finding, percent, rate_text};
use crate::record::Verdict;
use crate::text;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--page:#fff;--line:#d8dee4;--held:#0a66c2;--broke:#b3261e;
--band:#f2c94c55;--slo:#b3261e;--p50:#59636e;--good:#1a7f37}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--page:#0d1117;--line:#30363d;--held:#6cb6ff;
--broke:#ff8a80;--band:#f2c94c33;--slo:#ff8a80;--p50:#9aa4af;--good:#57d17a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.lead{font-size:1.1rem}.soft{color:var(--soft)}
.figures{display:flex;flex-wrap:wrap;gap:.8rem;padding:0;margin:1rem 0;list-style:none}
.figures li{border:1px solid var(--line);border-radius:8px;padding:.6rem 1rem;min-width:9rem}
.figures b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg text.label{fill:var(--ink)}
.grid{stroke:var(--line)}.axis,.tick{stroke:var(--soft)}.band{fill:var(--band)}
.p50,.p99{fill:none;stroke-width:1.5}.p50{stroke:var(--p50)}.p99{stroke:var(--held)}
.held{fill:var(--held)}.broke{stroke:var(--broke);stroke-width:2.2;fill:none}.uncounted{fill:none;stroke:var(--soft);stroke-width:1.5}
.slo{stroke:var(--slo);stroke-dasharray:7 4;stroke-width:1.5}.sustained{stroke:var(--good);stroke-width:2}
.knee{stroke:var(--soft);stroke-dasharray:2 3;stroke-width:1.5}.target{stroke:var(--ink);stroke-dasharray:9 3 2 3}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:nth-child(2),td:nth-child(2),th:last-child,td:last-child{text-align:left}
td.no{color:var(--broke)}td.yes{color:var(--good)}
caption{text-align:left;color:var(--soft);padding-bottom:.4rem}
";

/// The page.
#[must_use]
pub fn report(finding: &Finding) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = page(&mut out, finding);
    out
}

fn page(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let title = format!(
        "Capacity of {} of {}",
        finding.subject.scenario, finding.subject.plan
    );
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
         form-action 'none'\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style></head>\n<body><main>\n<h1>{0}</h1>\n<p class=\"lead\">{1}</p>\n",
        markup(&title),
        markup(&finding.sentence).replace('`', "")
    )?;
    figures(out, finding)?;
    if let Some(chart) = latency(finding) {
        write!(
            out,
            "<h2>Response time by rate</h2>\n{chart}\n<p class=\"soft\">A line for p50 and one for p99. ● held · ✕ broke an \
             objective · ○ not counted, because the generator was the bottleneck. Dashed: what must hold. The band is the \
             interval of the boundary.</p>\n"
        )?;
    }
    if let Some(knee) = finding.knee {
        writeln!(
            out,
            "<h2>Knee</h2>\n<p>At {}/s with a p99 of {}: from there on a little more load costs much more time. By Kneedle \
             (Satopää and others, 2011) on p99 over rate.</p>",
            rate_text(knee.rate),
            duration_apart(knee.latency_ms)
        )?;
    }
    if let (Some(usl), Some(chart)) = (&finding.usl, scalability(finding)) {
        writeln!(
            out,
            "<h2>Scalability</h2>\n{chart}\n<p>Universal Scalability Law (Gunther 2007), fitted to {} probes: {}.</p>",
            usl.probes,
            markup(&usl.sentence)
        )?;
    }
    writeln!(
        out,
        "<h2>Cross-check</h2>\n<p>{}.</p>",
        markup(&finding.little.sentence)
    )?;
    if !finding.subject.notes.is_empty() {
        writeln!(out, "<h2>Notes</h2>\n<ul>")?;
        for note in &finding.subject.notes {
            writeln!(out, "<li>{}</li>", markup(note).replace('`', ""))?;
        }
        writeln!(out, "</ul>")?;
    }
    table(out, finding)?;
    write!(
        out,
        "<p class=\"soft\">Plan {} · seed {} · rates are iterations a second{}</p>\n</main></body></html>\n",
        markup(finding.subject.plan_hash.get(..12).unwrap_or_default()),
        finding.subject.seed,
        finding
            .requests_per_iteration
            .map(|n| format!(", each of {} requests", rate_text(n)))
            .unwrap_or_default()
    )
}

fn figures(out: &mut String, finding: &Finding) -> std::fmt::Result {
    write!(out, "<ul class=\"figures\">")?;
    let mut figure = |value: String, what: &str| write!(out, "<li><b>{value}</b>{what}</li>");
    if let Some(sustained) = &finding.sustained {
        figure(format!("{}/s", rate_text(sustained.rate)), "sustained")?;
    }
    if let Some(b) = &finding.boundary {
        figure(
            format!("{}–{}/s", rate_text(b.low), rate_text(b.high)),
            &format!("boundary, {:.0} % interval", b.confidence * 100.0),
        )?;
    } else if let (Some(held), Some(broke)) = (finding.bracket.held, finding.bracket.broke) {
        figure(
            format!("{}–{}/s", rate_text(held), rate_text(broke)),
            "held and broke",
        )?;
    }
    if let Some(headroom) = &finding.headroom {
        figure(
            format!("{:.0} %", headroom.used * 100.0),
            &format!("used by {}/s", rate_text(headroom.target_rate)),
        )?;
    }
    figure(finding.probes.len().to_string(), "probes")?;
    writeln!(out, "</ul>")
}

fn table(out: &mut String, finding: &Finding) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>Probes</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Probes\"><table>\
         <caption>Response times count from when a request was due.</caption><thead><tr>"
    )?;
    for head in [
        "#",
        "for",
        "rate/s",
        "judged",
        "done/s",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
        "in flight",
        "bad",
        "result",
    ] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for probe in &finding.probes {
        let (m, l) = (&probe.measured, &probe.measured.latency);
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.0} s</td><td>{}</td>",
            probe.ask.number,
            text::phase(probe.ask.phase),
            rate_text(probe.ask.rate),
            m.secs,
            rate_text(m.throughput)
        )?;
        for ms in [l.p50, l.p90, l.p95, l.p99, l.p999, l.max] {
            write!(out, "<td>{}</td>", duration_apart(ms))?;
        }
        let worst = m.shares.iter().map(|s| s.value()).fold(0.0, f64::max);
        let class = match probe.verdict {
            Verdict::Held => "yes",
            Verdict::Broke | Verdict::Dead => "no",
            Verdict::Generator => "soft",
        };
        writeln!(
            out,
            "<td>{:.1}</td><td>{} %</td><td class=\"{class}\">{}</td></tr>",
            m.concurrency,
            percent(worst),
            markup(&text::result(probe, finding))
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}
