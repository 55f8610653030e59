//! What made the load: how the generator fared, and the machine and version that it ran on.

use std::fmt::Write;

use loadr_engine::Summary;

use crate::elements::{Written, facts, table};
use crate::show::{self, markup};

pub(crate) fn generator(out: &mut String, s: &Summary) -> Written {
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

pub(crate) fn environment(out: &mut String, s: &Summary) -> Written {
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
