//! `client_secret_post`: id and secret in the body (RFC 6749 §2.3.1).

use secrecy::SecretString;

use super::secret::Secret;
use super::{Method, Presentation, Presented};
use crate::domain::client::AuthMethod;
use crate::domain::error::OAuthError;
use crate::domain::ids::ClientId;

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
                .map(|client_id| Presented {
                    client_id: Some(client_id),
                    proof: Box::new(Secret(SecretString::from(secret.to_owned()))),
                })
                .map_err(|_| OAuthError::invalid_client("the client_id is not one")),
        )
    }
}
