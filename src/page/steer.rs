//! What a reader of the page can ask of the run.

use loadr_engine::{Control, StopReason};
use serde::Deserialize;

/// The run's steering wheel.
pub(super) struct Steer {
    control: Control,
}

/// What is asked, as JSON: `{ "do": "stop" }`.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Wish {
    Stop,
}

impl Steer {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }

    /// Does what is asked, or says why not.
    pub(super) fn obey(&self, body: &[u8]) -> Result<(), String> {
        let wish: Wish = serde_json::from_slice(body)
            .map_err(|error| format!("this is nothing that can be done: {error}"))?;
        match wish {
            Wish::Stop => self.control.stop(StopReason::Interrupted),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_stops_and_anything_else_says_what_is_wrong() {
        let control = Control::new(1);
        let steer = Steer::new(control.clone());
        for body in [
            "",
            "{}",
            "[]",
            "{\"do\":\"dance\"}",
            "{\"do\":\"stop\",\"x\":1}",
        ] {
            assert!(steer.obey(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(control.reason(), None);
        assert_eq!(steer.obey(b"{\"do\":\"stop\"}"), Ok(()));
        assert_eq!(control.reason(), Some(StopReason::Interrupted));
    }
}
