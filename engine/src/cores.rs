//! Which processors the shards run on, and which are left to everything else.

use std::marker::PhantomData;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

pub use loadr_config::CoreChoice;

/// The processors that this process may use, in ascending order.
#[must_use]
pub fn available() -> Vec<usize> {
    let mut ids: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    ids.sort_unstable();
    if ids.is_empty() { vec![0] } else { ids }
}

/// The shards' processors, one a shard.
///
/// # Errors
/// When more are asked for than there are and `oversubscribe` is not set, or one is listed that may not be used.
pub fn choose(
    choice: Option<&CoreChoice>,
    available: &[usize],
    oversubscribe: bool,
) -> Result<Vec<usize>, String> {
    match choice {
        // One is left for the housekeeping thread where there are enough.
        None if available.len() > 2 => Ok(available[..available.len() - 1].to_vec()),
        None => Ok(available.to_vec()),
        Some(CoreChoice::Count(n)) if *n <= available.len() => Ok(available[..*n].to_vec()),
        Some(CoreChoice::Count(n)) if oversubscribe => {
            if *n > 1024 {
                return Err(format!("{n} shards are too many: 1024 is the most"));
            }
            Ok(available.iter().copied().cycle().take(*n).collect())
        }
        Some(CoreChoice::Count(n)) => Err(format!(
            "{n} cores are asked for and this process may use {}: ask for fewer, or add --oversubscribe to run \
             several shards on a core",
            available.len()
        )),
        Some(CoreChoice::List(list)) => match list.iter().find(|core| !available.contains(core)) {
            None => Ok(list.clone()),
            Some(core) => Err(format!(
                "core {core} may not be used by this process: it may use {}",
                available
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            )),
        },
    }
}

/// Keeps the calling thread off the processors in `used` for as long as it lives, where there are others that the thread
/// may use: what watches a run must not take turns with a shard.
#[must_use]
pub fn stand_aside(used: &[usize]) -> Aside {
    let aside = || -> nix::Result<CpuSet> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        let mut rest = before;
        for &core in used {
            rest.unset(core)?;
        }
        let is_left = (0..CpuSet::count()).any(|core| rest.is_set(core).unwrap_or(false));
        if is_left {
            sched_setaffinity(Pid::from_raw(0), &rest)?;
        }
        Ok(before)
    };
    // Where the system does not say or allow it, the thread runs where the system likes.
    Aside {
        before: aside().ok(),
        not_send: PhantomData,
    }
}

/// See [`stand_aside`]: the thread gets its processors back when this is dropped.
#[derive(Debug)]
pub struct Aside {
    before: Option<CpuSet>,
    /// It is about the thread that it was made on.
    not_send: PhantomData<*const ()>,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = sched_setaffinity(Pid::from_raw(0), before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_leaves_a_core_to_housekeeping_when_there_are_more_than_two() {
        assert_eq!(choose(None, &[0, 1], false), Ok(vec![0, 1]));
        assert_eq!(choose(None, &[0, 1, 2, 5], false), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn more_cores_than_there_are_is_an_error_that_says_how_many_and_names_the_way_out() {
        let error = choose(Some(&CoreChoice::Count(3)), &[4, 5], false).unwrap_err();
        assert!(
            error.contains("may use 2") && error.contains("--oversubscribe"),
            "{error}"
        );
        assert_eq!(
            choose(Some(&CoreChoice::Count(3)), &[4, 5], true),
            Ok(vec![4, 5, 4])
        );
        let error = choose(Some(&CoreChoice::List(vec![4, 6])), &[4, 5], true).unwrap_err();
        assert!(error.contains("core 6") && error.contains("4,5"), "{error}");
    }

    #[test]
    fn a_thread_stands_aside_where_there_is_another_core_and_comes_back() {
        let all = available();
        let (used, rest) = all.split_at(1);
        let aside = stand_aside(used);
        assert_eq!(available(), if rest.is_empty() { &all } else { rest });
        drop(aside);
        assert_eq!(available(), all);
        let aside = stand_aside(&all);
        assert_eq!(available(), all);
        drop(aside);
        assert_eq!(available(), all);
    }
}
