//! Where the figures of a run go while it goes on: files, Prometheus, OTLP, InfluxDB, StatsD.
//!
//! The housekeeping thread makes one `second::Second` of each of the run's moments and offers it to every output's
//! bounded queue; it never waits. Each output has a thread of its own, off the shards' cores where there are others. What
//! a full queue has no room for, or a receiver does not take, is dropped and counted. At the end all that is queued is
//! delivered, within a bound.

mod distribution;
mod file;
mod http;
mod influxdb;
mod otlp;
mod prometheus;
mod protobuf;
mod requests;
mod second;
mod so_far;
mod statsd;
mod tally;
mod totals;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use loadr_config::{Diagnostic, Output, OutputTo, Program};
use loadr_engine::{Moment, OutputSummary};

use file::{CsvFile, JsonFile};
use influxdb::InfluxDb;
use otlp::Otlp;
use prometheus::{Page, RemoteWrite};
use requests::RequestLines;
use second::{Second, Seconds};
use statsd::Statsd;
use worker::{Sink, Worker};

/// How long all outputs together may take for what is left at the end of a run.
const FLUSH: Duration = Duration::from_secs(5);

/// The outputs of a run.
#[derive(Default)]
pub struct Outputs {
    workers: Vec<Worker>,
    seconds: Seconds,
    pages: Vec<Page>,
    warnings: Vec<Diagnostic>,
    notes: Vec<String>,
}

impl Outputs {
    /// Opens files, listens, and sees whether receivers are there. `cores`: the shards', which outputs stay off where there
    /// are others.
    ///
    /// # Errors
    /// What cannot be opened, each where the plan says it. A receiver that is not there is only worth a warning: it may
    /// be there when there is something to deliver.
    pub fn open(program: &Program, cores: &[usize]) -> Result<Self, Vec<Diagnostic>> {
        let mut made = Self::default();
        let mut problems = Vec::new();
        for output in &program.outputs {
            match made.sink(output, program) {
                Ok(sink) => match Worker::start(output, sink, program, cores) {
                    Ok(worker) => made.workers.push(worker),
                    Err(error) => problems.push(diagnostic(
                        output,
                        &format!("cannot start a thread for it: {error}"),
                    )),
                },
                Err(message) => problems.push(diagnostic(output, &message)),
            }
        }
        for diagnostic in problems.iter_mut().chain(&mut made.warnings) {
            diagnostic.message = program.secrets.redact(&diagnostic.message).into_owned();
        }
        if problems.is_empty() {
            Ok(made)
        } else {
            Err(problems)
        }
    }

    fn sink(&mut self, output: &Output, program: &Program) -> Result<Box<dyn Sink>, String> {
        let mut reach = |receiver| {
            if let Err(message) = http::reach(receiver) {
                let message = format!("{message}: it is tried again each second of the run");
                self.warnings.push(diagnostic(output, &message));
            }
        };
        Ok(match &output.to {
            OutputTo::Json { path, samples } => {
                let lines = samples.then(|| RequestLines::new(program));
                Box::new(JsonFile::open(path, lines)?)
            }
            OutputTo::Csv { path } => Box::new(CsvFile::open(path)?),
            OutputTo::PrometheusScrape {
                listen,
                histograms,
                linger,
            } => {
                let (page, scraped) = Page::open(listen, *histograms, *linger)?;
                self.notes
                    .push(format!("metrics are at http://{}/metrics", page.address()));
                self.pages.push(page);
                Box::new(scraped)
            }
            OutputTo::PrometheusWrite {
                receiver,
                histograms,
            } => {
                reach(receiver);
                Box::new(RemoteWrite::new(receiver, *histograms)?)
            }
            OutputTo::Otlp(receiver) => {
                reach(receiver);
                Box::new(Otlp::new(receiver, &program.name)?)
            }
            OutputTo::InfluxDb { receiver, create } => {
                reach(receiver);
                Box::new(InfluxDb::new(receiver, create.as_ref())?)
            }
            OutputTo::Statsd {
                address,
                prefix,
                tags,
            } => Box::new(Statsd::open(address, prefix, *tags)?),
        })
    }

    /// What they are fed is of one segment of a run: its series have a tag `segment` with this number.
    pub fn mark_segment(&mut self, index: u32) {
        self.seconds.segment = Some(index.to_string());
    }

    /// What is odd about them, each where the plan says it.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What a person may want to know before the run: addresses.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Offers a second of the run to every output. Waits for nobody.
    pub fn show(&mut self, moment: &Moment<'_>) {
        if self.workers.is_empty() {
            return;
        }
        let (whole, plain) = self.take(moment);
        for worker in &self.workers {
            worker.offer(&whole, &plain);
        }
    }

    /// A second, and the same without its samples.
    fn take(&mut self, moment: &Moment<'_>) -> (Arc<Second>, Arc<Second>) {
        let whole = Arc::new(self.seconds.take(moment));
        let plain = if whole.samples.lines.is_empty() {
            Arc::clone(&whole)
        } else {
            Arc::new(whole.without_samples())
        };
        (whole, plain)
    }

    /// Delivers what is left, `rest` being what was measured after the last moment; takes at most five seconds. What
    /// became of it all, in the plan's order.
    pub fn finish(&mut self, rest: Option<&Moment<'_>>) -> Vec<OutputSummary> {
        let deadline = Instant::now() + FLUSH;
        let last = rest
            .filter(|_| !self.workers.is_empty())
            .map(|rest| self.take(rest));
        for worker in &mut self.workers {
            worker.end(last.as_ref(), deadline);
        }
        let workers = std::mem::take(&mut self.workers);
        workers
            .into_iter()
            .map(|worker| worker.finish(deadline))
            .collect()
    }

    /// Whether series were folded into one because there were too many.
    #[must_use]
    pub fn has_folded(&self) -> bool {
        self.seconds.has_folded
    }

    /// Waits until whoever has scraped during the run has scraped the end of it, too; at most as long as the plan says.
    /// `on_wait` is called when there is something to wait for.
    pub fn linger(&self, on_wait: impl FnOnce(&str), is_over: impl Fn() -> bool) {
        let waiting: Vec<&Page> = self.pages.iter().filter(|page| page.is_awaited()).collect();
        let Some(longest) = waiting.iter().map(|page| page.linger()).max() else {
            return;
        };
        on_wait(&format!(
            "waiting up to {} s for a last scrape; Ctrl-C ends it",
            longest.as_secs_f64().ceil()
        ));
        let began = Instant::now();
        while !is_over()
            && waiting
                .iter()
                .any(|page| page.is_awaited() && began.elapsed() < page.linger())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn diagnostic(output: &Output, message: &str) -> Diagnostic {
    Diagnostic {
        path: output.location.path.clone(),
        line: output.location.line,
        column: output.location.column,
        message: format!("{}: {message}", output.shown),
        help: None,
    }
}
