//! JUnit XML, as CI systems read it: a case for each threshold and check, and for what makes the run itself doubtful.

use std::fmt::Write;

use loadr_engine::Summary;

use crate::show::markup;
use crate::tables;

/// What a case came to.
enum Case {
    Passed,
    /// The message, and more of it.
    Failed(String, String),
    /// Nothing was measured that it could be about.
    Skipped(&'static str),
}

/// A run's verdicts as JUnit XML.
#[must_use]
pub fn junit(summary: &Summary) -> String {
    let s = summary;
    let mut run = vec![(
        "the run ended as planned".to_owned(),
        match &s.aborted {
            Some(why) => Case::Failed(why.clone(), String::new()),
            None => Case::Passed,
        },
    )];
    // Only `--strict` (98) makes it a failure; else the page and the summary say it.
    let kept_up = if s.exit_code == 98 && s.generator.bottleneck {
        Case::Failed(
            "the generator may have been the bottleneck".to_owned(),
            s.generator.reasons.join("\n"),
        )
    } else {
        Case::Passed
    };
    run.push(("the generator kept up".to_owned(), kept_up));
    let threshold = |t: &loadr_engine::ThresholdSummary| {
        let case = match (t.passed, t.observed) {
            (true, None) => Case::Skipped("no samples"),
            (true, Some(_)) => Case::Passed,
            (false, observed) => Case::Failed(
                format!("observed {}", tables::observed(observed)),
                String::new(),
            ),
        };
        (format!("{}: {}", t.metric, t.expression), case)
    };
    let check = |c: &loadr_engine::CheckSummary| {
        let case = match (c.passes, c.fails) {
            (0, 0) => Case::Skipped("never made"),
            (_, 0) => Case::Passed,
            (passes, fails) => {
                let detail = |d: &loadr_engine::Detail| format!("{} × {}", d.count, d.text);
                let details: Vec<_> = c.details.iter().map(detail).collect();
                Case::Failed(
                    format!("{fails} of {} failed", passes.saturating_add(fails)),
                    details.join("\n"),
                )
            }
        };
        (c.name.clone(), case)
    };
    let suites = [
        ("run", run),
        ("thresholds", s.thresholds.iter().map(threshold).collect()),
        ("checks", s.checks.iter().map(check).collect()),
    ];
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_suites(&mut out, s, &suites);
    out
}

fn write_suites(
    out: &mut String,
    s: &Summary,
    suites: &[(&str, Vec<(String, Case)>)],
) -> std::fmt::Result {
    let failures = |cases: &[(String, Case)]| {
        cases
            .iter()
            .filter(|(_, case)| matches!(case, Case::Failed(..)))
            .count()
    };
    let skipped = |cases: &[(String, Case)]| {
        cases
            .iter()
            .filter(|(_, case)| matches!(case, Case::Skipped(_)))
            .count()
    };
    let all: usize = suites.iter().map(|(_, cases)| cases.len()).sum();
    let failed: usize = suites.iter().map(|(_, cases)| failures(cases)).sum();
    let (name, secs) = (markup(&s.name), s.duration_secs);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuites name=\"{name}\" tests=\"{all}\" failures=\"{failed}\" errors=\"0\" time=\"{secs:.3}\">"
    )?;
    for (suite, cases) in suites {
        writeln!(
            out,
            "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{secs:.3}\">",
            cases.len(),
            failures(cases),
            skipped(cases)
        )?;
        for (case, came_to) in cases {
            write!(
                out,
                "    <testcase classname=\"{name}.{suite}\" name=\"{}\" time=\"0\"",
                markup(case)
            )?;
            match came_to {
                Case::Passed => writeln!(out, "/>")?,
                Case::Skipped(why) => writeln!(out, "><skipped message=\"{why}\"/></testcase>")?,
                Case::Failed(message, more) => {
                    let more: Vec<_> = more.lines().map(markup).collect();
                    writeln!(
                        out,
                        "><failure message=\"{}\">{}</failure></testcase>",
                        markup(message),
                        more.join("\n")
                    )?;
                }
            }
        }
        if *suite == "run" && s.generator.bottleneck {
            let reasons: Vec<_> = s
                .generator
                .reasons
                .iter()
                .map(|reason| markup(reason))
                .collect();
            writeln!(
                out,
                "    <system-out>The generator may have been the bottleneck:\n{}</system-out>",
                reasons.join("\n")
            )?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}
