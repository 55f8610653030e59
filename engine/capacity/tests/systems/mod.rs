//! Simulated systems under virtual time: queues whose true boundary is known, by a formula or by a long run.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::VecDeque;

use loadr_capacity::{Ask, Fault, Latency, Measured, Share, Slo, System};

/// How long a probe waits for what is in flight.
const DRAIN_SECS: f64 = 10.0;

/// Uniform random numbers (xorshift64*).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Seeds that follow each other must not make sequences that do.
        let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self((z ^ (z >> 27)) | 1)
    }

    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }
}

/// What a system is like. Times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub servers: usize,
    pub service: f64,
    /// Service times all alike, or exponential.
    pub is_fixed: bool,
    /// Arrivals evenly spaced, or Poisson.
    pub is_even: bool,
    /// Those that find so many are rejected at once.
    pub room: Option<usize>,
    /// Nothing works for the second of these in each of the first.
    pub pause: Option<(f64, f64)>,
    /// With more than the first of these there on arrival, service takes so many times as long.
    pub degrades: Option<(usize, f64)>,
    /// After a rest, service takes so many times as long for so many seconds.
    pub cold: Option<(f64, f64)>,
    /// It stops answering once it has served so many.
    pub dies_after: Option<u64>,
    /// The generator is the bottleneck from this rate on, and makes requests late by a second.
    pub generator_limit: Option<f64>,
    /// What fails there may have failed for that.
    pub spoils: bool,
}

pub const MM1: Model = Model {
    servers: 1,
    service: 0.001,
    is_fixed: false,
    is_even: false,
    room: None,
    pause: None,
    degrades: None,
    cold: None,
    dies_after: None,
    generator_limit: None,
    spoils: false,
};

/// An objective on durations or on failures.
#[derive(Clone, Copy, Debug)]
pub enum Objective {
    /// At most this share takes longer than so many seconds.
    Within(f64, f64),
    /// At most this share fails.
    Failures(f64),
}

impl Objective {
    pub fn slo(self) -> Slo {
        match self {
            Self::Within(allowed, bound) => Slo {
                text: format!("p({})<{}ms", 100.0 - allowed * 100.0, bound * 1e3),
                allowed,
                percentile: Some(100.0 - allowed * 100.0),
                bound_ms: Some(bound * 1e3),
                is_implied: false,
            },
            Self::Failures(allowed) => Slo {
                text: format!("http_req_failed<{allowed}"),
                allowed,
                percentile: None,
                bound_ms: None,
                is_implied: false,
            },
        }
    }

    fn is_bad(self, time: Option<f64>) -> bool {
        match (self, time) {
            (Self::Within(_, bound), Some(time)) => time > bound,
            (Self::Within(..), None) => false,
            (Self::Failures(_), time) => time.is_none(),
        }
    }
}

/// A system while it is being searched.
pub struct Simulated {
    model: Model,
    objectives: Vec<Objective>,
    random: Random,
    now: f64,
    /// When each server is free.
    free: Vec<f64>,
    /// When those that are there leave.
    leaving: VecDeque<f64>,
    /// When it last began to work after a rest, and until when it had work.
    warm_since: f64,
    busy_until: f64,
    served: u64,
    /// Seconds of virtual time in probes.
    pub spent: f64,
}

impl Simulated {
    pub fn new(model: Model, objectives: &[Objective], seed: u64) -> Self {
        Self {
            model,
            objectives: objectives.to_vec(),
            random: Random::new(seed),
            now: 0.0,
            free: vec![0.0; model.servers],
            leaving: VecDeque::new(),
            warm_since: 0.0,
            busy_until: -10.0,
            served: 0,
            spent: 0.0,
        }
    }

    /// When a request that arrives at `at` is done; `None` when it is rejected.
    fn serve(&mut self, at: f64) -> Option<f64> {
        let Model {
            service,
            room,
            degrades,
            cold,
            ..
        } = self.model;
        while self.leaving.front().is_some_and(|left| *left <= at) {
            self.leaving.pop_front();
        }
        let there = self.leaving.len();
        if room.is_some_and(|room| there >= room) {
            return None;
        }
        let mut work = if self.model.is_fixed {
            service
        } else {
            self.random.exponential(service)
        };
        if let Some((knee, times)) = degrades
            && there > knee
        {
            work *= times;
        }
        if at > self.busy_until + 0.5 {
            self.warm_since = at;
        }
        if let Some((secs, times)) = cold
            && at < self.warm_since + secs
        {
            work *= times;
        }
        let mut server = 0;
        for i in 1..self.free.len() {
            if self.free[i] < self.free[server] {
                server = i;
            }
        }
        let end = self.worked(self.free[server].max(at), work);
        self.free[server] = end;
        self.busy_until = self.busy_until.max(end);
        if room.is_some() || degrades.is_some() {
            // One server: they leave in the order in which they came.
            self.leaving.push_back(end);
        }
        self.served += 1;
        Some(end)
    }

    /// When `work` begun at `start` is done, with the pauses between.
    fn worked(&self, start: f64, work: f64) -> f64 {
        let Some((period, length)) = self.model.pause else {
            return start + work;
        };
        let (mut at, mut left) = (start, work);
        let mut turn = (at / period).floor();
        loop {
            at = at.max(turn * period + length);
            turn += 1.0;
            let until_pause = turn * period - at;
            if left <= until_pause {
                return at + left;
            }
            left -= until_pause.max(0.0);
        }
    }

    /// The share of bad requests at a rate, over a long time.
    pub fn long_run(model: Model, objective: Objective, rate: f64, secs: f64, seed: u64) -> f64 {
        let mut system = Self::new(model, &[objective], seed);
        let (mut at, mut bad, mut of) = (0.0, 0_u64, 0_u64);
        while at < secs {
            at += system.gap(rate);
            let end = system.serve(at);
            if at > 20.0 {
                of += 1;
                bad += u64::from(objective.is_bad(end.map(|end| end - at)));
            }
        }
        bad as f64 / of as f64
    }

    fn gap(&mut self, rate: f64) -> f64 {
        if self.model.is_even {
            1.0 / rate
        } else {
            self.random.exponential(1.0 / rate)
        }
    }
}

impl System for Simulated {
    fn probe(
        &mut self,
        ask: &Ask,
        watch: &mut dyn FnMut(&[Share]) -> bool,
    ) -> Result<Measured, Fault> {
        if self.model.dies_after.is_some_and(|most| self.served > most) {
            return Err(Fault::Unreachable("connection refused".to_owned()));
        }
        let start = self.now;
        let judged_from = f64::from(ask.warm_up_secs);
        let planned_end = judged_from + f64::from(ask.judged_secs);
        let is_late = self
            .model
            .generator_limit
            .is_some_and(|limit| ask.rate > limit);
        let mut seconds: Vec<Vec<Share>> = Vec::new();
        let mut times: Vec<f64> = Vec::new();
        let (mut iterations_within, mut last_end) = (0_u64, start);
        let mut cut_off = 0;
        let mut end_secs = planned_end;
        let mut judged_second = ask.warm_up_secs as usize;
        let mut at = 0.0;
        let slos = self.objectives.len();
        let mut ends: Vec<(f64, Option<f64>)> = Vec::new();
        loop {
            at += self.gap(ask.rate);
            // What is done by the end of each second is known by then.
            while at >= (judged_second + 1) as f64 && judged_second < planned_end as usize {
                let none = vec![Share::default(); slos];
                let shares = seconds.get(judged_second).unwrap_or(&none).clone();
                judged_second += 1;
                if !watch(&shares) {
                    end_secs = judged_second as f64;
                    break;
                }
            }
            if at >= end_secs {
                break;
            }
            let done = self.serve(start + at);
            let time = done.map(|end| end - start - at + if is_late { 1.0 } else { 0.0 });
            let end = done.map_or(at, |end| end - start);
            last_end = last_end.max(start + end);
            ends.push((end, time));
            let second = end as usize;
            if seconds.len() <= second {
                seconds.resize(second + 1, vec![Share::default(); slos]);
            }
            for (share, objective) in seconds[second].iter_mut().zip(&self.objectives) {
                share.bad += u64::from(objective.is_bad(time));
                share.of += 1;
            }
        }
        let mut shares = vec![Share::default(); slos];
        let mut in_system = 0.0;
        for (end, time) in ends.iter().filter(|(end, _)| *end >= judged_from) {
            let is_cut = *end > end_secs + DRAIN_SECS;
            cut_off += u64::from(is_cut);
            for (share, objective) in shares.iter_mut().zip(&self.objectives) {
                share.bad += u64::from(objective.is_bad(*time));
                share.of += 1;
            }
            if let Some(time) = time {
                times.push(*time * 1e3);
                in_system += time;
            }
            iterations_within += u64::from(*end < end_secs);
        }
        self.now = last_end.min(start + end_secs + DRAIN_SECS) + 1.0;
        self.spent += self.now - start;
        let judged_secs = end_secs - judged_from;
        let mut percentile = |p: f64| {
            if times.is_empty() {
                return 0.0;
            }
            let at = ((times.len() as f64 * p) as usize).min(times.len() - 1);
            *times.select_nth_unstable_by(at, f64::total_cmp).1
        };
        let latency = Latency {
            p50: percentile(0.5),
            p99: percentile(0.99),
            max: percentile(1.0),
            ..Latency::default()
        };
        let all = shares.first().map_or(0, |share| share.of);
        let throughput = iterations_within as f64 / judged_secs;
        Ok(Measured {
            shares,
            secs: judged_secs,
            iterations: all,
            requests: all,
            cut_off,
            throughput,
            latency,
            concurrency: throughput * in_system / (all.max(1)) as f64,
            generator: if is_late {
                vec!["a shard's core was 99 % busy".to_owned()]
            } else {
                Vec::new()
            },
            spoilt: if is_late && self.model.spoils {
                ends.iter().filter(|(_, time)| time.is_none()).count() as u64
            } else {
                0
            },
            is_answering: all > 0,
            ..Measured::default()
        })
    }
}

/// The rate in `low … high` at which `share` is `allowed`; `share` rises.
pub fn root(
    mut low: f64,
    mut high: f64,
    allowed: f64,
    share: impl Fn(f64) -> f64,
    steps: u32,
) -> f64 {
    for _ in 0..steps {
        let middle = f64::midpoint(low, high);
        if share(middle) > allowed {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}
