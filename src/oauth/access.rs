//! Bearer tokens for Jeton's own API (RFC 6750): the API is a resource server like any other, except
//! that it can ask the directory, so that a disabled client or a role taken away counts at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::builtin;
use crate::domain::claims::AccessTokenClaims;
use crate::domain::error::Fault;
use crate::domain::ids::{ClientId, Permission};
use crate::domain::scope::Scope;
use crate::jose::TokenType;
use crate::runtime::clock::Ambient;
use crate::runtime::directory::Directory;
use crate::runtime::keyring::Keyring;
use crate::runtime::refusals::Refusals;

/// Checks tokens for the API.
pub struct AccessVerifier {
    /// The issuer identifier.
    pub issuer: String,
    /// Time.
    pub ambient: Ambient,
    /// What is registered.
    pub directory: Arc<Directory>,
    /// What verifies.
    pub keyring: Arc<Keyring>,
    /// What records refusals.
    pub refusals: Refusals,
}

/// Who calls the API, and what it may do now.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The client.
    pub client_id: ClientId,
    /// Its token.
    pub jti: String,
    /// What the token says and the roles still give.
    pub permissions: BTreeSet<Permission>,
}

/// Why a token does not open the API.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The token is not one for this API, or no longer (`invalid_token`, RFC 6750 §3.1).
    #[error("{0}")]
    Invalid(&'static str),
    /// No verdict could be reached.
    #[error(transparent)]
    Fault(#[from] Fault),
}

// === impl AccessVerifier ===

impl AccessVerifier {
    /// Who a bearer token says is calling. A refusal is recorded before it is answered.
    ///
    /// # Errors
    /// The token is malformed, forged, expired, of another kind, issuer or audience, or its client is
    /// disabled, expired, gone, or elsewhere than it may be.
    pub async fn principal(&self, token: &str, origin: &Origin) -> Result<Principal, AccessError> {
        let mut actor = None;
        let outcome = self.check(token, origin.address, &mut actor).await;
        if let Err(AccessError::Invalid(reason)) = &outcome {
            let known = actor.is_some();
            let reason = (*reason).to_owned();
            let event = Event::AccessRefused { actor, permission: None, reason, repeated: None };
            let event = AuditEvent { at: self.ambient.now(), origin: origin.clone(), event };
            self.refusals.record(event, known).await?;
        }
        outcome
    }

    /// Says in `actor` whose token it is as soon as our signature has proven that.
    async fn check(
        &self,
        token: &str,
        address: Option<IpAddr>,
        actor: &mut Option<Actor>,
    ) -> Result<Principal, AccessError> {
        let now = self.ambient.now();
        let claims: AccessTokenClaims = self
            .keyring
            .verify(token, TokenType::AccessToken, now)
            .ok_or(AccessError::Invalid("the token is not an access token that this server signed"))?;
        *actor = Some(Actor::Client { client_id: claims.client_id.clone(), jti: claims.jti.clone() });
        if claims.iss != self.issuer || !claims.aud.contains(&builtin::api_identifier(&self.issuer)) {
            return Err(AccessError::Invalid(
                "the token is for another audience: ask for one with resource=<issuer>/api/v1",
            ));
        }
        if claims.exp <= now.as_seconds() {
            return Err(AccessError::Invalid("the token has expired; ask for a new one"));
        }
        let gone = AccessError::Invalid("the token's client may no longer use it");
        let Some(registration) = self.directory.client(&claims.client_id).await? else { return Err(gone) };
        if registration.client.check(now).is_err() || !registration.client.may_call_from(address) {
            return Err(gone);
        }
        // A client that was deleted and registered anew is another one.
        if !claims.jti.starts_with(&registration.client.token_mark()) {
            return Err(gone);
        }
        let granted = Scope::parse(claims.scope.as_deref()).ok().flatten().unwrap_or_default();
        let catalog = self.directory.catalog();
        let held = catalog.holdings(&registration.roles);
        let permissions = catalog
            .api()
            .and_then(|api| held.get(&api.uid))
            .into_iter()
            .flat_map(|held| held.keys())
            .filter(|permission| granted.contains(permission.as_str()))
            .map(|permission| (*permission).clone())
            .collect();
        Ok(Principal { client_id: claims.client_id, jti: claims.jti, permissions })
    }
}
