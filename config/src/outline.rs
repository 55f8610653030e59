//! What of a program somebody needs who reads the figures of its runs and has neither the plan nor its files: names, tags,
//! load models, thresholds. No header, no body, no data and no secret is in it, and a URL only where it is a request's name:
//! nothing that figures do not show, so that it can go where they go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::program::{
    Arrival, Executor, Http, InstancePer, Location, OriginId, PluginUse, Program, RateStage,
    Request, Scenario, ScenarioId, Template, UserStage,
};

/// The most of anything in an outline that is taken; no plan comes near.
const ITEMS_MAX: usize = 100_000;

/// A program as far as its figures are about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    name: String,
    plan_hash: String,
    scenarios: Vec<ScenarioOutline>,
    requests: Vec<RequestOutline>,
    checks: Vec<String>,
    plugins: Vec<String>,
    thresholds: Vec<ThresholdOutline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ScenarioOutline {
    name: String,
    start_ns: u64,
    executor: ExecutorOutline,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum ExecutorOutline {
    ConstantVus {
        vus: u32,
        ns: u64,
    },
    RampingVus {
        start_vus: u32,
        /// Nanoseconds and target.
        stages: Vec<(u64, u32)>,
    },
    PerVuIterations {
        vus: u32,
        iterations: u64,
        ns: u64,
    },
    SharedIterations {
        vus: u32,
        iterations: u64,
        ns: u64,
    },
    ArrivalRate {
        start_rate: f64,
        /// Nanoseconds and target.
        stages: Vec<(u64, f64)>,
        max_vus: u32,
    },
    ExternallyControlled {
        max_vus: u32,
        ns: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RequestOutline {
    name: String,
    method: String,
    scenario: u32,
    group: String,
    tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ThresholdOutline {
    /// With its selectors.
    metric: String,
    expression: String,
    abort_on_fail: bool,
    delay_ns: u64,
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&Executor> for ExecutorOutline {
    fn from(executor: &Executor) -> Self {
        match executor {
            Executor::ConstantVus { vus, duration } => Self::ConstantVus {
                vus: *vus,
                ns: ns(*duration),
            },
            Executor::RampingVus {
                start_vus, stages, ..
            } => Self::RampingVus {
                start_vus: *start_vus,
                stages: stages.iter().map(|s| (ns(s.duration), s.target)).collect(),
            },
            Executor::PerVuIterations {
                vus,
                iterations,
                max_duration,
            } => Self::PerVuIterations {
                vus: *vus,
                iterations: *iterations,
                ns: ns(*max_duration),
            },
            Executor::SharedIterations {
                vus,
                iterations,
                max_duration,
            } => Self::SharedIterations {
                vus: *vus,
                iterations: *iterations,
                ns: ns(*max_duration),
            },
            Executor::ArrivalRate {
                start_rate,
                stages,
                max_vus,
                ..
            } => Self::ArrivalRate {
                start_rate: *start_rate,
                stages: stages.iter().map(|s| (ns(s.duration), s.target)).collect(),
                max_vus: *max_vus,
            },
            Executor::ExternallyControlled { max_vus, duration } => Self::ExternallyControlled {
                max_vus: *max_vus,
                ns: duration.map(ns),
            },
        }
    }
}

impl From<ExecutorOutline> for Executor {
    fn from(outline: ExecutorOutline) -> Self {
        let duration = Duration::from_nanos;
        match outline {
            ExecutorOutline::ConstantVus { vus, ns } => Self::ConstantVus {
                vus,
                duration: duration(ns),
            },
            ExecutorOutline::RampingVus { start_vus, stages } => Self::RampingVus {
                start_vus,
                stages: stages
                    .into_iter()
                    .map(|(ns, target)| UserStage {
                        duration: duration(ns),
                        target,
                    })
                    .collect(),
                graceful_ramp_down: Duration::ZERO,
            },
            ExecutorOutline::PerVuIterations {
                vus,
                iterations,
                ns,
            } => Self::PerVuIterations {
                vus,
                iterations,
                max_duration: duration(ns),
            },
            ExecutorOutline::SharedIterations {
                vus,
                iterations,
                ns,
            } => Self::SharedIterations {
                vus,
                iterations,
                max_duration: duration(ns),
            },
            ExecutorOutline::ArrivalRate {
                start_rate,
                stages,
                max_vus,
            } => Self::ArrivalRate {
                start_rate,
                stages: stages
                    .into_iter()
                    .map(|(ns, target)| RateStage {
                        duration: duration(ns),
                        target,
                    })
                    .collect(),
                arrival: Arrival::default(),
                pre_allocated_vus: 0,
                max_vus,
            },
            ExecutorOutline::ExternallyControlled { max_vus, ns } => Self::ExternallyControlled {
                max_vus,
                duration: ns.map(duration),
            },
        }
    }
}

impl Program {
    /// What of it somebody needs who reads its figures.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let threshold = |t: &crate::Threshold| ThresholdOutline {
            metric: t.label(),
            expression: t.expression.clone(),
            abort_on_fail: t.abort_on_fail,
            delay_ns: ns(t.delay_abort_eval),
        };
        Outline {
            name: self.name.clone(),
            plan_hash: self.plan_hash.clone(),
            scenarios: self
                .scenarios
                .iter()
                .map(|s| ScenarioOutline {
                    name: s.name.clone(),
                    start_ns: ns(s.start_time),
                    executor: (&s.executor).into(),
                })
                .collect(),
            requests: self
                .requests
                .iter()
                .map(|r| RequestOutline {
                    name: self.secrets.redact(&r.name).into_owned(),
                    method: r.method.clone(),
                    scenario: r.scenario.0,
                    group: r.group.clone(),
                    tags: r.tags.clone(),
                })
                .collect(),
            checks: self.checks.clone(),
            plugins: self.plugins.iter().map(|p| p.name.clone()).collect(),
            thresholds: self.thresholds.iter().map(threshold).collect(),
        }
    }
}

impl Outline {
    /// The SHA-256 of the plan that it is of.
    #[must_use]
    pub fn plan_hash(&self) -> &str {
        &self.plan_hash
    }

    /// A program with these names and load models that does nothing: figures are read by it. The outline may come from
    /// anywhere.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn into_program(self) -> Result<Program, String> {
        let counts = [
            self.scenarios.len(),
            self.requests.len(),
            self.checks.len(),
            self.plugins.len(),
            self.thresholds.len(),
        ];
        if counts.into_iter().any(|count| count > ITEMS_MAX) {
            return Err("it has more parts than any plan".to_owned());
        }
        if self.scenarios.is_empty() {
            return Err("it has no scenario".to_owned());
        }
        let nowhere = Location {
            path: String::new(),
            line: 0,
            column: 0,
        };
        // What has no bearing on figures is that of the smallest plan.
        let smallest = "scenarios: { s: { executor: constant-vus, vus: 1, duration: 1s, flow: [ { request: { url: \
                        'http://h/' } } ] } }";
        let mut program = crate::compile(
            smallest,
            std::path::Path::new("plan.yaml"),
            &crate::Options::default(),
        )
        .map_err(|failure| format!("{failure:?}"))?
        .program;
        let http = program.requests.first().map(|r| r.http);
        let http: Http = http.ok_or("there is no request")?;
        let scenarios = self.scenarios.len();
        if let Some(request) = self
            .requests
            .iter()
            .find(|r| r.scenario as usize >= scenarios)
        {
            return Err(format!(
                "the request `{}` is in no scenario that is there",
                request.name
            ));
        }
        program.name = self.name;
        program.plan_hash = self.plan_hash;
        program.scenarios = self
            .scenarios
            .into_iter()
            .map(|s| Scenario {
                name: s.name,
                start_time: Duration::from_nanos(s.start_ns),
                graceful_stop: Duration::ZERO,
                executor: s.executor.into(),
                pacing: None,
                throttle: None,
                flow: Vec::new(),
                tags: Vec::new(),
                lanes: 1,
                rendezvous: Vec::new(),
                data: Vec::new(),
                pipeline: 1,
            })
            .collect();
        program.requests = self
            .requests
            .into_iter()
            .map(|r| Request {
                name: r.name,
                method: r.method,
                scenario: ScenarioId(r.scenario),
                group: r.group,
                tags: r.tags,
                origin: OriginId(0),
                head: Template::default(),
                body: None,
                timeout: Duration::ZERO,
                http,
                extracts: Vec::new(),
                asserts: Vec::new(),
                checks: Vec::new(),
                reads_body: false,
                measures_body: false,
                reads_headers: false,
                location: nowhere.clone(),
            })
            .collect();
        program.checks = self.checks;
        program.plugins = self
            .plugins
            .into_iter()
            .map(|name| PluginUse {
                name,
                path: None,
                call_timeout: Duration::ZERO,
                memory_bytes: 0,
                instance: InstancePer::default(),
                location: nowhere.clone(),
            })
            .collect();
        program.thresholds = self
            .thresholds
            .into_iter()
            .map(|t| {
                let mut threshold =
                    crate::parse_threshold(&t.metric, &t.expression).map_err(|what| {
                        format!("the threshold `{}: {}`: {what}", t.metric, t.expression)
                    })?;
                threshold.abort_on_fail = t.abort_on_fail;
                threshold.delay_abort_eval = Duration::from_nanos(t.delay_ns);
                Ok(threshold)
            })
            .collect::<Result<_, String>>()?;
        Ok(program)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    const SCENARIOS: &str = "
name: shop
thresholds:
  'http_req_duration{name:front}': [ 'p(95)<400' ]
  http_req_failed: [ { threshold: 'rate<0.1', abort_on_fail: true, delay_abort_eval: 3s } ]
scenarios:
  a: { executor: constant-vus, vus: 3, duration: 5s, flow: [ { request: { name: front, url: 'http://user.example/secret-path', tags: { team: x } } } ] }
  b: { executor: ramping-vus, start_vus: 1, stages: [ { duration: 1s, target: 4 } ], flow: [ { group: { name: g, steps: [ { request: { url: 'http://h/b', method: POST, body: 'hidden body' } } ] } } ] }
  c: { executor: ramping-arrival-rate, start_rate: 1.5, stages: [ { duration: 2s, target: 9 } ], pre_allocated_vus: 2, max_vus: 7, start_time: 1s, flow: [ { request: { url: 'http://h/' } } ] }
  d: { executor: externally-controlled, max_vus: 9, flow: [ { request: { url: 'http://h/' } } ] }
  e: { executor: per-vu-iterations, vus: 2, iterations: 3, flow: [ { request: { url: 'http://h/' } } ] }
  f: { executor: shared-iterations, vus: 2, iterations: 3, flow: [ { request: { url: 'http://h/' } } ] }
";

    #[test]
    fn an_outline_read_back_tells_the_same_and_holds_nothing_that_is_sent() {
        let path = std::path::Path::new("plan.yaml");
        let program = crate::compile(SCENARIOS, path, &crate::Options::default())
            .unwrap()
            .program;
        let text = serde_json::to_string(&program.outline()).unwrap();
        assert!(
            !text.contains("hidden body") && !text.contains("user.example"),
            "{text}"
        );
        let read: Outline = serde_json::from_str(&text).unwrap();
        let back = read.into_program().unwrap();
        assert_eq!(back.outline(), program.outline());
        assert_eq!(back.thresholds.len(), 2);
        assert!(
            back.thresholds
                .iter()
                .any(|t| t.abort_on_fail && t.delay_abort_eval == Duration::from_secs(3))
        );
        for (mine, theirs) in back.scenarios.iter().zip(&program.scenarios) {
            assert_eq!(mine.executor.vus_max(), theirs.executor.vus_max());
            assert_eq!(mine.executor.is_open(), theirs.executor.is_open());
        }
    }

    #[test]
    fn an_outline_that_does_not_hold_together_is_refused() {
        let path = std::path::Path::new("plan.yaml");
        let program = crate::compile(SCENARIOS, path, &crate::Options::default())
            .unwrap()
            .program;
        let mut outline = program.outline();
        outline.requests[0].scenario = 99;
        assert!(outline.into_program().unwrap_err().contains("no scenario"));
        let mut outline = program.outline();
        outline.thresholds[0].expression = "p(95".to_owned();
        assert!(outline.into_program().unwrap_err().contains("p(95"));
        let mut outline = program.outline();
        outline.scenarios.clear();
        assert!(outline.into_program().is_err());
    }
}
