//! The thread that moves the engines' epochs, by which guests are cut.
//!
//! It ticks once a millisecond while anything can call a guest, and sleeps without a wake-up otherwise. A late tick is not
//! made up for: two quick ticks would cut a call that has only just begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// The time between two ticks.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks a duration is, so that a call is never cut early: rounded up, and one more because the first tick
/// may come at once.
pub(crate) fn ticks(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(millis).unwrap_or(u64::MAX).min(u64::MAX >> 2) + 1
}

/// What the ticks until a deadline are worth in nanoseconds.
pub(crate) fn ticks_to_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(TICK.as_nanos() as u64)
}

struct Shared {
    /// The engine's epoch as we count it; the engine does not tell its own.
    now: AtomicU64,
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    users: usize,
    stop: bool,
    /// Engines beside the first, for as long as they live.
    others: Vec<EngineWeak>,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        // Nothing panics while the lock is held, and each assignment is whole.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread and its switch.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            now: AtomicU64::new(0),
            control: Mutex::new(Control::default()),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &engine)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Moves another engine's epoch too, for as long as that engine lives.
    pub(crate) fn also(&self, engine: EngineWeak) {
        self.shared.control().others.push(engine);
    }

    /// Keeps the ticks coming for as long as the guard lives. Needed around everything that runs guest code.
    pub(crate) fn user(&self) -> TickerUser {
        self.shared.control().users += 1;
        self.shared.changed.notify_one();
        TickerUser {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.control().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread has nothing that panics; were it to, nothing is left to do about it here.
            let _ = thread.join();
        }
    }
}

/// One user of the ticks.
pub(crate) struct TickerUser {
    shared: Arc<Shared>,
}

impl TickerUser {
    /// The number of ticks so far.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now.load(Ordering::Relaxed)
    }
}

impl Drop for TickerUser {
    fn drop(&mut self) {
        self.shared.control().users -= 1;
    }
}

fn run(shared: &Shared, engine: &Engine) {
    loop {
        {
            let mut control = shared.control();
            while control.users == 0 && !control.stop {
                control = shared
                    .changed
                    .wait(control)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if control.stop {
                return;
            }
        }
        std::thread::sleep(TICK);
        shared.now.fetch_add(1, Ordering::Relaxed);
        engine.increment_epoch();
        shared.control().others.retain(|other| {
            let other = other.upgrade();
            if let Some(other) = &other {
                other.increment_epoch();
            }
            other.is_some()
        });
    }
}
