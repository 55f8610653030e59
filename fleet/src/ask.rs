//! Finding a fleet, and asking it for something once: what `ctl` does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::Value;
use tokio_stream::StreamExt;

use crate::bus::{Bus, Link, Subjects, Tally};
use crate::message::{Command, Message, Unread, plain};

/// All fleets are heard within this time: each says something once a second, or two.
const LISTEN: Duration = Duration::from_millis(2_500);
/// Between two questions, and how long an answer is waited for.
pub(crate) const AGAIN: Duration = Duration::from_millis(1_500);
pub(crate) const ANSWER: Duration = Duration::from_secs(8);
/// The most fleets that are named.
const NAMED_MAX: usize = 20;

/// The only fleet that is heard on the bus.
///
/// # Errors
/// There is none, or more than one: which.
pub(crate) async fn find(client: &Client) -> Result<Option<String>, String> {
    let failed = |why: String| format!("cannot listen on the bus: {why}");
    let mut heard = client
        .subscribe(Subjects::ANY)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut fleets: BTreeMap<String, ()> = BTreeMap::new();
    let until = Instant::now() + LISTEN;
    while let Ok(Some(came)) = tokio::time::timeout(
        until.saturating_duration_since(Instant::now()),
        heard.next(),
    )
    .await
    {
        let is_segments = match Message::read(&came.payload) {
            Ok((message, _)) => message.from().is_some(),
            Err(Unread::Other { .. }) => true,
            Err(_) => false,
        };
        if is_segments
            && fleets.len() < NAMED_MAX
            && let Some(fleet) = Subjects::fleet_of(&came.subject)
        {
            fleets.insert(fleet.to_owned(), ());
        }
    }
    let mut fleets = fleets.into_keys();
    match (fleets.next(), fleets.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(one)),
        (Some(first), Some(second)) => {
            let all: Vec<String> = [first, second].into_iter().chain(fleets).collect();
            Err(format!(
                "there is more than one fleet on the bus; say which with --fleet: {}",
                all.join(", ")
            ))
        }
    }
}

/// Has a fleet do something, or say how it goes: its status as JSON.
///
/// # Errors
/// Why not, for people.
pub fn ask(bus: &Bus, fleet: Option<&str>, command: &Command) -> Result<Value, String> {
    let runtime = crate::runtime()?;
    let answer = runtime.block_on(async {
        let tally = std::sync::Arc::<Tally>::default();
        let client = bus.connect(&tally).await?;
        let fleet = match fleet {
            Some(fleet) => fleet.to_owned(),
            None => find(&client).await?.ok_or_else(|| {
                format!(
                    "no fleet is heard on {}: it has ended, or was not started with --bus",
                    bus.shown()
                )
            })?,
        };
        let link = Link::new(client, &fleet, tally);
        if *command != Command::Status {
            once(&link, &fleet, command).await?;
        }
        once(&link, &fleet, &Command::Status)
            .await
            .map(Option::unwrap_or_default)
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    answer
}

async fn once(link: &Link, fleet: &str, command: &Command) -> Result<Option<Value>, String> {
    let id = crate::random();
    let inbox = link.subjects.inbox(id);
    let mut answers = link.subscribe(inbox.clone()).await?;
    let question = Message::Do {
        id,
        command: command.clone(),
    };
    let until = Instant::now() + ANSWER;
    while Instant::now() < until {
        link.ask(&link.subjects.all(), &inbox, &question);
        while let Ok(Some(came)) = tokio::time::timeout(AGAIN, answers.next()).await {
            match link.read(&came) {
                Ok((
                    Message::Done {
                        error,
                        taken,
                        of,
                        status,
                    },
                    _,
                )) => return outcome(error, taken, of).map(|()| status),
                Ok(_) | Err(Unread::Malformed | Unread::TooLarge) => {}
                Err(Unread::Other { version, program }) => {
                    return Err(format!(
                        "the fleet `{fleet}` is of another version: loadr-fast {program} (messages of version {version}); use \
                         that program to steer it"
                    ));
                }
            }
        }
    }
    Err(format!(
        "the fleet `{fleet}` does not answer: it has not started yet, or has ended"
    ))
}

/// What came of an order.
pub(crate) fn outcome(error: Option<String>, taken: u32, of: u32) -> Result<(), String> {
    match error {
        None => Ok(()),
        Some(error) if taken == 0 => Err(plain_long(&error)),
        Some(error) => Err(format!(
            "{taken} of {of} segments have done it; {}",
            plain_long(&error)
        )),
    }
}

fn plain_long(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(1_000)];
    if cut.len() <= crate::message::NAME_MAX {
        plain(cut)
    } else {
        loadr_engine::figures::inert(cut)
    }
}
