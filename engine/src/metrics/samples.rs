//! Every request by itself, for outputs that want them: kept in a bounded list beside the record and handed over with
//! it. A record has none of this unless the plan asks for it.

use loadr_config::{OutputTo, Program, RequestId};

use super::record::Sample;
use crate::error_kind::ErrorKind;

/// The most requests of one shard between two handovers that are kept; more are counted as dropped. 15 MiB, of which
/// the pages that are not used cost nothing.
const LINES_MAX: usize = 1 << 18;

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct RequestSample {
    /// When its end was reaped, in nanoseconds since the start of the run.
    pub end_ns: u64,
    /// Its step.
    pub step: RequestId,
    /// 0 when no response came.
    pub status: u16,
    /// Why it failed, if it did.
    pub error: Option<ErrorKind>,
    /// Whether it was sent, so that it has a duration at all.
    pub was_sent: bool,
    /// By [`RequestSample::PHASES`], in units of 100 ns; longer than 429 s counts as that.
    pub phases: [u32; 7],
    /// Bytes on the wire.
    pub sent_bytes: u32,
    /// Bytes on the wire.
    pub received_bytes: u32,
}

impl RequestSample {
    /// What its phases are called.
    pub const PHASES: [&'static str; 7] = [
        "late",
        "blocked",
        "connecting",
        "tls_handshaking",
        "sending",
        "waiting",
        "receiving",
    ];
}

/// The requests since the last handover.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub(crate) lines: Vec<RequestSample>,
    pub(crate) dropped: u64,
    /// When the completions were reaped that are being acted on.
    pub(crate) now_ns: u64,
}

impl Samples {
    /// `None` when no output of the program wants them.
    pub(crate) fn wanted(program: &Program) -> Option<Box<Self>> {
        let wants = |to: &OutputTo| matches!(to, OutputTo::Json { samples: true, .. });
        let is_wanted = program.outputs.iter().any(|output| wants(&output.to));
        is_wanted.then(Box::default)
    }

    pub(crate) fn push(&mut self, step: RequestId, sample: &Sample) {
        if self.lines.len() >= LINES_MAX {
            self.dropped += 1;
            return;
        }
        if self.lines.capacity() == 0 {
            // Once in a record's life, which goes round.
            self.lines.reserve_exact(LINES_MAX);
        }
        let tenths = |ns: u64| u32::try_from(ns / 100).unwrap_or(u32::MAX);
        let bytes = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        self.lines.push(RequestSample {
            end_ns: self.now_ns,
            step,
            status: sample.status,
            error: sample.error,
            was_sent: sample.was_sent,
            phases: [
                tenths(sample.late),
                tenths(sample.blocked),
                tenths(sample.connecting),
                tenths(sample.tls.unwrap_or(0)),
                tenths(sample.sending),
                tenths(sample.waiting),
                tenths(sample.receiving),
            ],
            sent_bytes: bytes(sample.sent_bytes),
            received_bytes: bytes(sample.received_bytes),
        });
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.dropped = 0;
    }

    /// Adds those of another shard; `start_ns` is when the run began, by the clock of their `end_ns`.
    pub(crate) fn add(&mut self, other: &Self, start_ns: u64) {
        self.dropped += other.dropped;
        self.lines
            .extend(other.lines.iter().map(|line| RequestSample {
                end_ns: line.end_ns.saturating_sub(start_ns),
                ..*line
            }));
    }

    /// Adds those of before.
    pub(crate) fn add_before(&mut self, mut before: Self) {
        self.dropped += before.dropped;
        before.lines.append(&mut self.lines);
        self.lines = before.lines;
    }
}
