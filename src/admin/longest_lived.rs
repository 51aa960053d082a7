//! Which credential a client is taken to authenticate with, when a request is only tried.

use crate::domain::client::{AuthMethod, Registration};
use crate::domain::error::OAuthError;
use crate::domain::ids::CredentialId;
use crate::domain::time::Timestamp;

/// A credential that is in force.
pub(super) struct InForce {
    /// Which, if it is registered.
    pub(super) id: Option<CredentialId>,
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
    let signs = client.auth_methods.contains(&AuthMethod::PrivateKeyJwt);
    let secrets = registration.secrets.iter().filter(|secret| secret.check(now).is_ok());
    let secrets = secrets.map(|secret| InForce {
        id: Some(secret.secret_id.clone().into()),
        name: format!("the secret {}", secret.secret_id),
        ends_at: secret.expires_at,
    });
    let keys = registration.keys.iter().filter(|key| signs && key.check(now).is_ok());
    let keys = keys.map(|key| InForce {
        id: Some(key.key_id.clone()),
        name: format!("the key {}", key.key_id),
        ends_at: key.expires_at,
    });
    let published = client.jwks_uri.as_ref().filter(|_| signs);
    let published = published.map(|uri| InForce {
        id: None,
        name: format!("a key that is published at {uri}"),
        ends_at: None,
    });
    let all = secrets.chain(keys).chain(published).chain(certified(registration, now));
    let end = |credential: &InForce| credential.ends_at.unwrap_or(Timestamp::from_micros(i64::MAX));
    all.max_by_key(end).ok_or_else(|| {
        let certified = client.auth_methods.contains(&AuthMethod::SelfSignedTlsClientAuth);
        let kinds = match (signs, certified) {
            (false, false) => "secret",
            (true, false) => "secret or key",
            (false, true) => "secret or certificate",
            (true, true) => "secret, key or certificate",
        };
        let none = registration.secrets.is_empty()
            && registration.keys.is_empty()
            && registration.certificates.is_empty();
        OAuthError::invalid_client(if none {
            format!("the client has no {kinds}; add one")
        } else {
            format!("every {kinds} of the client is expired; add one")
        })
    })
}

/// The certificates that are registered, and any that has the registered subject.
fn certified(registration: &Registration, now: Timestamp) -> impl Iterator<Item = InForce> {
    let client = &registration.client;
    let registered =
        registration.certificates.iter().filter(move |certificate| certificate.check(now).is_ok());
    let registered = registered.map(|certificate| InForce {
        id: Some(certificate.certificate_id.clone()),
        name: format!("the certificate {}", certificate.certificate_id),
        ends_at: Some(certificate.ends_at()),
    });
    let by_subject = client.auth_methods.contains(&AuthMethod::TlsClientAuth);
    let issued = client.certificate_subject.as_ref().filter(|_| by_subject).map(|subject| InForce {
        id: None,
        name: format!("a certificate with the {} '{}'", subject.kind(), subject.as_str()),
        ends_at: None,
    });
    registered.chain(issued)
}
