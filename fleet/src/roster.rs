//! Who of a running fleet is heard. Others are judged only while the bus itself is: a member hears its own word come back,
//! and as long as it does not, silence says nothing about anybody. Time is given.

use std::collections::BTreeMap;

use crate::message::{Beat, Member, Phase};

/// Between two words of each: the more there are, the less often.
pub(crate) fn interval_ms(of: u32) -> u64 {
    if of <= 200 { 1_000 } else { 2_000 }
}

/// Silence for so long beyond the interval is a loss; noticed, with a tick and a lost word, within 5 s.
const GRACE_MS: u64 = 2_500;
/// What all get to come back when the bus does.
const RETURN_MS: u64 = 3_000;

/// One of the others.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    pub(crate) beat: Option<Beat>,
    heard_ms: u64,
    pub(crate) is_lost: bool,
}

impl Peer {
    pub(crate) fn has_ended(&self) -> bool {
        self.beat
            .as_ref()
            .is_some_and(|beat| beat.phase == Phase::Ended)
    }
}

/// What has happened to one of the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It has said nothing for so long.
    Lost(Member, String),
    /// It is heard again.
    Back(Member),
}

/// The others of a running fleet, or all of it for a watcher.
pub(crate) struct Roster {
    interval_ms: u64,
    peers: BTreeMap<u32, Peer>,
    /// When an own word last came back.
    echo_ms: u64,
    /// Since when they come back without a break.
    since_ms: u64,
}

impl Roster {
    pub(crate) fn new(members: impl IntoIterator<Item = Member>, of: u32, now_ms: u64) -> Self {
        let peer = |member: Member| Peer {
            member,
            beat: None,
            heard_ms: now_ms,
            is_lost: false,
        };
        let peers = members.into_iter().map(|m| (m.index, peer(m)));
        Self {
            interval_ms: interval_ms(of),
            peers: peers.collect(),
            echo_ms: now_ms,
            since_ms: now_ms,
        }
    }

    fn silence_ms(&self) -> u64 {
        self.interval_ms + GRACE_MS
    }

    /// An own word came back.
    pub(crate) fn echo(&mut self, now_ms: u64) {
        if !self.is_bus_alive(now_ms) {
            self.since_ms = now_ms + RETURN_MS;
        }
        self.echo_ms = now_ms;
    }

    /// Whether the bus carries what is said.
    pub(crate) fn is_bus_alive(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.echo_ms) <= self.interval_ms + 1_000
    }

    /// For who was not there at the start: one of the fleet is heard, maybe for the first time.
    pub(crate) fn adopt(&mut self, member: &Member, now_ms: u64) {
        self.peers.entry(member.index).or_insert_with(|| Peer {
            member: member.clone(),
            beat: None,
            heard_ms: now_ms,
            is_lost: false,
        });
    }

    /// One of the others is heard; `false` when it is none of them.
    pub(crate) fn hear(
        &mut self,
        member: &Member,
        beat: Option<&Beat>,
        now_ms: u64,
    ) -> (bool, Option<Change>) {
        let Some(peer) = self.peers.get_mut(&member.index) else {
            return (false, None);
        };
        if peer.member.instance != member.instance {
            return (false, None);
        }
        peer.heard_ms = now_ms;
        if let Some(beat) = beat {
            peer.beat = Some(beat.clone());
        }
        let was_lost = std::mem::take(&mut peer.is_lost);
        (true, was_lost.then(|| Change::Back(peer.member.clone())))
    }

    /// One of the others says that it leaves.
    pub(crate) fn leaves(&mut self, member: &Member, why: &str) -> Option<Change> {
        let peer = self.peers.get_mut(&member.index)?;
        if peer.member.instance != member.instance || peer.is_lost || peer.has_ended() {
            return None;
        }
        peer.is_lost = true;
        Some(Change::Lost(peer.member.clone(), why.to_owned()))
    }

    /// Who is lost by now.
    pub(crate) fn judge(&mut self, now_ms: u64) -> Vec<Change> {
        if !self.is_bus_alive(now_ms) {
            return Vec::new();
        }
        let silence_ms = self.silence_ms();
        let since_ms = self.since_ms;
        let mut lost = Vec::new();
        for peer in self.peers.values_mut() {
            let quiet_ms = now_ms.saturating_sub(peer.heard_ms.max(since_ms));
            if quiet_ms > silence_ms && !peer.is_lost && !peer.has_ended() {
                peer.is_lost = true;
                let why = format!("it has said nothing for {:.1} s", quiet_ms as f64 / 1e3);
                lost.push(Change::Lost(peer.member.clone(), why));
            }
        }
        lost
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    pub(crate) fn peer(&self, index: u32) -> Option<&Peer> {
        self.peers.get(&index)
    }

    /// Those that are there and go on.
    pub(crate) fn going(&self) -> impl Iterator<Item = &Peer> {
        self.peers()
            .filter(|peer| !peer.is_lost && !peer.has_ended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(index: u32) -> Member {
        Member {
            index,
            of: 3,
            instance: u64::from(index) + 10,
            place: "h".to_owned(),
        }
    }

    fn roster() -> Roster {
        Roster::new([member(1), member(2)], 3, 0)
    }

    fn lost(changes: &[Change]) -> Vec<u32> {
        changes
            .iter()
            .filter_map(|change| match change {
                Change::Lost(member, _) => Some(member.index),
                Change::Back(_) => None,
            })
            .collect()
    }

    /// Runs a bus of which 2 falls silent at once; who is lost, and when.
    fn first_loss(r: &mut Roster, echoes: impl Fn(u64) -> bool) -> Option<(u64, Vec<u32>)> {
        for now_ms in (0..30_000).step_by(100) {
            if echoes(now_ms) && now_ms % 1_000 == 0 {
                r.echo(now_ms);
                r.hear(&member(1), None, now_ms);
            }
            let changes = r.judge(now_ms);
            if !changes.is_empty() {
                return Some((now_ms, lost(&changes)));
            }
        }
        None
    }

    #[test]
    fn one_that_is_silent_is_lost_within_5_s_and_can_come_back() {
        let mut r = roster();
        let (at_ms, who) = first_loss(&mut r, |_| true).unwrap_or_default();
        assert!(who == [2] && at_ms < 5_000, "{who:?} {at_ms}");
        assert_eq!(r.going().count(), 1);
        let (known, change) = r.hear(&member(2), None, 9_000);
        assert!(known);
        assert_eq!(change, Some(Change::Back(member(2))));
        let stranger = Member {
            instance: 99,
            ..member(2)
        };
        assert_eq!(r.hear(&stranger, None, 9_000), (false, None));
    }

    #[test]
    fn while_the_bus_is_silent_nobody_is_lost() {
        assert_eq!(first_loss(&mut roster(), |_| false), None);
        // It comes back after 10 s: all get time to do so, too.
        let (at_ms, who) = first_loss(&mut roster(), |now_ms| now_ms >= 10_000).unwrap_or_default();
        assert!(who == [2] && at_ms > 13_000, "{who:?} {at_ms}");
    }

    #[test]
    fn one_that_ended_or_left_is_not_lost_later() {
        let mut r = roster();
        assert!(matches!(
            r.leaves(&member(1), "broke"),
            Some(Change::Lost(..))
        ));
        assert_eq!(r.leaves(&member(1), "broke"), None);
        let ended = Beat {
            phase: Phase::Ended,
            why: None,
            seconds: 1,
            orders: 0,
            figures: crate::message::Figures::default(),
        };
        r.hear(&member(2), Some(&ended), 0);
        for now_ms in (0..20_000).step_by(500) {
            r.echo(now_ms);
            assert_eq!(r.judge(now_ms), []);
        }
    }
}
