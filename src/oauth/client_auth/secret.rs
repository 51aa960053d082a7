//! The proof that both secret methods share.

use secrecy::SecretString;

use super::{Claim, Proof, Stake, Verified, Verifiers};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::domain::secret::can_be_chosen;
use crate::oauth::Boxed;

/// A secret that is presented as one of a client's.
#[derive(Debug)]
pub(super) struct Secret(pub(super) SecretString);

// === impl Secret ===

impl Proof for Secret {
    /// One that somebody chose costs much, and may be in somebody's list.
    fn stake(&self, verifiers: &Verifiers, client_id: &ClientId) -> Stake {
        if !can_be_chosen(&self.0) {
            return Stake::Little;
        }
        let remembered = verifiers.secrets.remembered(client_id, &self.0);
        remembered.map_or(Stake::Much, |secret_id| Stake::Proven(secret_id.into()))
    }

    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        Box::pin(async move {
            let secret = claim
                .verifiers
                .secrets
                .identify(claim.client_id, claim.registration, &self.0)
                .await?
                .ok_or_else(|| OAuthError::invalid_client("the secret is none of the client's"))?;
            secret.check(claim.now).map_err(|why| {
                OAuthError::invalid_client(format!("secret {} is {}", secret.secret_id, why.as_str()))
            })?;
            let credential_id = secret.secret_id.clone().into();
            Ok(Verified { credential_id, not_after: secret.expires_at, used: None, legacy_audience: false })
        })
    }
}
