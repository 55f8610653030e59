//! Asks a run over its Unix socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The longest wait for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// How it goes.
    Status,
    /// So many virtual users, of this scenario.
    Vus(u32, Option<String>),
    /// So many iterations a second, of this scenario.
    Rate(f64, Option<String>),
    /// Start nothing for now.
    Pause,
    /// Go on.
    Resume,
    /// End.
    Stop,
}

impl Asked {
    fn request(&self) -> (&'static str, &'static str, Option<Value>) {
        let with = |key: &str, number: Value, scenario: &Option<String>| {
            let mut body = serde_json::Map::new();
            body.insert(key.to_owned(), number);
            if let Some(scenario) = scenario {
                body.insert("scenario".to_owned(), scenario.clone().into());
            }
            Some(Value::Object(body))
        };
        match self {
            Self::Status => ("GET", "/status", None),
            Self::Vus(vus, scenario) => ("POST", "/vus", with("vus", (*vus).into(), scenario)),
            Self::Rate(rate, scenario) => ("POST", "/rate", with("rate", (*rate).into(), scenario)),
            Self::Pause => ("POST", "/pause", None),
            Self::Resume => ("POST", "/resume", None),
            Self::Stop => ("POST", "/stop", None),
        }
    }
}

/// Asks the run that listens at `path`: its status as JSON.
///
/// # Errors
/// Why there is none, for people: nobody listens, or what was asked for cannot be done.
pub fn ask(path: &Path, asked: &Asked) -> Result<Value, String> {
    let at = path.display();
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("no run listens at {at}: there is no such socket"),
        ErrorKind::ConnectionRefused => {
            format!("no run listens at {at}: the one that did has ended or was killed")
        }
        ErrorKind::PermissionDenied => format!("{at} is another user's: {error}"),
        _ => format!("cannot connect to {at}: {error}"),
    })?;
    let broken = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock => format!(
            "the run at {at} has not answered within {} s",
            ANSWER_TIME_MAX.as_secs()
        ),
        _ => format!("the run at {at} has broken off: {error}"),
    };
    stream
        .set_read_timeout(Some(ANSWER_TIME_MAX))
        .map_err(broken)?;
    stream
        .set_write_timeout(Some(ANSWER_TIME_MAX))
        .map_err(broken)?;
    let (method, target, body) = asked.request();
    let body = body.map_or_else(String::new, |body| body.to_string());
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .map_err(broken)?;
    read_answer(&answer).unwrap_or_else(|| Err(format!("what listens at {at} is no run")))
}

/// `None` when it is not what a run answers.
fn read_answer(bytes: &[u8]) -> Option<Result<Value, String>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = head.parse(bytes).ok()? else {
        return None;
    };
    let body: Value = serde_json::from_slice(&bytes[len..]).ok()?;
    Some(match head.code? {
        200 => Ok(body),
        _ => Err(body.get("error")?.as_str()?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use loadr_engine::Control;

    use super::*;
    use crate::Server;

    #[test]
    fn it_is_said_why_nobody_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let error = || ask(&path, &Asked::Status).unwrap_err();
        assert!(error().contains("no such socket"), "{}", error());
        let control = Control::new(1);
        let server = Server::unix(&path, control.clone()).unwrap();
        assert_eq!(ask(&path, &Asked::Status).unwrap()["state"], "starting");
        let refused = ask(&path, &Asked::Vus(3, Some("s".to_owned()))).unwrap_err();
        assert!(refused.contains("not started"), "{refused}");
        drop(server);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(error().contains("ended or was killed"), "{}", error());
        std::fs::remove_file(&path).unwrap();

        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            let _ = stream.read(&mut [0; 1000]).unwrap();
            stream.write_all(b"SSH-2.0-x\r\n").unwrap();
        });
        let error = error();
        assert!(error.contains("is no run"), "{error}");
        thread.join().unwrap();
    }

    #[test]
    fn connections_that_say_nothing_keep_nobody_out_for_long_and_too_many_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let _server = Server::unix(&path, Control::new(1)).unwrap();
        let silent: Vec<UnixStream> = (0..16)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        // Each is taken in turn, so that this one comes when all the others have.
        let error = ask(&path, &Asked::Status).unwrap_err();
        assert!(error.contains("too many connections"), "{error}");
        drop(silent);
        let began = std::time::Instant::now();
        while ask(&path, &Asked::Status).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
