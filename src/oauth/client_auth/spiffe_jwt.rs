//! `spiffe_jwt`: a JWT-SVID (draft-ietf-oauth-spiffe-client-auth). Its `sub` is the SPIFFE ID; the bundle of the trust
//! domain is registered, and never taken from the token.

use super::federation;
use super::{Method, Presentation, Presented};
use crate::domain::client::AuthMethod;
use crate::domain::error::OAuthError;
use crate::oauth::outside::UsedAs;

/// Its `client_assertion_type`.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

pub(super) struct SpiffeJwt;

// === impl SpiffeJwt ===

impl Method for SpiffeJwt {
    fn name(&self) -> AuthMethod {
        AuthMethod::SpiffeJwt
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let (kind, token) =
            (request.form.get("client_assertion_type")?, request.form.get("client_assertion")?);
        (kind == TYPE).then(|| federation::presented(request, token, UsedAs::SpiffeAssertion))
    }
}
