//! The command line: arguments, wiring, exit codes.

mod capacity;
mod cli;
mod color;
mod ctl;
mod doctor;
mod export;
mod findings;
mod page;
mod plugin;
mod run;
mod signals;
mod source;
mod validate;
mod watch;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let result = match cli.command {
        cli::Command::Run(args) => run::run(&args, cli.color),
        cli::Command::Validate(args) => Ok(validate::validate(&args)),
        cli::Command::Capacity(args) => capacity::capacity(&args),
        cli::Command::Schema(args) => {
            let schema = if args.capacity {
                loadr_capacity::schema()
            } else {
                loadr_config::schema()
            };
            print(&format!("{schema:#}\n"));
            Ok(0)
        }
        cli::Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::Cli::command(), "loadr-fast", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        cli::Command::Doctor(args) => doctor::doctor(&args),
        cli::Command::Ctl(args) => ctl::run(&args),
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

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}
