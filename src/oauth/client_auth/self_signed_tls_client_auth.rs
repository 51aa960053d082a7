//! `self_signed_tls_client_auth`: one of the certificates that the client is registered with, whoever issued it
//! (RFC 8705 §2.2).

use std::sync::Arc;

use super::certificate::presented;
use super::{Claim, Method, Presentation, Presented, Proof, Verified};
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::AuthMethod;
use crate::domain::error::{Failure, OAuthError};
use crate::oauth::Boxed;

pub(super) struct SelfSignedTlsClientAuth;

/// A certificate that is registered itself.
#[derive(Debug)]
struct Registered(Arc<PeerCertificate>);

// === impl SelfSignedTlsClientAuth ===

impl Method for SelfSignedTlsClientAuth {
    fn name(&self) -> AuthMethod {
        AuthMethod::SelfSignedTlsClientAuth
    }

    fn is_of_connection(&self) -> bool {
        true
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        presented(request, |certificate| Box::new(Registered(certificate)))
    }
}

// === impl Registered ===

impl Registered {
    /// The thumbprint is that of the whole certificate: another one with the same key is another credential, with
    /// another end.
    fn check(&self, claim: Claim<'_>) -> Result<Verified, OAuthError> {
        let Self(certificate) = self;
        let mut of_client =
            claim.registration.into_iter().flat_map(|registration| &registration.certificates);
        let registered = of_client
            .find(|registered| registered.thumbprint == certificate.thumbprint)
            .ok_or_else(|| {
                OAuthError::invalid_client(format!(
                    "the certificate {} is none of the client's",
                    certificate.thumbprint
                ))
            })?;
        let credential_id = registered.certificate_id.clone();
        registered.check(claim.now).map_err(|why| {
            OAuthError::invalid_client(format!("certificate {credential_id} is {}", why.as_str()))
        })?;
        Ok(Verified {
            credential_id,
            not_after: Some(registered.ends_at()),
            used: None,
            legacy_audience: false,
        })
    }
}

impl Proof for Registered {
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        let outcome = self.check(claim).map_err(Failure::from);
        Box::pin(async move { outcome })
    }
}
