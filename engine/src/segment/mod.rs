//! One of several processes that make the load of a plan together, without talking: what it is, what of a plan cannot be
//! made so, and by what the processes of one run are known.

pub mod launcher;

use loadr_config::{Diagnostic, Executor, Program, fingerprint};
use serde::{Deserialize, Serialize};

use crate::plugins::LoadedPlugins;

/// The most segments of a run.
pub const SEGMENTS_MAX: u32 = 65_536;

/// One of several processes that make the load of a plan together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Segment {
    /// Segment `index` (from 0) of `of`.
    ///
    /// # Errors
    /// There is no such segment.
    pub fn new(index: u32, of: u32) -> Result<Self, String> {
        if of == 0 {
            return Err("there must be one segment at least".to_owned());
        }
        if of > SEGMENTS_MAX {
            return Err(format!("{of} segments are more than {SEGMENTS_MAX}"));
        }
        if index >= of {
            return Err(format!(
                "there is no segment {index} of {of}: they are counted from 0 to {}",
                of - 1
            ));
        }
        Ok(Self { index, of })
    }

    /// Whether it is one of several; a single one is the whole run.
    #[must_use]
    pub fn is_part(self) -> bool {
        self.of > 1
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// The seed of a segmented run that is given none: made of the plan and of whatever its processes have in common and those
/// of another run have not (`launch`), so that all segments draw the same without talking. Below 2^53, so that whatever reads the summary gets it whole.
#[must_use]
pub fn common_seed(program: &Program, launch: &str) -> u64 {
    let parts = [&program.plan_hash, &program.inputs_hash, launch].map(str::as_bytes);
    let hash = fingerprint(parts);
    let digits = hash.get(..13).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// The fingerprint of a load: of the effective plan, the files and variables of the environment that it uses, its plugins'
/// code, and the seed. Processes with the same one make parts of one load; how many cores each has is no part of it. SHA-256
/// in lower-case hexadecimal.
#[must_use]
pub fn load_hash(program: &Program, plugins: &LoadedPlugins, seed: u64) -> String {
    let seed = seed.to_le_bytes();
    let own: [&[u8]; 3] = [
        program.plan_hash.as_bytes(),
        program.inputs_hash.as_bytes(),
        &seed,
    ];
    fingerprint(own.into_iter().chain(plugins.inputs()))
}

/// What of a plan several processes cannot make together unless they talk with each other: each place, by name.
#[must_use]
pub fn needs_talk(program: &Program) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for scenario in &program.scenarios {
        let path = format!("scenarios.{}", scenario.name);
        let problem = |path, message, help: &str| Diagnostic {
            path,
            line: 0,
            column: 0,
            message,
            help: Some(help.to_owned()),
        };
        if let Executor::ExternallyControlled { .. } = scenario.executor {
            problems.push(problem(
                format!("{path}.executor"),
                format!(
                    "scenario `{}` is `externally-controlled`: its target is set in one process, and the other segments would \
                     not hear of it",
                    scenario.name
                ),
                "run it with `--bus`, over which all segments are told, or in one process (`--segment none`), or give it a schedule",
            ));
        }
        for id in &scenario.rendezvous {
            let place = &program.rendezvous[id.at()];
            problems.push(problem(
                format!("{path}.flow"),
                format!(
                    "the rendezvous `{}` of scenario `{}` is a meeting of users of the whole run, and those of other segments \
                     are in other processes",
                    place.name, scenario.name
                ),
                "run it in one process (`--segment none`), or leave the step out",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_that_there_are_can_be_named() {
        assert_eq!(Segment::new(0, 1), Ok(Segment { index: 0, of: 1 }));
        assert!(!Segment::new(0, 1).unwrap().is_part());
        assert!(Segment::new(2, 3).unwrap().is_part());
        for (index, of, says) in [
            (
                3,
                3,
                "there is no segment 3 of 3: they are counted from 0 to 2",
            ),
            (0, 0, "one segment at least"),
            (0, SEGMENTS_MAX + 1, "more than 65536"),
        ] {
            let error = Segment::new(index, of).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_needs_talk_is_named() {
        let plan = "scenarios:
  by-hand: { executor: externally-controlled, max_vus: 4, flow: [ { request: { url: 'http://h/' } } ] }
  meets:
    executor: constant-vus
    vus: 4
    duration: 1s
    flow: [ { rendezvous: { name: gate, users: 4 } }, { request: { url: 'http://h/' } } ]
  alone: { executor: constant-vus, vus: 4, duration: 1s, flow: [ { request: { url: 'http://h/' } } ] }
";
        let path = std::path::Path::new("p.yaml");
        let options = loadr_config::Options::default();
        let program = loadr_config::compile(plan, path, &options).unwrap().program;
        let problems = needs_talk(&program);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].message.contains("`by-hand`"), "{problems:?}");
        assert!(problems[1].message.contains("`gate`"), "{problems:?}");
    }
}
