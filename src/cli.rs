//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use loadr_engine::cores::CoreChoice;

#[derive(Debug, Parser)]
#[command(name = "loadr-fast", version, about, long_about = None, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan and print its summary.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Check plans without running them: every mistake in one pass.
    #[command(after_help = VALIDATE_HELP)]
    Validate(ValidateArgs),
    /// Install, inspect, call and measure plugins.
    #[command(arg_required_else_help = true)]
    Plugin(crate::plugin::PluginArgs),
}

const VALIDATE_HELP: &str = "\
Examples:
  loadr-fast validate plan.yaml
  loadr-fast validate --format json plans/*.yaml

Exit codes:
  0 every plan is sound · 1 a plan has an error";

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The plans.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Check with the overlay of this name (`env.<NAME>`) laid over.
    #[arg(short = 'e', long = "env", value_name = "NAME")]
    pub(crate) env: Option<String>,

    #[command(flatten)]
    pub(crate) plugins: crate::plugin::Directory,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line in question with a caret.
    Text,
    /// For programs.
    Json,
}

const RUN_HELP: &str = "\
Examples:
  loadr-fast run plan.yaml
  loadr-fast run --cores 16 --summary-export summary.json plan.yaml
  loadr-fast run --embedded-target examples/quickstart.yaml

Exit codes:
  0 all held · 1 an error · 98 --strict and the generator was the bottleneck · 99 a threshold failed · 130 interrupted";

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plan, a YAML file.
    pub(crate) plan: PathBuf,

    /// How many cores to use (the first N that this process may use), or which: `2-9,12` (one core: `3-3`).
    /// Default: all, but for one when there are more than two.
    #[arg(long, value_name = "N|LIST")]
    pub(crate) cores: Option<CoreChoice>,

    /// Allow more shards than there are cores.
    #[arg(long)]
    pub(crate) oversubscribe: bool,

    /// What all random choices come from: the same one gives the same schedule of arrivals. Default: another each run.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Exit with 98 when the generator may have been the bottleneck.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Replace every scenario's duration, such as `30s` or `1m30s`; a bare number is seconds. Stages are stretched to it.
    #[arg(long, value_parser = loadr_config::parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Replace the number of virtual users of every scenario that has a fixed one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vus: Option<u32>,

    /// Lay the plan's overlay of this name (`env.<NAME>`) over it.
    #[arg(short = 'e', long = "env", value_name = "NAME")]
    pub(crate) env: Option<String>,

    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_export: Option<PathBuf>,

    /// Start the built-in target on a free loopback port and point the plan's `base_url` at it.
    #[arg(long)]
    pub(crate) embedded_target: bool,

    #[command(flatten)]
    pub(crate) plugins: crate::plugin::Directory,
}
