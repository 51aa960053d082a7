//! The proof that both secret methods share.

use secrecy::SecretString;

use super::{Claim, Proof, Verified};
use crate::domain::error::{Failure, OAuthError};
use crate::oauth::Boxed;

/// A secret that is presented as one of a client's.
#[derive(Debug)]
pub(super) struct Secret(pub(super) SecretString);

// === impl Secret ===

impl Proof for Secret {
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
