//! A certificate that a client is registered with (`self_signed_tls_client_auth`, RFC 8705 §2.2): whoever holds its
//! key is the client.

use aws_lc_rs::digest;
use x509_parser::pem::Pem;

use super::certificate::PeerCertificate;
use super::error::FieldError;
use super::ids::CredentialId;
use super::time::Timestamp;

/// The most certificates one client has at a time: enough for any rotation.
pub const MOST_CERTIFICATES: usize = 10;

/// The most characters of one in PEM: [`super::certificate::LARGEST`] bytes in base64, with its lines.
pub const LONGEST_PEM: usize = 48 * 1_024;

/// A registered certificate, without what is encoded in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Names it to people.
    pub certificate_id: CredentialId,
    /// `x5t#S256`: what is compared.
    pub thumbprint: String,
    /// The name in it, for people.
    pub subject: String,
    /// A note for people, which decides nothing.
    pub description: String,
    /// The begin of its validity.
    pub not_before: Timestamp,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// When it was added.
    pub created_at: Timestamp,
    /// The end that was given to it here; that of its validity alone, when absent.
    pub expires_at: Option<Timestamp>,
}

/// Why a registered certificate does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfForce {
    /// Its validity has not begun.
    NotYet,
    /// Its validity is over, or its own end has come.
    Expired,
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// Whether it counts at `now`.
    ///
    /// # Errors
    /// Not yet, or no longer. A removed one is absent.
    pub fn check(&self, now: Timestamp) -> Result<(), OutOfForce> {
        if now < self.not_before {
            return Err(OutOfForce::NotYet);
        }
        // Validity includes its last second (RFC 5280 §4.1.2.5); the end that was given here does not.
        if now > self.not_after || self.expires_at.is_some_and(|end| now >= end) {
            return Err(OutOfForce::Expired);
        }
        Ok(())
    }

    /// The end of what it proves.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.map_or(self.not_after, |end| end.min(self.not_after))
    }
}

// === impl OutOfForce ===

impl OutOfForce {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not yet valid",
            Self::Expired => "expired",
        }
    }
}

/// The certificate in a PEM text, which must hold that one alone.
///
/// # Errors
/// It holds none, several, or a private key: what to send instead.
pub fn from_pem(text: &str) -> Result<PeerCertificate, FieldError> {
    let refuse = |problem: &str, fix: &'static str| Err(FieldError::new("certificate", problem, fix));
    if text.contains("PRIVATE KEY-----") {
        return refuse("it holds a private key", "keep that to the client, and send the certificate alone");
    }
    let wrong = "it is not one X.509 certificate in PEM of at most 32 KiB";
    let write = "send the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
    if text.len() > LONGEST_PEM {
        return refuse(wrong, write);
    }
    let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(text.as_bytes()).take(2).collect();
    match blocks.as_deref() {
        Ok([one]) if one.label == "CERTIFICATE" => {
            PeerCertificate::parse(&one.contents, false).or_else(|_| {
                refuse(wrong, "read it with openssl x509 -noout -text, and send what that can read")
            })
        }
        Ok([_, _, ..]) => refuse(
            "it holds more than one certificate",
            "send the client's own alone: no other identifies it",
        ),
        _ => refuse(wrong, write),
    }
}

/// What a certificate is called: sixty bits of its SHA-256 in base32, so that a client's certificates are told apart
/// and one that is registered twice is noticed.
///
/// # Errors
/// Never: letters and digits have the form of a credential id.
pub fn certificate_id(der: &[u8]) -> Result<CredentialId, FieldError> {
    const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = digest::digest(&digest::SHA256, der);
    let bits = hash.as_ref().iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let digits: String =
        (0..12).rev().map(|digit| char::from(BASE32[(bits >> (digit * 5) & 31) as usize])).collect();
    CredentialId::new(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn made() -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["billing.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    #[test]
    fn one_certificate_is_read_from_pem_and_nothing_else() {
        let (certificate, key) = made();
        let pem = certificate.pem();
        let read = from_pem(&format!("subject=CN = x\n{pem}\n")).unwrap();
        assert_eq!(read.der, certificate.der().to_vec());
        assert!(!read.trusted);
        assert_eq!(certificate_id(&read.der).unwrap().as_str().len(), 12);
        assert_eq!(certificate_id(&read.der), certificate_id(certificate.der()));

        let with_key = format!("{pem}{}", key.serialize_pem());
        let twice = format!("{pem}{pem}");
        let garbled = pem.replace("MII", "AAA");
        let other = pem.replace("CERTIFICATE", "CERTIFICATE REQUEST");
        let long = format!("{}{pem}", " ".repeat(LONGEST_PEM));
        for (bad, why) in [
            (with_key.as_str(), "private key"),
            (&twice, "more than one"),
            (&garbled, "not one"),
            (&other, "not one"),
            (&long, "not one"),
            ("", "not one"),
            ("MIIB", "not one"),
            ("-----BEGIN CERTIFICATE-----", "not one"),
        ] {
            let error = from_pem(bad).unwrap_err();
            assert!(error.problem.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn it_counts_within_its_validity_and_its_own_end() {
        let at = Timestamp::from_seconds;
        let certificate = |expires_at| ClientCertificate {
            certificate_id: certificate_id(b"a").unwrap(),
            thumbprint: "x".to_owned(),
            subject: String::new(),
            description: String::new(),
            not_before: at(100),
            not_after: at(200),
            created_at: at(0),
            expires_at,
        };
        let free = certificate(None);
        assert_eq!(free.check(at(99)), Err(OutOfForce::NotYet));
        assert_eq!(free.check(at(100)), Ok(()));
        assert_eq!(free.check(at(200)), Ok(()));
        assert_eq!(free.check(at(201)), Err(OutOfForce::Expired));
        assert_eq!(free.ends_at(), at(200));
        let ended = certificate(Some(at(150)));
        assert_eq!(ended.check(at(149)), Ok(()));
        assert_eq!(ended.check(at(150)), Err(OutOfForce::Expired));
        assert_eq!(ended.ends_at(), at(150));
        assert_eq!(certificate(Some(at(300))).ends_at(), at(200));
    }
}
