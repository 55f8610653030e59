//! The seconds that a segment has measured, kept for whoever comes late or missed some: one by one as long as they are few,
//! the oldest added up when they are too many. Bounded, whatever the length of the run.

use std::collections::VecDeque;
use std::sync::Arc;

use loadr_config::Program;
use loadr_engine::Delta;

/// The most that is kept one by one: bytes, and seconds.
const BYTES_MAX: usize = 16 << 20;
const SECONDS_MAX: usize = 3_600;

/// A second as it is handed out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// From 1.
    pub(crate) number: u64,
    /// Seconds before it that are in it as well.
    pub(crate) before: u64,
    pub(crate) bytes: Arc<[u8]>,
}

/// See the head of this file.
pub(crate) struct Keep {
    program: Arc<Program>,
    /// What was added up: it ends with the second before the first that is kept.
    past: Option<Delta>,
    latest: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// How many there were in all.
    count: u64,
    bytes_max: usize,
}

impl Keep {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        Self {
            program,
            past: None,
            latest: VecDeque::new(),
            bytes: 0,
            count: 0,
            bytes_max: BYTES_MAX,
        }
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// One more.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) -> Kept {
        let bytes: Arc<[u8]> = bytes.into();
        self.count += 1;
        self.bytes += bytes.len();
        self.latest.push_back(Arc::clone(&bytes));
        while (self.bytes > self.bytes_max || self.latest.len() > SECONDS_MAX)
            && self.latest.len() > 1
        {
            self.forget_oldest();
        }
        Kept {
            number: self.count,
            before: 0,
            bytes,
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.latest.pop_front() else {
            return;
        };
        self.bytes -= oldest.len();
        // This process wrote it itself.
        let Ok(delta) = Delta::read(&self.program, &oldest) else {
            return;
        };
        match &mut self.past {
            Some(past) => past.add_later(&delta),
            None => self.past = Some(delta),
        }
    }

    /// The number of the first that is kept one by one.
    fn first(&self) -> u64 {
        self.count - self.latest.len() as u64 + 1
    }

    /// Up to `most` of them from a number on. Who has none and comes after the oldest were added up gets those as one; who
    /// has some of them gets what is left: the gap is lost to it.
    pub(crate) fn from(&self, number: u64, most: usize) -> Vec<Kept> {
        let mut out = Vec::new();
        let first = self.first();
        if number <= 1
            && let Some(past) = &self.past
        {
            out.push(Kept {
                number: first - 1,
                before: first - 2,
                bytes: past.write().into(),
            });
        }
        let skip = number.saturating_sub(first) as usize;
        let numbers = first.max(number)..;
        let latest = self.latest.iter().skip(skip).zip(numbers);
        out.extend(latest.take(most).map(|(bytes, number)| Kept {
            number,
            before: 0,
            bytes: Arc::clone(bytes),
        }));
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn program() -> Arc<Program> {
        let plan = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: 'http://h/' } } ] } }";
        let options = loadr_config::Options::default();
        let compiled = loadr_config::compile(plan, std::path::Path::new("p.yaml"), &options);
        Arc::new(compiled.unwrap().program)
    }

    /// A second in which nothing happened: its number, its length, and zeros.
    fn second(number: u8) -> Vec<u8> {
        let mut bytes = vec![number, 100, 0, 0, 0, 0, 0, 0];
        bytes.extend([0; 11]);
        bytes
    }

    #[test]
    fn the_oldest_are_added_up_and_the_latest_kept() {
        let program = program();
        assert!(Delta::read(&program, &second(1)).is_ok());
        let mut keep = Keep::new(Arc::clone(&program));
        keep.bytes_max = 3 * second(1).len();
        for number in 1..=9 {
            assert_eq!(keep.push(second(number)).number, u64::from(number));
        }
        let numbers = |from| {
            let kept = keep.from(from, 100);
            kept.iter()
                .map(|k| (k.number, k.before))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [(6, 5), (7, 0), (8, 0), (9, 0)]);
        assert_eq!(numbers(1), [(6, 5), (7, 0), (8, 0), (9, 0)]);
        assert_eq!(numbers(2), [(7, 0), (8, 0), (9, 0)]);
        assert_eq!(numbers(9), [(9, 0)]);
        assert_eq!(numbers(10), []);
        assert_eq!(keep.from(7, 1).len(), 1);
        assert!(Delta::read(&program, &keep.from(0, 1)[0].bytes).is_ok());
        assert_eq!(Keep::new(program).from(1, 9), []);
    }
}
