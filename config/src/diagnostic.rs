//! What is wrong with a plan and where: the errors users see.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::node::At;

/// One thing that is wrong, or odd, in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where in the document, such as `scenarios.api.flow[0].request.url`; a flag's name when a command-line override
    /// is the cause; empty when it is the file as a whole.
    pub path: String,
    /// From 1; 0 when it is not a place in the file.
    pub line: u32,
    /// From 1, in characters; 0 when `line` is.
    pub column: u32,
    /// What is wrong, in one sentence, naming what the user wrote.
    pub message: String,
    /// What to write instead, when that can be said.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Why a plan does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The plan.
    pub file: PathBuf,
    /// Everything that was found, in the order of the file; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// The file as a whole cannot be used.
    pub(crate) fn of_file(file: &Path, message: String, help: Option<String>) -> Self {
        let diagnostic = Diagnostic {
            path: String::new(),
            line: 0,
            column: 0,
            message,
            help,
        };
        Self {
            file: file.to_owned(),
            diagnostics: vec![diagnostic],
        }
    }
}

impl fmt::Display for Failure {
    /// One block a diagnostic: `plan.yaml:12:9: scenarios.api.flow[0].request.urll: unknown key …`, then its help on a
    /// line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let space = if diagnostic.line > 0 { "" } else { " " };
            write!(f, "{}:{space}{diagnostic}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What a user wrote, fit for one line of a message: cut when long, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            out.push('…');
            break;
        }
        // Bidirectional overrides could make a message read as something else.
        if loadr_figures::is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Collects what the stages find.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The overlay in use, for the paths of what it holds.
    pub(crate) overlay: Option<String>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    found: usize,
    left_out: bool,
}

/// More errors than this help nobody, and hostile input could make millions.
const MAX_DIAGNOSTICS: usize = 200;

impl Report {
    pub(crate) fn error(&mut self, at: &At, message: String, help: Option<String>) {
        self.found += 1;
        if self.errors.len() >= MAX_DIAGNOSTICS {
            self.left_out = true;
            return;
        }
        let diagnostic = at.diagnostic(self.overlay.as_deref(), message, help);
        // What holds for every request of a scenario is found with each of them.
        if !self.errors.contains(&diagnostic) {
            self.errors.push(diagnostic);
        }
    }

    /// Whether more errors would be left out, so that no work needs to go into their wording.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_DIAGNOSTICS
    }

    /// [`did_you_mean`], unless so much was found already that nobody will see the answer: there may be many names.
    pub(crate) fn suggest<'a>(
        &self,
        wrong: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        const MOST_NAMES: usize = 1000;
        if self.is_full() || self.warnings.len() >= MAX_DIAGNOSTICS {
            return None;
        }
        did_you_mean(wrong, names.into_iter().take(MOST_NAMES))
    }

    /// Counts an error that is not worded.
    pub(crate) fn leave_out(&mut self) {
        self.found += 1;
        self.left_out = true;
    }

    pub(crate) fn warning(&mut self, at: &At, message: String, help: Option<String>) {
        if self.warnings.len() < MAX_DIAGNOSTICS {
            let diagnostic = at.diagnostic(self.overlay.as_deref(), message, help);
            if !self.warnings.contains(&diagnostic) {
                self.warnings.push(diagnostic);
            }
        }
    }

    /// How many errors were found, those too many to keep included.
    pub(crate) fn error_count(&self) -> usize {
        self.found
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(crate) fn failure(mut self, file: &Path) -> Failure {
        self.errors.sort_by_key(|d| (d.line, d.column));
        if self.left_out {
            let message = format!("only the first {MAX_DIAGNOSTICS} errors are shown");
            self.errors
                .extend(Failure::of_file(file, message, None).diagnostics);
        }
        Failure {
            file: file.to_owned(),
            diagnostics: self.errors,
        }
    }

    pub(crate) fn into_warnings(mut self) -> Vec<Diagnostic> {
        self.warnings.sort_by_key(|d| (d.line, d.column));
        self.warnings
    }
}

/// The help `did you mean …?` when one of `names` is close to `wrong`.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wrong_lower = wrong.to_lowercase();
    // A key far longer than any name is no slip, and distance costs the product of the lengths.
    if wrong_lower.len() > 64 {
        return None;
    }
    let allowed = (wrong_lower.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter(|name| name.len() <= 128)
        .map(|name| (distance(&wrong_lower, &name.to_lowercase()), name))
        // A name that shares no letter is another name, not a slip.
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean `{}`?", shown(name)))
}

/// Optimal string alignment: insert, delete, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_char = None;
    for (i, ca) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(ca != *cb))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if j > 0 && previous_char == Some(*cb) && b[j - 1] == ca {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        previous_char = Some(ca);
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
