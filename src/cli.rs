//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use loadr_engine::cores::CoreChoice;

use crate::color::When;

#[derive(Debug, Parser)]
#[command(name = "loadr-fast", version, about, long_about = None, arg_required_else_help = true, after_help = HELP)]
pub(crate) struct Cli {
    /// When to print colours: on a terminal unless `NO_COLOR` is set, always, or never.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = When::Auto, hide_possible_values = true)]
    pub(crate) color: When,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  loadr-fast run http://127.0.0.1:8080/ -c 64 -d 10s
  loadr-fast run plan.yaml
  loadr-fast validate plan.yaml";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan, or requests to a URL, and print the summary.
    #[command(after_help = RUN_HELP)]
    Run(Box<RunArgs>),
    /// Check plans without running them: every mistake in one pass.
    #[command(after_help = VALIDATE_HELP)]
    Validate(ValidateArgs),
    /// Find the highest rate that a system sustains within its objectives.
    #[command(after_help = crate::capacity::HELP)]
    Capacity(crate::capacity::CapacityArgs),
    /// Show a summary as a page, in Markdown or for CI; or two of them side by side.
    #[command(after_help = crate::report::HELP)]
    Report(crate::report::ReportArgs),
    /// Make one summary of several runs of a plan, with exact percentiles.
    #[command(after_help = crate::merge::HELP)]
    Merge(crate::merge::MergeArgs),
    /// Print the JSON Schema of plans, for editors; or that of a file that is written here.
    #[command(after_help = SCHEMA_HELP)]
    Schema(SchemaArgs),
    /// Write manual pages, one for each command.
    #[command(after_help = MAN_HELP)]
    Man {
        /// The directory; it is made if it is not there.
        dir: PathBuf,
    },
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Look at this machine: what is in the way of a run, or of good figures, and what to change.
    #[command(after_help = DOCTOR_HELP)]
    Doctor(crate::doctor::DoctorArgs),
    /// Look at a fleet while it runs: all its segments as one run, its thresholds judged on all of them.
    #[command(after_help = crate::watch_fleet::HELP)]
    Watch(crate::watch_fleet::WatchArgs),
    /// Look at a run while it goes on, and steer it: virtual users, rate, pause, resume, stop.
    #[command(after_help = crate::ctl::HELP)]
    Ctl(crate::ctl::CtlArgs),
    /// Install, inspect, call and measure plugins.
    #[command(arg_required_else_help = true, after_help = PLUGIN_HELP)]
    Plugin(crate::plugin::PluginArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// That of the file that `run --summary-export` writes.
    #[arg(long, conflicts_with = "capacity")]
    pub(crate) summary: bool,

    /// That of the file that `capacity --json` writes.
    #[arg(long)]
    pub(crate) capacity: bool,
}

const SCHEMA_HELP: &str = "\
Examples:
  loadr-fast schema > plan.schema.json
  loadr-fast schema --capacity > capacity.schema.json
  loadr-fast schema --summary > summary.schema.json

A plan that begins with this line is completed and checked by editors with a YAML language server:
  # yaml-language-server: $schema=plan.schema.json";

const MAN_HELP: &str = "\
Examples:
  loadr-fast man ~/.local/share/man/man1 && man loadr-fast-run";

const DOCTOR_HELP: &str = "\
Examples:
  loadr-fast doctor
  loadr-fast doctor --json --cores 2-9";

const PLUGIN_HELP: &str = "\
Examples:
  loadr-fast plugin new --lang rust my-extractor
  loadr-fast plugin install ./my-extractor
  loadr-fast plugin list";

const COMPLETIONS_HELP: &str = "\
Examples:
  loadr-fast completions bash > ~/.local/share/bash-completion/completions/loadr-fast
  loadr-fast completions zsh > \"${fpath[1]}/_loadr-fast\"
  loadr-fast completions fish > ~/.config/fish/completions/loadr-fast.fish";

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

    /// Check with this in place of `defaults.http.base_url`; see `run`.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,

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
  loadr-fast run plan.yaml -e staging --vus 200 --duration 30s --tags smoke
  loadr-fast run --embedded-target examples/quickstart.yaml
  loadr-fast run --base-url https://127.0.0.1:8443 --insecure plan.yaml
  loadr-fast run --summary-export summary.json plan.yaml; loadr-fast report summary.json -o report.html
  loadr-fast run --quiet --junit results.xml plan.yaml
  loadr-fast run --http-debug --vus 1 --iterations 1 plan.yaml
  loadr-fast run --source-ips 10.0.0.16/28 plan.yaml
  loadr-fast run plan.yaml --output json=results.jsonl --output prometheus=127.0.0.1:9464
  loadr-fast run --ui --no-tui plan.yaml | tee summary.txt

Without a plan, as with wrk, oha or hey:
  loadr-fast run http://127.0.0.1:8080/ -c 64 -d 10s
  loadr-fast run http://127.0.0.1:8080/orders -n 1000 -m POST -H 'Content-Type: application/json' -b '{\"count\": 1}'
  loadr-fast run http://127.0.0.1:8080/ --rate 500 -d 30s --print-plan > plan.yaml
  loadr-fast run http://127.0.0.1:8080/ -c 64 --pipeline 16
  loadr-fast run https://127.0.0.1:8443/ -k

On several machines, or as an MPI, Slurm or Kubernetes job, which say themselves which part is whose:
  loadr-fast run --segment 0/4 --start-at 2026-11-26T09:00:00Z --histograms 'results/{segment}.hlog' plan.yaml
  loadr-fast run --segment 0/4 --bus nats://bus.example:4222 plan.yaml     # the others alike; and anywhere:
  loadr-fast watch --bus nats://bus.example:4222 --ui
  mpirun -n 16 loadr-fast run --histograms 'results/{segment}.hlog' plan.yaml && loadr-fast merge results
  loadr-fast run --print-segment

Exit codes:
  0 all held · 1 an error · 98 --strict and the generator was the bottleneck · 99 a threshold failed · 130 interrupted";

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plan, a YAML file; or a URL that requests are sent to without one.
    #[arg(value_name = "PLAN|URL", required_unless_present = "print_segment")]
    pub(crate) plan: Option<PathBuf>,

    /// How many cores to use (the first N that this process may use), or which: `2-9,12` (one core: `3-3`).
    /// Default: all, but for one when there are more than two.
    #[arg(long, value_name = "N|LIST")]
    pub(crate) cores: Option<CoreChoice>,

    /// Allow more shards than there are cores.
    #[arg(long)]
    pub(crate) oversubscribe: bool,

    /// Dial from these addresses of this machine in turn, each an address or a CIDR: one target then takes more than 28,000
    /// connections. Replaces the plan's `engine.source_ips`.
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    pub(crate) source_ips: Vec<String>,
    /// How long before something is due a core stays awake for it, such as `50us`: steadier than sleep, and that much
    /// busier. Replaces the plan's `engine.spin`.
    #[arg(long, value_name = "D", value_parser = loadr_config::parse_duration)]
    pub(crate) spin: Option<Duration>,

    /// What all random choices come from: the same one gives the same schedule of arrivals. Default: another each run.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Exit with 98 when the generator may have been the bottleneck.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Lay the plan's overlay of this name (`env.<NAME>`) over it.
    #[arg(short = 'e', long = "env", value_name = "NAME")]
    pub(crate) env: Option<String>,

    /// Print the plan that would run, overlay and flags laid over it, and run nothing.
    #[arg(long)]
    pub(crate) print_plan: bool,

    /// Print nothing but errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Show more in the summary: every request and every text of a failed check, p(99.9), and what repeats the run.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Print a line a second instead of drawing on the terminal. So it is anyway where standard error is no terminal.
    #[arg(long)]
    pub(crate) no_tui: bool,

    /// Write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_export: Option<PathBuf>,

    /// Write every trend, whole and each second, to this file: an HdrHistogram log for its tools and for `merge`.
    #[arg(long, value_name = "FILE")]
    pub(crate) histograms: Option<PathBuf>,

    /// Write thresholds and checks to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Feed the figures of each second to `json=FILE`, `csv=FILE`, `prometheus=ADDRESS` (to be scraped), `prometheus=URL` (remote
    /// write), `otlp=URL`, `influxdb=URL/DATABASE` or `statsd=ADDRESS`, beside the plan's `outputs`. May be given again.
    #[arg(short = 'o', long = "output", value_name = "KIND=TARGET")]
    pub(crate) outputs: Vec<String>,

    #[command(flatten)]
    pub(crate) aim: crate::aim::AimArgs,

    /// Listen on a Unix socket at this path for `loadr-fast ctl`. A plan with an `externally-controlled` scenario listens
    /// without it, too.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// Offer the same to programs of this machine as an HTTP API at this address, such as 127.0.0.1:7000 (port 0: any).
    #[arg(long, value_name = "ADDR")]
    pub(crate) control_http: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) plugins: crate::plugin::Directory,

    /// Show what the first virtual user sends and gets, on standard error: heads, and the beginnings of bodies, without
    /// secrets. For looking at a plan, not for measuring.
    #[arg(long)]
    pub(crate) http_debug: bool,

    #[command(flatten)]
    pub(crate) wire: WireArgs,

    // Last: what comes after a heading stands under it.
    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) part: PartArgs,

    #[command(flatten)]
    pub(crate) fleet: crate::fleet::FleetArgs,

    #[command(flatten)]
    pub(crate) request: RequestArgs,

    #[command(flatten)]
    pub(crate) ui: crate::page::UiArgs,
}

/// How connections are used, over what the plan's `engine` says.
#[derive(Debug, Args)]
pub(crate) struct WireArgs {
    /// Requests in flight on each connection, answered in order (HTTP/1.1 pipelining); replaces `engine.pipeline`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) pipeline: Option<u32>,

    /// The most bytes of a response's body that the plan reads, such as `64MiB`; replaces `engine.max_body`.
    #[arg(long, value_name = "SIZE", value_parser = loadr_config::parse_size)]
    pub(crate) max_body: Option<u64>,

    /// The most header fields of a response; replaces `engine.max_headers`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) max_headers: Option<u32>,
}

/// How much is sent, over what the plan says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// How many virtual users; replaces every scenario's. With a URL: how many connections, 50.
    #[arg(short = 'c', long, visible_alias = "connections", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vus: Option<u32>,

    /// How long, such as `30s` or `1m30s`; a bare number is seconds. Replaces every scenario's; stages are stretched to it.
    /// With a URL: 10s.
    #[arg(short = 'd', long, value_parser = loadr_config::parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// How many iterations; replaces every scenario's. With a URL: how many requests in all.
    #[arg(short = 'n', long, visible_alias = "requests", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) iterations: Option<u64>,

    /// Iterations started each second, however long the target takes; replaces that of every scenario with a constant
    /// arrival rate.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// Run only the scenarios that have one of these values among their `tags`; `name=value` says which tag.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) tags: Vec<String>,

    /// Leave out the scenarios that have one of these.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) exclude_tags: Vec<String>,
}

/// One run by several processes.
#[derive(Debug, Args)]
#[command(next_help_heading = "More than one machine")]
pub(crate) struct PartArgs {
    /// Make one of N equal parts of the plan's load, part I, counted from 0; N processes that are told so make all of it between
    /// them. `none`: the whole. Default: what the process was launched by says (Kubernetes, Slurm, Open MPI, PMI, Nomad, AWS
    /// Batch), or the whole. In names of files `{segment}` stands for I.
    #[arg(long, value_name = "I/N|none", value_parser = crate::parts::parse)]
    pub(crate) segment: Option<crate::parts::Said>,

    /// Say which segment this process would be and where that was found, and run nothing.
    #[arg(long)]
    pub(crate) print_segment: bool,

    /// Load everything, then wait and begin at this instant: `2026-11-26T09:00:00Z`, seconds since 1970, or `+30s` from when the
    /// process began. The same instant on every machine starts them together.
    #[arg(long, value_name = "INSTANT", value_parser = crate::start_at::parse, allow_hyphen_values = true)]
    pub(crate) start_at: Option<crate::start_at::StartAt>,
}

/// What is sent to a URL.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request (with a URL)")]
pub(crate) struct RequestArgs {
    /// A header field, such as `Accept: text/html`. May be given again.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,

    /// The method. Default: GET; POST with a body.
    #[arg(short = 'm', long)]
    pub(crate) method: Option<String>,

    /// The content; `@FILE` is what is in the file. Placeholders such as `${vu}` work here, in headers and in the URL.
    #[arg(short = 'b', long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
}

/// More than any machine sends.
const MAX_RATE: f64 = 1e9;

/// A rate, or 0.
pub(crate) fn rate_or_none(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(0.0),
        _ => rate(text),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= MAX_RATE => Ok(rate),
        Ok(_) => Err(format!("it must be above 0 and at most {MAX_RATE}")),
        Err(_) => Err("not a number".to_owned()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected a name, a colon and a value, such as `Accept: text/html`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn every_command(
        command: &clap::Command,
        path: &str,
        visit: &mut impl FnMut(&str, &clap::Command),
    ) {
        visit(path, command);
        for inner in command.get_subcommands() {
            every_command(inner, &format!("{path} {}", inner.get_name()), visit);
        }
    }

    #[test]
    fn every_command_has_an_example_of_itself() {
        let mut seen = 0;
        every_command(&Cli::command(), "loadr-fast", &mut |path, command| {
            seen += 1;
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example") && help.contains(path),
                "{path}: {help}"
            );
        });
        assert!(seen >= 10, "{seen}");
    }
}
