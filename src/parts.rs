//! `run --segment`: which part of the plan this process makes, where that was found, and what follows from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use loadr_config::{Diagnostic, OutputTo, Program};
use loadr_engine::segment::{self, launcher};
use loadr_engine::{Segment, Start, rfc3339_ms};

use crate::cli::RunArgs;
use crate::start_at::StartAt;

/// Stands in the name of a file for the segment's number, so that processes with one command line do not write one file.
const PLACEHOLDER: &str = "{segment}";

/// What was said on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said(Option<Segment>);

/// Reads `--segment`.
pub(crate) fn parse(text: &str) -> Result<Said, String> {
    launcher::parse(text).map(Said)
}

/// Which part of a plan this process makes, and when.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) segment: Option<Segment>,
    /// Where that is said, for people.
    source: String,
    launch: Option<String>,
    /// The instant that was said for all.
    start_at: Option<SystemTime>,
    /// Where the files of all segments go.
    folders: Vec<PathBuf>,
}

impl Part {
    /// By the command line, or else by what launched the process.
    pub(crate) fn of(args: &RunArgs) -> Result<Self, String> {
        let start_at = match args.part.start_at {
            Some(at) => Some(at.from(SystemTime::now())?),
            None => None,
        };
        let environment = super::run::options(None).environment;
        if let Some(Said(segment)) = args.part.segment {
            return Ok(Self {
                segment,
                source: "--segment".to_owned(),
                launch: environment.get(launcher::LAUNCH).cloned(),
                start_at,
                folders: Vec::new(),
            });
        }
        let found = launcher::find(&environment)?;
        let nothing = "nothing in the environment says that this process is one of several";
        Ok(match found {
            Some(found) => Self {
                segment: found.segment,
                source: found.source,
                launch: found.launch,
                start_at,
                folders: Vec::new(),
            },
            None => Self {
                segment: None,
                source: nothing.to_owned(),
                launch: None,
                start_at,
                folders: Vec::new(),
            },
        })
    }

    /// What all processes of this launch have in common and another launch has not, where the launcher says it.
    pub(crate) fn launch(&self) -> Option<&str> {
        self.launch.as_deref()
    }

    /// Whether an instant was said for all.
    pub(crate) fn has_instant(&self) -> bool {
        self.start_at.is_some()
    }

    /// Whether others make the rest of the load.
    pub(crate) fn is_part(&self) -> bool {
        self.segment.is_some()
    }

    /// A line for people and scripts: `2/8`, or `none`, and where that was found.
    pub(crate) fn line(&self) -> String {
        match self.segment {
            Some(segment) => format!("{segment}: {}\n", self.source),
            None => format!("none: {}\n", self.source),
        }
    }

    /// What a person should know who sees nothing happen.
    pub(crate) fn waiting(&self) -> Option<String> {
        let at = self.start_at?;
        let ahead = at.duration_since(SystemTime::now()).ok()?;
        let unix_ms = at.duration_since(UNIX_EPOCH).ok()?.as_millis();
        Some(format!(
            "begins at {}, in {:.1} s",
            rfc3339_ms(u64::try_from(unix_ms).ok()?),
            ahead.as_secs_f64()
        ))
    }

    pub(crate) fn start(&self) -> Start {
        self.start_at.map_or(Start::AtOnce, Start::At)
    }

    /// The seed where none was given: the same in all segments, which cannot ask each other.
    pub(crate) fn seed(&self, program: &Program, args: &RunArgs) -> u64 {
        match (args.seed, self.segment) {
            (Some(seed), _) => seed,
            (None, None) => super::run::seed(),
            (None, Some(_)) => {
                // What another launch of the same plan has not, so that it draws other numbers.
                let start = match args.part.start_at {
                    Some(StartAt::Instant(at)) => at.duration_since(UNIX_EPOCH).ok(),
                    _ => None,
                };
                let start = start.map(|since| since.as_millis().to_string());
                let launch = [self.launch.as_deref(), start.as_deref()];
                segment::common_seed(program, &launch.map(Option::unwrap_or_default).join("/"))
            }
        }
    }

    /// What processes that do not talk cannot make of the plan.
    pub(crate) fn cannot(&self, program: &Program) -> Vec<Diagnostic> {
        match self.segment {
            Some(_) => segment::needs_talk(program),
            None => Vec::new(),
        }
    }

    /// Puts the segment's number where the name of a result file leaves room for it.
    pub(crate) fn name_files(&mut self, args: &mut RunArgs) {
        for path in [
            &mut args.summary_export,
            &mut args.histograms,
            &mut args.junit,
        ] {
            path.iter_mut().for_each(|path| self.name(path));
        }
    }

    /// Makes the folders that all segments' files go into, when the run is about to begin: whoever comes second finds them.
    /// What is in the way is said where a file is opened.
    pub(crate) fn make_folders(&self) {
        for folder in &self.folders {
            let _ = fs::create_dir(folder);
        }
    }

    /// The same for files that are fed. Only now that the plan has its fingerprint: it is one plan for all segments.
    pub(crate) fn name_outputs(&mut self, program: &mut Program) {
        for output in &mut program.outputs {
            if let OutputTo::Json { path, .. } | OutputTo::Csv { path } = &mut output.to {
                self.name(path);
            }
        }
    }

    fn name(&mut self, path: &mut PathBuf) {
        let number = self.segment.map_or(0, |segment| segment.index).to_string();
        if let Some(text) = path.to_str().filter(|text| text.contains(PLACEHOLDER)) {
            *path = Path::new(&text.replace(PLACEHOLDER, &number)).to_owned();
            self.folders.extend(path.parent().map(Path::to_owned));
        }
    }
}
