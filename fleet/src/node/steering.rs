//! What all are told to do, in one order, and how the whole fleet goes.

use loadr_engine::StopReason;
use serde_json::json;

use super::Node;
use crate::message::{Beat, Command, Member, Message, Phase, Stop};
use crate::orders::{Given, Next, Outcome};
use crate::roster::Roster;

impl Node {
    pub(super) fn ask_orders(&mut self, now_ms: u64) {
        let Some(roster) = &self.roster else {
            return;
        };
        if now_ms < self.wake.missed_ms {
            return;
        }
        let mine = self.orders.count();
        let ahead = roster
            .going()
            .find(|peer| peer.beat.as_ref().is_some_and(|beat| beat.orders > mine));
        if let Some(peer) = ahead {
            self.wake.missed_ms = now_ms + 500;
            let missed = Message::MissedOrders {
                me: self.me.clone(),
                from: mine + 1,
            };
            self.link
                .send(&self.link.subjects.to(peer.member.index), &missed);
        }
    }

    /// Does it here and has all others do it.
    pub(super) fn give(&mut self, id: u64, command: Command, reply: Option<String>, now_ms: u64) {
        let of = self.me.of;
        if let Err(error) = self.obey(&command) {
            let outcome = Outcome {
                error: Some(error),
                taken: 0,
                of,
            };
            return self.answer(id, reply.as_deref(), &outcome);
        }
        let number = self.orders.push(command.clone());
        let me = self.me.clone();
        self.send(&Message::Order {
            me,
            number,
            command,
        });
        let others = self
            .roster
            .iter()
            .flat_map(|r| r.going().map(|p| p.member.index));
        let given = Given::new(id, reply, number, others, of, now_ms);
        self.given.push(given);
        self.answer_given(now_ms);
    }

    fn obey(&self, command: &Command) -> Result<(), String> {
        let control = &self.control;
        let done = match command {
            Command::Status => Ok(()),
            Command::Vus { scenario, vus } => control.set_vus(scenario.as_deref(), *vus),
            Command::Rate {
                scenario,
                per_second,
            } => control.set_rate(scenario.as_deref(), *per_second),
            Command::Pause => control.pause(),
            Command::Resume => control.resume(),
            Command::Stop { why } => {
                control.stop(match why {
                    Stop::Steered => StopReason::Steered,
                    Stop::Threshold(text) => StopReason::Threshold(text.clone()),
                    Stop::Assert(name) => StopReason::Assert(name.clone()),
                });
                Ok(())
            }
        };
        done.map_err(|error| error.to_string())
    }

    pub(super) fn answer_given(&mut self, now_ms: u64) {
        let mut answers = Vec::new();
        self.given.retain(|given| match given.outcome(now_ms) {
            Some(outcome) => {
                answers.push((given.id, given.reply.clone(), outcome));
                false
            }
            None => true,
        });
        for (id, reply, outcome) in answers {
            self.answer(id, reply.as_deref(), &outcome);
        }
    }

    fn answer(&mut self, id: u64, reply: Option<&str>, outcome: &Outcome) {
        self.asked.answered(id, outcome);
        if let Some(reply) = reply {
            self.done(reply, outcome, None);
        }
    }

    fn done(&self, reply: &str, outcome: &Outcome, status: Option<serde_json::Value>) {
        let done = Message::Done {
            error: outcome.error.clone(),
            taken: outcome.taken,
            of: outcome.of,
            status,
        };
        self.link.send(reply, &done);
    }

    /// Somebody asks for something.
    pub(super) fn asked(&mut self, id: u64, command: Command, reply: Option<&str>, now_ms: u64) {
        // The first that goes on speaks for all; before the start that is nobody.
        if !self.is_first() {
            return;
        }
        if command == Command::Status {
            if let Some(reply) = reply {
                let outcome = Outcome {
                    error: None,
                    taken: self.me.of,
                    of: self.me.of,
                };
                self.done(reply, &outcome, Some(self.status()));
            }
            return;
        }
        match self.asked.is_new(id) {
            Ok(()) => self.give(id, command, reply.map(str::to_owned), now_ms),
            Err(Some(outcome)) => self.answer(id, reply, &outcome),
            Err(None) => {}
        }
    }

    /// How the whole fleet goes.
    pub(super) fn status(&self) -> serde_json::Value {
        let mut status = serde_json::to_value(self.control.status()).unwrap_or_default();
        let mine = self.beat();
        let peers = self.roster.iter().flat_map(Roster::peers);
        let mut rows: Vec<(&Member, Option<&Beat>, bool)> = peers
            .map(|peer| (&peer.member, peer.beat.as_ref(), peer.is_lost))
            .collect();
        rows.push((&self.me, Some(&mine), false));
        rows.sort_by_key(|(member, ..)| member.index);
        let (mut vus, mut rps, mut ips, mut failed_ps) = (0_u64, 0.0, 0.0, 0.0);
        let (mut requests, mut failed) = (0_u64, 0_u64);
        let mut segments = Vec::new();
        for (member, beat, is_lost) in rows {
            let state = match beat {
                _ if is_lost => "lost",
                None => "starting",
                Some(beat) => match beat.phase {
                    Phase::Running => "running",
                    Phase::Ending => "ending",
                    Phase::Ended => "ended",
                },
            };
            let figures = beat.map(|beat| beat.figures).unwrap_or_default();
            requests = requests.saturating_add(figures.requests_total);
            failed = failed.saturating_add(figures.failed_total);
            if matches!(state, "running" | "ending") {
                vus += u64::from(figures.vus);
                rps += figures.requests_per_sec;
                ips += figures.iterations_per_sec;
                failed_ps += figures.failed_per_sec;
            }
            segments.push(json!({
                "index": member.index,
                "place": crate::message::plain(&member.place),
                "state": state,
                "vus": figures.vus,
                "requests_per_sec": figures.requests_per_sec,
            }));
        }
        if let Some(status) = status.as_object_mut() {
            let elapsed_secs = status.get("elapsed_secs").cloned();
            status.insert("fleet".to_owned(), json!(self.fleet));
            status.insert("segments".to_owned(), json!(segments));
            status.insert(
                "last_second".to_owned(),
                json!({
                    "elapsed_secs": elapsed_secs,
                    "vus": vus,
                    "requests_per_sec": rps,
                    "iterations_per_sec": ips,
                    "error_rate": if rps > 0.0 { failed_ps / rps } else { 0.0 },
                    "latency_p50_ms": null,
                    "latency_p99_ms": null,
                    "requests_total": requests,
                    "failed_total": failed,
                }),
            );
        }
        status
    }

    pub(super) fn ordered(&mut self, from: &Member, number: u64, command: &Command, now_ms: u64) {
        let Some(roster) = &self.roster else {
            return;
        };
        let is_known = roster
            .peer(from.index)
            .is_some_and(|peer| peer.member.instance == from.instance);
        if !is_known {
            return;
        }
        let error = match self.orders.next(number) {
            Next::Missing(_) => {
                self.wake.missed_ms = 0;
                let missed = Message::MissedOrders {
                    me: self.me.clone(),
                    from: self.orders.count() + 1,
                };
                self.link.send(&self.link.subjects.to(from.index), &missed);
                return;
            }
            Next::Known => None,
            Next::Follow => {
                self.orders.push(command.clone());
                self.wake.beat_ms = self.wake.beat_ms.min(now_ms + 200);
                self.obey(command).err()
            }
        };
        let followed = Message::Followed {
            me: self.me.clone(),
            number,
            error,
        };
        self.link
            .send(&self.link.subjects.to(from.index), &followed);
    }
}
