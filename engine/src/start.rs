//! When a run begins: at once, at an instant, or when others are ready. Asked once, when all that can be done before the
//! first request is done.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::now_ns;
use crate::control::Control;
use crate::shard::rfc3339_ms;

/// So long before the start the shards are let go; from there they wait for it on their own timers.
const RELEASE: Duration = Duration::from_millis(200);
/// How often a wait looks whether the run was stopped.
const LOOK: Duration = Duration::from_millis(20);

/// When a run begins.
#[derive(Clone, Default)]
pub enum Start {
    /// As soon as it is ready.
    #[default]
    AtOnce,
    /// At an instant. A run that is ready only later does not begin.
    At(SystemTime),
    /// At the instant that somebody says.
    When(Arc<dyn Gate>),
}

/// Who says when a run begins: processes that wait for each other.
pub trait Gate: Send + Sync {
    /// Called once, on the thread that called [`run`](fn@crate::run), when everything is loaded, compiled, resolved and
    /// tried and every shard stands ready: the instant at which the run is to begin, which should be some 200 ms from now
    /// at least. One that has passed is an error, as it is for [`Start::At`].
    ///
    /// It has to return soon when [`Control::is_stopped`]; what it returns then does not matter, and the run ends without
    /// a request, with its summary.
    ///
    /// # Errors
    /// Why the run cannot begin, for people.
    fn meet(&self, control: &Control) -> Result<SystemTime, String>;
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtOnce => f.write_str("AtOnce"),
            Self::At(at) => f.debug_tuple("At").field(at).finish(),
            Self::When(_) => f.write_str("When"),
        }
    }
}

/// A start, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// By the clock of the data path.
    pub(crate) ns: u64,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

impl Started {
    pub(crate) fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// An instant that may be to come.
    fn at(at: SystemTime) -> Self {
        let (wall, ns) = (SystemTime::now(), now_ns());
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let ns = match at.duration_since(wall) {
            Ok(ahead) => ns.saturating_add(nanos(ahead)),
            Err(behind) => ns.saturating_sub(nanos(behind.duration())),
        };
        Self {
            ns,
            unix_ms: unix_ms(at),
        }
    }
}

impl Start {
    /// Waits until shortly before the start, or until the run is stopped; the start.
    ///
    /// # Errors
    /// Why there is none: the instant has passed, or what the gate says.
    pub(crate) fn wait(&self, control: &Control) -> Result<Started, String> {
        let met = match self {
            Self::AtOnce => return Ok(Started::now()),
            Self::At(at) => Ok(*at),
            Self::When(gate) => gate.meet(control),
        };
        if control.is_stopped() {
            return Ok(Started::now());
        }
        let at = met?;
        check(at)?;
        loop {
            if control.is_stopped() {
                return Ok(Started::now());
            }
            // Each time anew: a clock that is set meanwhile counts.
            let ahead = at.duration_since(SystemTime::now()).unwrap_or_default();
            if ahead <= RELEASE {
                return Ok(Started::at(at));
            }
            thread::sleep((ahead - RELEASE).min(LOOK));
        }
    }
}

/// Whether an instant is still to come.
///
/// # Errors
/// By how much it is not.
fn check(at: SystemTime) -> Result<(), String> {
    match SystemTime::now().duration_since(at) {
        Err(_) => Ok(()),
        Ok(late) => Err(format!(
            "the run was to start at {}, and everything was ready for it only {:.3} s later: name a later start",
            rfc3339_ms(unix_ms(at)),
            late.as_secs_f64()
        )),
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::StopReason;

    struct Says(Result<SystemTime, String>);

    impl Gate for Says {
        fn meet(&self, _: &Control) -> Result<SystemTime, String> {
            self.0.clone()
        }
    }

    #[test]
    fn a_start_is_at_the_instant_by_both_clocks() {
        let at = SystemTime::now() + Duration::from_millis(600);
        let before = now_ns();
        for start in [Start::At(at), Start::When(Arc::new(Says(Ok(at))))] {
            let control = Control::new(1);
            let started = start.wait(&control).unwrap();
            assert_eq!(started.unix_ms, unix_ms(at));
            // Let go before it, if this thread was not held up.
            assert!(SystemTime::now() + RELEASE >= at);
            let ahead_ms = (started.ns as f64 - before as f64) / 1e6;
            assert!((550.0..650.0).contains(&ahead_ms), "{ahead_ms}");
        }
    }

    #[test]
    fn a_start_that_has_passed_is_refused_with_how_long_ago_it_was() {
        let at = SystemTime::now() - Duration::from_secs(5);
        let error = Start::At(at).wait(&Control::new(1)).unwrap_err();
        assert!(
            error.contains("5.0") && error.contains("later start"),
            "{error}"
        );
        let gate = Says(Err("nobody came".to_owned()));
        let error = Start::When(Arc::new(gate)).wait(&Control::new(1));
        assert_eq!(error.unwrap_err(), "nobody came");
    }

    #[test]
    fn a_run_that_is_stopped_waits_no_longer_and_is_no_error() {
        let control = Control::new(1);
        control.stop(StopReason::Interrupted);
        let far = SystemTime::now() + Duration::from_secs(3600);
        let gate = Says(Err("interrupted".to_owned()));
        for start in [Start::At(far), Start::When(Arc::new(gate))] {
            let started = start.wait(&control).unwrap();
            assert!(started.ns <= now_ns());
        }
    }
}
