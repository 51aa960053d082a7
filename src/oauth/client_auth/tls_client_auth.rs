//! `tls_client_auth`: a certificate of a trusted authority whose subject is the registered one (RFC 8705 §2.1).

use std::sync::Arc;

use super::certificate::presented;
use super::{Claim, Method, Presentation, Presented, Proof, Verified};
use crate::domain::certificate::PeerCertificate;
use crate::domain::client::AuthMethod;
use crate::domain::error::{Failure, OAuthError};
use crate::domain::ids::CredentialId;
use crate::domain::text::quoted;
use crate::oauth::Boxed;

pub(super) struct TlsClientAuth;

/// A certificate whose issuer says whose it is.
#[derive(Debug)]
struct Issued(Arc<PeerCertificate>);

// === impl TlsClientAuth ===

impl Method for TlsClientAuth {
    fn name(&self) -> AuthMethod {
        AuthMethod::TlsClientAuth
    }

    fn is_of_connection(&self) -> bool {
        true
    }

    fn present(&self, request: &Presentation<'_>) -> Option<Result<Presented, OAuthError>> {
        presented(request, |certificate| Box::new(Issued(certificate)))
    }
}

// === impl Issued ===

impl Issued {
    fn check(&self, claim: Claim<'_>) -> Result<Verified, OAuthError> {
        let Self(certificate) = self;
        let expected =
            claim.registration.and_then(|registration| registration.client.certificate_subject.as_ref());
        let expected = expected.ok_or_else(|| {
            OAuthError::invalid_client("no subject of certificates is registered for the client")
        })?;
        let subject = || quoted(&certificate.subject);
        if !expected.is_of(certificate) {
            let (kind, text) = (expected.kind(), quoted(expected.as_str()));
            return Err(OAuthError::invalid_client(format!(
                "the certificate of '{}' does not have the {kind} '{text}'",
                subject()
            )));
        }
        if !certificate.trusted || !certificate.is_in_force(claim.now) {
            return Err(OAuthError::invalid_client(format!(
                "the certificate of '{}' is expired, revoked, or of no authority that is trusted here",
                subject()
            )));
        }
        // The client has one subject; which of its certificates it was, the token's `x5t` says.
        let credential_id = CredentialId::new(expected.kind().credential_id())
            .map_err(|error| OAuthError::invalid_client(error.to_string()))?;
        Ok(Verified {
            credential_id,
            not_after: Some(certificate.not_after),
            used: None,
            legacy_audience: false,
        })
    }
}

impl Proof for Issued {
    fn verify<'a>(&'a self, claim: Claim<'a>) -> Boxed<'a, Result<Verified, Failure>> {
        let outcome = self.check(claim).map_err(Failure::from);
        Box::pin(async move { outcome })
    }
}
