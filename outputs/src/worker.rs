//! An output's thread and the queue that feeds it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use loadr_config::{Output, OutputTo, Program, Secrets};
use loadr_engine::{OutputSummary, cores};

use crate::second::Second;
use crate::tally::Tally;

/// How many seconds wait at most. Longer than one delivery may take, unless the plan says so.
const QUEUE: usize = 16;

/// The most samples that wait in the queue: 112 MiB.
const SAMPLES_MAX: usize = 2 << 20;

/// Where an output's seconds go. All of it runs on the output's thread.
pub(crate) trait Sink: Send {
    /// Delivers seconds, oldest first, and counts what it delivered.
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally);

    /// Delivers what is left; there are no more seconds.
    fn finish(&mut self, _tally: &Tally) {}
}

/// The housekeeping thread's end of an output.
pub(crate) struct Worker {
    shown: String,
    tally: Arc<Tally>,
    queue: Option<SyncSender<Arc<Second>>>,
    done: Receiver<()>,
    redact: Arc<Secrets>,
    /// Whether it takes each request by itself.
    wants_samples: bool,
    /// Samples that wait.
    waiting: Arc<AtomicUsize>,
}

impl Worker {
    pub(crate) fn start(
        output: &Output,
        mut sink: Box<dyn Sink>,
        program: &Program,
        shard_cores: &[usize],
    ) -> io::Result<Self> {
        let tally = Arc::new(Tally::default());
        let (queue, inbox) = sync_channel::<Arc<Second>>(QUEUE);
        let (ended, done) = channel();
        let own = Arc::clone(&tally);
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        let shard_cores = shard_cores.to_vec();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let _aside = cores::stand_aside(&shard_cores);
                let mut seconds = Vec::new();
                while let Ok(second) = inbox.recv() {
                    seconds.push(second);
                    seconds.extend(inbox.try_iter());
                    sink.deliver(&seconds, &own);
                    let samples = seconds.iter().map(|second| second.samples.lines.len());
                    taken.fetch_sub(samples.sum(), Ordering::Relaxed);
                    seconds.clear();
                }
                sink.finish(&own);
                // Nobody waits any more where it took too long.
                let _ = ended.send(());
            })?;
        Ok(Self {
            shown: output.shown.clone(),
            tally,
            queue: Some(queue),
            done,
            redact: Arc::clone(&program.secrets),
            wants_samples: matches!(output.to, OutputTo::Json { samples: true, .. }),
            waiting,
        })
    }

    /// Offers a second, which is there with its samples and without; where there is no room it is dropped.
    pub(crate) fn offer(&self, whole: &Arc<Second>, plain: &Arc<Second>) {
        let second = self.chosen(whole, plain);
        if let Some(queue) = &self.queue
            && let Err(refused) = queue.try_send(second)
        {
            self.refused(refused);
        }
    }

    /// Counts the second as given; the form of it that there is room for.
    fn chosen(&self, whole: &Arc<Second>, plain: &Arc<Second>) -> Arc<Second> {
        let mut given = whole.points.len() as u64;
        let samples = whole.samples.lines.len();
        let mut second = plain;
        if self.wants_samples {
            given += samples as u64 + whole.samples.dropped;
            if self.waiting.load(Ordering::Relaxed) + samples <= SAMPLES_MAX {
                self.waiting.fetch_add(samples, Ordering::Relaxed);
                second = whole;
            }
        }
        self.tally.given.fetch_add(given, Ordering::Relaxed);
        Arc::clone(second)
    }

    fn refused(&self, error: TrySendError<Arc<Second>>) {
        let (TrySendError::Full(second) | TrySendError::Disconnected(second)) = error;
        self.waiting
            .fetch_sub(second.samples.lines.len(), Ordering::Relaxed);
    }

    /// Says that no seconds come after this one.
    pub(crate) fn end(&mut self, last: Option<&(Arc<Second>, Arc<Second>)>, deadline: Instant) {
        let _ = self.tally.deadline.set(deadline);
        let Some(queue) = self.queue.take() else {
            return;
        };
        let Some((whole, plain)) = last else { return };
        let mut last = self.chosen(whole, plain);
        while let Err(TrySendError::Full(back)) = queue.try_send(last) {
            if Instant::now() >= deadline {
                return;
            }
            last = back;
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it is done, or the deadline has passed: then it is left to end with the process.
    pub(crate) fn finish(self, deadline: Instant) -> OutputSummary {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_done = self.done.recv_timeout(left).is_ok();
        if !is_done {
            self.tally
                .failed("it was not done when the run's time for outputs was over".to_owned());
        }
        let points = self.tally.given.load(Ordering::Relaxed);
        let delivered = self.tally.delivered.load(Ordering::Relaxed);
        let (failures, error) = self.tally.failures();
        OutputSummary {
            name: self.redact.redact(&self.shown).into_owned(),
            points,
            dropped: points.saturating_sub(delivered),
            failures,
            error: error.map(|error| self.redact.redact(&error).into_owned()),
        }
    }
}
