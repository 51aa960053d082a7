//! Exchange rules: who may pass whose identity on, towards what (DESIGN §5). Without one there is no exchange.

use std::collections::BTreeSet;
use std::time::Duration;

pub use super::acting::MOST_ACTORS;
use super::claim_conditions::{Condition, Conditions, Finding};
use super::client::Registration;
use super::ids::{
    ClientUid, ExchangeRuleName, ExchangeRuleUid, Permission, ResourceServerUid, RoleUid, TrustedIssuerUid,
};
use super::outside_identity::OutsideIdentity;
use super::standing::{NotInForce, Standing};
use super::text::quoted;
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

/// Somebody from elsewhere: whoever a token of a trusted issuer is about that fulfils conditions. An issuer alone is
/// nobody: it may make tokens about everybody on earth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideParty {
    /// Whose tokens.
    pub trusted_issuer: TrustedIssuerUid,
    /// Which of them. All must hold.
    pub conditions: Conditions,
}

/// Whose identity a rule passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSubject {
    /// A registered client's.
    Party(Party),
    /// That of somebody from elsewhere.
    Outside(OutsideParty),
}

/// A registered exchange rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRule {
    /// Database key.
    pub uid: ExchangeRuleUid,
    /// Its name.
    pub name: ExchangeRuleName,
    /// A note for people, which decides nothing.
    pub description: String,
    /// Switched on. Read it through [`ExchangeRule::check`].
    pub enabled: bool,
    /// Its end. Read it through [`ExchangeRule::check`].
    pub expires_at: Option<Timestamp>,
    /// Who may exchange.
    pub caller: Party,
    /// Whose identity is passed on.
    pub subject: RuleSubject,
    /// Who from elsewhere acts, by an actor token. A rule that names such a one allows nothing without that token, and
    /// one that names none allows nothing with the actor token of a trusted issuer.
    pub actor: Option<OutsideParty>,
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

// === impl OutsideParty ===

impl OutsideParty {
    /// Whether this is somebody whom its issuer vouches for.
    #[must_use]
    pub fn is_of_issuer(&self, identity: &OutsideIdentity) -> bool {
        self.trusted_issuer == identity.issuer.uid
    }

    /// Why this is not somebody who is meant, if it is not.
    #[must_use]
    pub fn objection(&self, identity: &OutsideIdentity) -> Option<String> {
        if !self.is_of_issuer(identity) {
            return Some(format!(
                "it is about somebody of another trusted issuer than '{}'",
                identity.issuer.name
            ));
        }
        self.conditions.iter().find_map(|condition| unfulfilled(condition, identity))
    }

    /// Whether this may be somebody who is meant, of whom a token of ours tells no more than the name: what cannot be
    /// known of them counts as fulfilled.
    #[must_use]
    pub fn may_be(&self, identity: &OutsideIdentity) -> bool {
        let differs = |condition: &Condition| matches!(condition.find(&identity.claims), Finding::Differs(_));
        self.is_of_issuer(identity) && !self.conditions.iter().any(differs)
    }
}

/// Why a condition does not hold, if it does not.
fn unfulfilled(condition: &Condition, identity: &OutsideIdentity) -> Option<String> {
    let Condition { claim, value } = condition;
    match condition.find(&identity.claims) {
        Finding::Holds => None,
        Finding::Absent => Some(format!("the claim '{claim}' must be '{value}', and there is none")),
        Finding::Differs(found) => {
            let found: Vec<_> = found.iter().take(5).map(|text| quoted(text)).collect();
            Some(format!("the claim '{claim}' must be '{value}', and is '{}'", found.join("', '")))
        }
    }
}

// === impl RuleSubject ===

impl From<Party> for RuleSubject {
    fn from(party: Party) -> Self {
        Self::Party(party)
    }
}

// === impl ExchangeRule ===

impl ExchangeRule {
    /// Whether it names this client or role.
    #[must_use]
    pub fn names(&self, party: Party) -> bool {
        self.caller == party || self.subject == RuleSubject::Party(party)
    }

    /// Everybody from elsewhere whom it names.
    pub fn outside(&self) -> impl Iterator<Item = &OutsideParty> {
        let subject = match &self.subject {
            RuleSubject::Outside(subject) => Some(subject),
            RuleSubject::Party(_) => None,
        };
        subject.into_iter().chain(&self.actor)
    }

    /// Whether the rule counts at `now`.
    ///
    /// # Errors
    /// It is disabled or expired.
    pub fn check(&self, now: Timestamp) -> Result<(), NotInForce> {
        Standing { enabled: self.enabled, expires_at: self.expires_at }.check(now)
    }
}
