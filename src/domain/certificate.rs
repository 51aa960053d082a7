//! The certificate that a caller has proven to hold the key of (RFC 8705).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::time::Timestamp;

/// The larger ones nobody has use for; a key of the largest usual size takes a few thousand bytes.
pub const LARGEST: usize = 32 * 1_024;

/// The caller's own certificate: the leaf, with whatever was sent along to verify it.
///
/// That there is one says only that the caller holds its key, to a TLS listener of ours or to a proxy that is
/// trusted to say so. Anybody can make one. Who the caller is says a registration that fits, and, unless that names
/// the key itself, only when the certificate is [`trusted`](Self::trusted).
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate as it was sent.
    pub der: Vec<u8>,
    /// `x5t#S256` (RFC 8705 §3.1): base64url of the SHA-256 of `der`.
    pub thumbprint: String,
    /// Whether its chain leads to a configured authority that issues certificates for clients, all of it in force
    /// and none of it revoked, when the request came.
    pub trusted: bool,
    /// The subject's distinguished name, DER of the `Name`.
    pub subject_der: Vec<u8>,
    /// The same for people; for machines there is `subject_der`.
    pub subject: String,
    /// The alternative names.
    pub names: AlternativeNames,
    /// The public key, DER of the `SubjectPublicKeyInfo`.
    pub public_key_der: Vec<u8>,
    /// Its begin. Asked already when it is `trusted`.
    pub not_before: Timestamp,
    /// Its end. Asked already when it is `trusted`.
    pub not_after: Timestamp,
    /// What was sent along, in DER: it may lead to an authority. Nobody has looked at it.
    pub chain: Arc<[Vec<u8>]>,
}

/// The alternative names of a certificate that can stand for a client (RFC 8705 §2.1.2), as they are written in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    /// Domain names.
    pub dns: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Addresses of hosts.
    pub addresses: Vec<IpAddr>,
    /// Addresses of mail.
    pub emails: Vec<String>,
}

/// Bytes are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not one X.509 certificate in DER of at most 32 KiB")]
pub struct NotACertificate;

/// Bytes are not a list of revoked certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not one list of revoked certificates (X.509 CRL) with a next update")]
pub struct NotARevocationList;

// === impl PeerCertificate ===

impl PeerCertificate {
    /// Reads a leaf. Whether it is trusted the caller must have found out.
    ///
    /// # Errors
    /// It is not a certificate, or something follows it.
    pub fn parse(der: &[u8], trusted: bool) -> Result<Self, NotACertificate> {
        if der.len() > LARGEST {
            return Err(NotACertificate);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
        if !rest.is_empty() {
            return Err(NotACertificate);
        }
        let names = certificate.subject_alternative_name().map_err(|_| NotACertificate)?;
        let names = names.map(|names| AlternativeNames::read(&names.value.general_names));
        let validity = certificate.validity();
        Ok(Self {
            der: der.to_vec(),
            thumbprint: thumbprint(der),
            trusted,
            subject_der: certificate.subject().as_raw().to_vec(),
            subject: certificate.subject().to_string(),
            names: names.unwrap_or_default(),
            public_key_der: certificate.public_key().raw.to_vec(),
            not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
            not_after: Timestamp::from_seconds(validity.not_after.timestamp()),
            chain: Arc::default(),
        })
    }

    /// Whether `now` is within its own validity, whoever issued it.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl fmt::Debug for PeerCertificate {
    /// Without what is encoded: it is long, and the thumbprint says which it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("thumbprint", &self.thumbprint)
            .field("trusted", &self.trusted)
            .field("subject", &self.subject)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

// === impl AlternativeNames ===

impl AlternativeNames {
    /// What is no address of four or sixteen bytes, or of another kind, can stand for no client and is left out.
    fn read(names: &[GeneralName<'_>]) -> Self {
        let mut read = Self::default();
        for name in names {
            match name {
                GeneralName::DNSName(name) => read.dns.push((*name).to_owned()),
                GeneralName::URI(name) => read.uris.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => read.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => read.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        read
    }
}

/// `x5t#S256` of a certificate (RFC 8705 §3.1).
#[must_use]
pub fn thumbprint(der: &[u8]) -> String {
    BASE64URL.encode(digest::digest(&digest::SHA256, der))
}

/// When a list of revoked certificates ends: after that it may lack what was revoked since.
///
/// # Errors
/// It is no such list, or says no end (RFC 5280 §5.1.2.5 wants one).
pub fn revocation_list_end(der: &[u8]) -> Result<Timestamp, NotARevocationList> {
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| NotARevocationList)?;
    let end = list.next_update().filter(|_| rest.is_empty()).ok_or(NotARevocationList)?;
    Ok(Timestamp::from_seconds(end.timestamp()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    four().or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _, SanType};

    use super::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["billing.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "billing");
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.subject_alt_names.extend([
            SanType::URI("spiffe://example/billing".try_into().unwrap()),
            SanType::Rfc822Name("billing@example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        (params.self_signed(&key).unwrap().der().to_vec(), key.subject_public_key_info())
    }

    #[test]
    fn a_certificate_is_read() {
        let (der, public_key) = certificate();
        let read = PeerCertificate::parse(&der, true).unwrap();
        assert!(read.trusted);
        assert!(!PeerCertificate::parse(&der, false).unwrap().trusted);
        assert_eq!(read.der, der);
        assert_eq!(read.public_key_der, public_key);
        assert_eq!(read.thumbprint, BASE64URL.encode(digest::digest(&digest::SHA256, &der)));
        assert_eq!(read.thumbprint.len(), 43);
        assert_eq!(read.names.dns, ["billing.example"]);
        assert_eq!(read.names.uris, ["spiffe://example/billing"]);
        assert_eq!(read.names.emails, ["billing@example"]);
        assert_eq!(
            read.names.addresses,
            ["192.0.2.7", "2001:db8::7"].map(|text| text.parse::<IpAddr>().unwrap())
        );
        assert!(read.subject.contains("CN=billing"), "{}", read.subject);
        assert_eq!(read.subject_der[0], 0x30);
    }

    #[test]
    fn its_validity_includes_both_ends_rfc5280_4_1_2_5() {
        let read = PeerCertificate::parse(&certificate().0, false).unwrap();
        let second = |time: Timestamp, more| Timestamp::from_seconds(time.as_seconds() + more);
        assert!(!read.is_in_force(second(read.not_before, -1)));
        assert!(read.is_in_force(read.not_before));
        assert!(read.is_in_force(read.not_after));
        assert!(!read.is_in_force(second(read.not_after, 1)));
    }

    #[test]
    fn what_is_no_certificate_or_more_than_one_is_refused() {
        let (der, _) = certificate();
        let twice = [der.clone(), der.clone()].concat();
        let large = [der.clone(), vec![0; LARGEST]].concat();
        for bad in [&b""[..], b"0", &der[..der.len() - 1], &der[1..], &twice, &large] {
            assert_eq!(PeerCertificate::parse(bad, true), Err(NotACertificate));
        }
    }

    #[test]
    fn its_debug_form_is_short() {
        let read = PeerCertificate::parse(&certificate().0, false).unwrap();
        let text = format!("{read:?}");
        assert!(text.contains(&read.thumbprint) && text.len() < 600, "{text}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_changed_in_a_certificate_it_is_read_or_refused(
            at in proptest::prelude::any::<proptest::sample::Index>(),
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..4),
        ) {
            let (mut der, _) = certificate();
            let at = at.index(der.len());
            for (old, new) in der[at..].iter_mut().zip(bytes) {
                *old = new;
            }
            if let Ok(read) = PeerCertificate::parse(&der, false) {
                proptest::prop_assert_eq!(read.thumbprint, thumbprint(&der));
            }
            let _ = revocation_list_end(&der);
        }
    }
}
