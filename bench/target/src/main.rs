//! The target as a program: prints where it listens and serves until a signal ends it, or its time is up.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use loadr_target::{Settings, Target};

const HELP: &str = "\
Examples:
  loadr-target                                    # and elsewhere: loadr-fast run http://127.0.0.1:8080/
  loadr-target --address 127.0.0.1:8443 --tls     # loadr-fast run https://127.0.0.1:8443/ --insecure
  loadr-target --threads 2 --cores 2,3 --seconds 60

Answers:
  /                 100 bytes, head and body together
  /bytes/N          a body of N bytes; /chunked/N: the same, chunked
  /status/CODE      that status, 200 to 599
  /delay/MS         after so many milliseconds
  /slots/MS         the same in one of eight places of a thread, once one is free
  /echo             the request's body, its method and target in X-Method and X-Target
  /order            a page with an order's number; /orders/ORDER-N confirms it
  /headers          headers that are repeated, of mixed case, padded or empty
  /cached           a response that may be kept for ten minutes
  /close, /drop     closes the connection after, or instead of, an answer";

/// A canned-response HTTP/1.1 server for load tests. Prints the bound address, serves until SIGINT or SIGTERM.
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Arguments {
    /// What to listen on; port 0: a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// How many threads, each with its own io_uring.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The cores to pin the threads to, in turn, such as 1,2.
    #[arg(long, value_delimiter = ',')]
    cores: Option<Vec<usize>>,
    /// Each thread serves the connections that come from its own core.
    #[arg(long, requires = "cores")]
    by_core: bool,
    /// Speak TLS 1.2 and 1.3, with a certificate that it signs itself: clients have to do without checking it.
    #[arg(long)]
    tls: bool,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        address: arguments.address,
        threads: arguments.threads,
        cores: arguments.cores,
        by_core: arguments.by_core,
        is_tls: arguments.tls,
    };
    let target = match Target::start(&settings) {
        Ok(target) => target,
        Err(error) => {
            eprintln!("loadr-target: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut stdout = std::io::stdout();
    // Whoever reads the address may have closed the pipe since.
    let _ = writeln!(stdout, "{}", target.address()).and_then(|()| stdout.flush());
    match arguments.seconds {
        Some(seconds) => thread::sleep(Duration::from_secs(seconds)),
        // A signal's default action ends the process, and the kernel closes what it had open.
        None => loop {
            thread::park();
        },
    }
    target.stop();
    ExitCode::SUCCESS
}
