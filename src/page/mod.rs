//! The live page: a run in a browser while it goes on, with charts, a way to steer it, and how it ended. It is served by a
//! few threads that stand aside of the shards' cores, from what the housekeeping thread has put together once a second.

mod gate;
mod hub;
mod server;
mod steer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use loadr_engine::{Status, Summary};

use crate::signals::Signals;
use crate::watch::{About, Frame, terminal};
use gate::Gate;
use hub::Hub;
use steer::Steer;

/// A token that is shorter can be guessed.
const TOKEN_LENGTH_MIN: usize = 16;

/// What can be said of the page.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live page")]
pub(crate) struct UiArgs {
    /// Serve a page that shows the run while it goes on and can steer it. The address stands after `=`, as in `--ui=7070` or
    /// `--ui=127.0.0.1:7070`; without one it is a free port of 127.0.0.1, which is printed.
    #[arg(
        long,
        value_name = "ADDR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:0",
        value_parser = address
    )]
    ui: Option<SocketAddr>,

    /// What a browser must know to see the page, which is then at `/?token=TOKEN`: at least 16 letters, digits, `-` or `_`.
    /// Needed for an address that other machines can reach.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "LOADR_UI_TOKEN",
        hide_env_values = true,
        value_parser = token
    )]
    ui_token: Option<String>,

    /// Serve the page until Ctrl-C when the run is over, instead of until its readers have seen the end.
    #[arg(long, requires = "ui")]
    ui_keep: bool,
}

/// How the page is served.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    address: SocketAddr,
    token: Option<String>,
    is_kept: bool,
}

impl UiArgs {
    /// Where and to whom, if a page was asked for.
    pub(crate) fn settings(&self, is_quiet: bool) -> Result<Option<Settings>, String> {
        let Some(address) = self.ui else {
            return Ok(None);
        };
        if !address.ip().is_loopback() && self.ui_token.is_none() {
            return Err(format!(
                "--ui={address} can be reached from other machines, and whoever sees the page can stop the run: add \
                 --ui-token with {TOKEN_LENGTH_MIN} characters or more, or name a loopback address such as \
                 --ui=127.0.0.1:{}",
                address.port()
            ));
        }
        if is_quiet && address.port() == 0 {
            return Err(
                "with --quiet nobody learns which port the page has: name one, as in --ui=127.0.0.1:7070"
                    .to_owned(),
            );
        }
        Ok(Some(Settings {
            address,
            token: self.ui_token.clone(),
            is_kept: self.ui_keep,
        }))
    }
}

/// A port, an address, or both.
fn address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let text = match text.strip_prefix("localhost") {
        Some("") => return Ok(SocketAddr::new(loopback, 0)),
        Some(port) => port.strip_prefix(':').unwrap_or(text),
        None => text,
    };
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(loopback, port));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 0));
    }
    text.parse()
        .map_err(|_| "write a port such as 7070, or an address such as 127.0.0.1:7070".to_owned())
}

fn token(text: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.len() >= TOKEN_LENGTH_MIN && text.len() <= 256 && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "it must have {TOKEN_LENGTH_MIN} to 256 letters, digits, `-` or `_`"
        ))
    }
}

/// A page that is being served.
pub(crate) struct Page {
    hub: std::sync::Arc<Hub>,
    url: String,
    is_kept: bool,
}

impl Page {
    /// Serves it from now on.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) fn start(
        settings: &Settings,
        about: &About,
        run: &std::sync::Arc<dyn loadr_engine::Steer>,
        cores: &[usize],
    ) -> Result<Self, String> {
        let hub = std::sync::Arc::new(Hub::new(about));
        let gate = Gate::new(settings.token.clone());
        let steer = Steer::new(std::sync::Arc::clone(run));
        let address = server::start(
            settings.address,
            std::sync::Arc::clone(&hub),
            gate,
            steer,
            cores,
        )?;
        let query = if settings.token.is_some() {
            "?token=…"
        } else {
            ""
        };
        Ok(Self {
            hub,
            url: format!("http://{address}/{query}"),
            is_kept: settings.is_kept,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Shows a second.
    pub(crate) fn see(&self, frame: &Frame, status: &Status) {
        self.hub.see(frame, status);
    }

    /// Shows how the run ended.
    pub(crate) fn tell(&self, summary: &Summary) {
        self.hub.end(summary.to_json());
    }

    /// Waits until the readers have the end; before that for Ctrl-C, if the page is to stay.
    pub(crate) fn end(self, signals: &Signals) {
        if self.is_kept {
            terminal::say(&format!(
                "the run is over; its page stays at {} until Ctrl-C",
                self.url
            ));
            signals.wait_for_one();
        }
        self.hub.wait_until_told();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_an_ip_or_both() {
        let cases = [
            ("7070", "127.0.0.1:7070"),
            ("127.0.0.1:7070", "127.0.0.1:7070"),
            ("0.0.0.0", "0.0.0.0:0"),
            ("[::1]:80", "[::1]:80"),
            ("::1", "[::1]:0"),
            ("localhost:81", "127.0.0.1:81"),
            ("localhost", "127.0.0.1:0"),
        ];
        for (text, at) in cases {
            assert_eq!(address(text), Ok(at.parse().unwrap()), "{text}");
        }
        for text in ["plan.yaml", "70700", "host:1", "localhost:x", "127.0.0.1:"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_other_machines_reach_needs_a_token_and_a_quiet_page_a_port() {
        let args = |ui: &str, ui_token: Option<&str>| UiArgs {
            ui: Some(address(ui).unwrap()),
            ui_token: ui_token.map(str::to_owned),
            ui_keep: false,
        };
        let error = args("0.0.0.0:7070", None).settings(false).unwrap_err();
        assert!(error.contains("--ui-token"), "{error}");
        assert!(args("[::]:7070", None).settings(false).is_err());
        let long = Some("0123456789abcdef");
        assert!(args("0.0.0.0:7070", long).settings(false).is_ok());
        assert!(args("127.0.0.2:7070", None).settings(true).is_ok());
        let error = args("127.0.0.1", None).settings(true).unwrap_err();
        assert!(error.contains("--quiet"), "{error}");
        assert!(token("0123456789abcdef").is_ok());
        for short in [
            "",
            "0123456789abcde",
            "0123456789abcde&",
            "0123456789abcde é",
        ] {
            assert!(token(short).is_err(), "{short}");
        }
    }
}
