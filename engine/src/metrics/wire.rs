//! Records as bytes, for what one process measures and another adds up: only what has values, trends as the slots that are
//! not empty. Both sides have the same program. Reading is total: what comes may be anything.

use loadr_config::Program;

use super::record::{CheckRecord, Outcome, Record, RequestRecord};
use super::spread::{Exact, Spread};
use super::trend::Trend;
use crate::error_kind::ErrorKind;
use crate::wire::{Reader, Writer, Wrong};

/// The most different outcomes of one request step: statuses and kinds of errors; no plan comes near.
const OUTCOMES_MAX: usize = 4096;

/// What is wrong with sums that would be more than a u64 counts.
const TOO_MANY: Wrong = "more than can be counted";
/// No count of one message is above this, so that sums of many stay countable.
const COUNT_MAX: u64 = 1 << 48;

impl Trend {
    pub(crate) fn write(&self, to: &mut Writer) {
        let slots = Spread::slots_of(self);
        to.number(slots.len() as u64);
        if slots.is_empty() {
            return;
        }
        let exact = self.exact();
        to.number(exact.zeros);
        to.wide(exact.sum_ns);
        to.number(exact.min_ns);
        to.number(exact.max_ns);
        let mut before = 0;
        for (slot, count) in slots {
            to.number(u64::from(slot - before));
            to.number(count);
            before = slot;
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let len = from.count()?;
        if len == 0 {
            return Ok(Self::new());
        }
        let exact = Exact {
            zeros: from.number()?,
            sum_ns: from.wide()?,
            min_ns: from.number()?,
            max_ns: from.number()?,
        };
        let mut slots = Vec::with_capacity(len);
        let mut slot = 0_u32;
        for _ in 0..len {
            slot = slot.checked_add(from.small()?).ok_or(TOO_MANY)?;
            slots.push((slot, count(from)?));
        }
        let spread = Spread::of_slots(slots)?.with_exact(exact)?;
        Ok(Self::from_spread(&spread))
    }
}

fn count(from: &mut Reader<'_>) -> Result<u64, Wrong> {
    Some(from.number()?)
        .filter(|count| *count <= COUNT_MAX)
        .ok_or(TOO_MANY)
}

fn write_details(details: &[(String, u64)], to: &mut Writer) {
    to.number(details.len() as u64);
    for (text, count) in details {
        to.text(text);
        to.number(*count);
    }
}

impl Record {
    /// Everything but the single requests.
    pub(crate) fn write(&self, to: &mut Writer) {
        let steps = self.requests.iter().enumerate();
        let steps: Vec<_> = steps
            .filter(|(_, outcomes)| outcomes.iter().any(|r| r.count > 0))
            .collect();
        to.number(steps.len() as u64);
        for (step, outcomes) in steps {
            to.number(step as u64);
            to.number(outcomes.iter().filter(|r| r.count > 0).count() as u64);
            for r in outcomes.iter().filter(|r| r.count > 0) {
                write_request(r, to);
            }
        }
        let checks = self.checks.iter().enumerate();
        let checks: Vec<_> = checks.filter(|(_, c)| c.passes + c.fails > 0).collect();
        to.number(checks.len() as u64);
        for (at, check) in checks {
            to.number(at as u64);
            to.number(check.passes);
            to.number(check.fails);
            write_details(&check.details, to);
        }
        let plugins = self.plugins.iter().enumerate();
        let plugins: Vec<_> = plugins.filter(|(_, p)| p.calls > 0).collect();
        to.number(plugins.len() as u64);
        for (at, plugin) in plugins {
            to.number(at as u64);
            to.number(plugin.calls);
            to.number(plugin.errors);
            plugin.duration.write(to);
        }
        for s in &self.scenarios {
            for number in [
                s.iterations,
                s.interrupted,
                s.due,
                s.dropped,
                s.late,
                s.late_max_ns,
                s.cache_hits,
                s.stale_retries,
            ] {
                to.number(number);
            }
            s.iteration_duration.write(to);
        }
        to.number(self.errors.len() as u64);
        for (kind, error) in &self.errors {
            to.text(kind.as_str());
            to.number(error.count);
            write_details(&error.details, to);
        }
        self.lag.write(to);
    }

    /// A record of this program.
    pub(crate) fn read(program: &Program, from: &mut Reader<'_>) -> Result<Self, Wrong> {
        let mut record = Self::new(program);
        record.samples = None;
        for _ in 0..from.count()? {
            let step = from.place(program.requests.len())?;
            let is_open = record.is_open(step);
            let outcomes = from.count()?;
            if outcomes > OUTCOMES_MAX || !record.requests[step].is_empty() {
                return Err("a request with more outcomes than there are");
            }
            for _ in 0..outcomes {
                let read = read_request(is_open, from)?;
                let known = &mut record.requests[step];
                if known.iter().any(|r| r.outcome == read.outcome) {
                    return Err("an outcome that is there twice");
                }
                known.push(read);
            }
        }
        for _ in 0..from.count()? {
            let at = from.place(record.checks.len())?;
            let (passes, fails) = (count(from)?, count(from)?);
            record.checks[at] = CheckRecord {
                passes,
                fails,
                details: Vec::new(),
            };
            for _ in 0..from.count()? {
                let text = from.text()?.to_owned();
                let count = count(from)?;
                record.check_detail(at, &text, count);
            }
        }
        for _ in 0..from.count()? {
            let at = from.place(record.plugins.len())?;
            let plugin = &mut record.plugins[at];
            plugin.calls = count(from)?;
            plugin.errors = count(from)?;
            plugin.duration = Trend::read(from)?;
        }
        for s in &mut record.scenarios {
            s.iterations = count(from)?;
            s.interrupted = count(from)?;
            s.due = count(from)?;
            s.dropped = count(from)?;
            s.late = count(from)?;
            s.late_max_ns = from.number()?;
            s.cache_hits = count(from)?;
            s.stale_retries = count(from)?;
            s.iteration_duration = Trend::read(from)?;
        }
        for _ in 0..from.count()? {
            let kind = ErrorKind::of_name(from.text()?).ok_or("an error of an unknown kind")?;
            let all = count(from)?;
            record.count_errors(kind, all);
            for _ in 0..from.count()? {
                let text = from.text()?.to_owned();
                let count = count(from)?;
                record.error_detail(kind, &text, count);
            }
        }
        record.lag = Trend::read(from)?;
        Ok(record)
    }
}

fn write_request(r: &RequestRecord, to: &mut Writer) {
    to.number(u64::from(r.outcome.status));
    to.text(r.outcome.error.map_or("", ErrorKind::as_str));
    to.number(r.count);
    to.number(r.sent_bytes);
    to.number(r.received_bytes);
    if let Some(response) = &r.response {
        response.write(to);
    }
    for trend in [
        &r.duration,
        &r.blocked,
        &r.connecting,
        &r.tls,
        &r.sending,
        &r.waiting,
        &r.receiving,
    ] {
        trend.write(to);
    }
}

fn read_request(is_open: bool, from: &mut Reader<'_>) -> Result<RequestRecord, Wrong> {
    let status = u16::try_from(from.number()?).map_err(|_| "a status that cannot be")?;
    let error = match from.text()? {
        "" => None,
        name => Some(ErrorKind::of_name(name).ok_or("an error of an unknown kind")?),
    };
    let (all, sent, received) = (count(from)?, from.number()?, from.number()?);
    // More than all networks carry.
    if all == 0 || sent > 1 << 60 || received > 1 << 60 {
        return Err(TOO_MANY);
    }
    let response = if is_open {
        Some(Trend::read(from)?)
    } else {
        None
    };
    Ok(RequestRecord {
        outcome: Outcome { status, error },
        count: all,
        sent_bytes: sent,
        received_bytes: received,
        response,
        duration: Trend::read(from)?,
        blocked: Trend::read(from)?,
        connecting: Trend::read(from)?,
        tls: Trend::read(from)?,
        sending: Trend::read(from)?,
        waiting: Trend::read(from)?,
        receiving: Trend::read(from)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::path::Path;

    use loadr_config::{CheckId, Options, RequestId, ScenarioId};
    use proptest::prelude::*;

    use super::super::record::Sample;
    use super::*;

    const PLAN: &str = "
scenarios:
  s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/', checks: [ { name: up, type: status, equals: 200 } ] } } ] }
  t: { executor: constant-arrival-rate, rate: 1, pre_allocated_vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/b' } } ] }
";

    fn program() -> Program {
        loadr_config::compile(PLAN, Path::new("plan.yaml"), &Options::default())
            .unwrap()
            .program
    }

    fn bytes(record: &Record) -> Vec<u8> {
        let mut writer = Writer::default();
        record.write(&mut writer);
        writer.0
    }

    fn fill(record: &mut Record, requests: &[(u64, u16, bool)]) {
        for (ns, status, failed) in requests {
            let sample = Sample {
                status: if *failed { 0 } else { *status },
                error: failed.then_some(ErrorKind::Timeout),
                was_sent: true,
                waiting: *ns,
                blocked: ns % 3,
                connecting: ns / 2,
                sent_bytes: 10,
                received_bytes: *ns,
                ..Sample::default()
            };
            record.request(RequestId((ns % 2) as u32), &sample);
            record.iteration(ScenarioId((ns % 2) as u32), *ns);
            record.check(CheckId(0), !failed, failed.then_some("was not up"));
            if *failed {
                record.error(ErrorKind::Timeout, || format!("no answer in {ns}"));
            }
            record.lag.record(ns / 7);
        }
    }

    proptest! {
        /// What is read back is what was written, and adds up to the same.
        #[test]
        fn a_record_read_back_is_the_same(
            requests in proptest::collection::vec((0..4_000_000_000_000_u64, 0..600_u16, any::<bool>()), 0..60),
        ) {
            let program = program();
            let mut record = Record::new(&program);
            fill(&mut record, &requests);
            let written = bytes(&record);
            let mut reader = Reader(&written);
            let back = Record::read(&program, &mut reader).unwrap();
            reader.end().unwrap();
            prop_assert_eq!(bytes(&back), written);
            let (mut twice, mut both) = (record.clone(), Record::new(&program));
            twice.add(&record);
            both.add(&back);
            both.add(&back);
            prop_assert_eq!(bytes(&twice), bytes(&both));
        }

        /// Whatever comes is read or refused.
        #[test]
        fn anything_is_read_or_refused(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            requests in proptest::collection::vec((0..4_000_000_000_000_u64, 0..600_u16, any::<bool>()), 0..8),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let program = program();
            let _ = Record::read(&program, &mut Reader(&noise));
            let mut record = Record::new(&program);
            fill(&mut record, &requests);
            let mut written = bytes(&record);
            for (at, byte) in changes {
                let at = at.index(written.len());
                written[at] = byte;
            }
            let end = cut.index(written.len() + 1);
            if let Ok(read) = Record::read(&program, &mut Reader(&written[..end])) {
                // It can be added to anything.
                let mut total = Record::new(&program);
                total.add(&read);
                total.add(&read);
            }
        }
    }
}
