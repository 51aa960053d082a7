//! Which credential a client is taken to authenticate with, when a request is only tried.

use crate::domain::client::{AuthMethod, Registration};
use crate::domain::error::OAuthError;
use crate::domain::time::Timestamp;

/// A credential that is in force.
pub(super) struct InForce {
    /// What it is called: `the secret k7q2mzxa`.
    pub(super) name: String,
    /// Its end.
    pub(super) ends_at: Option<Timestamp>,
}

/// Of the credentials that are in force, the one with the latest end.
///
/// # Errors
/// There is none.
pub(super) fn longest_lived(registration: &Registration, now: Timestamp) -> Result<InForce, OAuthError> {
    let client = &registration.client;
    let secrets = registration.secrets.iter().filter(|secret| secret.check(now).is_ok());
    let secrets = secrets.map(|secret| InForce {
        name: format!("the secret {}", secret.secret_id),
        ends_at: secret.expires_at,
    });
    let certificates = registration.certificates.iter().filter(|certificate| certificate.check(now).is_ok());
    let certificates = certificates.map(|certificate| InForce {
        name: format!("the certificate {}", certificate.certificate_id),
        ends_at: Some(certificate.ends_at()),
    });
    let by_subject = client.auth_methods.contains(&AuthMethod::TlsClientAuth);
    let issued = client.certificate_subject.as_ref().filter(|_| by_subject).map(|subject| InForce {
        name: format!("a certificate with the {} '{}'", subject.kind(), subject.as_str()),
        ends_at: None,
    });
    let all = secrets.chain(certificates).chain(issued);
    let end = |credential: &InForce| credential.ends_at.unwrap_or(Timestamp::from_micros(i64::MAX));
    all.max_by_key(end).ok_or_else(|| {
        let certified = client.auth_methods.contains(&AuthMethod::SelfSignedTlsClientAuth);
        let kinds = if certified { "secret or certificate" } else { "secret" };
        let none = registration.secrets.is_empty() && registration.certificates.is_empty();
        OAuthError::invalid_client(if none {
            format!("the client has no {kinds}; add one")
        } else {
            format!("every {kinds} of the client is expired; add one")
        })
    })
}
