//! Whether a token of ours counts at this moment: the one place that decides, for the API, introspection,
//! revocation and exchange.
//!
//! A token says what was true when it was issued. Whoever asks the server that issued it hears what is true now:
//! a client that was disabled, a role that was taken away, a revoked chain count at once.

use std::sync::Arc;

use serde::Deserialize;

use crate::domain::catalog::{Catalog, Sort};
use crate::domain::claims::AccessTokenClaims;
use crate::domain::client::Registration;
use crate::domain::delegation::{Act, Subject};
use crate::domain::error::Fault;
use crate::domain::exchange_rule::{ExchangeRule, RuleSubject};
use crate::domain::ids::{ClientId, Permission, ResourceServerUid, RoleName};
use crate::domain::outside_identity::OutsideIdentity;
use crate::domain::resource::ResourceServer;
use crate::domain::role::Role;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::domain::token_id;
use crate::jose::TokenType;
use crate::runtime::directory::Directory;
use crate::runtime::keyring::Keyring;
use crate::runtime::revocations::Revocations;

/// Of what is no token of ours, or one of another kind.
pub const NOT_OURS: &str = "the token is not an access token that this server signed";

/// Of a token whose end has come.
pub const EXPIRED: &str = "the token has expired; ask for a new one";

/// Of a token that was taken back.
pub const REVOKED: &str = "it was revoked";

/// Knows which tokens count.
pub struct LiveTokens {
    /// The issuer identifier.
    pub issuer: String,
    /// What is registered.
    pub directory: Arc<Directory>,
    /// What verifies.
    pub keyring: Arc<Keyring>,
    /// What was taken back.
    pub revocations: Arc<Revocations>,
}

/// A token that counts.
#[derive(Debug)]
pub struct LiveToken {
    /// What it says.
    pub claims: AccessTokenClaims,
    /// Its kind: an access token, or a plain JWT.
    pub token_type: TokenType,
    /// Whom it was issued to.
    pub client: Arc<Registration>,
    /// Whom it is about.
    pub about: About,
    /// The resource servers that it is for, as far as they are in force.
    pub audience: Vec<Arc<ResourceServer>>,
    /// What it allows and the subject's roles still give; if it is about somebody from elsewhere, what rules still let
    /// through.
    pub scope: Scope,
    /// The roles that it names and the subject still has.
    pub roles: Vec<RoleName>,
}

/// Whom a token is about.
#[derive(Debug)]
pub enum About {
    /// A client.
    Client(Arc<Registration>),
    /// Somebody from elsewhere.
    Outside {
        /// Who.
        identity: OutsideIdentity,
        /// Whether a rule still lets something of theirs through to whom the token is for.
        let_through: bool,
    },
}

/// A token that does not count.
#[derive(Clone, Debug)]
pub struct NotLive {
    /// Why not, for the audit.
    pub reason: &'static str,
    /// What it says, if our signature has proven that.
    pub claims: Option<Box<AccessTokenClaims>>,
    /// Whether that rests on something that is not known here, and may have been made elsewhere a moment ago.
    for_want: bool,
}

/// Why a token could not be taken for live.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It is not.
    #[error("{}", .0.reason)]
    NotLive(NotLive),
    /// No verdict could be reached.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl LiveToken ===

impl LiveToken {
    /// Whether its subject's roles, or the rules that stand in for them, give nothing of what it allows any more. Its
    /// permissions are missing then, which is all that our own API says; to everybody else it does not count.
    #[must_use]
    pub fn gives_nothing(&self) -> bool {
        match (&self.about, self.token_type) {
            (About::Outside { let_through: false, .. }, _) => true,
            // Not its roles: another one may give by now what it had by one that was taken away.
            (_, TokenType::AccessToken) => self.scope.is_empty(),
            // It has no scope.
            (About::Client(_), _) => self.roles.is_empty(),
            (About::Outside { .. }, _) => false,
        }
    }
}

// === impl About ===

impl About {
    /// The same, as an exchange sees it.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::Client(registration) => Subject::Client(registration),
            Self::Outside { identity, .. } => Subject::Outside(identity),
        }
    }

    /// The client; nothing, if it is somebody from elsewhere.
    #[must_use]
    pub fn client(&self) -> Option<&Registration> {
        match self {
            Self::Client(registration) => Some(registration),
            Self::Outside { .. } => None,
        }
    }
}

// === impl LiveTokens ===

impl LiveTokens {
    /// The token, if it is ours and counts at `now`. Whom it may be shown to is the caller's to decide.
    ///
    /// # Errors
    /// It is not ours, of another kind, expired, revoked, or somebody or something that stands behind it is
    /// disabled, expired or gone. Or nothing can be said, because changes have not been heard of for too long, or not just
    /// now and something is not known here.
    pub async fn check(&self, token: &str, now: Timestamp) -> Result<LiveToken, LiveError> {
        // Before anything is said about any token: a fault is no verdict.
        self.directory.check_fresh()?;
        let judged = self.judge(token, now).await;
        let for_want = match &judged {
            Ok(live) => live.gives_nothing(),
            Err(LiveError::NotLive(dead)) => dead.for_want,
            Err(LiveError::Fault(_)) => false,
        };
        // Boxed, because it is large and seldom needed.
        if !for_want || !Box::pin(self.directory.hear()).await? {
            return judged;
        }
        // Heard since it was asked: what is still wanting is not there, however long that took.
        self.judge(token, now).await
    }

    /// The same, by what is known here.
    async fn judge(&self, token: &str, now: Timestamp) -> Result<LiveToken, LiveError> {
        let types = [TokenType::AccessToken, TokenType::Jwt];
        let Some((claims, token_type)) = self.keyring.verify::<AccessTokenClaims>(token, &types, now) else {
            return Err(dead(NOT_OURS, None, self.may_be_ours(token, &types, now)));
        };
        match self.examine(&claims, now).await {
            Ok(Parties { client, subject, audience }) => {
                let catalog = self.directory.catalog();
                let (scope, roles, about) = match subject {
                    Who::Client(subject) => {
                        let (scope, roles) = still_given(&catalog, &claims, &subject, &audience);
                        (scope, roles, About::Client(subject))
                    }
                    Who::Outside(identity) => {
                        let rules = Rules { catalog: &catalog, client: &client, identity: &identity, now };
                        let (scope, let_through) = rules.still_let_through(&claims, &audience);
                        (scope, Vec::new(), About::Outside { identity, let_through })
                    }
                };
                let live = LiveToken { claims, token_type, client, about, audience, scope, roles };
                if matches!(live.about, About::Outside { .. }) && live.gives_nothing() {
                    check_known(&catalog, &[Sort::ExchangeRule, Sort::TrustedIssuer, Sort::ResourceServer])?;
                }
                Ok(live)
            }
            Err(Why::Fault(fault)) => Err(fault.into()),
            Err(Why::Dead(reason)) => Err(dead(reason, Some(claims), false)),
            Err(Why::Wanting(reason)) => Err(dead(reason, Some(claims), true)),
        }
    }

    /// Whether the key that a token names is not known here, and could be one of ours: it may have been made elsewhere a
    /// moment ago. Of a token that is another's or has ended by its own words that does not matter.
    fn may_be_ours(&self, token: &str, types: &[TokenType], now: Timestamp) -> bool {
        let claimed: Option<Claimed> = self.keyring.claims_of_unknown_key(token, types);
        claimed.is_some_and(|claimed| claimed.iss == self.issuer && claimed.exp > now.as_seconds())
    }

    async fn examine(&self, claims: &AccessTokenClaims, now: Timestamp) -> Result<Parties, Why> {
        if claims.iss != self.issuer {
            return Err(Why::Dead("it was issued under another issuer"));
        }
        if claims.exp <= now.as_seconds() {
            return Err(Why::Dead(EXPIRED));
        }
        if self.revocations.find(claims).is_some() {
            return Err(Why::Dead(REVOKED));
        }
        let client = self.party(&claims.client_id, now).await?;
        // A client that was deleted and registered anew is another one.
        if !claims.jti.starts_with(&client.client.token_mark()) {
            return Err(Why::Wanting("its client is another one of the same name"));
        }
        let subject = match claims.subject_client() {
            None => Who::Outside(self.outsider(&claims.sub, &claims.txn, now)?),
            Some(sub) if sub == claims.client_id.as_str() => Who::Client(Arc::clone(&client)),
            Some(sub) => {
                let sub = ClientId::new(sub).map_err(|_| Why::Dead("its subject is no client"))?;
                let subject = self.party(&sub, now).await?;
                if !claims.txn.starts_with(&subject.client.token_mark()) {
                    return Err(Why::Wanting("its subject is another client of the same name"));
                }
                Who::Client(subject)
            }
        };
        for act in claims.act.iter().flat_map(Act::chain) {
            let Some(actor) = act.client() else {
                self.outsider(&act.sub, &claims.jti, now)?;
                continue;
            };
            if actor != claims.client_id.as_str() {
                let actor = ClientId::new(actor).map_err(|_| Why::Dead("an actor is no client"))?;
                let actor = self.party(&actor, now).await?;
                if token_id::made_at(&claims.jti).is_none_or(|made| actor.client.created_at > made) {
                    return Err(Why::Dead("an actor is another client of the same name"));
                }
            }
        }
        let catalog = self.directory.catalog();
        let known: Vec<_> =
            claims.aud.iter().filter_map(|identifier| catalog.by_identifier(identifier)).collect();
        let all_known = known.len() == claims.aud.iter().count();
        if !all_known {
            check_known(&catalog, &[Sort::ResourceServer])?;
        }
        let in_force = known.into_iter().filter(|server| server.check(now).is_ok());
        let audience: Vec<_> = in_force.cloned().collect();
        if audience.is_empty() {
            let why = "its audience is no resource server in force";
            return Err(if all_known { Why::Dead(why) } else { Why::Wanting(why) });
        }
        Ok(Parties { client, subject, audience })
    }

    /// Somebody from elsewhere who stands behind a token; `id` says since when.
    fn outsider(&self, sub: &str, id: &str, now: Timestamp) -> Result<OutsideIdentity, Why> {
        let made = token_id::made_at(id).ok_or(Why::Dead(NOT_OURS))?;
        let catalog = self.directory.catalog();
        OutsideIdentity::of_ours(&*catalog, sub, made, now).map_err(|reason| match reason {
            OutsideIdentity::DISABLED => Why::Dead(reason),
            _ => check_known(&catalog, &[Sort::TrustedIssuer]).err().map_or(Why::Wanting(reason), Why::Fault),
        })
    }

    /// A client that stands behind a token.
    async fn party(&self, client_id: &ClientId, now: Timestamp) -> Result<Arc<Registration>, Why> {
        let registration = self.directory.client(client_id).await?;
        let registration = registration.ok_or(Why::Wanting("a client that stands behind it is gone"))?;
        registration
            .client
            .check(now)
            .map_err(|_| Why::Dead("a client that stands behind it is disabled or expired"))?;
        Ok(registration)
    }
}

/// What a token says of which nobody knows whether it is ours.
#[derive(Deserialize)]
struct Claimed {
    iss: String,
    exp: i64,
}

/// Everybody and everything that stands behind a token.
struct Parties {
    client: Arc<Registration>,
    subject: Who,
    audience: Vec<Arc<ResourceServer>>,
}

enum Who {
    Client(Arc<Registration>),
    Outside(OutsideIdentity),
}

enum Why {
    Dead(&'static str),
    /// It rests on something that is not known here.
    Wanting(&'static str),
    Fault(Fault),
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Whether all that is registered of these sorts is known here. What a newer version has registered, a token may stand
/// on: that it is missing here is no verdict.
fn check_known(catalog: &Catalog, sorts: &[Sort]) -> Result<(), Fault> {
    match catalog.unread().iter().find(|(sort, _)| sorts.contains(sort)) {
        None => Ok(()),
        Some((_, unread)) => {
            Err(Fault::unavailable(format!("this version does not understand what is registered: {unread}")))
        }
    }
}

fn dead(reason: &'static str, claims: Option<AccessTokenClaims>, for_want: bool) -> LiveError {
    LiveError::NotLive(NotLive { reason, claims: claims.map(Box::new), for_want })
}

/// What a token allows, and the roles that it names, as far as its subject's roles still give that: at every
/// resource server of the token that defines it, as when it was issued.
fn still_given(
    catalog: &Catalog,
    claims: &AccessTokenClaims,
    subject: &Registration,
    audience: &[Arc<ResourceServer>],
) -> (Scope, Vec<RoleName>) {
    let mut holdings = catalog.holdings(&subject.roles);
    if claims.is_of_itself() && subject.may_rotate_own_secrets(None) {
        holdings = catalog.with_own_secrets(holdings);
    }
    let holds = |server: &ResourceServer, value: &Permission| {
        holdings.get(&server.uid).is_some_and(|held| held.contains_key(value))
    };
    let granted = Scope::parse(claims.scope.as_deref()).ok().flatten().unwrap_or_default();
    let given = granted.iter().filter(|value| {
        let mut defining =
            audience.iter().filter(|server| server.permissions.contains_key(*value)).peekable();
        defining.peek().is_some() && defining.all(|server| holds(server, value))
    });
    let given: Scope = given.cloned().collect();
    // Without a scope, in a plain JWT, any permission there counts.
    let contributes = |role: &Role| {
        let there = |server: &ResourceServerUid| audience.iter().any(|other| other.uid == *server);
        let mut permissions = role.permissions.iter().filter(|(server, _)| there(server));
        permissions.any(|(_, permission)| claims.scope.is_none() || given.contains(permission.as_str()))
    };
    let has = |name: &&RoleName| {
        let mut roles = subject.roles.iter().filter_map(|uid| catalog.role(*uid));
        roles.any(|role| role.name == **name && contributes(role))
    };
    let roles = claims.roles.iter().filter(has).cloned().collect();
    (given, roles)
}

/// What stands in for the roles of somebody from elsewhere: the rules by which a client may pass their identity on.
struct Rules<'a> {
    catalog: &'a Catalog,
    client: &'a Registration,
    identity: &'a OutsideIdentity,
    now: Timestamp,
}

// === impl Rules ===

impl Rules<'_> {
    /// What a token of the client allows, as far as rules still let it through, and whether any is left that is about
    /// whom the token is for.
    fn still_let_through(
        &self,
        claims: &AccessTokenClaims,
        audience: &[Arc<ResourceServer>],
    ) -> (Scope, bool) {
        let granted = Scope::parse(claims.scope.as_deref()).ok().flatten().unwrap_or_default();
        let given = granted.iter().filter(|value| {
            let mut defining =
                audience.iter().filter(|server| server.permissions.contains_key(*value)).peekable();
            defining.peek().is_some()
                && defining.all(|server| self.towards(server).any(|rule| rule.permissions.contains(*value)))
        });
        let given = given.cloned().collect();
        (given, audience.iter().any(|server| self.towards(server).next().is_some()))
    }

    /// The rules in force by which the client may pass them on towards a resource server.
    fn towards(&self, server: &ResourceServer) -> impl Iterator<Item = &ExchangeRule> {
        self.catalog.exchange_rules_towards(server.uid).filter(|rule| {
            let about_them =
                matches!(&rule.subject, RuleSubject::Outside(party) if party.may_be(self.identity));
            about_them && rule.caller.is(self.client) && rule.check(self.now).is_ok()
        })
    }
}
