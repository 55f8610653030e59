//! When what is printed has colours.

use std::env;

use clap::ValueEnum;

/// What `--color` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also where it is no terminal.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    /// Whether to print colours on a stream.
    pub(crate) fn is_on(self, is_terminal: bool) -> bool {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            // https://no-color.org
            Self::Auto => is_terminal && !is_set("NO_COLOR") && !is_dumb,
        }
    }
}
