//! What segments, watchers and whoever steers say to each other, as bytes: a line with the versions, a line of JSON, and
//! for figures a body of bytes. Reading is total: whoever may publish on a fleet's subjects can send anything.

use loadr_engine::{Aim, RunState, ScenarioPhase};
use serde::{Deserialize, Serialize};

/// The version of these messages.
pub(crate) const VERSION: u32 = 1;
/// The version of the program.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");
/// What a message begins with.
const MAGIC: &str = "loadr-fleet/";
/// The largest message that is read: NATS servers take 1 MiB unless they are told otherwise, and 64 MiB at most.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// The longest first line, and the longest line of JSON.
const FIRST_LINE_MAX: usize = 100;
const JSON_BYTES_MAX: usize = 1 << 20;
/// The longest name of a place, and of a fleet.
pub(crate) const NAME_MAX: usize = 100;

/// One process of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) index: u32,
    pub(crate) of: u32,
    /// Another one for each process.
    pub(crate) instance: u64,
    /// Where it is, for people: host and process.
    pub(crate) place: String,
}

impl Member {
    /// Which one it is, for people.
    pub(crate) fn name(&self) -> String {
        format!("segment {}/{} ({})", self.index, self.of, self.place)
    }
}

/// What all segments of a fleet must have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) plan_hash: String,
    pub(crate) load_hash: String,
    pub(crate) seed: u64,
}

/// How a clock stands to that of segment 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// How much it is ahead.
    pub(crate) ahead_ns: i64,
    /// How far that may be off: half of the quickest way there and back.
    pub(crate) error_ns: u64,
}

/// Where a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Its schedule goes on.
    Running,
    /// No iteration starts any more.
    Ending,
    /// It is over.
    Ended,
}

/// The figures of a second that a status has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) vus: u32,
    pub(crate) requests_per_sec: f64,
    pub(crate) iterations_per_sec: f64,
    pub(crate) failed_per_sec: f64,
    pub(crate) requests_total: u64,
    pub(crate) failed_total: u64,
}

/// What each segment says about once a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) phase: Phase,
    /// Why it ends before its time, if it does of its own accord.
    pub(crate) why: Option<String>,
    /// How many seconds it has handed out.
    pub(crate) seconds: u64,
    /// How many orders it has followed.
    pub(crate) orders: u64,
    pub(crate) figures: Figures,
}

/// What can be asked of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Say how it goes.
    Status,
    /// So many virtual users over all segments.
    Vus {
        /// Which scenario; the only one that can be meant without it.
        scenario: Option<String>,
        /// How many.
        vus: u32,
    },
    /// So many iterations a second over all segments.
    Rate {
        /// Which scenario; the only one that can be meant without it.
        scenario: Option<String>,
        /// How many.
        per_second: f64,
    },
    /// Start no iteration until `Resume`.
    Pause,
    /// Go on.
    Resume,
    /// End gracefully.
    Stop {
        /// Why.
        why: Stop,
    },
}

/// Why a fleet is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Somebody asked for it.
    Steered,
    /// A threshold with `abort_on_fail` failed.
    Threshold(String),
    /// An assert with `on_failure: abort_test` failed.
    Assert(String),
}

/// A run as the segment that speaks for all of them has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) state: RunState,
    pub(crate) elapsed_secs: f64,
    pub(crate) paused_secs: f64,
    /// By scenario, in the plan's order.
    pub(crate) phases: Vec<ScenarioPhase>,
    pub(crate) aims: Vec<Option<Aim>>,
}

/// A body, or a part of one that does not fit into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// From 0.
    pub(crate) at: u32,
    pub(crate) of: u32,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Message {
    /// I am here, and maybe ready.
    Hello {
        me: Member,
        load: Load,
        is_ready: bool,
    },
    /// I leave before the start, or in the middle.
    Bye { me: Member, why: String },
    /// Segment 0: shall we start then?
    Propose {
        me: Member,
        attempt: u64,
        at_ns: u64,
    },
    /// Yes.
    Agree {
        me: Member,
        attempt: u64,
        clock: Option<Clock>,
    },
    /// Segment 0: all have said yes.
    Start {
        me: Member,
        attempt: u64,
        at_ns: u64,
    },
    /// What is your time?
    Time,
    /// Nanoseconds since 1970.
    TimeIs { now_ns: u64 },
    /// I am alive.
    Beat { me: Member, beat: Beat },
    /// The run so far, of the segment that speaks for all.
    State { me: Member, state: State },
    /// Somebody watches, and judges thresholds on all segments.
    Watching { watcher: u64 },
    /// Please do this; answered with [`Message::Done`].
    Do { id: u64, command: Command },
    /// What came of it.
    Done {
        /// Why not.
        error: Option<String>,
        /// How many of how many segments have done it.
        taken: u32,
        of: u32,
        /// Of the fleet, as JSON, where that was asked for.
        status: Option<serde_json::Value>,
    },
    /// The segment that speaks for all: the number is one more than that of the order before.
    Order {
        me: Member,
        number: u64,
        command: Command,
    },
    /// I have not got the orders from this number on.
    MissedOrders { me: Member, from: u64 },
    /// Done.
    Followed {
        me: Member,
        number: u64,
        error: Option<String>,
    },
    /// What is it that runs? Answered with [`Message::Outline`].
    WhatRuns,
    /// What a watcher must know of the run; the body is the program's outline.
    Outline {
        me: Member,
        load: Load,
        started_ms: u64,
        part: Part,
    },
    /// A second of the run, from number 1 on; the body is what it measured.
    Second {
        me: Member,
        number: u64,
        /// Seconds before it that are in it as well.
        before: u64,
        part: Part,
    },
    /// Tell me the seconds from this number on.
    MissedSeconds { from: u64 },
    /// It is over; the body is the summary without what seconds have.
    End {
        me: Member,
        seconds: u64,
        part: Part,
    },
    /// I have all of you.
    HaveAll { watcher: u64 },
}

/// Why a message is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Not one of ours.
    Malformed,
    /// Larger than any of ours.
    TooLarge,
    /// Of another version: of messages, and of the program.
    Other { version: u32, program: String },
}

impl Message {
    /// As bytes.
    pub(crate) fn write(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{MAGIC}{VERSION} {PROGRAM}\n").into_bytes();
        // Cannot fail: there is no map whose keys are no strings, and what is no number is null.
        let json = serde_json::to_vec(self).unwrap_or_default();
        bytes.reserve(json.len() + 1 + body.len());
        bytes.extend(json);
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads a message and its body.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Unread> {
        if bytes.len() > BYTES_MAX {
            return Err(Unread::TooLarge);
        }
        let (first, rest) = line(bytes, FIRST_LINE_MAX).ok_or(Unread::Malformed)?;
        let first = std::str::from_utf8(first).map_err(|_| Unread::Malformed)?;
        let versions = first.strip_prefix(MAGIC).and_then(|v| v.split_once(' '));
        let (version, program) = versions.ok_or(Unread::Malformed)?;
        let version: u32 = version.parse().map_err(|_| Unread::Malformed)?;
        if version != VERSION {
            return Err(Unread::Other {
                version,
                program: plain(program),
            });
        }
        let (json, body) = line(rest, JSON_BYTES_MAX).ok_or(Unread::Malformed)?;
        let message: Self = serde_json::from_slice(json).map_err(|_| Unread::Malformed)?;
        // Only the same program is known to split the load the same way.
        if program != PROGRAM && matches!(message, Self::Hello { .. }) {
            return Err(Unread::Other {
                version,
                program: plain(program),
            });
        }
        match message.sound() {
            true => Ok((message, body)),
            false => Err(Unread::Malformed),
        }
    }

    /// Who says it, where that is a segment.
    pub(crate) fn from(&self) -> Option<&Member> {
        match self {
            Self::Hello { me, .. }
            | Self::Bye { me, .. }
            | Self::Propose { me, .. }
            | Self::Agree { me, .. }
            | Self::Start { me, .. }
            | Self::Beat { me, .. }
            | Self::State { me, .. }
            | Self::Order { me, .. }
            | Self::MissedOrders { me, .. }
            | Self::Followed { me, .. }
            | Self::Outline { me, .. }
            | Self::Second { me, .. }
            | Self::End { me, .. } => Some(me),
            Self::Time
            | Self::TimeIs { .. }
            | Self::Watching { .. }
            | Self::Do { .. }
            | Self::Done { .. }
            | Self::WhatRuns
            | Self::MissedSeconds { .. }
            | Self::HaveAll { .. } => None,
        }
    }

    /// Whether it is what one of us could say.
    fn sound(&self) -> bool {
        let is_member = self.from().is_none_or(|me| {
            me.of <= loadr_engine::segment::SEGMENTS_MAX
                && me.index < me.of
                && me.place.len() <= NAME_MAX
        });
        let is_part = |part: &Part| part.at < part.of;
        is_member
            && match self {
                Self::Second {
                    number,
                    before,
                    part,
                    ..
                } => *number > 0 && before < number && is_part(part),
                Self::Outline { part, .. } | Self::End { part, .. } => is_part(part),
                Self::Order { number, .. } => *number > 0,
                Self::Bye { why, .. } => why.len() <= 1000,
                _ => true,
            }
    }
}

/// The bytes up to a line break that comes soon enough, and what is after it.
fn line(bytes: &[u8], most: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(most).position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// What can be shown of a text that came from anywhere.
pub(crate) fn plain(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(NAME_MAX)];
    loadr_engine::figures::inert(cut)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn me(index: u32, of: u32) -> Member {
        Member {
            index,
            of,
            instance: u64::MAX,
            place: "host, process 7".to_owned(),
        }
    }

    fn second(number: u64, before: u64, part: Part) -> Message {
        Message::Second {
            me: me(1, 2),
            number,
            before,
            part,
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let whole = Part { at: 0, of: 1 };
        for message in [
            Message::Time,
            second(7, 0, whole),
            Message::Do {
                id: u64::MAX,
                command: Command::Rate {
                    scenario: Some("a\nb".to_owned()),
                    per_second: 2.5,
                },
            },
            Message::Bye {
                me: me(0, 1),
                why: "it\nbroke".to_owned(),
            },
        ] {
            let bytes = message.write(b"\n\x00body\n");
            assert_eq!(Message::read(&bytes), Ok((message, &b"\n\x00body\n"[..])));
        }
    }

    #[test]
    fn what_cannot_be_is_passed_over() {
        let whole = Part { at: 0, of: 1 };
        for message in [
            second(0, 0, whole),
            second(3, 3, whole),
            second(3, 0, Part { at: 1, of: 1 }),
            Message::Bye {
                me: me(2, 2),
                why: String::new(),
            },
            Message::Bye {
                me: Member {
                    place: "x".repeat(NAME_MAX + 1),
                    ..me(0, 2)
                },
                why: String::new(),
            },
        ] {
            assert_eq!(
                Message::read(&message.write(&[])),
                Err(Unread::Malformed),
                "{message:?}"
            );
        }
        for bytes in [
            &b""[..],
            b"loadr-fleet/1 0.1.0\n{}\n",
            b"loadr-fleet/1 0.1.0\n{\"is\":\"time\"}",
            b"loadr-fleet/x 0.1.0\n{\"is\":\"time\"}\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Message::read(bytes), Err(Unread::Malformed));
        }
        let large = vec![b'x'; BYTES_MAX + 1];
        assert_eq!(Message::read(&large), Err(Unread::TooLarge));
    }

    #[test]
    fn another_version_says_which_it_is() {
        let later = b"loadr-fleet/2 0.9.1\nwhatever it has";
        let other = |version, program: &str| {
            Err(Unread::Other {
                version,
                program: program.to_owned(),
            })
        };
        assert_eq!(Message::read(later), other(2, "0.9.1"));
        let hello = Message::Hello {
            me: me(0, 2),
            load: Load {
                plan_hash: String::new(),
                load_hash: String::new(),
                seed: 1,
            },
            is_ready: false,
        };
        let text = String::from_utf8(hello.write(&[])).unwrap();
        let older = text.replacen(PROGRAM, "0.0.9\u{1b}[31m", 1);
        let Err(Unread::Other { program, .. }) = Message::read(older.as_bytes()) else {
            panic!("it is of another program");
        };
        assert!(
            program.starts_with("0.0.9") && !program.contains('\u{1b}'),
            "{program:?}"
        );
    }

    proptest! {
        #[test]
        fn anything_is_read_or_passed_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let _ = Message::read(&bytes);
            let mut like = second(9, 2, Part { at: 1, of: 3 }).write(&bytes);
            for (at, byte) in changes {
                let at = at.index(like.len());
                like[at] = byte;
            }
            let end = cut.index(like.len() + 1);
            let _ = Message::read(&like[..end]);
        }
    }
}
