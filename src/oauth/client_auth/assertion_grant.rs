//! An authorization grant that proves the client as well (RFC 7521 §4.1): whoever asks by `jwt-bearer` need not
//! authenticate beside it. Then the assertion is what authenticates, so that no step is left out.
//!
//! It is none of [`super::METHODS`]: a client is registered for the grant, and nobody chooses it where something else is
//! asked for than a token.

use super::federation;
use super::{Method, Presentation, Presented};
use crate::domain::client::{AuthMethod, Client, GrantType};
use crate::domain::error::{ErrorCode, OAuthError};
use crate::oauth::outside::UsedAs;

pub(super) struct AssertionGrant;

// === impl AssertionGrant ===

impl Method for AssertionGrant {
    /// For the audit: what proves the client is the same.
    fn name(&self) -> AuthMethod {
        AuthMethod::FederatedJwt
    }

    fn is_for(&self, client: &Client) -> bool {
        client.grant_types.contains(&GrantType::JwtBearer)
    }

    fn is_grant(&self) -> bool {
        true
    }

    /// RFC 7521 §4.1.1: what is wrong with the assertion is wrong with the grant.
    fn refusal(&self, error: OAuthError) -> OAuthError {
        if error.code == ErrorCode::InvalidClient {
            return OAuthError::invalid_grant(error.private);
        }
        error
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        if !request.grants || request.form.get("grant_type") != Some(GrantType::JwtBearer.as_str()) {
            return None;
        }
        Some(match request.form.get("assertion") {
            Some(token) => federation::presented(request, token, UsedAs::Grant),
            None => Err(OAuthError::invalid_request("assertion is missing (RFC 7523 section 2.1)")),
        })
    }
}
