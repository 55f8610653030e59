//! A finding for a terminal: the paragraph, the table of probes, what else they tell.

use std::fmt::Write;

use loadr_figures::{duration_apart, inert};

use crate::finding::{Finding, percent, rate_text};
use crate::record::{Probe, Verdict};
use crate::system::Phase;

/// What is printed at the end.
#[must_use]
pub fn text(finding: &Finding) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, finding);
    out
}

fn write(out: &mut String, finding: &Finding) -> std::fmt::Result {
    writeln!(out, "{}\n", wrapped(&inert(&finding.sentence), 100))?;
    if finding.probes.is_empty() {
        return Ok(());
    }
    writeln!(out, "PROBES")?;
    writeln!(
        out,
        "  {:>3}  {:<9} {:>10} {:>6} {:>10} {:>10} {:>10} {:>10} {:>9}  result",
        "#", "for", "rate/s", "judged", "done/s", "p50", "p99", "max", "in flight"
    )?;
    for probe in &finding.probes {
        let m = &probe.measured;
        writeln!(
            out,
            "  {:>3}  {:<9} {:>10} {:>4.0} s {:>10} {:>10} {:>10} {:>10} {:>9.1}  {}",
            probe.ask.number,
            phase(probe.ask.phase),
            rate_text(probe.ask.rate),
            m.secs,
            rate_text(m.throughput),
            duration_apart(m.latency.p50),
            duration_apart(m.latency.p99),
            duration_apart(m.latency.max),
            m.concurrency,
            inert(&result(probe, finding))
        )?;
    }
    writeln!(out)?;
    if let Some(n) = finding.requests_per_iteration {
        writeln!(
            out,
            "  rates are iterations a second; an iteration makes {} request{}",
            rate_text(n),
            if (n - 1.0).abs() < 1e-9 { "" } else { "s" }
        )?;
    }
    let mut line = |name: &str, said: &str| {
        let said = wrapped(&inert(said), 96);
        let mut lines = said.lines();
        writeln!(out, "{name}\n  {}", lines.next().unwrap_or_default())?;
        lines.try_for_each(|l| writeln!(out, "  {l}"))
    };
    if let Some(knee) = finding.knee {
        line(
            "KNEE",
            &format!(
                "at {}/s with a p99 of {}: from there on a little more load costs much more time (Kneedle)",
                rate_text(knee.rate),
                duration_apart(knee.latency_ms)
            ),
        )?;
    }
    if let Some(usl) = &finding.usl {
        line("SCALABILITY (USL)", &usl.sentence)?;
    }
    line("CROSS-CHECK", &finding.little.sentence)?;
    for note in &finding.subject.notes {
        line("NOTE", note)?;
    }
    Ok(())
}

/// One probe as it ends.
#[must_use]
pub fn probe_line(probe: &Probe) -> String {
    let m = &probe.measured;
    let verdict = match probe.verdict {
        Verdict::Held => "held",
        Verdict::Broke => "broke",
        Verdict::Generator => "generator was the bottleneck",
        Verdict::Dead => "no answer",
    };
    let early = if probe.abandoned.is_some() {
        format!(" (certain after {:.0} s)", m.secs)
    } else {
        String::new()
    };
    format!(
        "probe {:>2}  {:<9} {:>10}/s  p50 {:>9}  p99 {:>9}  {verdict}{early}",
        probe.ask.number,
        phase(probe.ask.phase),
        rate_text(probe.ask.rate),
        duration_apart(m.latency.p50),
        duration_apart(m.latency.p99),
    )
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Double => "doubling",
        Phase::CloseIn => "closing",
        Phase::Repeat => "repeating",
        Phase::Confirm => "confirm",
    }
}

/// The verdict in words, with the objective that broke worst.
pub(crate) fn result(probe: &Probe, finding: &Finding) -> String {
    let worst = probe
        .reasons()
        .filter_map(|at| {
            let (slo, share) = (
                finding.settings.slos.get(at)?,
                probe.measured.shares.get(at)?,
            );
            Some((slo, share.value()))
        })
        .max_by(|a, b| (a.1 / a.0.allowed.max(1e-9)).total_cmp(&(b.1 / b.0.allowed.max(1e-9))));
    match (probe.verdict, worst) {
        (Verdict::Held, _) => "held".to_owned(),
        (Verdict::Dead, _) => "no answer".to_owned(),
        (Verdict::Generator, _) => "not counted: the generator was the bottleneck".to_owned(),
        (Verdict::Broke, Some((slo, share))) => {
            format!("broke {}: {} % bad", slo.text, percent(share))
        }
        (Verdict::Broke, None) => "broke".to_owned(),
    }
}

/// Breaks a paragraph at spaces.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}
