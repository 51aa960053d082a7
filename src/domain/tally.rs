//! What events of the audit add up to: the numbers of `docs/statistics.md`. Pure.
//!
//! Sums and latest times are the same in whatever order events are added, so chains are counted one after the
//! other. The texts come out of the store, where somebody may have altered them: what cannot be read counts for
//! nothing, and a word that is not one of ours counts as [`OTHER`], so that nobody makes the tables grow with made-up
//! words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::GrantType;
use super::time::Timestamp;

/// The outcome of a request that got a token.
pub const ISSUED: &str = "issued";

/// What stands for a grant type or an error that is not one of ours, or is missing.
pub const OTHER: &str = "other";

/// What the text begins with that stands for all whom a trusted issuer vouches for.
const OUTSIDERS: &str = "anybody of ";

/// The longest identifier that is counted. None that this server takes is longer.
const LONGEST: usize = 2_000;

/// What is counted together: requests of one client in one hour, by one grant, with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requests {
    /// When the hour began.
    pub hour: Timestamp,
    /// The client; empty for what no registered client has done.
    pub client_id: String,
    /// The grant, or [`OTHER`].
    pub grant_type: &'static str,
    /// [`ISSUED`], or the error that was answered.
    pub outcome: String,
}

/// Who acted for whom towards what, on one day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passage {
    /// When the day began.
    pub day: Timestamp,
    /// Whose identity was passed on: a client's; of somebody from elsewhere, [`outsiders`] of their issuer.
    pub subject: String,
    /// Who passed it on.
    pub actor: String,
    /// What the new token was for.
    pub audience: String,
}

/// How often somebody did, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How often.
    pub exchanges: u64,
    /// When last.
    pub last_at: Timestamp,
}

/// Tokens of one client for one audience in one hour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addressed {
    /// The audience.
    pub audience: String,
    /// When the hour began.
    pub hour: Timestamp,
    /// The client that is counted.
    pub client_id: String,
}

/// What some events add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tokens and refusals.
    pub requests: BTreeMap<Requests, u64>,
    /// Tokens by what they are for.
    pub addressed: BTreeMap<Addressed, u64>,
    /// Token exchanges.
    pub passages: BTreeMap<Passage, Passed>,
    /// When each client last got a token.
    pub tokens_at: BTreeMap<String, Timestamp>,
    /// When each secret of a client was last used, whatever came of it.
    pub secrets_at: BTreeMap<(String, String), Timestamp>,
    /// Clients that a request named without proving it, and none has proven since.
    pub claimed: BTreeSet<String>,
}

/// The parts of an event that count.
#[derive(Deserialize)]
struct Text {
    kind: String,
    client_id: Option<String>,
    #[serde(default)]
    authenticated: bool,
    /// Earlier events have it as `secret_id`.
    #[serde(alias = "secret_id")]
    credential_id: Option<String>,
    grant_type: Option<String>,
    error: Option<String>,
    repeated: Option<Repeated>,
    subject: Option<String>,
    subject_issuer: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    exchange: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Repeated {
    count: u64,
}

// === impl Tally ===

impl Tally {
    /// Adds an event that was recorded at this time.
    pub fn add(&mut self, at: Timestamp, text: &str) {
        let Ok(event) = serde_json::from_str::<Text>(text) else { return };
        if !event.is_sound() {
            return;
        }
        match event.kind.as_str() {
            "token_issued" => self.issued(at, event),
            "token_refused" => self.refused(at, event),
            _ => {}
        }
    }

    /// How many rows it makes.
    #[must_use]
    pub fn rows(&self) -> usize {
        let counted = self.requests.len() + self.addressed.len() + self.passages.len();
        counted + self.tokens_at.len() + self.secrets_at.len()
    }

    /// Counts refusals of these clients, which nobody has registered, as nobody's.
    pub fn disown(&mut self, unknown: &BTreeSet<String>) {
        for (requests, count) in std::mem::take(&mut self.requests) {
            let client_id =
                if unknown.contains(&requests.client_id) { String::new() } else { requests.client_id };
            *self.requests.entry(Requests { client_id, ..requests }).or_default() += count;
        }
    }

    fn issued(&mut self, at: Timestamp, event: Text) {
        let Some(client_id) = event.client_id else { return };
        let hour = at.start_of_hour();
        self.request(hour, client_id.clone(), event.grant_type.as_deref(), ISSUED, 1);
        for audience in &event.audience {
            let addressed = Addressed { audience: audience.clone(), hour, client_id: client_id.clone() };
            *self.addressed.entry(addressed).or_default() += 1;
        }
        // Everybody whom an issuer vouches for counts as one: a job of a CI system may have a name of its own each time.
        let subject = event.subject_issuer.as_deref().map(outsiders).or(event.subject);
        if let (Some(_), Some(subject)) = (event.exchange, subject) {
            for audience in event.audience {
                let (subject, actor) = (subject.clone(), client_id.clone());
                let passage = Passage { day: at.start_of_day(), subject, actor, audience };
                let passed = self.passages.entry(passage).or_insert(Passed { exchanges: 0, last_at: at });
                passed.exchanges += 1;
                passed.last_at = passed.last_at.max(at);
            }
        }
        self.proven(at, &client_id, event.credential_id);
        later(self.tokens_at.entry(client_id).or_insert(at), at);
    }

    fn refused(&mut self, at: Timestamp, event: Text) {
        let client_id = event.client_id.unwrap_or_default();
        let count = event.repeated.map_or(1, |repeated| repeated.count);
        let error = event.error.as_deref().filter(|error| is_error(error)).unwrap_or(OTHER);
        self.request(at.start_of_hour(), client_id.clone(), event.grant_type.as_deref(), error, count);
        if client_id.is_empty() {
            return;
        }
        if event.authenticated {
            self.proven(at, &client_id, event.credential_id);
        } else {
            self.claimed.insert(client_id);
        }
    }

    fn request(
        &mut self,
        hour: Timestamp,
        client_id: String,
        grant_type: Option<&str>,
        outcome: &str,
        count: u64,
    ) {
        let grant_type = grant_type.and_then(GrantType::from_word).map_or(OTHER, GrantType::as_str);
        let requests = Requests { hour, client_id, grant_type, outcome: outcome.to_owned() };
        let counted = self.requests.entry(requests).or_default();
        *counted = counted.saturating_add(count);
    }

    fn proven(&mut self, at: Timestamp, client_id: &str, credential_id: Option<String>) {
        if let Some(credential_id) = credential_id {
            later(self.secrets_at.entry((client_id.to_owned(), credential_id)).or_insert(at), at);
        }
    }
}

// === impl Text ===

impl Text {
    /// Whether every text in it is one that can be stored. No event of ours is otherwise.
    fn is_sound(&self) -> bool {
        let texts =
            [&self.client_id, &self.credential_id, &self.subject, &self.subject_issuer].into_iter().flatten();
        texts.chain(&self.audience).all(|text| text.len() <= LONGEST && !text.contains('\0'))
            && self.repeated.as_ref().is_none_or(|repeated| u32::try_from(repeated.count).is_ok())
    }
}

/// What stands for all whom a trusted issuer vouches for. No client is called so: it has a space.
#[must_use]
pub fn outsiders(issuer: &str) -> String {
    format!("{OUTSIDERS}{issuer}")
}

/// The trusted issuer that vouches for whoever this text stands for; nothing, if that is a client.
#[must_use]
pub fn outsiders_issuer(subject: &str) -> Option<&str> {
    subject.strip_prefix(OUTSIDERS)
}

fn later(latest: &mut Timestamp, at: Timestamp) {
    *latest = at.max(*latest);
}

/// Whether a text is in the form of an `error` (RFC 6749 §5.2), as all of ours are.
fn is_error(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
