//! An event as it is written down: its text, which never changes, and what it is found by.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::chain::Link;
use super::time::Timestamp;

/// An event in JSON, with what it is found by. From here on its text never changes, whatever later versions
/// know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What it is found by.
    pub columns: Columns,
    /// The event.
    pub text: String,
}

/// What an event is found by. Each column repeats what stands in the event's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// What happened.
    pub kind: Cow<'static, str>,
    /// How it ended.
    pub outcome: Cow<'static, str>,
    /// The client that did it, or tried to.
    pub client_id: Option<String>,
    /// The token that it is about, or was done with.
    pub jti: Option<String>,
    /// The chain of tokens that it belongs to.
    pub txn: Option<String>,
    /// Whether it continues that chain.
    pub continues: bool,
    /// The person who did it, or tried to: an administrator's name, or whoever ran the command.
    pub person: Option<String>,
    /// The client that it was done to.
    pub about: Option<String>,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place. The time that counts is in it: when the event was recorded.
    pub link: Link,
    /// The event.
    pub event: Arc<WrittenEvent>,
}

/// A text is not an event.
#[derive(Debug, thiserror::Error)]
#[error("it is not an event in JSON: {0}")]
pub struct NotAnEvent(#[from] serde_json::Error);

// === impl WrittenEvent ===

impl WrittenEvent {
    /// An event that was written down before.
    ///
    /// # Errors
    /// It was not.
    pub fn read(at: Timestamp, text: String) -> Result<Self, NotAnEvent> {
        Ok(Self { at, columns: Columns::read(&text)?, text })
    }
}

// === impl Columns ===

impl Columns {
    /// What stands in the text of an event, of this version or another.
    ///
    /// # Errors
    /// It is not the text of an event.
    pub fn read(text: &str) -> Result<Self, NotAnEvent> {
        #[derive(Deserialize)]
        struct Found {
            kind: String,
            outcome: String,
            client_id: Option<String>,
            jti: Option<String>,
            txn: Option<String>,
            #[serde(default)]
            continues: bool,
            actor: Option<By>,
            claimed: Option<String>,
            claimed_name: Option<String>,
            action: Option<String>,
            target: Option<String>,
            what: Option<String>,
            subject: Option<String>,
            client: Option<String>,
        }
        #[derive(Deserialize)]
        struct By {
            client_id: Option<String>,
            jti: Option<String>,
            name: Option<String>,
            user: Option<String>,
        }
        let found: Found = serde_json::from_str(text)?;
        let (by, with, person) = found
            .actor
            .map_or((None, None, None), |actor| (actor.client_id, actor.jti, actor.name.or(actor.user)));
        let about = match &*found.kind {
            "changed" => found.target.filter(|_| found.action.is_some_and(|action| is_of_client(&action))),
            "revoked" => found.subject.filter(|_| found.what.is_some_and(|what| what == "client")),
            "credential_expires_soon" => found.client,
            _ => None,
        };
        Ok(Self {
            kind: found.kind.into(),
            outcome: found.outcome.into(),
            client_id: found.client_id.or(by).or(found.claimed),
            jti: found.jti.or(with),
            txn: found.txn,
            continues: found.continues,
            person: person.or(found.claimed_name),
            about,
        })
    }
}

/// Whether a change with this action is one of a client.
pub(super) fn is_of_client(action: &str) -> bool {
    action.starts_with("client.")
}
