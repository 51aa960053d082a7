use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Algorithm, KeyError, SigningKey};

/// The `typ` header, which keeps one kind of token from being taken for another (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// `JWT`.
    Jwt,
    /// A signed checkpoint of the audit; no verifier of tokens knows it.
    AuditCheckpoint,
}

/// A JWT was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is not a JWS in compact form with a readable header.
    #[error("not a JWT")]
    Malformed,
    /// It has a header member that changes its meaning in a way that is not supported.
    #[error("an unsupported header member")]
    UnsupportedHeader,
    /// The signature is not this key's, or the payload is not what was expected.
    #[error("the signature or the claims do not fit")]
    NotVerified,
}

/// Signs `claims` as a compact JWS.
///
/// # Errors
/// The claims could not be serialised, or the key could not sign.
pub fn sign<T: Serialize>(
    token_type: TokenType,
    key_id: &str,
    key: &SigningKey,
    claims: &T,
) -> Result<String, KeyError> {
    #[derive(Serialize)]
    struct Header<'a> {
        typ: &'static str,
        alg: Algorithm,
        kid: &'a str,
    }
    let header = Header { typ: token_type.as_str(), alg: key.algorithm(), kid: key_id };
    let refused = |_| KeyError::Refused(key.algorithm());
    // One buffer for both parts, and one for the token, each long enough for nearly any.
    let mut part = Vec::with_capacity(1_024);
    let mut token = String::with_capacity(1_536);
    serde_json::to_writer(&mut part, &header).map_err(refused)?;
    BASE64URL.encode_string(&part, &mut token);
    token.push('.');
    part.clear();
    serde_json::to_writer(&mut part, claims).map_err(refused)?;
    BASE64URL.encode_string(&part, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    BASE64URL.encode_string(signature, &mut token);
    Ok(token)
}

/// A JWT of which nothing is known to be true yet: only what chooses the key can be read.
pub struct Unverified<'a> {
    compact: &'a str,
    header: Header,
}

/// A public key with the one algorithm that it may be used with.
#[derive(Clone)]
pub struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

// === impl TokenType ===

impl TokenType {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
            Self::AuditCheckpoint => "jeton-audit-checkpoint+jwt",
        }
    }

    /// Whether a `typ` header says this type: media types compare without case, and may carry the
    /// `application/` that RFC 7515 §4.1.9 lets one leave out.
    #[must_use]
    pub fn matches(self, typ: Option<&str>) -> bool {
        typ.is_some_and(|typ| {
            let short = typ
                .get(..12)
                .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
                .map_or(typ, |prefix| &typ[prefix.len()..]);
            short.eq_ignore_ascii_case(self.as_str())
        })
    }
}

// === impl Unverified ===

impl<'a> Unverified<'a> {
    /// Splits a compact JWS and reads its header.
    ///
    /// # Errors
    /// It is not a compact JWS with a signature algorithm, or it has `crit`, which would change its meaning.
    pub fn parse(compact: &'a str) -> Result<Self, JwtError> {
        let header = jsonwebtoken::decode_header(compact).map_err(|_| JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::UnsupportedHeader);
        }
        Ok(Self { compact, header })
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
        let payload = self.compact.split('.').nth(1)?;
        serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
    }

    /// Checks the signature and reads the claims. Times, issuer and audience are the caller's to check:
    /// the clock is not this module's.
    ///
    /// # Errors
    /// The signature is not this key's under this key's own algorithm, or the claims have another shape.
    pub fn verify<T: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<T, JwtError> {
        let mut validation = Validation::new(key.algorithm.for_verification());
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(self.compact, &key.key, &validation)
            .map(|token| token.claims)
            .map_err(|_| JwtError::NotVerified)
    }
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// Reads a public JWK. Its `alg` is required, so that a token cannot choose another.
    ///
    /// # Errors
    /// The JWK has no `alg` that is known here, or its members do not make a key.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwtError> {
        let algorithm = jwk
            .common
            .key_algorithm
            .and_then(|algorithm| algorithm.to_string().parse().ok())
            .ok_or(JwtError::UnsupportedHeader)?;
        let key = DecodingKey::from_jwk(jwk).map_err(|_| JwtError::Malformed)?;
        Ok(Self { key, algorithm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn key_pair(algorithm: Algorithm) -> (SigningKey, VerifyingKey) {
        let key = SigningKey::generate(algorithm).unwrap();
        let public = VerifyingKey::from_jwk(&key.public_jwk().unwrap()).unwrap();
        (key, public)
    }

    #[test]
    fn a_stored_key_signs_what_its_public_part_verifies() {
        for algorithm in Algorithm::ALL {
            let (key, public) = key_pair(*algorithm);
            let stored = SigningKey::from_pkcs8(*algorithm, &key.to_pkcs8().unwrap()).unwrap();
            let token = sign(TokenType::AccessToken, "k", &stored, &json!({"sub": "a"})).unwrap();
            let unverified = Unverified::parse(&token).unwrap();
            assert_eq!(unverified.key_id(), Some("k"));
            assert!(unverified.is(TokenType::AccessToken));
            assert!(!unverified.is(TokenType::Jwt));
            assert_eq!(unverified.verify::<Value>(&public).unwrap()["sub"], "a");
        }
    }

    #[test]
    fn any_changed_character_is_refused() {
        let (key, public) = key_pair(Algorithm::Es256);
        let token = sign(TokenType::Jwt, "k", &key, &json!({"sub": "a"})).unwrap();
        for at in 0..token.len() {
            let mut wrong = token.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            let accepted =
                Unverified::parse(&wrong).and_then(|unverified| unverified.verify::<Value>(&public)).is_ok();
            assert!(!accepted, "character {at}");
        }
    }

    #[test]
    fn a_token_cannot_choose_its_algorithm_rfc8725_3_1() {
        let (_, es256) = key_pair(Algorithm::Es256);
        let (rsa, _) = key_pair(Algorithm::Rs256);
        let token = sign(TokenType::Jwt, "k", &rsa, &json!({})).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify::<Value>(&es256).is_err());
        let none = format!("{}.e30.", BASE64URL.encode(r#"{"alg":"none"}"#));
        assert!(Unverified::parse(&none).is_err());
    }

    #[test]
    fn typ_compares_as_a_media_type() {
        assert!(TokenType::AccessToken.matches(Some("application/AT+JWT")));
        assert!(!TokenType::AccessToken.matches(None));
        assert!(!TokenType::Jwt.matches(Some("at+jwt")));
    }
}
