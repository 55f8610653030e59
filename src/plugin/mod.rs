//! `loadr-fast plugin …`: what can be said, and which file does it. What plugins are is in `loadr-plugin-host`.

mod bench;
mod call;
mod manage;
mod new;
mod response;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use loadr_engine::PluginSources;
use loadr_plugin_host::{Cache, Host, Plugin, Store, StoreError};
use serde_json::Value;

pub(crate) use bench::BenchArgs;
pub(crate) use call::CallArgs;

#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    #[command(flatten)]
    pub(crate) directory: Directory,

    #[command(subcommand)]
    command: Command,
}

/// Where plugins are installed.
#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Where plugins are installed. Default: `~/.loadr/plugins`.
    #[arg(long, value_name = "DIR", env = "LOADR_PLUGINS_DIR", global = true)]
    plugins_dir: Option<PathBuf>,
}

impl Directory {
    /// The store there, with the user's cache; none where there is no home directory to look in.
    pub(crate) fn store(&self) -> Option<Store> {
        let dir = self
            .plugins_dir
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty());
        Some(Store::open(
            &dir.or_else(Store::usual_dir)?,
            Cache::of_user(),
        ))
    }

    /// Where the plugins of a plan come from.
    pub(crate) fn sources(&self) -> PluginSources {
        PluginSources {
            store: self.store(),
            cache: Cache::of_user(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a project that builds into a plugin.
    #[command(after_help = new::HELP)]
    New(new::NewArgs),
    /// Install a plugin: a package directory, a .tar.gz of one, or a bare .wasm component.
    ///
    /// Everything is checked and compiled before anything changes. A plugin of the same name is replaced; a disabled one
    /// stays disabled.
    #[command(after_help = "Example:\n  loadr-fast plugin install ./my-extractor")]
    Install {
        /// The package directory, .tar.gz or .wasm.
        path: PathBuf,
    },
    /// List the installed plugins.
    #[command(after_help = "Example:\n  loadr-fast plugin list --json")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of an installed plugin.
    #[command(after_help = "Example:\n  loadr-fast plugin info my-extractor")]
    Info {
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an installed plugin.
    #[command(after_help = "Example:\n  loadr-fast plugin remove my-extractor")]
    Remove {
        /// Its name.
        name: String,
    },
    /// Let plans use a disabled plugin again.
    #[command(after_help = "Example:\n  loadr-fast plugin enable my-extractor")]
    Enable {
        /// Its name.
        name: String,
    },
    /// Keep plans from using an installed plugin.
    #[command(after_help = "Example:\n  loadr-fast plugin disable my-extractor")]
    Disable {
        /// Its name.
        name: String,
    },
    /// Call a plugin once and print what it says.
    #[command(after_help = call::HELP)]
    Call(CallArgs),
    /// Measure what a call of a plugin costs.
    #[command(after_help = bench::HELP)]
    Bench(BenchArgs),
}

/// Does what was said; the exit code, or what to tell a person.
pub(crate) fn run(args: &PluginArgs) -> Result<u8, String> {
    let store = || {
        args.directory
            .store()
            .ok_or("no plugins directory: neither HOME nor LOADR_PLUGINS_DIR is set; name one with --plugins-dir")
    };
    match &args.command {
        Command::New(args) => new::run(args),
        Command::Install { path } => manage::install(&store()?, path),
        Command::List { json } => manage::list(&store()?, *json),
        Command::Info { name, json } => manage::info(&store()?, name, *json),
        Command::Remove { name } => manage::remove(&store()?, name),
        Command::Enable { name } => manage::enable(&store()?, name),
        Command::Disable { name } => manage::disable(&store()?, name),
        Command::Call(call) => call::run(call, &args.directory),
        Command::Bench(bench) => bench::run(bench, &args.directory),
    }
}

/// Loads `NAME|PATH`. No name has a dot or a slash in it, and a path to a file or directory needs neither more nor less.
fn load(host: &Host, directory: &Directory, plugin: &str) -> Result<Plugin, String> {
    if plugin.contains(['/', '.']) {
        return Cache::of_user()
            .load(host, Path::new(plugin))
            .map_err(|error| error.to_string());
    }
    let store = directory
        .store()
        .ok_or("no plugins directory: set HOME, or name one with --plugins-dir")?;
    store.load(host, plugin).map_err(|error| match &error {
        StoreError::NotInstalled { .. } if Path::new(plugin).exists() => {
            format!("{error}; for the file or directory here write ./{plugin}")
        }
        _ => told(&error),
    })
}

/// An error of the store, with a near name where there is one.
fn told(error: &StoreError) -> String {
    match error {
        StoreError::NotInstalled {
            name, installed, ..
        } => match loadr_config::did_you_mean(name, installed.iter().map(String::as_str)) {
            Some(help) => format!("{error}; {help}"),
            None => format!("{error}; `loadr-fast plugin list` shows what is"),
        },
        _ => error.to_string(),
    }
}

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
fn print(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}
