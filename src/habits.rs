//! What people type who come from another tool: where an argument is unknown here, what to type in its place.

use clap::Error;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Arguments of wrk, wrk2, oha, hey and k6, and what they are here.
const HABITS: &[(&[&str], &str)] = &[
    (
        &["-t", "--threads"],
        "what are threads elsewhere are cores here: `--cores N`; without it all, but for one when there are more than two",
    ),
    (
        &["-s", "--script"],
        "there are no scripts: write a plan in YAML (`loadr-fast run --help` has examples)",
    ),
    (
        &["--latency"],
        "leave it out: percentiles are always in the summary",
    ),
    (&["-R", "--rps"], "a rate of arrivals is `--rate N`"),
    (&["-z"], "how long it takes is `-d`, such as `-d 10s`"),
    (&["-i"], "how many iterations there are is `--iterations N`"),
    (
        &["--stage", "--stages"],
        "stages stand in the plan: `executor: ramping-vus` with `stages`",
    ),
    (
        &["--out"],
        "it is `-o KIND=TARGET` here, such as `-o json=lines.json`",
    ),
    (&["--insecure-skip-tls-verify"], "it is `--insecure` here"),
];
/// The option whose value is only one behind a `=`, as it can be left out.
const PAGE: &str = "--ui";

/// Puts what to type into the error that `arguments` led to, where it is known.
pub(crate) fn explained(mut error: Error, arguments: &[String]) -> Error {
    // The other tools only run.
    let runs = arguments.get(1).is_some_and(|command| command == "run");
    if error.kind() != ErrorKind::UnknownArgument || !runs {
        return error;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let habit = HABITS
        .iter()
        .find(|(names, _)| names.contains(&unknown.as_str()))
        .map(|(_, tip)| (*tip).to_owned());
    let after_page = arguments
        .windows(2)
        .find(|pair| pair[0] == PAGE && !pair[1].starts_with('-') && !unknown.starts_with('-'))
        .map(|pair| {
            format!(
                "if `{0}` is where the page is to be, write `{PAGE}={0}`",
                pair[1]
            )
        });
    if let Some(tip) = habit.or(after_page) {
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![StyledStr::from(tip)]),
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    fn said(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match Cli::try_parse_from(&arguments) {
            Ok(_) => "no error".to_owned(),
            Err(error) => explained(error, &arguments).to_string(),
        }
    }

    #[test]
    fn who_comes_from_another_tool_is_told_what_to_type() {
        for (line, tip) in [
            ("loadr-fast run -t4 http://h/", "`--cores N`"),
            ("loadr-fast run http://h/ --latency", "leave it out"),
            ("loadr-fast run http://h/ -R 500", "`--rate N`"),
            ("loadr-fast run --out json=x plan.yaml", "`-o KIND=TARGET`"),
            ("loadr-fast run --ui 7070 plan.yaml", "`--ui=7070`"),
        ] {
            let said = said(line);
            assert!(said.contains(tip), "{line}: {said}");
            assert!(said.contains("unexpected argument"), "{line}: {said}");
        }
        // What clap says of a slip of the pen stays.
        assert!(said("loadr-fast run --durations 5s x").contains("--duration"));
        assert!(!said("loadr-fast run a.yaml b.yaml").contains("--ui"));
        assert!(!said("loadr-fast merge results -s x").contains("scripts"));
    }

    #[test]
    fn no_habit_is_an_argument_of_ours() {
        let command = Cli::command();
        let run = command.find_subcommand("run").into_iter();
        for argument in run.flat_map(clap::Command::get_arguments) {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let short = argument.get_short().map(|short| format!("-{short}"));
            for (names, _) in HABITS {
                for name in [&long, &short].into_iter().flatten() {
                    assert!(!names.contains(&name.as_str()), "{name}");
                }
            }
        }
    }
}
