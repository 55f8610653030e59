//! A probe as a run of the engine: the plan compiled anew at the rate, judged as it goes, ended early when its watcher says
//! so, drained, and summed up.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use loadr_capacity::{Ask, Fault, Measured, Settings, Share, System};
use loadr_config::{Options, ProbeLoad, SloRule};
use loadr_engine::{
    BUSY, Control, ErrorKind, LAG_SHARE, LoadedPlugins, Moment, Outcome, RunError, RunSpec,
    StopReason,
};
use rustix::process::{Resource, getrlimit};

use super::sums::Sums;
use crate::signals::Interrupt;
use crate::source::Source;

/// How long what is in flight may take at a probe's end before it is cut off.
const DRAIN: Duration = Duration::from_secs(10);
/// What a target gets to forget what was cut off.
const REST: Duration = Duration::from_secs(1);
/// Enough users for every request to take so many times what its objective allows; with no objective on durations, for
/// so many seconds.
const PATIENCE: f64 = 2.0;
const NO_BOUND_SECS: f64 = 1.0;
/// The fewest and the most users.
const USERS_MIN: f64 = 64.0;
const USERS_MAX: f64 = 20_000.0;

/// The engine as a system to be probed.
pub(super) struct Engine<'a> {
    pub(super) source: &'a Source,
    pub(super) options: Options,
    pub(super) scenario: String,
    pub(super) rules: &'a [SloRule],
    pub(super) plugins: Arc<LoadedPlugins>,
    pub(super) cores: Vec<usize>,
    pub(super) seed: u64,
    pub(super) interrupt: Interrupt,
    /// Whether arrivals are evenly spaced, so that it is known how many are due.
    pub(super) is_even: bool,
    /// How many connections a user can have.
    pub(super) connections_per_user: u64,
}

impl Engine<'_> {
    /// The longest that any objective allows, in seconds.
    fn bound_secs(&self) -> Option<f64> {
        let bounds = self.rules.iter().filter_map(|rule| rule.bound);
        bounds.map(|(ms, _)| ms / 1e3).max_by(f64::total_cmp)
    }

    /// How many users a rate wants, and how many there can be.
    fn users(&self, rate: f64) -> Users {
        let secs = self.bound_secs().unwrap_or(NO_BOUND_SECS);
        let wanted = (rate * PATIENCE * secs).ceil().max(USERS_MIN);
        let files = getrlimit(Resource::Nofile)
            .maximum
            .unwrap_or(u64::from(u32::MAX));
        // A shard's table has two places for each connection.
        let of_files = (files / 2).saturating_sub(128) * self.cores.len() as u64
            / self.connections_per_user.max(1);
        let can = (of_files.max(1) as f64).min(USERS_MAX);
        Users {
            wanted: wanted.min(1e9) as u32,
            max: wanted.min(can) as u32,
            are_of_files: can < USERS_MAX,
        }
    }
}

/// The users of a probe.
#[derive(Clone, Copy)]
struct Users {
    wanted: u32,
    /// As many as there can be.
    max: u32,
    /// Whether it is the limit on open files that keeps them from being more.
    are_of_files: bool,
}

impl Users {
    /// What is said when iterations found all of them busy; nothing when there were as many as wanted: that all of those are
    /// busy for longer than is allowed is the system's doing.
    fn too_few(self, dropped: u64) -> Option<String> {
        let Self { wanted, max, .. } = self;
        if dropped == 0 || max >= wanted {
            return None;
        }
        Some(if self.are_of_files {
            format!(
                "{dropped} iterations found all {max} users that the limit on open files allows busy: raise it (`ulimit -n`)"
            )
        } else {
            format!(
                "{dropped} iterations found all {max} users busy, and a probe has no more: this rate would have wanted \
                 {wanted}; an objective with a shorter time wants fewer"
            )
        })
    }
}

/// Why a run could not begin, as the search has it.
fn fault(error: RunError) -> Fault {
    match error {
        RunError::Plan(diagnostics) => {
            let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
            Fault::Unreachable(messages.join("; "))
        }
        RunError::Machine(error) => Fault::Machine(error),
    }
}

/// What is seen of a probe while it runs.
struct Seen {
    /// At the end of the warm-up, and of the last judged second.
    before: Option<Sums>,
    last: Option<Sums>,
    judged_secs: u32,
    /// The second that was seen last: what comes after the schedule's end is part of one.
    passed: u32,
    /// Iterations in flight at the end of each judged second, added up.
    in_flight: f64,
    cpu_max: f64,
    is_answering: bool,
}

impl System for Engine<'_> {
    fn probe(
        &mut self,
        ask: &Ask,
        watch: &mut dyn FnMut(&[Share]) -> bool,
    ) -> Result<Measured, Fault> {
        let users = self.users(ask.rate);
        let secs = u64::from(ask.warm_up_secs) + u64::from(ask.judged_secs);
        let load = ProbeLoad {
            scenario: self.scenario.clone(),
            rate: ask.rate,
            duration: Duration::from_secs(secs),
            max_vus: users.max,
            drain: DRAIN,
        };
        let options = Options {
            probe: Some(load),
            ..self.options.clone()
        };
        let compiled = self.source.load(&options).map_err(Fault::Machine)?;
        let program = Arc::new(compiled.program);
        let control = Control::new(program.scenarios.len());
        if !self.interrupt.ends(&control) {
            return Err(Fault::Interrupted);
        }
        let spec = RunSpec {
            cores: self.cores.clone(),
            // Each probe has other arrivals, and each search the same ones.
            seed: self.seed.wrapping_add(u64::from(ask.number)),
            is_strict: false,
            shows_http: false,
            keeps_seconds: false,
            ..RunSpec::default()
        };
        let mut seen = Seen {
            before: None,
            last: None,
            judged_secs: 0,
            passed: 0,
            in_flight: 0.0,
            cpu_max: 0.0,
            is_answering: true,
        };
        let outcome = loadr_engine::run(program, &self.plugins, &spec, &control, |moment| {
            if !seen.second(moment, ask, self.rules, watch) {
                control.stop(StopReason::Watcher("the probe is decided".to_owned()));
            }
        })
        .map_err(fault)?;
        if let Some(StopReason::Broken(why)) = outcome.stopped {
            return Err(Fault::Machine(why));
        }
        if self.interrupt.is_asked() {
            return Err(Fault::Interrupted);
        }
        let cut_off = outcome.interrupted();
        if cut_off > 0 {
            thread::sleep(REST);
        }
        Ok(self.measured(&outcome, seen, ask, users))
    }
}

impl Seen {
    /// One second of the run; whether it should go on.
    fn second(
        &mut self,
        moment: &Moment<'_>,
        ask: &Ask,
        rules: &[SloRule],
        watch: &mut dyn FnMut(&[Share]) -> bool,
    ) -> bool {
        let passed = moment.progress().elapsed_secs.round() as u32;
        let end = ask.warm_up_secs + ask.judged_secs;
        if passed < ask.warm_up_secs || passed > end || passed <= self.passed {
            return true;
        }
        self.passed = passed;
        let so_far = sums(rules, |f| moment.for_each_so_far(f));
        if passed == ask.warm_up_secs {
            self.before = Some(so_far);
            return true;
        }
        let second = sums(rules, |f| moment.for_each_of_second(f));
        self.judged_secs += 1;
        let due = ask.rate * f64::from(passed) - so_far.dropped as f64;
        self.in_flight += (due - so_far.iterations as f64).max(0.0);
        self.is_answering = second.answered > 0 || second.unanswered == 0;
        let busiest = moment.shards().iter().map(loadr_engine::ShardSecond::cpu);
        self.cpu_max = busiest.fold(self.cpu_max, f64::max);
        self.last = Some(so_far);
        let go_on = watch(&second.shares);
        go_on || passed == end
    }
}

/// Adds up what `each` calls its argument with.
fn sums(rules: &[SloRule], each: impl FnOnce(&mut dyn FnMut(&loadr_engine::Series<'_>))) -> Sums {
    let mut sums = Sums::new(rules);
    each(&mut |series| sums.add(series, rules));
    sums
}

impl Engine<'_> {
    fn measured(&self, outcome: &Outcome, seen: Seen, ask: &Ask, users: Users) -> Measured {
        let before = seen.before.unwrap_or_else(|| Sums::new(self.rules));
        let within = seen.last.unwrap_or_else(|| before.clone()).since(&before);
        // With what the drain has brought.
        let whole = sums(self.rules, |f| outcome.for_each_series(f)).since(&before);
        let secs = f64::from(seen.judged_secs).max(1e-3);
        let cut_off = outcome.interrupted();
        let mut shares = whole.shares.clone();
        let per_iteration = whole.requests_per_iteration().max(1.0);
        for (rule, share) in self.rules.iter().zip(&mut shares) {
            // Nobody waited for them, or nobody waited long enough; either is longer than is allowed.
            let lost = match rule.metric {
                "http_req_failed" | "checks" => cut_off,
                _ => cut_off + whole.dropped,
            };
            let lost = (lost as f64 * per_iteration).round() as u64;
            share.bad += lost;
            share.of += lost;
        }
        let throughput = within.iterations as f64 / secs;
        let mut generator = Vec::new();
        let (lag, p99) = (
            within.lag.percentile_ms(99.0),
            whole.response.percentile_ms(99.0),
        );
        if seen.cpu_max > BUSY {
            generator.push(format!(
                "a shard's core was {:.0} % busy: use more cores (`--cores`), or a machine with more",
                seen.cpu_max * 100.0
            ));
        }
        if whole.response.count() > 0 && lag > p99 * LAG_SHARE {
            generator.push(format!(
                "1 % of what arrived or was due waited {lag:.1} ms or longer for the generator, above a tenth of the p99 of \
                 {p99:.1} ms: use more cores, or have nothing else run on them (`loadr-fast doctor`)"
            ));
        }
        let errors = outcome.errors();
        let is_own = |kind: &str| {
            ErrorKind::OF_GENERATOR
                .iter()
                .any(|own| own.as_str() == kind)
        };
        let ran_out: u64 = errors
            .iter()
            .filter(|error| is_own(&error.kind))
            .map(|error| error.count)
            .sum();
        if ran_out > 0 {
            generator.push(format!(
                "{ran_out} requests failed because this machine had no more ports, descriptors or memory for them: raise the \
                 limits (`loadr-fast doctor`), or dial from several addresses (`engine.source_ips`)"
            ));
        }
        generator.extend(users.too_few(whole.dropped));
        // Made later than the next was due, a request comes with that one, and the target sees two at once.
        let apart_ms = 1e3 / (ask.rate * per_iteration);
        let spoilt = whole.lag.count_above_ms(apart_ms) + whole.unanswered + cut_off + ran_out;
        Measured {
            shares,
            secs: f64::from(seen.judged_secs),
            iterations: whole.iterations,
            requests: whole.requests,
            dropped: whole.dropped,
            cut_off,
            throughput,
            latency: whole.latency(),
            concurrency: throughput * within.iteration_secs(),
            concurrency_counted: (self.is_even && seen.judged_secs > 0)
                .then(|| seen.in_flight / secs),
            generator,
            spoilt,
            errors: errors
                .iter()
                .map(|error| (error.kind.to_string(), error.count))
                .collect(),
            is_answering: whole.answered > 0 && seen.is_answering
                || cut_off == 0 && whole.unanswered == 0,
        }
    }
}

/// What a probe's plan is like, before there is a rate.
pub(super) fn base_load(scenario: &str, settings: &Settings) -> ProbeLoad {
    ProbeLoad {
        scenario: scenario.to_owned(),
        rate: settings.min_rate,
        duration: Duration::from_secs(u64::from(settings.step_secs)),
        max_vus: 1,
        drain: DRAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_are_too_few_are_blamed_on_what_limits_them() {
        let users = |max, are_of_files| Users {
            wanted: 30_000,
            max,
            are_of_files,
        };
        let files = users(500, true).too_few(7).unwrap_or_default();
        assert!(
            files.contains("500 users") && files.contains("ulimit -n"),
            "{files}"
        );
        let own = users(USERS_MAX as u32, false)
            .too_few(7)
            .unwrap_or_default();
        assert!(
            own.contains("20000 users") && own.contains("30000"),
            "{own}"
        );
        assert!(!own.contains("ulimit"), "{own}");
        assert_eq!(users(500, true).too_few(0), None);
        assert_eq!(users(30_000, false).too_few(7), None);
    }
}
