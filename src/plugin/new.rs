//! `loadr-fast plugin new`: a project that builds, in the language of choice.
//!
//! All of it is written beside its place and moved there, so that it is whole or not there.

mod templates;

use std::fs;
use std::io::{self, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use templates::File;

/// The longest name, in bytes: it is also a directory's, and the host takes no longer one.
const NAME_BYTES_MAX: usize = 64;

pub(crate) const HELP: &str = "\
Examples:
  loadr-fast plugin new --lang rust my-extractor
  loadr-fast plugin new --lang python --kind assertion --dir plugins/judge judge";

/// The arguments of `plugin new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name: a lower-case letter, then lower-case letters, digits and `-`.
    #[arg(value_parser = parse_name)]
    name: String,

    /// What it is written in.
    #[arg(long, value_enum)]
    lang: Language,

    /// What it does: take a value out of a response, or judge one.
    #[arg(long, value_enum, default_value_t = Kind::Extractor)]
    kind: Kind,

    /// Where to put it; a directory of that name in this one when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    Python,
    Javascript,
    Go,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Extractor,
    Assertion,
}

fn parse_name(name: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || name.len() > NAME_BYTES_MAX
        || !name.bytes().all(legal)
    {
        return Err(format!(
            "a name is a lower-case letter and at most {} more lower-case letters, digits and `-`, such as `my-extractor`",
            NAME_BYTES_MAX - 1
        ));
    }
    Ok(name.to_owned())
}

/// Writes the project; the exit code, or what to tell a person.
pub(crate) fn run(args: &NewArgs) -> Result<u8, String> {
    let directory = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = directory.display();
    match fs::read_dir(&directory) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(format!(
                    "{shown} is there and not empty; name another directory with --dir"
                ));
            }
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("cannot write to {shown}: {error}"));
        }
        Err(_) => {}
    }
    let files = templates::project(&args.name, args.lang, args.kind);
    write(&directory, &files).map_err(|error| format!("cannot write {shown}: {error}"))?;
    let steps = templates::build_steps(args.lang);
    // A reader that has gone away is no error.
    let _ = writeln!(
        stdout(),
        "Wrote {shown}: an {} plugin in {}.\n\nNext:\n  cd {shown}\n  {}\n  loadr-fast run --embedded-target plan.yaml",
        args.kind.name(),
        args.lang.name(),
        steps.join("\n  ")
    );
    Ok(0)
}

impl Language {
    /// For a sentence.
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Javascript => "JavaScript",
            Self::Go => "Go",
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Extractor => "extractor",
            Self::Assertion => "assertion",
        }
    }
}

/// Writes the files to a directory beside `directory` and moves it there. An empty directory gives way to it.
fn write(directory: &Path, files: &[File]) -> io::Result<()> {
    let name = directory
        .file_name()
        .ok_or_else(|| io::Error::other("it has no name of its own"))?;
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let mut partial_name = std::ffi::OsString::from(".");
    partial_name.push(name);
    partial_name.push(format!(".{}.partial", std::process::id()));
    let partial = parent.join(partial_name);
    fs::create_dir(&partial)?;
    let written = files
        .iter()
        .try_for_each(|file| write_file(&partial, file))
        // Something may have been put there meanwhile: the system moves a directory only over an empty one.
        .and_then(|()| fs::rename(&partial, directory));
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

fn write_file(root: &Path, file: &File) -> io::Result<()> {
    let path = root.join(&file.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, &file.text)?;
    if file.is_script {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
