//! `spiffe_x509`: a certificate that is an X.509-SVID (draft-ietf-oauth-spiffe-client-auth). Its one URI is the SPIFFE
//! ID; the bundle of the trust domain is registered, and never taken from the connection.

use std::sync::Arc;

use super::federation::{Believed, find, refused};
use super::{Claim, Identified, Method, Presentation, Presented, Proof, Seeking, Verified, Verifiers};
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::AuthMethod;
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::ClientId;
use crate::domain::time::Timestamp;
use crate::domain::x509_svid::spiffe_id;
use crate::oauth::Boxed;

pub(super) struct SpiffeX509;

/// A certificate that says who its holder is in a trust domain.
#[derive(Debug)]
struct Svid(Arc<PeerCertificate>);

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
    /// What its trust domain vouches for. No token outlives the certificate that got it.
    async fn believe(&self, verifiers: &Verifiers, now: Timestamp) -> Result<Believed, Failure> {
        let token = verifiers.outside.verify_svid(&self.0, now).await.map_err(refused)?;
        Ok(Believed { not_after: Some(token.ends_at), token })
    }
}

impl Proof for Svid {
    /// Where the request names nobody but the SPIFFE ID itself.
    fn identify<'a>(&'a self, seeking: Seeking<'a>) -> Option<Boxed<'a, Result<Identified, Failure>>> {
        let own = spiffe_id(&self.0).ok()?;
        if seeking.named.is_some_and(|named| named.as_str() != own.as_str()) {
            return None;
        }
        Some(Box::pin(async move {
            let believed = self.believe(seeking.verifiers, seeking.caller.now).await?;
            let client_id = find(&seeking, &believed.token).await?;
            Ok(Identified { client_id, proof: Box::new(believed) })
        }))
    }

    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        Box::pin(async move { self.believe(claim.verifiers, claim.now).await?.prove(claim) })
    }
}
