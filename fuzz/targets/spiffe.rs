//! SPIFFE bundles, SPIFFE IDs, and certificates that say to be SVIDs.

use jeton::domain::certificate::PeerCertificate;
use jeton::domain::spiffe::{SpiffeId, TrustDomain, is_bundle_name};
use jeton::domain::x509_svid::spiffe_id;
use jeton::jose::{ForeignKey, read_bundle};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A bundle as another reader sees it. What nobody asks for need not be a number that can be computed with, nor a text
/// that can be shown.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Box<RawValue>>,
}

pub(crate) fn run(input: &[u8]) {
    if let Some(bundle) = read_bundle(input) {
        let set: Set = serde_json::from_slice(input).expect("another reader reads it too");
        assert!(std::str::from_utf8(input).is_ok(), "JSON is UTF-8");
        assert!(bundle.keys.len() + bundle.authorities.len() <= set.keys.len(), "an entry is one thing");
        for key in &bundle.keys {
            assert!(ForeignKey::from_jwk(key.json()).is_ok(), "what was read reads back");
        }
    }
    if let Ok(certificate) = PeerCertificate::parse(input, false)
        && let Ok(id) = spiffe_id(&certificate)
    {
        assert_eq!(certificate.names.uris, [id.as_str()]);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(id) = SpiffeId::new(text) {
        assert_eq!(id.as_str(), text);
        let domain = TrustDomain::from_id(id.trust_domain_id()).expect("it is within a trust domain");
        assert!(text.starts_with(&format!("{}/", domain.id())), "{text} is within {domain}");
        assert!(TrustDomain::from_id(text).is_err(), "nobody is a trust domain");
    }
    if is_bundle_name(text) {
        let path = std::path::Path::new("/bundles").join(text);
        assert_eq!(path.parent(), Some(std::path::Path::new("/bundles")), "{text} leads elsewhere");
    }
}
