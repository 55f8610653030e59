//! What can be asked of a run, whatever it came over.

use loadr_engine::{Control, RunState, SteerError, StopReason};
use serde::Deserialize;
use serde_json::json;

/// What is answered: a status of HTTP and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// From 400 on the body has an `error`.
    pub status: u16,
    /// One JSON object.
    pub body: String,
}

impl Answer {
    pub(crate) fn error(status: u16, why: &str) -> Self {
        Self {
            status,
            body: json!({ "error": why }).to_string(),
        }
    }

    fn of(control: &Control) -> Self {
        // Nothing in a status can fail to be written.
        let body = serde_json::to_string(&control.status()).unwrap_or_default();
        Self { status: 200, body }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vus {
    vus: u32,
    scenario: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    rate: f64,
    scenario: Option<String>,
}

/// Does what a request asks for.
#[must_use]
pub fn answer(control: &Control, method: &str, path: &str, body: &[u8]) -> Answer {
    let done = match (method, path) {
        ("GET", "/status") => Ok(()),
        ("POST", "/pause") => control.pause(),
        ("POST", "/resume") => control.resume(),
        ("POST", "/stop") => stop(control),
        ("POST", "/vus") => match parse::<Vus>(body, r#"{"vus": 20}"#) {
            Ok(to) => control.set_vus(to.scenario.as_deref(), to.vus),
            Err(answer) => return answer,
        },
        ("POST", "/rate") => match parse::<Rate>(body, r#"{"rate": 500}"#) {
            Ok(to) => control.set_rate(to.scenario.as_deref(), to.rate),
            Err(answer) => return answer,
        },
        (_, "/status") => return Answer::error(405, "`/status` is asked for with GET"),
        (_, path @ ("/pause" | "/resume" | "/stop" | "/vus" | "/rate")) => {
            return Answer::error(405, &format!("`{path}` changes the run: it takes POST"));
        }
        _ => {
            return Answer::error(
                404,
                "there is GET /status and POST /vus, /rate, /pause, /resume, /stop",
            );
        }
    };
    match done {
        Ok(()) => Answer::of(control),
        Err(error) => {
            let is_too_early_or_late = matches!(
                error,
                SteerError::NotStarted | SteerError::Ended | SteerError::ScenarioEnded(_)
            );
            Answer::error(
                if is_too_early_or_late { 409 } else { 400 },
                &error.to_string(),
            )
        }
    }
}

fn stop(control: &Control) -> Result<(), SteerError> {
    // A run that ends already is what was asked for.
    if control.status().state == RunState::Ended {
        return Err(SteerError::Ended);
    }
    control.stop(StopReason::Steered);
    Ok(())
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8], example: &str) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        let why = format!("the body is not what is expected, such as {example}: {error}");
        Answer::error(400, &why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_said_and_not_done() {
        let control = Control::new(1);
        for (method, path, body, status, says) in [
            ("GET", "/", "", 404, "GET /status"),
            ("GET", "/pause", "", 405, "POST"),
            ("POST", "/status", "", 405, "GET"),
            ("POST", "/vus", "{}", 400, "missing field `vus`"),
            ("POST", "/vus", r#"{"vus": -1}"#, 400, "-1"),
            (
                "POST",
                "/vus",
                r#"{"vus": 1, "x": 2}"#,
                400,
                "unknown field `x`",
            ),
            (
                "POST",
                "/rate",
                r#"{"rate": "fast"}"#,
                400,
                "{\\\"rate\\\": 500}",
            ),
            ("POST", "/rate", "\u{1}", 400, "not what is expected"),
            ("POST", "/vus", r#"{"vus": 1}"#, 409, "not started"),
            ("POST", "/pause", "", 409, "not started"),
        ] {
            let answer = answer(&control, method, path, body.as_bytes());
            assert_eq!(answer.status, status, "{method} {path} {body}");
            assert!(answer.body.contains(says), "{}", answer.body);
        }
        let status = answer(&control, "GET", "/status", b"");
        assert!(status.status == 200 && status.body.contains("\"starting\""));
        assert_eq!(control.reason(), None);
        assert_eq!(answer(&control, "POST", "/stop", b"").status, 200);
        assert_eq!(control.reason(), Some(StopReason::Steered));
    }
}
