use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ML_DSA_65, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::de::DeserializeOwned;

use super::header::Header;
use super::jwk::Members;
use super::{Algorithm, PublicJwk, TokenType};

/// A JWT was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is not a JWS in compact form with a readable header, or the members of a JWK make no key.
    #[error("not a JWT")]
    Malformed,
    /// It has an algorithm that is not known here, or a header member that changes its meaning.
    #[error("an unsupported header member")]
    UnsupportedHeader,
    /// The signature is not this key's, or the payload is not what was expected.
    #[error("the signature or the claims do not fit")]
    NotVerified,
}

/// A JWT of which nothing is known to be true yet: only what chooses the key can be read.
pub struct Unverified<'a> {
    pub(super) header: Header,
    /// The first two parts, which the signature is of.
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// A public key, parsed once, with the one algorithm that it may be used with.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

// === impl Unverified ===

impl<'a> Unverified<'a> {
    /// Splits a compact JWS (RFC 7515 §7.1) and reads its header.
    ///
    /// # Errors
    /// It does not have three parts and a readable header, its algorithm is not known here, or it has
    /// `crit`, which would change its meaning.
    pub fn parse(compact: &'a str) -> Result<Self, JwtError> {
        let (signed, signature) = compact.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        if payload.contains('.') {
            return Err(JwtError::Malformed);
        }
        Ok(Self { header: Header::parse(header)?, signed, payload, signature })
    }

    /// The key that the token says it was signed with.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Whether the header says that it is this type of token.
    #[must_use]
    pub fn is(&self, token_type: TokenType) -> bool {
        token_type.matches(self.header.typ.as_deref())
    }

    /// The algorithm that it says it was signed with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// Whether the header says no type at all.
    #[must_use]
    pub const fn has_no_type(&self) -> bool {
        self.header.typ.is_none()
    }

    /// Whether the header brings or points to a key or a certificate (`jwk`, `jku`, `x5c`, `x5u`). None of them is
    /// asked in any case.
    #[must_use]
    pub const fn names_a_key(&self) -> bool {
        self.header.names_a_key
    }

    /// The claims as somebody wrote them, for saying what it is that cannot be believed.
    #[must_use]
    pub fn claimed<T: DeserializeOwned>(&self) -> Option<T> {
        // As a text, because the reader of bytes lets through what is no UTF-8 in a member that nobody asks for
        // (RFC 7519 §7.2 wants UTF-8).
        serde_json::from_str(std::str::from_utf8(&BASE64URL.decode(self.payload).ok()?).ok()?).ok()
    }

    /// Checks the signature and reads the claims. Times, issuer and audience are the caller's to check:
    /// the clock is not this module's.
    ///
    /// # Errors
    /// The header names another algorithm than the key's, the signature is not this key's, or the claims
    /// have another shape.
    pub fn verify<T: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<T, JwtError> {
        if !self.is_signed_by(key) {
            return Err(JwtError::NotVerified);
        }
        self.claimed().ok_or(JwtError::NotVerified)
    }

    /// Whether the signature is this key's, of all that the token says.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        // The key's algorithm counts, and only that (RFC 8725 §3.1).
        self.header.algorithm == key.algorithm
            && BASE64URL
                .decode(self.signature)
                .is_ok_and(|signature| key.has_signed(self.signed.as_bytes(), &signature))
    }
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// Makes ready to verify with a public JWK.
    ///
    /// # Errors
    /// Its members do not make a key: a point beside the curve is none either.
    pub fn from_jwk(jwk: &PublicJwk) -> Result<Self, JwtError> {
        let algorithm = jwk.algorithm();
        parsed(algorithm, jwk.members()).map(|key| Self { algorithm, key }).ok_or(JwtError::Malformed)
    }

    /// Whether this is this key's signature of the message, in the form that a JWS has it.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        // Of ML-DSA the library takes the context to be empty, as RFC 9964 wants it.
        self.key.verify_sig(message, signature).is_ok()
    }
}

fn parsed(algorithm: Algorithm, members: &Members) -> Option<ParsedPublicKey> {
    let bytes = |member: &String| BASE64URL.decode(member).ok();
    let of_bytes =
        |kind: &'static dyn VerificationAlgorithm, bytes: &[u8]| ParsedPublicKey::new(kind, bytes).ok();
    match (algorithm, members) {
        (Algorithm::Es256, Members::Ec { x, y, .. }) => {
            of_bytes(&ECDSA_P256_SHA256_FIXED, &point(&bytes(x)?, &bytes(y)?))
        }
        (Algorithm::Es384, Members::Ec { x, y, .. }) => {
            of_bytes(&ECDSA_P384_SHA384_FIXED, &point(&bytes(x)?, &bytes(y)?))
        }
        (Algorithm::Rs256, Members::Rsa { n, e }) => rsa(&RSA_PKCS1_2048_8192_SHA256, &bytes(n)?, &bytes(e)?),
        (Algorithm::Ps256, Members::Rsa { n, e }) => rsa(&RSA_PSS_2048_8192_SHA256, &bytes(n)?, &bytes(e)?),
        (Algorithm::EdDsa, Members::Okp { x, .. }) => of_bytes(&ED25519, &bytes(x)?),
        (Algorithm::MlDsa65, Members::Akp { public }) => of_bytes(&ML_DSA_65, &bytes(public)?),
        _ => None,
    }
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

fn rsa(padding: &'static RsaParameters, n: &[u8], e: &[u8]) -> Option<ParsedPublicKey> {
    // The library refuses a number with zeros before it.
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    RsaPublicKeyComponents { n: plain(n), e: plain(e) }.to_parsed_public_key(padding).ok()
}
