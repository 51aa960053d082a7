//! X.509-SVIDs: who a certificate says that somebody is (X509-SVID §2 to §5.2). That it says the truth, its chain must
//! prove.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::certificate::PeerCertificate;
use super::spiffe::SpiffeId;

/// Why a certificate is no X.509-SVID of somebody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnSvid {
    /// It has no URI, or several.
    #[error("it has {0} URI SANs; an X.509-SVID has exactly one, its SPIFFE ID")]
    Uris(usize),
    /// Its URI is no SPIFFE ID with a path.
    #[error("its URI SAN is no SPIFFE ID with a path")]
    NotASpiffeId,
    /// It signs others.
    #[error("it is an authority's (cA, keyCertSign or cRLSign), which is nobody's identity")]
    Authority,
    /// Its key is not for proving who one is.
    #[error("its key usage does not have digitalSignature")]
    KeyUsage,
    /// Its extensions cannot be read.
    #[error("its extensions cannot be read")]
    Unreadable,
}

/// The SPIFFE ID of the leaf of an X.509-SVID.
///
/// # Errors
/// It is not one. Whoever issued it is not asked here.
pub fn spiffe_id(certificate: &PeerCertificate) -> Result<SpiffeId, NotAnSvid> {
    let [uri] = &certificate.names.uris[..] else {
        return Err(NotAnSvid::Uris(certificate.names.uris.len()));
    };
    let id = SpiffeId::new(uri).map_err(|_| NotAnSvid::NotASpiffeId)?;
    let (_, parsed) = X509Certificate::from_der(&certificate.der).map_err(|_| NotAnSvid::Unreadable)?;
    let constraints = parsed.basic_constraints().map_err(|_| NotAnSvid::Unreadable)?;
    let usage = parsed.key_usage().map_err(|_| NotAnSvid::Unreadable)?;
    let is_authority = constraints.is_some_and(|constraints| constraints.value.ca);
    match usage.map(|usage| usage.value) {
        _ if is_authority => Err(NotAnSvid::Authority),
        Some(usage) if usage.key_cert_sign() || usage.crl_sign() => Err(NotAnSvid::Authority),
        Some(usage) if usage.digital_signature() => Ok(id),
        _ => Err(NotAnSvid::KeyUsage),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};

    use super::*;

    const ID: &str = "spiffe://example.org/billing";

    fn read(uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<String, NotAnSvid> {
        let mut params = CertificateParams::new(vec!["billing.example.org".to_owned()]).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = PeerCertificate::parse(certificate.der(), false).unwrap();
        spiffe_id(&certificate).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn a_leaf_has_one_uri_which_is_its_spiffe_id_x509_svid_2() {
        assert_eq!(read(&[ID], |_| {}), Ok(ID.to_owned()));
        assert_eq!(read(&[ID], |params| params.is_ca = IsCa::ExplicitNoCa), Ok(ID.to_owned()));
        assert_eq!(read(&[], |_| {}), Err(NotAnSvid::Uris(0)));
        for other in ["spiffe://example.org/other", ID, "https://example.org/"] {
            assert_eq!(read(&[ID, other], |_| {}), Err(NotAnSvid::Uris(2)), "{other}");
        }
        for other in ["https://example.org/billing", "spiffe://example.org", "spiffe://example.org/"] {
            assert_eq!(read(&[other], |_| {}), Err(NotAnSvid::NotASpiffeId), "{other}");
        }
    }

    #[test]
    fn an_authority_is_nobody_x509_svid_5_2() {
        let ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(read(&[ID], |params| params.is_ca = ca), Err(NotAnSvid::Authority));
        for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
            assert_eq!(read(&[ID], |params| params.key_usages.push(usage)), Err(NotAnSvid::Authority));
        }
        let encipher = vec![KeyUsagePurpose::KeyEncipherment];
        assert_eq!(read(&[ID], |params| params.key_usages = encipher), Err(NotAnSvid::KeyUsage));
        assert_eq!(read(&[ID], |params| params.key_usages.clear()), Err(NotAnSvid::KeyUsage));
    }
}
