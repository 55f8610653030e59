//! `loadr-fast validate`: every mistake in plans, in one pass, without running them.

use std::fmt::Write;
use std::io::{Write as _, stdout};
use std::path::Path;

use loadr_config::{Diagnostic, Failure, Options};
use loadr_engine::{LoadedPlugins, PluginSources};
use serde_json::{Value, json};

use crate::cli::{Format, ValidateArgs};
use crate::findings::Shown;
use crate::run::options;

/// What is wrong, or odd, in one plan.
struct Findings {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// Checks every file; the exit code is 1 when any has an error.
pub(crate) fn validate(args: &ValidateArgs) -> u8 {
    let mut out = String::new();
    let mut reports = Vec::new();
    let sources = args.plugins.sources();
    let mut all_sound = true;
    for file in &args.files {
        let findings = check(file, args, &sources);
        all_sound &= findings.errors.is_empty();
        match args.format {
            // Writing to a String cannot fail.
            Format::Text => drop(write_text(&mut out, file, &findings)),
            Format::Json => reports.push(report(file, &findings)),
        }
    }
    if args.format == Format::Json {
        out = format!("{:#}\n", Value::Array(reports));
    }
    // A reader that has gone away is no error of the plan.
    let _ = stdout().write_all(out.as_bytes());
    u8::from(!all_sound)
}

fn check(file: &Path, args: &ValidateArgs, sources: &PluginSources) -> Findings {
    let options = Options {
        base_url: args.base_url.clone(),
        ..options(args.env.as_deref())
    };
    match loadr_config::load(file, &options) {
        Err(Failure { diagnostics, .. }) => Findings {
            errors: diagnostics,
            warnings: Vec::new(),
        },
        Ok(compiled) => {
            let mut errors = loadr_engine::tls_problems(&compiled.program);
            if let Err(of_plugins) = LoadedPlugins::load(&compiled.program, sources) {
                errors.extend(of_plugins);
            }
            Findings {
                errors,
                warnings: compiled.warnings,
            }
        }
    }
}

fn write_text(out: &mut String, file: &Path, findings: &Findings) -> std::fmt::Result {
    let Findings { errors, warnings } = findings;
    let name = file.display();
    let shown = Shown::of(file, errors.iter().chain(warnings));
    for (severity, diagnostics) in [("error", errors), ("warning", warnings)] {
        for diagnostic in diagnostics {
            write!(out, "{severity}: ")?;
            shown.write(out, diagnostic)?;
        }
    }
    match (errors.len(), warnings.len()) {
        (0, 0) => writeln!(out, "{name}: sound"),
        (0, w) => writeln!(out, "{name}: sound, {w} warning{}", plural(w)),
        (e, 0) => writeln!(out, "{name}: {e} error{}", plural(e)),
        (e, w) => writeln!(
            out,
            "{name}: {e} error{}, {w} warning{}",
            plural(e),
            plural(w)
        ),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn report(file: &Path, findings: &Findings) -> Value {
    let list = |diagnostics: &[Diagnostic]| -> Vec<Value> {
        let one = |d: &Diagnostic| {
            json!({
                "path": d.path, "line": d.line, "column": d.column,
                "message": d.message, "suggestion": d.help,
            })
        };
        diagnostics.iter().map(one).collect()
    };
    json!({
        "file": file.display().to_string(),
        "valid": findings.errors.is_empty(),
        "errors": list(&findings.errors),
        "warnings": list(&findings.warnings),
    })
}
