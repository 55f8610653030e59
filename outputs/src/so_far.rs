//! What outputs have in common whose receivers are told the run so far, once a second: a delivery that fails costs a point in
//! time and no request, because the next one has it all.

use std::sync::Arc;

use crate::second::Second;
use crate::tally::Tally;
use crate::totals::Totals;
use crate::worker::Sink;

/// Why a delivery failed.
pub(crate) struct Failure {
    pub(crate) text: String,
    /// Whether another one may be taken.
    pub(crate) is_worth_another: bool,
}

/// Tells a receiver the run so far.
pub(crate) trait Tell: Send {
    fn tell(&mut self, totals: &Totals, tally: &Tally) -> Result<(), Failure>;
}

/// The run so far, and whether its receiver has it.
pub(crate) struct SoFar<T> {
    receiver: T,
    totals: Totals,
    /// Points of the latest second.
    pending: usize,
    is_behind: bool,
}

impl<T: Tell> SoFar<T> {
    pub(crate) fn new(receiver: T) -> Self {
        Self {
            receiver,
            totals: Totals::default(),
            pending: 0,
            is_behind: false,
        }
    }

    fn tell(&mut self, tally: &Tally) {
        match self.receiver.tell(&self.totals, tally) {
            Ok(()) => {
                self.is_behind = false;
                tally.delivered(self.pending);
            }
            Err(failure) => {
                self.is_behind = failure.is_worth_another;
                tally.failed(failure.text);
            }
        }
    }
}

impl<T: Tell> Sink for SoFar<T> {
    fn deliver(&mut self, seconds: &[Arc<Second>], tally: &Tally) {
        for (second, left) in seconds.iter().zip((0..seconds.len()).rev()) {
            self.totals.add(second);
            self.pending = second.points.len();
            // A receiver that has failed is told the latest of those that have waited: the rest is in it.
            if left == 0 || !self.is_behind {
                self.tell(tally);
            }
        }
    }

    fn finish(&mut self, tally: &Tally) {
        if self.is_behind {
            self.tell(tally);
        }
    }
}
