//! `federated_jwt`: a token of a trusted issuer, which proves a client without any secret of its own (RFC 7523 §2.2).

use super::federation;
use super::{Method, Presentation, Presented, private_key_jwt};
use crate::domain::client::AuthMethod;
use crate::domain::error::OAuthError;
use crate::oauth::outside::UsedAs;

pub(super) struct FederatedJwt;

// === impl FederatedJwt ===

impl Method for FederatedJwt {
    fn name(&self) -> AuthMethod {
        AuthMethod::FederatedJwt
    }

    /// An assertion that its own subject has issued is a client's own ([`private_key_jwt`]); any other is somebody
    /// else's about it.
    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let (kind, token) =
            (request.form.get("client_assertion_type")?, request.form.get("client_assertion")?);
        let meant = kind == private_key_jwt::TYPE && federation::is_about_another(token);
        meant.then(|| federation::presented(request, token, UsedAs::ClientAssertion))
    }
}
