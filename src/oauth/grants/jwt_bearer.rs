//! `jwt-bearer` (RFC 7523 §2.1): a token of a trusted issuer as the authorization. Its subject is mapped to a client by
//! that client's federated credentials, and the token is what this client gets for itself.
//!
//! A client that authenticates in no other way has been authenticated by it (`by_grant`); of one that does, it must be
//! the assertion.

use super::client_credentials::for_itself;
use super::{Context, Grant, Resolved};
use crate::domain::client::GrantType;
use crate::domain::error::{Failure, OAuthError};
use crate::oauth::outside::{NotAccepted, UsedAs};
use crate::oauth::{Boxed, client_auth};

pub(super) struct JwtBearer;

// === impl JwtBearer ===

impl Grant for JwtBearer {
    fn grant_type(&self) -> GrantType {
        GrantType::JwtBearer
    }

    fn resolve<'a>(&'a self, context: &'a Context<'a>) -> Boxed<'a, Result<Resolved<'a>, Failure>> {
        Box::pin(resolve(context))
    }

    /// RFC 7521 §4.1.1, whatever it was of the request that came for the second time.
    fn used_before(&self) -> OAuthError {
        OAuthError::invalid_grant(client_auth::used_before().private)
    }
}

async fn resolve<'a>(context: &'a Context<'a>) -> Result<Resolved<'a>, Failure> {
    let mut resolved = for_itself(context);
    if context.client.by_grant {
        return Ok(resolved);
    }
    let assertion = context.form.get("assertion");
    let assertion = assertion
        .ok_or_else(|| OAuthError::invalid_request("assertion is missing (RFC 7523 section 2.1)"))?;
    let token = context.outside.verify(assertion, UsedAs::Grant, context.now).await;
    let token = token.map_err(|problem| match problem {
        NotAccepted::Refused(reason) => Failure::from(OAuthError::invalid_grant(reason)),
        NotAccepted::Fault(fault) => fault.into(),
    })?;
    // RFC 7521 §4.1: whom the client has authenticated as, and whose the assertion is, must not be two.
    let credential =
        client_auth::federated_credential(&context.client.registration, token.says(), context.now);
    let credential = credential.map_err(OAuthError::invalid_grant)?;
    resolved.grantee.not_after =
        [resolved.grantee.not_after, credential.expires_at].into_iter().flatten().min();
    resolved.used.extend(token.used);
    Ok(resolved)
}
