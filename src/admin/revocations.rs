//! Use-cases: taking tokens back, in an emergency.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::ids::ClientId;
use crate::domain::revocation::{Revocation, RevokedKind};
use crate::domain::text::quoted;
use crate::domain::time::Timestamp;
use crate::domain::token_id;
use crate::runtime::revocations;

/// What to take back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokens {
    /// One token, a whole chain of exchanges, or everything that a client has until now.
    pub kind: RevokedKind,
    /// A `jti`, a `txn` or a client id, as `kind` says.
    #[schema(example = "billing", min_length = 1)]
    pub subject: String,
}

/// What was taken back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RevocationView {
    /// What it is about.
    pub kind: RevokedKind,
    /// A `jti`, a `txn` or a client id, as `kind` says.
    #[schema(example = "billing")]
    pub subject: String,
    /// When; of a client, by the clock that is furthest ahead. What it gets later is not revoked.
    #[schema(value_type = String, format = DateTime)]
    pub revoked_at: Timestamp,
    /// When all that it is about has ended by itself.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

// === impl Admin ===

impl Admin {
    /// Takes tokens back. Whoever asks this server about them hears within a second that they do not count, on every
    /// replica; verifiers that only look at signatures accept them until they end.
    ///
    /// # Errors
    /// `tokens:revoke` is missing, there is no such client, the text is no identifier of ours, or the database is
    /// away.
    pub async fn revoke_tokens(&self, by: &By, wanted: RevokeTokens) -> Result<RevocationView, AdminError> {
        self.require(by, builtin::TOKENS_REVOKE).await?;
        let RevokeTokens { kind, subject } = wanted;
        match kind {
            RevokedKind::Client => {
                let client_id = ClientId::new(&subject).map_err(|error| error.in_field("subject"))?;
                self.stored_client(&client_id).await?;
            }
            RevokedKind::Token | RevokedKind::Chain if !token_id::is_whole(&subject) => {
                let problem = format!("'{}' is no identifier that this server makes", quoted(&subject));
                let fix = "copy the token's jti, or its txn for the whole chain, from the token or the audit";
                return Err(AdminError::invalid("subject", problem, fix));
            }
            RevokedKind::Token | RevokedKind::Chain => {}
        }
        let now = self.ambient.now();
        let revoked_at = match kind {
            RevokedKind::Client => {
                let tolerance = self.rotator.schedule().clock_tolerance();
                revocations::until_now(&self.store, now, tolerance).await?
            }
            RevokedKind::Token | RevokedKind::Chain => now,
        };
        let ends_at = revoked_at.plus(self.rotator.longest_token());
        let txn = (kind == RevokedKind::Chain).then(|| subject.clone());
        let revocation = Revocation { kind, subject, revoked_at, ends_at };
        let view = RevocationView { kind, subject: revocation.subject.clone(), revoked_at, ends_at };
        let whoever = (by.actor.clone(), by.origin.clone());
        revocations::revoke(&self.store, &self.ledger, &self.ambient, revocation, txn, whoever).await?;
        self.catch_up(by).await;
        Ok(view)
    }
}
