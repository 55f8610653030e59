//! What came out: ratios beside goals, as Markdown for people and as JSON for the history.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;

use super::rows::{Figure, IDLE, Row};
use crate::machine::Machine;
use crate::measure::Sample;
use crate::report::{Ratio, Spread};
use crate::{Outcome, TableArguments};

/// The table in the README stands between these lines.
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Year, month, day, by UTC.
    date: String,
    machine: Machine,
    versions: Vec<(&'static str, Option<String>)>,
    seconds: u64,
    pairs: u32,
    rows: Vec<RowResult>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RowResult {
    name: &'static str,
    what: &'static str,
    ratios: Vec<GoalResult>,
    /// Every sample, in the order in which they ran.
    rounds: Vec<Vec<Sample>>,
}

/// A ratio beside its goal.
#[derive(Debug, Serialize)]
struct GoalResult {
    /// Such as `CPU per request: loadr-fast ÷ wrk`.
    ratio: String,
    /// Pair by pair.
    seen: Spread,
    /// `None`: there is no goal.
    at_most: Option<f64>,
}

impl RowResult {
    pub(super) fn new(row: &Row, rounds: Vec<Vec<Sample>>) -> Self {
        let ratios = row
            .goals
            .iter()
            .filter_map(|goal| {
                let ratio = Ratio::new(goal.of, goal.to, &rounds)?;
                let (what, seen) = match goal.figure {
                    Figure::CpuPerRequest => ("CPU per request", ratio.cpu_per_request),
                    Figure::RequestsPerSecond => ("requests/s", ratio.requests_per_second),
                };
                Some(GoalResult {
                    ratio: format!("{what}: {} ÷ {}", goal.of, goal.to),
                    seen,
                    at_most: goal.at_most,
                })
            })
            .collect();
        Self {
            name: row.name,
            what: row.what,
            ratios,
            rounds,
        }
    }

    /// What an idle user needs, in bytes.
    pub(super) fn of_memory(what: &'static str, bytes: Vec<f64>, at_most: f64) -> Self {
        let ratio = GoalResult {
            ratio: "resident bytes a user".to_owned(),
            seen: Spread::of(bytes),
            at_most: Some(at_most),
        };
        Self {
            name: IDLE,
            what,
            ratios: vec![ratio],
            rounds: Vec::new(),
        }
    }

    /// What is wrong with the samples, if anything: a figure with failures in it is none.
    fn failed(&self) -> u64 {
        self.rounds.iter().flatten().map(|s| s.failed).sum()
    }
}

impl Results {
    pub(super) fn new(
        machine: Machine,
        arguments: &TableArguments,
        versions: Vec<(&'static str, Option<String>)>,
    ) -> Self {
        Self {
            date: OffsetDateTime::now_utc().date().to_string(),
            machine,
            versions,
            seconds: arguments.seconds,
            pairs: arguments.pairs,
            rows: Vec::new(),
        }
    }

    /// A row that cannot be measured is told and left out; it costs no other.
    pub(super) fn add(&mut self, name: &str, row: Outcome<RowResult>) {
        match row {
            Ok(row) => self.rows.push(row),
            Err(error) => eprintln!("note: `{name}` is left out: {error}"),
        }
    }

    /// The table with what it was measured on below it.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "| work | ratio | goal | median | spread | |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            for GoalResult {
                ratio,
                seen,
                at_most,
            } in &row.ratios
            {
                let mark = match at_most {
                    _ if row.failed() > 0 => "requests failed",
                    Some(at_most) if seen.median <= *at_most => "reached",
                    Some(_) => "not reached",
                    None => "to compare",
                };
                let goal = at_most.map_or_else(|| "–".to_owned(), |most| format!("≤ {most}"));
                let digits = if row.name == IDLE { 0 } else { 3 };
                writeln!(
                    out,
                    "| {} | {ratio} | {goal} | {:.digits$} | {:.digits$} – {:.digits$} | {mark} |",
                    row.what, seen.median, seen.min, seen.max
                )?;
            }
        }
        let machine = &self.machine;
        let versions: Vec<String> = self
            .versions
            .iter()
            .filter_map(|(name, version)| Some(format!("{name} {}", version.as_ref()?)))
            .collect();
        writeln!(
            out,
            "\n{}: {}, {} cores, Linux {}, tcp {}, load {:.2} as it began; {}; {} alternating rounds of {} s, median of the \
             ratios of each round.",
            self.date,
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.congestion_control,
            machine.load_before,
            versions.join(", "),
            self.pairs,
            self.seconds,
        )
    }

    /// Adds them to the history; the file that they are in.
    pub(super) fn write(&self, folder: &Path) -> Outcome<PathBuf> {
        let cannot =
            |path: &Path, error| format!("cannot write results to {}: {error}", path.display());
        fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        // Several of a day are told apart by a number.
        for number in 1.. {
            let path = folder.join(format!("{}-{number}.json", self.date));
            if !path.exists() {
                fs::write(&path, text).map_err(|error| cannot(&path, error))?;
                return Ok(path);
            }
        }
        Err("there is no free name".into())
    }
}

/// Puts the table where the file has its mark.
pub(super) fn put_into(path: &Path, table: &str) -> Outcome<()> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = replaced(&text, table)
        .ok_or_else(|| format!("{} has no lines {BEGIN} and {END}", path.display()))?;
    fs::write(path, text)
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let expected = format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n");
        assert_eq!(replaced(&text, "new\n"), Some(expected));
        assert_eq!(replaced("nothing", "new"), None);
    }
}
