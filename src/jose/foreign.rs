use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::embedded::{acceptable, has_private};
use super::jwk::{Curve, Members};
use super::{Algorithm, Object, PublicJwk, VerifyingKey, pem};

/// The most bytes of an RSA modulus: 8192 bits. Who registers a key pays for its verification, but not without end.
const MODULUS: usize = 1_024;

/// The most characters of a `kid`.
const LONGEST_KID: usize = 255;

/// The most keys that are read of one set: a rotation needs two or three.
pub(super) const MOST: usize = 100;

/// A public key whose private part somebody else has, parsed once for every algorithm that it may be used with.
///
/// Unlike [`PublicJwk`] it need not say its algorithm: most people's keys do not.
#[derive(Clone)]
pub struct ForeignKey {
    kid: String,
    thumbprint: String,
    json: String,
    description: String,
    verifying: Vec<(Algorithm, VerifyingKey)>,
}

/// Why something is no public key that can be used. None of it quotes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignKeyError {
    /// It is no JSON object, or a member stands twice.
    #[error("it is no JWK: a JSON object in which every member stands once (RFC 7517 section 4)")]
    NotAJwk,
    /// It is no public key in PEM form.
    #[error("it is no single public key in PEM form")]
    NotPem,
    /// It holds what must never leave its owner.
    #[error("it holds a private key, which nobody but the client may have")]
    Private,
    /// Another key type, another curve, another size, or members that make no key.
    #[error("it is no public key on P-256, P-384 or Ed25519, and no RSA key of 2048 to 8192 bits")]
    Unfit,
    /// The key says that it is not for verifying signatures.
    #[error("its use or key_ops say that it is not for verifying signatures")]
    OtherUse,
    /// The key says that it is for an algorithm that is not its own.
    #[error("its alg is none that fits the key and is accepted")]
    OtherAlgorithm,
    /// Its identifier cannot be used.
    #[error("its kid is no text of 1 to 255 printable characters")]
    KeyId,
}

// === impl ForeignKey ===

impl ForeignKey {
    /// What such a key may be used with, as far as its type allows it: ML-DSA has no libraries for clients yet.
    pub const ALGORITHMS: &[Algorithm] =
        &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa];

    /// Reads a JWK.
    ///
    /// # Errors
    /// It is none, holds a private member, or is a key that is not accepted.
    pub fn from_jwk(json: &str) -> Result<Self, ForeignKeyError> {
        Object::parse(json.as_bytes()).ok_or(ForeignKeyError::NotAJwk).and_then(Self::from_object)
    }

    /// Reads a public key in PEM form (`BEGIN PUBLIC KEY`, RFC 7468 §13).
    ///
    /// # Errors
    /// It is none, a private one, or one that is not accepted.
    pub fn from_pem(text: &str) -> Result<Self, ForeignKeyError> {
        Self::new(&pem::public_key(text)?, None, None)
    }

    /// Reads a JWK that was read as an object.
    ///
    /// # Errors
    /// It holds a private member, or is a key that is not accepted.
    pub fn from_object(written: Object) -> Result<Self, ForeignKeyError> {
        Self::of_use(written, "sig")
    }

    /// The same for one whose `use`, if it says one, is this.
    pub(super) fn of_use(written: Object, usage: &str) -> Result<Self, ForeignKeyError> {
        if has_private(&written) {
            return Err(ForeignKeyError::Private);
        }
        let verifies = |operations: &Value| {
            operations.as_array().is_some_and(|named| named.iter().any(|one| one == "verify"))
        };
        if written.get("use").is_some_and(|said| said != usage)
            || written.get("key_ops").is_some_and(|operations| !verifies(operations))
        {
            return Err(ForeignKeyError::OtherUse);
        }
        let wanted = match written.get("alg") {
            None => None,
            Some(name) => {
                let named = name.as_str().and_then(Algorithm::named);
                Some(named.ok_or(ForeignKeyError::OtherAlgorithm)?)
            }
        };
        let kid = match written.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_key_id(kid) => Some(kid.clone()),
            Some(_) => return Err(ForeignKeyError::KeyId),
        };
        let members = written.read().map_err(|_| ForeignKeyError::Unfit)?;
        Self::new(&members, wanted, kid)
    }

    fn new(
        members: &Members,
        wanted: Option<Algorithm>,
        kid: Option<String>,
    ) -> Result<Self, ForeignKeyError> {
        let fitting = Self::ALGORITHMS.iter().copied().filter(|algorithm| members.fit(*algorithm));
        let fitting: Vec<Algorithm> = fitting.collect();
        if fitting.is_empty() || !acceptable(members, MODULUS) {
            return Err(ForeignKeyError::Unfit);
        }
        if wanted.is_some_and(|wanted| !fitting.contains(&wanted)) {
            return Err(ForeignKeyError::OtherAlgorithm);
        }
        let usable = fitting.into_iter().filter(|algorithm| wanted.is_none_or(|wanted| wanted == *algorithm));
        let parsed = usable.map(|algorithm| {
            let jwk = PublicJwk::new(algorithm, members.clone());
            VerifyingKey::from_jwk(&jwk).map(|key| (algorithm, key))
        });
        let verifying: Vec<_> = parsed.collect::<Result<_, _>>().map_err(|_| ForeignKeyError::Unfit)?;
        let thumbprint = members.thumbprint(verifying[0].0);
        let kid = kid.unwrap_or_else(|| thumbprint.clone());
        Ok(Self {
            json: written(members, wanted, &kid),
            description: described(members),
            kid,
            thumbprint,
            verifying,
        })
    }

    /// Its `kid`; its thumbprint, if it has none.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The SHA-256 thumbprint (RFC 7638 §3), as base64url.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Its public members, as JSON: what is stored, and reads back as the same key.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What sort of key it is, for people: `EC P-256`, `RSA 2048`.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it may be used with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.verifying.iter().map(|(algorithm, _)| *algorithm)
    }

    /// It, for one algorithm.
    #[must_use]
    pub fn with(&self, algorithm: Algorithm) -> Option<&VerifyingKey> {
        self.verifying.iter().find(|(other, _)| *other == algorithm).map(|(_, key)| key)
    }
}

impl fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForeignKey").field(&self.thumbprint).finish()
    }
}

/// Reads a JWK Set (RFC 7517 §5). Keys that are of another kind, unfit or private are left out, as that section
/// wants: what is new must not make the rest unreadable. `None` when it is no set at all.
#[must_use]
pub fn read_key_set(json: &[u8]) -> Option<Vec<ForeignKey>> {
    #[derive(serde::Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let set: Set<'_> = serde_json::from_slice(json).ok()?;
    Some(set.keys.into_iter().take(MOST).filter_map(|key| ForeignKey::from_jwk(key.get()).ok()).collect())
}

fn is_key_id(kid: &str) -> bool {
    (1..=LONGEST_KID).contains(&kid.chars().count()) && !kid.chars().any(char::is_control)
}

fn written(members: &Members, alg: Option<Algorithm>, kid: &str) -> String {
    let mut json = Map::new();
    if let Ok(Value::Object(own)) = serde_json::to_value(members) {
        json.extend(own);
    }
    if let Some(alg) = alg {
        json.insert("alg".to_owned(), alg.as_str().into());
    }
    json.insert("kid".to_owned(), kid.into());
    Value::Object(json).to_string()
}

fn described(members: &Members) -> String {
    match members {
        Members::Ec { crv: Curve::P384, .. } => "EC P-384".to_owned(),
        Members::Ec { .. } => "EC P-256".to_owned(),
        Members::Okp { .. } => "Ed25519".to_owned(),
        Members::Rsa { .. } => format!("RSA {}", members.modulus_bits()),
        Members::Akp { .. } => "ML-DSA-65".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::KEYS;
    use super::super::{RsaBits, SigningKey, Unverified};
    use super::*;

    fn jwk(key: &SigningKey) -> Value {
        let mut jwk = serde_json::to_value(key.public_jwk()).unwrap();
        for name in ["use", "alg", "kid"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        jwk
    }

    fn read(jwk: &Value) -> Result<ForeignKey, ForeignKeyError> {
        ForeignKey::from_jwk(&jwk.to_string())
    }

    fn accepted() -> impl Iterator<Item = &'static SigningKey> {
        KEYS.iter().filter(|key| ForeignKey::ALGORITHMS.contains(&key.algorithm()))
    }

    #[test]
    fn a_key_fits_the_algorithms_of_its_type_and_reads_back() {
        for key in accepted() {
            let read_key = read(&jwk(key)).unwrap();
            let rsa = matches!(key.algorithm(), Algorithm::Rs256 | Algorithm::Ps256);
            assert_eq!(read_key.algorithms().count(), if rsa { 2 } else { 1 });
            assert_eq!(read_key.kid(), key.public_jwk().thumbprint(), "the thumbprint names it");
            let again = ForeignKey::from_jwk(read_key.json()).unwrap();
            assert_eq!((again.json(), again.thumbprint()), (read_key.json(), read_key.thumbprint()));
            let signature = key.sign(b"e30.e30").unwrap();
            assert!(again.with(key.algorithm()).unwrap().has_signed(b"e30.e30", &signature));
        }
    }

    #[test]
    fn an_alg_in_the_key_narrows_it_rfc7517_4_4() {
        let rsa = KEYS.iter().find(|key| key.algorithm() == Algorithm::Rs256).unwrap();
        let mut narrowed = jwk(rsa);
        narrowed["alg"] = json!("PS256");
        let narrowed = read(&narrowed).unwrap();
        assert_eq!(narrowed.algorithms().collect::<Vec<_>>(), [Algorithm::Ps256]);
        assert!(narrowed.json().contains("PS256"));
        for wrong in ["ES256", "HS256", "none", "RSA-OAEP"] {
            let mut jwk = jwk(rsa);
            jwk["alg"] = json!(wrong);
            assert_eq!(read(&jwk).unwrap_err(), ForeignKeyError::OtherAlgorithm, "{wrong}");
        }
        let okp = KEYS.iter().find(|key| key.algorithm() == Algorithm::EdDsa).unwrap();
        let mut named = jwk(okp);
        named["alg"] = json!("Ed25519");
        assert!(read(&named).is_ok(), "RFC 9864");
    }

    #[test]
    fn what_is_private_or_for_something_else_is_refused() {
        let good = jwk(&KEYS[0]);
        for name in ["d", "k", "p", "priv"] {
            let mut jwk = good.clone();
            jwk[name] = json!("c2VjcmV0LXNlY3JldA");
            let error = read(&jwk).unwrap_err();
            assert_eq!(error, ForeignKeyError::Private);
            assert!(!error.to_string().contains("c2Vj"));
        }
        for (name, value, error) in [
            ("use", json!("enc"), ForeignKeyError::OtherUse),
            ("key_ops", json!(["encrypt"]), ForeignKeyError::OtherUse),
            ("key_ops", json!("verify"), ForeignKeyError::OtherUse),
            ("kid", json!(5), ForeignKeyError::KeyId),
            ("kid", json!(""), ForeignKeyError::KeyId),
            ("kid", json!("a\nb"), ForeignKeyError::KeyId),
            ("crv", json!("secp256k1"), ForeignKeyError::Unfit),
            ("y", json!("AQ"), ForeignKeyError::Unfit),
            ("kty", json!("oct"), ForeignKeyError::Unfit),
        ] {
            let mut jwk = good.clone();
            jwk[name] = value;
            assert_eq!(read(&jwk).unwrap_err(), error, "{name}");
        }
        assert_eq!(ForeignKey::from_jwk("[]").unwrap_err(), ForeignKeyError::NotAJwk);
        let twice = good.to_string().replacen('{', r#"{"kty":"EC","#, 1);
        assert_eq!(ForeignKey::from_jwk(&twice).unwrap_err(), ForeignKeyError::NotAJwk);
    }

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits() {
        let large = SigningKey::generate(Algorithm::Rs256, RsaBits::Rsa4096).unwrap();
        assert_eq!(read(&jwk(&large)).unwrap().description(), "RSA 4096");
        let mut short = jwk(&large);
        short["n"] = json!(short["n"].as_str().unwrap()[..200].to_owned());
        assert_eq!(read(&short).unwrap_err(), ForeignKeyError::Unfit);
        let mut long = jwk(&large);
        long["n"] = json!("q".repeat(1_400));
        assert_eq!(read(&long).unwrap_err(), ForeignKeyError::Unfit);
    }

    #[test]
    fn a_set_is_read_without_the_keys_that_cannot_be_used_rfc7517_5() {
        let mut keys: Vec<Value> = accepted().map(jwk).collect();
        let all = keys.len();
        keys.insert(0, json!({"kty": "new"}));
        keys.push(json!({"kty": "oct", "k": "AAAA"}));
        keys.push(json!("nonsense"));
        let set = read_key_set(json!({"keys": keys, "new": 1}).to_string().as_bytes()).unwrap();
        assert_eq!(set.len(), all);
        for none in ["{}", r#"{"keys":{}}"#, "[]", "", r#"{"keys":[],"keys":[]}"#] {
            assert!(read_key_set(none.as_bytes()).is_none(), "{none}");
        }
    }

    #[test]
    fn ed25519_is_eddsa_in_a_header_rfc9864() {
        let key = KEYS.iter().find(|key| key.algorithm() == Algorithm::EdDsa).unwrap();
        let token = "eyJhbGciOiJFZDI1NTE5In0.e30.AA";
        assert_eq!(Unverified::parse(token).unwrap().algorithm(), key.algorithm());
    }
}
