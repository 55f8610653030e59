//! The command line: arguments, wiring, exit codes.

mod cli;
mod doctor;
mod export;
mod plugin;
mod progress;
mod run;
mod signals;
mod validate;

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = match cli.command {
        cli::Command::Run(args) => run::run(&args),
        cli::Command::Validate(args) => Ok(validate::validate(&args)),
        cli::Command::Doctor(args) => doctor::doctor(&args),
        cli::Command::Plugin(args) => plugin::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Who reads it may be gone; the exit code still tells.
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::from(1)
        }
    }
}
