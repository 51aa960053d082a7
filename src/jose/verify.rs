use aws_lc_rs::signature::{ML_DSA_65, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::DecodingKey;
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

/// A public key with the one algorithm that it may be used with.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Jsonwebtoken(DecodingKey, jsonwebtoken::Algorithm),
    /// jsonwebtoken does not know it.
    MlDsa65(ParsedPublicKey),
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

    /// The claims as somebody wrote them, for saying what it is that cannot be believed.
    #[must_use]
    pub fn claimed<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&BASE64URL.decode(self.payload).ok()?).ok()
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
        self.header.algorithm == key.algorithm && key.signed(self.signed.as_bytes(), self.signature)
    }
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// Makes ready to verify with a public JWK. It may be that only its use shows that it is no key: a point
    /// beside the curve verifies nothing.
    ///
    /// # Errors
    /// Its members do not make a key.
    pub fn from_jwk(jwk: &PublicJwk) -> Result<Self, JwtError> {
        let algorithm = jwk.algorithm();
        Key::from_members(algorithm, jwk.members())
            .map(|key| Self { algorithm, key })
            .ok_or(JwtError::Malformed)
    }

    /// Whether this is this key's signature of the message, as it stands in a JWS.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.signed(message, &BASE64URL.encode(signature))
    }

    /// Whether this base64url is this key's signature of the message.
    fn signed(&self, message: &[u8], signature: &str) -> bool {
        match &self.key {
            Key::Jsonwebtoken(key, algorithm) => {
                jsonwebtoken::crypto::verify(signature, message, key, *algorithm).unwrap_or(false)
            }
            // The library takes the context to be empty, as RFC 9964 wants it.
            Key::MlDsa65(key) => {
                BASE64URL.decode(signature).is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
        }
    }
}

// === impl Key ===

impl Key {
    fn from_members(algorithm: Algorithm, members: &Members) -> Option<Self> {
        use jsonwebtoken::Algorithm as Theirs;
        let (key, theirs) = match (algorithm, members) {
            (Algorithm::Es256, Members::Ec { x, y, .. }) => {
                (DecodingKey::from_ec_components(x, y), Theirs::ES256)
            }
            (Algorithm::Es384, Members::Ec { x, y, .. }) => {
                (DecodingKey::from_ec_components(x, y), Theirs::ES384)
            }
            (Algorithm::Rs256, Members::Rsa { n, e }) => {
                (DecodingKey::from_rsa_components(n, e), Theirs::RS256)
            }
            (Algorithm::Ps256, Members::Rsa { n, e }) => {
                (DecodingKey::from_rsa_components(n, e), Theirs::PS256)
            }
            (Algorithm::EdDsa, Members::Okp { x, .. }) => (DecodingKey::from_ed_components(x), Theirs::EdDSA),
            (Algorithm::MlDsa65, Members::Akp { public }) => {
                let public = BASE64URL.decode(public).ok()?;
                return ParsedPublicKey::new(&ML_DSA_65, public).ok().map(Self::MlDsa65);
            }
            _ => return None,
        };
        key.ok().map(|key| Self::Jsonwebtoken(key, theirs))
    }
}
