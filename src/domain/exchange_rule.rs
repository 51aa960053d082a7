//! Exchange rules: who may pass whose identity on, towards what (DESIGN §5). Without one there is no exchange.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::Registration;
use super::ids::{ClientUid, ExchangeRuleName, ExchangeRuleUid, Permission, ResourceServerUid, RoleUid};
use super::standing::{NotInForce, Standing};
use super::time::Timestamp;
use super::words::words;

words! {
    /// What a token from an exchange says of the caller (RFC 8693 §1.1).
    ExchangeMode {
        /// The caller acts for the subject, and `act` says so.
        Delegation = "delegation",
        /// The caller appears as the subject. What `act` the subject token had stays.
        Impersonation = "impersonation",
    }
}

/// The most actors one behind the other that a rule may allow.
pub const MOST_ACTORS: u8 = 10;

/// How many a rule allows unless it says otherwise (DESIGN §5).
pub const USUAL_ACTORS: u8 = 5;

/// One client, or whoever has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// This client.
    Client(ClientUid),
    /// Every client with this role.
    Role(RoleUid),
}

/// A registered exchange rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRule {
    /// Database key.
    pub uid: ExchangeRuleUid,
    /// Its name.
    pub name: ExchangeRuleName,
    /// For people.
    pub description: String,
    /// Switched on. Read it through [`ExchangeRule::check`].
    pub enabled: bool,
    /// Its end. Read it through [`ExchangeRule::check`].
    pub expires_at: Option<Timestamp>,
    /// Who may exchange.
    pub caller: Party,
    /// Whose identity is passed on.
    pub subject: Party,
    /// What the new token is for.
    pub resource_server: ResourceServerUid,
    /// The most that it allows there.
    pub permissions: BTreeSet<Permission>,
    /// Resource servers whose tokens the caller may exchange although it does not operate them.
    pub sources: BTreeSet<ResourceServerUid>,
    /// What the token says of the caller.
    pub mode: ExchangeMode,
    /// How many actors `act` may have, one behind the other.
    pub max_depth: u8,
    /// The longest lifetime of the new token; the resource server's own, when absent.
    pub token_lifetime: Option<Duration>,
    /// Counts changes; the `ETag` of the API.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

// === impl Party ===

impl Party {
    /// Whether this client is meant.
    #[must_use]
    pub fn is(self, registration: &Registration) -> bool {
        match self {
            Self::Client(uid) => registration.client.uid == uid,
            Self::Role(uid) => registration.roles.contains(&uid),
        }
    }
}

// === impl ExchangeRule ===

impl ExchangeRule {
    /// Whether the rule counts at `now`.
    ///
    /// # Errors
    /// It is disabled or expired.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: self.enabled, expires_at: self.expires_at }.check(now)
    }
}
