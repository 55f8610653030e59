//! Which segment a process is, by what launched it: schedulers and MPI launchers tell each process its number, and most how
//! many there are, in the environment.
//!
//! Two kinds of them can be around at once. One of the inner kind (Open MPI, PMI, a Slurm step) starts the process itself,
//! often within a job of the outer kind (Kubernetes, a Slurm array, Nomad, AWS Batch). What cannot be told for sure is
//! refused with a sentence: a wrong guess would make another load than the plan's.

use std::collections::BTreeMap;

use super::Segment;

/// Says outright which segment it is, or that there is none: as `--segment`.
pub const SEGMENT: &str = "LOADR_SEGMENT";
/// How many segments there are, where the launcher does not say it.
pub const COUNT: &str = "LOADR_SEGMENTS";

/// What the processes of one run have in common and those of another have not, where the launcher has no such thing; goes
/// before what it has.
pub const LAUNCH: &str = "LOADR_LAUNCH";

/// What there is to write instead, whatever was wrong.
const INSTEAD: &str =
    "say which it is with `--segment I/N`, or `--segment none` for the whole plan in this process";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `None`: the process is the only one.
    pub segment: Option<Segment>,
    /// Where it was found, for people: the launcher and its variables.
    pub source: String,
    /// What all processes of this launch have in common and another launch has not, where the launcher says it.
    pub launch: Option<String>,
}

/// How a launcher tells a process what it is.
struct Launcher {
    name: &'static str,
    index: &'static str,
    /// The first that is set counts; none of them where the launcher does not say how many there are.
    counts: &'static [&'static str],
    /// Only where one of these is set; always, where there are none.
    within: &'static [&'static str],
    /// The first that is set.
    launch: &'static [&'static str],
    /// What it is in other words, where its own number of processes is not known.
    count_is: &'static str,
}

/// Those that start each process themselves.
const INNER: &[Launcher] = &[
    Launcher {
        name: "Open MPI",
        index: "OMPI_COMM_WORLD_RANK",
        counts: &["OMPI_COMM_WORLD_SIZE"],
        within: &[],
        launch: &["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"],
        count_is: "the number of ranks",
    },
    Launcher {
        name: "PMI",
        index: "PMI_RANK",
        counts: &["PMI_SIZE"],
        within: &[],
        launch: &["PMI_JOBID", "SLURM_JOB_ID"],
        count_is: "the number of ranks",
    },
    Launcher {
        name: "a Slurm step",
        index: "SLURM_PROCID",
        counts: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        // A batch script has the number 0 and the count of all, and is nobody's part.
        within: &["SLURM_STEP_ID", "SLURM_STEPID"],
        launch: &["SLURM_JOB_ID"],
        count_is: "the number of tasks",
    },
];

/// PMIx says a number and no count; what launches with it mostly says both in its own words, which then count.
const PMIX: Launcher = Launcher {
    name: "PMIx",
    index: "PMIX_RANK",
    counts: &[COUNT],
    within: &[],
    launch: &["PMIX_NAMESPACE"],
    count_is: "the number of ranks",
};

/// Those that make a job of several.
const OUTER: &[Launcher] = &[
    Launcher {
        name: "a Kubernetes Indexed Job",
        index: "JOB_COMPLETION_INDEX",
        counts: &[COUNT],
        within: &[],
        launch: &[],
        count_is: "the Job's `completions`",
    },
    Launcher {
        name: "an AWS Batch array",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        counts: &["AWS_BATCH_JOB_ARRAY_SIZE"],
        within: &[],
        launch: &[],
        count_is: "the array's size",
    },
    Launcher {
        name: "a Nomad group",
        index: "NOMAD_ALLOC_INDEX",
        counts: &[COUNT],
        within: &[],
        launch: &[],
        count_is: "the group's `count`",
    },
];

/// Reads `I/N`, or `none`.
///
/// # Errors
/// What is wrong with it and what is meant.
pub fn parse(text: &str) -> Result<Option<Segment>, String> {
    if text == "none" {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let parts = text
        .split_once('/')
        .and_then(|(index, of)| Some((number(index)?, number(of)?)));
    let Some((index, of)) = parts else {
        return Err(
            "expected `I/N`, which of how many segments, counted from 0 (such as `0/4`), or `none`"
                .to_owned(),
        );
    };
    let segment = Segment::new(index, of)?;
    Ok(segment.is_part().then_some(segment))
}

/// Which segment the environment says that this process is.
///
/// # Errors
/// What is wrong with what it says, and what to do.
pub fn find(environment: &BTreeMap<String, String>) -> Result<Option<Found>, String> {
    let environment = Environment(environment);
    if let Some(text) = environment.get(SEGMENT) {
        let segment = parse(text).map_err(|error| format!("{SEGMENT}={text}: {error}"))?;
        return Ok(Some(Found {
            segment,
            source: format!("{SEGMENT}={text}"),
            launch: environment.get(LAUNCH).map(str::to_owned),
        }));
    }
    let mut inner = Vec::new();
    for launcher in INNER {
        inner.extend(launcher.find(&environment)?);
    }
    let mut outer = Vec::new();
    for launcher in OUTER {
        outer.extend(launcher.find(&environment)?);
    }
    outer.extend(slurm_array(&environment)?);
    if inner.is_empty() && outer.is_empty() {
        inner.extend(PMIX.find(&environment)?);
    }
    // An MPI launcher makes use of Slurm to reach the machines, and its processes then have both: its own counts.
    let is_mpi = |found: &Found| !found.source.starts_with("a Slurm step");
    if inner.iter().any(is_mpi) {
        inner.retain(is_mpi);
    }
    let inner = agreed(inner)?;
    let outer = agreed(outer)?;
    let found = match (inner, outer) {
        (Some(inner), Some(outer)) if inner.segment.is_some() && outer.segment.is_some() => {
            return Err(format!(
                "this process is one of several twice over: {} and {}; whether these are parts of one load, and which is \
                 which, cannot be told: {INSTEAD}",
                inner.source, outer.source
            ));
        }
        (Some(inner), Some(outer)) if inner.segment.is_none() => Some(outer),
        (Some(found), _) | (None, Some(found)) => Some(found),
        (None, None) => None,
    };
    if let Some(text) = environment.get(COUNT) {
        let count = number("the environment", COUNT, text)?;
        let of = found
            .as_ref()
            .map_or(1, |found| found.segment.map_or(1, |s| s.of));
        match &found {
            None if count != 1 => {
                return Err(format!(
                    "{COUNT}={text} says how many segments there are, and nothing says which of them this process is: {INSTEAD}"
                ));
            }
            Some(found) if count != of => {
                return Err(format!(
                    "{COUNT}={text} contradicts {}: {INSTEAD}",
                    found.source
                ));
            }
            None | Some(_) => {}
        }
    }
    let launch = environment.get(LAUNCH);
    Ok(found.map(|found| Found {
        launch: launch.map(str::to_owned).or(found.launch),
        ..found
    }))
}

/// One of those that were found, where they say the same.
fn agreed(found: Vec<Found>) -> Result<Option<Found>, String> {
    let mut all = found.into_iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    match all.find(|other| other.segment != first.segment) {
        None => Ok(Some(first)),
        Some(other) => Err(format!(
            "two launchers contradict each other about which segment this process is: {} and {}: {INSTEAD}",
            first.source, other.source
        )),
    }
}

struct Environment<'e>(&'e BTreeMap<String, String>);

impl<'e> Environment<'e> {
    /// One that is empty is not set.
    fn get(&self, name: &str) -> Option<&'e str> {
        let value = self.0.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &'e str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }
}

fn number(launcher: &str, name: &str, value: &str) -> Result<u32, String> {
    value.parse().map_err(|_| {
        let value: String = value.chars().take(40).collect();
        format!("{launcher} says {name}={value:?}, which is no number: {INSTEAD}")
    })
}

impl Launcher {
    fn find(&self, environment: &Environment<'_>) -> Result<Option<Found>, String> {
        if !self.within.is_empty() && environment.first(self.within).is_none() {
            return Ok(None);
        }
        let (name, index) = (self.name, self.index);
        let (rank, (count, of)) = match (environment.get(index), environment.first(self.counts)) {
            (Some(rank), Some(count)) => (rank, count),
            // That the common one is set says nothing about this launcher.
            (None, None | Some((COUNT, _))) => return Ok(None),
            (Some(rank), None) => {
                return Err(format!(
                    "{name} says {index}={rank}, which process this is, and not how many there are: set {} to {}, or {INSTEAD}",
                    self.counts.first().unwrap_or(&COUNT),
                    self.count_is
                ));
            }
            (None, Some((count, of))) => {
                return Err(format!(
                    "{name} says {count}={of}, how many processes there are, and not which this is, as {index} does: {INSTEAD}"
                ));
            }
        };
        let source = format!("{name} ({index}={rank}, {count}={of})");
        let segment = Segment::new(number(name, index, rank)?, number(name, count, of)?)
            .map_err(|error| format!("{source}: {error}: {INSTEAD}"))?;
        Ok(Some(Found {
            segment: segment.is_part().then_some(segment),
            source,
            launch: environment.first(self.launch).map(|(_, id)| id.to_owned()),
        }))
    }
}

/// The tasks of a Slurm array have numbers of the user's choice; where these have equal steps their order is known.
fn slurm_array(environment: &Environment<'_>) -> Result<Option<Found>, String> {
    const ID: &str = "SLURM_ARRAY_TASK_ID";
    let name = "a Slurm array";
    let Some(id) = environment.get(ID) else {
        return Ok(None);
    };
    let mut numbers = [0; 3];
    for (value, variable) in numbers.iter_mut().zip([
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_COUNT",
    ]) {
        let text = environment.get(variable).ok_or_else(|| {
            format!("{name} says {ID}={id}, and not {variable}, which it takes to know how many there are: {INSTEAD}")
        })?;
        *value = number(name, variable, text)?;
    }
    let [min, max, count] = numbers;
    let step = match environment.get("SLURM_ARRAY_TASK_STEP") {
        Some(step) => number(name, "SLURM_ARRAY_TASK_STEP", step)?.max(1),
        None => 1,
    };
    let source = format!(
        "{name} ({ID}={id}, from {min} to {max} in steps of {step}, SLURM_ARRAY_TASK_COUNT={count})"
    );
    let task = number(name, ID, id)?;
    let is_regular = max >= min && (max - min) / step + 1 == count;
    let place = task.checked_sub(min).filter(|past| past % step == 0);
    let (true, Some(past)) = (is_regular, place) else {
        return Err(format!(
            "{source}: the numbers have gaps, so which in order this one is cannot be told: use `--array=0-{}`, or {INSTEAD}",
            count.saturating_sub(1)
        ));
    };
    let segment = Segment::new(past / step, count)
        .map_err(|error| format!("{source}: {error}: {INSTEAD}"))?;
    Ok(Some(Found {
        segment: segment.is_part().then_some(segment),
        source,
        launch: environment
            .first(&["SLURM_ARRAY_JOB_ID"])
            .map(|(_, id)| id.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &str) -> BTreeMap<String, String> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        pairs.split_whitespace().map(pair).collect()
    }

    /// What is found, as a person would write it.
    fn found(pairs: &str) -> String {
        match find(&environment(pairs)) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Found { segment: None, .. })) => "none".to_owned(),
            Ok(Some(Found {
                segment: Some(segment),
                ..
            })) => segment.to_string(),
            Err(error) => panic!("{pairs}: {error}"),
        }
    }

    #[test]
    fn each_launcher_is_understood() {
        for (pairs, expected) in [
            ("HOME=/root", "nothing"),
            ("LOADR_SEGMENT=1/4", "1/4"),
            (
                "LOADR_SEGMENT=none SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2",
                "none",
            ),
            ("JOB_COMPLETION_INDEX=2 LOADR_SEGMENTS=3", "2/3"),
            ("JOB_COMPLETION_INDEX=0 LOADR_SEGMENTS=1", "none"),
            (
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 PMIX_RANK=1",
                "1/3",
            ),
            ("PMI_RANK=7 PMI_SIZE=8", "7/8"),
            ("PMIX_RANK=2 LOADR_SEGMENTS=4", "2/4"),
            ("SLURM_STEP_ID=0 SLURM_PROCID=3 SLURM_NTASKS=4", "3/4"),
            // Of a job of four tasks this step has two.
            (
                "SLURM_STEP_ID=1 SLURM_PROCID=1 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=2",
                "1/2",
            ),
            // `srun` of a single task, and a batch script without `srun`, are whole runs.
            ("SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_NTASKS=1", "none"),
            ("SLURM_PROCID=0 SLURM_NTASKS=8 SLURM_JOB_ID=1", "nothing"),
            (
                "AWS_BATCH_JOB_ARRAY_INDEX=9 AWS_BATCH_JOB_ARRAY_SIZE=10",
                "9/10",
            ),
            ("NOMAD_ALLOC_INDEX=1 LOADR_SEGMENTS=2", "1/2"),
            // Empty is not set.
            ("PMI_RANK= PMI_SIZE= HOME=/root", "nothing"),
            ("LOADR_SEGMENTS=1", "nothing"),
        ] {
            assert_eq!(found(pairs), expected, "{pairs}");
        }
        let array = |id: u32, min: u32, max: u32, step: u32, count: u32| {
            found(&format!(
                "SLURM_ARRAY_TASK_ID={id} SLURM_ARRAY_TASK_MIN={min} SLURM_ARRAY_TASK_MAX={max} SLURM_ARRAY_TASK_STEP={step} \
                 SLURM_ARRAY_TASK_COUNT={count} SLURM_PROCID=0 SLURM_STEP_ID=0 SLURM_NTASKS=1"
            ))
        };
        assert_eq!(array(3, 0, 7, 1, 8), "3/8");
        assert_eq!(array(9, 1, 13, 4, 4), "2/4");
        // The last of the range is not always hit.
        assert_eq!(array(8, 0, 9, 4, 3), "2/3");
        assert_eq!(array(5, 5, 5, 1, 1), "none");
    }

    #[test]
    fn processes_of_one_launch_have_its_id_in_common() {
        for (pairs, id) in [
            (
                "SLURM_STEP_ID=0 SLURM_PROCID=3 SLURM_NTASKS=4 SLURM_JOB_ID=77",
                Some("77"),
            ),
            (
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 PMIX_NAMESPACE=123",
                Some("123"),
            ),
            (
                "JOB_COMPLETION_INDEX=2 LOADR_SEGMENTS=3 LOADR_LAUNCH=load-7",
                Some("load-7"),
            ),
            ("PMI_RANK=7 PMI_SIZE=8", None),
        ] {
            let found = find(&environment(pairs)).unwrap().unwrap();
            assert_eq!(found.launch.as_deref(), id, "{pairs}");
        }
    }

    #[test]
    fn an_mpi_launcher_within_a_slurm_job_is_what_counts() {
        let slurm = "SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_JOB_ID=5";
        let mpi = "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8";
        assert_eq!(found(&format!("{slurm} {mpi}")), "5/8");
        let pmi = "PMI_RANK=1 PMI_SIZE=2";
        assert_eq!(found(&format!("{slurm} {pmi}")), "1/2");
    }

    #[test]
    fn what_cannot_be_told_is_refused_with_what_to_write() {
        let array = "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_COUNT=3";
        let step = "SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2";
        for (pairs, says) in [
            ("LOADR_SEGMENT=5/4", "there is no segment 5 of 4"),
            ("LOADR_SEGMENT=a/b", "expected `I/N`"),
            ("LOADR_SEGMENTS=4", "nothing says which of them"),
            (
                "LOADR_SEGMENTS=many",
                "LOADR_SEGMENTS=\"many\", which is no number",
            ),
            (
                "LOADR_SEGMENTS=4 PMI_RANK=1 PMI_SIZE=8",
                "LOADR_SEGMENTS=4 contradicts PMI (PMI_RANK=1, PMI_SIZE=8)",
            ),
            (
                "JOB_COMPLETION_INDEX=2",
                "set LOADR_SEGMENTS to the Job's `completions`",
            ),
            (
                "JOB_COMPLETION_INDEX=3 LOADR_SEGMENTS=3",
                "there is no segment 3 of 3",
            ),
            (
                "JOB_COMPLETION_INDEX=x LOADR_SEGMENTS=3",
                "JOB_COMPLETION_INDEX=\"x\", which is no number",
            ),
            (
                "NOMAD_ALLOC_INDEX=0",
                "set LOADR_SEGMENTS to the group's `count`",
            ),
            ("PMIX_RANK=1", "set LOADR_SEGMENTS to the number of ranks"),
            ("OMPI_COMM_WORLD_RANK=1", "not how many there are"),
            ("PMI_SIZE=4", "not which this is, as PMI_RANK does"),
            (
                "SLURM_STEP_ID=0 SLURM_PROCID=1",
                "set SLURM_STEP_NUM_TASKS to the number of tasks",
            ),
            (
                "OMPI_COMM_WORLD_RANK=-1 OMPI_COMM_WORLD_SIZE=4",
                "OMPI_COMM_WORLD_RANK=\"-1\", which is no number",
            ),
            (
                "PMI_RANK=1 PMI_SIZE=2 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3",
                "contradict each other",
            ),
            (array, "use `--array=0-2`"),
            ("SLURM_ARRAY_TASK_ID=5", "not SLURM_ARRAY_TASK_MIN"),
            ("AWS_BATCH_JOB_ARRAY_SIZE=4", "not which this is"),
            ("PMI_RANK=0 PMI_SIZE=4294967295", "more than 65536"),
            (
                "PMI_RANK=0 PMI_SIZE=99999999999",
                "PMI_SIZE=\"99999999999\", which is no number",
            ),
        ] {
            let error = find(&environment(pairs)).unwrap_err();
            assert!(error.contains(says), "{pairs}: {error}");
            assert!(
                error.contains("--segment")
                    || error.contains("I/N")
                    || pairs.contains("LOADR_SEGMENT="),
                "{error}"
            );
        }
        let both = format!(
            "{step} SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=3 SLURM_ARRAY_TASK_COUNT=4"
        );
        let error = find(&environment(&both)).unwrap_err();
        assert!(error.contains("one of several twice over"), "{error}");
    }

    #[test]
    fn segments_are_read_as_they_are_written() {
        assert_eq!(parse("2/8"), Ok(Some(Segment { index: 2, of: 8 })));
        assert_eq!((parse("0/1"), parse("none")), (Ok(None), Ok(None)));
        for text in [
            "", "1", "1/", "/2", "1/2/3", "-1/2", "2/2", "0/0", "1.0/2", "all",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
