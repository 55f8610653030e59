//! The command line: arguments, wiring, exit codes.

mod aim;
mod capacity;
mod cli;
mod color;
mod ctl;
mod doctor;
mod export;
mod findings;
mod fleet;
mod habits;
mod merge;
mod page;
mod parts;
mod plugin;
mod report;
mod run;
mod signals;
mod source;
mod start_at;
mod validate;
mod voice;
mod watch;
mod watch_fleet;

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let cli = cli::Cli::try_parse().unwrap_or_else(|error| {
        let arguments: Vec<String> = std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        habits::explained(error, &arguments).exit()
    });
    let result = match cli.command {
        cli::Command::Run(mut args) => run::run(&mut args, cli.color),
        cli::Command::Validate(args) => Ok(validate::validate(&args)),
        cli::Command::Capacity(args) => capacity::capacity(&args),
        cli::Command::Report(args) => report::report(&args),
        cli::Command::Merge(args) => merge::merge(&args, cli.color),
        cli::Command::Schema(args) => {
            match args {
                cli::SchemaArgs { summary: true, .. } => print(loadr_engine::SUMMARY_SCHEMA),
                cli::SchemaArgs { capacity: true, .. } => {
                    print(&format!("{:#}\n", loadr_capacity::schema()));
                }
                _ => print(&format!("{:#}\n", loadr_config::schema())),
            }
            Ok(0)
        }
        cli::Command::Man { dir } => man(&dir),
        cli::Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::Cli::command(), "loadr-fast", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        cli::Command::Doctor(args) => doctor::doctor(&args),
        cli::Command::Watch(args) => watch_fleet::watch(&args, cli.color),
        cli::Command::Ctl(args) => ctl::run(&args),
        cli::Command::Plugin(args) => plugin::run(&args),
    };
    let code = match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Who reads it may be gone; the exit code still tells.
            voice::NOTES.line(&format!("error: {error}"));
            ExitCode::from(1)
        }
    };
    voice::NOTES.finish(voice::NOTE_PATIENCE);
    code
}

/// Writes a manual page for each command.
fn man(dir: &std::path::Path) -> Result<u8, String> {
    let fail = |error| format!("cannot write manual pages to {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(fail)?;
    clap_mangen::generate_to(cli::Cli::command(), dir).map_err(fail)?;
    Ok(0)
}

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}
