//! `loadr-fast plugin`: plugins as files and projects.

pub(crate) mod new;

use clap::Subcommand;

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a project that builds into a plugin.
    #[command(after_help = new::HELP)]
    New(new::NewArgs),
}

/// Does it; the exit code, or what to tell a person.
pub(crate) fn run(command: &PluginCommand) -> Result<u8, String> {
    match command {
        PluginCommand::New(args) => new::run(args),
    }
}
