//! Errors and warnings of a plan, for people: where, what, the line in question with a caret, and what to do.

use loadr_engine::figures::is_hidden;
use std::fmt::Write;
use std::path::Path;

use loadr_config::Diagnostic;

/// A plan's file, to show lines of.
pub(crate) struct Shown<'a> {
    file: &'a Path,
    lines: Vec<String>,
}

impl<'a> Shown<'a> {
    /// Reads the file if any of the findings is on a line of it; one that cannot be read is an error already.
    pub(crate) fn of<'d>(
        file: &'a Path,
        findings: impl IntoIterator<Item = &'d Diagnostic>,
    ) -> Self {
        let text = if findings.into_iter().any(|diagnostic| diagnostic.line > 0) {
            std::fs::read(file).unwrap_or_default()
        } else {
            Vec::new()
        };
        let lines = String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect();
        Self { file, lines }
    }

    /// Writes one finding, on lines of its own.
    pub(crate) fn write(&self, out: &mut String, diagnostic: &Diagnostic) -> std::fmt::Result {
        let space = if diagnostic.line > 0 { "" } else { " " };
        let mut said = diagnostic.to_string();
        let help = said.find("\n  help: ").map(|at| said.split_off(at));
        writeln!(out, "{}:{space}{said}", self.file.display())?;
        let line = usize::try_from(diagnostic.line).unwrap_or(0).checked_sub(1);
        if let Some(source) = line.and_then(|line| self.lines.get(line)) {
            source_line(out, source, diagnostic)?;
        }
        if let Some(help) = help {
            writeln!(out, "{}", help.trim_start_matches('\n'))?;
        }
        Ok(())
    }
}

/// The line in question with a caret under the place, both cut to what a terminal shows.
fn source_line(out: &mut String, source: &str, diagnostic: &Diagnostic) -> std::fmt::Result {
    const WIDTH: usize = 100;
    let column = usize::try_from(diagnostic.column).unwrap_or(1).max(1) - 1;
    let from = column.saturating_sub(WIDTH * 3 / 4);
    // A tab or a control character is as wide as a space here, so that the caret stands right.
    let plain = |c: char| if is_hidden(c) { ' ' } else { c };
    let shown: String = source.chars().skip(from).take(WIDTH).map(plain).collect();
    let number = diagnostic.line.to_string();
    writeln!(out, "  {number} | {shown}")?;
    writeln!(
        out,
        "  {:width$} | {:indent$}^",
        "",
        "",
        width = number.len(),
        indent = column - from
    )
}
