//! What a reader of the page can ask of the run.

use std::sync::Arc;

use loadr_engine::{Steer as Run, SteerError};
use serde::Deserialize;

/// The run's steering wheel.
pub(super) struct Steer {
    run: Arc<dyn Run>,
}

/// What is asked, as JSON: `{ "do": "stop" }`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Wish {
    // With braces, or a key too many would be passed over.
    Stop {},
    Pause {},
    Resume {},
    Vus { scenario: String, vus: u32 },
    Rate { scenario: String, per_second: f64 },
}

/// Why it is not done.
#[derive(Debug, PartialEq)]
pub(super) enum Denied {
    /// It cannot be read.
    Unknown(String),
    /// The run does not do it, or not now.
    NotNow(SteerError),
}

impl Steer {
    pub(super) fn new(run: Arc<dyn Run>) -> Self {
        Self { run }
    }

    /// Does what is asked, or says why not.
    pub(super) fn obey(&self, body: &[u8]) -> Result<(), Denied> {
        let wish: Wish = serde_json::from_slice(body).map_err(|error| {
            Denied::Unknown(format!("this is nothing that can be done: {error}"))
        })?;
        let run = &self.run;
        match wish {
            Wish::Stop {} => run.stop(),
            Wish::Pause {} => run.pause(),
            Wish::Resume {} => run.resume(),
            Wish::Vus { scenario, vus } => run.set_vus(Some(&scenario), vus),
            Wish::Rate {
                scenario,
                per_second,
            } => run.set_rate(Some(&scenario), per_second),
        }
        .map_err(Denied::NotNow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadr_engine::{Control, StopReason};

    #[test]
    fn a_stop_stops_and_anything_else_says_what_is_wrong() {
        let control = Control::new(1);
        let steer = Steer::new(Arc::new(control.clone()));
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
        assert_eq!(control.reason(), Some(StopReason::Steered));
    }
}
