//! `client_secret_post`: id and secret in the body (RFC 6749 §2.3.1).

use secrecy::SecretString;

use super::{Method, Presentation, Presented, Stake, Verified, verify_secret};
use crate::domain::client::{AuthMethod, Registration};
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::oauth::Boxed;
use crate::runtime::secrets::SecretVerifier;

pub(super) struct ClientSecretPost;

// === impl ClientSecretPost ===

impl Method for ClientSecretPost {
    fn name(&self) -> AuthMethod {
        AuthMethod::ClientSecretPost
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let secret = request.form.get("client_secret")?;
        let Some(client_id) = request.form.get("client_id") else {
            return Some(Err(OAuthError::invalid_request("client_secret needs client_id beside it")));
        };
        Some(
            ClientId::new(client_id)
                .map(|client_id| Presented { client_id, secret: SecretString::from(secret.to_owned()) })
                .map_err(|_| OAuthError::invalid_client("the client_id is not one")),
        )
    }

    fn stake(&self, secrets: &SecretVerifier, presented: &Presented) -> Stake {
        Stake::of_secret(secrets, presented)
    }

    fn verify<'a>(
        &'a self,
        secrets: &'a SecretVerifier,
        registration: Option<&'a Registration>,
        presented: &'a Presented,
        now: Timestamp,
    ) -> Boxed<'a, Result<Verified, Failure>> {
        verify_secret(secrets, registration, presented, now)
    }
}
