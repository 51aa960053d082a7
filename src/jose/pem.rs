//! Public keys as OpenSSL writes them: `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) in PEM (RFC 7468).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::jwk::Members;
use super::{Algorithm, ForeignKeyError, PublicJwk};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The public key in a text.
///
/// # Errors
/// There is none or more than one, it is a private one, or of a type that is not accepted.
pub(super) fn public_key(text: &str) -> Result<Members, ForeignKeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(ForeignKeyError::Private);
    }
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----").ok_or(ForeignKeyError::NotPem)?;
    let (body, rest) = rest.split_once("-----END PUBLIC KEY-----").ok_or(ForeignKeyError::NotPem)?;
    if rest.contains("-----BEGIN") {
        return Err(ForeignKeyError::NotPem);
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = BASE64.decode(body).map_err(|_| ForeignKeyError::NotPem)?;
    members(&der).ok_or(ForeignKeyError::Unfit)
}

fn members(der: &[u8]) -> Option<Members> {
    let mut info = Der(whole(der, SEQUENCE)?);
    let mut algorithm = Der(info.take(SEQUENCE)?);
    let key = info.take(BIT_STRING)?.strip_prefix(&[0])?;
    info.is_empty().then_some(())?;
    let jwk = match algorithm.take(OBJECT_IDENTIFIER)? {
        RSA => {
            let mut numbers = Der(whole(key, SEQUENCE)?);
            let (n, e) = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
            PublicJwk::from_rsa(Algorithm::Rs256, n, e)
        }
        EC => match algorithm.take(OBJECT_IDENTIFIER)? {
            P256 => PublicJwk::from_point(Algorithm::Es256, key),
            P384 => PublicJwk::from_point(Algorithm::Es384, key),
            _ => None,
        },
        ED25519 => PublicJwk::from_point(Algorithm::EdDsa, key),
        _ => None,
    };
    jwk.map(|jwk| jwk.members().clone())
}

/// What one element holds that is all there is.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut der = Der(der);
    let content = der.take(tag)?;
    der.is_empty().then_some(content)
}

/// What is left of a DER encoding (X.690 §10).
struct Der<'a>(&'a [u8]);

// === impl Der ===

impl<'a> Der<'a> {
    /// What the next element holds, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(*short), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ForeignKey;
    use super::*;

    /// Each as `openssl pkey -pubout` wrote it, with its RFC 7638 thumbprint by Python's cryptography.
    const KEYS: &[(&str, &str, &str)] = &[
        (
            "EC P-256",
            "3GX-3CHegsQF6KzVG_nust6oLCDyluSFpZFPeXH3J78",
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEY5yau0DGWZoFSkwOoFf2+hcNQDRV\nm/9KFnXOVkUbi0+cSt02nq9iqD5pAmoxfO+Rzd1GTYkVFAb1RXszTeWCnQ==\n-----END PUBLIC KEY-----\n",
        ),
        (
            "EC P-384",
            "7cZJ7b61k3w5fVADeP9eR9b8r_euM_K3cCXrRCVT7_g",
            "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEbYLf+Z8BZRIItH5Q3fq2jdfQxbzPYBtT\nSvDiFhRNGq+6AR1+wwwbG2aafcpzXReUONLSscnFrLpev9i+8ptw3wzMDDr9p60Y\nNnJWSultzWIxXwOjoXShC15/4Zl8slX+\n-----END PUBLIC KEY-----\n",
        ),
        (
            "RSA 2048",
            "vS0GAtRWm6kT2KAPBKYZfCixZjJyNnINEmtDlRXKVE8",
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwM5bpD+0WQOb9QozmQDg\n/NoZ8JFaQeTG2UArTiqgVtWYriyu2kFIHK+ZQ0ndRPb1KnGSH6k29aOI5G9QbOxo\nu3qKhzIzDAjnWwQQ2zMUOjPg3Q1dRsN64z7w1cviF6v0v1AssLJVAFUDR5LBFfwy\njXWD/umqAJKk4EwWk2q9SmB4HmMBsxhpjg5JaVhOfwZP3JLqFa/SOIF3FiBp1fI8\nguqSY8IlIIrP1W7nW/U1bATbRVLjHope29BJ+kyv5MxSEtwJjGh5cA7zQXfqVXB6\n01QmFPQ4SNN/nr0JUqmDA0KAT3D6SVOnwL/DivMi/hiNnw01pN14xvQ3xsOlwIQY\nCwIDAQAB\n-----END PUBLIC KEY-----\n",
        ),
        (
            "Ed25519",
            "VG66ySPUaS8_RQ0hDZNO8mWHbdnn9wW7mT4P8AR8g_E",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAlFPbwezbKcViAEVjj5+pxiRqgAhaSDGbxco9liBra/I=\n-----END PUBLIC KEY-----\n",
        ),
    ];

    #[test]
    fn what_openssl_writes_is_read() {
        for (description, thumbprint, text) in KEYS {
            let key = ForeignKey::from_pem(text).unwrap();
            assert_eq!((key.description(), key.thumbprint()), (*description, *thumbprint));
        }
    }

    #[test]
    fn what_is_no_single_public_key_is_refused() {
        let (_, _, good) = KEYS[0];
        for (text, error) in [
            ("", ForeignKeyError::NotPem),
            ("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", ForeignKeyError::NotPem),
            ("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----", ForeignKeyError::Unfit),
            (&format!("{good}{good}"), ForeignKeyError::NotPem),
            (
                "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----",
                ForeignKeyError::Private,
            ),
        ] {
            assert_eq!(ForeignKey::from_pem(text).unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..100) {
            let _ = members(&bytes);
            let body: String = KEYS[0].2.lines().filter(|line| !line.starts_with('-')).collect();
            let good = BASE64.decode(body).unwrap();
            let _ = members(&good[..cut.min(good.len())]);
        }
    }
}
