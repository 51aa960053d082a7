//! `spiffe_x509`: a certificate that is an X.509-SVID (draft-ietf-oauth-spiffe-client-auth). Its one URI is the SPIFFE
//! ID; the bundle of the trust domain is registered, and never taken from the connection.

use std::sync::Arc;

use super::federation::{credential, find, refused};
use super::{Claim, Identified, Method, Presentation, Presented, Proof, Seeking, Verified};
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::AuthMethod;
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::domain::x509_svid::spiffe_id;
use crate::oauth::Boxed;
use crate::oauth::outside::OutsideToken;

pub(super) struct SpiffeX509;

/// A certificate that says who its holder is in a trust domain.
#[derive(Debug)]
struct Svid(Arc<PeerCertificate>);

/// One that its trust domain vouches for, of whomever it is.
#[derive(Debug)]
struct Believed(OutsideToken);

// === impl SpiffeX509 ===

impl Method for SpiffeX509 {
    fn name(&self) -> AuthMethod {
        AuthMethod::SpiffeX509
    }

    fn is_of_connection(&self) -> bool {
        true
    }

    /// The draft wants the SPIFFE ID as `client_id`. It may also be missing, or name the client.
    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        let certificate = Arc::clone(request.certificate?);
        let named = request.form.get("client_id");
        if named.is_none() && spiffe_id(&certificate).is_err() {
            return None;
        }
        let client_id = named.map(ClientId::new).transpose();
        Some(
            client_id
                .map(|client_id| Presented { client_id, proof: Box::new(Svid(certificate)) })
                .map_err(|_| OAuthError::invalid_client("the client_id is not one")),
        )
    }
}

// === impl Svid ===

impl Svid {
    async fn believe(&self, claim: Claim<'_>) -> Result<Verified, Failure> {
        let token = claim.verifiers.outside.verify_svid(&self.0, claim.now).await.map_err(refused)?;
        proven(&token, claim)
    }
}

impl Proof for Svid {
    /// Where the request names nobody but the SPIFFE ID itself.
    fn identify<'a>(&'a self, seeking: Seeking<'a>) -> Option<Boxed<'a, Result<Identified, Failure>>> {
        let Self(certificate) = self;
        let own = spiffe_id(certificate).ok()?;
        if seeking.named.is_some_and(|named| named.as_str() != own.as_str()) {
            return None;
        }
        Some(Box::pin(async move {
            let token = seeking.verifiers.outside.verify_svid(certificate, seeking.caller.now).await;
            let token = token.map_err(refused)?;
            let client_id = find(&seeking, &token).await?;
            Ok(Identified { client_id, proof: Box::new(Believed(token)) })
        }))
    }

    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        Box::pin(self.believe(claim))
    }
}

// === impl Believed ===

impl Proof for Believed {
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        let outcome = proven(&self.0, claim);
        Box::pin(async move { outcome })
    }
}

/// Whether it is the client's. No token outlives the certificate that got it.
fn proven(token: &OutsideToken, claim: Claim<'_>) -> Result<Verified, Failure> {
    let registration =
        claim.registration.ok_or_else(|| OAuthError::invalid_client("no client to check it against"))?;
    let proven = credential(registration, token.says(), claim.now).map_err(OAuthError::invalid_client)?;
    let not_after = proven.expires_at.map_or(token.ends_at, |end| end.min(token.ends_at));
    Ok(Verified {
        credential_id: proven.credential_id.clone(),
        not_after: Some(not_after),
        used: None,
        legacy_audience: false,
    })
}
