//! Bearer tokens for Jeton's own API (RFC 6750): the API is a resource server like any other, except
//! that it can ask the directory, so that a disabled client or a role taken away counts at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::live::{EXPIRED, LiveError, LiveTokens, NOT_OURS};
use crate::domain::audit::{Actor, AuditEvent, Event, Origin};
use crate::domain::claims::AccessTokenClaims;
use crate::domain::error::Fault;
use crate::domain::ids::{ClientId, Permission};
use crate::jose::TokenType;
use crate::runtime::clock::Ambient;
use crate::runtime::refusals::Refusals;

/// Whatever it is that stands behind the token and does not any more.
const NO_LONGER: &str = "the token's client may no longer use it";

/// Checks tokens for the API.
pub struct AccessVerifier {
    /// Time.
    pub ambient: Ambient,
    /// Which tokens count.
    pub tokens: Arc<LiveTokens>,
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
            let event =
                Event::AccessRefused { actor, claimed: None, permission: None, reason, repeated: None };
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
        let by = |claims: &AccessTokenClaims| Actor::Client {
            client_id: claims.client_id.clone(),
            jti: claims.jti.clone(),
        };
        let live = match self.tokens.check(token, self.ambient.now()).await {
            Ok(live) => live,
            Err(LiveError::NotLive(dead)) => {
                *actor = dead.claims.as_deref().map(by);
                return Err(AccessError::Invalid(match dead.reason {
                    plain @ (NOT_OURS | EXPIRED) => plain,
                    _ => NO_LONGER,
                }));
            }
            Err(LiveError::Fault(fault)) => return Err(fault.into()),
        };
        *actor = Some(by(&live.claims));
        if live.token_type != TokenType::AccessToken {
            return Err(AccessError::Invalid(NOT_OURS));
        }
        let Some(api) = live.audience.iter().find(|server| server.builtin) else {
            return Err(AccessError::Invalid(
                "the token is for another audience: ask for one with resource=<issuer>/api/v1",
            ));
        };
        if live.claims.cnf.is_some() {
            return Err(AccessError::Invalid(
                "the token is bound to a key, and the request does not prove it",
            ));
        }
        if !live.client.client.may_call_from(address) {
            return Err(AccessError::Invalid(NO_LONGER));
        }
        let permissions = live.scope.iter().filter(|value| api.permissions.contains_key(value.as_str()));
        Ok(Principal {
            permissions: permissions.cloned().collect(),
            client_id: live.claims.client_id,
            jti: live.claims.jti,
        })
    }
}
