//! Where requests go, over what the plan says: another base URL, the built-in target, targets that prove nothing.

use clap::Args;
use loadr_config::Options;
use loadr_target::{Settings, Target};

use crate::source::Source;

/// Where requests go.
#[derive(Debug, Args)]
pub(crate) struct AimArgs {
    /// Where the plan's paths, such as `/orders`, lead: `http://127.0.0.1:8080`. Replaces `defaults.http.base_url`.
    #[arg(long, value_name = "URL", conflicts_with = "embedded_target")]
    pub(crate) base_url: Option<String>,

    /// Start the built-in target on a free loopback port and point the plan's `base_url` at it.
    #[arg(long)]
    pub(crate) embedded_target: bool,

    /// Take any certificate that a target shows: one that it has signed itself, has expired or is another's. As
    /// `defaults.http.tls.insecure_skip_verify` does.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
}

/// What the arguments came to.
pub(crate) struct Aim {
    base_url: Option<String>,
    is_insecure: bool,
    /// Serves for as long as this is there.
    _target: Option<Target>,
}

impl AimArgs {
    /// Starts the built-in target, where it is asked for.
    pub(crate) fn take(&self, source: &Source) -> Result<Aim, String> {
        let flag = match (&self.base_url, self.embedded_target) {
            (Some(_), _) => Some("--base-url"),
            (None, true) => Some("--embedded-target"),
            (None, false) => None,
        };
        if let (Source::Quick(_), Some(flag)) = (source, flag) {
            return Err(format!(
                "{flag} is for plans; a URL says itself where the requests go: leave one of the two out"
            ));
        }
        let target = self
            .embedded_target
            .then(|| Target::start(&Settings::loopback()))
            .transpose()
            .map_err(|error| format!("cannot start the built-in target: {error}"))?;
        let base_url = match &target {
            Some(target) => Some(format!("http://{}", target.address())),
            None => self.base_url.clone(),
        };
        Ok(Aim {
            base_url,
            is_insecure: self.insecure,
            _target: target,
        })
    }
}

impl Aim {
    /// The options with it laid over.
    pub(crate) fn over(&self, options: Options) -> Options {
        Options {
            base_url: self.base_url.clone(),
            is_insecure: self.is_insecure,
            ..options
        }
    }
}
