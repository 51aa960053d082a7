//! Revocation (RFC 7009): a client takes a token of its own back. It counts on every replica within a second.

use std::sync::Arc;

use super::live::{LiveError, LiveTokens, REVOKED};
use super::request::{ClientGate, ClientRequest};
use crate::domain::error::{ErrorCode, Failure, OAuthError};
use crate::domain::revocation::{Revocation, RevokedKind};
use crate::domain::time::Timestamp;
use crate::runtime::clock::Ambient;
use crate::runtime::ledger::Ledger;
use crate::runtime::revocations;
use crate::storage::Store;

/// Takes tokens back.
#[derive(Clone)]
pub struct RevocationEndpoint {
    /// Who may ask at all.
    pub gate: Arc<ClientGate>,
    /// Which tokens count.
    pub tokens: Arc<LiveTokens>,
    /// Where revocations are kept.
    pub store: Store,
    /// What records.
    pub ledger: Ledger,
    /// Time and randomness.
    pub ambient: Ambient,
}

// === impl RevocationEndpoint ===

impl RevocationEndpoint {
    /// Takes the token of a request back. What is no token of ours, or none any more, needs no revocation, and that
    /// is a success (RFC 7009 §2.2).
    ///
    /// # Errors
    /// The client is not admitted, sends no token, or one that was issued to somebody else (§2.1); or nothing can be
    /// done now.
    pub async fn revoke(&self, request: &ClientRequest<'_>) -> Result<(), Failure> {
        let (client, form) = self.gate.admit(request).await?;
        let asker = &client.registration.client.client_id;
        let refuse = async |error| self.gate.refuse(request, Some(client.claimed()), error).await;
        let Some(token) = form.get("token") else {
            let error = OAuthError::invalid_request("token is missing (RFC 7009 section 2.1)");
            return Err(refuse(error).await);
        };
        let now = self.ambient.now();
        let claims = match self.tokens.check(token, now).await {
            Ok(live) => live.claims,
            // One that does not count only while its client is disabled would count again.
            Err(LiveError::NotLive(dead)) if dead.reason == REVOKED => return Ok(()),
            Err(LiveError::NotLive(dead)) => match dead.claims {
                Some(claims) if claims.exp > now.as_seconds() => *claims,
                _ => return Ok(()),
            },
            Err(LiveError::Fault(fault)) => return Err(fault.into()),
        };
        if claims.client_id != *asker {
            let error = OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "the token was issued to another client, which alone can revoke it here",
            );
            return Err(refuse(error).await);
        }
        let revocation = Revocation {
            kind: RevokedKind::Token,
            subject: claims.jti,
            revoked_at: now,
            ends_at: Timestamp::from_seconds(claims.exp),
        };
        let by = (client.actor(), request.origin.clone());
        revocations::revoke(&self.store, &self.ledger, &self.ambient, revocation, Some(claims.txn), by)
            .await?;
        // It is committed: that the directory lags for a moment does not undo it.
        if let Err(error) = self.tokens.directory.catch_up().await {
            let request_id = request.origin.request_id.as_deref();
            tracing::warn!(%error, request_id, "the revocation is stored, but does not count here yet");
        }
        Ok(())
    }
}
