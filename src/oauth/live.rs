//! Whether a token of ours counts at this moment: the one place that decides, for the API, introspection,
//! revocation and exchange.
//!
//! A token says what was true when it was issued. Whoever asks the server that issued it hears what is true now:
//! a client that was disabled, a role that was taken away, a revoked chain count at once.

use std::sync::Arc;

use crate::domain::catalog::Catalog;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::client::Registration;
use crate::domain::delegation::Act;
use crate::domain::error::Fault;
use crate::domain::ids::{ClientId, Permission, ResourceServerUid, RoleName};
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
    pub subject: Arc<Registration>,
    /// The resource servers that it is for, as far as they are in force.
    pub audience: Vec<Arc<ResourceServer>>,
    /// What it allows and the subject's roles still give.
    pub scope: Scope,
    /// The roles that it names and the subject still has.
    pub roles: Vec<RoleName>,
}

/// A token that does not count.
#[derive(Clone, Debug)]
pub struct NotLive {
    /// Why not, for the audit.
    pub reason: &'static str,
    /// What it says, if our signature has proven that.
    pub claims: Option<Box<AccessTokenClaims>>,
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
    /// Whether its subject's roles give nothing of what it allows any more. Its permissions are missing then, which is
    /// all that our own API says; to everybody else it does not count.
    #[must_use]
    pub fn gives_nothing(&self) -> bool {
        // What a client has by itself no role gives.
        let by_roles = self.token_type != TokenType::AccessToken || !self.claims.roles.is_empty();
        (by_roles && self.roles.is_empty())
            || (self.token_type == TokenType::AccessToken && self.scope.is_empty())
    }
}

// === impl LiveTokens ===

impl LiveTokens {
    /// The token, if it is ours and counts at `now`. Whom it may be shown to is the caller's to decide.
    ///
    /// # Errors
    /// It is not ours, of another kind, expired, revoked, or somebody or something that stands behind it is
    /// disabled, expired or gone. Or nothing can be said, because changes have not been heard of for too long.
    pub async fn check(&self, token: &str, now: Timestamp) -> Result<LiveToken, LiveError> {
        // Before anything is said about any token: a fault is no verdict.
        self.directory.check_fresh()?;
        let types = [TokenType::AccessToken, TokenType::Jwt];
        let Some((claims, token_type)) = self.keyring.verify::<AccessTokenClaims>(token, &types, now) else {
            return Err(dead(NOT_OURS, None));
        };
        match self.examine(&claims, now).await {
            Ok((client, subject, audience)) => {
                let catalog = self.directory.catalog();
                let (scope, roles) = still_given(&catalog, &claims, &subject, &audience);
                Ok(LiveToken { claims, token_type, client, subject, audience, scope, roles })
            }
            Err(Why::Dead(reason)) => Err(dead(reason, Some(claims))),
            Err(Why::Fault(fault)) => Err(fault.into()),
        }
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
            return Err(Why::Dead("its client is another one of the same name"));
        }
        let subject = if claims.sub == claims.client_id.as_str() {
            Arc::clone(&client)
        } else {
            let sub = ClientId::new(&claims.sub).map_err(|_| Why::Dead("its subject is no client"))?;
            let subject = self.party(&sub, now).await?;
            if !claims.txn.starts_with(&subject.client.token_mark()) {
                return Err(Why::Dead("its subject is another client of the same name"));
            }
            subject
        };
        for actor in claims.act.iter().flat_map(Act::actors) {
            if actor != claims.client_id.as_str() {
                let actor = ClientId::new(actor).map_err(|_| Why::Dead("an actor is no client"))?;
                let actor = self.party(&actor, now).await?;
                if token_id::made_at(&claims.jti).is_none_or(|made| actor.client.created_at > made) {
                    return Err(Why::Dead("an actor is another client of the same name"));
                }
            }
        }
        let catalog = self.directory.catalog();
        let known = claims.aud.iter().filter_map(|identifier| catalog.by_identifier(identifier));
        let audience: Vec<_> = known.filter(|server| server.check(now).is_ok()).cloned().collect();
        if audience.is_empty() {
            return Err(Why::Dead("its audience is no resource server in force"));
        }
        Ok((client, subject, audience))
    }

    /// A client that stands behind a token.
    async fn party(&self, client_id: &ClientId, now: Timestamp) -> Result<Arc<Registration>, Why> {
        let registration = self.directory.client(client_id).await?;
        let registration = registration.ok_or(Why::Dead("a client that stands behind it is gone"))?;
        registration
            .client
            .check(now)
            .map_err(|_| Why::Dead("a client that stands behind it is disabled or expired"))?;
        Ok(registration)
    }
}

type Parties = (Arc<Registration>, Arc<Registration>, Vec<Arc<ResourceServer>>);

enum Why {
    Dead(&'static str),
    Fault(Fault),
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn dead(reason: &'static str, claims: Option<AccessTokenClaims>) -> LiveError {
    LiveError::NotLive(NotLive { reason, claims: claims.map(Box::new) })
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
    let of_itself = claims.sub == claims.client_id.as_str();
    if of_itself && subject.may_rotate_own_secrets(None) {
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
