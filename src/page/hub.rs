//! What the readers of the page are told: the run so far when they come, then each second, then the end. The housekeeping
//! thread puts it in, a thread for each reader takes it out; a reader that is too far behind is let go.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use loadr_engine::Status;
use serde_json::json;

use crate::watch::{About, Frame};

/// The seconds that a reader may be behind.
const BEHIND_MAX: usize = 32;
/// The most that is kept of the run so far: when it is reached, every other second of it goes.
const PAST_BYTES_MAX: usize = 2 << 20;
/// What readers get, at the end, to take what they have not read yet.
const FAREWELL: Duration = Duration::from_secs(3);
/// A browser that was given the page so long ago, and did not ask for the seconds, will not.
const SETTLING: Duration = Duration::from_secs(2);
/// A reader hears at least this often, so that both sides learn of a connection that is gone.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Between the housekeeping thread and those that serve readers.
pub(super) struct Hub {
    about: Arc<str>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The figures of the seconds so far as JSON, oldest first.
    past: Vec<Arc<str>>,
    past_bytes: usize,
    /// The latest seconds whole, as events.
    latest: VecDeque<Arc<str>>,
    /// How many seconds there were before the first of `latest`.
    before: u64,
    /// The summary file.
    summary: Option<Arc<str>>,
    /// Requests that are being answered, readers among them.
    busy: usize,
    page_given: Option<Instant>,
    reader_came: Option<Instant>,
}

/// What a reader is told next.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// An event.
    Event(Arc<str>),
    /// Nothing has happened.
    Nothing,
    /// The end; nothing comes after it.
    End(Arc<str>),
    /// The reader is too slow.
    TooSlow,
}

impl Hub {
    pub(super) fn new(about: &About) -> Self {
        let about = json!({ "about": about, "version": env!("CARGO_PKG_VERSION") });
        Self {
            about: event("about", &about.to_string()),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A second has passed.
    pub(super) fn see(&self, frame: &Frame, status: &Status) {
        let (Ok(point), Ok(frame)) = (
            serde_json::to_string(&frame.point),
            serde_json::to_value(frame),
        ) else {
            return;
        };
        let second = json!({
            "frame": frame,
            "state": status.state,
            "scenarios": status.scenarios,
        })
        .to_string();
        let mut state = self.state();
        state.past_bytes += point.len();
        state.past.push(point.into());
        if state.past_bytes > PAST_BYTES_MAX {
            let mut is_kept = false;
            state.past.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            state.past_bytes = state.past.iter().map(|point| point.len()).sum();
        }
        state.latest.push_back(event("second", &second));
        if state.latest.len() > BEHIND_MAX {
            state.latest.pop_front();
            state.before += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The run is over.
    pub(super) fn end(&self, summary: String) {
        self.state().summary = Some(summary.into());
        self.changed.notify_all();
    }

    /// The summary file, when the run is over.
    pub(super) fn summary(&self) -> Option<Arc<str>> {
        self.state().summary.clone()
    }

    /// A browser was given the page, and will ask for the seconds.
    pub(super) fn page_given(&self) {
        self.state().page_given = Some(Instant::now());
    }

    /// Held while a request is answered.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.state().busy += 1;
        Busy(Arc::clone(self))
    }

    /// A reader comes: what it is told first, and from which second on it is told the rest.
    pub(super) fn greet(&self) -> (String, u64) {
        let mut state = self.state();
        state.reader_came = Some(Instant::now());
        // The last second comes whole, as the next event.
        let next = (state.before + state.latest.len() as u64).saturating_sub(1);
        let earlier = state.past.len().saturating_sub(1);
        let mut text = format!("retry: 1000\n\n{}", self.about);
        let points = &state.past[..earlier];
        text.reserve(state.past_bytes + points.len() + 32);
        text.push_str("event: past\ndata: [");
        for (at, point) in points.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(point);
        }
        text.push_str("]\n\n");
        (text, next)
    }

    /// Waits for what a reader is told next. `next` is moved on.
    pub(super) fn tell(&self, next: &mut u64) -> Told {
        let state = self.state();
        let has_more = |state: &State| *next < state.before + state.latest.len() as u64;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, HEARTBEAT, |state| {
                !has_more(state) && state.summary.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if has_more(&state) {
            let Some(at) = next.checked_sub(state.before) else {
                return Told::TooSlow;
            };
            *next += 1;
            return Told::Event(Arc::clone(&state.latest[at as usize]));
        }
        match &state.summary {
            Some(summary) => Told::End(event("end", &one_line(summary))),
            None => Told::Nothing,
        }
    }

    /// Waits until every reader has been told the end, and a browser that has the page but not the seconds has had a
    /// chance to ask.
    pub(super) fn wait_until_told(&self) {
        let is_told = |state: &State| {
            let is_settling = state.page_given.is_some_and(|given| {
                given.elapsed() < SETTLING && state.reader_came.is_none_or(|came| came < given)
            });
            state.busy == 0 && !is_settling
        };
        let began = Instant::now();
        let mut state = self.state();
        while !is_told(&state) && began.elapsed() < FAREWELL {
            (state, _) = self
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// See [`Hub::busy`].
pub(super) struct Busy(Arc<Hub>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.changed.notify_all();
    }
}

/// An event as the stream has it. `data` must be one line.
fn event(name: &str, data: &str) -> Arc<str> {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// JSON without the line breaks of its indentation; within strings it has none.
fn one_line(json: &str) -> String {
    json.lines().map(str::trim_start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample;
    use loadr_engine::RunState;

    fn hub() -> Arc<Hub> {
        Arc::new(Hub::new(&sample::about()))
    }

    #[test]
    fn a_reader_is_told_the_past_once_then_every_second_and_the_end() {
        let hub = hub();
        for second in 1..=3 {
            hub.see(
                &sample::frame(f64::from(second)),
                &sample::status(RunState::Running),
            );
        }
        let (text, mut next) = hub.greet();
        let past = text.split("event: past\ndata: ").nth(1).unwrap();
        let past: serde_json::Value = serde_json::from_str(past.trim()).unwrap();
        let at: Vec<_> = past
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["at_secs"].as_f64())
            .collect();
        assert_eq!(at, [Some(1.0), Some(2.0)]);
        hub.see(&sample::frame(4.0), &sample::status(RunState::Stopping));
        for second in [3, 4] {
            let Told::Event(event) = hub.tell(&mut next) else {
                panic!("a second is there");
            };
            assert!(
                event.contains(&format!("\"at_secs\":{second}.0")),
                "{event}"
            );
        }
        hub.end("{\n  \"a\": \"b\"\n}\n".to_owned());
        let end = Told::End("event: end\ndata: {\"a\": \"b\"}\n\n".into());
        assert_eq!(hub.tell(&mut next), end);
    }

    #[test]
    fn a_reader_that_falls_behind_is_let_go() {
        let hub = hub();
        let (_, mut next) = hub.greet();
        for second in 0..=BEHIND_MAX {
            hub.see(
                &sample::frame(second as f64),
                &sample::status(RunState::Running),
            );
        }
        assert_eq!(hub.tell(&mut next), Told::TooSlow);
    }

    #[test]
    fn the_past_of_a_long_run_is_thinned_and_stays_in_order() {
        let hub = hub();
        for second in 0..20_000 {
            hub.see(
                &sample::frame(f64::from(second)),
                &sample::status(RunState::Running),
            );
        }
        let (text, _) = hub.greet();
        assert!(text.len() < PAST_BYTES_MAX + (16 << 10), "{}", text.len());
        let past = text.split("event: past\ndata: ").nth(1).unwrap();
        let past: Vec<serde_json::Value> = serde_json::from_str(past.trim()).unwrap();
        assert!(past.len() > 1000);
        assert!(past.is_sorted_by_key(|p| p["at_secs"].as_f64().unwrap() as u64));
    }

    #[test]
    fn the_end_is_waited_for_only_while_somebody_reads() {
        let hub = hub();
        let began = Instant::now();
        hub.wait_until_told();
        assert!(began.elapsed() < FAREWELL / 2);
        let busy = hub.busy();
        let waiting = std::thread::spawn({
            let hub = Arc::clone(&hub);
            move || hub.wait_until_told()
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(busy);
        waiting.join().unwrap();
    }
}
