//! Benchmarks of what a user gets: `loadr-fast` beside its peers and its floor, against the canned target.

mod arrivals;
mod clients;
mod compare;
mod counts;
mod floor;
mod machine;
mod measure;
mod memory;
mod nginx;
mod process;
mod report;
mod scale;
mod schedule;
mod serve;
mod table;
mod work;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the commands here fail with: a sentence for a person.
type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs loadr-fast, wrk (if installed) and the floor in turn against the canned target and compares what a
    /// request costs the client.
    Compare(CompareArguments),
    /// Measures the whole table of figures: loadr-fast beside its floor and its peers, each ratio beside its goal.
    Table(TableArguments),
    /// Measures how the load grows with the cores, a shard and a thread of the target on each.
    Scale(ScaleArguments),
    /// Counts the instructions of each part of a request's way under valgrind, beside those that are committed.
    Counts(CountsArguments),
    /// Holds loadr-fast's arrivals against a target's own log, and its latencies against a target that stalls.
    Schedule(ScheduleArguments),
    /// What an idle virtual user with an open connection needs: resident memory of loadr-fast with many of them and with
    /// one, while all of them think.
    Memory(MemoryArguments),
    /// The floor: the least that an io_uring client can cost. Prints one line of JSON.
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, default_value = "/")]
        path: String,
        #[arg(long)]
        connections: u32,
        #[arg(long)]
        seconds: u64,
    },
    /// One part of a request's way, so often.
    #[command(hide = true)]
    Part { name: String, times: u64 },
    /// The target, told what to do on standard input.
    #[command(hide = true)]
    Serve {
        #[arg(long, value_delimiter = ',', required = true)]
        cores: Vec<usize>,
        #[arg(long)]
        tls: bool,
    },
}

#[derive(clap::Args)]
struct CompareArguments {
    /// How long each run takes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many rounds, in each of which every client runs once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Connections, one request in flight on each (for loadr-fast: virtual users).
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// The core that the clients are pinned to, with all their threads.
    #[arg(long, default_value_t = 0)]
    client_core: usize,
    /// The core that the target is pinned to.
    #[arg(long, default_value_t = 1)]
    server_core: usize,
    /// What is asked for: a path of the target, such as /bytes/16384.
    #[arg(long, default_value = "/")]
    path: String,
    /// Leaves the CPU of starting up out: each client also runs for one second, and the figure is what the
    /// further requests of the long run cost. (Without it start-up counts, for all clients alike.)
    #[arg(long)]
    subtract_startup: bool,
    /// What loadr-fast runs instead of asking for `path`: a plan of one scenario with `vus` and `duration`, which takes its
    /// base URL from `${env.BENCH_BASE_URL}`.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Writes every run, with facts of the machine, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

#[derive(clap::Args)]
struct TableArguments {
    /// How long each run takes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many rounds, in each of which every side of a row runs once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// The core that the clients are pinned to, with all their threads.
    #[arg(long, default_value_t = 0)]
    client_core: usize,
    /// The core that the target is pinned to.
    #[arg(long, default_value_t = 1)]
    server_core: usize,
    /// Only these rows, such as `plain,tls`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Adds every run, with facts of the machine, as a file to this folder.
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Puts the table into this file, between its two marks.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

#[derive(clap::Args)]
struct ScaleArguments {
    /// How long each run takes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many rounds, in each of which every number of cores runs once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// The most cores to use; by default all that there are.
    #[arg(long)]
    cores: Option<usize>,
    /// Writes every run, with facts of the machine, to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

#[derive(clap::Args)]
struct MemoryArguments {
    /// How many virtual users.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=11_000))]
    vus: u32,
    /// The core that loadr-fast is pinned to.
    #[arg(long, default_value_t = 0)]
    client_core: usize,
    /// The core that the target is pinned to.
    #[arg(long, default_value_t = 1)]
    server_core: usize,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

#[derive(clap::Args)]
struct CountsArguments {
    /// Fails when a count is more than a tenth above the committed one.
    #[arg(long)]
    check: bool,
    /// Writes the counts as those to commit.
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

#[derive(clap::Args)]
struct ScheduleArguments {
    /// How long each run takes; there are four, and three more in each round: two minutes in all.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often the bare loop, loadr-fast, and loadr-fast with `--spin` take turns at 500 a second.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long before something is due the variant with `--spin` stays awake.
    #[arg(long, default_value = "50us", value_name = "D")]
    spin: String,
    /// Write every figure to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The core that loadr-fast is pinned to.
    #[arg(long, default_value_t = 0)]
    client_core: usize,
    /// The core on which the target polls.
    #[arg(long, default_value_t = 1)]
    server_core: usize,
    /// The loadr-fast binary; by default the one beside this program.
    #[arg(long)]
    loadr: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Table(arguments) => table::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
        Command::Counts(arguments) => counts::run(&arguments),
        Command::Part { name, times } => counts::run_part(&name, times),
        Command::Schedule(arguments) => schedule::run(&arguments),
        Command::Memory(arguments) => memory::run(&arguments),
        Command::Floor {
            address,
            path,
            connections,
            seconds,
        } => floor::run(address, &path, connections, seconds),
        Command::Serve { cores, tls } => serve::run(&cores, tls),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
